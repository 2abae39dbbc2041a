"""The numbered errors in a text: Xid of a GPU's driver, SXid of an NVSwitch, each with what its number means and what to do at once.

``NVRM: Xid (PCI:0000:01:00): 79, pid=1234, name=python3, GPU has fallen off the bus.`` and
``nvidia-nvswitch3: SXid (PCI:0000:c1:00.0): 20034, Fatal, Link 28 LTSSM Fault Up`` are what the driver writes. People and monitoring
write ``Xid 79`` or ``XID error: 79``; databases have an xid too, so that a short form counts only beside a word about GPUs, and only
with a number that NVIDIA's catalog has.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gpudoctor import tables
from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MOST = 40
"""Different numbers that are kept: a log of 100 MiB has a handful."""
_MOST_PLACES = 8
_FULL = rb"\b(S?)Xid\s*\(\s*(?:PCI:)?\s*([0-9a-fA-F:.]{7,20})[^()\n]{0,40}\)\s*:\s*(\d{1,7})\b,?[ \t]*([^\n]{0,160})"
_SHORT = rb"(?i)(?<![\w-])xid(?:s|[ _-]?errors?|[ _-]?codes?)?\s*[:=#]?\s*(\d{1,3})\b(?![.:]\d)"
_ABOUT_GPUS = (b"nvidia", b"gpu", b"nvrm", b"dcgm", b"cuda")
_SWITCH_RESET = "reset all GPUs and NVSwitches together, or reboot"


class Numbered(NamedTuple):
    """One number that a text has, once: of a GPU or (``switch``) of an NVSwitch, where, what it means and what to do.

    ``known`` is False where NVIDIA's catalog says nothing of the number; ``meaning`` is then what the line itself says.
    """

    number: int
    switch: bool
    places: tuple[str, ...]
    known: bool
    meaning: str
    action: str

    @property
    def name(self) -> str:
        """``Xid 79`` or ``SXid 20034``."""
        return f"{'SXid' if self.switch else 'Xid'} {self.number}"


class Collector:
    """Passes the windows of a text on, and keeps what numbers were in them."""

    def __init__(self) -> None:
        """Begin with nothing seen."""
        self._seen: dict[tuple[bool, int], tuple[list[str], str]] = {}
        self._short: dict[int, None] = {}

    def watch(self, windows: Iterable[bytes]) -> Iterator[bytes]:
        """Yield each window as it is."""
        for window in windows:
            if b"xid" in window.lower():
                self._look(window)
            yield window

    def _look(self, window: bytes) -> None:
        for found in re.finditer(_FULL, window):
            key = bool(found[1]), int(found[3])
            if key not in self._seen and len(self._seen) >= _MOST:
                continue
            said = " ".join(found[4].decode("utf-8", "replace").split())
            places, _ = self._seen.setdefault(key, ([], said))
            place = found[2].decode().lower()
            if place not in places and len(places) < _MOST_PLACES:
                places.append(place)
        lower = window.lower()
        for found in re.finditer(_SHORT, window):
            if found.start() == 0 or any(word in lower for word in _ABOUT_GPUS):
                self._short.setdefault(int(found[1]))

    def found(self) -> tuple[Numbered, ...]:
        """Return the numbers in the order in which they came, those in the driver's own form first."""
        numbered = [
            _numbered(number, tuple(places), said, switch=switch) for (switch, number), (places, said) in self._seen.items()
        ]
        for number in self._short:
            if (False, number) not in self._seen and tables.xid(number) is not None and len(numbered) < _MOST:
                numbered.append(_numbered(number, (), "", switch=False))
        return tuple(numbered)


def _numbered(number: int, places: tuple[str, ...], said: str, *, switch: bool) -> Numbered:
    if switch:
        # An NVSwitch says itself whether the error is fatal, and what it is: NVIDIA's guide has no more than that.
        kind, _, words = said.partition(",")
        known = kind.strip().lower() in {"fatal", "non-fatal"}
        fatal = kind.strip().lower() == "fatal"
        meaning = f"{kind.strip().lower()} error of an NVSwitch: {words.strip()}" if known else said
        action = _SWITCH_RESET if fatal else "nothing now" if known else "look it up in NVIDIA's fabric manager guide"
        return Numbered(number, switch, places, known, meaning, action)
    row = tables.xid(number)
    if row is None:
        return Numbered(number, switch, places, row is not None, said, "look it up in NVIDIA's Xid catalog, which may be newer")
    words = f"; it says: {said}" if row.action == "see its text" and said else ""
    return Numbered(number, switch, places, row is not None, row.meaning, row.action + words)
