"""A plain ONNX file. External data lies beside it, in the same folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.bundle import Api, Artifact, Bundle, Place
from gpudoctor.bundle.files import Leaves
from gpudoctor.bundle.layouts import parts

if TYPE_CHECKING:
    from gpudoctor.bundle import Tensor
    from gpudoctor.bundle.files import Files

_IR_VERSIONS = range(1, 40)


def found(files: Files, path: str) -> Bundle | None:
    """Return the bundle that one .onnx file is; a file of another name where its first bytes are those of a model."""
    if len(files.only) != 1:
        return None
    name = files.only[0]
    if not name.lower().endswith(".onnx") and not looks_like(parts.content(files, name, 64) or b""):
        return None
    inputs = tensors(files, name)
    stem = name[:-5] if name.lower().endswith(".onnx") else name
    api = Api("run", "", "tensor", inputs, "", Place(name))
    return Bundle("onnx", path, files.root, stem, artifacts=(Artifact(stem, "onnx", name, Place(name)),), apis=(api,))


def looks_like(head: bytes) -> bool:
    """Tell whether bytes begin as every exporter's file does: field 1, the IR version, and then a text, the graph or the operator sets."""
    return len(head) > 8 and head[0] == 0x08 and head[1] in _IR_VERSIONS and head[2] in {0x12, 0x1A, 0x22, 0x3A, 0x42}


def tensors(files: Files, path: str) -> tuple[Tensor, ...]:
    """Return the inputs that the model declares; none where it cannot be read, which the check of the artifacts tells."""
    from gpudoctor.bundle import onnxfile

    entry = files.entry(path)
    if entry is None:
        return ()
    try:
        with files.open(path) as stream:
            return tuple(onnxfile.read(stream, entry.size).inputs)
    except (Leaves, OSError, ValueError):
        return ()
