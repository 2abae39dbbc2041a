"""A bundle's archive taken apart safely: tar, plain or compressed, and zip.

Whoever made the archive may mean harm, so nothing is written outside the folder: names are taken literally and refused where they lead
out, links must stay inside, and nothing is written through a link. Sizes are counted as they are written, not as they are declared.
Headers are read here, because tarfile reads a long name's header into memory whatever its length says.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn, Protocol

from gpudoctor.bundle import Place, zips
from gpudoctor.bundle.files import Files, Leaves
from gpudoctor.bundle.layouts import parts

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Callable, Iterator

MOST_MEMBERS = 100_000
MOST_BYTES = 20 * 1024**3
MOST_RATIO = 1_000
"""Bytes out for one byte in; zeros reach this with gzip, models do not."""
RATIO_COUNTS_FROM = 256 * 1024**2
KEPT_FREE = 256 * 1024**2
"""Bytes that stay free on the disk."""
_MOST_LEVELS = 60
_LONGEST_HEADER = 1024 * 1024
_PIECE = 1024 * 1024
_XZ_MEMORY = 96 * 1024**2
"""What the decompressor of xz may take; its strongest preset takes 65 MiB."""
_FORMS = (
    (b"\x1f\x8b", "gzip"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"BZh", "bzip2"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"Rar!\x1a\x07", "rar"),
    (b"\x04\x22\x4d\x18", "lz4"),
)
_NAMES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2", ".tar.zst", ".zip", ".bento", ".7z", ".rar")
_UNPACK_IT = "Unpack it yourself into a new folder, and give that folder."


class _Source(Protocol):
    """What a tar is read from."""

    def read(self, size: int, /) -> bytes: ...


def is_archive(files: Files, name: str) -> bool:
    """Tell whether a file is an archive, by its first bytes or its name; also one of a kind that cannot be unpacked here."""
    return bool(_form(parts.content(files, name, 512) or b"")) or name.lower().endswith(_NAMES)


def _form(head: bytes) -> str:
    found = next((form for magic, form in _FORMS if head.startswith(magic)), "")
    return found or ("tar" if head[257:262] == b"ustar" else "")


def unpacked(path: str, into: str) -> str:
    """Unpack an archive into a fresh folder and return that folder.

    Raises NotABundle: ``archive-unsafe`` for what leads out of the folder or is too much, ``archive-unreadable`` for damage, a password,
    a kind that is not known, or no space. What was written so far stays for the caller to remove with the folder.
    """
    into = os.path.realpath(into)
    writer = _Writer(path, into)
    try:
        with open(path, "rb") as stream:
            head = stream.read(512)
            stream.seek(0)
            _take_apart(stream, _form(head), writer)
    except OSError as error:
        _unreadable(path, f"it cannot be unpacked: {(error.strerror or str(error)).lower()}")
    except MemoryError:
        _unsafe(path, "it wants more memory than any archive of a bundle does")
    writer.finish()
    return into


def _take_apart(stream: BinaryIO, form: str, writer: _Writer) -> None:
    import zlib

    if not form:
        _unreadable(writer.archive, "it is neither a tar nor a zip, by its first bytes" if stream.read(1) else "it is empty")
    if form in {"7z", "rar", "lz4"}:
        _unreadable(writer.archive, f"it is a {form} archive, which is not unpacked here", _UNPACK_IT)
    if form == "zip":
        _zip(stream, writer)
        return
    try:
        _tar(_opened(stream, form, writer.archive), writer)
    except (EOFError, zlib.error, ValueError) as error:
        _unreadable(writer.archive, f"it is damaged or cut off: {error}")


def _opened(stream: BinaryIO, form: str, archive: str) -> _Source:
    """Return the decompressed bytes of a stream; errors of the damaged are OSError, EOFError, ValueError or zlib.error."""
    if form == "gzip":
        import gzip

        return gzip.GzipFile(fileobj=stream, mode="rb")
    if form == "bzip2":
        import bz2

        return bz2.BZ2File(stream)
    if form == "xz":
        return _Xz(stream)
    if form == "zstd":
        try:
            from compression import zstd  # type: ignore[import-not-found,unused-ignore]  # Python 3.14
        except ImportError:
            _unreadable(
                archive, "it is compressed with zstd, which this Python cannot read", "Unpack it yourself: tar --zstd -xf FILE."
            )
        source: _Source = zstd.ZstdFile(stream)
        return source
    return stream


class _Xz:
    """lzma.LZMAFile with a limit on memory, which an archive sets for its reader and may set to 4 GiB."""

    def __init__(self, stream: BinaryIO) -> None:
        import lzma

        self.stream = stream
        self.make: Callable[[], Any] = lambda: lzma.LZMADecompressor(memlimit=_XZ_MEMORY)
        self.error = lzma.LZMAError
        self.machine = self.make()
        self.rest = b""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes, nothing at the end."""
        while True:
            if self.machine.eof:
                # Streams may follow each other, with zeros between.
                self.rest = (self.machine.unused_data or self.stream.read(65536)).lstrip(b"\0")
                if not self.rest:
                    return b""
                self.machine = self.make()
            given = b""
            if self.machine.needs_input:
                given, self.rest = self.rest or self.stream.read(65536), b""
                if not given:
                    raise EOFError("the compressed data end too early")
            try:
                made = self.machine.decompress(given, size)
            except self.error as error:
                raise ValueError(str(error)) from None
            if made:
                return made


def _unsafe(archive: str, why: str) -> NoReturn:
    cure = "Do not use it, unless you know who made it and why it is so. A bundle that BentoML, MLflow or Triton wrote has nothing of it."
    parts.refuse(f"The archive is not safe to unpack: {why}.", Place(archive), cure, "archive-unsafe")


def _unreadable(archive: str, why: str, cure: str = "Get the file again and compare its size and checksum.") -> NoReturn:
    parts.refuse(f"The archive cannot be read: {why}.", Place(archive), cure, "archive-unreadable")


class _Writer:
    """Writes members below a folder, and counts."""

    def __init__(self, archive: str, into: str) -> None:
        self.archive = archive
        self.into = into
        self.members = 0
        self.written = 0
        self.links: list[str] = []
        self.files = Files(into)
        try:
            self.size = max(os.stat(archive).st_size, 1)
        except OSError:
            self.size = 1
        self.folders: set[str] = set()

    def count(self) -> None:
        """Count a member."""
        self.members += 1
        if self.members > MOST_MEMBERS:
            _unsafe(self.archive, f"it has more than {MOST_MEMBERS} members")

    def path(self, name: str) -> str:
        """Return a member's path as it is below the folder, "" for the folder itself; what leads out is refused."""
        shown = "".join(sign if sign.isprintable() else "?" for sign in name[:200])
        if "\0" in name or len(name) > 4000:
            _unsafe(self.archive, f"the name {shown} is none that a file can have")
        if name.startswith("/"):
            _unsafe(self.archive, f"{shown} has an absolute name")
        pieces = [piece for piece in name.split("/") if piece not in {"", "."}]
        if ".." in pieces:
            _unsafe(self.archive, f"{shown} leads out of the folder")
        if len(pieces) > _MOST_LEVELS:
            _unsafe(self.archive, f"{shown[:60]} is more than {_MOST_LEVELS} folders deep")
        return "/".join(pieces)

    def folder(self, path: str) -> None:
        """Make a folder and those above it; none of them may be a link."""
        made = ""
        for piece in path.split("/") if path else ():
            made = f"{made}/{piece}" if made else piece
            if made in self.folders:
                continue
            where = os.path.join(self.into, made)
            if os.path.islink(where):
                _unsafe(self.archive, f"{made} is a link, and another member is to be written through it")
            try:
                os.mkdir(where)
                os.chmod(where, 0o755)  # noqa: S103
            except FileExistsError:
                if not os.path.isdir(where):
                    _unreadable(self.archive, f"{made} is a file and a folder")
            self.folders.add(made)

    def file(self, name: str, pieces: Iterator[bytes], *, runs: bool) -> None:
        """Write a regular file; of two of one name the later one stays, as with tar."""
        path = self._free(name)
        handle = os.open(
            os.path.join(self.into, path),
            os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC,
            0o600,
        )
        with os.fdopen(handle, "wb") as out:
            os.fchmod(handle, 0o755 if runs else 0o644)
            for piece in pieces:
                self._room(len(piece))
                out.write(piece)

    def link(self, name: str, target: str) -> None:
        """Make a symbolic link; where it leads is looked at once everything is there."""
        path = self._free(name)
        if target.startswith("/") or "\0" in target or not target:
            _unsafe(self.archive, f"{path} is a link to {target[:200]}, outside the folder")
        os.symlink(target, os.path.join(self.into, path))
        self.links.append(path)

    def again(self, name: str, target: str) -> None:
        """Write a hard link, as a copy of the earlier member that it names."""
        origin = self.path(target)
        try:
            stream = self.files.open(origin)
        except Leaves:
            _unsafe(self.archive, f"{name} is a hard link to {origin}, which leads out of the folder")
        except OSError:
            _unreadable(self.archive, f"{name} is a hard link to {origin}, which is no earlier file in it")
        with stream:
            if self.path(name) == origin:
                return
            self.file(name, iter(lambda: stream.read(_PIECE), b""), runs=False)

    def finish(self) -> None:
        """Refuse links that lead out: by their text alone this cannot be told, because a link may lead through another."""
        for path in self.links:
            entry = self.files.entry(path)
            if entry is not None and entry.kind == "link":
                _unsafe(self.archive, f"{path} is a link to {entry.target[:200]}, which leads out of the folder or to itself")

    def _free(self, name: str) -> str:
        path = self.path(name)
        if not path:
            _unreadable(self.archive, "a file in it has no name")
        self.folder(path.rpartition("/")[0])
        where = os.path.join(self.into, path)
        if os.path.lexists(where):
            if os.path.isdir(where) and not os.path.islink(where):
                _unreadable(self.archive, f"{path} is a folder and a file")
            os.unlink(where)
        return path

    def _room(self, size: int) -> None:
        before = self.written // (64 * _PIECE)
        self.written += size
        if self.written > MOST_BYTES:
            _unsafe(self.archive, f"it unpacks to more than {MOST_BYTES >> 30} GiB")
        if self.written > RATIO_COUNTS_FROM and self.written > MOST_RATIO * self.size:
            _unsafe(self.archive, f"it unpacks to more than {MOST_RATIO} times its size, as only made-up data do")
        if self.written // (64 * _PIECE) != before or size == self.written:
            about = os.statvfs(self.into)
            if about.f_bavail * about.f_frsize < KEPT_FREE + size:
                cure = f"Make space, or set TMPDIR to a folder with more; {KEPT_FREE >> 20} MiB stay free."
                _unreadable(self.archive, f"there is no space to unpack it below {os.path.dirname(self.into) or self.into}", cure)


def _exactly(source: _Source, size: int) -> bytes:
    """Return ``size`` bytes, fewer only at the end."""
    made = source.read(size)
    while made and len(made) < size:
        more = source.read(size - len(made))
        if not more:
            break
        made += more
    return made


def _pieces(source: _Source, size: int) -> Iterator[bytes]:
    """Yield a member's bytes, and skip what fills its last block."""
    left = size
    while left:
        piece = source.read(min(left, _PIECE))
        if not piece:
            raise EOFError("a member ends too early")
        left -= len(piece)
        yield piece
    if size % 512:
        _exactly(source, 512 - size % 512)


def _tar(source: _Source, writer: _Writer) -> None:
    """Write the members of a tar: ustar, with the long names of GNU and of POSIX."""
    import tarfile

    long: dict[str, str] = {}
    first = True
    while True:
        block = _exactly(source, 512)
        if len(block) < 512:
            if first or block:
                raise EOFError("it is no tar, or ends in the middle of a header")
            return
        if not block.strip(b"\0"):
            return
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            what = "what is compressed in it is no tar" if first else "a header in it is damaged"
            raise ValueError(f"{what} ({error})") from None
        first = False
        if info.type in b"xgLKX" and info.size > _LONGEST_HEADER:
            _unsafe(writer.archive, "the header of a name in it is larger than 1 MiB")
        if info.type in b"gX":
            _skip(source, info.size)
        elif info.type == b"x":
            long |= _pax(b"".join(_pieces(source, info.size)))
        elif info.type in b"LK":
            text = b"".join(_pieces(source, info.size)).rstrip(b"\0").decode("utf-8", "surrogateescape")
            long["path" if info.type == b"L" else "linkpath"] = text
        else:
            writer.count()
            _member(source, writer, info, long)
            long = {}


def _skip(source: _Source, size: int) -> None:
    for _ in _pieces(source, size):
        pass


def _pax(data: bytes) -> dict[str, str]:
    """Return the records of a POSIX header: ``length key=value``, a line each."""
    found = {}
    while data:
        digits, space, _ = data.partition(b" ")
        if not space or not digits.isdigit() or len(digits) > 7 or int(digits) <= len(digits) + 1:
            raise ValueError("a record of a long name is damaged")
        key, equals, value = data[len(digits) + 1 : int(digits) - 1].partition(b"=")
        if equals:
            found[key.decode("utf-8", "surrogateescape")] = value.decode("utf-8", "surrogateescape")
        data = data[int(digits) :]
    return found


def _member(source: _Source, writer: _Writer, info: Any, long: dict[str, str]) -> None:
    name = long.get("path", info.name)
    target = long.get("linkpath", info.linkname)
    said = long.get("size", "")
    size = int(said) if said.isascii() and said.isdigit() and len(said) < 19 else info.size
    if info.type == b"S" or any(key.startswith("GNU.sparse.") for key in long):
        _unreadable(writer.archive, f"{name} is stored with holes (sparse)", _UNPACK_IT)
    if info.type in b"0\0" + b"7" and not name.endswith("/"):
        writer.file(name, _pieces(source, size), runs=bool(info.mode & 0o100))
    elif info.type in {b"5", b"0", b"\0"}:
        writer.folder(writer.path(name))
        _skip(source, size)
    elif info.type == b"2":
        writer.link(name, target)
    elif info.type == b"1":
        writer.again(name, target)
    elif info.type in {b"3", b"4", b"6"}:
        what = {b"3": "a character device", b"4": "a block device", b"6": "a FIFO"}[info.type]
        _unsafe(writer.archive, f"{name} is {what}, which no bundle has")
    else:
        _unreadable(writer.archive, f"{name} is of a kind that is not known ({info.type!r})")


def _zip(stream: BinaryIO, writer: _Writer) -> None:
    """Write the members of a zip."""
    import zipfile
    import zlib

    # Looked at first, because zipfile reads the whole directory into memory.
    stream.seek(0, os.SEEK_END)
    if zips.members(stream, stream.tell()) is None:
        _unreadable(writer.archive, "the zip has no whole directory at its end, or one of more than 100,000 members")
    try:
        with zipfile.ZipFile(stream) as archive:
            for info in archive.infolist():
                writer.count()
                _zipped(archive, info, writer)
    # (zipfile says NotImplementedError of a way of packing that it does not know)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError, zlib.error, ValueError) as error:
        _unreadable(writer.archive, f"the zip is damaged, or compressed in a way that is not known: {error}")


def _zipped(archive: zipfile.ZipFile, info: zipfile.ZipInfo, writer: _Writer) -> None:
    if info.flag_bits & 1:
        _unreadable(writer.archive, "it has a password", _UNPACK_IT)
    # Programs of Windows write its separator, against the specification.
    name = info.filename.replace("\\", "/")
    mode = info.external_attr >> 16
    kind = mode & 0o170000
    if kind in {0o020000, 0o060000, 0o010000, 0o140000}:
        _unsafe(writer.archive, f"{name} is a device, a FIFO or a socket, which no bundle has")
    if name.endswith("/"):
        writer.folder(writer.path(name))
    elif kind == 0o120000:
        with archive.open(info) as stream:
            writer.link(name, stream.read(4096).decode("utf-8", "surrogateescape"))
    else:
        with archive.open(info) as stream:
            writer.file(name, iter(lambda: stream.read(_PIECE), b""), runs=bool(mode & 0o100))
