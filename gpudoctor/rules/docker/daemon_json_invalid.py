"""daemon.json is not one valid JSON object, so dockerd does not start.

dockerd reads its daemon.json when it starts, and stops at the first thing that it does not understand:
"unable to configure the Docker daemon with file /etc/docker/daemon.json: invalid character ...". A comma too
many or too few, a second object, typographic quotes from a web page, or a whole HTML page saved under that
name are the usual ones. A key that no option has ("the following directives don't match any configuration
option") and a value of the wrong kind (`"cdi": "true"`) have the same effect. A byte order mark, or a file
with nothing in it, stops engines before 23.0 only.

A dockerd that was started before the edit goes on with what it read then. It knows nothing of the new lines,
and will not come back after the next restart or reboot: a warning.

How it is told from its look-alikes: with `docker/daemon-json-flag-conflict` the file is valid, but repeats a
flag; with `docker/docker-not-running` nothing is wrong with the file; with `docker/docker-not-restarted` the
file is right, and was edited later.

Cure: put the place right, check the file (`dockerd --validate`, from 23.0 on), and restart Docker. Only a person can say what was
meant there, so no program edits the file; and nothing here restarts a Docker that would not come back.

Sources: moby source (daemon/config), tried with dockerd 20.10, 26.1 and 28.5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpudoctor.formats import dockerd
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules import advice
from gpudoctor.rules.docker import _daemon

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.facts.docker import ConfigFile, Process

_FORGIVING = (23,)
"""From 23.0 on dockerd takes a byte order mark and an empty file, and has --validate."""
_SHAPES: dict[str, tuple[type, str]] = {
    "runtimes": (dict, "an object in braces"),
    "features": (dict, "an object in braces"),
    "default-runtime": (str, "text in double quotes"),
    "exec-opts": (list, "a list in brackets"),
    "cdi-spec-dirs": (list, "a list in brackets"),
    "hosts": (list, "a list in brackets"),
    "live-restore": (bool, "true or false"),
}


def check(facts: Facts) -> Iterator[Finding]:
    """Find a daemon.json that the daemon which reads it would refuse."""
    docker = facts.docker
    if not docker.installed:
        raise NotApplicable("There is no Docker on this host.")
    if docker.kind == "desktop" and not docker.daemons:
        raise NotApplicable("Docker Desktop keeps its daemon's settings in its own machine.")
    for daemon, config in docker.configs:
        found = refusal(facts, daemon, config)
        if found is None:
            continue
        where, reason, advised = found
        down = daemon is None
        after = (
            "dockerd does not start until this is put right."
            if down
            else "The running dockerd still has what it read before, and will not come back after its next restart."
        )
        validate = f"sudo dockerd --validate --config-file {config.path}"
        yield Finding(
            "daemon.json is not valid",
            f"dockerd refuses {config.path} ({reason}). {after}",
            (Evidence(where, reason), *_daemon.seen(facts, daemon)),
            Cure(
                "SHOWN",
                advised,
                (
                    _daemon.edit(config.path),
                    validate if docker.version_numbers >= _FORGIVING else f"python3 -m json.tool {config.path}",
                    _daemon.restart(facts, daemon),
                ),
                "None: Docker is down." if down else advice.RESTART_RISK,
            ),
            severity=None if down else "warning",
            breaks=("daemon",) if down else (),
        )


def refusal(facts: Facts, daemon: Process | None, config: ConfigFile) -> tuple[Where, str, str] | None:
    """Return place, reason and advice for a daemon.json that dockerd would refuse at its next start, None where it takes it."""
    stat = facts.host.followed(config.path) if daemon is not None else None
    edited = stat is not None and stat.mtime is not None and daemon is not None and stat.mtime > (daemon.started or stat.mtime)
    found = _broken(config, facts.docker.version_numbers)
    if found is None and (edited or daemon is None):
        # A running daemon has accepted this file, unless it was edited since.
        found = _refused(config)
    return found


def _broken(config: ConfigFile, engine: tuple[int, ...]) -> tuple[Where, str, str] | None:
    """Return place, reason and advice for a file that is not JSON."""
    malformed, document = config.malformed, config.document
    if malformed is not None:
        place = f" at column {malformed.column}" if malformed.column else ""
        return (
            Where(config.path, malformed.line or None),
            f"not valid JSON{place}: {malformed.reason}",
            "Correct the file at this place.",
        )
    if document is not None and engine and engine < _FORGIVING:
        if document.empty:
            return (
                Where(config.path),
                "the file is empty, which engines before 23.0 do not take",
                "Write {} into the file, or remove it.",
            )
        if document.bom:
            return (
                Where(config.path, 1),
                "a byte order mark, which engines before 23.0 do not take",
                "Save it as UTF-8 without a mark.",
            )
    return None


def _refused(config: ConfigFile) -> tuple[Where, str, str] | None:
    """Return place, reason and advice for a file that is JSON, but has a key or a value that dockerd does not take."""
    for key, (shape, words) in _SHAPES.items():
        value = config.value.get(key)
        if value is not None and not isinstance(value, shape):
            return Where(config.path, config.line(key)), f"the value of {key} must be {words}", "Give it a value of this kind."
    inner = _inner(config.value)
    if inner is not None:
        return Where(config.path, config.line(inner[0])), inner[1], "Give it a value of this kind."
    unknown = dockerd.unknown(config.value)
    if unknown:
        names = ", ".join(unknown)
        return (
            Where(config.path, config.line(unknown[0])),
            f"no option of dockerd is called {names}",
            f"Take out {names}, or correct it.",
        )
    return None


def _inner(value: dict[str, Any]) -> tuple[str, str] | None:
    for name, each in (value.get("features") or {}).items():
        if not isinstance(each, bool) and each is not None:
            return f"features.{name}", f"the value of features.{name} must be true or false, without quotes"
    for name, each in (value.get("runtimes") or {}).items():
        if not isinstance(each, dict) and each is not None:
            return f"runtimes.{name}", f"the value of runtimes.{name} must be an object in braces"
    return None


RULE = Rule(
    "docker/daemon-json-invalid",
    24,
    "error",
    "daemon.json is not valid",
    check,
    breaks=("daemon",),
    signs=(
        "unable to configure the docker daemon with file*(invalid character|unexpected end of json|cannot unmarshal|unexpected eof)",
        "invalid character*(looking for beginning|after object key|after top-level value|after array element) + daemon.json",
        "daemon.json + (]|}) runtimes: {",
        "daemon.json + job for docker.service failed",
        "no runtime for nvidia is configured",
        "unknown or invalid runtime name: nvidia",
        "unknown runtime specified nvidia",
        "the following directives don't match any configuration option",
        "unable to load config for runtime docker",
        "invalid character*(in literal|in string|in numeric|after object)* + daemon.json",
        "~ runtimes: {",
    ),
)
