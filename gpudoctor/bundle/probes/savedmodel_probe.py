"""A TensorFlow SavedModel: its signatures, each called once."""

import os
import sys

from gpudoctor_evidence import Wanting, described, fed, given, numbers, tidy, work  # type: ignore[import-not-found]

# The bundle's files must not be shadowed by this program's neighbours.
sys.path.pop(0)


def load(settings):
    """Return the loaded model and its signatures."""
    import tensorflow as tf

    if settings["device"] == "cuda" and not tf.config.list_physical_devices("GPU"):
        built = dict(tf.sysconfig.get_build_info()).get("is_cuda_build")
        raise RuntimeError("TensorFlow sees no GPU: " + ("what it printed says why" if built else "this build has no CUDA"))
    if settings["device"] != "cuda":
        tf.config.set_visible_devices([], "GPU")
    model = tf.saved_model.load(os.path.join(settings["bundle"], settings["model"]))
    signatures = dict(model.signatures)
    if not signatures:
        raise ValueError("the SavedModel has no signature: it can only be called by the program that wrote it")
    return model, signatures


def call(loaded, each, settings):  # noqa: ARG001 - as those of the other formats
    """Call the signature that the API is, once."""
    import numpy
    import tensorflow as tf

    _, signatures = loaded
    signature = signatures.get(each["api"]) or signatures.get("serving_default") or next(iter(signatures.values()))
    body = given(each)
    if isinstance(body, dict) and set(body) == {"instances"}:
        body = body["instances"]
    declared = {one[0]: one for one in each.get("declared") or []}
    inputs = signature.structured_input_signature[1]
    feed = {}
    for name, spec in inputs.items():
        value = fed(body, name, len(inputs) == 1)
        kind = spec.dtype.as_numpy_dtype
        if value is not None:
            feed[name] = tf.constant(value, dtype=spec.dtype)
            continue
        shape = spec.shape.as_list() if spec.shape.rank is not None else None
        known = declared.get(name, (None, None, None))[2]
        if shape is None and known is None:
            raise Wanting(f"input {name} has no shape in the file: give its numbers with --input")
        feed[name] = tf.constant(numbers(numpy, tidy(shape or known, known), numpy.dtype(kind).name), dtype=spec.dtype)
    out = signature(**feed)
    known = signature.structured_outputs
    said = []
    for name, value in out.items():
        spec = known[name] if isinstance(known, dict) and name in known else None
        shape = spec.shape.as_list() if spec is not None and spec.shape.rank is not None else None
        said.append(dict(described(name, value.numpy(), shape), device=value.device))
    return {"text": ", ".join("{}{}".format(one["name"], one["shape"]) for one in said), "values": None, "outputs": said}


if __name__ == "__main__":
    work(load, call)
