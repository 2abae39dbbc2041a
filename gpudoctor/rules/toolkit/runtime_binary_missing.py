"""Docker is told of an NVIDIA runtime whose program is not installed.

daemon.json (or dockerd's command line) registers a runtime by the path of its program, and nothing checks it
until a container asks for it: "fork/exec /usr/bin/nvidia-container-runtime: no such file or directory", or
"exec: "nvidia-container-runtime": executable file not found in $PATH". It comes of packages that were removed
or renamed (nvidia-docker2, nvidia-container-runtime) while daemon.json stayed. Where the runtime is the
default one, no container starts any more, not even one without a GPU. In legacy mode the runtime needs
nvidia-container-runtime-hook as well, which a half-removed toolkit lacks.

How it is told from its look-alikes: with `docker/default-runtime-nvidia-without-gpu` the program is there and
the GPU is gone. If nothing of the toolkit is there, `toolkit/toolkit-not-installed` is the cause and this
follows from it. A runtime that is registered nowhere is `docker/runtime-not-registered`.

Cure: install the toolkit again, or register the path where the program now is, or, on a machine without a
GPU, take the entry out of daemon.json. Docker has to be restarted. The fix does the last two, and keeps the
runtime's arguments; it installs nothing.

Sources: nvidia-docker issues 686, 875, 1190, 1337; dockerd reference (runtimes); NVIDIA container toolkit
source (runtime modes).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts.toolkit import PACKAGES
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Refused, Rule, Where
from gpudoctor.rules import advice, steps
from gpudoctor.rules.docker import _daemon
from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.model import Steps, Wishes

_FLAG = "dockerd's command line"


class _Entry(NamedTuple):
    name: str
    program: str
    where: Where


def check(facts: Facts) -> Iterator[Finding]:
    """Find a registered NVIDIA runtime that the daemon cannot start."""
    docker, toolkit = facts.docker, facts.toolkit
    if not docker.installed:
        raise NotApplicable("There is no Docker on this host.")
    if docker.kind in {"snap", "desktop"}:
        raise NotApplicable("A snap and Docker Desktop find their runtimes in a file system of their own.")
    entries = _entries(facts)
    if not entries:
        raise NotApplicable("Docker is told of no NVIDIA runtime.")
    missing = [entry for entry in entries if docker.which(entry.program) is None]
    if missing:
        yield _finding(facts, missing)
    elif toolkit.runtime_path == "legacy" and toolkit.hook is None and not _hook_by_path(facts):
        searched = ":".join(docker.path)
        yield Finding(
            "the NVIDIA runtime's hook is missing",
            "The nvidia runtime is in legacy mode and hands each container to nvidia-container-runtime-hook, which is not there, so no "
            "container with --runtime=nvidia starts.",
            (
                Evidence(entries[0].where, f"runtime {entries[0].name}: {entries[0].program}"),
                Evidence(Where("dockerd's PATH"), f"no nvidia-container-runtime-hook in {searched}"),
            ),
            Cure("SHOWN", "Install nvidia-container-toolkit anew.", _install(facts), advice.RESTART_RISK),
        )


def _entries(facts: Facts) -> list[_Entry]:
    docker = facts.docker
    found: dict[tuple[str, str], _Entry] = {}

    def add(name: str, program: object, where: Where) -> None:
        if isinstance(program, str) and program and ("nvidia" in name or "nvidia" in program):
            found.setdefault((name, program), _Entry(name, program, where))

    config = docker.config
    for name, value in docker.config_runtimes.items():
        if isinstance(value, dict):
            add(name, value.get("path"), Where(config.path, config.line(f"runtimes.{name}.path")))
    for name, path in docker.flag_runtimes.items():
        add(name, path, Where(_FLAG))
    for name, value in (docker.runtimes or {}).items():
        if isinstance(value, dict):
            add(name, value.get("path"), Where("docker info"))
    return list(found.values())


def _finding(facts: Facts, missing: list[_Entry]) -> Finding:
    docker, toolkit = facts.docker, facts.toolkit
    entry = missing[0]
    names = {each.name for each in missing}
    default = docker.default_runtime in names
    users = [container.name for container in docker.known_containers if container.runtime in names]
    hurts = (
        "every container fails to start, also one without a GPU" if default else f"containers with --runtime={entry.name} fail"
    )
    lost = default or bool(users) or toolkit.gpus_path == "none"
    evidence = [Evidence(each.where, f"runtime {each.name}: {each.program}") for each in missing]
    if entry.program.startswith("/"):
        evidence.append(Evidence(Where(entry.program), "absent"))
    else:
        evidence.append(Evidence(Where("dockerd's PATH"), f"no {entry.program} in {':'.join(docker.path)}"))
    if default:
        place = docker.config.line("default-runtime")
        evidence.append(
            Evidence(Where(docker.config.path, place) if place else Where("docker info"), f"default runtime {entry.name}")
        )
    if users:
        evidence.append(Evidence(Where("containers"), f"made with this runtime: {', '.join(sorted(users))}"))
    return Finding(
        "a registered NVIDIA runtime is not installed",
        f"Docker is told to run {entry.program} and there is no such program, so {hurts}.",
        tuple(evidence),
        _cure(facts, entry),
        severity="error" if default or (lost and facts.gpus.present) else "warning" if facts.gpus.present else "hint",
    )


def _cure(facts: Facts, entry: _Entry) -> Cure:
    toolkit, path = facts.toolkit, facts.docker.config_path
    if toolkit.runtime is not None and toolkit.ctk is not None and toolkit.since("runtime-configure"):
        summary = f"Register the runtime where it now is ({toolkit.runtime}), then restart Docker."
        return Cure("DISRUPTIVE", summary, (_daemon.register(facts, path), advice.restart_docker(facts)), advice.RESTART_RISK)
    if facts.gpus.present:
        summary = "Install nvidia-container-toolkit anew, then restart Docker."
        return Cure("SHOWN", summary, _install(facts), advice.RESTART_RISK)
    edit = f"{_daemon.edit(path)}  # take out runtimes.{entry.name}, and default-runtime where it names {entry.name}"
    summary = "Take the runtime out of daemon.json: this machine has no NVIDIA GPU. Then restart Docker."
    return Cure("DISRUPTIVE", summary, (edit, advice.restart_docker(facts)), advice.RESTART_RISK)


def _install(facts: Facts) -> tuple[str, ...]:
    there = [package for package in PACKAGES if facts.packages.installed(package) is not None]
    if not there:
        return advice.install_toolkit(facts)
    # The package manager thinks that the program is there, and would do nothing if it were merely asked to install it.
    return (advice.reinstall(facts, *there), advice.restart_docker(facts))


def _hook_by_path(facts: Facts) -> bool:
    told = facts.toolkit.setting("nvidia-container-runtime-hook", "path")
    return isinstance(told, str) and told.startswith("/") and facts.host.exists(told)


def fix(facts: Facts, _: Wishes) -> Steps:
    """Name the program by which the daemon finds it, or take the runtime out where there is no GPU; installing it is left to you."""
    from gpudoctor.formats.edit import daemon_json as editor

    docker = facts.docker
    missing = [entry for entry in _entries(facts) if docker.which(entry.program) is None]
    if not missing:
        raise Refused("The hook comes with the toolkit's package: install nvidia-container-toolkit anew.")
    if any(entry.where.path == _FLAG for entry in missing):
        raise Refused("The runtime stands on dockerd's command line: correct it, or take it out, in the unit's drop-in.")
    found: dict[str, str] = {}
    gone: list[str] = []
    for entry in missing:
        program = entry.program.rpartition("/")[2]
        if entry.where.path != docker.config.path:
            continue  # what only the running daemon still has, it loses with its restart
        if docker.which(program) is not None:
            found[entry.name] = program
        elif not facts.gpus.present:
            gone.append(entry.name)
        else:
            raise Refused(f"{program} is nowhere on dockerd's PATH: install nvidia-container-toolkit anew.")

    def change(data: bytes | None) -> bytes:
        for name, program in found.items():
            data = editor.set_value(data, ("runtimes", name, "path"), program)
        for name in gone:
            data = editor.remove(data or b"", ("runtimes", name), prune=True)
        if docker.config.value.get("default-runtime") in gone:
            data = editor.remove(data or b"", ("default-runtime",))
        return data or b""

    if found or gone:
        yield steps.daemon_json(facts, change)
    # A reload takes no default runtime away.
    yield steps.load_runtimes(facts) if found and not gone else steps.restart_docker(facts)


RULE = Rule(
    "toolkit/runtime-binary-missing",
    19,
    "error",
    "a registered NVIDIA runtime is not installed",
    check,
    breaks=("runtime",),
    needs=("toolkit",),
    follows=("docker/default-runtime-nvidia-without-gpu",),
    fix=fix,
    signs=(
        "exec: nvidia-container-cli: executable file not found",
        "/nvidia-container-runtime: no such file or directory",
        "exec: nvidia-container-runtime: executable file not found",
        "exec: nvidia-container-runtime-hook: executable file not found",
        "/nvidia-container-runtime-hook: no such file or directory",
        "/nvidia-container-toolkit: no such file or directory",
        "exec: nvidia-container-toolkit: executable file not found",
        "nvidia-container-runtime: executable file not found in $path",
        "(nvidia-container-runtime|nvidia-container-cli|nvidia-container-runtime-hook|nvidia-container-toolkit|nvidia-cdi-hook)?(no such file or directory|executable file not found)",
        "no runtime binary found from candidate list",
        "unable to retrieve oci runtime error*nvidia-container-runtime",
    ),
)
