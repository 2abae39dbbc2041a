"""Packages in rpm's listing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gpudoctor.formats import rpm
from gpudoctor.formats.package import Package

LISTING = """\
nvidia-container-toolkit-base 1.17.4-1
kernel-core 5.14.0-503.el9
nvidia-container-toolkit 1.17.4-1
gpg-pubkey d42d0685-62589a51
kernel-core 5.14.0-427.el9
kmod-nvidia-open-dkms 570.86.15-1.el9
"""


def test_a_package_is_found_by_its_whole_name() -> None:
    """A longer name on an earlier line is not taken for it."""
    assert rpm.installed(LISTING, "nvidia-container-toolkit") == Package("nvidia-container-toolkit", "1.17.4-1", "installed", "")
    assert rpm.installed(LISTING, "nvidia-container-toolkit-base") == Package(
        "nvidia-container-toolkit-base", "1.17.4-1", "installed", ""
    )
    assert rpm.installed(LISTING, "toolkit") is None


def test_packages_are_found_by_prefix() -> None:
    """Every version of a package that is installed twice is given."""
    assert [package.version for package in rpm.matching(LISTING, "kernel-core")] == [
        "5.14.0-503.el9",
        "5.14.0-427.el9",
    ]
    assert rpm.matching("", "kernel") == ()


@given(st.text(), st.text())
def test_any_text_is_searched(listing: str, prefix: str) -> None:
    """No text raises, and what is found begins as asked."""
    assert all(package.name for package in rpm.matching(listing, prefix))
