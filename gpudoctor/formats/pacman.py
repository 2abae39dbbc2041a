"""Packages from pacman's database (Arch): a folder with a `desc` file each, under /var/lib/pacman/local.

The folder's name is `NAME-VERSION-RELEASE`, so a listing of the folders tells names and versions without
reading a thousand files.
"""

from __future__ import annotations

from gpudoctor.formats import text
from gpudoctor.formats.package import Package


def parse(desc: bytes) -> Package | None:
    """Parse one `desc` file; None where it holds no name or no version."""
    lines = text(desc).splitlines()
    fields = {
        line: lines[number + 1].strip() for number, line in enumerate(lines[:-1]) if line in {"%NAME%", "%VERSION%", "%ARCH%"}
    }
    name, version = fields.get("%NAME%", ""), fields.get("%VERSION%", "")
    if not name or not version:
        return None
    return Package(name, version, "installed", fields.get("%ARCH%", ""))


def from_folder(folder: str) -> Package | None:
    """Parse the name of a package's folder, `nvidia-utils-550.78-1`; None where it has not that form."""
    parts = folder.rsplit("-", 2)
    if len(parts) != 3 or not all(parts):
        return None
    return Package(parts[0], f"{parts[1]}-{parts[2]}", "installed", "")
