"""Tests of the reader of ONNX models: what they say, what becomes of broken ones, and that weights are passed over."""

from __future__ import annotations

import io
import os
import random
import struct
import time
from pathlib import Path

import pytest

from gpudoctor.bundle import Tensor, onnxfile
from gpudoctor.bundle.onnxfile import External, Operator
from gpudoctor.tables import onnx

DATASETS = sorted(
    Path(__file__).parents[2].glob(".cache/frameworks/onnxruntime/lib/python3*/site-packages/onnxruntime/datasets/*.onnx")
)


def number(value: int) -> bytes:
    """Return a variable-length number."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(key: int, value: int | bytes | str) -> bytes:
    """Return one field of a message."""
    if isinstance(value, int):
        return number(key << 3) + number(value)
    data = value.encode() if isinstance(value, str) else value
    return number(key << 3 | 2) + number(len(data)) + data


def tensor(name: str, dims: tuple[int, ...], raw: bytes = b"", dtype: int = 1, **external: str) -> bytes:
    """Return a TensorProto; with ``external`` its data lies in another file."""
    data = b"".join(field(1, dim) for dim in dims) + field(2, dtype) + field(8, name)
    for key, value in external.items():
        data += field(13, field(1, key) + field(2, value))
    return data + (field(14, 1) if external else field(9, raw))


def value(name: str, dtype: int, shape: tuple[int | str | None, ...] | None) -> bytes:
    """Return a ValueInfoProto."""
    dims = b""
    for dim in shape or ():
        dims += field(1, field(2, dim) if isinstance(dim, str) else field(1, dim) if dim is not None else b"")
    kind = field(1, dtype) + (field(2, dims) if shape is not None else b"")
    return field(1, name) + field(2, field(1, kind))


def node(op: str, domain: str = "", attributes: bytes = b"") -> bytes:
    """Return a NodeProto."""
    return field(1, "x") + field(2, "y") + field(4, op) + attributes + (field(7, domain) if domain else b"")


def model(graph: bytes, opset: int = 17, ir: int = 8, more: bytes = b"") -> bytes:
    """Return a ModelProto."""
    return field(1, ir) + field(2, "test") + field(7, graph) + more + field(8, field(1, "") + field(2, opset))


GRAPH = (
    field(1, node("MatMul"))
    + field(1, node("Gelu", "com.microsoft"))
    + field(1, node("MatMul"))
    + field(5, tensor("w", (8, 4), bytes(128)))
    + field(11, value("x", 1, ("batch", 8, None, -1)))
    + field(11, value("w", 1, (8, 4)))
    + field(12, value("y", 16, ()))
    + field(12, value("z", 10, None))
)


def read(data: bytes) -> onnxfile.Model:
    """Read bytes."""
    return onnxfile.read(io.BytesIO(data), len(data))


def test_what_a_model_says():
    """Inputs without weights, outputs, operators, opset, IR version and producer are those of the file."""
    found = read(model(GRAPH))
    assert (found.state, found.problem, found.ir, found.producer, found.opset()) == ("whole", "", 8, "test", 17)
    assert found.inputs == (Tensor("x", "float32", ("batch", 8, None, None)),)
    assert found.outputs == (Tensor("y", "bfloat16", ()), Tensor("z", "float16", None))
    assert found.operators == (Operator("", "MatMul", 2), Operator("com.microsoft", "Gelu", 1))
    assert found.nodes == 3
    assert found.weights == (("float32", 1),)


def test_inner_graphs_and_functions_are_read():
    """Nodes and weights of an If's branches count, and an operator that the model defines itself is listed."""
    branch = field(1, node("Custom", "my.ops")) + field(5, tensor("inner", (2,), location="w.bin", offset="4096", length="8"))
    attribute = field(5, field(1, "then_branch") + field(6, branch))
    function = field(1, "Mine") + field(10, "local") + field(7, node("Tanh"))
    found = read(model(field(1, node("If", attributes=attribute)) + field(12, value("y", 1, ())), more=field(25, function)))
    assert {each.name for each in found.operators} == {"If", "Custom", "Tanh"}
    assert found.functions == (("local", "Mine"),)
    assert found.external == (External("w.bin", 4104, 1),)


def test_external_data_is_summed_up_by_file():
    """The end of the last tensor is what a file must have; a tensor without a length has that of its shape and type."""
    weights = field(5, tensor("a", (10,), location="w.bin", offset="0", length="40"))
    weights += field(5, tensor("b", (3, 5), dtype=10, location="w.bin", offset="64"))
    weights += field(5, tensor("c", (3,), dtype=22, location="other.bin"))
    assert read(model(weights + field(12, value("y", 1, ())))).external == (External("other.bin", 2, 1), External("w.bin", 94, 2))


@pytest.mark.parametrize("path", DATASETS, ids=lambda path: path.name)
def test_real_models(path):
    """The models that come with ONNX Runtime are whole, and cut anywhere they are not."""
    data = path.read_bytes()
    found = read(data)
    assert found.state == "whole"
    assert found.inputs
    assert found.outputs
    assert found.nodes
    for end in range(1, len(data), max(len(data) // 50, 1)):
        assert read(data[:end]).state in {"truncated", "damaged"}, end


def test_each_cut_is_seen():
    """No part of a model is taken for a whole one, not even one that ends between two fields."""
    data = model(GRAPH)
    for end in range(len(data)):
        found = read(data[:end])
        assert found.state in {"truncated", "damaged"}
        assert found.problem
    assert "goes on to byte" in read(data[: len(data) // 2]).problem


@pytest.mark.parametrize(
    "data", [b"<!DOCTYPE html><html>", b'{"error": "not found"}', b"version https://git-lfs", bytes(100), b"\xff" * 100]
)
def test_what_is_no_model_is_damaged(data):
    """Text and padding are no model."""
    assert read(data).state in {"damaged", "truncated"}


def test_flipped_bytes_never_break_the_reader():
    """Whatever bytes are changed, there is an answer."""
    data = model(GRAPH)
    chance = random.Random(3)
    for _ in range(3000):
        changed = bytearray(data)
        for _ in range(chance.randint(1, 6)):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        assert read(bytes(changed)).state in {"whole", "truncated", "damaged", "unread"}


def test_graphs_in_graphs_end():
    """A graph nested a thousand times is refused, not followed until Python gives up."""
    graph = field(1, node("Relu"))
    for _ in range(1000):
        graph = field(1, node("If", attributes=field(5, field(6, graph))))
    assert read(model(graph)).state == "damaged"


def test_names_are_kept_within_bounds():
    """A model of two hundred thousand weights with long names is not held in memory."""
    data = model(b"".join(field(5, tensor(f"{index:0900}", ())) for index in range(30_000)))
    assert read(data).state == "unread"


def test_two_gigabytes_of_weights_are_passed_over(tmp_path):
    """A model of five gigabytes is read at once, for its weights are never read."""
    path = tmp_path / "m.onnx"
    size = 5 * 1024**3
    head = field(1, 8) + number(7 << 3 | 2)
    before = field(2, 1) + field(8, "w") + number(9 << 3 | 2) + number(size)
    weight = number(5 << 3 | 2) + number(len(before) + size) + before
    after = field(1, node("Relu")) + field(12, value("y", 1, ()))
    opset = field(8, field(2, 17))
    with path.open("wb") as file:
        file.write(head + number(len(weight) + size + len(after)) + weight)
        file.seek(size, os.SEEK_CUR)
        file.write(after + opset)
    began = time.monotonic()
    with path.open("rb") as file:
        found = onnxfile.read(file, path.stat().st_size)
    assert time.monotonic() - began < 1
    assert (found.state, found.nodes, found.weights) == ("whole", 1, (("float32", 1),))
    with path.open("r+b") as file:
        file.truncate(size // 2)
        assert onnxfile.read(file, size // 2).state == "truncated"


def test_a_packed_shape_is_read():
    """Dimensions may stand in one field."""
    weight = field(1, struct.pack("BB", 3, 5)) + field(2, 1) + field(8, "w")
    weight += field(13, field(1, "location") + field(2, "w.bin")) + field(14, 1)
    assert read(model(field(5, weight))).external == (External("w.bin", 60, 1),)


def test_what_releases_of_onnx_runtime_load():
    """The table answers for releases in between, for those that are newer, and backwards."""
    assert onnx.newest("1.19.2") == (21, 10)
    assert onnx.newest("1.31.1") == (26, 13)
    assert onnx.newest("1.15") == (19, 9)
    assert onnx.newest("0.5") is None
    assert onnx.first(21, 10) == "1.18"
    assert onnx.first(17, 9) == "1.15"
    assert onnx.first(99, 8) == ""
