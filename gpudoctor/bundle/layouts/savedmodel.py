"""A TensorFlow SavedModel: a folder with ``saved_model.pb`` and ``variables/``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.bundle import Api, Artifact, Bundle, Place
from gpudoctor.bundle.files import Leaves

if TYPE_CHECKING:
    from gpudoctor.bundle.files import Files


def found(files: Files, path: str) -> Bundle | None:
    """Return the bundle that a SavedModel's folder is."""
    marker = next((name for name in ("saved_model.pb", "saved_model.pbtxt") if files.entry(name) is not None), "")
    if not marker:
        return None
    name = files.root.rpartition("/")[2]
    artifact = Artifact(name, "savedmodel", "", Place(marker))
    return Bundle("savedmodel", path, files.root, name, artifacts=(artifact,), apis=_apis(files, marker))


def _apis(files: Files, marker: str) -> tuple[Api, ...]:
    """Return the signatures, what TensorFlow Serving calls first; where they cannot be read, just that one."""
    from gpudoctor.bundle import savedmodel_pb

    entry = files.entry(marker)
    made: list[Api] = []
    if entry is not None and marker.endswith(".pb"):
        try:
            with files.open(marker) as stream:
                signatures = savedmodel_pb.read(stream, entry.size).signatures
        except (Leaves, OSError):
            signatures = ()
        # Names with two underscores are TensorFlow's own: how it restores variables.
        made = [
            Api(each.name, "", "Tensor", each.inputs, at=Place(marker)) for each in signatures if not each.name.startswith("__")
        ]
    made.sort(key=lambda api: api.name != "serving_default")
    return tuple(made) or (Api("serving_default", "", "Tensor", at=Place(marker)),)
