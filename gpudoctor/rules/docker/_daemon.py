"""What the Docker daemon's rules share: restarting one of several daemons, and editing its daemon.json."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gpudoctor.facts.docker import ROOTFUL_JSON
from gpudoctor.model import Evidence, Where

if TYPE_CHECKING:
    from gpudoctor.facts import Facts
    from gpudoctor.facts.docker import Process

_PACKAGES = "docker-ce docker-ce-cli containerd.io docker-compose-plugin"
_KEYRING = "/etc/apt/keyrings/docker.asc"


def when(seconds: int) -> str:
    """Return a time as people write it, in UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


def seen(facts: Facts, daemon: Process | None) -> tuple[Evidence, ...]:
    """Return the evidence that a daemon runs, or that none does; nothing where this host's processes do not show."""
    if daemon is not None:
        return (Evidence(Where(f"/proc/{daemon.pid}"), f"dockerd runs ({daemon.kind})"),)
    return (Evidence(Where("/proc"), "no dockerd runs"),) if facts.docker.processes_seen else ()


def restart(facts: Facts, daemon: Process | None, verb: str = "restart") -> str:
    """Return the command that restarts (or starts, or reloads) one daemon; the one of this host where None is given."""
    kind = daemon.kind if daemon is not None else facts.docker.kind
    if kind == "rootless":
        return f"systemctl --user {verb} docker"
    if kind == "snap":
        return f"sudo snap {verb} docker"
    return f"sudo systemctl {verb} docker" if facts.platform.systemd else f"sudo service docker {verb}"


def edit(path: str) -> str:
    """Return the command that opens a file in the editor, as its owner."""
    return f"nano {path}" if path.startswith("/home/") else f"sudoedit {path}"


def register(facts: Facts, path: str) -> str:
    """Return the command that registers the nvidia runtime in a daemon.json."""
    if not facts.toolkit.since("runtime-configure"):
        return f'{edit(path)}  # add "runtimes": {{"nvidia": {{"path": "nvidia-container-runtime", "runtimeArgs": []}}}}'
    config = "" if path == ROOTFUL_JSON else f" --config={path}"
    return f"{'' if path.startswith('/home/') else 'sudo '}nvidia-ctk runtime configure --runtime=docker{config}"


def install(facts: Facts) -> tuple[str, ...]:
    """Return the commands that install a current Docker Engine and start it, as this distribution does it."""
    platform = facts.platform
    start = "sudo systemctl enable --now docker"
    if platform.family == "debian":
        base = "debian" if platform.os_id == "debian" else "ubuntu"
        release = platform.os_release
        codename = (
            release.get("UBUNTU_CODENAME") or release.get("VERSION_CODENAME") or "$(. /etc/os-release && echo $VERSION_CODENAME)"
        )
        return (
            "sudo install -m 0755 -d /etc/apt/keyrings",
            f"sudo curl -fsSL https://download.docker.com/linux/{base}/gpg -o {_KEYRING}",
            (
                f'echo "deb [signed-by={_KEYRING}] https://download.docker.com/linux/{base} {codename} stable"'
                " | sudo tee /etc/apt/sources.list.d/docker.list"
            ),
            "sudo apt-get update",
            f"sudo apt-get install -y {_PACKAGES}",
        )
    if platform.os_id == "amzn":
        return ("sudo dnf install -y docker", start)
    if platform.family == "rhel":
        base = platform.os_id if platform.os_id in {"fedora", "rhel"} else "centos"
        return (
            f"sudo curl -fsSL https://download.docker.com/linux/{base}/docker-ce.repo -o /etc/yum.repos.d/docker-ce.repo",
            f"sudo dnf install -y {_PACKAGES}",
            start,
        )
    if platform.family == "suse":
        return ("sudo zypper install -y docker", start)
    if platform.family == "arch":
        return ("sudo pacman -S docker", start)
    return ("install a current Docker Engine with this system's package manager", start)
