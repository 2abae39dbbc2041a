"""A container asks for a GPU that this host does not have.

The request names an index or a UUID, and no GPU here has it: nvidia-container-cli says "device error: 1:
unknown device", and with a word such as `false` "device error: false: unknown device". A GPU was removed or
replaced, a compose file came from another host, or more GPUs are asked for than there are. The same goes for
a UUID in daemon.json's node-generic-resources (Swarm).

Only what a container of this daemon, or daemon.json, really names is looked at; a host by itself cannot have
this fault. Indices count from 0 in the order of the PCI bus. MIG devices and CDI names (`nvidia.com/gpu=...`)
are judged by other rules.

How it is told from its look-alikes: a MIG UUID of the old form is `mig/mig-uuid-format`; an index that the
driver lost at run time is `hardware/xid79-fallen-off-bus`; without a loaded driver nothing can be said.

Cure: create the container anew with an index or a UUID that is here (`nvidia-smi -L` lists them), or with
`all`.

Sources: libnvidia-container source (selection of devices), NVIDIA container toolkit documentation
(NVIDIA_VISIBLE_DEVICES).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules.docker import _daemon

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.facts.docker import Container
    from gpudoctor.facts.gpu import ProcGpu

_NAMES = frozenset({"", "all", "none", "void"})
_PREFIX = "GPU-"


def check(facts: Facts) -> Iterator[Finding]:
    """Find a request for an index or UUID that no GPU of this host has."""
    docker = facts.docker
    if not docker.installed or docker.kind == "desktop":
        raise NotApplicable("There is no Docker on this host, or it is Docker Desktop's.")
    if facts.platform.wsl or facts.platform.jetson:
        raise NotApplicable("WSL2 and a Jetson know no index or UUID of a GPU.")
    gpus = facts.gpus.taken
    if not gpus:
        raise NotApplicable("The driver has taken no GPU, so none has an index or a UUID.")
    resources = docker.config.value.get("node-generic-resources")
    for resource in resources if isinstance(resources, list) else ():
        name = str(resource).partition("=")[2]
        if name.startswith(_PREFIX) and _unknown(name, gpus):
            where = Where(docker.config_path, docker.config.line("node-generic-resources"))
            edit = (_daemon.edit(docker.config_path), _daemon.restart(facts, docker.daemon))
            yield _finding(facts, name, "node-generic-resources", Evidence(where, str(resource)), edit)
    for container in docker.containers:
        asked, source = _asked(container, docker.default_runtime)
        wrong = [name for name in asked if _unknown(name, gpus)]
        if wrong:
            evidence = Evidence(Where(container.path), f"container {container.name}: {source} {','.join(asked)}")
            again = (f"docker rm {container.name}", "docker run --gpus all ...  # or with an index or UUID of nvidia-smi -L")
            yield _finding(facts, ", ".join(wrong), f"the container {container.name}", evidence, again)


def _finding(facts: Facts, wrong: str, who: str, evidence: Evidence, commands: tuple[str, ...]) -> Finding:
    here = ", ".join(f"{at} ({gpu.uuid or gpu.address})" for at, gpu in enumerate(facts.gpus.taken))
    return Finding(
        "a GPU is asked for that is not here",
        f"GPU {wrong} is asked for by {who}, and this host has no such GPU (unknown device).",
        (evidence, Evidence(Where("/proc/driver/nvidia/gpus"), f"GPUs of this host: {here}")),
        Cure(
            "SHOWN",
            "Ask for an index or a UUID that is here, or for all.",
            ("nvidia-smi -L", *commands),
            "What a container wrote into itself, not into a volume, is lost when it is removed.",
        ),
    )


def _asked(container: Container, default_runtime: str) -> tuple[tuple[str, ...], str]:
    """Return the GPUs that a container names, and by what: a device request, or the variable that the nvidia runtime reads."""
    if container.drivers or container.device_ids:
        return container.device_ids, "device ids"
    if (container.runtime or default_runtime) == "nvidia":
        return tuple(container.env.get("NVIDIA_VISIBLE_DEVICES", "").split(",")), "NVIDIA_VISIBLE_DEVICES"
    return (), ""


def _unknown(name: str, gpus: tuple[ProcGpu, ...]) -> bool:
    """Say whether a name is certainly none of these GPUs: an index past the last, another's UUID, or a word that is neither."""
    name = name.strip()
    if name.isdigit():
        return int(name) >= len(gpus)
    if name.startswith(_PREFIX):
        # A UUID may be shortened; a GPU whose UUID is not known may be the one.
        return all(gpu.uuid for gpu in gpus) and not any(gpu.uuid.lower().startswith(name.lower()) for gpu in gpus)
    # What is left may be MIG (MIG-..., 0:1), CDI (vendor/class=name) or a PCI address; a bare word is none of them.
    return name.lower() not in _NAMES and name.isalpha()


RULE = Rule(
    "docker/unknown-device-id",
    73,
    "error",
    "a GPU is asked for that is not here",
    check,
    breaks=("container",),
    needs=("gpu", "driver", "daemon", "toolkit"),
    signs=(
        "device error: *: unknown device",
        "device error: unknown device id",
        "unknown device id: + nvidia",
        "could not find gpu with uuid",
        "~ (false|gpu-)",
    ),
)
