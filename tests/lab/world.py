"""The lab: real daemons and programs, each in private namespaces, given what gpudoctor prints for a fake GPU host.

Asked for by ``scripts/lab`` alone (it sets GPUDOCTOR_LAB), because a daemon is started and root is needed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.device_args.hosts import HOSTS, ROOT
from tests.lab import traces

CACHE = ROOT / ".cache" / "lab"
"""Where scripts/lab puts what it fetches."""
NEWER_DOCKER = CACHE / "docker" / "usr"
QUADLET = CACHE / "podman" / "usr" / "libexec" / "podman" / "quadlet"
CDI_SCHEMA = CACHE / "cdi" / "usr" / "share" / "gocode" / "src" / "tags.cncf.io" / "container-device-interface" / "schema"
RUN = f"{os.getpid()}-{time.time_ns()}"
"""By which the processes of this run are known (``traces.py``)."""
PROBE = 'sh -c "$PROBE"'
DOCKER_RUN = "docker run --rm --network none --env WANTED --env UNWANTED"


def missing(*programs: str) -> str | None:
    """Return why a scenario that needs root and these programs cannot run here, None where it can."""
    if os.environ.get("GPUDOCTOR_LAB") != "1":
        return "the lab is run by scripts/lab"
    if os.geteuid() != 0:
        return "needs root"
    absent = [name for name in programs if shutil.which(name) is None]
    if absent:
        return f"needs {', '.join(absent)}"
    ran = subprocess.run(["unshare", "-m", "-n", "-p", "-f", "true"], capture_output=True, check=False, timeout=30)
    return None if ran.returncode == 0 else "this machine makes no namespaces"


def needs(*programs: str) -> None:
    """Skip, with the reason, where something is not here."""
    reason = missing(*programs)
    if reason is not None:
        pytest.skip(reason)


def needs_only(*programs: str) -> None:
    """Skip where the lab was not asked for or a program is not here; root is not needed."""
    if os.environ.get("GPUDOCTOR_LAB") != "1":
        pytest.skip("the lab is run by scripts/lab")
    absent = [name for name in programs if shutil.which(name) is None]
    if absent:
        pytest.skip(f"needs {', '.join(absent)}")


def live(
    work: Path, fixture: str, command: str, *gpus: str, version: int = 1, engine: str = "docker", **more: Any
) -> dict[str, Any]:
    """Run one scenario in namespaces of its own and return its answer; nothing of it is left."""
    cgroup = f"gpudoctor-lab-{os.getpid()}-{time.monotonic_ns()}"
    plan = {
        "fixture": str(HOSTS / f"{fixture}.host"),
        "command": command,
        "gpus": list(gpus),
        "version": version,
        "engine": engine,
        "work": str(work),
        "cgroup": cgroup,
        "docker": more.pop("programs", "/usr/sbin:/usr/bin"),
        **more,
    }
    unshare = [
        "unshare",
        "--mount",
        "--net",
        "--ipc",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "--propagation",
        "private",
    ]
    environment = {
        "PATH": "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
        "PYTHONPATH": str(ROOT),
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        traces.NONCE: RUN,
    }
    try:
        ran = subprocess.run(
            [*unshare, sys.executable, "-B", str(Path(__file__).parent / "machine.py"), json.dumps(plan)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    finally:
        sweep(cgroup)
    assert ran.returncode == 0, ran.stderr[-4000:]
    found = json.loads(ran.stdout.strip().split("\n")[-1])
    assert isinstance(found, dict)
    return found


def sweep(cgroup: str) -> None:
    """Take the cgroups away that a daemon made: they belong to the kernel and outlive its namespaces."""
    if not cgroup.startswith("gpudoctor-lab-"):
        raise ValueError(cgroup)
    for top in {path.parent / cgroup for path in Path("/sys/fs/cgroup").glob("*/cgroup.procs")} | {
        Path("/sys/fs/cgroup") / cgroup
    }:
        for folder, _, _ in os.walk(top, topdown=False):
            # A container's last process may take a moment to be gone.
            for _ in range(20):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)
                if not os.path.isdir(folder):
                    break
                time.sleep(0.05)


def judged(found: dict[str, Any]) -> None:
    """Assert that every node given opens as far as the missing driver (ENXIO) and every other one is refused (EPERM)."""
    assert found["rc"] == 0, found["err"]
    said = [line for line in found["out"].split("\n") if line.startswith("/dev/")]
    wanted = [f"{node['path']} No such device or address" for node in found["nodes"] if node["in"]]
    unwanted = [f"{node['path']} Operation not permitted" for node in found["nodes"] if not node["in"]]
    assert wanted
    assert said == [*wanted, *unwanted]
