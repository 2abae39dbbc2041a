"""The kernel arguments ask for cgroup v1, and nothing here needs it any more.

`systemd.unified_cgroup_hierarchy=0` was the advice of 2021 against "cgroup subsystem devices not found":
libnvidia-container before 1.8.0 knew cgroup v1 only. With a newer one it costs the features of v2 and gains
nothing. systemd 256 refuses to boot with it and 257 ignores it, both after a wait of 30 seconds, unless
SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1 is given too; from 258 on there is no cgroup v1 at all.

How it is told from its look-alikes: up to systemd 255, with libnvidia-container older than 1.8.0, the
argument is the cure that it was meant to be, and nothing is said (`toolkit/cgroupv2-old-libnvidia-container`
is the same host without it). A change that has not been booted yet is `host/waits-for-reboot` as well.

Cure: take the argument out and reboot. Under cgroup v2 Docker's default driver is systemd, with which the
legacy hook's containers lose the GPU at a daemon-reload: use CDI, or native.cgroupdriver=cgroupfs.

Sources: systemd NEWS 248, 256, 257, 258; libnvidia-container release notes of 1.8.0; each systemd booted with
it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor import tables
from gpudoctor.formats import cmdline
from gpudoctor.host import Unseen
from gpudoctor.model import REBOOT, Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules import advice, steps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.facts.boot import Args
    from gpudoctor.model import Steps, Wishes

_ARGUMENT = "systemd.unified_cgroup_hierarchy"
_FORCE = "SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE"
_REFUSED = 256
_REMOVED = 258


def check(facts: Facts) -> Iterator[Finding]:
    """Find the argument in the running or the next boot, on a host that has outgrown it."""
    platform, boot = facts.platform, facts.boot
    if platform.wsl or platform.container is not None:
        raise NotApplicable("The kernel's arguments are not decided inside this machine.")
    if not platform.systemd:
        raise NotApplicable("This host is not run by systemd.")
    coming = boot.next_args
    now = cmdline.unified_cgroup(boot.args) is False
    later = coming is not None and cmdline.unified_cgroup(coming) is False
    if not now and not later:
        return
    version = platform.systemd_version
    if version is None:
        raise Unseen("systemctl --version", "systemd's version is not known")
    library = None
    if version < _REFUSED:
        library = facts.toolkit.library_version
        if library is None:
            raise NotApplicable("libnvidia-container is not installed, so the argument is not there for its sake.")
        if tables.version(library) < tables.toolkit_since("cgroup-v2"):
            return
    # Where both have it, what the next boot says is what has to be changed.
    args: Args = coming if later and coming is not None else boot.args
    argument = f"{_ARGUMENT}={cmdline.values(args, _ARGUMENT)[-1]}"
    evidence = [Evidence(Where("/proc/cmdline"), f"{_ARGUMENT}={cmdline.values(boot.args, _ARGUMENT)[-1]}")] if now else []
    if later:
        evidence.append(Evidence(Where(*boot.next_place(_ARGUMENT)), f"{argument} at the next boot"))
    evidence.append(Evidence(Where("systemd"), f"version {version}"))
    if library is not None:
        evidence.append(
            Evidence(Where(facts.packages.source), f"libnvidia-container {library}; cgroup v2 is served from 1.8.0 on")
        )
    yield Finding(
        "the kernel arguments ask for cgroup v1",
        _text(version, library, forced=bool(cmdline.values(args, _FORCE))),
        tuple(evidence),
        _cure(facts, argument, now=now, removed=coming is not None and not later),
        severity="warning" if _REFUSED <= version < _REMOVED else "hint",
    )


def _cure(facts: Facts, argument: str, *, now: bool, removed: bool) -> Cure:
    steps = () if removed else advice.remove_kernel_argument(facts, argument)
    if not now:
        summary = f"Take {_ARGUMENT} out of the kernel arguments again; the running kernel was not given it."
        return Cure("SAFE", summary, steps, "None.")
    risk = advice.REBOOT_RISK
    if facts.cgroup.mode in {"v1", "hybrid"}:
        risk += (
            " Under cgroup v2 Docker's default driver is systemd, and with the legacy hook containers then lose the GPU at systemctl "
            "daemon-reload: use CDI, or native.cgroupdriver=cgroupfs."
        )
    summary = f"Take {_ARGUMENT} out of the kernel arguments, then reboot."
    if removed:
        summary = "Reboot: the argument is already taken out."
    return Cure("DISRUPTIVE", summary, (*steps, "sudo reboot"), risk)


def _text(version: int, library: str | None, *, forced: bool) -> str:
    if version >= _REMOVED:
        return f"The kernel arguments ask for cgroup v1, which systemd {version} no longer has: the argument does nothing."
    if version >= _REFUSED and forced:
        return (
            f"The kernel arguments force cgroup v1 upon systemd {version}, which gives it up with 258; kernels of today may lack the "
            "memory and cpuset controllers of v1."
        )
    if version > _REFUSED:
        return (
            f"The kernel arguments ask for cgroup v1, which systemd {version} ignores after a wait of 30 seconds at each boot: the host "
            "runs cgroup v2 all the same."
        )
    if version == _REFUSED:
        return (
            f"The kernel arguments ask for cgroup v1, under which systemd {version} refuses to boot: each boot takes 30 seconds longer, "
            "or fails."
        )
    return (
        f"The kernel arguments ask for cgroup v1, which libnvidia-container {library} no longer needs; systemd 256 refuses to boot with "
        "it and later ones ignore it, so an upgrade of this system would stumble over it."
    )


def fix(facts: Facts, _: Wishes) -> Steps:
    """Take the argument, and what forces it, out of what the next boot is given."""
    boot = facts.boot
    coming = boot.next_args
    if coming is not None and cmdline.unified_cgroup(coming) is not False:
        # It is taken out already: only the reboot is left.
        yield REBOOT
        return
    args: Args = boot.args if coming is None else coming
    names = [name for name in (_ARGUMENT, _FORCE) if cmdline.values(args, name)]
    for step in steps.remove_kernel_arguments(facts, [(name, cmdline.values(args, name)[-1]) for name in names]):
        # A kernel that was never given the argument need not boot for it.
        if step != REBOOT or cmdline.unified_cgroup(boot.args) is False:
            yield step


RULE = Rule("host/cgroup-v1-argument-obsolete", 46, "hint", "the kernel arguments ask for cgroup v1", check, fix=fix)
