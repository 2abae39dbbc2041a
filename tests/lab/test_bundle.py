"""A bundle of the real BentoML, called and served in a container of a real dockerd: no network, nothing published, nothing left."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.bundle import packed
from tests.lab.world import live, needs


def lent(python: str) -> str:
    """Return the arguments that lend this machine's Python and BentoML to a container whose image has none."""
    venv = Path(python).parent.parent
    base = Path(os.path.realpath(python)).parent.parent
    folders = ["/usr", "/lib", "/lib64", str(venv), *([str(base)] if base != Path("/usr") else [])]
    volumes = [f"--docker-arg=--volume={folder}:{folder}:ro" for folder in folders if os.path.exists(folder)]
    return " ".join([*volumes, f"--docker-arg=--entrypoint={python}"])


def told(found: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON that was printed."""
    assert found["out"].strip(), found["err"]
    value = json.loads(found["out"].strip().split("\n")[-1])
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize("how", ["", "--serve"])
@pytest.mark.parametrize("service", ["onnx_good", "onnx_1"])
def test_it_answers_in_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service: str, how: str):
    """The bundle is mounted read-only and called by its own HTTP layer in the container, which is gone afterwards."""
    needs("dockerd", "unshare", "busybox")
    monkeypatch.setenv("GPUDOCTOR_REAL", "1")
    python = packed.python(packed.generation(service))
    folder = packed.bundle(service, tmp_path)
    before = sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*"))
    command = (
        f"$PYTHON -m gpudoctor smoke --bundle {folder} --device cpu --json --image probe {how} {lent(python)} >answer; "
        "echo left: $(docker ps --all --quiet | wc -l); cat answer"
    )
    found = live(tmp_path, "one-gpu", command)
    value = told(found)
    assert value["verdict"] == "pass", (value, found["err"])
    assert [(each["ok"], each["ran_on"]) for each in value["calls"]] == [(True, "cpu")]
    assert any("container: no network" in each for each in value["remarks"]), value
    assert "left: 0" in found["out"]
    assert sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*")) == before
