"""Docker was not restarted since its configuration or the toolkit came.

The running daemon does not know them: dockerd reads daemon.json and looks for the toolkit's hook only when it
starts. Until then `--runtime=nvidia` says "unknown or invalid runtime name: nvidia", and `--gpus` says "could
not select device driver "" with capabilities: [[gpu]]", although everything is in place.

It is found where daemon.json sets something that `docker info` lacks (the nvidia runtime, the default
runtime, CDI, the cgroup driver), or where the hook came after the start of dockerd. A hook that is newer than
dockerd may also be an upgrade of one that was there before; then nothing is wrong. So a daemon that knows the
nvidia runtime, or a log of dpkg's that tells of an upgrade, clears it.

How it is told from its look-alikes: with `docker/runtime-not-registered` daemon.json has no such runtime;
with `docker/daemon-json-wrong-file` the daemon reads another file; with `toolkit/toolkit-not-installed` there
is no hook at all.

Cure: restart Docker. It stops running containers unless live-restore is on. For runtimes alone a reload is
enough, and stops nothing; the fix does that from 25.0 on. It refuses while a daemon.json is there that Docker
would not start with.

Sources: moby source (the daemon's reloadable settings; device drivers are registered at the start), proc(5)
for the start time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.host import NoAnswer, Unseen
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules import advice, steps
from gpudoctor.rules.docker import _daemon

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.model import Layer, Steps, Wishes

_SAYS_CDI = (26,)
"""From 26.0 on docker info lists the CDI folders where CDI is on."""
_JITTER = 2  # seconds


def check(facts: Facts) -> Iterator[Finding]:
    """Find a daemon that is older than what it ought to know."""
    docker = facts.docker
    if docker.kind == "desktop":
        raise NotApplicable("Docker Desktop's daemon reads nothing of this host.")
    if not docker.installed:
        raise NotApplicable("There is no Docker on this host.")
    if not docker.running:
        raise NotApplicable("No Docker daemon runs here.")
    daemon, config = docker.daemon, docker.config
    hook = _hook(facts)
    missing = _missing(facts)
    if not hook and not missing:
        return
    told = {key: says for key, says, _ in missing}
    layers: list[Layer] = ["toolkit", "runtime"] if hook else []
    layers += [layer for _, _, layer in missing if layer is not None and layer not in layers]
    texts = []
    if hook:
        texts.append(
            "dockerd looks for the toolkit's hook when it starts, and started before the hook came: `--gpus` is refused."
        )
    if missing:
        texts.append(f"The running daemon lacks what {config.path} sets ({', '.join(told)}): it reads the file when it starts.")
    evidence = [
        *hook,
        *(Evidence(Where(config.path, config.line(key)), f"sets {key}") for key in told),
        *(Evidence(Where("docker info"), says) for says in told.values()),
    ]
    if daemon is not None and daemon.started is not None:
        evidence.append(Evidence(Where(f"/proc/{daemon.pid}/stat"), f"dockerd started on {_daemon.when(daemon.started)}"))
    reload = _reload_helps(facts)
    restart = _daemon.restart(facts, daemon)
    yield Finding(
        "Docker was not restarted since the toolkit was installed"
        if hook
        else "Docker was not restarted since daemon.json was edited",
        " ".join(texts),
        tuple(evidence),
        Cure(
            "DISRUPTIVE",
            "Reload Docker: for runtimes that is enough, and stops nothing." if reload else "Restart Docker.",
            (f"{_daemon.restart(facts, daemon, 'reload')}  # or, if that is not enough: {restart}",) if reload else (restart,),
            advice.RESTART_RISK,
        ),
        severity=None if layers else "warning",
        breaks=tuple(layers),
    )


def _reload_helps(facts: Facts) -> bool:
    """Say whether all that the daemon lacks is runtimes, which it reads anew at a reload."""
    told = {key for key, _, _ in _missing(facts)}
    return not _hook(facts) and told <= {"runtimes.nvidia", "default-runtime"} and facts.docker.kind != "snap"


def _hook(facts: Facts) -> tuple[Evidence, ...]:
    """Return the evidence of a hook that came after the daemon's start, none where it was there before."""
    docker, toolkit = facts.docker, facts.toolkit
    daemon, arrived = docker.daemon, toolkit.arrived
    if daemon is None or daemon.started is None or arrived is None or (toolkit.hook is None and toolkit.cdi_hook is None):
        return ()
    came, source = arrived
    # The time of the boot, from which the daemon's start is counted, is told in whole seconds.
    if came <= daemon.started + _JITTER or "nvidia" in (docker.runtimes or {}):
        return ()
    if docker.runtimes is None:
        if "nvidia" in docker.config_runtimes and _edited(facts) is False:
            return ()
        docker.info  # noqa: B018 - raises where only root may ask: then nothing tells an upgrade from an installation
    if toolkit.upgraded:
        return ()
    return (Evidence(Where(source), f"the toolkit came on {_daemon.when(came)}"),)


def _missing(facts: Facts) -> tuple[tuple[str, str, Layer | None], ...]:
    """Return each setting that the daemon lacks: its key, what docker info says, and the layer that is missing for it."""
    docker = facts.docker
    config = docker.config
    if all(config.line(key) is None for key in ("runtimes.nvidia", "default-runtime", "features.cdi", "exec-opts")):
        return ()
    try:
        info = docker.info
    except NoAnswer:
        if _edited(facts) is False:
            return ()
        raise
    if info is None:
        if _edited(facts) is False:
            return ()
        raise Unseen("docker info", "the daemon was not asked what it knows")
    found: list[tuple[str, str, Layer | None]] = []
    known = info.get("Runtimes")
    if "nvidia" in docker.config_runtimes and isinstance(known, dict) and "nvidia" not in known:
        found.append(("runtimes.nvidia", f"Runtimes: {', '.join(sorted(known))}", "runtime"))
    default, running = config.value.get("default-runtime"), info.get("DefaultRuntime")
    if default == "nvidia" and running and running != default:
        found.append(("default-runtime", f"Default Runtime: {running}", "runtime"))
    features = config.value.get("features")
    switched_on = isinstance(features, dict) and features.get("cdi") is True
    if switched_on and docker.version_numbers >= _SAYS_CDI and not info.get("CDISpecDirs"):
        found.append(("features.cdi", "no CDI spec directories: CDI is off", "cdi"))
    options, driver = config.value.get("exec-opts"), info.get("CgroupDriver")
    for option in options if isinstance(options, list) else ():
        name, _, value = str(option).partition("=")
        if name == "native.cgroupdriver" and driver and value != driver:
            found.append(("exec-opts", f"Cgroup Driver: {driver}", None))
    return tuple(found)


def _edited(facts: Facts) -> bool | None:
    """Say whether daemon.json was edited after the daemon's start; None where a time is not known."""
    docker = facts.docker
    stat = facts.host.followed(docker.config_path)
    started = docker.daemon.started if docker.daemon is not None else None
    if stat is None or stat.mtime is None or started is None:
        return None
    return stat.mtime > started


def fix(facts: Facts, _: Wishes) -> Steps:
    """Reload the daemon that this is about where that is enough, else restart it."""
    daemon = facts.docker.daemon
    step = steps.load_runtimes(facts, daemon) if _reload_helps(facts) else steps.restart_docker(facts, daemon)
    # No file was changed for it, so there is nothing that another restart would take back.
    yield step._replace(undo=None)


RULE = Rule(
    "docker/docker-not-restarted",
    50,
    "error",
    "Docker was not restarted since its configuration or the toolkit came",
    check,
    breaks=("runtime",),
    needs=("gpu", "daemon"),
    fix=fix,
    signs=(
        "could not select device driver",
        "no runtime for nvidia is configured",
        "unknown or invalid runtime name: nvidia",
        "unknown runtime specified nvidia",
        "~ runtimes: {",
        "~ restart* docker",
    ),
)
