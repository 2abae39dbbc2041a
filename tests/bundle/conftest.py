"""What several files of these tests ask for by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.bundle import calls

if TYPE_CHECKING:
    from gpudoctor.bundle import call


@pytest.fixture
def tried(tmp_path, monkeypatch):
    """Return a function that calls a bundle whose API, loader and server do what a test writes."""

    def ran(predict: str = calls.ECHO, load: str = "    return Service()\n", main: str = "", **want: object) -> call.Called:
        monkeypatch.setenv("PYTHONPATH", calls.stand_in(tmp_path, predict, load, main))
        return calls.called(calls.bundle(tmp_path / "bundle"), **want)

    return ran
