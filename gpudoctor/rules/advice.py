"""Commands for this distribution: a cure only names programs and packages that exist there. Nothing here is ever run by us."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpudoctor.facts import Facts

RESTART_RISK = "Restarting Docker stops running containers unless live-restore is on."
REBOOT_RISK = "A reboot stops everything that runs on this host."
_ADD_ALL = 255  # the systemd whose kernel-install has add-all

_REPOSITORY = "https://nvidia.github.io/libnvidia-container"
_KEYRING = "/usr/share/keyrings/nvidia-container-toolkit-keyring.gpg"
_DEB_REPOSITORY = (
    f"curl -fsSL {_REPOSITORY}/gpgkey | sudo gpg --dearmor -o {_KEYRING}",
    f"curl -fsSL {_REPOSITORY}/stable/deb/nvidia-container-toolkit.list | sed 's#deb https://#deb [signed-by={_KEYRING}] https://#'"  # noqa: ISC004
    " | sudo tee /etc/apt/sources.list.d/nvidia-container-toolkit.list",
    "sudo apt-get update",
)
_UBUNTU = frozenset({"ubuntu", "pop", "linuxmint"})
_DEBIAN_BRANCH = 550
"""The newest driver branch that Debian itself packages (13 and sid); Debian 12 has 535."""
_LEGACY_BRANCH = 470
_CUDA_REPOSITORY = "  # from NVIDIA's CUDA repository"
_HEADERS_FIRST = "sudo apt-get update && sudo apt-get install -y {}"
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
    return (*add_toolkit(facts), *_restart(facts))


def add_toolkit(facts: Facts) -> tuple[str, ...]:
    """Return the commands that add NVIDIA's repository and install the toolkit."""
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
    return tuple(steps)


def upgrade_toolkit(facts: Facts) -> tuple[str, ...]:
    """Return the commands that bring the toolkit's four packages to the newest version together."""
    if facts.platform.family == "arch":
        return (*upgrade(facts, "nvidia-container-toolkit"), *_restart(facts))
    names = ("nvidia-container-toolkit", "nvidia-container-toolkit-base", "libnvidia-container-tools", "libnvidia-container1")
    return (*upgrade(facts, *names), *_restart(facts))


def install_driver(facts: Facts, branch: int = 580, *, open_module: bool = True, oldest: int = 0) -> tuple[str, ...]:
    """Return the commands that install a driver of a branch in the flavour that this GPU needs, as the distribution does it.

    ``oldest`` is the oldest branch that drives the GPU at all: where the distribution's packages are older, NVIDIA's are named.
    """
    if not open_module:
        return _install_proprietary_driver(facts, branch)
    platform = facts.platform
    if platform.os_id in _UBUNTU:
        return _install_ubuntu_driver(facts, f"{branch}-server-open")
    if platform.family == "debian":
        if oldest > _DEBIAN_BRANCH:
            return (_HEADERS_FIRST.format(_debian_headers(facts)), f"{install(facts, 'nvidia-open')}{_CUDA_REPOSITORY}")
        return _install_debian_driver(facts, "nvidia-open-kernel-dkms", "nvidia-driver", "libcuda1", "nvidia-smi")
    if platform.family == "rhel":
        return (*_dnf_stream(facts, "open-dkms"), _dnf_headers(facts), f"{install(facts, 'nvidia-open')}{_CUDA_REPOSITORY}")
    if platform.family == "suse":
        return (install(facts, "nvidia-open-driver-G06-signed-kmp"),)
    if platform.family == "arch":
        return (install(facts, "nvidia-open", "nvidia-utils"),)
    return (f"install NVIDIA driver {branch} (open kernel module) from nvidia.com",)


def _restart(facts: Facts) -> tuple[str, ...]:
    return (restart_docker(facts),) if facts.docker.installed else ()


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


def set_no_cgroups(facts: Facts, value: str) -> str:
    """Return the command that sets no-cgroups to ``true`` or ``false`` in the config.toml that the hook reads."""
    return set_toolkit_config(facts, "nvidia-container-cli", "no-cgroups", value)


def _install_proprietary_driver(facts: Facts, branch: int) -> tuple[str, ...]:
    """Return the commands that install the proprietary module of a branch and keep upgrades within that branch.

    Only GPUs before Turing need it, and branches after 580 do not drive them: an upgrade past it would lose the GPU again.
    """
    platform, packages = facts.platform, facts.packages
    if platform.os_id in _UBUNTU:
        return _install_ubuntu_driver(facts, f"{branch}-server")
    if platform.family == "debian" and packages.installed("cuda-keyring") is not None and branch > _DEBIAN_BRANCH:
        names = (f"nvidia-driver-pinning-{branch}", "cuda-drivers")
        return (_HEADERS_FIRST.format(_debian_headers(facts)), *(f"{install(facts, name)}{_CUDA_REPOSITORY}" for name in names))
    if platform.family == "debian" and (branch > _LEGACY_BRANCH or platform.os_version in {"11", "12"}):
        if branch <= _LEGACY_BRANCH:
            return _install_debian_driver(facts, f"nvidia-tesla-{branch}-driver")
        return _install_debian_driver(facts, "nvidia-kernel-dkms", "nvidia-driver", "libcuda1", "nvidia-smi")
    if platform.family == "rhel":
        if packages.matching("akmod-nvidia") or (platform.os_id == "fedora" and not packages.matching("nvidia-driver")):
            names = (f"akmod-nvidia-{branch}xx", f"xorg-x11-drv-nvidia-{branch}xx-cuda")
            return (f"sudo dnf install -y --allowerasing {' '.join(names)}  # from RPM Fusion",)
        lock = _dnf_stream(facts, f"{branch}-dkms") or (f"sudo dnf versionlock add '*nvidia*{branch}*'",)
        return (*lock, _dnf_headers(facts), f"{install(facts, 'cuda-drivers')}{_CUDA_REPOSITORY}")
    if platform.family == "suse":
        if branch <= _LEGACY_BRANCH:
            return (install(facts, "nvidia-gfxG05-kmp-default", "nvidia-computeG05"),)
        return (install(facts, "nvidia-driver-G06-kmp-default", "nvidia-compute-utils-G06"),)
    if platform.family == "arch":
        return (f"yay -S nvidia-{branch}xx-dkms nvidia-{branch}xx-utils  # built from the AUR",)
    return (f"install NVIDIA driver {branch} (proprietary kernel module) from nvidia.com",)


def _install_ubuntu_driver(facts: Facts, name: str) -> tuple[str, ...]:
    return ("sudo apt-get update", install(facts, f"nvidia-driver-{name}", f"linux-modules-nvidia-{name}-generic"))


def _install_debian_driver(facts: Facts, *packages: str) -> tuple[str, ...]:
    return (
        "sudo apt-get update  # with the components contrib non-free non-free-firmware in the sources",
        install(facts, _debian_headers(facts)),
        install(facts, *packages),
    )


def _debian_headers(facts: Facts) -> str:
    return f"linux-headers-{facts.platform.machine.replace('x86_64', 'amd64').replace('aarch64', 'arm64')}"


def _dnf_headers(facts: Facts) -> str:
    return install(facts, "kernel-devel" if facts.platform.os_id == "fedora" else "kernel-devel-matched")


def _dnf_stream(facts: Facts, stream: str) -> tuple[str, ...]:
    """Return the commands that choose a module stream of NVIDIA's repository; Enterprise Linux 10 and Fedora have none."""
    if facts.platform.os_id == "fedora" or facts.platform.os_version.partition(".")[0] not in {"8", "9", "2023"}:
        return ()
    return ("sudo dnf module reset -y nvidia-driver", f"sudo dnf module enable -y nvidia-driver:{stream}")


def reinstall(facts: Facts, *packages: str) -> str:
    """Return the command that puts back the files of packages that are installed."""
    names = " ".join(packages)
    family = facts.platform.family
    if family == "debian":
        return f"sudo apt-get install --reinstall -y {names}"
    if family == "rhel":
        return f"sudo dnf reinstall -y {names}"
    if family == "suse":
        return f"sudo zypper install --force {names}"
    return install(facts, *packages)


def set_toolkit_config(facts: Facts, table: str, key: str, value: str) -> str:
    """Return the command that sets one key of the toolkit's config.toml; ``table`` is empty for the top.

    By sed on the one line: `nvidia-ctk config --in-place` writes the file anew and drops every comment of it.
    """
    toolkit = facts.toolkit
    path = toolkit.config_path
    setting = f"{key} = {value}" if value in {"true", "false"} else f'{key} = "{value}"'
    line = toolkit.line(table, key) or toolkit.commented_line(key)
    if line is not None:
        return f"sudo sed -i '{line}s|.*|{setting}|' {path}"
    if not table:
        return f"sudo sed -i '1i {setting}' {path}"
    if f"[{table}]".encode() in toolkit.config.data:
        return f"sudo sed -i '/^\\[{table}\\]/a {setting}' {path}"
    return f"printf '[{table}]\\n{setting}\\n' | sudo tee -a {path}"


def update_grub(facts: Facts) -> str:
    """Return the command that writes GRUB's configuration anew from /etc/default/grub and its drop-ins."""
    family = facts.platform.family
    if family == "debian":
        return "sudo update-grub"
    if family in {"rhel", "suse"}:
        return "sudo grub2-mkconfig -o /boot/grub2/grub.cfg"
    return "sudo grub-mkconfig -o /boot/grub/grub.cfg"


def remove_kernel_argument(facts: Facts, argument: str) -> tuple[str, ...]:
    """Return the commands that take ``name=value`` from the kernel arguments of the next boot, whatever decides them here."""
    boot, kernel = facts.boot, facts.platform.kernel
    loader = boot.loader
    pattern = argument.replace(".", "\\.")
    if loader == "grub":
        holding = [path for path, data in boot.grub_files if argument.encode() in data]
        if not holding:
            return (update_grub(facts),)
        return (f"sudo sed -i 's/ *{pattern}//g' {' '.join(holding)}", update_grub(facts))
    if loader == "systemd-boot" and facts.host.exists("/etc/kernel/cmdline"):
        again = "add-all" if (facts.platform.systemd_version or 0) >= _ADD_ALL else f"add {kernel} /boot/vmlinuz-{kernel}"
        return (f"sudo sed -i 's/ *{pattern}//g' /etc/kernel/cmdline", f"sudo kernel-install {again}")
    return {
        "bls": (f'sudo grubby --update-kernel=ALL --remove-args="{argument}"',),
        "rpm-ostree": (f"sudo rpm-ostree kargs --delete-if-present={argument}",),
        "kernelstub": (f'sudo kernelstub -d "{argument}"',),
        "extlinux": (f"sudoedit /boot/extlinux/extlinux.conf  # take {argument} out of the APPEND line",),
        "systemd-boot": (f"sudoedit /boot/loader/entries/*.conf  # take {argument} out of the options line",),
        "raspberry-pi": (f"sudoedit /boot/firmware/cmdline.txt  # take {argument} out of its one line",),
    }.get(loader, (f"take {argument} out of the kernel arguments in the boot loader's configuration",))


def install_version(facts: Facts, package: str, version: str) -> tuple[str, ...]:
    """Return the commands that install exactly this upstream version of a package, and hold it where one command does that."""
    family = facts.platform.family
    if family == "debian":
        return (f"sudo apt-get install -y '{package}={version}*'", f"sudo apt-mark hold {package}")
    if family == "rhel":
        return (f"sudo dnf install -y {package}-{version}",)
    if family == "suse":
        return (f"sudo zypper install --oldpackage {package}={version}",)
    return (f"install {package} {version} with this system's package manager",)
