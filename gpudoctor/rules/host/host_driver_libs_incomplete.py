"""The kernel module is there, but the host lacks some of the driver's user libraries.

The toolkit lends a container what the host has, and no more. Distributions split the driver into many packages (Debian: libcuda1,
libnvidia-ml1, nvidia-smi, libnvidia-encode1 ...; Ubuntu's headless and server flavours; Fedora), and a host with the module and
without libcuda.so.1 or libnvidia-ml.so.1 makes every GPU container fail ("load library failed: libcuda.so.1"). Without the video
libraries ffmpeg says "Cannot load libnvidia-encode.so.1", without nvidia-smi the usual test does not run; a compute server may be
meant to be so, and it is told as a hint.

How it is told from its look-alikes: without a module as well it is `host/driver-not-installed`. Where the host has the library and the
container has not, NVIDIA_DRIVER_CAPABILITIES lacks `video`. Libraries in a folder of their own (Container-Optimized OS, NixOS) are
`toolkit/ldconfig-nonstandard-lib-path`; a vGPU manager's host has no libcuda by design (`host/vgpu-host-driver-no-cuda`).

Cure: install the missing package in exactly the version of the module. Containers must be created anew. Another version in the
repository would upgrade all libraries and make them differ from the loaded module until a reboot.

Sources: Debian, Ubuntu, RPM Fusion and SUSE package lists; nvidia-docker issues 736, 1056; libnvidia-container issue 231.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts.driver import LIBRARIES, LIBRARY_FOLDERS, ODD_LIBRARY_FOLDERS
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules import advice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts

_NEEDED = ("libcuda.so.1", "libnvidia-ml.so.1")
_SMI = "nvidia-smi"
_DEBIAN = {
    "libcuda.so.1": "libcuda1",
    "libnvidia-ml.so.1": "libnvidia-ml1",
    "libnvidia-encode.so.1": "libnvidia-encode1",
    "libnvcuvid.so.1": "libnvcuvid1",
    "libnvidia-ptxjitcompiler.so.1": "libnvidia-ptxjitcompiler1",
    _SMI: "nvidia-smi",
}
_UBUNTU = {
    "libcuda.so.1": "libnvidia-compute",
    "libnvidia-ml.so.1": "libnvidia-compute",
    "libnvidia-encode.so.1": "libnvidia-encode",
    "libnvcuvid.so.1": "libnvidia-decode",
    "libnvidia-ptxjitcompiler.so.1": "libnvidia-compute",
    _SMI: "nvidia-utils",
}


def check(facts: Facts) -> Iterator[Finding]:
    """Find a host with the kernel module that lacks user libraries or nvidia-smi."""
    platform, driver = facts.platform, facts.driver
    if platform.wsl or platform.jetson:
        raise NotApplicable("WSL2 and a Jetson have their libraries in places of their own; other rules look there.")
    if not facts.gpus.count:
        raise NotApplicable("There is no NVIDIA GPU.")
    if not driver.is_loaded and driver.module_file is None:
        raise NotApplicable("There is no kernel module that libraries could belong to.")
    there = {soname for soname, library in driver.libraries.items() if library.real is not None}
    missing = [soname for soname in LIBRARIES if soname not in there]
    if driver.nvidia_smi is None:
        missing.append(_SMI)
    if not missing:
        return
    reason = _elsewhere(facts)
    if reason is not None:
        raise NotApplicable(reason)
    fatal = any(soname in missing for soname in _NEEDED)
    names = ", ".join(missing)
    yield Finding(
        "libraries of the driver are missing" if fatal else "some libraries of the driver are not installed",
        f"This host has the driver's kernel module but not {names}: "
        + ("no GPU container can start." if fatal else "containers that ask for video, PTX or nvidia-smi do not get them."),
        tuple(_evidence(facts, missing)),
        Cure(
            "SHOWN",
            f"Install what is missing in exactly version {driver.version or driver.disk_version or 'of the module'}; "
            "then create GPU containers anew.",
            _commands(facts, missing),
            "Another version than the loaded module's makes all libraries refuse to work until a reboot.",
        ),
        severity="error" if fatal else "hint",
    )


def _elsewhere(facts: Facts) -> str | None:
    """Return why the libraries need not be where one looks for them, None where nothing says so."""
    if any(facts.host.exists(f"{folder}/libcuda.so.1") for folder in ODD_LIBRARY_FOLDERS):
        return "The libraries are in a folder of their own: toolkit/ldconfig-nonstandard-lib-path."
    if "nvidia_vgpu_vfio" in facts.driver.modules:
        return "This is a vGPU manager's host, which has no CUDA by design."
    root = facts.toolkit.setting("nvidia-container-cli", "root")
    if isinstance(root, str) and root.rstrip("/"):
        return f"The toolkit takes the driver from {root}, not from this host's own folders."
    if facts.platform.container is not None and not facts.platform.lxc:
        return "In a container there is what it was given."
    return None


def _evidence(facts: Facts, missing: list[str]) -> Iterator[Evidence]:
    driver = facts.driver
    if driver.version is not None:
        yield Evidence(Where(driver.version_source), f"the loaded module is {driver.version}")
    elif driver.module_file is not None:
        yield Evidence(Where(driver.module_file), "the module is there")
    for name in missing:
        library = driver.libraries.get(name)
        if library is not None:
            yield Evidence(Where(library.path), "a link that leads nowhere")
    plain = [name for name in missing if name not in driver.libraries and name != _SMI]
    if plain:
        yield Evidence(Where("ldconfig -p"), f"no {', '.join(plain)}, nor in {LIBRARY_FOLDERS[0]} and the other library folders")
    if _SMI in missing:
        yield Evidence(Where("/usr/bin/nvidia-smi"), "absent")


def _commands(facts: Facts, missing: list[str]) -> tuple[str, ...]:
    platform, driver = facts.platform, facts.driver
    version = driver.version or driver.disk_version or "VERSION"
    if facts.platform.lxc or not driver.packages:
        return (f"sudo sh NVIDIA-Linux-{platform.machine}-{version}.run{' --no-kernel-module' if facts.platform.lxc else ''}",)
    if platform.os_id in {"ubuntu", "pop", "linuxmint"}:
        flavour = "-server" if any("-server" in package for package in driver.packages) else ""
        return (advice.install(facts, *dict.fromkeys(f"{_UBUNTU[name]}-{driver.branch}{flavour}" for name in missing)),)
    if platform.family == "debian":
        return (advice.install(facts, *dict.fromkeys(_DEBIAN[name] for name in missing)),)
    if platform.family == "rhel":
        prefix = "xorg-x11-drv-nvidia" if facts.packages.matching("xorg-x11-drv-nvidia") else "nvidia-driver"
        return (advice.install(facts, f"{prefix}-cuda", f"{prefix}-cuda-libs"),)
    if platform.family == "suse":
        return (advice.install(facts, "nvidia-compute-G06", "nvidia-compute-utils-G06", "nvidia-video-G06"),)
    return (advice.install(facts, "nvidia-utils"),)


RULE = Rule(
    "host/host-driver-libs-incomplete",
    38,
    "error",
    "libraries of the driver are missing",
    check,
    breaks=("libraries",),
    needs=("platform", "gpu"),
    signs=(
        "libcuda.so.1: cannot open shared object file",
        "load library failed: libcuda.so.1",
        "libnvidia-ml.so.1: cannot open shared object file",
        "cannot load libnvcuvid.so.1",
        "failed loading nvcuvid",
        "libnvcuvid.so.1: cannot open shared object file",
        "failed to load libnvcuvid.so",
        "nvenc library file is not found",
        "cannot load libnvidia-encode.so.1",
        "failed loading nvenc",
        "exec: nvidia-smi: executable file not found in $path",
        "nvidia-smi: command not found",
        "nvidia-smi: not found",
        "cannot load libcuda.so.1",
        "driver error: failed to process request",
        "nvidia-smi couldn't find libnvidia-ml.so library in your system",
        "~ (libnvidia-encode1|libnvcuvid1|libcuda1|libnvidia-encode-|libnvidia-decode-|xorg-x11-drv-nvidia-cuda)",
    ),
)
