"""A driver for the fake GPU host: modules on disk, libraries, and what loading the module shows of itself; no code of NVIDIA's is run.

``lay_out`` is called by ``machine.py`` inside the private namespaces. From then on the scenario's shell has, as programs of this file:

- ``install-driver VERSION [modules|libraries]``: what a package would put on disk, in place of what was there;
- ``modprobe``: the real one of kmod decides by modprobe.d what is loaded with which options (``-n -v``), and in place of its insmod the
  files below /proc/driver, /sys/module and the device nodes are made as the module, and nvidia-modprobe after it, would make them;
- ``boot``: everything is unloaded, the nodes are gone, and the module is loaded by the card's PCI id, as udev does;
- ``update-initramfs``: there is none here to be made.

Kernels without modules (and so without /proc/modules) do as well. The shell may load no module for real: it has not the capability.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from tests.lab.machine import mount, run

PROGRAMS = Path(__file__).parent / "programs"
LIBRARIES = Path("/usr/lib/x86_64-linux-gnu")
SONAMES = ("libcuda.so", "libnvidia-ml.so", "libnvidia-encode.so", "libnvcuvid.so", "libnvidia-ptxjitcompiler.so")
PROC = Path("/proc/driver/nvidia")
MODULES = Path("/sys/module")
DISK = Path("/usr/lib/modules") / os.uname().release
COMMANDS = ("install-driver", "modprobe", "boot", "update-initramfs")
NVIDIA, FRONT, CONTROL = 195, 0, 255
# What depmod and modinfo read of a module is its .modinfo.
MODULE = """
static const char info[] __attribute__((section(".modinfo"), used)) =
    "name={name}\\0version={version}\\0license=NVIDIA\\0alias={alias}";
"""
ALIASES = {"nvidia": "pci:v000010DEd*sv*sd*bc03sc*i*", "nvidia_uvm": "lab:none"}


def lay_out(version: str, work: Path) -> None:
    """Put a driver of this version on disk in an overlay of /usr, and load it; the fixture host's own GPUs are kept for it."""
    leave_container()
    state = work / "driver-state"
    for name in ("usr", "usr-work"):
        (state / name).mkdir(parents=True)
    mount("overlay", "/usr", "-o", f"lowerdir=/usr,upperdir={state / 'usr'},workdir={state / 'usr-work'}")
    mount("tmpfs", "/sys/module")
    # ldconfig keeps a cache of its own here.
    mount("tmpfs", "/var/cache")
    if Path("/proc/modules").exists():
        (state / "modules").write_text("")
        run("mount", "--bind", str(state / "modules"), "/proc/modules")
    os.makedirs("/usr/lib/modules", exist_ok=True)
    mount("tmpfs", "/usr/lib/modules")
    shutil.copytree(PROC / "gpus", state / "gpus")
    shutil.copy("/proc/devices", state / "devices")
    for source, name, words in (("mock_nvml.c", "mock", ("-shared", "-fPIC")), ("nvidia_smi.c", "smi", ())):
        run("cc", *words, "-O1", "-Wall", "-Wextra", "-Werror", "-o", str(state / name), str(PROGRAMS / source), "-ldl")
    (work / "bin").mkdir(exist_ok=True)
    for name in COMMANDS:
        program = work / "bin" / name
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -B {__file__} {work} {name} "$@"\n')
        program.chmod(0o755)
    install(state, version, "modules", "libraries")
    boot(state)


def leave_container() -> None:
    """Give this namespace a root without /.dockerenv: where the tests run in a container, the fake host is none."""
    if not Path("/.dockerenv").exists():
        return
    mount("tmpfs", "/mnt", "-o", "mode=755")
    for path in Path("/").iterdir():
        new = Path("/mnt") / path.name
        if path.is_symlink():
            new.symlink_to(path.readlink())
        elif path.is_dir():
            new.mkdir()
            if path.name != "mnt":
                run("mount", "--rbind", str(path), str(new))
    (Path("/mnt") / ".old").mkdir()
    run("pivot_root", "/mnt", "/mnt/.old")
    os.chdir("/")
    run("umount", "-l", "/.old")
    os.rmdir("/.old")


def install(state: Path, version: str, *what: str) -> None:
    """Put modules and libraries of one version on disk and tell depmod and the linker of them."""
    if "modules" in what:
        folder = DISK / "updates" / "dkms"
        folder.mkdir(parents=True, exist_ok=True)
        for name, alias in ALIASES.items():
            source = state / f"{name}.c"
            source.write_text(MODULE.format(name=name, version=version, alias=alias))
            run("cc", "-c", "-o", str(folder / f"{name.replace('_', '-')}.ko"), str(source))
        for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
            (DISK / name).write_text("")
        run("depmod", DISK.name)
    if "libraries" in what:
        shutil.copy(state / "smi", "/usr/bin/nvidia-smi")
        for soname in SONAMES:
            for old in LIBRARIES.glob(f"{soname}.*"):
                old.unlink()
            new = LIBRARIES / f"{soname}.{version}"
            shutil.copy(state / "mock", new)
            (LIBRARIES / f"{soname}.1").symlink_to(new.name)
        run("ldconfig", "-X")
        run("ldconfig")


def load(state: Path, module: str, file: str, options: list[str]) -> None:
    """Show a module as loaded: what it has in /proc and /sys, and the nodes that udev has nvidia-modprobe make for it."""
    version = run("modinfo", "-F", "version", file).stdout.strip()
    folder = MODULES / module
    folder.mkdir()
    (folder / "version").write_text(f"{version}\n")
    (folder / "initstate").write_text("live\n")
    if Path("/proc/modules").exists():
        with Path("/proc/modules").open("a") as stream:
            stream.write(f"{module} 54566912 0 - Live 0x0000000000000000 (POE)\n")
    if module == "nvidia":
        given = dict(each.partition("=")[::2] for each in options)
        params = {
            "ModifyDeviceFiles": number(given.get("NVreg_ModifyDeviceFiles", "1")),
            "DeviceFileUID": number(given.get("NVreg_DeviceFileUID", "0")),
            "DeviceFileGID": number(given.get("NVreg_DeviceFileGID", "0")),
            "DeviceFileMode": number(given.get("NVreg_DeviceFileMode", "0666")),
        }
        PROC.mkdir(parents=True)
        shutil.copytree(state / "gpus", PROC / "gpus")
        (PROC / "version").write_text(
            f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {version}  Mon Feb 10 04:12:59 UTC 2025\n"
            "GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)\n"
        )
        (PROC / "params").write_text("".join(f"{name}: {value}\n" for name, value in params.items()))
        shutil.copyfile(state / "devices", "/proc/devices")
        names = {"nvidiactl": (NVIDIA, CONTROL)}
        for path in (PROC / "gpus").glob("*/information"):
            minor = int(path.read_text().partition("Device Minor:")[2].split()[0])
            names[f"nvidia{minor}"] = (NVIDIA, minor)
            bus = Path("/sys/bus/pci/devices") / path.parent.name / "driver"
            if not bus.is_symlink():
                bus.symlink_to("../../../bus/pci/drivers/nvidia")
    else:
        majors = {name: int(major) for major, name in (line.split() for line in rows(state / "devices"))}
        names = {"nvidia-uvm": (majors["nvidia-uvm"], 0), "nvidia-uvm-tools": (majors["nvidia-uvm"], 1)}
    told = dict(line.split(": ") for line in (PROC / "params").read_text().splitlines())
    for name, numbers in names.items():
        path = Path("/dev") / name
        os.mknod(path, 0o020600, os.makedev(*numbers))
        os.chown(path, int(told["DeviceFileUID"]), int(told["DeviceFileGID"]))
        path.chmod(int(told["DeviceFileMode"]))


def rows(devices: Path) -> list[str]:
    """Return the lines of /proc/devices that have a number and a name."""
    return [line for line in devices.read_text().splitlines() if line[:3].strip().isdigit()]


def number(text: str) -> int:
    """Return the number that the kernel makes of a module's option: with a leading zero it is octal."""
    return int(text, 8 if text.startswith("0") else 10)


def modprobe(state: Path, *words: str) -> int:
    """Let kmod say what would be loaded, and show it as loaded."""
    kmod = shutil.which("modprobe", path="/usr/sbin:/sbin:/usr/bin:/bin")
    assert kmod is not None
    ran = run(kmod, "-n", "-v", *words, check=False)
    for line in ran.stdout.splitlines():
        verb, _, rest = line.strip().partition(" ")
        if verb == "install":
            ended = run("sh", "-c", rest, check=False)
            if ended.returncode:
                print(f"modprobe: ERROR: Error running install command '{rest}'", file=sys.stderr)
                return 1
        elif verb == "insmod":
            file, *options = rest.split()
            name = Path(file).name.partition(".")[0].replace("-", "_")
            if not (MODULES / name).exists():
                load(state, name, file, options)
    sys.stderr.write(ran.stderr)
    return ran.returncode


def boot(state: Path) -> None:
    """Start from nothing loaded, and load by the PCI id of the card as udev does; nvidia-uvm comes when the first has worked."""
    shutil.rmtree(PROC, ignore_errors=True)
    for name in ALIASES:
        shutil.rmtree(MODULES / name, ignore_errors=True)
    if Path("/proc/modules").exists():
        Path("/proc/modules").write_text("")
    kept = [line for line in (state / "devices").read_text().splitlines() if "nvidia" not in line]
    Path("/proc/devices").write_text("\n".join(kept) + "\n")
    for path in (*Path("/dev").glob("nvidia*"), *Path("/sys/bus/pci/devices").glob("*/driver")):
        path.unlink()
    modprobe(state, "-b", "-a", "pci:v000010DEd00002237sv000010DEsd00000000bc03sc02i00")
    if PROC.exists():
        modprobe(state, "-b", "nvidia_uvm")


def main() -> int:
    """Be the program that the second argument names, in the work folder of the first."""
    state = Path(sys.argv[1]) / "driver-state"
    name, words = sys.argv[2], sys.argv[3:]
    if name == "modprobe":
        return modprobe(state, *words)
    if name == "boot":
        boot(state)
    elif name == "install-driver":
        install(state, words[0], *(words[1:] or ("modules", "libraries")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
