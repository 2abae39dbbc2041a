"""libnvidia-container does not know cgroup v2, and this host runs cgroup v2.

Before 1.8.0 the hook could open the device cgroup of version 1 only. Distributions have booted version 2
since about 2021 (Debian 11, Ubuntu 21.10, Fedora 31, Arch), and there every GPU container fails with
"nvidia-container-cli: container error: cgroup subsystem devices not found". A distribution's own build of a
newer library fails in the same way if its helper, libnvidia-container-go.so.1, is left out.

How it is told from its look-alikes: the library is old, or its helper is not beside it. With
`toolkit/rootless-needs-no-cgroups` the words name bpf_prog_query or devices.allow, and the library is a newer
one. With no-cgroups = true the hook does not look for the cgroup at all: then this is a warning, since only
containers that are given the nodes by --device work.

Cure: upgrade to 1.8.0 or newer, best to the newest, from NVIDIA's repository. The two work-arounds of old
guides are worse: `systemd.unified_cgroup_hierarchy=0` works up to systemd 255 only (256 and 257 refuse or
ignore it and boot 30 seconds slower, 258 has no cgroup v1 at all), and no-cgroups = true takes the GPU from
every rootful container without --device.

Sources: libnvidia-container release notes of 1.8.0; nvidia-docker issue 1447; systemd NEWS 256 to 258.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor import tables
from gpudoctor.formats import cmdline
from gpudoctor.host import Unseen
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Refused, Rule, Where
from gpudoctor.rules import advice, steps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.model import Steps, Wishes

_REFUSED, _REMOVED = 256, 258  # the systemd that refuses cgroup v1 unless forced, and the one that has it no more


def check(facts: Facts) -> Iterator[Finding]:
    """Find cgroup v2 with a library that cannot serve it."""
    docker, toolkit = facts.docker, facts.toolkit
    if not docker.installed or docker.kind in {"snap", "desktop"}:
        raise NotApplicable("No Docker on this host uses the host's own toolkit.")
    if facts.cgroup.mode != "v2":
        raise NotApplicable("This host does not run cgroup v2.")
    if not facts.gpus.present or facts.platform.jetson:
        raise NotApplicable("There is no GPU here that the legacy hook would serve.")
    version = toolkit.library_version
    if version is None:
        raise NotApplicable("libnvidia-container is not installed.")
    if not toolkit.hook_acts:
        raise NotApplicable(f"No container goes through the hook here ({toolkit.summary}).")
    lacking = None
    if tables.version(version) >= tables.toolkit_since("cgroup-v2"):
        lacking = toolkit.library_without_helper
        if lacking is None:
            raise NotApplicable(
                f"libnvidia-container {version} serves cgroup v2 by itself: going back to cgroup v1 is not needed."
            )
    if toolkit.no_cgroups and (docker.kind == "rootless" or facts.platform.lxc):
        return
    coming = facts.boot.next_args
    if coming is not None and cmdline.unified_cgroup(coming) is False and (facts.platform.systemd_version or _REFUSED) < _REFUSED:
        raise NotApplicable("The next boot brings cgroup v1, which this library serves; host/waits-for-reboot says so.")
    evidence = [
        Evidence(Where(facts.cgroup.source), "cgroup v2"),
        Evidence(Where(facts.packages.source), f"libnvidia-container {version}; cgroup v2 is served from 1.8.0 on"),
    ]
    if lacking is not None:
        evidence.insert(0, Evidence(Where(lacking), "libnvidia-container-go.so.1 is not beside it"))
    if toolkit.no_cgroups:
        place = Where(toolkit.config_path, toolkit.line("nvidia-container-cli", "no-cgroups"))
        evidence.append(Evidence(place, "no-cgroups = true hides it: the hook then does not open the device cgroup at all"))
    outcome = (
        "only containers that are given the device nodes by --device work."
        if toolkit.no_cgroups
        else "every GPU container fails (cgroup subsystem devices not found)."
    )
    yield Finding(
        "libnvidia-container cannot serve cgroup v2",
        f"libnvidia-container {version} cannot open the device cgroup of this host, which runs cgroup v2: {outcome}",
        tuple(evidence),
        Cure(
            "SHOWN",
            "Upgrade the toolkit to 1.8.0 or newer from NVIDIA's repository"
            + (", and only then set no-cgroups = false." if toolkit.no_cgroups else "; do not go back to cgroup v1."),
            advice.install_toolkit(facts),
            advice.RESTART_RISK,
        ),
        severity="warning" if toolkit.no_cgroups else "error",
    )


def fix(facts: Facts, wishes: Wishes) -> Steps:
    """Give the next boot cgroup v1, where systemd still has it; the upgrade of the toolkit is the better cure."""
    version = facts.platform.systemd_version
    if version is None:
        raise Unseen("systemctl --version", "systemd's version is not known")
    if facts.toolkit.library_without_helper is not None:
        raise Refused("The library's own helper is missing, which a reinstallation brings back.")
    if facts.toolkit.no_cgroups:
        raise Refused(
            "no-cgroups = true keeps the hook from the device cgroup of any version: upgrade the toolkit, then set it to false."
        )
    if version >= _REMOVED:
        raise Refused(f"systemd {version} has no cgroup v1: the argument would do nothing.")
    arguments = ["systemd.unified_cgroup_hierarchy=0"]
    if version >= _REFUSED:
        if not wishes.force:
            raise Refused(
                f"systemd {version} {'refuses to boot with' if version == _REFUSED else 'ignores'} cgroup v1 unless it is forced, waits 30 "
                "seconds at each boot, and this kernel may lack v1's memory and cpuset controllers.",
                forcible=True,
            )
        arguments.append("SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1")
    yield from steps.add_kernel_arguments(facts, arguments, wishes)


RULE = Rule(
    "toolkit/cgroupv2-old-libnvidia-container",
    22,
    "error",
    "libnvidia-container cannot serve cgroup v2",
    check,
    breaks=("container",),
    needs=("gpu", "driver", "toolkit"),
    fix=fix,
    signs=(
        "cgroup subsystem devices not found",
        "container error: cgroup subsystem",
        "no cgroup filesystem mounted for the devices subsy*",
    ),
)
