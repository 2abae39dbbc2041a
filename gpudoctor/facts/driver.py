"""The NVIDIA driver: the loaded module, the module on disk for the running kernel, each user library, DKMS, the kernel log."""

from __future__ import annotations

from typing import Any, Literal

from gpudoctor import tables
from gpudoctor.facts import Area, fact
from gpudoctor.formats import kernel_log, ldcache, modprobe, procfs
from gpudoctor.host import Absent, Denied, NoAnswer, Ran, Slow, Unseen
from gpudoctor.values import NamedTuple

VERSION = "/proc/driver/nvidia/version"
MODULE = "/sys/module/nvidia"
PARAMS = "/proc/driver/nvidia/params"
LIBRARIES = (
    "libcuda.so.1",
    "libnvidia-ml.so.1",
    "libnvidia-encode.so.1",
    "libnvcuvid.so.1",
    "libnvidia-ptxjitcompiler.so.1",
)
LIBRARY_FOLDERS = (
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/usr/lib/x86_64-linux-gnu/nvidia/current",
    "/usr/lib/aarch64-linux-gnu/nvidia/current",
    "/usr/lib/aarch64-linux-gnu/nvidia",
    "/usr/lib/aarch64-linux-gnu/tegra",
    "/usr/lib/wsl/lib",
)
ODD_LIBRARY_FOLDERS = ("/var/lib/nvidia/lib64", "/usr/local/nvidia/lib64", "/opt/nvidia/lib64", "/run/opengl-driver/lib")
"""Where Container-Optimized OS, the GPU operator, Talos and NixOS keep the driver's libraries."""
MODULE_NAMES = (
    "nvidia.ko",
    "nvidia-current.ko",
    "nvidia-current-open.ko",
    "nvidia-tesla-535.ko",
    "nvidia-tesla-470.ko",
    "nvidia-tesla-450.ko",
    "nvidia-legacy-390xx.ko",
    "nvidia-legacy-340xx.ko",
)
"""File names of the module; all but the first are those of Debian's own packages, which load it by an `install` line of modprobe.d."""
MODPROBE_FOLDERS = ("/etc/modprobe.d", "/run/modprobe.d", "/usr/lib/modprobe.d", "/lib/modprobe.d")
DKMS = "/var/lib/dkms"

REJECTIONS = (
    "Loading of module with unavailable key is rejected",
    "Loading of module with unsupported crypto is rejected",
    "Loading of unsigned module is rejected",
    "unsigned module loading is restricted",
    "PKCS#7 signature not signed with a trusted key",
)
"""What the kernel logs when it refuses a module for its signature; none of these lines names the module."""
_LOG_LINE = 200

Flavour = Literal["open", "proprietary"]


class Library(NamedTuple):
    """One user library of the driver: where it was found, what it resolves to (None: dangling), and the version in that name."""

    soname: str
    path: str
    real: str | None
    version: str | None


class Directive(NamedTuple):
    """One modprobe.d directive and where it stands."""

    path: str
    line: int
    verb: str
    module: str
    rest: str


class DkmsTree(NamedTuple):
    """One version of the driver in DKMS: the kernels it is built for, its build log, and whether its source is there."""

    path: str
    version: str
    kernels: tuple[str, ...]
    log: str | None
    source_missing: bool


class BuildFailure(NamedTuple):
    """A DKMS build that failed: the driver's version, the kernel (empty where the log does not name it), and where the log says why."""

    version: str
    kernel: str
    log: str
    line: int
    says: str


class Driver(Area):
    """What is loaded, what is on disk, and whether both agree."""

    @fact
    def loaded(self) -> procfs.DriverVersion | None:
        """Return version and flavour of the loaded module, from /proc/driver/nvidia/version; None where it is not loaded."""
        text = self.host.text(VERSION)
        return None if text is None else procfs.driver_version(text)

    @fact
    def version(self) -> str | None:
        """Return the loaded module's version, from /proc or /sys."""
        if self.loaded is not None:
            return self.loaded.version
        text = self.host.text(f"{MODULE}/version")
        return text.strip() or None if text is not None else None

    @fact
    def version_source(self) -> str:
        """Return the file that ``version`` was read from."""
        return VERSION if self.loaded is not None else f"{MODULE}/version"

    @fact
    def is_loaded(self) -> bool:
        """Say whether the nvidia module is loaded."""
        return self.version is not None or "nvidia" in self.modules or self.host.exists(MODULE)

    @fact
    def modules(self) -> dict[str, str]:
        """Return the loaded kernel modules and their states."""
        return procfs.modules(self.host.text("/proc/modules") or "")

    @fact
    def branch(self) -> int | None:
        """Return the driver branch (535, 580 ...): of the loaded module, else of the one on disk, else of the library."""
        # One after the other: a mounted root, which runs no modinfo, may well have the loaded module's version.
        text = self.version or self.disk_version or self.library_version
        numbers = tables.version(text or "")
        return numbers[0] if numbers else None

    @fact
    def branch_source(self) -> tuple[str, str]:
        """Return where the version that ``branch`` comes from was read, and that version."""
        if self.version is not None:
            return self.version_source, self.version
        if self.disk_version is not None:
            return "modinfo -F version nvidia", self.disk_version
        library = self.libraries.get("libnvidia-ml.so.1") or self.libraries.get("libcuda.so.1")
        return (library.path if library is not None else VERSION), self.library_version or "no version"

    @fact
    def module_file(self) -> str | None:
        """Return the module file for the running kernel, None where there is none."""
        return self._module_of(self.facts.platform.kernel)

    @fact
    def kernels_with_module(self) -> tuple[str, ...]:
        """Return the kernels in /lib/modules for which a module file is there."""
        return tuple(kernel for kernel in self.host.names("/lib/modules") if self._module_of(kernel) is not None)

    def _module_of(self, kernel: str) -> str | None:
        if not kernel:
            return None
        root = f"/lib/modules/{kernel}"
        listing = self.host.bytes(f"{root}/modules.dep") or b""
        for name in MODULE_NAMES:
            at = listing.find(f"/{name}".encode())
            while at >= 0:
                start = listing.rfind(b"\n", 0, at) + 1
                # Before the colon stands the module itself, behind it what it depends on.
                if listing.find(b":", start, at) < 0:
                    return f"{root}/{listing[start : listing.find(b':', at)].decode('utf-8', 'replace')}"
                at = listing.find(f"/{name}".encode(), at + 1)
        # DKMS and installers put it here; modules.dep may not have been made yet.
        for folder in ("updates/dkms", "updates", "extra", "kernel/drivers/video", "kernel/nvidia", "weak-updates"):
            for name in self.host.names(f"{root}/{folder}"):
                if name.startswith(MODULE_NAMES):
                    return f"{root}/{folder}/{name}"
        return None

    @fact
    def newer_kernels(self) -> tuple[str, ...]:
        """Return the bootable kernels newer than the running one, newest first: a reboot starts the first unless it is told otherwise."""
        running = _order(self.facts.platform.kernel)
        found = [
            kernel
            for kernel in (self.host.names("/lib/modules") if running else ())
            if _order(kernel) > running
            and (self.host.exists(f"/boot/vmlinuz-{kernel}") or self.host.exists(f"/lib/modules/{kernel}/vmlinuz"))
        ]
        return tuple(sorted(found, key=_order, reverse=True))

    @fact
    def next_version(self) -> str | None:
        """Return the version of the module that the next boot loads, None where the files do not say it.

        Of a newer kernel only DKMS tells the version: ``modinfo`` is asked about the running one.
        """
        if not self.newer_kernels:
            return self.disk_version
        versions = {tree.version for tree in self.dkms if self.newer_kernels[0] in tree.kernels}
        return versions.pop() if len(versions) == 1 else None

    @fact
    def disk_version(self) -> str | None:
        """Return the version of the module that the running kernel would load (``modinfo``), None where there is none."""
        return self._modinfo("version")

    @fact
    def disk_license(self) -> str | None:
        """Return the licence of the module on disk: ``NVIDIA`` is the proprietary flavour, ``Dual MIT/GPL`` the open one."""
        return self._modinfo("license")

    def _modinfo(self, field: str) -> str | None:
        for module in ("nvidia", "nvidia-current"):
            ran = self.host.command("modinfo", "-F", field, module)
            text = ran.out.decode("utf-8", "replace").strip() if ran is not None and ran.rc == 0 else ""
            if text:
                return text
        return None

    @fact
    def _flavour_and_source(self) -> tuple[Flavour, str, str] | None:
        """Return the flavour, where it was read and what stands there; a package's name is the last resort."""
        if self.loaded is not None:
            if self.loaded.open:
                return "open", VERSION, f"Open Kernel Module {self.loaded.version}"
            return "proprietary", VERSION, f"Kernel Module {self.loaded.version}, not the open one"
        missed: NoAnswer | None = None
        try:
            licence = self.disk_license
        except Unseen as miss:
            missed, licence = miss, None
        if licence is not None:
            return ("proprietary" if licence == "NVIDIA" else "open"), "modinfo -F license nvidia", licence
        for package in self.packages:
            name = package.partition(" ")[0]
            if "-open" in name:
                return "open", self.facts.packages.source, package
            if name.startswith(("nvidia-dkms-", "linux-modules-nvidia-", "nvidia-kernel-dkms", "kmod-nvidia-latest-dkms")):
                return "proprietary", self.facts.packages.source, package
        if missed is not None:
            raise missed
        return None

    @fact
    def flavour(self) -> Flavour | None:
        """Return whether the module is the open or the proprietary one: as loaded, on disk or packaged; None: nothing says."""
        return self._flavour_and_source[0] if self._flavour_and_source is not None else None

    @fact
    def flavour_source(self) -> tuple[str, str]:
        """Return where the flavour was read, and what stands there."""
        return self._flavour_and_source[1:] if self._flavour_and_source is not None else (VERSION, "absent")

    @fact
    def _cache(self) -> dict[str, tuple[str, ...]]:
        try:
            ran = self.host.command("ldconfig", "-p")
        except Unseen:
            ran = None
        if ran is not None and ran.rc == 0 and ran.out:
            return ldcache.from_listing(ran.out.decode("utf-8", "replace"))
        data = self.host.bytes("/etc/ld.so.cache")
        return ldcache.from_cache(data) if data else {}

    def cached(self, soname: str) -> tuple[str, ...]:
        """Return the paths under which the dynamic linker's cache has this library."""
        return self._cache.get(soname, ())

    @fact
    def libraries(self) -> dict[str, Library]:
        """Return the driver's user libraries that are there, by soname; the linker's cache decides, then the usual folders."""
        return {soname: found for soname in LIBRARIES if (found := self.library(soname)) is not None}

    def library(self, soname: str) -> Library | None:
        """Return one user library of the driver, None where it is in no folder that a container runtime looks in."""
        candidates = [*self.cached(soname), *(f"{folder}/{soname}" for folder in LIBRARY_FOLDERS)]
        dangling = None
        for path in dict.fromkeys(candidates):
            if self.host.lstat(path) is None:
                continue
            try:
                real = self.host.real(path)
            except Absent:
                dangling = dangling or Library(soname, path, None, None)
                continue
            return Library(soname, path, real, _suffix(real))
        return dangling

    @fact
    def telling_library(self) -> Library | None:
        """Return the user library whose file name tells the version: libnvidia-ml, else libcuda."""
        found = (self.libraries.get(soname) for soname in ("libnvidia-ml.so.1", "libcuda.so.1"))
        return next((library for library in found if library is not None and library.version is not None), None)

    @fact
    def library_version(self) -> str | None:
        """Return the version of the user libraries, from the file name that libnvidia-ml or libcuda resolves to."""
        return self.telling_library.version if self.telling_library is not None else None

    @fact
    def installed(self) -> bool:
        """Say whether anything of a driver is on this host: module, library or package."""
        return bool(self.is_loaded or self.module_file or self.libraries or self.kernels_with_module or self.packages)

    @fact
    def packages(self) -> tuple[str, ...]:
        """Return installed packages that carry a driver's module or libraries, as ``name version``."""
        prefixes = (
            "nvidia-driver",
            "nvidia-headless",
            "nvidia-dkms",
            "nvidia-kernel",
            "linux-modules-nvidia",
            "libnvidia-compute",
            "libnvidia-ml1",
            "libcuda1",
            "nvidia-open",
            "nvidia-utils",
            "akmod-nvidia",
            "kmod-nvidia",
            "cuda-drivers",
            "nvidia-tesla",
            "xorg-x11-drv-nvidia",
            "nvidia-gfx",
        )
        found = [package for prefix in prefixes for package in self.facts.packages.matching(prefix)]
        return tuple(dict.fromkeys(f"{package.name} {package.version}" for package in found))

    @fact
    def params(self) -> dict[str, str]:
        """Return the module options in force, from /proc/driver/nvidia/params."""
        return procfs.params(self.host.text(PARAMS) or "")

    @fact
    def modprobe(self) -> tuple[Directive, ...]:
        """Return every modprobe.d directive; a file in /etc hides one of the same name below /usr/lib."""
        seen: set[str] = set()
        found = []
        for folder in MODPROBE_FOLDERS:
            for name in self.host.names(folder):
                if not name.endswith(".conf") or name in seen:
                    continue
                seen.add(name)
                path = f"{folder}/{name}"
                for each in modprobe.parse(self.host.text(path) or ""):
                    found.append(Directive(path, each.line, each.verb, each.module, each.rest))  # noqa: PERF401
        return tuple(found)

    def option(self, module: str, name: str) -> Directive | None:
        """Return the last modprobe.d line that gives ``module`` (underscores) the option ``name``."""
        lines = [
            each for each in self.modprobe if each.verb == "options" and each.module == module and f" {name}=" in f" {each.rest}"
        ]
        return lines[-1] if lines else None

    def blacklisted(self, module: str) -> Directive | None:
        """Return the modprobe.d line that keeps ``module`` (underscores) from loading by itself."""
        return next((each for each in self.modprobe if each.verb == "blacklist" and each.module == module), None)

    @fact
    def dkms(self) -> tuple[DkmsTree, ...]:
        """Return the driver's trees in /var/lib/dkms."""
        found = []
        for name in self.host.names(DKMS):
            # nvidia-fs (GPUDirect Storage) is another module with versions of its own.
            if not name.startswith("nvidia") or name == "nvidia-fs":
                continue
            for version in self.host.names(f"{DKMS}/{name}"):
                path = f"{DKMS}/{name}/{version}"
                if version.startswith("kernel-") or not version[:1].isdigit():
                    continue
                found.append(self._dkms_tree(path, version))
        return tuple(found)

    def _dkms_tree(self, path: str, version: str) -> DkmsTree:
        entries = self.host.names(path)
        kernels = tuple(each for each in entries if each not in {"source", "build", "log"})
        built = tuple(
            kernel
            for kernel in kernels
            if any(self.host.names(f"{path}/{kernel}/{arch}/module") for arch in self.host.names(f"{path}/{kernel}"))
        )
        log = next((where for where in (f"{path}/build/make.log", f"{path}/log/make.log") if self.host.exists(where)), None)
        source_missing = "source" in entries and not self.host.exists(f"{path}/source")
        return DkmsTree(path, version, built, log, source_missing)

    @fact
    def build_failures(self) -> tuple[BuildFailure, ...]:
        """Return the DKMS builds whose log says that they failed, and that have not succeeded since."""
        found = []
        for tree in self.dkms:
            if tree.log is None:
                continue
            lines = (self.host.text(tree.log) or "").split("\n")
            # Its first line is like: DKMS make.log for nvidia-470.256.02 for kernel 6.14.4-arch1-2 (x86_64).
            kernel = (lines[0].partition(" for kernel ")[2].split() or [""])[0]
            at = _failing(lines)
            if at is not None and kernel not in tree.kernels:
                found.append(BuildFailure(tree.version, kernel, tree.log, at + 1, lines[at].strip()[:_LOG_LINE]))
        return tuple(found)

    @fact
    def rejection(self) -> str | None:
        """Return the kernel log's last line about a module refused for its signature; raises NoAnswer where there is no log to read."""
        return next((line for line in reversed(self.log) if any(words in line for words in REJECTIONS)), None)

    @fact
    def log(self) -> tuple[str, ...]:
        """Return the kernel log's lines that matter here: of NVRM, nvidia, nouveau, module signatures, suspend.

        From ``dmesg``, else from /var/log/kern.log or dmesg. Raises NoAnswer where the kernel refuses (dmesg_restrict).
        """
        return self._log_and_source[0]

    @fact
    def log_since_load(self) -> tuple[str, ...]:
        """Return the log's lines since the driver was last loaded: what stands before is about a GPU that has been started anew since.

        A file may hold an earlier boot, so without a loaded driver it says nothing of today. Raises NoAnswer as ``log`` does.
        """
        lines, source = self._log_and_source
        if source != "dmesg" and not self.is_loaded:
            return ()
        # The first comes before the GPUs are probed, the second after; a driver without NVLink has only the second.
        for words in ("Nvlink Core is being initialized", "NVRM: loading NVIDIA"):
            for at in range(len(lines) - 1, -1, -1):
                if words in lines[at]:
                    return lines[at:]
        return lines

    @fact
    def xids(self) -> tuple[kernel_log.Xid, ...]:
        """Return the Xid errors of the driver that is loaded now, and its NVSwitches' SXids; raises NoAnswer as ``log`` does."""
        return kernel_log.xids(self.log_since_load) if self.is_loaded else ()

    @fact
    def _log_and_source(self) -> tuple[tuple[str, ...], str]:
        refused: NoAnswer | None = None
        try:
            ran = self.host.command("dmesg")
            if ran is not None and ran.rc == 0:
                return kernel_log.lines(ran.out), "dmesg"
            if ran is not None:
                # It reads one buffer and prints it: where it fails, the kernel keeps the buffer for root (dmesg_restrict).
                refused = Denied("dmesg", "operation not permitted")
        except NoAnswer as miss:
            refused = miss
        for path in ("/var/log/kern.log", "/var/log/dmesg"):
            data = self.host.bytes(path)
            if data is not None:
                return kernel_log.lines(data), path
        if refused is not None:
            raise refused
        return (), "dmesg"

    def logged(self, *words: str) -> str | None:
        """Return the last line of the kernel log with all of these words, None where there is none or the log cannot be read."""
        try:
            lines = self.log
        except NoAnswer:
            return None
        return next((line for line in reversed(lines) if all(word in line for word in words)), None)

    @fact
    def nvidia_smi(self) -> str | None:
        """Return where nvidia-smi is, None where it is not installed."""
        return next(
            (path for path in ("/usr/bin/nvidia-smi", "/usr/lib/wsl/lib/nvidia-smi") if self.host.lstat(path) is not None),
            None,
        )

    @fact
    def safe_to_ask(self) -> bool:
        """Say whether NVML and nvidia-smi may be run without changing the host.

        As root without a driver they create /dev/nvidiactl, with one they create missing nodes and so erase the evidence: the
        driver must be loaded, and /dev/nvidiactl and the node of each GPU must exist already. A closed host cannot change.
        """
        if self.host.closed:
            return True
        if self.loaded is None or self.host.lstat("/dev/nvidiactl") is None or not self.facts.gpus.taken:
            return False
        return all(
            gpu.minor is not None and self.host.lstat(f"/dev/nvidia{gpu.minor}") is not None for gpu in self.facts.gpus.taken
        )

    @fact
    def smi_run(self) -> Ran | None:
        """Return how ``nvidia-smi -L`` ended; None where it may not be asked or is not there. Raises Slow where it hangs."""
        return self.host.command("nvidia-smi", "-L") if self.safe_to_ask else None

    @fact
    def nvml_run(self) -> Ran | None:
        """Return how our NVML child ended; None where it may not be asked. Raises Slow where it hangs."""
        return self.host.command("nvml") if self.safe_to_ask else None

    @fact
    def smi(self) -> str | None:
        """Return what ``nvidia-smi -L`` prints; None where it may not be asked, is not there, fails, or hangs."""
        try:
            ran = self.smi_run
        except Slow:
            return None
        return ran.out.decode("utf-8", "replace") if ran is not None and ran.rc == 0 else None

    @fact
    def nvml(self) -> dict[str, Any] | None:
        """Return what our NVML child says (``init`` is the code of nvmlInit); None where it may not be asked or hangs."""
        try:
            ran = self.nvml_run
        except Slow:
            return None
        if ran is None or ran.rc != 0:
            return None
        import json

        try:
            value = json.loads(ran.out)
        except ValueError:
            return None
        return value if isinstance(value, dict) else None


def _suffix(real: str) -> str | None:
    """Return the version in a library's file name: ``libcuda.so.550.163.01`` -> ``550.163.01``; ``libcuda.so.1`` has none."""
    _, sign, suffix = real.rpartition("/")[2].partition(".so.")
    numbers = tables.version(suffix)
    # On WSL2 and Tegra it is called libcuda.so.1.1, which tells no version either.
    return suffix if sign and len(numbers) > 1 and numbers[0] > 1 else None


def _order(kernel: str) -> tuple[int, ...]:
    """Return a kernel release as numbers, to sort by age: ``6.8.0-85-generic`` -> ``(6, 8, 0, 85)``."""
    digits = "".join(each if each.isdigit() else " " for each in kernel)
    return tuple(int(number) for number in digits.split())


def _failing(lines: list[str]) -> int | None:
    """Return the index of the first line of a build log that says why it failed: the compiler's or modpost's words, else make's."""
    for words in (("error:", "ERROR:", "CC version check"), ("*** [",)):
        for at, line in enumerate(lines):
            if any(word in line for word in words):
                return at
    return None
