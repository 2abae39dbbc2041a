"""The lab can be run again at once, and twice at the same time: nothing of one run is in another's way."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.device_args.hosts import ROOT
from tests.lab.world import needs

if TYPE_CHECKING:
    from pathlib import Path

# One of each kind: a daemon restarted and undone, a driver in an overlay of /usr, the device cgroup. `scripts/lab --twice` runs all.
SAMPLE = (
    "tests/lab/test_fix.py::test_the_default_runtime_is_taken_out_docker_restarted_and_all_taken_back[20.10]",
    "tests/lab/test_driver_scenarios.py::test_the_module_is_kept_from_loading[blacklist]",
    "tests/lab/test_docker.py::test_allow_missing_runs_with_the_rest",
)


def start(folder: Path) -> subprocess.Popen[str]:
    """Start the sample in a process of its own."""
    argv = [sys.executable, "-m", "pytest", "-p", "no:xdist", f"--basetemp={folder}", *SAMPLE]
    return subprocess.Popen(
        argv,
        cwd=ROOT,
        env={**os.environ, "GPUDOCTOR_LAB": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def passed(run: subprocess.Popen[str]) -> None:
    """Wait for a run and assert that every scenario of it ran and passed, and that nothing was left."""
    out, _ = run.communicate(timeout=180)
    assert run.returncode == 0, out[-6000:]
    assert f"{len(SAMPLE)} passed" in out, out[-6000:]


def test_a_sample_runs_twice_in_a_row_and_twice_at_once(tmp_path: Path):
    """Two runs one after the other and two at the same time, each with its own check that it leaves nothing: all pass."""
    needs("dockerd", "unshare", "busybox", "cc", "depmod", "modprobe", "ldconfig", "setpriv")
    for number in range(2):
        passed(start(tmp_path / f"row-{number}"))
    at_once = [start(tmp_path / f"once-{number}") for number in range(2)]
    for run in at_once:
        passed(run)
