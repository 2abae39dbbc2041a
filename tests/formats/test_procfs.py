"""Small files of /proc, from several drivers and kernels."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpudoctor.formats import procfs
from gpudoctor.formats.procfs import DriverVersion

PROPRIETARY = """\
NVRM version: NVIDIA UNIX x86_64 Kernel Module  525.147.05  Wed Oct 25 20:27:35 UTC 2023
GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)
"""
OPEN = """\
NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  565.57.01  Release Build  (dvs@U16)  Thu Oct 10
GCC version:  gcc version 14.2.1 20240910 (Red Hat 14.2.1-3) (GCC)
"""


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (PROPRIETARY, DriverVersion("525.147.05", open=False, branch=525)),
        (OPEN, DriverVersion("565.57.01", open=True, branch=565)),
        (
            "NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  540.4.0  Release Build  (build@mobile)\n",
            DriverVersion("540.4.0", open=True, branch=540),
        ),
        (
            "NVRM version: NVIDIA UNIX aarch64 Kernel Module  470.82  Wed Oct 27 21:21:55 UTC 2021\n",
            DriverVersion("470.82", open=False, branch=470),
        ),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  TempVersion  Release Build  (x)\n", None),
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module", None),
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.\n", None),
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module for\n", None),
        ("", None),
    ],
)
def test_the_driver_version_of_every_flavour(text: str, version: DriverVersion | None) -> None:
    """Proprietary and open, both architectures; a word instead of a number is no version."""
    assert procfs.driver_version(text) == version


@pytest.mark.parametrize(
    ("names", "majors"),
    [
        ("195 nvidia-frontend\n", {"nvidia-frontend": 195}),
        (
            "195 nvidia\n195 nvidia-modeset\n195 nvidiactl\n",
            {"nvidia": 195, "nvidia-modeset": 195, "nvidiactl": 195},
        ),
    ],
)
def test_character_majors_by_name(names: str, majors: dict[str, int]) -> None:
    """195 has one name or three by the driver's age, and block devices are left out."""
    blocks = "Block devices:\n  7 loop\n259 blkext\n"
    text = f"Character devices:\n  1 mem\n 10 misc\n{names}507 nvidia-uvm\n\n{blocks}"
    assert procfs.devices(text) == {"mem": 1, "misc": 10, "nvidia-uvm": 507, **majors}
    assert procfs.devices("Block devices:\n  7 loop\n") == {}


def test_modules_with_their_states() -> None:
    """Dependencies and taints do not disturb, and a cut line is skipped."""
    text = (
        "nvidia_uvm 1892352 0 - Live 0x0000000000000000 (POE)\n"
        "nvidia 62812160 4 nvidia_uvm,nvidia_modeset, Loading 0x0000000000000000 (OE)\nvideo 73"
    )
    assert procfs.modules(text) == {"nvidia_uvm": "Live", "nvidia": "Loading"}


def test_params_without_quotes() -> None:
    """Numbers stay text and strings lose their quotes."""
    text = 'ModifyDeviceFiles: 1\nDeviceFileMode: 432\nRegistryDwords: ""\nTemporaryFilePath: "/var/tmp"\n'
    assert procfs.params(text) == {
        "ModifyDeviceFiles": "1",
        "DeviceFileMode": "432",
        "RegistryDwords": "",
        "TemporaryFilePath": "/var/tmp",
    }


def test_information_of_a_gpu() -> None:
    """Labels lose their tabs, and a PCI address keeps its colons."""
    text = (
        "Model: \t\t NVIDIA L4\nIRQ:   \t\t 71\nGPU UUID: \t GPU-4cf8db2d\nVideo BIOS: \t ??.??.??.??.??\n"
        "Bus Location: \t 0000:00:1e.0\nDevice Minor: \t 3\nGPU Firmware: \t N/A\nGPU Excluded:\t No\n\n"
    )
    found = procfs.information(text)
    assert found["Model"] == "NVIDIA L4"
    assert found["Bus Location"] == "0000:00:1e.0"
    assert (found["Device Minor"], found["GPU Excluded"], found["GPU Firmware"]) == ("3", "No", "N/A")


@pytest.mark.parametrize("name", ["dockerd", "a b", "x) (y) 1 2", ")"])
def test_the_start_time_whatever_the_process_is_called(name: str) -> None:
    """Spaces and parentheses in the name do not shift the fields."""
    stat = f"812 ({name}) S 1 812 812 0 -1 4194560 9 0 1 0 3 4 0 0 20 0 9 0 1467 1 2 3"
    assert procfs.start_ticks(stat) == 1467


def test_a_cut_stat_has_no_start_time() -> None:
    """A process that ends while it is read leaves nothing."""
    assert procfs.start_ticks("812 (dockerd) S 1 812") is None
    assert procfs.start_ticks("") is None


def test_the_time_of_boot() -> None:
    """The line is found wherever it stands, and only there."""
    assert procfs.boot_time(b"cpu  1 2\nintr 5 btime 7\nctxt 9\nbtime 1763900000\nprocesses 3\n") == 1763900000
    assert procfs.boot_time(b"btime 5") == 5
    assert procfs.boot_time(b"cpu 1\nbtime x\n") is None
    assert procfs.boot_time(b"") is None


def test_the_real_user() -> None:
    """The first of four ids counts."""
    assert procfs.uids("Name:\tdockerd\nUid:\t1000\t0\t0\t0\nGid:\t5\t5\t5\t5\n") == 1000
    assert procfs.uids("Name:\tUid:\n") is None


def test_the_minors_of_mig_capabilities() -> None:
    """Each capability has its own minor."""
    assert procfs.mig_minors("config 1\nmonitor 2\ngpu0/gi1/ci0/access 13\n\n") == {
        "config": 1,
        "monitor": 2,
        "gpu0/gi1/ci0/access": 13,
    }


@given(st.one_of(st.text(), st.text(alphabet="1²٣ :)\n")), st.binary())
def test_any_text_is_read(text: str, data: bytes) -> None:
    """Nothing raises, also on digits that are no ASCII."""
    for content in (
        text,
        "Character devices:\n" + text,
        f"Kernel Module {text}",
        f"Uid: {text}",
        f") {text * 20}",
    ):
        procfs.driver_version(content)
        procfs.devices(content)
        procfs.modules(content)
        procfs.params(content)
        procfs.start_ticks(content)
        procfs.uids(content)
        procfs.mig_minors(content)
    procfs.boot_time(data)
    procfs.boot_time(b"btime " + data)
