"""The CDI specs of this host, each parsed once, and what of the host they name."""

from __future__ import annotations

from gpudoctor import tables
from gpudoctor.facts import Area, fact
from gpudoctor.formats import Malformed, cdi
from gpudoctor.host import Absent, Denied
from gpudoctor.values import NamedTuple

REFRESH = "nvidia-cdi-refresh.service"
REFRESH_ENV = "/etc/nvidia-container-toolkit/nvidia-cdi-refresh.env"
FOLDERS = ("/etc/cdi", "/var/run/cdi")
"""Where every engine looks unless it is told otherwise; the later folder has priority."""
GPU = "nvidia.com/gpu"
_OLDEST_DRIVER = 100
PODMAN_SINCE = (4, 1)
"""The first podman that takes CDI names."""


class Reader(NamedTuple):
    """Something on this host that gives GPUs by the specs, and where it looks.

    ``sole``: where a spec has the name, it is what counts, and nothing else is tried. ``falls_back``: where no spec has the name,
    Docker's --gpus turns to the legacy hook (moby pull request 50228: the first way that makes no error is taken).
    """

    name: str
    folders: tuple[str, ...]
    sole: bool
    falls_back: bool = False


class SpecFile(NamedTuple):
    """One spec file: ``spec`` None where engines drop it or it may not be read (``malformed`` or ``refused`` says why)."""

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
    def devices(self) -> tuple[cdi.Device, ...]:
        """The devices that it defines."""
        return self.spec.devices if self.spec is not None else ()

    @property
    def nodes(self) -> tuple[cdi.Node, ...]:
        """Every device node of the spec: the common ones and those of each device."""
        if self.spec is None:
            return ()
        return (*self.spec.nodes, *(node for device in self.devices for node in device.nodes))

    @property
    def mounts(self) -> tuple[str, ...]:
        """Every host path that the spec mounts."""
        if self.spec is None:
            return ()
        return (*self.spec.mounts, *(path for device in self.devices for path in device.mounts))

    @property
    def hooks(self) -> tuple[str, ...]:
        """Every program that the spec runs."""
        if self.spec is None:
            return ()
        return (*self.spec.hooks, *(path for device in self.devices for path in device.hooks))

    @property
    def for_nvidia(self) -> bool:
        """Whether it is a spec of NVIDIA's; of one that does not parse by its text."""
        return self.spec.kind.startswith("nvidia.com/") if self.spec is not None else b"nvidia.com/" in self.data

    @property
    def driver(self) -> tuple[str, str] | None:
        """The driver version that the file names of libcuda or libnvidia-ml tell, and that path; None where none does."""
        for path in self.mounts:
            name, sign, version = path.rpartition("/")[2].partition(".so.")
            # Tegra and WSL have a libcuda.so.1.1, which tells no version of a driver.
            if sign and name in {"libcuda", "libnvidia-ml"} and tables.version(version)[:1] > (_OLDEST_DRIVER,):
                return version, path
        return None


class Cdi(Area):
    """Spec files in the folders that the engine searches."""

    @fact
    def folders(self) -> tuple[str, ...]:
        """Return the folders searched, each once (/var/run is usually a link to /run), in order of rising priority."""
        found: dict[str, str] = {}
        for folder in dict.fromkeys((*self.facts.docker.cdi_dirs, *FOLDERS)):
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
    def readers(self) -> tuple[Reader, ...]:
        """Return what gives GPUs by the specs here; Docker's snap and Desktop have a system of their own and do not count."""
        docker, toolkit, podman = self.facts.docker, self.facts.toolkit, self.facts.podman
        found = []
        if docker.installed and docker.kind not in {"snap", "desktop"}:
            if toolkit.gpus_path == "cdi":
                # The hook refuses in a mode that is forced on the runtime (cdi/hook-invoked-in-cdi-mode).
                hook = toolkit.hook is not None and toolkit.mode in {"auto", "legacy"}
                found.append(Reader("docker run --gpus", docker.cdi_dirs, sole=True, falls_back=hook))
            elif docker.cdi_enabled:
                found.append(Reader("docker run --device", docker.cdi_dirs, sole=False))
            if toolkit.runtime_path == "cdi":
                told = toolkit.setting("nvidia-container-runtime.modes.cdi", "spec-dirs")
                folders = tuple(str(folder) for folder in told) if isinstance(told, list) and told else FOLDERS
                found.append(Reader("the nvidia runtime in cdi mode", folders, sole=True))
        if podman.version is not None and tables.version(podman.version) >= PODMAN_SINCE:
            found.append(Reader("podman", FOLDERS, sole=not docker.installed))
        return tuple(found)

    def seen_by(self, reader: Reader) -> tuple[SpecFile, ...]:
        """Return the spec files in the folders that a reader searches."""
        real = set()
        for folder in reader.folders:
            try:
                real.add(self.host.real(folder))
            except Absent:
                continue
        return tuple(each for each in self.files if self.host.real(each.path.rpartition("/")[0]) in real)

    @fact
    def _resolved(self) -> tuple[dict[str, SpecFile], dict[str, tuple[SpecFile, ...]]]:
        """Return who defines each device of kind nvidia.com/..., and those that two files of one folder define.

        As the CDI library does it: the later folder wins silently; two files of one folder make the name vanish, even where a later
        folder has it too.
        """
        defined: dict[str, dict[str, tuple[SpecFile, ...]]] = {}
        for each in self.nvidia:
            folder = each.path.rpartition("/")[0]
            kind = each.spec.kind if each.spec is not None else ""
            for device in each.devices:
                by_folder = defined.setdefault(f"{kind}={device.name}", {})
                by_folder[folder] = (*by_folder.get(folder, ()), each)
        winners = {}
        clashes = {}
        for name, by_folder in defined.items():
            double = next((files for files in by_folder.values() if len(files) > 1), None)
            if double is not None:
                clashes[name] = double
            else:
                winners[name] = list(by_folder.values())[-1][0]
        return winners, clashes

    @fact
    def devices(self) -> dict[str, SpecFile]:
        """Return the devices that can be asked for (``nvidia.com/gpu=0``) and the file that defines each."""
        return self._resolved[0]

    @fact
    def clashes(self) -> dict[str, tuple[SpecFile, ...]]:
        """Return the devices that no engine knows because two files of one folder define them."""
        return self._resolved[1]

    @fact
    def in_force(self) -> tuple[SpecFile, ...]:
        """Return the specs of kind nvidia.com/gpu that define at least one device which can be asked for."""
        paths = {each.path for each in self.devices.values()}
        return tuple(each for each in self.gpu_specs if each.path in paths)

    @fact
    def refresh_unit(self) -> str | None:
        """Return nvidia-cdi-refresh's unit file, None where it is not installed (toolkits before 1.18)."""
        return self.facts.services.unit_file(REFRESH)

    @fact
    def refresh_output(self) -> str:
        """Return the file that nvidia-cdi-refresh writes."""
        for line in (self.host.text(REFRESH_ENV) or "").split("\n"):
            name, _, value = line.strip().partition("=")
            if name == "NVIDIA_CTK_CDI_OUTPUT_FILE_PATH" and value:
                return value.strip("\"'")
        return "/var/run/cdi/nvidia.yaml"

    def refreshed(self, path: str) -> bool:
        """Say whether a spec file is the one that nvidia-cdi-refresh writes (by whatever path it is called)."""
        return self.refresh_unit is not None and self._real(path) == self._real(self.refresh_output)

    def _real(self, path: str) -> str:
        folder, _, name = path.rpartition("/")
        try:
            return f"{self.host.real(folder)}/{name}"
        except Absent:
            return path

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
            spec = cdi.parse(data, path)
        except Malformed as malformed:
            return SpecFile(path, data, mode, None, malformed)
        wrong = cdi.refusal(spec)
        if wrong is None:
            return SpecFile(path, data, mode, spec, None)
        return SpecFile(path, data, mode, None, Malformed(wrong[0], cdi.line_of(data, wrong[1]) or 0))
