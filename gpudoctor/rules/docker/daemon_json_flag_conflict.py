"""The same option is given to dockerd as a flag and in daemon.json, so it does not start.

dockerd does not choose between the two: "the following directives are specified both as a flag and in the
configuration file", even where both say the same. The usual ones: `hosts` in the file beside `-H fd://` of
the distribution's unit, and `--add-runtime`, `--default-runtime` or `--exec-opt` in a systemd drop-in from an
old guide beside the lines that nvidia-ctk or a newer guide wrote. Runtimes alone are merged from 18.09 on and
then are no conflict.

A dockerd that was started before the edit goes on, and will not come back after its next restart: a warning.

How it is told from its look-alikes: with `docker/daemon-json-invalid` the file itself is refused; here it is
valid, and only the two together are not.

Cure: keep one of the two. The file is the better place: take the flag out of the unit (`systemctl edit
docker`: an empty `ExecStart=`, then the whole line without the flag), or the key out of the file, then
`systemctl daemon-reload` and restart Docker.

Sources: moby source (daemon/config, findConfigurationConflicts) and its change for runtimes in 18.09;
NVIDIA/nvidia-docker issue 787.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.formats import dockerd
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules import advice, steps
from gpudoctor.rules.docker import _daemon

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.model import Steps, Wishes

_MERGES_RUNTIMES = (18, 9)


def check(facts: Facts) -> Iterator[Finding]:
    """Find an option that stands both on dockerd's command line and in the daemon.json that it reads."""
    docker = facts.docker
    if not docker.installed:
        raise NotApplicable("There is no Docker on this host.")
    if docker.kind == "desktop" and not docker.daemons:
        raise NotApplicable("Docker Desktop keeps its daemon's settings in its own machine.")
    merges = not docker.version_numbers or docker.version_numbers >= _MERGES_RUNTIMES
    for daemon, config in docker.configs:
        line = docker.unit_line if daemon is None or daemon.kind == "rootful" else None
        argv = docker.unit_argv if line is not None else daemon.argv if daemon is not None else ()
        keys = dockerd.keys(config.value)
        both = {flag.key: flag.word for flag in dockerd.flags(argv) if flag.key in keys}
        if merges:
            both.pop("runtimes", None)
        if not both:
            continue
        if line is not None:
            unit = Where(line.path, line.line)
        else:
            unit = Where(f"/proc/{daemon.pid}/cmdline" if daemon is not None else "dockerd")
        named = ", ".join(both)
        down = daemon is None
        after = "dockerd does not start." if down else "The running dockerd will not come back after its next restart."
        yield Finding(
            "an option is both a flag and in daemon.json",
            f"dockerd is given {named} on its command line and in {config.path}, and refuses both together. {after}",
            (
                *(Evidence(unit, f"starts dockerd with {word}") for word in both.values()),
                *(Evidence(Where(config.path, config.line(keys[key])), f"sets {keys[key]}") for key in both),
                *_daemon.seen(facts, daemon),
            ),
            Cure(
                "DISRUPTIVE",
                f"Take {named} out of {config.path}, or {', '.join(both.values())} out of the command line, then restart Docker.",
                (_daemon.edit(config.path), "sudo systemctl daemon-reload", _daemon.restart(facts, daemon))
                if line is not None
                else (_daemon.edit(config.path), _daemon.restart(facts, daemon)),
                "None: Docker is down." if down else advice.RESTART_RISK,
            ),
            severity=None if down else "warning",
            breaks=("daemon",) if down else (),
        )


def fix(facts: Facts, _: Wishes) -> Steps:
    """Take the option out of daemon.json: the flag is what the daemon runs with, where it runs at all."""
    from gpudoctor.formats.edit import daemon_json as editor

    docker = facts.docker
    merges = not docker.version_numbers or docker.version_numbers >= _MERGES_RUNTIMES
    for daemon, config in docker.configs:
        line = docker.unit_line if daemon is None or daemon.kind == "rootful" else None
        argv = docker.unit_argv if line is not None else daemon.argv if daemon is not None else ()
        keys = dockerd.keys(config.value)
        both = {flag.key for flag in dockerd.flags(argv) if flag.key in keys} - ({"runtimes"} if merges else set())
        if not both:
            continue

        def change(data: bytes | None, both: set[str] = both, keys: dict[str, str] = keys) -> bytes:
            for key in sorted(both):
                data = editor.remove(data or b"", tuple(keys[key].split(".")), prune=True)
            return data or b""

        yield steps.daemon_json(facts, change, daemon)
        if daemon is not None:
            yield steps.restart_docker(facts, daemon)
        else:
            yield steps.then(_daemon.restart(facts, None, "start"), "Docker is down and can start now.")


RULE = Rule(
    "docker/daemon-json-flag-conflict",
    89,
    "error",
    "an option is both a flag and in daemon.json",
    check,
    breaks=("daemon",),
    fix=fix,
    signs=("specified*as a flag and in the configuration file + nvidia",),
)
