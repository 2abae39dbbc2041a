r"""Packages from the output of `rpm -qa --qf '%{NAME} %{VERSION}-%{RELEASE}\n'`, one a line, in no order."""

from __future__ import annotations

from gpudoctor.formats.package import Package


def installed(listing: str, name: str) -> Package | None:
    """Look up one package by its exact name; None where it is not listed, the first of several versions."""
    found = _lines(listing, f"{name} ")
    return found[0] if found else None


def matching(listing: str, prefix: str) -> tuple[Package, ...]:
    """Give every package whose name begins with `prefix`, in the order listed."""
    return tuple(_lines(listing, prefix))


def _lines(listing: str, start: str) -> list[Package]:
    """Parse the lines that begin with `start`."""
    found: list[Package] = []
    needle = f"\n{start}"
    at = 0 if listing.startswith(start) else _after(listing, needle, 0)
    while at >= 0:
        end = listing.find("\n", at)
        name, _, version = listing[at : end if end >= 0 else len(listing)].strip().partition(" ")
        if name and version:
            found.append(Package(name, version, "installed", ""))
        at = _after(listing, needle, at)
    return found


def _after(listing: str, needle: str, begin: int) -> int:
    """Find the start of the next line that begins as the needle says; -1 where there is none."""
    at = listing.find(needle, begin)
    return at + 1 if at >= 0 else -1
