"""The dynamic loader's cache: `ldconfig -p` as text, or /etc/ld.so.cache as bytes.

A library name can have several entries: one for each architecture and CPU level. Those of 64-bit x86 and ARM
come first, because a container's CUDA is 64-bit.
"""

from __future__ import annotations

from gpudoctor.formats import Malformed, text

_MAGIC = b"glibc-ld.so.cache1.1"
_HEADER = 48
_ENTRY = 24
# The architecture byte of an entry's flags: x86-64 and AArch64 (glibc, sysdeps/generic/ldconfig.h).
_WIDE = (0x03, 0x0A)
_MOST = 100_000


def from_listing(listing: str) -> dict[str, tuple[str, ...]]:
    """Give the paths of each library name from `ldconfig -p`; lines of another form are skipped."""
    wide: dict[str, tuple[str, ...]] = {}
    narrow: dict[str, tuple[str, ...]] = {}
    for line in listing.splitlines():
        left, arrow, path = line.strip().partition(" => ")
        name, bracket, flags = left.partition(" (")
        if arrow and bracket and name:
            _add(wide if "x86-64" in flags or "AArch64" in flags else narrow, name, path)
    return _merged(wide, narrow)


def from_cache(data: bytes, prefixes: tuple[str, ...] = ()) -> dict[str, tuple[str, ...]]:
    """Give the paths of each library name from /etc/ld.so.cache, little-endian, also behind the old header.

    `prefixes` keeps only the names that begin with one of them: a desktop has thousands of others. Raises
    `Malformed` where the magic is missing or the file ends too early.
    """
    import struct

    begin = data.find(_MAGIC)
    if begin < 0 or (begin > 0 and not data.startswith(b"ld.so-1.7.0")):
        raise Malformed("not a cache of the dynamic loader")
    # Offsets in the entries count from the start of the new header.
    cache = data[begin:]
    if len(cache) < _HEADER:
        raise Malformed("the cache ends inside its header")
    (count,) = struct.unpack_from("<I", cache, len(_MAGIC))
    if count > _MOST or _HEADER + count * _ENTRY > len(cache):
        raise Malformed("the cache ends before its last entry")
    wanted = tuple(prefix.encode() for prefix in prefixes) or (b"",)
    wide: dict[str, tuple[str, ...]] = {}
    narrow: dict[str, tuple[str, ...]] = {}
    for flags, key, value in struct.iter_unpack("<iII12x", cache[_HEADER : _HEADER + count * _ENTRY]):
        if cache.startswith(wanted, key):
            _add(wide if flags >> 8 & 0xFF in _WIDE else narrow, _string(cache, key), _string(cache, value))
    return _merged(wide, narrow)


def _string(cache: bytes, offset: int) -> str:
    """Read the text that ends with a NUL."""
    end = cache.find(b"\0", offset, offset + 4096)
    if end < 0:
        raise Malformed("a name in the cache has no end")
    return text(cache[offset:end])


def _add(into: dict[str, tuple[str, ...]], name: str, path: str) -> None:
    """Add a path once."""
    have = into.get(name, ())
    if path not in have:
        into[name] = (*have, path)


def _merged(first: dict[str, tuple[str, ...]], then: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Put the paths of one map behind those of the other."""
    for name, paths in then.items():
        first[name] = first.get(name, ()) + tuple(path for path in paths if path not in first.get(name, ()))
    return first
