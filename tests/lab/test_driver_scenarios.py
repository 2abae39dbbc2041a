"""Faults of the driver on a host that has one: modules by kmod, libraries by the linker, NVML as the host's files make it answer.

No code of NVIDIA's drives anything here: ``tests/lab/fake_driver.py`` shows what a loaded module would, and NVML is a mock that reads it.
What Docker, runc, kmod, ldconfig and the kernel's permissions do is real, and so is nvidia-smi where it could be fetched.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest

from tests.lab.sequence import GPUDOCTOR, Scenario, play
from tests.lab.stand_ins import PROGRAMS
from tests.lab.test_fix import parts, steps
from tests.lab.test_scenarios import DOCTOR, EXPLAIN, found_rules, modes
from tests.lab.world import CACHE, NEWER_DOCKER, live, needs

if TYPE_CHECKING:
    from pathlib import Path

OLD, NEW = "580.65.06", "580.95.05"
NEEDED = ("dockerd", "unshare", "busybox", "cc", "depmod", "modprobe", "ldconfig", "setpriv")
GPU = "GPU 0: NVIDIA A10G (UUID: GPU-4d1f6a52-8a0c-4c55-9a1e-0f6d2b7c9e10)"
REAL_SMI = CACHE / "nvidia" / "usr" / "lib" / "nvidia" / "current" / "nvidia-smi"
REAL_NVML = CACHE / "nvidia" / "usr" / "lib" / "x86_64-linux-gnu" / "nvidia" / "current"
# The host's programs lent to a container, as the toolkit lends them; below its own /proc a container has nothing of a driver.
LENT = (
    "-v /usr:/usr:ro -v /usr/lib:/lib:ro -v /usr/lib64:/lib64:ro -v /etc/ld.so.cache:/etc/ld.so.cache:ro "
    "-v /proc/driver:/fake/proc/driver:ro -e MOCK_NVML_ROOT=/fake"
)
IN_CONTAINER = "docker run --rm --network none --entrypoint /usr/bin/nvidia-smi --device /dev/nvidiactl --device /dev/nvidia0"
AS_USER = "setpriv --reuid 1000 --regid 1000 --clear-groups"
USER_RUN = "docker run --rm --network none --device /dev/nvidiactl --device /dev/nvidia0 --user 1000:1000"
OPEN = "sh -c 'for each in /dev/nvidiactl /dev/nvidia0; do true <$each; done; true'"


def test_libraries_were_upgraded_under_a_loaded_module(tmp_path: Path):
    """18: the module of before is loaded; on the host and in a container nothing starts, fix announces the boot, and the boot cures."""
    needs(*NEEDED)
    said = play(
        tmp_path,
        Scenario(
            rule="host/driver-library-mismatch",
            prepare="",
            spoil=f"install-driver {NEW}",
            ask=f"nvidia-smi; {IN_CONTAINER} {LENT} probe",
            works=GPU,
            fails="Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 580.95",
            mend=f"{GPUDOCTOR} fix driver-library-mismatch --apply --yes; {GPUDOCTOR} history; nvidia-smi; boot",
            takes_back=False,
        ),
        "one-gpu",
        driver=OLD,
        hook=True,
    )
    assert said[0].count(GPU) == 2
    assert said[2].count("version mismatch") == 2
    assert said[2].endswith("rc=18\n")
    assert "left to you: reboot" in said[5]
    assert "To take it back" not in said[5]
    # Nothing but the boot cures it.
    assert "version mismatch\nNVML library" in said[5]


def test_the_module_on_disk_is_of_another_version_than_the_libraries(tmp_path: Path):
    """18 as well, and a boot does not help: doctor and explain say which of the two it is, and modules of the libraries' version cure."""
    needs(*NEEDED)
    play(
        tmp_path,
        Scenario(
            rule="host/driver-library-mismatch-persistent",
            prepare="",
            spoil=f"install-driver {NEW} libraries; boot",
            ask="nvidia-smi",
            works=GPU,
            fails="Driver/library version mismatch",
            mend=f"install-driver {NEW} modules; boot",
            takes_back=False,
        ),
        "one-gpu",
        driver=OLD,
        hook=True,
    )


@pytest.mark.parametrize("line", ["blacklist nvidia", "install nvidia /bin/false"], ids=["blacklist", "install"])
def test_the_module_is_kept_from_loading(tmp_path: Path, line: str):
    """9: kmod does not load it at boot; fix takes the line out and loads it, it stays so at the next boot, and undo brings it back."""
    needs(*NEEDED)
    conf = "/etc/modprobe.d/no-gpu.conf"
    text = f"# saves power\n{line}\noptions snd_hda_intel power_save=1\n"
    said = play(
        tmp_path,
        Scenario(
            rule="host/driver-not-loaded",
            prepare="",
            spoil=f"mkdir -p /etc/modprobe.d; printf %s {shlex.quote(text)} >{conf}; boot",
            ask="nvidia-smi; docker run --rm --network none --device /dev/nvidiactl --device /dev/nvidia0 probe true",
            works=GPU,
            fails="NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.",
            files=(conf,),
            mend=f"{GPUDOCTOR} fix driver-not-loaded --apply --yes --allow-restart && nvidia-smi && cat {conf}",
            effect="boot",
        ),
        "one-gpu",
        driver=OLD,
        hook=True,
    )
    assert 'error gathering device information while adding custom device "/dev/nvidia' in said[2]
    # Loaded at once, without the boot; and only the line itself is gone.
    assert f"{GPU}\n{text.replace(line + chr(10), '')}" in said[5]


def test_a_mode_in_decimal_shuts_everybody_out(tmp_path: Path):
    """NVreg_DeviceFileMode=666 is 01232: EACCES on the host and in a container; fix mends option and nodes, undo and a boot undo it."""
    needs(*NEEDED)
    conf = "/etc/modprobe.d/nvidia.conf"
    said = play(
        tmp_path,
        Scenario(
            rule="host/device-permissions-mode",
            prepare="",
            spoil=f"mkdir -p /etc/modprobe.d; echo 'options nvidia NVreg_DeviceFileMode=666' >{conf}; boot",
            ask=f"{AS_USER} nvidia-smi; {USER_RUN} probe {OPEN}",
            works=GPU,
            fails="Failed to initialize NVML: Insufficient Permissions",
            files=(conf,),
            mend=f"{GPUDOCTOR} fix device-permissions-mode --apply --yes --allow-restart && {AS_USER} nvidia-smi; stat -c %a /dev/nvidia0",
            effect="boot",
        ),
        "one-gpu",
        driver=OLD,
        hook=True,
    )
    for part, word in (
        (said[0], "No such device or address"),
        (said[2], "Permission denied"),
        (said[6], "No such device or address"),
    ):
        assert part.count(f"/dev/nvidiactl: {word}") == 1, part
        assert part.count(f"/dev/nvidia0: {word}") == 1, part
    assert GPU in said[5]
    assert "\n666\n" in said[5]


def test_nodes_for_a_group_only(tmp_path: Path):
    """0660 root:video: a user is refused, on the host and in a container; --group-add lets the container in, --force opens it to all."""
    needs(*NEEDED)
    conf = "/etc/modprobe.d/nvidia.conf"
    options = "options nvidia NVreg_DeviceFileGID=44 NVreg_DeviceFileMode=0660"
    said = play(
        tmp_path,
        Scenario(
            rule="host/device-permissions-group",
            prepare="",
            spoil=f"mkdir -p /etc/modprobe.d; echo '{options}' >{conf}; boot",
            ask=f"{AS_USER} nvidia-smi; {USER_RUN} probe {OPEN}",
            works=GPU,
            fails="Failed to initialize NVML: Insufficient Permissions",
            files=(conf,),
            mend=f"{USER_RUN} --group-add 44 probe {OPEN}; {GPUDOCTOR} fix device-permissions-group --apply --yes; "
            f"echo without force $?; {GPUDOCTOR} fix device-permissions-group --apply --yes --allow-restart --force",
            effect="boot",
            hint=True,
        ),
        "one-gpu",
        driver=OLD,
        hook=True,
    )
    assert "/dev/nvidia0: Permission denied" in said[2]
    assert "/dev/nvidia0: No such device or address" in said[5]
    assert "without force 3" in said[5]
    assert "/dev/nvidia0: No such device or address" in said[6]


def test_libraries_of_the_driver_are_missing(tmp_path: Path):
    """12: module and nvidia-smi without libcuda and libnvidia-ml; put back in the module's version, all works."""
    needs(*NEEDED)
    play(
        tmp_path,
        Scenario(
            rule="host/host-driver-libs-incomplete",
            prepare="",
            spoil="rm /usr/lib/x86_64-linux-gnu/libcuda.so.* /usr/lib/x86_64-linux-gnu/libnvidia-ml.so.*; ldconfig -X; ldconfig",
            ask=f"nvidia-smi; {IN_CONTAINER} {LENT} probe",
            works=GPU,
            fails="NVIDIA-SMI couldn't find libnvidia-ml.so library in your system.",
            mend=f"install-driver {OLD} libraries",
            takes_back=False,
        ),
        "one-gpu",
        driver=OLD,
        hook=True,
    )


@pytest.mark.parametrize("engine", ["20.10", "newer"])
def test_the_default_runtime_is_nvidias_and_the_gpu_is_gone(tmp_path: Path, engine: str):
    """The runtime is there and its hook fails as libnvidia-container does: no container starts, until default-runtime is taken out."""
    needs("dockerd", "unshare", "busybox", "runc")
    more = {}
    if engine == "newer":
        if not NEWER_DOCKER.is_dir():
            pytest.skip("no Docker with CDI was fetched")
        more["programs"] = f"{NEWER_DOCKER}/sbin:{NEWER_DOCKER}/bin:/usr/sbin:/usr/bin"
    play(
        tmp_path,
        Scenario(
            rule="docker/default-runtime-nvidia-without-gpu",
            prepare="chmod 755 nvidia-container-runtime",
            spoil="cp broken.json daemon.json; service docker restart",
            ask="docker run --rm --network none -e NVIDIA_VISIBLE_DEVICES=all probe sh -c 'echo it runs'",
            works="it runs",
            fails="nvidia-container-cli: initialization error: load library failed: libnvidia-ml.so.1: cannot open shared object file",
            files=("daemon.json",),
            options="--allow-restart",
            behind="host/no-nvidia-gpu",
        ),
        "no-gpu",
        files={
            str(tmp_path / "nvidia-container-runtime"): (PROGRAMS / "nvidia_container_runtime.sh").read_text(),
            str(tmp_path / "broken.json"): '{\n    "default-runtime": "nvidia",\n    "runtimes": {"nvidia": {"path": "'
            f'{tmp_path}/nvidia-container-runtime", "runtimeArgs": []}}}}\n}}\n',
        },
        **more,
    )


def test_the_fabric_manager_is_of_another_version(tmp_path: Path):
    """The fabric manager's own words for it are recognised, doctor names both versions, and the package of the driver's version cures."""
    needs(*NEEDED)
    package = "Package: nvidia-fabricmanager-580\nStatus: install ok installed\nArchitecture: amd64\nVersion: {}-1\n"
    install = "mkdir -p /var/lib/dpkg; cp before /var/lib/dpkg/status; printf '\\n{}' >>/var/lib/dpkg/status"
    # It ends as nv-fabricmanager does, where the package is not of the loaded module's version.
    manager = """#!/bin/sh
driver=$(sed -n 's/.*Kernel Module *\\([0-9.]*\\).*/\\1/p' /proc/driver/nvidia/version)
own=$(sed -n '/^Package: nvidia-fabricmanager/,/^$/s/^Version: \\(.*\\)-1/\\1/p' /var/lib/dpkg/status)
if [ "$driver" = "$own" ]; then echo "Connected to 1 node."; exit 0; fi
echo "fabric manager NVIDIA GPU driver interface version $own don't match with driver version $driver. Please update with matching NVIDIA driver package." >&2
exit 1
"""
    play(
        tmp_path,
        Scenario(
            rule="host/fabricmanager-version-mismatch",
            prepare=f"cp /var/lib/dpkg/status before; {install.format(package.format(OLD))}; chmod 755 bin/nv-fabricmanager",
            spoil=install.format(package.format("580.82.07")),
            ask="nv-fabricmanager",
            works="Connected",
            fails=f"interface version 580.82.07 don't match with driver version {OLD}",
            mend=install.format(package.format(OLD)),
            takes_back=False,
        ),
        "sixteen-gpus-nvswitch",
        driver=OLD,
        hook=True,
        files={str(tmp_path / "bin" / "nv-fabricmanager"): manager},
    )


CODES = (4, 9, 12, 15, 18, 999)


def test_the_stand_in_says_what_the_real_nvidia_smi_says(tmp_path: Path):
    """Each failure of NVML in the words and with the exit code of the real nvidia-smi; the real library too says that no driver is there."""
    needs(*NEEDED)
    if not REAL_SMI.exists():
        pytest.skip("no nvidia-smi was fetched (scripts/lab does, from Debian 13's non-free)")
    each = "; ".join(f"MOCK_NVML_INIT={code} {{0}}; echo {code} ended with $?" for code in CODES)
    ask = f"{REAL_SMI}; echo mismatch ended with $?"
    found = live(
        tmp_path,
        "one-gpu",
        steps(
            each.format("nvidia-smi"),
            each.format(REAL_SMI),
            f"install-driver {NEW} libraries; {ask.replace(str(REAL_SMI), 'nvidia-smi')}",
            ask,
            f"{REAL_SMI} | {EXPLAIN}",
            f"echo 'blacklist nvidia' >/etc/modprobe.d/lab.conf; boot; LD_LIBRARY_PATH={REAL_NVML} {REAL_SMI}",
            f"LD_LIBRARY_PATH={REAL_NVML} {REAL_SMI} | {EXPLAIN}; {DOCTOR}",
        ),
        driver=OLD,
        hook=True,
    )
    said = [part.partition("\n")[2] for part in parts(found["out"])]
    assert said[0] == said[1]
    assert [line.split()[-1] for line in said[0].split("\n") if "ended with" in line] == ["4", "9", "12", "15", "18", "255"]
    assert (
        said[2]
        == said[3]
        == "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 580.95\nmismatch ended with 18\nrc=0\n"
    )
    assert modes(said[4])[0] == "driver-library-mismatch-persistent"
    assert "couldn't communicate with the NVIDIA driver" in said[5]
    assert said[5].endswith("rc=9\n")
    assert modes(said[6])[0] == "driver-not-loaded"
    assert found_rules(said[6].partition("\n")[2])[0] == "host/driver-not-loaded"
