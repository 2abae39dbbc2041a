"""The nvidia runtime is configured in a daemon.json that no dockerd on this host reads.

Each dockerd reads one file: a rootful one /etc/docker/daemon.json, a rootless one
~/.config/docker/daemon.json of its user, the snap /var/snap/docker/current/config/daemon.json, and any of
them another one that `--config-file` names (NAS systems do this). `nvidia-ctk runtime configure` writes
/etc/docker/daemon.json unless it is told otherwise. What stands in a file that nobody reads has no effect,
and `--runtime=nvidia` says "unknown or invalid runtime name: nvidia" after any number of restarts.

How it is told from its look-alikes: with `docker/docker-not-restarted` the file is the right one and the
process is older; with `docker/docker-desktop-linux` the daemon is in another machine. A file of a rootless
daemon that is installed and not running now is not taken for a wrong one, nor is any file where the daemon in
use knows the runtime.

Cure: register the runtime in the file that this dockerd reads, then restart that dockerd (from 25.0 on a
reload is enough, which stops nothing). The other file may stay. The fix registers it as the other file has it,
arguments included, where this dockerd finds that program.

Sources: Docker documentation (rootless mode, daemon configuration file), docker snap's README, NVIDIA
container toolkit installation guide (`--config`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts.docker import ROOTFUL_JSON, SNAP_JSON
from gpudoctor.host import Absent, NoAnswer
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Refused, Rule, Where
from gpudoctor.rules import advice, steps
from gpudoctor.rules.docker import _daemon

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.facts.docker import ConfigFile
    from gpudoctor.model import Steps, Wishes

SYNOLOGY_JSON = "/var/packages/ContainerManager/etc/dockerd.json"


def check(facts: Facts) -> Iterator[Finding]:
    """Find a file that registers the nvidia runtime beside a daemon that reads another one and lacks it."""
    docker = facts.docker
    if not docker.installed:
        raise NotApplicable("There is no Docker on this host.")
    if docker.kind == "desktop":
        raise NotApplicable("Docker Desktop's daemon reads no file of this host.")
    if docker.has_nvidia_runtime or "nvidia" in docker.config_runtimes:
        return
    written = _written(facts)
    if not written:
        return
    daemon, path = docker.daemon, docker.config_path
    argv = docker.daemon.argv if docker.daemon is not None else docker.unit_argv
    why = (
        "--config-file on its command line" if any(word.startswith("--config-file") for word in argv) else f"it is {docker.kind}"
    )
    snap = docker.kind == "snap"
    yield Finding(
        "the nvidia runtime is in a daemon.json that nobody reads",
        f"This dockerd reads {path} ({why}), so the nvidia runtime in {written[0].path} has no effect.",
        (
            *(Evidence(Where(each.path, each.line("runtimes.nvidia")), "registers the nvidia runtime") for each in written),
            Evidence(Where(path), "no runtimes.nvidia" if docker.config.data else "absent"),
            *_daemon.seen(facts, daemon),
        ),
        Cure(
            "SHOWN" if snap else "DISRUPTIVE",
            "A snap cannot run the host's runtime: use Docker's own packages."
            if snap
            else f"Register the nvidia runtime in {path}.",
            ("sudo snap remove docker",) if snap else (_daemon.register(facts, path), _daemon.restart(facts, daemon)),
            "The snap's images and volumes are lost unless they are saved first (snap save docker)."
            if snap
            else advice.RESTART_RISK,
        ),
    )


def _written(facts: Facts) -> list[ConfigFile]:
    """Return the files that register the nvidia runtime and that no dockerd here reads."""
    docker = facts.docker
    read = {_real(facts, config.path) for _, config in docker.configs}
    others = [ROOTFUL_JSON, SNAP_JSON, SYNOLOGY_JSON]
    if not _rootless_waits(facts):
        others += [f"{home}/.config/docker/daemon.json" for home in docker.homes]
    return [config for path in others if _real(facts, path) not in read and (config := _registers(facts, path)) is not None]


def _real(facts: Facts, path: str) -> str:
    """Return the path with its links resolved: a snap's ``current`` is a link to a revision."""
    try:
        return facts.host.real(path)
    except (Absent, NoAnswer):
        return path


def _registers(facts: Facts, path: str) -> ConfigFile | None:
    """Return a daemon.json that registers the nvidia runtime; one that may not be read belongs to somebody else."""
    try:
        config = facts.docker.read_config(path)
    except NoAnswer:
        return None
    runtimes = config.value.get("runtimes")
    return config if isinstance(runtimes, dict) and "nvidia" in runtimes else None


def _rootless_waits(facts: Facts) -> bool:
    """Say whether a rootless daemon is set up that does not run now: the file in its user's home is its own."""
    docker = facts.docker
    if any(daemon.kind == "rootless" for daemon in docker.daemons):
        return False
    return any(facts.host.lstat(f"{home}/.config/systemd/user/docker.service") is not None for home in docker.homes)


def fix(facts: Facts, _: Wishes) -> Steps:
    """Register the runtime in the daemon.json that the daemon does read; the file that nobody reads stays as it is."""
    docker = facts.docker
    if docker.kind == "snap":
        raise Refused("A snap cannot run the host's runtime, whatever its daemon.json says: use Docker's own packages.")
    # As it was meant, with its arguments, where this daemon finds that program.
    meant = next((config.value["runtimes"]["nvidia"] for config in _written(facts)), None)
    program = meant.get("path") if isinstance(meant, dict) else None
    if isinstance(meant, dict) and isinstance(program, str) and docker.which(program) is not None:
        yield steps.daemon_setting(facts, ("runtimes", "nvidia"), meant, docker.daemon)
    elif facts.toolkit.runtime is not None:
        yield steps.daemon_setting(facts, ("runtimes", "nvidia", "path"), "nvidia-container-runtime", docker.daemon)
    else:
        raise Refused(
            "nvidia-container-runtime is not on this daemon's PATH, so registering it helps nobody: install the toolkit first."
        )
    yield steps.load_runtimes(facts, docker.daemon)


RULE = Rule(
    "docker/daemon-json-wrong-file",
    108,
    "error",
    "the nvidia runtime is in a daemon.json that nobody reads",
    check,
    breaks=("runtime",),
    needs=("gpu",),
    follows=("docker/docker-snap",),
    fix=fix,
    signs=(
        "no runtime for nvidia is configured",
        "unknown or invalid runtime name: nvidia",
        "unknown runtime specified nvidia",
        "~ runtimes: {",
        "~ --config-file",
        "~ (.config/docker/daemon.json|/var/snap/docker/current/config|containermanager)",
    ),
)
