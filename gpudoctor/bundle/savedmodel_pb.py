"""TensorFlow's ``saved_model.pb``: whether it is whole, and what its signatures take and give.

Field numbers: tensorflow/core/protobuf/saved_model.proto, meta_graph.proto; types: tensorflow/core/framework/types.proto.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.bundle import Tensor
from gpudoctor.bundle.protobuf import Message, outcome
from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from typing import BinaryIO

    from gpudoctor.bundle.protobuf import State

_TYPES = {
    1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 7: "str", 8: "complex64", 9: "int64", 10: "bool",
    14: "bfloat16", 17: "uint16", 18: "complex128", 19: "float16", 22: "uint32", 23: "uint64",
}  # fmt: skip


class Signature(NamedTuple):
    """One function that can be called: its name (``serving_default``), what it takes and gives."""

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class SavedModel(NamedTuple):
    """What the file says. ``state`` and ``problem`` as for ``onnxfile.Model``; ``tensorflow``: the version that wrote it."""

    state: State
    problem: str
    tensorflow: str
    tags: tuple[str, ...]
    signatures: tuple[Signature, ...]


def read(stream: BinaryIO, size: int) -> SavedModel:
    """Return what the ``saved_model.pb`` of ``size`` bytes says. Never raises for what the bytes are; OSError of reading passes."""
    reader = _Reader(stream, size)
    state, problem = outcome(reader.saved_model)
    if state == "whole" and not reader.graphs:
        state, problem = "damaged", "it has no graph"
    return SavedModel(state, problem, reader.tensorflow, tuple(sorted(reader.tags)), tuple(reader.signatures))


class _Reader(Message):
    """Walks the messages of one file and keeps what they say."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        super().__init__(stream, size)
        self.graphs = 0
        self.tensorflow = ""
        self.tags: set[str] = set()
        self.signatures: list[Signature] = []

    def saved_model(self) -> None:
        """Read SavedModel."""
        for number, wire, value in self.fields(self.size):
            if number == 2 and wire == 2:
                self.graphs += 1
                self.meta_graph(self.end(value))

    def meta_graph(self, end: int) -> None:
        """Read MetaGraphDef; of its graph only the length."""
        for number, wire, value in self.fields(end):
            if wire != 2:
                continue
            if number == 1:
                self.meta_info(self.end(value))
            elif number == 5:
                self.signature(self.end(value))

    def meta_info(self, end: int) -> None:
        """Read MetaInfoDef."""
        for number, wire, value in self.fields(end):
            if wire == 2 and number == 4:
                tag = self.text(value)
                self.hold(tag)
                self.tags.add(tag)
            elif wire == 2 and number == 5:
                self.tensorflow = self.text(value)

    def signature(self, end: int) -> None:
        """Read one entry of the map of SignatureDef."""
        name = ""
        tensors: tuple[list[Tensor], list[Tensor]] = ([], [])
        for number, wire, value in self.fields(end):
            if number == 1 and wire == 2:
                name = self.text(value)
            elif number == 2 and wire == 2:
                for inner, inner_wire, inner_value in self.fields(self.end(value)):
                    if inner in {1, 2} and inner_wire == 2:
                        tensors[inner - 1].append(self.tensor(self.end(inner_value)))
        self.hold(name)
        self.signatures.append(Signature(name, tuple(sorted(tensors[0])), tuple(sorted(tensors[1]))))

    def tensor(self, end: int) -> Tensor:
        """Read one entry of the map of TensorInfo."""
        name = dtype = ""
        shape: tuple[int | str | None, ...] | None = None
        for number, wire, value in self.fields(end):
            if number == 1 and wire == 2:
                name = self.text(value)
            elif number == 2 and wire == 2:
                for inner, inner_wire, inner_value in self.fields(self.end(value)):
                    if inner == 2 and inner_wire == 0:
                        dtype = _TYPES.get(inner_value, "")
                    elif inner == 3 and inner_wire == 2:
                        shape = self.shape(self.end(inner_value))
        self.hold(name)
        return Tensor(name, dtype, shape)

    def shape(self, end: int) -> tuple[int | str | None, ...] | None:
        """Read TensorShapeProto, in which -1 is a free dimension."""
        dimensions: list[int | str | None] = []
        unknown = False
        for number, wire, value in self.fields(end):
            if number == 3 and wire == 0:
                unknown = bool(value)
            elif number == 2 and wire == 2:
                size: int | None = 0
                for inner, inner_wire, inner_value in self.fields(self.end(value)):
                    if inner == 1 and inner_wire == 0:
                        size = inner_value if inner_value < 1 << 63 else None
                if len(dimensions) < 100:
                    dimensions.append(size)
        return None if unknown else tuple(dimensions)
