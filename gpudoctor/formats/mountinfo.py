"""/proc/self/mountinfo (proc(5)): what is mounted where, and by that which cgroup hierarchy is in force."""

from __future__ import annotations

from typing import Literal

from gpudoctor.formats import text
from gpudoctor.values import NamedTuple

_CGROUP = b"/sys/fs/cgroup"


class Mount(NamedTuple):
    """One mount. `options` are those of the mount, then those of the file system that do not repeat them."""

    id: int
    point: str
    root: str
    fstype: str
    source: str
    options: tuple[str, ...]


def parse(data: bytes) -> tuple[Mount, ...]:
    """Parse every line, in order; lines that do not have the form are skipped.

    Of two mounts on one point the later one lies on top.
    """
    return tuple(mount for line in data.split(b"\n") if (mount := _mount(line)))


def cgroup_mode(data: bytes) -> Literal["v2", "hybrid", "v1"] | None:
    """Tell the cgroup hierarchy: cgroup2 on /sys/fs/cgroup is v2; a cgroup2 on its `unified` is hybrid.

    v1 is a controller mounted below /sys/fs/cgroup without either. None where no cgroup is mounted there.
    Only the lines that name /sys/fs/cgroup are parsed: a busy Docker host has thousands of others.
    """
    mounts: dict[str, str] = {}
    needle = b" " + _CGROUP
    at = data.find(needle)
    while at >= 0:
        end = data.find(b"\n", at)
        end = end if end >= 0 else len(data)
        mount = _mount(data[data.rfind(b"\n", 0, at) + 1 : end])
        if mount:
            mounts[mount.point] = mount.fstype
        at = data.find(needle, end)
    top = _CGROUP.decode()
    if mounts.get(top) == "cgroup2":
        return "v2"
    if mounts.get(f"{top}/unified") == "cgroup2":
        return "hybrid"
    return "v1" if "cgroup" in mounts.values() else None


def _mount(line: bytes) -> Mount | None:
    """Parse one line; None where it has not the form."""
    left, separator, right = line.partition(b" - ")
    before, after = left.split(b" "), right.split(b" ")
    if not separator or len(before) < 6 or len(after) < 2 or not before[0].isdigit():
        return None
    own = text(before[5]).split(",")
    shared = text(after[2]).split(",") if len(after) > 2 else []
    return Mount(
        int(before[0]),
        _decoded(before[4]),
        _decoded(before[3]),
        _decoded(after[0]),
        _decoded(after[1]),
        tuple(own + [option for option in shared if option not in own]),
    )


def _decoded(field: bytes) -> str:
    r"""Decode the kernel's escapes for space, tab, newline and backslash (`\040`)."""
    if b"\\" in field:
        first, *rest = field.split(b"\\")
        for part in rest:
            code = part[:3]
            if len(code) == 3 and code[:1] in b"0123" and all(digit in b"01234567" for digit in code):
                first += bytes([int(code, 8)]) + part[3:]
            else:
                first += b"\\" + part
        field = first
    return text(field)
