"""What the machine is: architecture, kernel, distribution, systemd, virtual machine, LXC, WSL, Jetson."""

from __future__ import annotations

from typing import Literal

from gpudoctor import tables
from gpudoctor.facts import Area, fact
from gpudoctor.formats import osrelease
from gpudoctor.host import Absent, Denied, Unseen

Family = Literal["debian", "rhel", "suse", "arch", "other"]

_FAMILIES: dict[str, Family] = {
    "debian": "debian",
    "ubuntu": "debian",
    "rhel": "rhel",
    "fedora": "rhel",
    "centos": "rhel",
    "amzn": "rhel",
    "azurelinux": "rhel",
    "ol": "rhel",
    "suse": "suse",
    "opensuse": "suse",
    "sles": "suse",
    "arch": "arch",
}
_THOR = 38
_SHARED_LIBRARY_FOLDERS = ("/usr/lib/systemd", "/usr/lib/x86_64-linux-gnu/systemd", "/usr/lib/aarch64-linux-gnu/systemd")


class Platform(Area):
    """Architecture, kernel, distribution, systemd, and what kind of machine it is."""

    @fact
    def machine(self) -> str:
        """Return ``x86_64``, ``aarch64`` ...; of a mounted root by its dynamic loader."""
        try:
            return self.host.run("uname", "-m").out.decode("utf-8", "replace").strip()
        except Absent:
            pass
        except Unseen:
            for loader, name in (("/lib64/ld-linux-x86-64.so.2", "x86_64"), ("/lib/ld-linux-aarch64.so.1", "aarch64")):
                if self.host.exists(loader):
                    return name
            raise
        # A recorded host without uname: the kernel's own banner of the driver or Debian's architecture name it.
        for path, name in (("/lib64/ld-linux-x86-64.so.2", "x86_64"), ("/lib/ld-linux-aarch64.so.1", "aarch64")):
            if self.host.exists(path):
                return name
        return ""

    @fact
    def kernel(self) -> str:
        """Return the running kernel's release, such as ``6.8.0-45-generic``; empty where nothing says it."""
        release = self.host.text("/proc/sys/kernel/osrelease")
        if release is not None:
            return release.strip()
        banner = (self.host.text("/proc/version") or "").split()
        return banner[2] if len(banner) > 2 and banner[:2] == ["Linux", "version"] else ""

    @fact
    def kernel_version(self) -> tuple[int, ...]:
        """Return the running kernel's version as numbers, ``(6, 8, 0)``."""
        return tables.version(self.kernel)[:3]

    @fact
    def os_release(self) -> dict[str, str]:
        """Return the fields of os-release(5)."""
        for path in ("/etc/os-release", "/usr/lib/os-release"):
            data = self.host.bytes(path)
            if data is not None:
                return osrelease.parse(data)
        return {}

    @fact
    def os_id(self) -> str:
        """Return the distribution's ID, such as ``ubuntu``."""
        return self.os_release.get("ID", "linux")

    @fact
    def os_version(self) -> str:
        """Return the distribution's VERSION_ID, empty for a rolling one."""
        return self.os_release.get("VERSION_ID", "")

    @fact
    def os_name(self) -> str:
        """Return what the distribution calls itself."""
        return self.os_release.get("PRETTY_NAME") or self.os_release.get("NAME") or "an unnamed Linux"

    @fact
    def family(self) -> Family:
        """Return whose package manager and boot tools this distribution has."""
        for name in (self.os_id, *self.os_release.get("ID_LIKE", "").split()):
            family = _FAMILIES.get(name) or _FAMILIES.get(name.partition("-")[0])
            if family is not None:
                return family
        return "other"

    @fact
    def distro(self) -> tables.Distro | None:
        """Return the table's row for this distribution and version."""
        return tables.distro(self.os_id, self.os_version)

    @fact
    def systemd(self) -> bool:
        """Say whether systemd runs this machine; of a mounted disk, whether it is there to run it."""
        try:
            return self.host.exists("/run/systemd/system")
        except Unseen:
            return self.host.exists("/usr/lib/systemd/systemd") or self.host.exists("/lib/systemd/systemd")

    @fact
    def systemd_version(self) -> int | None:
        """Return systemd's major version, None where there is none."""
        try:
            ran = self.host.command("systemctl", "--version")
        except Unseen:
            ran = None
        words = ran.out.decode("utf-8", "replace").split() if ran is not None and ran.rc == 0 else []
        if len(words) > 1 and words[0] == "systemd" and words[1].isdigit():
            return int(words[1])
        for folder in _SHARED_LIBRARY_FOLDERS:
            for name in self.host.names(folder):
                number = name.removeprefix("libsystemd-shared-").partition(".")[0]
                if name.startswith("libsystemd-shared-") and number.isdigit():
                    return int(number)
        package = self.facts.packages.installed("systemd")
        numbers = tables.version(package.version) if package is not None else ()
        return numbers[0] if numbers else None

    @fact
    def now(self) -> int | None:
        """Return the host's clock in seconds since 1970, None where it cannot be had."""
        try:
            ran = self.host.command("date", "+%s")
        except Unseen:
            ran = None
        if ran is not None and ran.out.strip().isdigit():
            return int(ran.out)
        return self.facts.docker.system_time

    @fact
    def today(self) -> str | None:
        """Return the host's date as ``YYYY-MM-DD``, None where the clock cannot be had."""
        if self.now is None:
            return None
        import time

        return time.strftime("%Y-%m-%d", time.gmtime(self.now))

    @fact
    def root(self) -> bool:
        """Say whether whoever asks is root."""
        ran = self.host.command("id", "-u")
        return ran is not None and ran.out.strip() == b"0"

    @fact
    def wsl(self) -> bool:
        """Say whether this is WSL (1 or 2): by the running kernel, of a mounted disk by the folder that Windows mounts there."""
        try:
            return "microsoft" in self.kernel.lower()
        except Unseen:
            return self.host.exists("/usr/lib/wsl/lib")

    @fact
    def jetson(self) -> bool:
        """Say whether this is a Tegra system on chip (Jetson); of a mounted disk only its own files tell."""
        if self.host.exists("/etc/nv_tegra_release"):
            return True
        try:
            family = self.host.text("/sys/devices/soc0/family") or ""
            compatible = self.host.text("/proc/device-tree/compatible") or ""
        except Unseen:
            return False
        return family.lower().startswith("tegra") or "nvidia,tegra" in compatible

    @fact
    def l4t(self) -> int | None:
        """Return the Jetson's L4T release: 32 (JetPack 4), 35 (5), 36 (6) ..."""
        words = (self.host.text("/etc/nv_tegra_release") or "").split()
        number = next((word[1:] for word in words if word[:1] == "R" and word[1:].isdigit()), "")
        return int(number) if number else None

    @fact
    def nvgpu(self) -> bool:
        """Say whether this is a Jetson up to Orin, driven by Tegra's own nvgpu; Thor (L4T 38) has the usual driver."""
        compatible = self.host.text("/proc/device-tree/compatible") or ""
        return self.jetson and (self.l4t or 0) < _THOR and "nvidia,tegra264" not in compatible

    @fact
    def container(self) -> str | None:
        """Return which container manager's guest this is (``lxc``, ``docker``, ``podman`` ...), None on a machine of its own."""
        for path, name in (("/.dockerenv", "docker"), ("/run/.containerenv", "podman")):
            if self.host.exists(path):
                return name
        told = self.host.text("/run/systemd/container")
        if told is not None and told.strip():
            return told.strip()
        try:
            environ = self.host.bytes("/proc/1/environ") or b""
        except Denied:
            if self.systemd:
                # systemd writes /run/systemd/container in a guest, for everybody to read.
                return None
            raise
        for entry in environ.split(b"\0"):
            if entry.startswith(b"container=") and len(entry) > len(b"container="):
                return entry[len(b"container=") :].decode("utf-8", "replace")
        return None

    @fact
    def lxc(self) -> bool:
        """Say whether this is an LXC, LXD or Incus guest."""
        return (self.container or "").startswith(("lxc", "incus"))

    @fact
    def proxmox(self) -> bool:
        """Say whether the kernel or /etc/pve is that of a Proxmox host (its LXC guests see the same kernel)."""
        return "-pve" in self.kernel or self.host.exists("/etc/pve")

    @fact
    def hypervisor(self) -> bool:
        """Say whether the processor says that a hypervisor runs it."""
        for line in (self.host.text("/proc/cpuinfo") or "").split("\n"):
            if line.startswith("flags"):
                return " hypervisor" in line
        return False

    @fact
    def selinux_enforcing(self) -> bool:
        """Say whether SELinux is on and refuses what its policy does not allow."""
        return (self.host.text("/sys/fs/selinux/enforce") or "").strip() == "1"

    def selinux_boolean(self, name: str) -> bool | None:
        """Return the value in force of a switch of the SELinux policy, None where the loaded policy has no such switch."""
        text = self.host.text(f"/sys/fs/selinux/booleans/{name}")
        # "1 0": in force, and wanted at the next commit.
        return None if text is None else text.strip().startswith("1")

    @fact
    def selinux_file_contexts(self) -> str:
        """Return the path of the SELinux policy's list of file labels."""
        policy = "targeted"
        for line in (self.host.text("/etc/selinux/config") or "").split("\n"):
            key, _, value = line.partition("=")
            if key.strip() == "SELINUXTYPE" and value.strip():
                policy = value.strip()
        return f"/etc/selinux/{policy}/contexts/files/file_contexts"
