"""podman, and whether ``docker`` on this host is really podman."""

from __future__ import annotations

from gpudoctor import tables
from gpudoctor.facts import Area, fact
from gpudoctor.host import Unseen


class Podman(Area):
    """podman as a container engine."""

    @fact
    def version(self) -> str | None:
        """Return podman's version, from its package or itself; None where it is not installed."""
        package = self.facts.packages.installed("podman")
        if package is not None:
            return ".".join(map(str, tables.version(package.version)))
        try:
            ran = self.host.command("podman", "--version")
        except Unseen:
            return None
        words = ran.out.decode("utf-8", "replace").split() if ran is not None and ran.rc == 0 else []
        return words[-1] if words and words[-1][:1].isdigit() else None

    @fact
    def poses_as_docker(self) -> str | None:
        """Return what shows that ``docker`` is podman (a path), None where it is not."""
        package = self.facts.packages.installed("podman-docker")
        if package is not None:
            return f"{self.facts.packages.source} (podman-docker {package.version})"
        script = self.host.followed("/usr/bin/docker")
        if script is not None and self.host.real("/usr/bin/docker").endswith("/podman"):
            return "/usr/bin/docker"
        return "/etc/containers/nodocker" if script is not None and self.host.exists("/etc/containers/nodocker") else None
