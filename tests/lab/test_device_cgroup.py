"""The device cgroup of a container that has its GPU by the toolkit's hook: not opened at all, and lost while the container runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.lab.sequence import GPUDOCTOR, Scenario, play
from tests.lab.stand_ins import PROGRAMS, program
from tests.lab.test_fix import CONFIG_TOML, parts, steps
from tests.lab.test_scenarios import EXPLAIN, found_rules, modes
from tests.lab.world import live, needs

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = "/etc/nvidia-container-runtime/config.toml"
ALLOWED = "/dev/nvidiactl: No such device or address"
REFUSED = "/dev/nvidiactl: Operation not permitted"
SMI = "-v $PWD/nvidia-smi:/bin/nvidia-smi:ro"


def programs(work: Path) -> dict[str, str]:
    """Return the files of the acting hook and of nvidia-smi."""
    smi = {str(work / "nvidia-smi"): (PROGRAMS / "nvidia_smi.sh").read_text()}
    return {**program(work, "hook.py", "nvidia-container-runtime-hook"), **smi}


@pytest.mark.parametrize("version", [1, 2])
def test_no_cgroups_true_on_rootful_docker(tmp_path: Path, version: int):
    """The nodes are in the container and none may be opened; with no-cgroups = false they open as far as the missing driver."""
    needs("dockerd", "unshare", "busybox")
    said = play(
        tmp_path,
        Scenario(
            rule="toolkit/no-cgroups-true-rootful",
            prepare=f"mkdir -p {CONFIG.rpartition('/')[0]}; grep -v ^no-cgroups config.toml >{CONFIG}; chmod 755 nvidia-smi",
            spoil=f"cp config.toml {CONFIG}",
            ask=f"docker run --rm --network none --gpus all {SMI} probe nvidia-smi",
            works=ALLOWED,
            fails=REFUSED,
            files=(CONFIG,),
        ),
        "one-gpu",
        version=version,
        hook=True,
        files={str(tmp_path / "config.toml"): CONFIG_TOML, **programs(tmp_path)},
    )
    assert "Failed to initialize NVML: Unknown Error" in said[2]


def examined(part: str) -> dict[str, str]:
    """Return the rules of doctor's JSON that could not tell, and why."""
    report = json.loads(next(line for line in part.split("\n") if line.startswith("{")))
    return {each["rule"]: each["text"] for each in report["untold"]}


@pytest.mark.parametrize("version", [1, 2])
def test_the_gpu_is_lost_while_the_container_runs(tmp_path: Path, version: int):
    """The rules that the hook added are taken away; docker update leaves them; a container with the printed arguments keeps its GPU."""
    needs("dockerd", "unshare", "busybox")
    # Without systemd the loss is made as it makes it: the container's rules become those that runc had written.
    look = f"{GPUDOCTOR} doctor --container {{}} --json"
    idle = "probe busybox sleep 100"
    lose = "$PYTHON bin/nvidia-container-runtime-hook closed $(docker inspect -f '{{{{.State.Pid}}}}' {})"
    found = live(
        tmp_path,
        "one-gpu",
        steps(
            f"chmod 755 nvidia-smi; docker run -d --name hooked --network none --gpus all {SMI} {idle}; "
            f"docker run -d --name named --network none $({GPUDOCTOR} device-args) {SMI} {idle}",
            "docker exec hooked nvidia-smi; docker exec named nvidia-smi",
            look.format("hooked"),
            "docker update --restart no hooked named; docker exec hooked nvidia-smi; docker exec named nvidia-smi",
            lose.format("hooked"),
            "docker exec hooked nvidia-smi",
            look.format("hooked"),
            f"docker exec hooked nvidia-smi 2>&1 | {EXPLAIN}",
            lose.format("named"),
            "docker exec named nvidia-smi",
            look.format("named"),
            "docker rm -f hooked named",
        ),
        version=version,
        hook=True,
        files=programs(tmp_path),
    )
    said = parts(found["out"])
    assert said[1].count(ALLOWED) == 2, said[1]
    assert found_rules(said[2]) == []
    assert said[3].count(ALLOWED) == 2, said[3]
    assert said[4].endswith("rc=0\n"), said[4]
    assert REFUSED in said[5], said[5]
    assert "Failed to initialize NVML: Unknown Error" in said[5]
    if version == 1:
        assert found_rules(said[6]) == ["container/device-rules-lost"]
        assert "docker run $(gpudoctor device-args) probe" in said[6]
    else:
        assert "docker exec hooked nvidia-smi" in examined(said[6])["container/device-rules-lost"]
    assert {"no-cgroups-true-rootful", "daemon-reload-loses-gpu"} <= set(modes(said[7]))
    assert said[8].endswith("rc=0\n"), said[8]
    assert ALLOWED in said[9], said[9]
    assert found_rules(said[10]) == []
