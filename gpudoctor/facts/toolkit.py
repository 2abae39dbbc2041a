"""The NVIDIA container toolkit: version, programs on the daemon's PATH, config.toml, and which way a GPU gets into a container."""

from __future__ import annotations

from typing import Literal

from gpudoctor import tables
from gpudoctor.facts import Area, fact
from gpudoctor.formats import Malformed, toml
from gpudoctor.host import NoAnswer, Unseen
from gpudoctor.values import NamedTuple

CONFIG = "/etc/nvidia-container-runtime/config.toml"
CSV_FOLDER = "/etc/nvidia-container-runtime/host-files-for-container.d"
HOOKS = ("nvidia-container-runtime-hook", "nvidia-container-toolkit")
"""The hook's program; the second name is that of 1.10 and before."""
PACKAGES = ("nvidia-container-toolkit-base", "nvidia-container-toolkit")
LIBRARY_PACKAGES = ("libnvidia-container1", "libnvidia-container")

GpusPath = Literal["hook", "cdi", "none"]
RuntimePath = Literal["legacy", "jit-cdi", "cdi", "csv"]


class ConfigToml(NamedTuple):
    """config.toml: ``value`` empty where it is absent or malformed."""

    path: str
    data: bytes
    value: dict[str, object]
    malformed: Malformed | None


class Toolkit(Area):
    """What the toolkit is, and what it does with ``--gpus`` and ``--runtime=nvidia`` on this host."""

    @fact
    def version(self) -> str | None:
        """Return the toolkit's version: of its package, else as nvidia-ctk says; None where it is not installed."""
        package = self.facts.packages.installed(*PACKAGES)
        if package is not None:
            return str(package.version)
        try:
            ran = self.host.command("nvidia-ctk", "--version")
        except Unseen:
            return None
        words = ran.out.decode("utf-8", "replace").split() if ran is not None and ran.rc == 0 else []
        return next((word for word in words if word[:1].isdigit() and "." in word), None)

    @fact
    def version_numbers(self) -> tuple[int, ...]:
        """Return the toolkit's version as numbers, empty where it is not known."""
        return tables.version(self.version or "")

    @fact
    def version_source(self) -> str:
        """Return where the version was read."""
        package = self.facts.packages.installed(*PACKAGES)
        return f"{self.facts.packages.source} ({package.name})" if package is not None else "nvidia-ctk --version"

    @fact
    def library_version(self) -> str | None:
        """Return the version of libnvidia-container: of its package, else as nvidia-container-cli says."""
        package = self.facts.packages.installed(*LIBRARY_PACKAGES)
        if package is not None:
            return str(package.version)
        try:
            ran = self.host.command("nvidia-container-cli", "--version")
        except Unseen:
            return None
        for line in (ran.out.decode("utf-8", "replace") if ran is not None else "").split("\n"):
            key, _, value = line.partition(":")
            if key.strip() in {"version", "cli-version"} and value.strip():
                return value.strip()
        return None

    @fact
    def library_without_helper(self) -> str | None:
        """Return libnvidia-container.so.1 where libnvidia-container-go.so.1, by which it serves cgroup v2, is not beside it."""
        from gpudoctor.facts.driver import LIBRARY_FOLDERS

        for folder in LIBRARY_FOLDERS:
            path = f"{folder}/libnvidia-container.so.1"
            if self.host.lstat(path) is not None:
                return path if self.host.lstat(f"{folder}/libnvidia-container-go.so.1") is None else None
        return None

    def since(self, feature: str) -> bool:
        """Say whether this toolkit is new enough for a feature of the table (an unknown version is not)."""
        return self.version_numbers >= tables.toolkit_since(feature)

    @fact
    def hook(self) -> str | None:
        """Return the hook on the daemon's PATH: with it dockerd offers ``--gpus``."""
        return self._which(*HOOKS)

    @fact
    def arrived(self) -> tuple[int, str] | None:
        """Return when the hook came or was last replaced (seconds since 1970) and the path that says so, None where nothing does.

        A package keeps the time at which it was built on its files; dpkg's list of them has the time of the installation.
        """
        paths = [path for path in (self.hook, self.cdi_hook) if path is not None]
        paths += [f"/var/lib/dpkg/info/{name}.list" for name in PACKAGES]
        stats = ((self.host.followed(path), path) for path in paths)
        return max(((stat.mtime, path) for stat, path in stats if stat is not None and stat.mtime is not None), default=None)

    @fact
    def upgraded(self) -> bool:
        """Say whether dpkg's log tells that the toolkit was there before it came last: an upgrade, no first installation."""
        for path in ("/var/log/dpkg.log", "/var/log/dpkg.log.1"):
            data = self.host.bytes(path) or b""
            upgrade, install = (data.rfind(b" %s nvidia-container-toolkit" % verb) for verb in (b"upgrade", b"install"))
            if upgrade != install:
                return upgrade > install
        return False

    @fact
    def cdi_hook(self) -> str | None:
        """Return nvidia-cdi-hook on the daemon's PATH: with it Docker 29.2 serves ``--gpus`` through CDI."""
        return self._which("nvidia-cdi-hook")

    @fact
    def runtime(self) -> str | None:
        """Return nvidia-container-runtime on the daemon's PATH."""
        return self._which("nvidia-container-runtime")

    @fact
    def cli(self) -> str | None:
        """Return nvidia-container-cli."""
        return self._which("nvidia-container-cli")

    @fact
    def ctk(self) -> str | None:
        """Return nvidia-ctk."""
        return self._which("nvidia-ctk")

    def _which(self, *names: str) -> str | None:
        return next((path for name in names if (path := self.facts.docker.which(name)) is not None), None)

    @fact
    def installed(self) -> bool:
        """Say whether any part of the toolkit is on this host."""
        return any((self.hook, self.cdi_hook, self.runtime, self.ctk, self.cli)) or self.version is not None

    @fact
    def config(self) -> ConfigToml:
        """Return the config.toml that hook and runtime read; raises NoAnswer where it cannot be read."""
        path = self.config_path
        data = self.host.bytes(path)
        if data is None:
            return ConfigToml(path, b"", {}, None)
        try:
            return ConfigToml(path, data, toml.parse(data), None)
        except Malformed as malformed:
            return ConfigToml(path, data, {}, malformed)

    @fact
    def config_path(self) -> str:
        """Return config.toml's path: the snap's own, else the usual one."""
        if self.facts.docker.kind == "snap":
            return "/var/snap/docker/current/etc/nvidia-container-runtime/config.toml"
        return CONFIG

    def setting(self, table: str, key: str) -> object | None:
        """Return a value of config.toml (``table`` empty for the top), None where it is not set."""
        return toml.get(self.config.value, f"{table}.{key}" if table else key)

    def line(self, table: str, key: str) -> int | None:
        """Return the line on which a key of config.toml is set."""
        return toml.line_of(self.config.data, table, key)

    def commented_line(self, key: str) -> int | None:
        """Return the line on which a key of config.toml stands commented out, as the shipped file has it (``#key = value``)."""
        for number, line in enumerate(self.config.data.decode("utf-8", "replace").split("\n"), 1):
            if line.startswith("#") and line.lstrip("# ").partition("=")[0].strip() == key:
                return number
        return None

    @fact
    def no_cgroups(self) -> bool:
        """Say whether config.toml keeps the hook from touching the device cgroup."""
        return self.setting("nvidia-container-cli", "no-cgroups") is True

    @fact
    def mode(self) -> str:
        """Return the runtime's mode as configured, ``auto`` where it is not set."""
        told = self.setting("nvidia-container-runtime", "mode")
        return told if isinstance(told, str) and told else "auto"

    @fact
    def csv_folder(self) -> str:
        """Return the folder of the lists (``*.csv``) that csv mode goes by on a Jetson."""
        told = self.setting("nvidia-container-runtime.modes.csv", "mount-spec-path")
        return told if isinstance(told, str) and told else CSV_FOLDER

    @fact
    def csv_files(self) -> tuple[str, ...]:
        """Return the names of the lists that csv mode goes by."""
        return tuple(name for name in self.host.names(self.csv_folder) if name.endswith(".csv"))

    @fact
    def gpus_path(self) -> GpusPath:
        """Return what serves ``docker run --gpus`` here: the legacy hook, CDI (Docker 29.2 with nvidia-cdi-hook), or nothing."""
        docker = self.facts.docker
        if docker.since("gpus-through-cdi") and self.cdi_hook is not None and docker.cdi_enabled:
            return "cdi"
        return "hook" if self.hook is not None else "none"

    @fact
    def runtime_path(self) -> RuntimePath | None:
        """Return how ``--runtime=nvidia`` injects a GPU; None where the runtime is not registered or not installed."""
        if not self.facts.docker.has_nvidia_runtime:
            return None
        if self.mode in {"legacy", "cdi", "csv", "jit-cdi"}:
            return self.mode  # type: ignore[return-value]
        if self.facts.platform.nvgpu:
            return "csv"
        return "jit-cdi" if self.since("jit-cdi-default") else "legacy"

    @fact
    def hook_acts(self) -> bool:
        """Say whether the hook (and with it no-cgroups, ldconfig, load-kmods) has any part in giving a GPU to a container."""
        return self.gpus_path == "hook" or self.runtime_path == "legacy"

    @fact
    def summary(self) -> str:
        """Return the injection paths in a few words, for the screen's header."""
        paths = {"hook": "--gpus: legacy hook", "cdi": "--gpus: CDI", "none": "--gpus: nothing serves it"}
        try:
            runtime = self.runtime_path
        except NoAnswer:
            runtime = None
        return paths[self.gpus_path] + (f"; --runtime=nvidia: {runtime}" if runtime is not None else "")
