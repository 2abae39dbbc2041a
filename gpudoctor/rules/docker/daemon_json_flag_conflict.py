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
`systemctl daemon-reload` and restart Docker. The fix takes the key out of the file where the flag says all that
it says, so that nothing changes; where they differ it asks you which one is meant (with --force the flag stays).

Sources: moby source (daemon/config, findConfigurationConflicts) and its change for runtimes in 18.09;
NVIDIA/nvidia-docker issue 787.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpudoctor.formats import dockerd
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Refused, Rule, Where
from gpudoctor.rules import advice, steps
from gpudoctor.rules.docker import _daemon

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.facts.docker import ConfigFile, Process
    from gpudoctor.formats.unit import ExecLine
    from gpudoctor.model import Steps, Wishes

_MERGES_RUNTIMES = (18, 9)


def check(facts: Facts) -> Iterator[Finding]:
    """Find an option that stands both on dockerd's command line and in the daemon.json that it reads."""
    docker = facts.docker
    if not docker.installed:
        raise NotApplicable("There is no Docker on this host.")
    if docker.kind == "desktop" and not docker.daemons:
        raise NotApplicable("Docker Desktop keeps its daemon's settings in its own machine.")
    for daemon, config in docker.configs:
        both = doubled(facts, daemon, config)
        if not both:
            continue
        line, _ = _command_line(facts, daemon)
        keys = dockerd.keys(config.value)
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


def doubled(facts: Facts, daemon: Process | None, config: ConfigFile) -> dict[str, str]:
    """Return each option that a dockerd would find both on its command line and in its daemon.json, with the flag that gives it."""
    version = facts.docker.version_numbers
    _, argv = _command_line(facts, daemon)
    keys = dockerd.keys(config.value)
    both = {flag.key: flag.word for flag in dockerd.flags(argv) if flag.key in keys}
    if not version or version >= _MERGES_RUNTIMES:
        both.pop("runtimes", None)
    return both


def _command_line(facts: Facts, daemon: Process | None) -> tuple[ExecLine | None, tuple[str, ...]]:
    """Return the unit's line and the command line with which a dockerd would be started next: the running one's where no unit does."""
    docker = facts.docker
    line = docker.unit_line if daemon is None or daemon.kind == "rootful" else None
    return line, docker.unit_argv if line is not None else daemon.argv if daemon is not None else ()


def fix(facts: Facts, wishes: Wishes) -> Steps:
    """Take the option out of daemon.json where the flag says as much; where they differ only if the user insists on the flag."""
    from gpudoctor.formats.edit import daemon_json as editor

    for daemon, config in facts.docker.configs:
        both = doubled(facts, daemon, config)
        if not both:
            continue
        line, argv = _command_line(facts, daemon)
        paths = {key: tuple(path.split(".")) for key, path in dockerd.keys(config.value).items() if key in both}
        differing = [key for key, path in paths.items() if not _covers(dockerd.given(argv, key), _at(config.value, path))]
        if differing and not wishes.force:
            raise Refused(
                f"{', '.join(differing)} is not the same in {config.path} and on the command line, and which one is meant cannot be told: "
                "take out one of them.",
                forcible=True,
            )

        def change(data: bytes | None, paths: dict[str, tuple[str, ...]] = paths) -> bytes:
            for path in paths.values():
                data = editor.remove(data or b"", path, prune=True)
            return data or b""

        yield steps.daemon_json(facts, change, daemon)
        if line is not None:
            # The flag may stand in a drop-in that systemd has not read yet.
            yield steps.DAEMON_RELOAD
        mends = "docker/daemon-json-flag-conflict"
        yield steps.start_docker(facts, mends=mends) if daemon is None else steps.restart_docker(facts, daemon, mends=mends)


def _at(value: dict[str, Any], path: tuple[str, ...]) -> object:
    for name in path:
        value = value[name]
    return value


def _covers(given: tuple[str, ...], value: object) -> bool:
    """Say whether a command line's values have all that daemon.json says of the same option, so that the file's may go."""
    if isinstance(value, dict):
        wanted = {f"{name}={_word(each)}" for name, each in value.items()}
    elif isinstance(value, list):
        wanted = {_word(each) for each in value}
    else:
        return given[-1:] == (_word(value),)
    # By fd:// dockerd is given its usual socket, which systemd opens.
    return wanted <= {*given, *(_SOCKETS if "fd://" in given else ())}


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


_SOCKETS = ("unix:///var/run/docker.sock", "unix:///run/docker.sock")


RULE = Rule(
    "docker/daemon-json-flag-conflict",
    89,
    "error",
    "an option is both a flag and in daemon.json",
    check,
    breaks=("daemon",),
    fix=fix,
    signs=(
        "specified*as a flag and in the configuration file + nvidia",
        "as a flag and in the configuration file: (runtimes|default-runtime|features|exec-opts|cdi-spec-dirs)*",
    ),
)
