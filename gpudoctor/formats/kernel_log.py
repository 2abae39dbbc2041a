"""The kernel's log, from dmesg, /dev/kmsg, journald or a syslog file: the lines that can matter to a GPU."""

from __future__ import annotations

from gpudoctor.formats import text
from gpudoctor.values import NamedTuple

_NEEDLES = (
    b"NVRM",
    b"nvidia",
    b"NVIDIA",
    b"nouveau",
    b"nova",
    b"Xid",
    b"module verification",
    b"Loading of module",
    b"Loading of unsigned module",
    b"unsigned module loading",
    b"PM: suspend",
    b"PM: hibernation",
    b"apparmor",
    b"AVC",
    b"PKCS#7",
)
# A failing GPU writes the same line for days: keep the start, which tells how the driver loaded, and the end.
_FIRST = 1000
_LAST = 3000
_WIDTH = 1000
_DIGITS = 8


class Xid(NamedTuple):
    """An error that a GPU's driver, or an NVSwitch's (``switch``), has logged: where (``0000:44:00``), its number and the whole line.

    ``fatal`` is what an NVSwitch's line says of itself; a GPU's says nothing of the kind.
    """

    address: str
    number: int
    switch: bool
    fatal: bool
    line: str


def xids(log: tuple[str, ...]) -> tuple[Xid, ...]:
    """Give the Xid and SXid errors of the log's lines, in order; ``log`` is what ``lines`` gives.

    ``NVRM: Xid (PCI:0000:44:00): 79, pid=1234, GPU has fallen off the bus.``; with MIG ``(PCI:0000:44:00 GPU-I:05)``, before driver
    304 without ``PCI:``; ``nvidia-nvswitch3: SXid (PCI:0000:c1:00.0): 12028, Fatal, Link 46 egress non-posted PRIV error``.
    """
    found = []
    for line in log:
        before, sign, rest = line.partition("Xid (")
        switch = before.startswith("nvidia-nvswitch") and before.endswith(": S")
        if not sign or not (switch or before == "NVRM: "):
            continue
        place, _, said = rest.partition("): ")
        number = said.partition(",")[0]
        words = place.split()
        if words and number.isascii() and number.isdigit() and len(number) < _DIGITS:
            address = words[0].removeprefix("PCI:").partition(".")[0].lower()
            found.append(Xid(address, int(number), switch, switch and ", Fatal," in said, line))
    return tuple(found)


def lines(data: bytes) -> tuple[str, ...]:
    """Give the lines about GPU drivers, module loading and denials, in order, without their time and host.

    At most the first 1000 and the last 3000 are kept, and 1000 characters of each.
    """
    starts: set[int] = set()
    for needle in _NEEDLES:
        at = data.find(needle)
        while at >= 0:
            starts.add(data.rfind(b"\n", 0, at) + 1)
            end = data.find(b"\n", at)
            at = data.find(needle, end) if end >= 0 else -1
    kept = sorted(starts)
    if len(kept) > _FIRST + _LAST:
        kept = kept[:_FIRST] + kept[-_LAST:]
    return tuple(_message(data, start) for start in kept)


def _message(data: bytes, start: int) -> str:
    """Give the line that begins at an offset without what dmesg, kmsg, journald and syslog put before it."""
    end = data.find(b"\n", start)
    end = len(data) if end < 0 else end
    line = text(data[start : min(end, start + _WIDTH + 200)]).strip()
    # syslog and journald: "Nov 20 10:11:12 host kernel: …"
    host = line.find(" kernel: ", 0, 100)
    if host >= 0:
        line = line[host + 9 :]
    # /dev/kmsg: "4,1234,5678901,-;message"
    fields, semicolon, rest = line.partition(";")
    if semicolon and fields[:1].isdigit() and fields.count(",") >= 3 and " " not in fields:
        line = rest
    # dmesg --decode: "kern  :warn  : [  12.345678] message"
    if line.startswith("kern ") and " : " in line[:20]:
        line = line.partition(" : ")[2]
    # "<4>" and one or more of "[   12.345678]", "[  T123]", "[Mon Nov 23 10:11:12 2026]"
    if line.startswith("<"):
        level, closing, rest = line[1:].partition(">")
        line = rest if closing and level.isdigit() else line
    line = line.lstrip()
    while line.startswith("["):
        stamp, closing, rest = line[1:].partition("]")
        if not closing or not stamp.strip().lstrip("TC").replace(".", "").replace(":", "").replace(" ", "").isalnum():
            break
        if not stamp[-1:].isdigit():
            break
        line = rest.lstrip()
    return line[:_WIDTH]
