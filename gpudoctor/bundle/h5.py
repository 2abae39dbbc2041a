"""An HDF5 file (Keras's ``.h5``): whether it is whole. Its superblock says where the file ends, so nothing else has to be read.

Source: HDF5 File Format Specification 3.0, section II.A (superblock versions 0 to 3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from typing import BinaryIO

SIGNATURE = b"\x89HDF\r\n\x1a\n"


class Hdf5(NamedTuple):
    """Whether the file is whole, and if not, why."""

    state: Literal["whole", "truncated", "damaged"]
    problem: str


def read(stream: BinaryIO, size: int) -> Hdf5:
    """Return what the superblock of an HDF5 file of ``size`` bytes says; OSError of reading passes."""
    # A user block may stand before it: the signature is at 0, 512, 1024 and so on, doubled each time.
    start = 0
    while start < size and start <= 1 << 30:
        stream.seek(start)
        head = stream.read(128)
        if head.startswith(SIGNATURE):
            return _superblock(head, start, size)
        start = start * 2 or 512
    return Hdf5("damaged", "it does not begin as an HDF5 file does")


def _superblock(head: bytes, start: int, size: int) -> Hdf5:
    version = head[8] if len(head) > 8 else 255
    if version in {0, 1}:
        width, at = head[13:14], 24 if version == 0 else 28
    elif version in {2, 3}:
        width, at = head[9:10], 12
    elif len(head) < 9:
        return Hdf5("truncated", f"it ends at byte {size:,}, within its superblock")
    else:
        return Hdf5("damaged", f"its superblock is of version {version}, and the newest is 3")
    if width not in {b"\x02", b"\x04", b"\x08", b""}:
        return Hdf5("damaged", f"its superblock has addresses of {width[0]} bytes")
    step = width[0] if width else 8
    base = head[at : at + step]
    end = head[at + 2 * step : at + 3 * step]
    if len(end) < step:
        return Hdf5("truncated", f"it ends at byte {size:,}, within its superblock")
    # The address is relative to the base address; an undefined one (all ones) says nothing.
    last = int.from_bytes(end, "little") + int.from_bytes(base, "little")
    if end == b"\xff" * step:
        return Hdf5("damaged", "its superblock does not say where it ends: it was not closed")
    last = max(last, int.from_bytes(end, "little") + start)
    if last > size:
        return Hdf5("truncated", f"it ends at byte {size:,}, and its superblock says that it ends at byte {last:,}")
    return Hdf5("whole", "")
