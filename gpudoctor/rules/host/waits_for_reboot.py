"""A change that concerns the GPU or the cgroups takes effect at the next boot only, and that boot has not come.

Either the kernel arguments of the next boot (/etc/default/grub with its drop-ins, or /etc/kernel/cmdline) say
something else about cgroups than the running kernel was given, or the package manager asks for a reboot
because of NVIDIA packages. Until then the host works as before, and a cure that was applied seems not to
help.

How it is told from its look-alikes: running and coming arguments are both shown. Where grub.cfg has not been
written since the edit, a reboot alone changes nothing, and this is said. If the loaded driver already differs
from its libraries, that is `host/driver-library-mismatch`, and this follows from it.

Cure: reboot when it suits; where needed, write grub.cfg anew first. `gpudoctor fix` writes it and announces
the reboot.

Sources: kernel-command-line(7) of systemd; grub-mkconfig(8); update-notifier of Debian and Ubuntu.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.formats import cmdline
from gpudoctor.host import NoAnswer
from gpudoctor.model import REBOOT, Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules import advice, steps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.facts.boot import Args
    from gpudoctor.model import Steps, Wishes

_UNIFIED = "systemd.unified_cgroup_hierarchy"
_CGROUP = (_UNIFIED, "systemd.legacy_systemd_cgroup_controller", "SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE", "cgroup_no_v1")
_REQUIRED = "/var/run/reboot-required.pkgs"


def check(facts: Facts) -> Iterator[Finding]:
    """Find cgroup arguments, or NVIDIA packages, that only a reboot puts into force."""
    if facts.platform.wsl or facts.platform.container is not None:
        raise NotApplicable("This machine does not boot by itself.")
    yield from _arguments(facts)
    packages = []
    for number, line in enumerate((facts.host.text(_REQUIRED) or "").split("\n"), 1):
        if "nvidia" in line:
            packages.append((number, line.strip()))
    if packages:
        yield Finding(
            "NVIDIA packages wait for a reboot",
            "An upgrade of NVIDIA packages takes effect at the next boot; until then the running driver is the old one.",
            tuple(Evidence(Where(_REQUIRED, number), name) for number, name in packages),
            Cure("DISRUPTIVE", "Reboot when it suits.", ("sudo reboot",), advice.REBOOT_RISK),
        )


def _arguments(facts: Facts) -> Iterator[Finding]:
    boot = facts.boot
    coming = boot.next_args
    differing = _differing(facts)
    if coming is None or not differing:
        return
    evidence = []
    for name in differing:
        evidence.append(Evidence(Where(*boot.next_place(name)), f"as configured: {_shown(coming, name)}"))
        evidence.append(Evidence(Where("/proc/cmdline"), f"in force: {_shown(boot.args, name)}"))
    written = _not_written(facts, differing, coming)
    if written is not None:
        evidence.append(Evidence(Where(written), "still says what the running kernel was given"))
    before = "grub.cfg has to be written anew, and then " if written is not None else ""
    yield Finding(
        "changed kernel arguments wait for a reboot",
        f"The configured cgroup arguments differ from those of the running kernel: {before}the host has to be rebooted before the "
        "change holds.",
        tuple(evidence),
        Cure(
            "DISRUPTIVE",
            "Write grub.cfg anew, then reboot when it suits." if written is not None else "Reboot when it suits.",
            (advice.update_grub(facts), "sudo reboot") if written is not None else ("sudo reboot",),
            advice.REBOOT_RISK,
        ),
    )


def _differing(facts: Facts) -> list[str]:
    """Return the cgroup arguments that the next boot is given otherwise."""
    coming = facts.boot.next_args
    return [] if coming is None else [name for name in _CGROUP if _differs(facts, name, coming)]


def _differs(facts: Facts, name: str, coming: Args) -> bool:
    running = facts.boot.args
    if name != _UNIFIED:
        return cmdline.values(running, name)[-1:] != cmdline.values(coming, name)[-1:]
    asked = {cmdline.unified_cgroup(running), cmdline.unified_cgroup(coming)}
    # On a host that runs v2 by itself, asking for it changes nothing.
    return len(asked) > 1 and not (asked == {None, True} and facts.cgroup.mode == "v2")


def _shown(args: Args, name: str) -> str:
    values = cmdline.values(args, name)
    if not values:
        return f"no {name}"
    return name if values[-1] is None else f"{name}={values[-1]}"


def _not_written(facts: Facts, names: list[str], coming: Args) -> str | None:
    """Return grub.cfg's path where it does not have the coming arguments yet."""
    if facts.boot.loader != "grub":
        return None
    try:
        written = facts.boot.grub_cfg
    except NoAnswer:
        # Only root may read it on some hosts; that a reboot is due is certain without it.
        return None
    if written is None:
        return None
    path, args = written
    same = all(cmdline.values(args, name)[-1:] == cmdline.values(coming, name)[-1:] for name in names)
    return None if same else path


def fix(facts: Facts, _: Wishes) -> Steps:
    """Write grub.cfg anew where that was forgotten, and announce the reboot."""
    coming, differing = facts.boot.next_args, _differing(facts)
    if coming is not None and differing and _not_written(facts, differing, coming) is not None:
        yield steps.update_grub(facts)
    yield REBOOT


RULE = Rule(
    "host/waits-for-reboot",
    47,
    "warning",
    "a change waits for a reboot",
    check,
    follows=("host/driver-library-mismatch",),
    fix=fix,
)
