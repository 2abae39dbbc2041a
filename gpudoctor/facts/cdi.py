"""The CDI specs of this host, each parsed once, and what of the host they name."""

from __future__ import annotations

from typing import NamedTuple

from gpudoctor.facts import Area, fact
from gpudoctor.formats import Malformed, cdi
from gpudoctor.host import Absent, Denied

REFRESH = "nvidia-cdi-refresh.service"


class SpecFile(NamedTuple):
    """One spec file: ``spec`` None where it is malformed or may not be read (``malformed`` or ``refused`` says why)."""

    path: str
    data: bytes
    mode: int
    spec: cdi.Spec | None
    malformed: Malformed | None
    refused: str = ""

    def line(self, text: str) -> int | None:
        """Return the first line that contains ``text``."""
        return cdi.line_of(self.data, text)

    @property
    def nodes(self) -> tuple[cdi.Node, ...]:
        """Every device node of the spec: the common ones and those of each device."""
        if self.spec is None:
            return ()
        return (*self.spec.nodes, *(node for device in self.spec.devices for node in device.nodes))

    @property
    def mounts(self) -> tuple[str, ...]:
        """Every host path that the spec mounts."""
        if self.spec is None:
            return ()
        return (*self.spec.mounts, *(path for device in self.spec.devices for path in device.mounts))


class Cdi(Area):
    """Spec files in the folders that the engine searches."""

    @fact
    def folders(self) -> tuple[str, ...]:
        """Return the folders searched, each once (/var/run is usually a link to /run), in order of rising priority."""
        found: dict[str, str] = {}
        for folder in dict.fromkeys((*self.facts.docker.cdi_dirs, "/etc/cdi", "/var/run/cdi")):
            try:
                found.setdefault(self.host.real(folder), folder)
            except Absent:
                continue
        return tuple(found.values())

    @fact
    def files(self) -> tuple[SpecFile, ...]:
        """Return every spec file, parsed."""
        found = []
        for folder in self.folders:
            for name in self.host.names(folder):
                if name.endswith((".yaml", ".json")):
                    found.append(self._file(f"{folder}/{name}"))  # noqa: PERF401
        return tuple(found)

    @fact
    def nvidia(self) -> tuple[SpecFile, ...]:
        """Return the readable specs of kind nvidia.com/..."""
        return tuple(each for each in self.files if each.spec is not None and each.spec.kind.startswith("nvidia.com/"))

    @fact
    def gpu_specs(self) -> tuple[SpecFile, ...]:
        """Return the readable specs of kind nvidia.com/gpu."""
        return tuple(each for each in self.nvidia if each.spec is not None and each.spec.kind == "nvidia.com/gpu")

    @fact
    def used(self) -> bool:
        """Say whether anything on this host is likely to use the specs: Docker with CDI on, podman, or the runtime in cdi mode."""
        return self.facts.docker.cdi_enabled or self.facts.podman.version is not None or self.facts.toolkit.runtime_path == "cdi"

    def _file(self, path: str) -> SpecFile:
        stat = self.host.followed(path)
        mode = stat.mode if stat is not None else 0
        try:
            data = self.host.read(path)
        except Denied as missed:
            return SpecFile(path, b"", mode, None, None, missed.why or "permission denied")
        except Absent:
            return SpecFile(path, b"", mode, None, None, "a link that leads nowhere")
        try:
            return SpecFile(path, data, mode, cdi.parse(data, path), None)
        except Malformed as malformed:
            return SpecFile(path, data, mode, None, malformed)
