"""Packages in dpkg's status file."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gpudoctor.formats import dpkg
from gpudoctor.formats.package import Package

STATUS = b"""\
Package: libc6
Status: install ok installed
Priority: optional
Architecture: amd64
Multi-Arch: same
Version: 2.39-0ubuntu8.3
Conffiles:
 /etc/ld.so.conf.d/x86_64-linux-gnu.conf d4e7
Description: GNU C Library
 Version: 9.9 is not the version, and
 Package: docker.io is no package.

Package: libc6
Status: install ok half-configured
Architecture: i386
Version: 2.39-0ubuntu8.2

Package: nvidia-container-toolkit
Status: install ok unpacked
Architecture: amd64
Version: 1.17.8-1

Package: nvidia-container-toolkit-base
Status: hold ok installed
Architecture: amd64
Version: 1.17.8-1

Package: nvidia-container-runtime
Status: deinstall ok config-files
Architecture: all
Version: 3.5.0-1

Package: nvidia-docker2
Status: unknown ok not-installed
Architecture: all

Package: zlib1g
Status: install ok installed
Architecture: amd64
Version: 1:1.3.dfsg-3.1"""


def test_a_package_is_found_by_its_whole_name() -> None:
    """A longer name, and a mention in a description, are not taken for it."""
    assert dpkg.installed(STATUS, "nvidia-container-toolkit") == Package(
        "nvidia-container-toolkit", "1.17.8-1", "install ok unpacked", "amd64"
    )
    assert dpkg.installed(STATUS, "nvidia-container") is None
    assert dpkg.installed(STATUS, "docker.io") is None


def test_the_first_and_the_last_stanza_are_found() -> None:
    """Neither needs an empty line before or after it."""
    first, last = dpkg.installed(STATUS, "libc6"), dpkg.installed(STATUS, "zlib1g")
    assert first == Package("libc6", "2.39-0ubuntu8.3", "install ok installed", "amd64")
    assert last == Package("zlib1g", "1:1.3.dfsg-3.1", "install ok installed", "amd64")


def test_of_two_architectures_the_installed_one_is_preferred() -> None:
    """A name with its architecture chooses, and keeps the state it is in."""
    swapped = STATUS.replace(b"install ok installed", b"X", 1).replace(b"half-configured", b"installed", 1)
    assert (found := dpkg.installed(swapped, "libc6"))
    assert found.architecture == "i386"
    assert (half := dpkg.installed(STATUS, "libc6:i386"))
    assert half.status == "install ok half-configured"
    assert dpkg.installed(STATUS, "libc6:arm64") is None


def test_removed_packages_are_not_installed() -> None:
    """Left-over configuration files do not count."""
    assert dpkg.installed(STATUS, "nvidia-container-runtime") is None
    assert dpkg.installed(STATUS, "nvidia-docker2") is None


def test_packages_are_found_by_prefix() -> None:
    """The order is that of the file, and removed ones are left out."""
    names = [package.name for package in dpkg.matching(STATUS, "nvidia-")]
    assert names == ["nvidia-container-toolkit", "nvidia-container-toolkit-base"]
    assert [package.architecture for package in dpkg.matching(STATUS, "libc6")] == ["amd64", "i386"]


def test_a_truncated_stanza_gives_what_is_there() -> None:
    """A file that was cut off has no version rather than an error."""
    assert dpkg.installed(b"Package: runc\nStatus: install ok installed", "runc") == Package(
        "runc", "", "install ok installed", ""
    )
    assert dpkg.installed(b"", "runc") is None


@given(st.binary())
def test_random_bytes_never_raise(data: bytes) -> None:
    """Garbage holds no packages, or odd ones."""
    dpkg.matching(data + b"\nPackage: a" + data, "")
    dpkg.installed(b"Package: a\n" + data, "a")
