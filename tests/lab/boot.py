"""A real machine under QEMU, booted three times by a real GRUB: the cgroup v1 argument set and taken back, and the loss at daemon-reload.

Called by ``scripts/lab-boot``, which fetches QEMU and the guest's packages. The disk is made without loop devices and without mounting
anything: mke2fs fills the file system from a folder, and GRUB's two parts are written in front of it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SECTOR = 512
START = 2048  # the first sector of the only partition
SIZE_MIB = 2500
UUID = "6770756c-6162-4000-8000-000000000001"
MODULES = (
    "biosdisk part_msdos ext2 normal linux configfile search search_fs_uuid test echo minicmd ls loadenv gzio all_video terminal"
)
BOOT_LIMIT = 400  # seconds; a quiet machine needs 60 for the first boot and 25 for the others

OLD_TOOLKIT = """
Package: nvidia-container-toolkit
Status: install ok installed
Priority: optional
Section: utils
Maintainer: none
Architecture: amd64
Version: 1.7.0-1
Description: the lab's: older than cgroup v2

Package: libnvidia-container1
Status: install ok installed
Priority: optional
Section: utils
Maintainer: none
Architecture: amd64
Version: 1.7.0-1
Description: the lab's: older than cgroup v2
"""
GRUB_CFG = """set timeout=0
linux /boot/{kernel} root=/dev/vda1 console=ttyS0 quiet
initrd /boot/{initrd}
boot
"""
DEFAULT_GRUB = """GRUB_DEFAULT=0
GRUB_TIMEOUT=0
GRUB_DISTRIBUTOR=Debian
GRUB_CMDLINE_LINUX_DEFAULT="quiet mitigations=off"
GRUB_CMDLINE_LINUX="console=ttyS0"
GRUB_TERMINAL=console
GRUB_DISABLE_OS_PROBER=true
"""
UNIT = """[Unit]
After=multi-user.target
[Service]
Type=idle
ExecStart=/bin/bash /lab/step.sh
StandardOutput=file:/dev/ttyS0
StandardError=file:/dev/ttyS0
TimeoutStartSec=infinity
[Install]
WantedBy=multi-user.target
"""


def run(*argv: str, **options: object) -> str:
    """Run a program and return what it printed; what it said is shown where it fails."""
    ran = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=300, **options)  # type: ignore[call-overload]
    if ran.returncode:
        raise SystemExit(f"{' '.join(argv)}: {ran.returncode}\n{ran.stdout[-2000:]}\n{ran.stderr[-2000:]}")
    return str(ran.stdout)


def furnish(guest: Path, python: Path) -> None:
    """Put gpudoctor, the steps and the fake GPU into the unpacked guest, and make it boot to them."""
    lab = guest / "lab"
    shutil.copytree(ROOT / "gpudoctor", lab / "python/gpudoctor", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(python, lab / "python", dirs_exist_ok=True)
    for name in ("step.sh", "fake.py"):
        shutil.copy(HERE / "guest" / name, lab)
    shutil.copy(HERE / "machine.py", lab)
    shutil.copytree(ROOT / "fixtures/device-args", lab / "fixtures/device-args")
    shutil.copytree(ROOT / "fixtures/hosts", lab / "fixtures/hosts")
    (lab / "boot").write_text("0\n")
    for name in ("bin", "tmp", "dev", "proc", "sys", "etc"):
        (lab / "image" / name).mkdir(parents=True)
    for name in ("sh", "sleep"):
        shutil.copy(guest / "bin/busybox", lab / "image/bin" / name)
    hook = guest / "usr/bin/nvidia-container-runtime-hook"
    hook.write_text("#!/bin/sh\nexit 0\n")
    hook.chmod(0o755)
    with (guest / "var/lib/dpkg/status").open("a") as status:
        status.write(OLD_TOOLKIT)
    (guest / "etc/docker").mkdir(exist_ok=True)
    (guest / "etc/docker/daemon.json").write_text('{\n  "bridge": "none",\n  "iptables": false,\n  "ip6tables": false\n}\n')
    (guest / "etc/fstab").write_text("/dev/vda1 / ext4 rw 0 1\n")
    (guest / "etc/default/grub").write_text(DEFAULT_GRUB)
    (guest / "etc/systemd/system/lab.service").write_text(UNIT)
    wants = guest / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(exist_ok=True)
    (wants / "lab.service").symlink_to("/etc/systemd/system/lab.service")
    for unit in ("docker.service", "containerd.service"):
        (wants / unit).unlink(missing_ok=True)
    (guest / "etc/systemd/system/sockets.target.wants/docker.socket").unlink(missing_ok=True)
    for unit in ("apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_all.timer", "serial-getty@ttyS0.service"):
        (guest / "etc/systemd/system" / unit).symlink_to("/dev/null")


def bootable(guest: Path, disk: Path) -> None:
    """Write the disk: a boot sector, GRUB's core, and an ext4 file system with the guest in it."""
    boot = guest / "boot"
    kernel = next(path.name for path in boot.iterdir() if path.name.startswith("vmlinuz-"))
    (boot / "grub/i386-pc").mkdir(parents=True)
    for path in (guest / "usr/lib/grub/i386-pc").glob("*.[ml][os][dt]"):
        shutil.copy(path, boot / "grub/i386-pc")
    (boot / "grub/grub.cfg").write_text(GRUB_CFG.format(kernel=kernel, initrd=kernel.replace("vmlinuz", "initrd.img")))
    words = ("grub-mkimage", "-O", "i386-pc", "-o", "/tmp/core.img", "-p", "(hd0,msdos1)/boot/grub", *MODULES.split())
    run("chroot", str(guest), *words)
    first = (guest / "usr/lib/grub/i386-pc/boot.img").read_bytes()[:440]
    core = (guest / "tmp/core.img").read_bytes()
    assert len(core) < (START - 1) * SECTOR
    sectors = SIZE_MIB * 2048
    run("mke2fs", "-q", "-t", "ext4", "-O", "^orphan_file,^metadata_csum_seed", "-U", UUID, "-d", str(guest), "-E",
        f"offset={START * SECTOR}", str(disk), f"{SIZE_MIB}m")  # fmt: skip
    entry = bytes((0x80, 0xFE, 0xFF, 0xFF, 0x83, 0xFE, 0xFF, 0xFF)) + START.to_bytes(4, "little") + sectors.to_bytes(4, "little")
    with disk.open("r+b") as file:
        file.truncate(START * SECTOR + sectors * SECTOR)
        file.write(first + bytes(6) + entry + bytes(48) + b"\x55\xaa")
        file.seek(SECTOR)
        file.write(core)


def boot(disk: Path, qemu: Path) -> str:
    """Boot the disk until the guest powers itself off, and return what came over the serial line."""
    libraries = f"{qemu}/usr/lib/x86_64-linux-gnu:{qemu}/lib/x86_64-linux-gnu"
    words = [f"{qemu}/usr/bin/qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "qemu64", "-smp", "2", "-m", "1024"]
    words += ["-L", f"{qemu}/usr/share/qemu", "-L", f"{qemu}/usr/share/seabios", "-display", "none", "-nic", "none", "-no-reboot"]
    words += ["-drive", f"file={disk},format=raw,if=virtio,cache=unsafe", "-serial", "stdio", "-monitor", "none"]
    child = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "LD_LIBRARY_PATH": libraries},
    )
    try:
        out, _ = child.communicate(timeout=BOOT_LIMIT)
    except subprocess.TimeoutExpired:
        child.kill()
        out, _ = child.communicate()
        print(out.decode("utf-8", "replace")[-6000:])
        raise SystemExit(f"the guest did not end within {BOOT_LIMIT} s") from None
    return out.decode("utf-8", "replace").replace("\r", "")


ALLOWED, REFUSED = "No such device or address", "Operation not permitted"
EXPECTED = {
    1: {
        "hierarchy": "cgroup2fs",
        "asked": "nothing",
        "loss-named-before": "1",
        "before": ALLOWED,
        "scope": "0",
        "lost": REFUSED,
        "kept-by-links": ALLOWED,
        "cure-rc": "0",
        "cured-driver": "cgroupfs",
        "kept-by-fix": ALLOWED,
        "loss-named-after": "0",
        "cure-undone": "same",
        "grub-rc": "0",
        "still-found": "0",
        "waits": "1",
        "end": "",
    },
    2: {
        "hierarchy": "tmpfs",
        "asked": "systemd.unified_cgroup_hierarchy=0",
        "tainted": "cgroupsv1",
        "still-found": "0",
        "devices-v1": "there",
        "undo-rc": "0",
        "grub-cfg": "0",
        "default": "same",
        "waits": "1",
        "end": "",
    },
    3: {"hierarchy": "cgroup2fs", "asked": "nothing", "tainted": "", "found-again": "1", "end": ""},
}


def compare(number: int, console: str) -> int:
    """Print what one boot told, and return how many things were not as expected."""
    told: dict[str, str] = {}
    for line in console.split("\n"):
        words = line.strip().split(" ", 3)
        if words[:2] == ["@@", str(number)]:
            # Where a thing is told twice in a boot, the last time counts.
            told[words[2]] = words[3] if len(words) > 3 else ""
    wrong = 0
    for name, value in EXPECTED[number].items():
        fine = told.get(name) == value
        wrong += not fine
        print(f"  {'ok ' if fine else 'BAD'} boot {number}: {name} = {told.get(name)!r}{'' if fine else f', expected {value!r}'}")
    for name in told.keys() - EXPECTED[number].keys():
        print(f"      boot {number}: {name} = {told[name]}")
    if wrong:
        print(console[-8000:])
    return wrong


def main() -> int:
    """Build the disk from the guest's tar, boot it three times, and say what was not as expected."""
    qemu, tar, python, work = (Path(word) for word in sys.argv[1:5])
    began = time.monotonic()
    guest, disk = work / "guest", work / "disk.img"
    guest.mkdir()
    run("tar", "-C", str(guest), "--exclude=./dev/*", "-xf", str(tar))
    furnish(guest, python)
    bootable(guest, disk)
    shutil.rmtree(guest)
    print(f"disk made in {time.monotonic() - began:.0f} s", flush=True)
    wrong = 0
    for number in EXPECTED:
        began = time.monotonic()
        console = boot(disk, qemu)
        print(f"boot {number}: {time.monotonic() - began:.0f} s", flush=True)
        wrong += compare(number, console)
    print(f"lab-boot: {sum(map(len, EXPECTED.values())) - wrong} of {sum(map(len, EXPECTED.values()))} as expected")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
