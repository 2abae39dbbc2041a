"""Fixtures of the editors: a messy file as it is, and beside it what is asked and the exact change.

``fixtures/edits/<format>/<what>.<ext>`` holds the bytes; ``<what>.<ext>.diff`` holds ``# <what is asked>`` and then the unified diff,
or ``unchanged``, ``refused: <reason>`` or ``malformed: <reason>``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gpudoctor.fix.diff import unified
from gpudoctor.formats import Malformed
from gpudoctor.formats.edit import Unsafe

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER = Path(__file__).parent.parent / "fixtures" / "edits"


def cases(name: str) -> list[pytest.ParameterSet]:
    """Return (file, words of what is asked, expected text) for each fixture of a format; fails where there are fewer than 40."""
    expected = sorted((FOLDER / name).glob("*.diff"))
    if len(expected) < 40:
        pytest.fail(f"fixtures/edits/{name} has {len(expected)} cases, fewer than 40")
    found = []
    for each in expected:
        ask, _, text = each.read_bytes().partition(b"\n")
        path = each.with_suffix("")
        found.append(pytest.param(path, ask.decode().lstrip("# ").split(), text, id=path.name))
    return found


def outcome(path: Path, edit: Callable[[bytes], bytes]) -> bytes:
    """Return what an edit makes of a fixture, in the form that the expectation has."""
    data = path.read_bytes()
    try:
        after = edit(data)
    except Unsafe as unsafe:
        return f"refused: {unsafe}\n".encode()
    except Malformed as malformed:
        return f"malformed: {malformed}\n".encode()
    return unified(f"/{path.name}", data, after) or b"unchanged\n"
