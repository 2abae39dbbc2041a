"""The smoke test put to a real dockerd: a framework in a container, and the same nodes opened on the host and in the container."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from tests.device_args.hosts import ROOT
from tests.lab.world import live, needs

if TYPE_CHECKING:
    from collections.abc import Iterable

SCHEMA = json.loads((ROOT / "docs" / "schema" / "smoke.schema.json").read_text())
VENV = ROOT / ".cache" / "frameworks" / "onnxruntime"


def words(python: str, folders: Iterable[str]) -> str:
    """Return the arguments that lend this machine's Python to a container whose image has none."""
    lent = [f"--docker-arg=--volume={folder}:{folder}:ro" for folder in folders if os.path.exists(folder)]
    return " ".join([*lent, f"--docker-arg=--entrypoint={python}"])


def told(found: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON that was printed, held to its schema."""
    value = json.loads(found["out"].strip().split("\n")[-1])
    jsonschema.validate(value, SCHEMA)
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize("version", [1, 2])
def test_the_same_nodes_are_opened_on_the_host_and_in_a_container(tmp_path: Path, version: int):
    """The nodes have no driver here: both sides open them as far as that (ENXIO, not EPERM), and the host is to be mended first."""
    needs("dockerd", "unshare", "busybox")
    lent = words("/usr/bin/python3", ("/usr", "/lib", "/lib64"))
    command = f"$PYTHON -m gpudoctor smoke --json --image probe {lent}"
    found = live(tmp_path, "one-gpu", command, version=version)
    value = told(found)
    assert found["rc"] == 1, found["err"]
    assert [(each["place"], each["first_failed"]) for each in value["climbs"]] == [("host", "nodes"), ("image", "nodes")]
    for each in value["climbs"]:
        errors = each["rungs"][0]["facts"]["errors"]
        assert set(errors) == {"/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools"}
        assert set(errors.values()) == {6}
    assert "Both fail there" in value["differences"][0]["text"]


def test_a_real_framework_runs_in_a_container_on_the_cpu(tmp_path: Path):
    """The probe is piped to a container's Python, and the verdict comes back by the folder that is mounted for it."""
    needs("dockerd", "unshare", "busybox")
    if not VENV.exists():
        pytest.skip("scripts/frameworks makes the venv of onnxruntime")
    base = Path(os.path.realpath(VENV / "bin" / "python")).parent.parent
    lent = words(
        str(VENV / "bin" / "python"), ("/usr", "/lib", "/lib64", str(VENV), *([str(base)] if base != Path("/usr") else []))
    )
    command = f"$PYTHON -m gpudoctor smoke onnxruntime --device cpu --python {VENV}/bin/python --json --image probe {lent}"
    found = live(tmp_path, "one-gpu", command)
    assert found["rc"] == 0, found["out"] + found["err"]
    assert [(each["place"], each["verdict"]) for each in told(found)["climbs"]] == [
        ("host", "on the CPU"),
        ("image", "on the CPU"),
    ]


def test_a_container_that_does_not_answer_is_removed(tmp_path: Path):
    """A container whose Python hangs is ended after the limit of its phase and is not left behind."""
    needs("dockerd", "unshare", "busybox")
    # It prints for ever, and writes no verdict.
    lent = words("/usr/bin/yes", ("/usr", "/lib", "/lib64"))
    command = (
        f"$PYTHON -m gpudoctor smoke torch --device cpu --json --timeout 3 --image probe {lent} >answer; "
        "echo left: $(docker ps --all --quiet | wc -l); cat answer"
    )
    found = live(tmp_path, "one-gpu", command)
    assert "left: 0" in found["out"]
    image = next(each for each in told(found)["climbs"] if each["place"] == "image")
    assert "no answer within 3 s during start" in image["rungs"][0]["says"]
