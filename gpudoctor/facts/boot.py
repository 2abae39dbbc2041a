"""Kernel arguments now and at the next boot, the boot loader that decides them, Secure Boot and lockdown."""

from __future__ import annotations

from typing import Literal

from gpudoctor.facts import Area, fact
from gpudoctor.formats import Malformed, cmdline, grub
from gpudoctor.values import NamedTuple

Loader = Literal["grub", "bls", "systemd-boot", "kernelstub", "rpm-ostree", "extlinux", "raspberry-pi", "wsl", "unknown"]

GRUB_MAIN = "/etc/default/grub"
GRUB_DROP_INS = "/etc/default/grub.d"
GRUB_CFGS = ("/boot/grub/grub.cfg", "/boot/grub2/grub.cfg")
"""What grub-mkconfig writes, and what the boot loader reads."""
_SECURE_BOOT = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"

Args = tuple[tuple[str, "str | None"], ...]


class BootFile(NamedTuple):
    """A boot configuration file that cannot be read as its reader would: path and what is wrong."""

    path: str
    malformed: Malformed


class Boot(Area):
    """Kernel arguments and what decides them."""

    @fact
    def args(self) -> Args:
        """Return the running kernel's arguments, from /proc/cmdline."""
        return cmdline.parse(self.host.text("/proc/cmdline") or "")

    @fact
    def loader(self) -> Loader:
        """Return what decides the kernel arguments of the next boot."""
        exists = self.host.exists
        if self.facts.platform.wsl:
            return "wsl"
        for path, name in (
            ("/run/ostree-booted", "rpm-ostree"),
            ("/boot/extlinux/extlinux.conf", "extlinux"),
            ("/boot/firmware/cmdline.txt", "raspberry-pi"),
            ("/etc/kernelstub/configuration", "kernelstub"),
        ):
            if exists(path):
                return name  # type: ignore[return-value]
        if exists(GRUB_MAIN):
            red_hat = self.facts.platform.family == "rhel" and self.facts.platform.os_id != "amzn"
            return "bls" if red_hat and exists("/boot/loader/entries") else "grub"
        return "systemd-boot" if exists("/etc/kernel/cmdline") or exists("/boot/loader/loader.conf") else "unknown"

    @fact
    def grub_files(self) -> tuple[tuple[str, bytes], ...]:
        """Return /etc/default/grub and its drop-ins, in the order in which grub-mkconfig sources them."""
        paths = [GRUB_MAIN]
        paths += [f"{GRUB_DROP_INS}/{name}" for name in self.host.names(GRUB_DROP_INS) if name.endswith(".cfg")]
        files = ((path, self.host.bytes(path)) for path in paths)
        return tuple((path, data) for path, data in files if data is not None)

    @fact
    def bash(self) -> bool:
        """Say whether /bin/sh, by which grub-mkconfig reads its files, is bash here: it takes ``+=`` where dash fails."""
        return self.facts.platform.family in {"arch", "rhel", "suse"}

    @fact
    def broken_grub(self) -> BootFile | None:
        """Return the first GRUB file that sh would not read as meant."""
        for path, data in self.grub_files:
            try:
                grub.effective([(path, data)], "GRUB_CMDLINE_LINUX", bash=self.bash)
            except Malformed as malformed:
                return BootFile(path, malformed)
        return None

    def grub_value(self, name: str) -> grub.Effective | None:
        """Return the effective value of a GRUB variable over all files; None where a file is broken or nothing sets it."""
        if not self.grub_files or self.broken_grub is not None:
            return None
        return grub.effective(self.grub_files, name, bash=self.bash)

    @fact
    def next_args(self) -> Args | None:
        """Return the arguments that the next boot adds to the root device's, None where they cannot be computed."""
        if self.loader == "grub":
            both = [self.grub_value(name) for name in ("GRUB_CMDLINE_LINUX", "GRUB_CMDLINE_LINUX_DEFAULT")]
            if any(value is None or not value.computable for value in both):
                return None
            return cmdline.parse(" ".join(value.value or "" for value in both if value is not None))
        if self.loader == "systemd-boot":
            text = self.host.text("/etc/kernel/cmdline")
            return None if text is None else cmdline.parse(text)
        return None

    def next_place(self, name: str) -> tuple[str, int | None]:
        """Return file and line that give the next boot the argument ``name``, or that would have to: see ``next_args``."""
        if self.loader != "grub":
            return "/etc/kernel/cmdline", 1
        both = (self.grub_value("GRUB_CMDLINE_LINUX_DEFAULT"), self.grub_value("GRUB_CMDLINE_LINUX"))
        known = [value for value in both if value is not None and value.path]
        holding = [value for value in known if cmdline.values(cmdline.parse(value.value or ""), name)]
        place = next(iter((*holding, *known)), None)
        return (GRUB_MAIN, None) if place is None else (place.path, place.line)

    @fact
    def grub_cfg(self) -> tuple[str, Args] | None:
        """Return the path of GRUB's own configuration and the arguments of its first entry; None where there is none."""
        for path in GRUB_CFGS:
            for line in (self.host.text(path) or "").split("\n"):
                words = line.split(None, 2)
                if len(words) > 2 and words[0] in {"linux", "linux16", "linuxefi"}:
                    return path, cmdline.parse(words[2])
        return None

    @fact
    def secure_boot(self) -> bool | None:
        """Say whether Secure Boot is on; None on a machine without EFI variables."""
        data = self.host.bytes(_SECURE_BOOT)
        return None if data is None or len(data) < 5 else data[4] == 1

    @fact
    def lockdown(self) -> str:
        """Return the kernel's lockdown mode: ``none``, ``integrity`` or ``confidentiality``."""
        text = self.host.text("/sys/kernel/security/lockdown") or ""
        return text.partition("[")[2].partition("]")[0] or "none"

    @fact
    def signature_enforced(self) -> bool:
        """Say whether the kernel refuses modules whose signing key it does not know."""
        forced = cmdline.values(self.args, "module.sig_enforce")
        asked = bool(forced) and forced[-1] in {None, "1", "y", "Y"}
        return asked or self.lockdown != "none" or bool(self.secure_boot)
