"""Commands for this distribution: a cure only names programs and packages that exist there. Nothing here is ever run by us."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpudoctor.facts import Facts

RESTART_RISK = "Restarting Docker stops running containers unless live-restore is on."
REBOOT_RISK = "A reboot stops everything that runs on this host."

_DEB_REPOSITORY = (
    "curl -fsSL https://nvidia.github.io/libnvidia-container/gpgkey"
    " | sudo gpg --dearmor -o /usr/share/keyrings/nvidia-container-toolkit-keyring.gpg",
    "curl -fsSL https://nvidia.github.io/libnvidia-container/stable/deb/nvidia-container-toolkit.list"
    " | sed 's#deb https://#deb [signed-by=/usr/share/keyrings/nvidia-container-toolkit-keyring.gpg] https://#'"
    " | sudo tee /etc/apt/sources.list.d/nvidia-container-toolkit.list",
    "sudo apt-get update",
)
_RPM_REPOSITORY = "https://nvidia.github.io/libnvidia-container/stable/rpm/nvidia-container-toolkit.repo"


def install(facts: Facts, *packages: str) -> str:
    """Return the command that installs (or upgrades) packages by these names."""
    names = " ".join(packages)
    family = facts.platform.family
    if family == "debian":
        return f"sudo apt-get install -y {names}"
    if family == "rhel":
        return f"sudo dnf install -y {names}"
    if family == "suse":
        return f"sudo zypper install -y {names}"
    if family == "arch":
        return f"sudo pacman -S {names}"
    return f"install {names} with this system's package manager"


def upgrade(facts: Facts, *packages: str) -> tuple[str, ...]:
    """Return the commands that bring installed packages to the newest version that the configured repositories have."""
    names = " ".join(packages)
    family = facts.platform.family
    if family == "debian":
        return ("sudo apt-get update", f"sudo apt-get install --only-upgrade -y {names}")
    if family == "rhel":
        return (f"sudo dnf upgrade -y {names}",)
    if family == "suse":
        return ("sudo zypper refresh", f"sudo zypper update -y {names}")
    if family == "arch":
        return ("sudo pacman -Syu",)
    return (f"upgrade {names} with this system's package manager",)


def remove(facts: Facts, *packages: str) -> str:
    """Return the command that removes packages."""
    verbs = {"debian": "sudo apt-get purge", "rhel": "sudo dnf remove", "suse": "sudo zypper remove", "arch": "sudo pacman -R"}
    return f"{verbs.get(facts.platform.family, 'remove')} {' '.join(packages)}"


def install_toolkit(facts: Facts) -> tuple[str, ...]:
    """Return the commands that add NVIDIA's repository, install the toolkit, and make Docker offer ``--gpus``."""
    family = facts.platform.family
    if family == "debian":
        steps = [*_DEB_REPOSITORY, install(facts, "nvidia-container-toolkit")]
    elif family == "rhel":
        steps = [
            f"curl -fsSL {_RPM_REPOSITORY} | sudo tee /etc/yum.repos.d/nvidia-container-toolkit.repo",
            install(facts, "nvidia-container-toolkit"),
        ]
    elif family == "suse":
        steps = [f"sudo zypper addrepo {_RPM_REPOSITORY}", install(facts, "nvidia-container-toolkit")]
    else:
        steps = [install(facts, "nvidia-container-toolkit")]
    return (*steps, restart_docker(facts))


def upgrade_toolkit(facts: Facts) -> tuple[str, ...]:
    """Return the commands that bring the toolkit's four packages to the newest version together."""
    if facts.platform.family == "arch":
        return (*upgrade(facts, "nvidia-container-toolkit"), restart_docker(facts))
    names = ("nvidia-container-toolkit", "nvidia-container-toolkit-base", "libnvidia-container-tools", "libnvidia-container1")
    return (*upgrade(facts, *names), restart_docker(facts))


def install_driver(facts: Facts, branch: int = 580, *, open_module: bool = True) -> tuple[str, ...]:
    """Return the commands that install a driver of a branch in the flavour that this GPU needs, as the distribution does it."""
    platform = facts.platform
    flavour = "-open" if open_module else ""
    if platform.os_id in {"ubuntu", "pop", "linuxmint"}:
        return (
            "sudo apt-get update",
            install(facts, f"nvidia-driver-{branch}-server{flavour}", f"linux-modules-nvidia-{branch}-server{flavour}-generic"),
        )
    if platform.family == "debian":
        module = "nvidia-open-kernel-dkms" if open_module else "nvidia-kernel-dkms"
        return (
            "sudo apt-get update  # with the components contrib non-free non-free-firmware in the sources",
            install(facts, f"linux-headers-{platform.machine.replace('x86_64', 'amd64').replace('aarch64', 'arm64')}"),
            install(facts, module, "nvidia-driver", "libcuda1", "nvidia-smi"),
        )
    if platform.family == "rhel":
        return (
            install(facts, "kernel-devel-matched") if platform.os_id != "fedora" else install(facts, "kernel-devel"),
            install(facts, "nvidia-open" if open_module else "cuda-drivers") + "  # from NVIDIA's CUDA repository",
        )
    if platform.family == "suse":
        return (install(facts, "nvidia-open-driver-G06-signed-kmp" if open_module else "nvidia-driver-G06-kmp"),)
    if platform.family == "arch":
        return (install(facts, "nvidia-open", "nvidia-utils"),)
    return (f"install NVIDIA driver {branch} ({'open' if open_module else 'proprietary'} kernel module) from nvidia.com",)


def restart_docker(facts: Facts) -> str:
    """Return the command that restarts the Docker daemon of this host."""
    kind = facts.docker.kind
    if kind == "rootless":
        return "systemctl --user restart docker"
    if kind == "snap":
        return "sudo snap restart docker"
    if kind == "desktop":
        return "docker desktop restart"
    return "sudo systemctl restart docker" if facts.platform.systemd else "sudo service docker restart"


def rebuild_initramfs(facts: Facts) -> str:
    """Return the command that writes the initramfs anew, so that a modprobe.d file holds at early boot too."""
    return {"debian": "sudo update-initramfs -u", "arch": "sudo mkinitcpio -P"}.get(facts.platform.family, "sudo dracut -f")


def headers(facts: Facts) -> str:
    """Return the command that installs the running kernel's headers."""
    kernel = facts.platform.kernel
    family = facts.platform.family
    if family == "debian":
        return install(facts, f"linux-headers-{kernel}")
    if family == "rhel":
        return install(facts, f"kernel-devel-{kernel}")
    if family == "suse":
        return install(facts, "kernel-default-devel")
    return install(facts, "linux-headers")
