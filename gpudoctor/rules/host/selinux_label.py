"""SELinux keeps confined containers from the GPU's device nodes.

An engine that labels its containers (Docker with `selinux-enabled`, Fedora's moby-engine, podman by default) runs
them as container_t, and the policy does not let container_t open /dev/nvidia*: "Failed to initialize NVML:
Insufficient Permissions". Two switches of container-selinux allow it: container_use_devices (every device that the
container was given) and, in newer policies, container_use_xserver_devices (only those of the kind that NVIDIA's
are).

How it is told from its look-alikes: `host/device-permissions-group` prints the same words, but there the nodes' own
mode shuts others out. Enforcing alone is healthy: docker-ce does not label containers unless told. A container
started with `--security-opt label=disable` works all the same, which from the host cannot be seen; for podman, where
that option is what NVIDIA's guide gives, this is a hint unless the kernel's log shows a denial.

Cure: switch container_use_xserver_devices (or container_use_devices) on; or give single containers `--security-opt
label=disable`. The first lets every container use the nodes it was given, the second takes SELinux's separation from
that container. `gpudoctor fix` does the first, by the narrower switch where the policy has it.

Sources: container-selinux (container.te); NVIDIA container toolkit troubleshooting guide;
NVIDIA/nvidia-container-toolkit#33.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Refused, Rule, Then, Where

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.model import Steps, Wishes

_SWITCHES = ("container_use_devices", "container_use_xserver_devices")
_FOLDER = "/sys/fs/selinux/booleans"


def check(facts: Facts) -> Iterator[Finding]:
    """Find an enforcing SELinux, an engine that labels its containers, and no switch that lets them at the nodes."""
    if not facts.platform.selinux_enforcing:
        raise NotApplicable("SELinux does not enforce anything on this host.")
    if not facts.gpus.present:
        raise NotApplicable("There is no NVIDIA GPU to keep from a container.")
    docker = facts.docker.selinux
    podman = facts.podman.version
    if docker is None and podman is None:
        raise NotApplicable("No engine on this host labels its containers for SELinux.")
    switches = {name: facts.platform.selinux_boolean(name) for name in _SWITCHES}
    if any(switches.values()):
        return
    known = [name for name, value in switches.items() if value is not None]
    evidence = [Evidence(Where("/sys/fs/selinux/enforce"), "1")]
    evidence += [Evidence(Where(f"{_FOLDER}/{name}"), "0: off") for name in known]
    if not known:
        evidence.append(Evidence(Where(_FOLDER), f"no {' and no '.join(_SWITCHES)}"))
    if docker is not None:
        line = facts.docker.config.line("selinux-enabled") if docker == facts.docker.config.path else None
        evidence.append(Evidence(Where(docker, line), "Docker labels its containers for SELinux (selinux-enabled)"))
    else:
        evidence.append(Evidence(Where("podman"), f"{podman}: labels its containers unless told otherwise"))
    denial = facts.driver.logged("avc:", "denied", "container_t", "chr_file", "nvidia")
    if denial is not None:
        evidence.append(Evidence(Where("kernel log"), denial))
    switch = known[-1] if known else _SWITCHES[0]
    yield Finding(
        "SELinux keeps containers from the GPU",
        f"SELinux enforces, {'Docker' if docker is not None else 'podman'} confines its containers, and the policy does not let them "
        "open /dev/nvidia* (NVML: Insufficient Permissions); only containers with label=disable can.",
        tuple(evidence),
        Cure(
            "DISRUPTIVE",
            f"Switch {switch} on, or give the single container --security-opt label=disable.",
            (f"sudo setsebool -P {switch} on",),
            "The switch lets every container use the device nodes that it was given; label=disable takes SELinux's separation from one.",
        ),
        severity="error" if docker is not None or denial is not None else "hint",
    )


def fix(facts: Facts, _: Wishes) -> Steps:
    """Switch on what lets containers use the nodes that they were given: the narrower switch, where the policy has it."""
    known = [name for name in _SWITCHES if facts.platform.selinux_boolean(name) is not None]
    if not known:
        raise Refused(f"This policy has neither {' nor '.join(_SWITCHES)}: upgrade container-selinux, or use label=disable.")
    set_to = ("setsebool", "-P", known[-1])
    why = "SELinux lets every container use the device nodes that it was given, now and after each boot."
    yield Then((*set_to, "on"), "SAFE", why, (*set_to, "off"))


RULE = Rule(
    "host/selinux-label",
    42,
    "error",
    "SELinux keeps containers from the GPU",
    check,
    breaks=("container",),
    needs=("gpu", "driver", "nodes"),
    fix=fix,
    signs=(
        "nvmlerror_nopermission",
        "failed to initialize nvml: insufficient permissions",
        "nvml error: insufficient permissions",
        "avc*denied*/dev/nvidia*",
        "avc*denied*xserver_misc_device_t + container_t",
        "~ (selinux|getenforce|setenforce)",
        "~ (fedora|rhel|centos|tumbleweed)",
    ),
)
