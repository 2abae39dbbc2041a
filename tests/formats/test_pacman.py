"""Packages in pacman's database."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpudoctor.formats import pacman
from gpudoctor.formats.package import Package

DESC = b"""\
%NAME%
nvidia-open-dkms

%VERSION%
570.124.04-1

%DESC%
%VERSION% of the open kernel modules

%ARCH%
x86_64

%DEPENDS%
dkms
"""


def test_a_desc_file_gives_a_package() -> None:
    """Name, version and architecture stand under their headings."""
    assert pacman.parse(DESC) == Package("nvidia-open-dkms", "570.124.04-1", "installed", "x86_64")


@pytest.mark.parametrize("desc", [b"", b"%NAME%", b"%NAME%\nx\n", b"%VERSION%\n1-1\n", DESC[:20]])
def test_a_truncated_desc_file_gives_none(desc: bytes) -> None:
    """Without both name and version there is no package."""
    assert pacman.parse(desc) is None


def test_a_folder_tells_name_and_version() -> None:
    """The last two dashes part them, and an epoch stays."""
    assert pacman.from_folder("nvidia-container-toolkit-1:1.17.4-2") == Package(
        "nvidia-container-toolkit", "1:1.17.4-2", "installed", ""
    )
    assert pacman.from_folder("ALPM_DB_VERSION") is None
    assert pacman.from_folder("a--1") is None


@given(st.binary(), st.text())
def test_random_input_never_raises(data: bytes, folder: str) -> None:
    """Garbage is no package."""
    pacman.parse(b"%NAME%\n" + data)
    pacman.from_folder(folder)
