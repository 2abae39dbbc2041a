"""A running container can lose its GPU at the next `systemctl daemon-reload`.

With the systemd cgroup driver, systemd owns the device rules of a container and writes them anew at every daemon-reload (a package
installation is enough). Rules it does not know are gone: those that the legacy hook of `--gpus` adds behind runc's back, and, with
runc 1.1.3 to 1.1.6, those for device nodes without a /dev/char link. The container then says "Failed to initialize NVML: Unknown
Error" while nvidia-smi works on the host.

How it is told from its look-alikes: with `toolkit/no-cgroups-true-rootful` the GPU never worked; with an Xid 79 the host has lost it
too. From the host only the risk shows, so this is a warning; it is not cgroup v1 that cures it but the cgroupfs driver.

Cure, any one of: CDI (`--device nvidia.com/gpu=all`), naming the device nodes (`--device /dev/nvidia0 ...`), or
`native.cgroupdriver=cgroupfs` in daemon.json (wrong on a Kubernetes node whose kubelet uses systemd; needs a restart of Docker and new
containers; `docker update` then leaves the rules alone, as runc's update does). The fix sets the cgroupfs driver where the hook serves --gpus,
and has udev make the links where they alone are missing; it never switches to cgroup v1. It refuses beside a kubelet, and where
live-restore would carry running containers over to the other driver.

Sources: NVIDIA container toolkit troubleshooting guide; runc changelog (1.1.3 regression, fixed in 1.1.7); reproduced with real systemd,
Docker and runc on Debian 12 and 13.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor import tables
from gpudoctor.formats import dockerd
from gpudoctor.model import Cure, Edit, Evidence, Finding, NotApplicable, Refused, Rule, Where
from gpudoctor.rules import advice, steps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.model import Steps, Wishes


# Until runc 1.1.7 a named node needs its link too.
_LINKS = ("sudo nvidia-ctk system create-dev-char-symlinks --create-all",)


def check(facts: Facts) -> Iterator[Finding]:
    """Find the systemd cgroup driver together with rules that systemd does not know."""
    docker, toolkit = facts.docker, facts.toolkit
    if not docker.installed:
        raise NotApplicable("There is no Docker on this host.")
    if not facts.platform.systemd:
        raise NotApplicable("This host is not run by systemd.")
    if facts.platform.wsl or facts.platform.jetson or docker.kind == "desktop":
        raise NotApplicable("A WSL2 guest, a Jetson and Docker Desktop's machine give the GPU in another way.")
    if docker.kind == "rootless" or (facts.platform.lxc and facts.lxc.unprivileged):
        raise NotApplicable("In a user namespace no device rules are set, so a daemon-reload takes none away.")
    if not facts.gpus.present:
        raise NotApplicable("There is no NVIDIA GPU to lose.")
    if not docker.running and docker.config.malformed is not None:
        raise NotApplicable("Which cgroup driver Docker is to use cannot be told: daemon.json is not valid.")
    if docker.cgroup_driver != "systemd":
        return
    evidence = [
        Evidence(Where(*docker.cgroup_driver_source), f"cgroup driver systemd (cgroup {facts.cgroup.mode or 'not mounted'})")
    ]
    runc = docker.runc
    numbers = tables.version(runc or "")[:3]
    links = facts.devices.missing_char_links if (1, 1, 3) <= numbers < (1, 1, 7) else ()
    if toolkit.gpus_path == "hook" and not toolkit.no_cgroups:
        evidence.append(
            Evidence(Where(toolkit.hook or "hook"), "serves --gpus by adding device rules that systemd does not know")
        )
    elif links:
        evidence.append(
            Evidence(Where("/dev/char"), f"no link for {', '.join(node.numbers for node in links)}, and runc is {runc}")
        )
    else:
        return
    yield Finding(
        "containers lose the GPU at systemctl daemon-reload",
        "systemd rewrites the device rules of running containers at each daemon-reload and drops the GPU's; "
        "a container that works now then fails with NVML: Unknown Error.",
        tuple(evidence),
        Cure(
            "DISRUPTIVE",
            "Start GPU containers anew with --device nvidia.com/gpu=all (CDI) or with each device node named; or, for all of them, set "
            f'"exec-opts": ["native.cgroupdriver=cgroupfs"] in {docker.config_path} and restart Docker.',
            (*(_LINKS if links else ()), _run(facts), advice.restart_docker(facts)),
            f"{advice.RESTART_RISK} The cgroupfs driver is wrong on a node whose kubelet uses systemd.",
        ),
    )


def _run(facts: Facts) -> str:
    """Return how to start a container so that systemd knows its device rules."""
    if facts.docker.cdi_enabled and facts.cdi.gpu_specs:
        return "docker run --device nvidia.com/gpu=all IMAGE"
    nodes = " ".join(f"--device {node.path}" for node in facts.devices.nodes.values() if node.path.count("/") == 2)
    return f"docker run --gpus all {nodes} IMAGE"


_UDEV_RULE = "/etc/udev/rules.d/71-gpudoctor-dev-char.rules"
_UDEV_TEXT = """# Written by gpudoctor fix: the links in /dev/char by which systemd knows the GPU's device nodes.
ACTION=="add", DEVPATH=="/bus/pci/drivers/nvidia", RUN+="{ctk} system create-dev-char-symlinks --create-all"
"""
_KUBELET = ("/var/lib/kubelet/config.yaml", "/etc/rancher/k3s", "/etc/rancher/rke2", "/var/snap/microk8s/current")


def fix(facts: Facts, wishes: Wishes) -> Steps:
    """Give Docker the cgroupfs driver where the hook serves --gpus; where named nodes alone lack their links, have udev make these."""
    toolkit = facts.toolkit
    if (
        not (toolkit.gpus_path == "hook" and not toolkit.no_cgroups)
        and toolkit.ctk is not None
        and toolkit.since("dev-char-symlinks")
    ):
        yield Edit(_UDEV_RULE, _UDEV_TEXT.format(ctk=toolkit.ctk).encode())
        yield steps.then("udevadm control --reload", "udev reads its rules anew.", undo="udevadm control --reload")
        yield steps.then(
            f"{toolkit.ctk} system create-dev-char-symlinks --create-all",
            "The links for the running kernel; containers are started anew.",
        )
        return
    yield from _cgroupfs(facts, wishes)


def _cgroupfs(facts: Facts, wishes: Wishes) -> Steps:
    from gpudoctor.formats.edit import daemon_json as editor

    kubelet = next((path for path in _KUBELET if facts.host.exists(path)), None)
    if kubelet is not None and not wishes.force:
        raise Refused(
            f"{kubelet} says that a kubelet runs here, which must have the same cgroup driver as Docker: start GPU containers by CDI instead.",
            forcible=True,
        )
    live = _live_restored(facts)
    if live is not None and not wishes.force:
        raise Refused(
            f"{live}: the containers that run now would keep the systemd driver, and lose the GPU all the same, under a Docker that goes "
            "by the other one. Stop them first, or start GPU containers by CDI instead.",
            forcible=True,
        )
    options = facts.docker.config.value.get("exec-opts")
    named = [each for each in options if isinstance(each, str) and each.startswith(_DRIVER)] if isinstance(options, list) else []
    docker = facts.docker
    argv = docker.daemon.argv if docker.daemon is not None else docker.unit_argv
    if any(flag.key == "exec-opts" for flag in dockerd.flags(argv)):
        raise Refused(
            "dockerd is given exec-opts on its command line, beside which it takes none in daemon.json: set native.cgroupdriver=cgroupfs "
            "in the unit's drop-in."
        )

    def change(data: bytes | None) -> bytes:
        for each in named:
            data = editor.replace_element(data or b"", ("exec-opts",), each, f"{_DRIVER}cgroupfs")
        return editor.append(data, ("exec-opts",), f"{_DRIVER}cgroupfs")

    yield steps.daemon_json(facts, change)
    yield steps.restart_docker(facts)


def _live_restored(facts: Facts) -> str | None:
    """Return what says that running containers outlast a restart of Docker, None where none would."""
    docker = facts.docker
    info = docker.info or {}
    if info.get("ContainersRunning") == 0:
        return None
    if info.get("LiveRestoreEnabled") is True:
        return "docker info says that live-restore is on"
    return f"{docker.config.path} switches live-restore on" if docker.config.value.get("live-restore") is True else None


_DRIVER = "native.cgroupdriver="
RULE = Rule(
    "docker/daemon-reload-loses-gpu",
    8,
    "warning",
    "containers lose the GPU at systemctl daemon-reload",
    check,
    needs=("gpu", "driver", "daemon", "toolkit"),
    fix=fix,
    signs=(
        "(after|for)?(a while|some time|idle|extended period|a few hours|few hours|several hours|couple of days|few days|timeout)* + (docker|container) + gpu",
        "(stops|stopped|loses|lost|losing)?(access to|using|accessing|seeing)?gpu + (docker|container)",
        "nvmlerror_unknown",
        "can't initialize nvml",
        "failed to initialize nvml: unknown error",
        "/dev/nvidia?operation not permitted",
        "because nvml doesn't exist on this system",
        "~ daemon-reload",
        "~ (after a while|after some time|after a few hours|after few hours|after several hours|randomly|suddenly|lost access|loses access)",
    ),
)
