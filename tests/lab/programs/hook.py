"""A stand-in for nvidia-container-runtime-hook that does to a container what the real one does, but for the driver's libraries.

runc calls it with the container's state on standard input, before the container's first program. It has nvidia-modprobe make what
is missing on the host (unless config.toml says ``load-kmods = false``), makes the GPU's nodes in the container and, unless config.toml says ``no-cgroups = true``, opens the container's device cgroup for them behind runc's back: on
cgroup v1 by ``devices.allow``; on v2, where the rules are a program in the kernel, by putting its own rules before those of the
program that runc attached and attaching both in its place, as libnvidia-container does.

Called as ``hook.py closed PID`` it takes the rules that it added away again, which is what a manager of cgroups does that writes a
container's rules anew from what runc told it: on v1 the rules for NVIDIA's nodes that are not in the container's own configuration,
on v2 the instructions before runc's own.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import stat
import struct
import subprocess
import sys
from pathlib import Path

CONFIG = Path("/etc/nvidia-container-runtime/config.toml")
MODPROBE = "/usr/bin/nvidia-modprobe"
COMMON = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools")
# linux/bpf.h: commands, the kind of program, where it is attached, and how.
PROG_LOAD, PROG_ATTACH, PROG_GET_FD_BY_ID, OBJ_GET_INFO_BY_FD, PROG_QUERY = 5, 8, 13, 15, 16
CGROUP_DEVICE, ATTACHED_TO_DEVICE, ALLOW_MULTI, REPLACE = 15, 6, 2, 4
SYSCALL = {"x86_64": 321, "aarch64": 280}
INSTRUCTION = 8
PREFIX = 5  # the instructions before the first rule; the last of them is a jump behind the last rule


def bpf(command: int, attributes: bytearray) -> int:
    """Ask the kernel by the system call of this name; ``attributes`` is changed in place."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = (ctypes.c_char * len(attributes)).from_buffer(attributes)
    found = int(libc.syscall(SYSCALL[os.uname().machine], command, buffer, len(attributes)))
    if found < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"bpf({command}): {os.strerror(code)}")
    return found


def instruction(code: int, to: int = 0, source: int = 0, jump: int = 0, value: int = 0) -> bytes:
    """Return one instruction of eBPF."""
    return struct.pack("<BBhi", code, to | source << 4, jump, value)


def rules(devices: list[tuple[int, int]]) -> bytes:
    """Return instructions that allow these character devices, and go on behind themselves for any other."""
    body = b""
    for major, minor in devices:
        body += instruction(0x55, 4, jump=3, value=major)  # if r4 != major: next rule
        body += instruction(0x55, 5, jump=2, value=minor)  # if r5 != minor: next rule
        body += instruction(0xB7, 0, value=1)  # r0 = 1: allowed
        body += instruction(0x95)  # exit
    start = instruction(0x61, 2, 1, 0) + instruction(0x57, 2, value=0xFFFF)  # r2 = the kind of device, of access_type's low half
    start += instruction(0x61, 4, 1, 4) + instruction(0x61, 5, 1, 8)  # r4 = major, r5 = minor
    start += instruction(0x55, 2, jump=len(body) // INSTRUCTION, value=2)  # no character device: behind the rules
    return start + body


def without_rules(instructions: bytes) -> bytes:
    """Return a program without the rules that ``rules`` put before it."""
    if not instructions.startswith(rules([])[: (PREFIX - 1) * INSTRUCTION]):
        raise SystemExit("there are no rules of the hook before the container's own")
    own = struct.unpack_from("<h", instructions, (PREFIX - 1) * INSTRUCTION + 2)[0]
    return instructions[(PREFIX + own) * INSTRUCTION :]


def replace_program(cgroup: Path, devices: list[tuple[int, int]] | None) -> None:
    """Put rules for these devices before the program that decides for a cgroup; None takes the ones that were put there away."""
    folder = os.open(cgroup, os.O_RDONLY)
    ids = ctypes.create_string_buffer(4 * 64)
    asked = bytearray(struct.pack("<IIIIQII", folder, ATTACHED_TO_DEVICE, 0, 0, ctypes.addressof(ids), 64, 0) + bytes(32))
    bpf(PROG_QUERY, asked)
    (count,) = struct.unpack_from("<I", asked, 24)
    if count != 1:
        raise SystemExit(f"{cgroup} has {count} device programs, and one was expected")
    old = bpf(PROG_GET_FD_BY_ID, bytearray(ids.raw[:4] + bytes(12)))
    # bpf_prog_info: xlated_prog_len is the fifth word, xlated_prog_insns the address at byte 32.
    text = ctypes.create_string_buffer(1 << 16)
    info = ctypes.create_string_buffer(struct.pack("<IIQIIQQ", 0, 0, 0, 0, len(text), 0, ctypes.addressof(text)) + bytes(160))
    bpf(OBJ_GET_INFO_BY_FD, bytearray(struct.pack("<IIQ", old, len(info), ctypes.addressof(info))))
    (length,) = struct.unpack_from("<I", info.raw, 20)
    body = text.raw[:length]
    body = without_rules(body) if devices is None else rules(devices) + body
    code = ctypes.create_string_buffer(body)
    licence = ctypes.create_string_buffer(b"GPL")
    new = bpf(
        PROG_LOAD,
        bytearray(
            struct.pack(
                "<IIQQIIQ",
                CGROUP_DEVICE,
                len(body) // INSTRUCTION,
                ctypes.addressof(code),
                ctypes.addressof(licence),
                0,
                0,
                0,
            )
            + bytes(80)
        ),
    )
    bpf(PROG_ATTACH, bytearray(struct.pack("<IIIII", folder, new, ATTACHED_TO_DEVICE, ALLOW_MULTI | REPLACE, old) + bytes(12)))


def device_cgroup(pid: int) -> tuple[int, Path]:
    """Return the version of the hierarchy that decides on the devices of a process, and its folder there."""
    lines = [line.split(":", 2) for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
    for _, controllers, path in lines:
        if "devices" in controllers.split(",") and Path("/sys/fs/cgroup/devices").is_dir():
            return 1, Path(f"/sys/fs/cgroup/devices{path}")
    path = next(path for number, _, path in lines if number == "0")
    return 2, Path(f"/sys/fs/cgroup{path}")


def chosen(told: str) -> list[str]:
    """Return the nodes for what NVIDIA_VISIBLE_DEVICES says: all, or indexes."""
    gpus = sorted(str(path) for path in Path("/dev").glob("nvidia[0-9]*"))
    wanted = gpus if told == "all" else [gpus[int(each)] for each in told.split(",")]
    return [*wanted, *COMMON]


def prestart() -> None:
    """Give the container whose state is on standard input what it asks for."""
    state = json.load(sys.stdin)
    bundle = Path(state["bundle"])
    config = json.loads((bundle / "config.json").read_text())
    env = dict(each.partition("=")[::2] for each in config["process"]["env"])
    told = env.get("NVIDIA_VISIBLE_DEVICES", "void")
    if told in {"", "void", "none"}:
        return
    pid = int(state["pid"])
    # Its own mounts are there already, and its root is not yet what it will be.
    root = f"/proc/{pid}/root{bundle / config['root']['path']}"
    devices = []
    said = CONFIG.read_text() if CONFIG.exists() else ""
    if not re.search(r"^\s*load-kmods\s*=\s*false", said, re.MULTILINE) and os.path.exists(MODPROBE):
        subprocess.run([MODPROBE, "-u", "-c=0"], check=False)
    for path in chosen(told):
        try:
            found = os.stat(path)
        except FileNotFoundError:
            raise SystemExit(f"nvidia-container-cli: mount error: stat failed: {path}: no such file or directory") from None
        if not os.path.exists(f"{root}{path}"):
            os.mknod(f"{root}{path}", stat.S_IFCHR | 0o666, found.st_rdev)
            os.chmod(f"{root}{path}", 0o666)
        devices.append((os.major(found.st_rdev), os.minor(found.st_rdev)))
    if re.search(r"^\s*no-cgroups\s*=\s*true", said, re.MULTILINE):
        return
    version, folder = device_cgroup(pid)
    if version == 1:
        for major, minor in devices:
            (folder / "devices.allow").write_text(f"c {major}:{minor} rw")
    else:
        replace_program(folder, devices)


def closed(pid: int) -> None:
    """Take what ``prestart`` opened away from a running container; what runc was told of stays."""
    version, folder = device_cgroup(pid)
    if version == 2:
        replace_program(folder, None)
        return
    (config,) = Path("/run/docker").glob(f"**/{folder.name}/config.json")
    known = json.loads(config.read_text())["linux"]["resources"]["devices"]
    for path in [*Path("/dev").glob("nvidia*")]:
        found = path.stat().st_rdev
        major, minor = os.major(found), os.minor(found)
        if not any(each["allow"] and (each.get("major"), each.get("minor")) == (major, minor) for each in known):
            (folder / "devices.deny").write_text(f"c {major}:{minor} rw")


def main() -> None:
    """Do as the first argument says."""
    if sys.argv[1] == "prestart":
        prestart()
    elif sys.argv[1] == "closed":
        closed(int(sys.argv[2]))


if __name__ == "__main__":
    main()
