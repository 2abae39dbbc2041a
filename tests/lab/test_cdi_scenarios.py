"""CDI specs that do not fit the host any more, put to a Docker that takes CDI names and to podman beside it, which read the same file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lab.sequence import Scenario, play
from tests.lab.stand_ins import program
from tests.lab.world import NEWER_DOCKER, needs

if TYPE_CHECKING:
    from pathlib import Path

SPEC = "/etc/cdi/nvidia.yaml"
LIBRARIES = "/usr/lib/x86_64-linux-gnu"
DRIVER = "580.178.04"
OPENED = "can't open /dev/nvidia0: No such device or address"
CONTAINERS_CONF = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
"""
# Libraries of the driver's version, and a spec of what is there.
PREPARE = (
    f"chmod 755 bin/nvidia-ctk; mkdir up under; "
    f"mount -t overlay none {LIBRARIES} -o lowerdir={LIBRARIES},upperdir=$PWD/up,workdir=$PWD/under; "
    f"for each in libcuda libnvidia-ml; do echo >{LIBRARIES}/$each.so.{DRIVER}; ln -s $each.so.{DRIVER} {LIBRARIES}/$each.so.1; done; "
    f"nvidia-ctk cdi generate --output={SPEC}"
)
# Both engines, one after the other; podman's cgroups below those that the lab sweeps.
BOTH = (
    "{{ docker run --rm --network none --device nvidia.com/gpu=all probe {program}; "
    "CONTAINERS_CONF=$PWD/containers.conf podman --root $PWD/storage --runroot /run/storage --tmpdir /run/libpod --runtime runc "
    "run --rm --network none --pids-limit -1 "
    "--cgroup-parent $(tr '\\0' '\\n' </proc/$(pidof dockerd)/cmdline | sed -n 's/^--cgroup-parent=//p') "
    "--device nvidia.com/gpu=all --rootfs $PWD/image {program}; }}"
)


def engines(work: Path) -> dict[str, object]:
    """Return how the host is made: a Docker with CDI switched on, the hook for --gpus, nvidia-ctk; skips where there is no such Docker."""
    needs("dockerd", "podman", "runc", "unshare", "busybox")
    if not (NEWER_DOCKER / "sbin" / "dockerd").exists():
        pytest.skip("no Docker with CDI here (scripts/lab fetches one from Debian 13 where it can)")
    return {
        "hook": True,
        "programs": f"{NEWER_DOCKER / 'sbin'}:{NEWER_DOCKER / 'bin'}",
        "daemon_json": {"features": {"cdi": True}, "cdi-spec-dirs": ["/etc/cdi", "/var/run/cdi"]},
        "files": {str(work / "containers.conf"): CONTAINERS_CONF, **program(work, "ctk.py", "nvidia-ctk")},
    }


@pytest.mark.parametrize("version", [1, 2])
def test_a_spec_of_the_driver_before(tmp_path: Path, version: int):
    """The driver was upgraded, the spec names the libraries of the one before: both engines fail to mount them."""
    play(
        tmp_path,
        Scenario(
            rule="cdi/cdi-spec-stale",
            prepare=PREPARE,
            spoil=f"sed -i s/{DRIVER}/535.161.07/ {SPEC}",
            ask=BOTH.format(program="sh -c ': </dev/nvidia0'"),
            works=OPENED,
            fails=f"stat {LIBRARIES}/libcuda.so.535.161.07: no such file or directory",
            files=(SPEC,),
            times=2,
        ),
        "one-gpu",
        version=version,
        **engines(tmp_path),
    )


def test_a_spec_with_a_node_that_is_gone(tmp_path: Path):
    """A GPU was taken out, the spec names its node: both engines look it up in vain."""
    play(
        tmp_path,
        Scenario(
            rule="cdi/cdi-spec-stale",
            prepare=PREPARE,
            spoil=f"sed -i 's|path: /dev/nvidia-modeset|path: /dev/nvidia9|' {SPEC}",
            ask=BOTH.format(program="sh -c ': </dev/nvidia0'"),
            works=OPENED,
            fails="/dev/nvidia9",
            files=(SPEC,),
            times=2,
        ),
        "one-gpu",
        **engines(tmp_path),
    )


def test_no_spec_at_all(tmp_path: Path):
    """CDI is switched on and nothing has written a spec: to both engines the name is unresolvable."""
    play(
        tmp_path,
        Scenario(
            rule="cdi/cdi-unresolvable",
            prepare=PREPARE,
            spoil=f"rm {SPEC}",
            ask=BOTH.format(program="sh -c ': </dev/nvidia0'"),
            works=OPENED,
            fails="unresolvable CDI devices nvidia.com/gpu=all",
            files=(SPEC,),
            times=2,
        ),
        "one-gpu",
        version=2,
        **engines(tmp_path),
    )


# The kernel's own memory devices stand for nvidia-uvm: with the right major the node really opens (as /dev/null does).
UVM = (
    "rm /dev/nvidia-uvm /dev/nvidia-uvm-tools; mknod -m 666 /dev/nvidia-uvm c 1 3; mknod -m 666 /dev/nvidia-uvm-tools c 1 5; "
    "sed 's/^507 nvidia-uvm/  1 nvidia-uvm/' devices >majors; cat majors >devices"
)
CUDA = "sh -c 'if (: </dev/nvidia-uvm); then echo CUDA works; else echo CUDA driver library init failure: 999; fi 2>&1'"


@pytest.mark.parametrize("version", [1, 2])
def test_a_spec_with_the_major_of_another_boot(tmp_path: Path, version: int):
    """The spec makes nvidia-uvm with a major that is another driver's since this boot: in the container it opens nothing."""
    play(
        tmp_path,
        Scenario(
            rule="cdi/cdi-stale-uvm-major",
            prepare=f"{UVM}; {PREPARE}",
            spoil=f"sed -i 's|^\\( *\\)- path: /dev/nvidia-uvm$|&\\n\\1  major: 511\\n\\1  minor: 3\\n\\1  type: c|' {SPEC}",
            ask=BOTH.format(program=CUDA),
            works="CUDA works",
            fails="can't open /dev/nvidia-uvm: No such device or address",
            files=(SPEC,),
            times=2,
        ),
        "one-gpu",
        version=version,
        **engines(tmp_path),
    )
