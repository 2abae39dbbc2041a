"""A saved bundle of BentoML 0.x: ``bentoml.yml`` with ``kind: BentoService``.

The outer folder has the Dockerfile and the requirements; the inner one, named after the service class, has the code, the artifacts and
a copy of ``bentoml.yml``. BentoML loads either. The inner one alone says nothing of what is installed, so where it lies in its outer
folder, that one is taken. Measured on what BentoML 0.13.2 writes; where each artifact's files go is in its ``frameworks/*.py``.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from gpudoctor.bundle import Api, Artifact, Bundle, Place, Said, Tensor
from gpudoctor.bundle.files import Files
from gpudoctor.bundle.layouts import parts

if TYPE_CHECKING:
    from gpudoctor.bundle import ArtifactKind
    from gpudoctor.bundle.layouts.yml import Yaml

MARKER = "bentoml.yml"
_FILES: dict[str, tuple[tuple[str, ArtifactKind], ...]] = {
    "PytorchModelArtifact": ((".pt", "torch-pickle"),),
    "PytorchLightningModelArtifact": ((".pt", "torchscript"),),
    "OnnxModelArtifact": ((".onnx", "onnx"),),
    "TensorflowSavedModelArtifact": (("_saved_model", "savedmodel"),),
    "PickleArtifact": ((".pkl", "pickle"),),
    "SklearnModelArtifact": ((".pkl", "pickle"),),
    "EvalMLModelArtifact": ((".pkl", "pickle"),),
    "JSONArtifact": ((".json", "json"),),
    "TextFileArtifact": ((".txt", "text"),),
    "LightGBMModelArtifact": ((".txt", "text"),),
    "XgboostModelArtifact": ((".model", "unknown"),),
    "CoreMLModelArtifact": ((".mlmodel", "unknown"),),
    "OnnxMlirModelArtifact": ((".so", "unknown"),),
    "PaddlePaddleModelArtifact": ((".pdmodel", "unknown"), (".pdiparams", "unknown")),
    "GluonModelArtifact": (("-symbol.json", "json"), ("-0000.params", "unknown")),
    "FastaiModelArtifact": ((".pkl", "pickle"),),
    "Fastai1ModelArtifact": ((".pkl", "pickle"),),
}
"""The files that an artifact named N always has, by what stands behind N."""
_ITSELF = frozenset(
    {
        "SpacyModelArtifact",
        "TransformersModelArtifact",
        "FasttextModelArtifact",
        "H2oModelArtifact",
        "DetectronModelArtifact",
        "EasyOCRArtifact",
    }
)
"""Artifacts that are a file or folder named just N."""


def opened(files: Files) -> Files:
    """Return the files that a bundle consists of: those of the outer folder where the inner one that lies in it was given."""
    around = Files(os.path.dirname(files.root))
    name = os.path.basename(files.root)
    # The inner one has the name of the service, and its bentoml.yml the same bytes.
    if parts.quiet_tree(files, MARKER).word("metadata", "service_name") != name or around.root == files.root:
        return files
    mine = parts.content(files, MARKER, 1 << 20)
    return around if mine is not None and parts.content(around, MARKER, 1 << 20) == mine else files


def found(files: Files, path: str) -> Bundle | None:
    """Return the bundle; raises NotABundle where it is damaged."""
    if files.entry(MARKER) is None:
        return None
    tree = parts.tree(files, MARKER)
    kind = tree.get("kind")
    if kind.text != "BentoService":
        said = f"kind {kind.text or 'that is no text'}" if kind else "no kind"
        parts.refuse(
            f"not a bundle: {MARKER} has {said}, and BentoML 0.x loads only kind BentoService",
            Place(MARKER, kind.line or 1),
            "Give the folder that BentoML's save() or save_to_dir() wrote.",
        )
    name = tree.word("metadata", "service_name")
    if not name or name in {".", ".."} or "/" in name:
        parts.refuse(
            f"not a bundle: {MARKER} names no service (metadata.service_name)",
            Place(MARKER, tree.get("metadata", "service_name").line or tree.get("metadata").line or 1),
            "Pack the bundle again: without the name its code cannot be found.",
        )
    inside = files.entry(name)
    return _bundle(files, path, tree, name, name if inside is not None and inside.kind == "dir" else "")


def _bundle(files: Files, path: str, tree: Yaml, name: str, code: str) -> Bundle:
    env = tree.get("env")
    metadata = tree.get("metadata")
    module = tree.word("metadata", "module_name")
    listed = parts.pip(files, "requirements.txt")
    if not listed.files:
        items = env.get("pip_packages").items
        text = "\n".join(each.text.replace("\n", " ") for each in items)
        if not items and env.word("requirements_txt"):
            text = env.word("requirements_txt")
        said = tuple(each.line for each in items) or (env.get("requirements_txt").line,)
        made, indexes, _ = parts.pip_text(text, MARKER, said)
        listed = parts.Installed(made, indexes, (MARKER,) if made else ())
    conda = parts.conda(files, "environment.yml")
    if not conda.files:
        conda = parts.conda(files, MARKER, env.get("conda_env"))
    python = env.get("python_version")
    image = env.get("docker_base_image")
    script = parts.script(files, "setup.sh")
    artifacts = f"{code}/artifacts" if code else "artifacts"
    docs = parts.json(files, "docs.json")
    return Bundle(
        "bentoml-0.13",
        path,
        files.root,
        name,
        tree.word("metadata", "service_version"),
        "",
        tree.word("version"),
        Said(python.text, Place(MARKER, python.line)) if python.text else _version_file(files),
        Said(f"{module}:{name}", Place(MARKER, metadata.get("module_name").line)) if module else None,
        tuple(each for item in tree.get("artifacts").items for each in _artifact(files, item, artifacts)),
        tuple(_api(docs, each) for each in tree.get("apis").items if each.word("name")),
        _sources(files, tree.word("metadata", "module_file"), code, artifacts),
        _import_roots(files, code),
        listed.requirements + conda.requirements,
        listed.indexes + conda.indexes,
        tuple(dict.fromkeys(listed.files + conda.files)),
        parts.base_image(files, "Dockerfile") or (Said(image.text, Place(MARKER, image.line)) if image.text else None),
        setup=script,
    )


def _version_file(files: Files) -> Said | None:
    data = parts.content(files, "python_version", 100)
    version = data.decode("utf-8", "replace").strip() if data else ""
    return Said(version, Place("python_version", 1)) if version else None


def _sources(files: Files, module_file: str, code: str, artifacts: str) -> tuple[str, ...]:
    """Return the service's file first; what BentoML generates is left out."""
    generated = (f"{code}/__init__.py", artifacts) if code else ("__init__.py", artifacts)
    made = parts.sources(files, code, *generated, *(() if code else ("setup.py",)))
    # A bundle that was packed on Windows has its separators.
    first = f"{code}/{module_file}".lstrip("/").replace("\\", "/")
    return (first, *(each for each in made if each != first)) if first in made else made


def _import_roots(files: Files, code: str) -> tuple[str, ...]:
    folder = f"{code}/zipimports" if code else "zipimports"
    zipped = tuple(each.path for each in files.children(folder))
    return (*zipped, code, "") if code else (*zipped, "")


def _artifact(files: Files, item: Yaml, folder: str) -> tuple[Artifact, ...]:
    """Return the files of one artifact; of a type that is not known, what is there under its name."""
    name, type_ = item.word("name"), item.word("artifact_type")
    if not name:
        return ()
    at = Place(MARKER, item.get("name").line)
    base = f"{folder}/{name}"
    if type_ == "KerasModelArtifact":
        return _keras(files, name, base, at)
    if type_ in _FILES:
        return tuple(Artifact(name, kind, f"{base}{end}", at) for end, kind in _FILES[type_])
    there = [each.path for each in files.children(folder) if each.path.startswith(f"{base}.") and each.path != f"{base}.yml"]
    if type_ in _ITSELF or files.entry(base) is not None or not there:
        return (Artifact(name, "unknown", base, at),)
    return tuple(Artifact(name, parts.kind(each), each, at) for each in there)


def _keras(files: Files, name: str, base: str, at: Place) -> tuple[Artifact, ...]:
    """Return a Keras model: one file, or its shape and its weights apart; the pickle of custom objects is loaded too, where it is."""
    apart = files.entry(f"{base}.h5") is None and (
        files.entry(f"{base}_json.json") is not None or files.entry(f"{base}_weights.hdf5") is not None
    )
    if apart:
        made = [Artifact(name, "json", f"{base}_json.json", at), Artifact(name, "keras-h5", f"{base}_weights.hdf5", at)]
    else:
        made = [Artifact(name, "keras-h5", f"{base}.h5", at)]
    if files.entry(f"{base}_custom_objects.pkl") is not None:
        made.append(Artifact(name, "pickle", f"{base}_custom_objects.pkl", at))
    return tuple(made)


def _api(docs: Any, item: Yaml) -> Api:
    name = item.word("name")
    route = item.word("route") or name
    columns = item.get("input_config", "dtype")
    inputs = tuple(Tensor(column, dtype.text, (None,)) for column, dtype in columns.keys.items() if dtype.text)
    takes = item.word("input_type") or item.word("handler_type")
    return Api(name, f"/{route.lstrip('/')}", takes, inputs, _example(docs, route), Place(MARKER, item.get("name").line))


def _example(docs: Any, route: str) -> str:
    """Return the example that the packer wrote for a route; the OpenAPI document has ``null`` where there is none."""
    body = parts.deeper(docs, "paths", f"/{route.lstrip('/')}", "post", "requestBody", "content")
    value = parts.deeper(body, "application/json", "example")
    return "" if value is None else parts.shown(value)
