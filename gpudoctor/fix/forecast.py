"""A host as it would be once a plan's commands ran: what a restart of Docker, or a boot, makes of files that were edited.

Only what follows from files with certainty is forecast. A module that would be loaded or a unit that would be started is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts import Facts
from gpudoctor.facts.docker import INFO
from gpudoctor.host import NoAnswer, Ran
from gpudoctor.host.book import Overlay
from gpudoctor.model import REBOOT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpudoctor.host import Host
    from gpudoctor.model import Then

# What docker info says that daemon.json decides: without it the facts go by the file.
_DECIDED = ("Runtimes", "DefaultRuntime", "CgroupDriver", "CDISpecDirs")
_TICKS = 100


def forecast(facts: Facts, edited: Overlay, then: Sequence[Then]) -> Host:
    """Return ``edited`` as it would be after the commands; ``facts`` are those of the host as it is."""
    files: dict[str, bytes | None] = dict(edited.files)
    commands: dict[tuple[str, ...], Ran] = {}
    try:
        if any("docker" in step.argv and {"restart", "start", "reload"} & set(step.argv) for step in then):
            commands.update(_restarted_info(facts, edited))
            files.update(_restarted_process(facts))
        if REBOOT in then:
            files.update(_booted(facts, Facts(edited)))
    except NoAnswer:
        # Where the host cannot say what is now, nothing is forecast, and the rules judge by what they see.
        return edited
    return Overlay(edited.host, files, edited.modes, commands)


def _restarted_info(facts: Facts, edited: Overlay) -> dict[tuple[str, ...], Ran]:
    info = facts.docker.info
    if info is None:
        return {}
    import json

    rest = {key: value for key, value in info.items() if key not in _DECIDED}
    bare = Ran(0, json.dumps(rest).encode(), b"")
    docker = Facts(Overlay(edited.host, edited.files, edited.modes, {INFO: bare})).docker
    if not docker.cdi_enabled:
        return {INFO: bare}
    # Where CDI is on, Docker says so by its folders, and nothing else does.
    return {INFO: Ran(0, json.dumps({**rest, "CDISpecDirs": list(docker.cdi_dirs)}).encode(), b"")}


def _restarted_process(facts: Facts) -> dict[str, bytes | None]:
    """Return /proc/PID/stat of the daemon with its start moved to now (field 22, in clock ticks since the boot: proc(5))."""
    from gpudoctor.formats import procfs

    daemon, today = facts.docker.daemon, facts.platform.now
    booted = procfs.boot_time(facts.host.bytes("/proc/stat") or b"")
    if daemon is None or booted is None or today is None:
        return {}
    path = f"/proc/{daemon.pid}/stat"
    before, sign, fields = (facts.host.text(path) or "").rpartition(")")
    words = fields.split()
    if not sign or len(words) < 20:
        return {}
    words[19] = str((today - booted) * _TICKS)
    return {path: f"{before}) {' '.join(words)}\n".encode()}


def _booted(facts: Facts, edited: Facts) -> dict[str, bytes | None]:
    """Return /proc/cmdline as the next boot would have it: what the edit takes from or adds to the arguments."""
    old, new = facts.boot.next_args, edited.boot.next_args
    if old is None or new is None or old == new:
        return {}
    words = (facts.host.text("/proc/cmdline") or "").split()
    gone = {_word(each) for each in old} - {_word(each) for each in new}
    kept = [word for word in words if word not in gone]
    added = [word for each in new if (word := _word(each)) not in kept and word not in {_word(other) for other in old}]
    return {"/proc/cmdline": (" ".join([*kept, *added]) + "\n").encode()}


def _word(argument: tuple[str, str | None]) -> str:
    name, value = argument
    return name if value is None else f"{name}={value}"
