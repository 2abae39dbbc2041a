"""A safetensors file: a length of eight bytes, a header of JSON, and the tensors' bytes, whose last offset says where the file ends.

Source: safetensors' README (Format).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from typing import BinaryIO

_LONGEST = 4 * 1024 * 1024
"""Of a header that is read. One of a model of 70 thousand million parameters has a tenth of it."""
_REFUSED = 100 * 1000 * 1000
"""safetensors itself refuses a longer header."""


class Safetensors(NamedTuple):
    """Whether the file is whole; how many tensors it has, and of which types (``F16``, ``BF16``)."""

    state: Literal["whole", "truncated", "damaged", "unread"]
    problem: str
    tensors: int = 0
    types: tuple[str, ...] = ()


def read(stream: BinaryIO, size: int) -> Safetensors:
    """Return what the header of a safetensors file of ``size`` bytes says; OSError of reading passes."""
    from json import loads

    stream.seek(0)
    head = stream.read(8)
    length = int.from_bytes(head, "little")
    if len(head) < 8:
        return Safetensors("truncated", f"it ends at byte {size:,}, within the length of its header")
    if length > _REFUSED:
        return Safetensors(
            "damaged", f"its first eight bytes say that its header has {length:,} bytes, so it is no safetensors file"
        )
    if 8 + length > size:
        return Safetensors("truncated", f"it ends at byte {size:,}, and its header goes on to byte {8 + length:,}")
    if length > _LONGEST:
        return Safetensors("unread", f"its header has {length:,} bytes, more than are read")
    try:
        header = loads(stream.read(length))
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        return Safetensors("damaged", "its header is no JSON object")
    last, types, count = 0, set[str](), 0
    for name, tensor in header.items():
        if name == "__metadata__":
            continue
        end = _end(tensor)
        if end is None:
            return Safetensors("damaged", f"its header does not say where the tensor {str(name)[:80]} is")
        last = max(last, end)
        types.add(str(tensor.get("dtype"))[:20])
        count += 1
    if 8 + length + last > size:
        return Safetensors("truncated", f"it ends at byte {size:,}, and its tensors go on to byte {8 + length + last:,}", count)
    return Safetensors("whole", "", count, tuple(sorted(types)[:50]))


def _end(tensor: Any) -> int | None:
    """Return where a tensor's bytes end, of its description; None where that does not say so."""
    offsets = tensor.get("data_offsets") if isinstance(tensor, dict) else None
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(type(each) is int and each >= 0 for each in offsets):
        return None
    return int(max(offsets))
