"""JetPack 4's nvidia-container-runtime does not understand a newer docker.io.

The nvidia-container-runtime of JetPack 4 (3.1.0, with toolkit 1.0.1) carries a runc of its own, of 2019. Docker 20.10.10
allows the system call clone3 in its seccomp profile in a way that this runc cannot express; Ubuntu carried the change back
into docker.io 20.10.7-0ubuntu5. After such an upgrade nothing starts with `--runtime nvidia`: "error adding seccomp filter
rule for syscall clone3: permission denied". Where nvidia is the default runtime, no container at all starts, and no image
builds.

How it is told from its look-alikes: L4T R32, Docker from that change on, and a toolkit before 1.7.0, the first whose runtime
uses the host's runc. Containers of plain runc go on working. Missing lists or a wrong mode are `jetson/jetson-csv-mode`.

Cure: hold docker.io and containerd at (or take them back to) the versions that JetPack came with, or take NVIDIA's container
packages from 1.7.0 on from NVIDIA's own repository and keep JetPack's libnvidia-container0. An older Docker misses fixes; a
newer toolkit on JetPack 4 is not what NVIDIA tests.

Sources: nvidia-container-runtime issue 157; libnvidia-container issue 148; containerd issue 6203; moby release notes
20.10.10.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor import tables
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules import advice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts

_RELEASE = "/etc/nv_tegra_release"
_JETPACK_4 = 32
_FIXED_TOOLKIT = (1, 7)
_CHANGED = (20, 10, 10)
_CARRIED_BACK = (20, 10, 7)
_UBUNTU_REVISION = 5


def check(facts: Facts) -> Iterator[Finding]:
    """Find L4T R32 with a Docker whose seccomp profile knows clone3 and a toolkit that brings its own old runc."""
    docker, toolkit = facts.docker, facts.toolkit
    if facts.platform.l4t != _JETPACK_4:
        raise NotApplicable("This is no Jetson with JetPack 4.")
    if not toolkit.version_numbers or not docker.version_numbers:
        raise NotApplicable("Docker or the container toolkit is not installed.")
    if toolkit.version_numbers >= _FIXED_TOOLKIT or not _knows_clone3(facts):
        return
    versions = facts.packages.installed("nvidia-container-runtime")
    runtime = f"; nvidia-container-runtime {versions.version}" if versions is not None else ""
    package = docker.package
    yield Finding(
        "this Docker is too new for JetPack 4's nvidia runtime",
        f"The nvidia runtime of JetPack 4 brings an old runc, which refuses the seccomp profile of Docker {docker.version} "
        "(syscall clone3): nothing starts with --runtime nvidia.",
        (
            Evidence(Where(_RELEASE), "R32 (JetPack 4)"),
            Evidence(
                Where(facts.packages.source if package is not None else docker.version_source),
                f"{package.name} {package.version}" if package is not None else f"version {docker.version}",
            ),
            Evidence(Where(toolkit.version_source), f"version {toolkit.version}{runtime}"),
        ),
        Cure(
            "SHOWN",
            "Take docker.io and containerd back to the versions of JetPack and hold them, or upgrade NVIDIA's container packages "
            "to 1.7.0 or newer from NVIDIA's repository.",
            (
                "apt-cache madison docker.io containerd",
                "sudo apt-get install --allow-downgrades -y docker.io=VERSION containerd=VERSION",
                "sudo apt-mark hold docker.io containerd",
                advice.restart_docker(facts),
            ),
            f"A package downgrade loses security fixes. {advice.RESTART_RISK}",
        ),
    )


def _knows_clone3(facts: Facts) -> bool:
    """Say whether this Docker has the change: from 20.10.10, or carried back into Ubuntu's docker.io 20.10.7-0ubuntu5."""
    numbers = facts.docker.version_numbers[:3]
    package = facts.docker.package
    if package is None or package.name != "docker.io":
        return numbers >= _CHANGED
    if tables.version(package.version)[:3] != _CARRIED_BACK:
        return numbers > _CARRIED_BACK
    revision = tables.version(package.version.partition("ubuntu")[2])
    return bool(revision) and revision[0] >= _UBUNTU_REVISION


RULE = Rule(
    "jetson/jetson-docker-too-new-for-runtime",
    136,
    "error",
    "this Docker is too new for JetPack 4's nvidia runtime",
    check,
    breaks=("container",),
    needs=("gpu", "toolkit"),
    signs=(
        "error adding seccomp filter rule for syscall clone3 + (nvidia|jetson|l4t|tegra)",
        "requested action matches default action of filter + (nvidia|jetson|l4t|tegra)",
    ),
)
