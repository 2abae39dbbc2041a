"""An ONNX model, read as the protocol buffer that it is: what it takes and gives, what runs it, and the files it needs beside it.

What a newcomer must know:

- Weights are passed over by seeking, so a model of two gigabytes costs no more than its nodes do. One that is cut off is seen by the
  length that its graph announces.
- Weights may lie in other files ("external data"). Their names are paths relative to the model's folder; whether they exist is for the
  caller to ask.
- Everything may be hostile: a name, a length, a nesting. What is read is bounded, and ``state`` says what became of it.

Field numbers: onnx/onnx.proto of ONNX 1.19 (ModelProto, GraphProto, NodeProto, AttributeProto, TensorProto, ValueInfoProto, TypeProto).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.bundle import Tensor
from gpudoctor.bundle.protobuf import Damaged, Message, outcome
from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from typing import BinaryIO

    from gpudoctor.bundle.protobuf import State

TYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    8: "str",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    14: "complex64",
    15: "complex128",
    16: "bfloat16",
    17: "float8_e4m3fn",
    18: "float8_e4m3fnuz",
    19: "float8_e5m2",
    20: "float8_e5m2fnuz",
    21: "uint4",
    22: "int4",
    23: "float4_e2m1fn",
    24: "float8_e8m0fnu",
    25: "uint2",
    26: "int2",
}
"""TensorProto.DataType, by numpy's (and ml_dtypes') names."""

_BITS = {
    "float32": 32, "uint8": 8, "int8": 8, "uint16": 16, "int16": 16, "int32": 32, "int64": 64, "bool": 8, "float16": 16,
    "float64": 64, "uint32": 32, "uint64": 64, "complex64": 64, "complex128": 128, "bfloat16": 16, "uint4": 4, "int4": 4,
    "float4_e2m1fn": 4, "uint2": 2, "int2": 2,
}  # fmt: skip
_MOST_NESTED = 40
_MOST_KINDS = 5_000


class External(NamedTuple):
    """A file that weights lie in: its path from the model's folder, how many bytes it must have, how many tensors are in it."""

    location: str
    needs: int
    tensors: int


class Operator(NamedTuple):
    """An operator that the model uses: its set ("" is ONNX's own), its name, and how many nodes have it."""

    domain: str
    name: str
    nodes: int


class Model(NamedTuple):
    """What an ONNX file says of itself.

    ``state``: ``whole``; ``truncated``: the file ends before what it announces; ``damaged``: it is no ONNX model, or a broken one;
    ``unread``: more than is worth reading. ``problem`` says it in words where it is not whole, and what follows is then a part.
    ``opsets``: pairs of an operator set and its version. ``inputs`` are what a caller must pass: weights that are listed among the
    inputs are left out. ``weights``: how many weights there are of each type. ``functions``: operators the model defines itself.
    """

    state: State
    problem: str
    ir: int
    producer: str
    opsets: tuple[tuple[str, int], ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    weights: tuple[tuple[str, int], ...]
    external: tuple[External, ...]
    functions: tuple[tuple[str, str], ...]

    @property
    def nodes(self) -> int:
        """Return how many nodes there are, those of inner graphs too."""
        return sum(each.nodes for each in self.operators)

    def opset(self) -> int:
        """Return the version of ONNX's own operator set, 0 where none is named."""
        return max((number for domain, number in self.opsets if domain in {"", "ai.onnx"}), default=0)


def read(stream: BinaryIO, size: int) -> Model:
    """Return what the ONNX model of ``size`` bytes in ``stream`` says. Never raises for what the bytes are; OSError of reading passes."""
    reader = _Reader(stream, size)
    state, problem = outcome(reader.model)
    if state == "whole" and not reader.has_graph:
        state, problem = "damaged", "it has no graph"
    elif state == "whole" and not reader.opsets:
        # The version of the operators stands behind the graph: a file cut off between the two is sound protobuf.
        state, problem = "truncated", f"it ends at byte {size} without naming the version of its operators"
    operators = tuple(Operator(domain, name, count) for (domain, name), count in sorted(reader.operators.items()))
    return Model(
        state,
        problem,
        reader.ir,
        reader.producer.strip(),
        tuple(sorted(reader.opsets.items())),
        tuple(each for each in reader.inputs if each.name not in reader.names),
        tuple(reader.outputs),
        operators,
        tuple(sorted(reader.weights.items())),
        tuple(External(location, needs, count) for location, (needs, count) in sorted(reader.external.items())),
        tuple(sorted(reader.functions)),
    )


class _Reader(Message):
    """Walks the messages of one file and keeps what they say."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        super().__init__(stream, size)
        self.ir = 0
        self.producer = ""
        self.has_graph = False
        self.opsets: dict[str, int] = {}
        self.inputs: list[Tensor] = []
        self.outputs: list[Tensor] = []
        self.operators: dict[tuple[str, str], int] = {}
        self.weights: dict[str, int] = {}
        self.external: dict[str, tuple[int, int]] = {}
        self.functions: set[tuple[str, str]] = set()
        self.names: set[str] = set()

    def model(self) -> None:
        """Read ModelProto."""
        for number, wire, value in self.fields(self.size):
            if number == 1 and wire == 0:
                self.ir = value
            elif wire != 2:
                continue
            elif number in {2, 3}:
                self.producer = f"{self.producer} {self.text(value)}"[:200]
            elif number == 7:
                self.has_graph = True
                self.graph(self.end(value), 0)
            elif number == 8:
                self.opset(self.end(value))
            elif number == 25:
                self.function(self.end(value))

    def opset(self, end: int) -> None:
        """Read OperatorSetIdProto."""
        domain, version = "", 0
        for number, wire, value in self.fields(end):
            if number == 1 and wire == 2:
                domain = self.text(value)
            elif number == 2 and wire == 0:
                version = value
        if len(self.opsets) < _MOST_KINDS:
            self.hold(domain)
            self.opsets[domain] = max(version, self.opsets.get(domain, 0))

    def function(self, end: int) -> None:
        """Read FunctionProto: an operator that the model brings along, made of others."""
        name = domain = ""
        for number, wire, value in self.fields(end):
            if wire != 2:
                continue
            if number == 1:
                name = self.text(value)
            elif number == 10:
                domain = self.text(value)
            elif number == 7:
                self.node(self.end(value), 1)
        if len(self.functions) < _MOST_KINDS:
            self.hold(domain, name)
            self.functions.add((domain, name))

    def graph(self, end: int, depth: int) -> None:
        """Read GraphProto; ``depth`` is 0 for the model's own, whose inputs and outputs are the model's."""
        if depth > _MOST_NESTED:
            raise Damaged(f"graphs are nested more than {_MOST_NESTED} deep")
        for number, wire, value in self.fields(end):
            if wire != 2:
                continue
            if number == 1:
                self.node(self.end(value), depth)
            elif number == 5:
                self.weight(self.end(value), outermost=not depth)
            elif number == 15:
                self.sparse(self.end(value), outermost=not depth)
            elif number == 11 and not depth:
                self.keep(self.inputs, self.end(value))
            elif number == 12 and not depth:
                self.keep(self.outputs, self.end(value))

    def keep(self, tensors: list[Tensor], end: int) -> None:
        """Read ValueInfoProto into a list."""
        name, dtype = "", ""
        shape: tuple[int | str | None, ...] | None = None
        for number, wire, value in self.fields(end):
            if number == 1 and wire == 2:
                name = self.text(value)
            elif number == 2 and wire == 2:
                dtype, shape = self.type(self.end(value))
        self.hold(name, *(str(each) for each in shape or ()))
        tensors.append(Tensor(name, dtype, shape))

    def type(self, end: int) -> tuple[str, tuple[int | str | None, ...] | None]:
        """Read TypeProto: a tensor's type and shape; what is no tensor (a sequence, a map) has neither."""
        dtype = ""
        shape: tuple[int | str | None, ...] | None = None
        for number, wire, value in self.fields(end):
            if number != 1 or wire != 2:
                continue
            for inner, inner_wire, inner_value in self.fields(self.end(value)):
                if inner == 1 and inner_wire == 0:
                    dtype = TYPES.get(inner_value, "")
                elif inner == 2 and inner_wire == 2:
                    shape = self.shape(self.end(inner_value))
        return dtype, shape

    def shape(self, end: int) -> tuple[int | str | None, ...]:
        """Read TensorShapeProto."""
        dimensions: list[int | str | None] = []
        for number, wire, value in self.fields(end):
            if number != 1 or wire != 2:
                continue
            dimension: int | str | None = None
            for inner, inner_wire, inner_value in self.fields(self.end(value)):
                if inner == 1 and inner_wire == 0:
                    dimension = inner_value if inner_value < 1 << 63 else None  # Negative: some exporters write -1 for "free".
                elif inner == 2 and inner_wire == 2:
                    dimension = self.text(inner_value) or None
            if len(dimensions) < 100:
                dimensions.append(dimension)
        return tuple(dimensions)

    def node(self, end: int, depth: int) -> None:
        """Read NodeProto: which operator it is, and the graphs and tensors in its attributes."""
        name = domain = ""
        for number, wire, value in self.fields(end):
            if wire != 2:
                continue
            if number == 4:
                name = self.text(value)
            elif number == 7:
                domain = self.text(value)
            elif number == 5:
                self.attribute(self.end(value), depth)
        kind = (domain, name)
        if kind not in self.operators:
            self.hold(domain, name)
        if kind in self.operators or len(self.operators) < _MOST_KINDS:
            self.operators[kind] = self.operators.get(kind, 0) + 1

    def attribute(self, end: int, depth: int) -> None:
        """Read AttributeProto."""
        for number, wire, value in self.fields(end):
            if wire != 2:
                continue
            if number in {5, 10}:
                self.weight(self.end(value), outermost=False)
            elif number in {6, 11}:
                self.graph(self.end(value), depth + 1)
            elif number in {22, 23}:
                self.sparse(self.end(value), outermost=False)

    def sparse(self, end: int, *, outermost: bool) -> None:
        """Read SparseTensorProto: its values have its name."""
        for number, wire, value in self.fields(end):
            if wire == 2 and number in {1, 2}:
                self.weight(self.end(value), outermost=outermost and number == 1)

    def weight(self, end: int, *, outermost: bool) -> None:
        """Read TensorProto without its data."""
        name, dtype, elements, outside = "", "", 1, False
        entries: dict[str, str] = {}
        for number, wire, value in self.fields(end):
            if number == 1:
                if wire == 0:
                    elements = min(elements * value, 1 << 63)
                elif wire == 2:
                    after = self.end(value)
                    while self.window.tell() < after and self.left > 0:
                        self.left -= 1
                        elements = min(elements * self.number(), 1 << 63)
            elif number == 2 and wire == 0:
                dtype = TYPES.get(value, "")
            elif number == 8 and wire == 2:
                name = self.text(value)
            elif number == 13 and wire == 2:
                key, text = self.pair(self.end(value))
                if len(entries) < 16:
                    entries[key] = text
            elif number == 14 and wire == 0:
                outside = value == 1
        if outermost:
            self.hold(name)
            self.names.add(name)
        self.weights[dtype] = self.weights.get(dtype, 0) + 1
        location = entries.get("location", "")
        if outside and (location in self.external or len(self.external) < _MOST_KINDS):
            offset, length = _whole(entries.get("offset", "")), _whole(entries.get("length", ""))
            size = length or (elements * _BITS.get(dtype, 8) + 7) // 8
            needs, count = self.external.get(location, (0, 0))
            self.hold("" if count else location)
            self.external[location] = (max(needs, offset + size), count + 1)

    def pair(self, end: int) -> tuple[str, str]:
        """Read StringStringEntryProto."""
        key = text = ""
        for number, wire, value in self.fields(end):
            if number == 1 and wire == 2:
                key = self.text(value)
            elif number == 2 and wire == 2:
                text = self.text(value)
        return key, text


def _whole(text: str) -> int:
    """Return a decimal number, 0 for anything else; ONNX writes offsets as text."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0
