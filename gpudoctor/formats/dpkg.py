"""Packages from /var/lib/dpkg/status (Debian, Ubuntu), without parsing the thousands of other stanzas.

A stanza begins with `Package: NAME` at the start of a line; every line of a longer field begins with a space,
so the bytes "newline, Package:" appear nowhere else. A package of two architectures has two stanzas. A
package that was removed but not purged keeps a stanza with the state `config-files`: it is not installed, and
is left out here.
"""

from __future__ import annotations

from gpudoctor.formats import text
from gpudoctor.formats.package import Package

_MARK = b"\nPackage: "
_GONE = ("config-files", "not-installed")


def installed(status: bytes, name: str) -> Package | None:
    """Look up one package by `name` or `name:architecture`; None where it is not installed.

    Half-installed and half-configured ones are given back with their status. Of several architectures one
    that is completely installed is preferred, then the first in the file.
    """
    name, _, architecture = name.partition(":")
    found = [
        package for package in _stanzas(status, name.encode() + b"\n") if not architecture or package.architecture == architecture
    ]
    for package in found:
        if package.status.endswith(" installed"):
            return package
    return found[0] if found else None


def matching(status: bytes, prefix: str) -> tuple[Package, ...]:
    """Give every installed package whose name begins with `prefix`, in the order of the file."""
    return tuple(_stanzas(status, prefix.encode()))


def _stanzas(status: bytes, start: bytes) -> list[Package]:
    """Parse the stanzas whose name begins with `start`, except those of removed packages."""
    found: list[Package] = []
    if status.startswith(_MARK[1:] + start):
        _add(found, status, 0)
    needle = _MARK + start
    at = status.find(needle)
    while at >= 0:
        _add(found, status, at + 1)
        at = status.find(needle, at + len(needle))
    return found


def _add(found: list[Package], status: bytes, begin: int) -> None:
    """Parse the stanza that begins at an offset."""
    end = status.find(b"\n\n", begin)
    stanza = status[begin : end if end >= 0 else len(status)]
    # Only the fields before the long ones are wanted; a line that begins with a space belongs to the field
    # above it.
    fields: dict[bytes, bytes] = {}
    for line in stanza.split(b"\n"):
        key, colon, value = line.partition(b":")
        if colon and not line.startswith((b" ", b"\t")):
            fields.setdefault(key, value.strip())
    state = text(fields.get(b"Status", b""))
    if not state.endswith(_GONE):
        found.append(
            Package(
                text(fields.get(b"Package", b"")),
                text(fields.get(b"Version", b"")),
                state,
                text(fields.get(b"Architecture", b"")),
            )
        )
