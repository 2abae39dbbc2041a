"""Pack the service: python pack.py FOLDER. The model, y = x·W with four inputs and three outputs, is written as bytes."""

import shutil
import sys

import bentoml
import numpy


def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def tensor_type(name, *shape):
    dims = b"".join(field(1, field(1, size)) for size in shape)
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, dims)))


weights = numpy.random.default_rng(0).standard_normal((4, 3)).astype("float32")
node = field(1, "x") + field(1, "w") + field(2, "y") + field(3, "product") + field(4, "MatMul")
initializer = field(1, 4) + field(1, 3) + field(2, 1) + field(8, "w") + field(9, weights.tobytes())
graph = (
    field(1, node)
    + field(2, "mlp")
    + field(5, initializer)
    + field(11, tensor_type("x", 2, 4))
    + field(12, tensor_type("y", 2, 3))
)
with open("mlp.onnx", "wb") as file:
    file.write(field(1, 8) + field(7, graph) + field(8, field(1, "") + field(2, 13)))
bento = bentoml.bentos.build_bentofile("bentofile.yaml", build_ctx=".")
shutil.copytree(bento.path, sys.argv[1], dirs_exist_ok=True)
