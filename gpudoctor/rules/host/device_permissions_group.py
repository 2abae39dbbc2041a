"""The GPU's device nodes are open to a group only.

With mode 0660 (Gentoo, openSUSE; root:video) a process that is neither root nor in the group is refused: "Failed to
initialize NVML: Insufficient Permissions". Containers lose their groups when they start: rootless Docker and
rootless podman have no way in at all, and in rootful Docker every image that does not run as root is shut out.

How it is told from its look-alikes: `host/selinux-label` prints the same words with mode 0666;
`host/device-permissions-mode` is about a mode that nobody can have meant, such as 01232. A Jetson's own nodes belong
to group video by design and are not meant here.

Cure: open the nodes to everybody with NVreg_DeviceFileMode=0666 and load the module anew; or keep the mode and give
a container the group: `--group-add GID` (rootful Docker), `--group-add keep-groups` (podman with crun). The first
lets every local user use the GPU. So `gpudoctor fix` does it for rootless Docker, which has no other way, and
elsewhere only with --force.

Sources: NVIDIA driver README (device files); podman-run(1); NVIDIA/nvidia-container-toolkit#210,
NVIDIA/nvidia-docker#1608.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts.driver import PARAMS
from gpudoctor.model import REBOOT, Cure, Evidence, Finding, NotApplicable, Refused, Rule, Severity, Where
from gpudoctor.rules import advice, steps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.model import Steps, Wishes

_NAME = "NVreg_DeviceFileMode"
_FILE = "/etc/modprobe.d/gpudoctor-device-mode.conf"
_OPEN = 0o666


def check(facts: Facts) -> Iterator[Finding]:
    """Find nodes that are readable and writable for their owner and group, or only their owner."""
    if facts.platform.wsl or facts.platform.jetson:
        raise NotApplicable("WSL2 and Jetson have device nodes of their own.")
    nodes = facts.devices.cuda_nodes
    if not nodes:
        raise NotApplicable("There are no NVIDIA device nodes.")
    narrow = [node for node in nodes if node.stat.mode & 0o7666 in {0o660, 0o600}]
    if not narrow:
        return
    if facts.platform.lxc:
        raise NotApplicable("The nodes of an LXC guest are given by its host.")
    rootless = _rootless(facts)
    podman = facts.podman.version
    severity: Severity = "error" if rootless else "warning" if podman is not None else "hint"
    gid = narrow[0].stat.gid
    who = (
        "Rootless Docker's containers are outside"
        if rootless
        else "Rootless podman's containers are outside unless they keep their groups"
        if podman is not None
        else "Images that do not run as root are outside"
    )
    option = facts.driver.option("nvidia", _NAME) or facts.driver.option("nvidia_current", _NAME)
    evidence = [
        Evidence(Where(node.path), f"mode {node.stat.mode:04o}, uid {node.stat.uid}, gid {node.stat.gid}") for node in narrow
    ]
    told = facts.driver.params.get("DeviceFileMode", "")
    if told.isdigit() and len(told) < 10:
        evidence.append(Evidence(Where(PARAMS), f"DeviceFileMode: {told} (0{int(told):o})"))
    if option is not None:
        evidence.append(Evidence(Where(option.path, option.line), option.rest))
    modprobe = (
        f"sudo sed -i 's/NVreg_DeviceFileMode=[0-9]*/NVreg_DeviceFileMode=0666/' {option.path}"
        if option is not None
        else ("echo 'options nvidia NVreg_DeviceFileMode=0666' | sudo tee /etc/modprobe.d/nvidia-device-mode.conf")
    )
    by_group = (
        ""
        if rootless
        else "--group-add keep-groups (podman with crun)"
        if podman is not None
        else f"--group-add {gid} (docker run) or group_add (compose)"
    )
    yield Finding(
        "the GPU's device nodes are open to a group only",
        f"Only root{'' if narrow[0].stat.mode & 0o060 == 0 else f' and group {gid}'} may open the GPU. {who} and are refused (NVML: Insufficient Permissions).",
        tuple(evidence),
        Cure(
            "DISRUPTIVE",
            "Open the nodes to everybody and load the module anew"
            + (f"; or keep them as they are and add {by_group}." if by_group else "."),
            (modprobe, advice.rebuild_initramfs(facts), "sudo reboot"),
            f"Every local user may then use the GPU. {advice.REBOOT_RISK}",
        ),
        severity=severity,
    )


def _rootless(facts: Facts) -> bool:
    return facts.docker.kind == "rootless" or any(daemon.kind == "rootless" for daemon in facts.docker.daemons)


def fix(facts: Facts, wishes: Wishes) -> Steps:
    """Open the nodes to everybody from the next boot on, where nothing less will do: for rootless Docker."""
    if not _rootless(facts) and not wishes.force:
        raise Refused(
            "The nodes may be open to a group only on purpose: give the container the group (--group-add) in place of opening the GPU "
            "to every local user.",
            forcible=True,
        )
    if facts.driver.params.get("DeviceFileMode") == str(_OPEN):
        raise Refused(
            "The driver itself asks for mode 0666, so that something else (a udev rule, a script) narrows the nodes: change that."
        )
    module = (
        "nvidia_current"
        if facts.driver.option("nvidia_current", _NAME) and not facts.driver.option("nvidia", _NAME)
        else "nvidia"
    )
    yield steps.module_option(facts, module, _NAME, "0666", _FILE, "rootless containers may open the GPU")
    yield steps.rebuild_initramfs(facts)
    yield REBOOT


RULE = Rule(
    "host/device-permissions-group",
    91,
    "error",
    "the GPU's device nodes are open to a group only",
    check,
    breaks=("nodes",),
    needs=("gpu", "module", "driver"),
    fix=fix,
    signs=(
        "nvmlerror_nopermission",
        "failed to initialize nvml: insufficient permissions",
        "nvml error: insufficient permissions",
        "/dev/nvidia?: permission denied",
        "~ (crw-rw----|group video|keep-groups|gentoo|video group)",
    ),
)
