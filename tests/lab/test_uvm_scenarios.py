"""/dev/nvidia-uvm is not there: what Docker and the toolkit's hook say then, and that fix has it made before a container needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lab.sequence import Scenario, play
from tests.lab.stand_ins import PROGRAMS, program
from tests.lab.world import needs

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = "/etc/nvidia-container-runtime/config.toml"
DROP_IN = "/etc/systemd/system/docker.service.d/gpudoctor-uvm.conf"
MODPROBE = "/usr/bin/nvidia-modprobe"
OPENED = "/dev/nvidia-uvm: No such device or address"
# After a boot: the kernel has no nvidia-uvm, and nothing has made its nodes.
BOOTED = "rm -f /dev/nvidia-uvm /dev/nvidia-uvm-tools; grep -v nvidia-uvm devices >majors; cat majors >devices"
PREPARE = (
    "mkdir up under; mount -t overlay none /usr/bin -o lowerdir=/usr/bin,upperdir=$PWD/up,workdir=$PWD/under; "
    f'sed "s|MAJORS|$PWD/devices|" nvidia-modprobe >{MODPROBE}; chmod 755 {MODPROBE}; mkdir -p {CONFIG.rpartition("/")[0]}; '
    f"printf '[nvidia-container-cli]\\nload-kmods = true\\n' >{CONFIG}"
)


def programs(work: Path) -> dict[str, str]:
    """Return the files of the acting hook and of nvidia-modprobe."""
    modprobe = {str(work / "nvidia-modprobe"): (PROGRAMS / "nvidia_modprobe.sh").read_text()}
    return {**program(work, "hook.py", "nvidia-container-runtime-hook"), **modprobe}


@pytest.mark.parametrize("version", [1, 2])
def test_a_container_is_given_a_node_that_nothing_has_made(tmp_path: Path, version: int):
    """A container with --device /dev/nvidia-uvm does not start after a boot; fix makes the node, now and before Docker at each boot."""
    needs("dockerd", "unshare", "busybox")
    play(
        tmp_path,
        Scenario(
            rule="host/uvm-device-missing",
            prepare=f"{PREPARE}; docker create --name cuda --network none --device /dev/nvidia-uvm probe sh -c ': </dev/nvidia-uvm'",
            spoil=BOOTED,
            ask="docker start --attach cuda",
            works=OPENED,
            fails='error gathering device information while adding custom device "/dev/nvidia-uvm": no such file or directory',
            files=(DROP_IN,),
            boot=BOOTED,
        ),
        "one-gpu",
        version=version,
        hook=True,
        files=programs(tmp_path),
    )


def test_the_hook_is_told_not_to_make_the_node(tmp_path: Path):
    """With load-kmods = false the hook finds no node to give to the container and refuses; fix lets it make the node again."""
    needs("dockerd", "unshare", "busybox")
    play(
        tmp_path,
        Scenario(
            rule="host/uvm-device-missing",
            prepare=PREPARE,
            spoil=f"{BOOTED}; sed -i s/true/false/ {CONFIG}",
            ask="docker run --rm --network none --gpus all probe sh -c ': </dev/nvidia-uvm'",
            works=OPENED,
            fails="stat failed: /dev/nvidia-uvm: no such file or directory",
            files=(CONFIG,),
            boot=BOOTED,
        ),
        "one-gpu",
        hook=True,
        files=programs(tmp_path),
    )
