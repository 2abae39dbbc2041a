"""An ONNX model, run once by ONNX Runtime, with the GPU's provider named: without a name no release takes it."""

import os
import sys

from gpudoctor_evidence import fed, given, numbers, tidy, work  # type: ignore[import-not-found]

# The bundle's files must not be shadowed by this program's neighbours.
sys.path.pop(0)

TYPES = {
    "float": "float32",
    "double": "float64",
    "float16": "float16",
    "int64": "int64",
    "int32": "int32",
    "int16": "int16",
    "int8": "int8",
    "uint8": "uint8",
    "uint16": "uint16",
    "uint32": "uint32",
    "uint64": "uint64",
    "bool": "bool",
    "string": "object",
}


def load(settings):
    """Return the session."""
    import onnxruntime as ort

    if not hasattr(ort, "InferenceSession"):
        raise RuntimeError(
            "the package onnxruntime is empty: onnxruntime or onnxruntime-gpu was removed and took the other's files along"
        )
    path = os.path.join(settings["bundle"], settings["model"])
    if settings["device"] != "cuda":
        return ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    if "CUDAExecutionProvider" in ort.get_available_providers() and hasattr(ort, "preload_dlls"):
        # Without it the CUDA libraries that pip installed are not found.
        ort.preload_dlls()
    known = [each for each in ("CUDAExecutionProvider",) if each in ort.get_available_providers()]
    return ort.InferenceSession(path, providers=[*(known or ["CUDAExecutionProvider"]), "CPUExecutionProvider"])


def call(session, each, settings):  # noqa: ARG001 - as those of the other formats
    """Run it once."""
    import numpy

    body = given(each)
    declared = {one[0]: one for one in each.get("declared") or []}
    inputs = session.get_inputs()
    feed = {}
    for one in inputs:
        kind = TYPES.get(one.type.partition("(")[2].rstrip(")"))
        if kind is None or not one.type.startswith("tensor("):
            raise ValueError(f"input {one.name} is {one.type}: only tensors can be given")
        value = fed(body, one.name, len(inputs) == 1)
        if value is None:
            shape = declared.get(one.name, (None, None, None))[2]
            feed[one.name] = numbers(numpy, tidy(one.shape, shape), kind)
        else:
            feed[one.name] = numpy.asarray(value, dtype=kind)
    values = session.run(None, feed)
    names = [output.name for output in session.get_outputs()]
    shapes = ["{}{}".format(name, list(getattr(value, "shape", ()))) for name, value in zip(names, values)]  # noqa: B905 - strict is of Python 3.10
    return {"text": ", ".join(shapes), "values": None}


if __name__ == "__main__":
    work(load, call)
