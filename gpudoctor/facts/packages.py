"""What the distribution's package manager has installed: dpkg and pacman from their files, rpm by asking it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from gpudoctor.facts import Area, fact
from gpudoctor.formats import Malformed, dpkg, pacman, rpm

if TYPE_CHECKING:
    from gpudoctor.formats import apt
    from gpudoctor.formats.package import Package

DPKG_STATUS = "/var/lib/dpkg/status"
PACMAN_LOCAL = "/var/lib/pacman/local"
APT = "/etc/apt"
RPM_QUERY = ("rpm", "-qa", "--qf", "%{NAME} %{VERSION}-%{RELEASE}\\n")


class Packages(Area):
    """Installed packages by name or prefix; nothing is installed where there is no package manager that we read."""

    @fact
    def manager(self) -> Literal["dpkg", "rpm", "pacman"] | None:
        """Return whose database this host has."""
        if self._dpkg:
            return "dpkg"
        if self.host.exists(PACMAN_LOCAL):
            return "pacman"
        return "rpm" if self.facts.platform.family in {"rhel", "suse"} else None

    @fact
    def source(self) -> str:
        """Return where the packages were read, for evidence."""
        return {"dpkg": DPKG_STATUS, "pacman": PACMAN_LOCAL, "rpm": "rpm -qa"}.get(self.manager or "", "no package database")

    @fact
    def _dpkg(self) -> bytes:
        return self.host.bytes(DPKG_STATUS) or b""

    @fact
    def _rpm(self) -> str:
        ran = self.host.command(*RPM_QUERY)
        return ran.out.decode("utf-8", "replace") if ran is not None and ran.rc == 0 else ""

    @fact
    def _pacman(self) -> tuple[str, ...]:
        return self.host.names(PACMAN_LOCAL)

    @fact
    def apt_sources(self) -> tuple[apt.Source, ...]:
        """Return APT's enabled package sources; a file that APT itself would refuse is left out."""
        from gpudoctor.formats import apt

        folder = f"{APT}/sources.list.d"
        paths = [f"{APT}/sources.list"]
        paths += [f"{folder}/{name}" for name in self.host.names(folder) if name.endswith((".list", ".sources"))]
        found: list[apt.Source] = []
        for path in paths:
            data = self.host.bytes(path)
            try:
                found += apt.parse(path, data) if data is not None else ()
            except Malformed:
                continue
        return tuple(source for source in found if source.enabled)

    @fact
    def nvidia_apt_sources(self) -> tuple[apt.Source, ...]:
        """Return APT's enabled sources of NVIDIA's own repositories."""
        return tuple(
            source for source in self.apt_sources if "nvidia.github.io/" in source.uri or "download.nvidia.com/" in source.uri
        )

    def installed(self, *names: str) -> Package | None:
        """Return the first of these packages that is (at least half) installed."""
        for name in names:
            found = self._one(name)
            if found is not None:
                return found
        return None

    def matching(self, prefix: str) -> tuple[Package, ...]:
        """Return the installed packages whose name starts with ``prefix``."""
        if self.manager == "dpkg":
            return tuple(package for package in dpkg.matching(self._dpkg, prefix) if _there(package))
        if self.manager == "rpm":
            return rpm.matching(self._rpm, prefix)
        if self.manager == "pacman":
            found = (pacman.from_folder(entry) for entry in self._pacman if entry.startswith(prefix))
            return tuple(package for package in found if package is not None)
        return ()

    def _one(self, name: str) -> Package | None:
        if self.manager == "dpkg":
            package = dpkg.installed(self._dpkg, name)
            return package if package is not None and _there(package) else None
        return next((package for package in self.matching(name) if package.name == name), None)


def _there(package: Package) -> bool:
    """Say whether a package's files are there: not removed with only its configuration left."""
    return not package.status.endswith((" not-installed", " config-files"))
