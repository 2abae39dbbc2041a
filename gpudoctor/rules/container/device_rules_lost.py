"""The container's device rules do not admit the GPU that it was given.

A container may open a device node only where its device cgroup has a rule for it. The legacy hook adds the GPU's rules behind runc's
back; systemd, which owns the cgroup with the systemd cgroup driver, does not know them and takes them away at the next
`systemctl daemon-reload`. The node stays in /dev, and opening it fails: "Failed to initialize NVML: Unknown Error" in the container,
while nvidia-smi works on the host.

How it is told from its look-alikes: on cgroup v1 the rules of today can be read (devices.list), so that a lost GPU is an error; with
`toolkit/no-cgroups-true-rootful` it was never there. On cgroup v2 the rules are a program in the kernel, and only what systemd knows
can be read: a container whose scope has no rule for NVIDIA's nodes loses the GPU at the next daemon-reload, or has lost it already,
and this is a warning. With the cgroupfs driver nobody else rewrites the rules, and on v2 nothing shows them: whether the
container still has its GPU cannot be told from outside, and is said to be so. Whether Docker of this host makes such containers at all is `docker/daemon-reload-loses-gpu`.

Cure: start the container anew (a restart is not always enough), with `--device nvidia.com/gpu=all` (CDI) or with each device node
named, so that systemd knows the rules.

Sources: NVIDIA container toolkit troubleshooting guide; kernel documentation (cgroup-v1 devices); systemd.resource-control(5).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.host import Unseen
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules.container import _given

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.facts.containers import Container

# What gives a GPU by rules that the hook adds; those of named nodes and of CDI are runc's own.
_BEHIND_RUNC = ("gpus", "runtime")


def check(facts: Facts) -> Iterator[Finding]:
    """Find containers whose device cgroup, or whose scope in systemd, has no rule for NVIDIA's nodes."""
    if facts.platform.wsl or facts.platform.jetson or facts.docker.kind in {"desktop", "rootless"}:
        raise NotApplicable("Here no device rules are set by which a container could lose its GPU.")
    hidden = ""
    for container in _given.with_gpu(facts):
        if not container.running or container.privileged:
            continue
        now = facts.containers.admits(container)
        if now is not None and not now[0]:
            yield _lost(facts, container, now[1])
            continue
        known = facts.containers.known_to_systemd(container)
        if known is not None and not known[0]:
            yield _may_lose(facts, container, known[1])
        elif now is None and known is None and any(way.how in _BEHIND_RUNC for way in container.ways):
            hidden = hidden or container.name
    if hidden:
        raise Unseen(
            f"the device rules of {hidden}",
            f"cgroup v2 has them in the kernel, where they cannot be read; docker exec {hidden} nvidia-smi -L shows whether it has its GPU",
        )


def _lost(facts: Facts, container: Container, file: str) -> Finding:
    return Finding(
        "the container has lost its GPU",
        f"{container.name} was given a GPU, and its device rules do not admit /dev/nvidiactl now: every use of the GPU in it fails.",
        (Evidence(Where(file), "no rule for c 195:255 rw"), *_given.ways(container)),
        _cure(facts, container),
    )


def _may_lose(facts: Facts, container: Container, command: str) -> Finding:
    return Finding(
        "systemd does not know the container's GPU",
        f"{container.name} was given a GPU by rules that systemd does not know: the next systemctl daemon-reload takes it away, if none has "
        f"since the start (cgroup {facts.cgroup.mode or 'not known'} does not show it).",
        (Evidence(Where(command), "no rule for NVIDIA's nodes (195:*)"), *_given.ways(container)),
        _cure(facts, container),
        severity="warning",
        breaks=(),
    )


def _cure(facts: Facts, container: Container) -> Cure:
    """Return the cure with a command that this host's Docker takes: a CDI name only where a spec has it."""
    name = "nvidia.com/gpu=all"
    by_cdi = facts.docker.cdi_enabled and name in facts.cdi.devices
    return Cure(
        "SHOWN",
        f"Start it anew with each device node named (gpudoctor device-args prints them), or by CDI (--device {name}), so that Docker "
        "itself sets its rules.",
        (
            f"docker exec {container.name} nvidia-smi -L  # shows whether it has the GPU now",
            f"docker run {f'--device {name}' if by_cdi else '$(gpudoctor device-args)'} {container.image or 'IMAGE'}",
        ),
        _given.ANEW,
    )


RULE = Rule(
    "container/device-rules-lost",
    8,
    "error",
    "the container's device rules do not admit its GPU",
    check,
    breaks=("container",),
    needs=("driver", "daemon"),
    follows=("toolkit/no-cgroups-true-rootful",),
    needs_input="container",
)
