"""What a model file really is, by its bytes: read once a file, for several checks ask.

The reader is chosen by what the bundle says that a file is, and by how it begins. Nothing is loaded; a file of five gigabytes is not
read whole where its format does not need that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from gpudoctor.bundle.files import Leaves
from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from typing import BinaryIO

    from gpudoctor.bundle import ArtifactKind
    from gpudoctor.bundle.files import Files
    from gpudoctor.bundle.onnxfile import Model
    from gpudoctor.bundle.pickles import Pickle
    from gpudoctor.bundle.savedmodel_pb import SavedModel
    from gpudoctor.bundle.torchzip import Zip

_LFS = b"version https://git-lfs.github.com/spec/"
_MOST_UNPACKED = 24 * 1024 * 1024
_MOST_JSON = 4 * 1024 * 1024
_PICKLED = frozenset({"torch-pickle", "torchscript", "torch-export", "pickle"})
_PACKED: tuple[tuple[bytes, str], ...] = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bz2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"]\x00\x00", "lzma"),
    (b"\x28\xb5\x2f\xfd", "zstandard"),
    (b"\x04\x22\x4d\x18", "lz4"),
)
_FOREIGN: tuple[tuple[bytes, str], ...] = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x7fELF", "a program or library (ELF)"),
    (b"GGUF", "weights for llama.cpp (GGUF)"),
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "a picture (PNG)"),
    (b"#!", "a script"),
    *((magic, f"a file packed by {name}") for magic, name in _PACKED),
)


class Content(NamedTuple):
    """What was found in a file.

    ``what``: ``absent``; ``folder``; ``unreadable`` (``problem`` says why); ``empty``; ``git-lfs``; ``foreign``: something else than
    the bundle says, which ``problem`` names ("an HTML page"); or the format that was read. ``state`` and ``problem`` are those of the
    reader. Of a zip that does not begin as one there is a ``pickle`` too: which of the two is loaded depends on who loads it.
    """

    what: Literal[
        "absent",
        "folder",
        "unreadable",
        "empty",
        "git-lfs",
        "foreign",
        "onnx",
        "pickle",
        "zip",
        "hdf5",
        "safetensors",
        "savedmodel",
        "json",
        "other",
    ]
    state: Literal["whole", "truncated", "damaged", "unread"] = "whole"
    problem: str = ""
    size: int = 0
    onnx: Model | None = None
    pickle: Pickle | None = None
    zip: Zip | None = None
    savedmodel: SavedModel | None = None


_kept: list[tuple[Files, dict[tuple[str, str], Content]]] = []
"""Of the bundle asked about last, and of no other: a process may look at thousands."""


def of(files: Files, path: str, kind: ArtifactKind) -> Content:
    """Return what is in a file of a bundle that says it is of this kind; never raises."""
    if not _kept or _kept[0][0] is not files:
        _kept[:] = [(files, {})]
    memo = _kept[0][1]
    if (path, kind) not in memo:
        memo[path, kind] = _read(files, path, kind)
    return memo[path, kind]


def _read(files: Files, path: str, kind: ArtifactKind) -> Content:
    entry = files.entry(path)
    if entry is None:
        return Content("absent")
    if entry.kind == "dir":
        return Content("folder")
    try:
        with files.open(path) as stream:
            return _file(stream, stream.seek(0, 2), kind)
    except Leaves:
        return Content("unreadable", problem="it leads out of the bundle")
    except OSError as error:
        return Content("unreadable", problem=error.strerror or str(error))


def _file(stream: BinaryIO, size: int, kind: ArtifactKind) -> Content:
    stream.seek(0)
    head = stream.read(512)
    if not size:
        return Content("empty")
    if head.startswith(_LFS):
        return Content("git-lfs", problem=_lfs_size(head), size=size)
    if kind in _PICKLED or (kind == "unknown" and (head[:1] == b"\x80" or head.startswith(b"PK\x03\x04"))):
        return _pickled(stream, size, head, kind)
    foreign = _foreign(head)
    if kind == "onnx":
        return _onnx(stream, size, head, foreign)
    if kind == "keras-h5":
        return _keras(stream, size, head, foreign)
    if kind == "safetensors":
        from gpudoctor.bundle import safetensors

        tensors = safetensors.read(stream, size)
        return Content("safetensors", tensors.state, tensors.problem, size)
    if kind == "savedmodel":
        from gpudoctor.bundle import savedmodel_pb

        if foreign:
            return Content("foreign", problem=foreign, size=size)
        model = savedmodel_pb.read(stream, size)
        return Content("savedmodel", model.state, model.problem, size, savedmodel=model)
    if kind == "json":
        return _json(stream, size)
    return Content("other", size=size)


def _pickled(stream: BinaryIO, size: int, head: bytes, kind: ArtifactKind) -> Content:
    """Read a zip of torch's or a pickle; or both, where Python's zipfile takes for a zip what begins as something else."""
    from gpudoctor.bundle import pickles, torchzip, zips

    if head.startswith(zips.MAGIC):
        archive = torchzip.read(stream)
        return Content("zip", archive.state, archive.problem, size, zip=archive)
    unpacker = next((name for magic, name in _PACKED if head.startswith(magic)), "")
    if not unpacker and head[0] & 0x0F == 8 and len(head) > 1 and int.from_bytes(head[:2], "big") % 31 == 0:
        unpacker = "zlib"
    if unpacker:
        return _unpacked(stream, size, unpacker)
    foreign = _foreign(head)
    if foreign and kind != "unknown":
        return Content("foreign", problem=foreign, size=size)
    walked = pickles.walk(stream, 0, size)
    archive_too = torchzip.read(stream) if zips.is_zip(stream) else None
    return Content("pickle", walked.state, walked.problem, size, pickle=walked, zip=archive_too)


def _unpacked(stream: BinaryIO, size: int, unpacker: str) -> Content:
    """Walk a pickle that joblib or its user has packed; what unpacks to more than is held in memory is not examined."""
    from io import BytesIO

    from gpudoctor.bundle import pickles

    stream.seek(0)
    unpack: Any
    if unpacker in {"zlib", "gzip"}:
        import zlib

        unpack = zlib.decompressobj(47)  # 47: by zlib or by gzip, whichever it is.
    elif unpacker == "bz2":
        import bz2

        unpack = bz2.BZ2Decompressor()
    elif unpacker in {"xz", "lzma"}:
        import lzma

        unpack = lzma.LZMADecompressor(memlimit=_MOST_UNPACKED * 2)
    else:
        return Content("pickle", "unread", f"it is packed by {unpacker}, which is not unpacked here", size)
    whole = BytesIO()
    try:
        while whole.tell() <= _MOST_UNPACKED and not unpack.eof:
            data = getattr(unpack, "unconsumed_tail", b"")
            if not data and getattr(unpack, "needs_input", True):
                data = stream.read(64 * 1024)
                if not data:
                    return Content("pickle", "truncated", f"it ends at byte {size:,}, within what {unpacker} has packed", size)
            whole.write(unpack.decompress(data, 1024 * 1024))
    except Exception as broken:  # noqa: BLE001 - each of the modules has an error of its own, and lzma a MemoryError
        return Content("pickle", "damaged", f"it cannot be unpacked by {unpacker}: {str(broken)[:100]}", size)
    if not unpack.eof:
        return Content("pickle", "unread", f"it unpacks to more than {_MOST_UNPACKED >> 20} MiB, which is not examined", size)
    walked = pickles.walk(whole)
    return Content("pickle", walked.state, walked.problem, size, pickle=walked)


def _onnx(stream: BinaryIO, size: int, head: bytes, foreign: str) -> Content:
    from gpudoctor.bundle import onnxfile

    if head[4:8] == b"ORTM":
        return Content("foreign", problem="a model in ONNX Runtime's own format (.ort)", size=size)
    if foreign:
        return Content("foreign", problem=foreign, size=size)
    model = onnxfile.read(stream, size)
    return Content("onnx", model.state, model.problem, size, onnx=model)


def _keras(stream: BinaryIO, size: int, head: bytes, foreign: str) -> Content:
    from gpudoctor.bundle import h5, torchzip, zips

    if head.startswith(zips.MAGIC):
        archive = torchzip.read(stream)
        return Content("zip", archive.state, archive.problem, size, zip=archive)
    read = h5.read(stream, size)
    if read.state == "damaged" and foreign and not head.startswith(h5.SIGNATURE):
        return Content("foreign", problem=foreign, size=size)
    return Content("hdf5", read.state, read.problem, size)


def _json(stream: BinaryIO, size: int) -> Content:
    if size > _MOST_JSON:
        return Content("json", "unread", f"it has {size:,} bytes, more than are read", size)
    from json import loads

    stream.seek(0)
    try:
        loads(stream.read())
    except RecursionError:
        return Content("json", "unread", "it is nested deeper than can be read", size)
    except ValueError as error:
        return Content("json", "truncated", f"it is no whole JSON: {str(error)[:100]}", size)
    return Content("json", size=size)


def _foreign(head: bytes) -> str:
    """Return what bytes are the beginning of, "" where they are not of a kind that is mistaken for a model."""
    for magic, what in _FOREIGN:
        if head.startswith(magic):
            return what
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    low = start[:64].lower()
    if low.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "an HTML page"
    if low.startswith((b"<?xml", b"<error")):
        return "an XML document"
    if (start[:1] == b"{" and start[1:].lstrip()[:1] in {b'"', b"}"}) or start[:2] in {b'["', b"[{"}:
        return "JSON text"
    return ""


def _lfs_size(head: bytes) -> str:
    """Return the size of the file that a pointer of git-lfs stands for, as text, "" where it does not say."""
    at = head.find(b"\nsize ")
    digits = head[at + 6 :].split(b"\n")[0].strip() if at >= 0 else b""
    return f"{int(digits):,}" if digits.isdigit() and len(digits) < 20 else ""
