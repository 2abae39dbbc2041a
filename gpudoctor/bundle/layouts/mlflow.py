"""A model folder of MLflow's: ``MLmodel``, the flavors' data, and what is installed in three forms (pip, conda, virtualenv).

``serving_input_example.json`` is a ready request; older releases have only ``input_example.json``, which is wrapped here as MLflow's
server wants it. Measured on 3.17; the fields are those of ``mlflow.models.Model``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpudoctor.bundle import Api, Artifact, Bundle, Place, Said, Tensor
from gpudoctor.bundle.layouts import parts

if TYPE_CHECKING:
    from gpudoctor.bundle.files import Files
    from gpudoctor.bundle.layouts.yml import Yaml

MARKER = "MLmodel"
_DATA = ("data", "model_data", "pickled_model", "model_path", "python_model", "saved_model_dir", "model_binary", "checkpoint")
"""Keys of a flavor that name its model's file or folder."""
_TYPES = {
    "double": "float64",
    "float": "float32",
    "integer": "int32",
    "long": "int64",
    "boolean": "bool",
    "string": "str",
    "binary": "bytes",
    "datetime": "datetime64[ns]",
}
"""A column's type in a signature, as numpy names it."""


def found(files: Files, path: str) -> Bundle | None:
    """Return the bundle that an MLflow model's folder is; raises NotABundle where its MLmodel is damaged."""
    if files.entry(MARKER) is None:
        return None
    tree = parts.tree(files, MARKER)
    flavors = tree.get("flavors")
    if not flavors.keys:
        where = Place(MARKER, flavors.line or 1)
        parts.refuse(
            f"not a bundle: {MARKER} names no flavor, so nothing can load it", where, "Save the model again with MLflow."
        )
    function = flavors.get("python_function")
    code = next((each.text for each in (function.get("code"), *(f.get("code") for f in flavors.keys.values())) if each), "")
    loader = function.get("loader_module")
    listed = _installed(files, function)
    artifacts = _artifacts(files, flavors)
    script = function.get("model_code_path")
    sources = parts.sources(files, code) if code else ()
    if script and files.has(script.text):
        sources = (script.text, *sources)
    return Bundle(
        "mlflow",
        path,
        files.root,
        tree.word("name") or files.root.rpartition("/")[2],
        tree.word("model_uuid"),
        "",
        tree.word("mlflow_version"),
        _python(files, function),
        Said(loader.text, Place(MARKER, loader.line)) if loader else None,
        artifacts,
        (_api(files, tree, artifacts),),
        sources,
        (code,) if code else (),
        listed.requirements,
        listed.indexes,
        listed.files,
        providers=tuple(
            Said(each.text, Place(MARKER, each.line)) for each in flavors.get("onnx", "providers").items if each.text
        ),
    )


def _installed(files: Files, function: Yaml) -> parts.Installed:
    """Return what is installed: pip's of requirements.txt, which conda.yaml repeats, and conda's own beside them."""
    listed = parts.pip(files, "requirements.txt")
    name = function.word("env", "conda") or function.word("env") or "conda.yaml"
    conda = parts.conda(files, name)
    kept = tuple(each for each in conda.requirements if each.installer == "conda" or not listed.files)
    return parts.Installed(listed.requirements + kept, listed.indexes or conda.indexes, (MARKER, *listed.files, *conda.files))


def _python(files: Files, function: Yaml) -> Said | None:
    node = function.get("python_version")
    if node.text:
        return Said(node.text, Place(MARKER, node.line))
    node = parts.quiet_tree(files, "python_env.yaml").get("python")
    return Said(node.text, Place("python_env.yaml", node.line)) if node.text else None


def _artifacts(files: Files, flavors: Yaml) -> tuple[Artifact, ...]:
    made: dict[str, Artifact] = {}
    for name, flavor in flavors.keys.items():
        for key in _DATA:
            node = flavor.get(key)
            if node and node.text:
                for each in _at(files, name, node):
                    made.setdefault(each.path, each)
    for name, node in flavors.get("python_function", "artifacts").keys.items():
        path = node.get("path")
        if path and path.text:
            for each in _at(files, name, path):
                made.setdefault(each.path, each)
    return tuple(made.values())


def _at(files: Files, name: str, node: Yaml) -> tuple[Artifact, ...]:
    """Return the model files of a path: itself, or those in it where it is a folder."""
    at = Place(MARKER, node.line)
    entry = files.entry(node.text)
    if entry is None or entry.kind != "dir":
        return (Artifact(name, parts.kind(node.text), node.text, at),)
    base = node.text.rstrip("/")
    inside = parts.below(files, base)
    models = [each.rpartition("/")[0] for each in inside if each.endswith(("/saved_model.pb", "/saved_model.pbtxt"))]
    found = [Artifact(name, "savedmodel", each, at) for each in models]
    found += [
        Artifact(name, parts.kind(each), each, at)
        for each in inside
        if parts.kind(each) != "unknown" and not any(each.startswith(f"{model}/") for model in models)
    ]
    return tuple(found) or (Artifact(name, "unknown", base, at),)


def _api(files: Files, tree: Yaml, artifacts: tuple[Artifact, ...]) -> Api:
    signature = tree.get("signature", "inputs")
    listed = parts.json_of(signature.text) if signature.text else None
    inputs = tuple(_input(each) for each in listed if isinstance(each, dict)) if isinstance(listed, list) else ()
    about = tree.get("saved_input_example_info")
    takes = about.word("type")
    if inputs and not takes:
        takes = "ndarray" if isinstance(listed, list) and "tensor-spec" in listed[0] else "dataframe"
    if not any(each.dtype for each in inputs):
        from gpudoctor.bundle.layouts.onnx import tensors

        inputs = next((tensors(files, each.path) for each in artifacts if each.kind == "onnx"), inputs)
    at = next((each for each in (signature, about, tree.get("flavors", "python_function"), tree.get("flavors")) if each), tree)
    return Api("predict", "/invocations", takes, inputs, _example(files, about), Place(MARKER, at.line))


def _input(about: dict[str, Any]) -> Tensor:
    """Return an input of a signature: a tensor, or a column of a table, of any number of rows."""
    name = about.get("name")
    named = name if isinstance(name, str) else ""
    spec = about.get("tensor-spec")
    if isinstance(spec, dict):
        dtype, shape = spec.get("dtype"), spec.get("shape")
        sizes = (
            tuple(each if isinstance(each, int) and each >= 0 else None for each in shape) if isinstance(shape, list) else None
        )
        return Tensor(named, dtype if isinstance(dtype, str) else "", sizes)
    kind = about.get("type")
    return Tensor(named, _TYPES.get(kind, "") if isinstance(kind, str) else "", (None,))


def _example(files: Files, about: Yaml) -> str:
    ready = parts.example(files, about.word("serving_input_path") or "serving_input_example.json")
    if ready:
        return ready
    path = about.word("artifact_path") or "input_example.json"
    text = parts.example(files, path) if path.endswith(".json") else ""
    value = parts.json_of(text) if text else None
    if value is None:
        return ""
    if about.word("type") == "dataframe" or (isinstance(value, dict) and value.keys() == {"columns", "data"}):
        form = "dataframe_records" if isinstance(value, list) else "dataframe_split"
        return parts.shown({form: value})
    # Releases before 2.0 wrote the request itself.
    if isinstance(value, dict) and not value.keys().isdisjoint({"inputs", "instances", "dataframe_split", "dataframe_records"}):
        return text
    return parts.shown({"inputs": value})
