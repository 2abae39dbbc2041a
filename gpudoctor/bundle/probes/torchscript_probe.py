"""A TorchScript or torch.export model, run once by PyTorch on the device that was asked for."""

import os
import sys

from gpudoctor_evidence import Wanting, given, numbers, tidy, work  # type: ignore[import-not-found]

# The bundle's files must not be shadowed by this program's neighbours.
sys.path.pop(0)


def load(settings):
    """Return the model, on the device, and the inputs that it carries itself (torch.export; None where it has none)."""
    import torch

    path = os.path.join(settings["bundle"], settings["model"])
    device = settings["device"]
    if device == "cuda" and not torch.cuda.is_available():
        why = "this build has no CUDA"
        if torch.version.cuda:
            try:
                torch.cuda.init()
                why = "it does not say why"
            except Exception as error:  # noqa: BLE001 - what it says is the result
                why = str(error)
        raise RuntimeError(f"torch.cuda.is_available() is False: {why}")
    if settings["kind"] == "torch-export":
        program = torch.export.load(path)
        return program.module().to(device), program.example_inputs
    return torch.jit.load(path, map_location=device).eval(), None


def call(loaded, each, settings):
    """Run it once."""
    import numpy
    import torch

    model, example = loaded
    device = settings["device"]
    body = given(each)
    arguments, named = [], {}
    if body is not None:
        values = list(body.values()) if isinstance(body, dict) and "shape" not in body else [body]
        arguments = [tensor(numpy, torch, value) for value in values]
    elif example is not None:
        arguments, named = list(example[0]), dict(example[1] or {})
    elif each.get("declared") and all(one[1] and one[2] is not None for one in each["declared"]):
        arguments = [torch.from_numpy(numbers(numpy, tidy(one[2], None), one[1])) for one in each["declared"]]
    else:
        raise Wanting(
            'the file does not say what shape its input has: give it, as --input \'{"shape": [1, 3, 224, 224], "dtype": "float32"}\', '
            "or its numbers, as --input '[[0.5, 0.5]]'"
        )

    def moved(value):
        return value.to(device) if isinstance(value, torch.Tensor) else value

    def ran(positional):
        return model(*[moved(one) for one in positional], **{name: moved(one) for name, one in named.items()})

    with torch.no_grad():
        try:
            out = ran(arguments)
        except RuntimeError:
            if body is None or all(torch.is_floating_point(one) for one in arguments):
                raise
            # Whole numbers in JSON may have been meant for a model of fractions.
            out = ran([one.float() for one in arguments])
    many = list(out) if isinstance(out, (list, tuple)) else [out]
    return {
        "text": ", ".join(str(list(one.shape)) if isinstance(one, torch.Tensor) else type(one).__name__ for one in many),
        "values": None,
    }


def tensor(numpy, torch, value):
    """Return a tensor of what was given: nested lists, or a shape and a type."""
    if isinstance(value, dict) and "shape" in value:
        return torch.from_numpy(numbers(numpy, value["shape"], value.get("dtype") or "float32"))
    made = numpy.asarray(value)
    return torch.from_numpy(made.astype("float32") if made.dtype == "float64" else made)


if __name__ == "__main__":
    work(load, call)
