"""A model repository of Triton's: MODEL/config.pbtxt and MODEL/<number>/model.onnx; one model's folder of it is taken too.

The configuration may be absent: Triton completes it from the model. Names and defaults are those of Triton's documentation of the model
repository and of ``model_config.proto``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.bundle import Api, Artifact, Bundle, Place, Said, Tensor
from gpudoctor.bundle.layouts import parts, pbtxt
from gpudoctor.bundle.layouts.yml import NOTHING, Yaml
from gpudoctor.formats import Malformed

if TYPE_CHECKING:
    from gpudoctor.bundle import ArtifactKind
    from gpudoctor.bundle.files import Files

CONFIG = "config.pbtxt"
_LONGEST = 1024 * 1024
_NAMES = {
    "onnxruntime_onnx": "model.onnx",
    "onnxruntime": "model.onnx",
    "pytorch_libtorch": "model.pt",
    "pytorch": "model.pt",
    "tensorrt_plan": "model.plan",
    "tensorrt": "model.plan",
    "tensorflow_savedmodel": "model.savedmodel",
    "tensorflow_graphdef": "model.graphdef",
    "python": "model.py",
    "openvino": "model.xml",
}
"""The model's file by its platform or backend."""
_KINDS: dict[str, ArtifactKind] = {
    "model.onnx": "onnx",
    "model.pt": "torchscript",
    "model.pt2": "torch-export",
    "model.plan": "plan",
    "model.savedmodel": "savedmodel",
}
_TYPES = {
    "TYPE_BOOL": "bool",
    "TYPE_UINT8": "uint8",
    "TYPE_UINT16": "uint16",
    "TYPE_UINT32": "uint32",
    "TYPE_UINT64": "uint64",
    "TYPE_INT8": "int8",
    "TYPE_INT16": "int16",
    "TYPE_INT32": "int32",
    "TYPE_INT64": "int64",
    "TYPE_FP16": "float16",
    "TYPE_FP32": "float32",
    "TYPE_FP64": "float64",
    "TYPE_STRING": "object",
    "TYPE_BF16": "bfloat16",
}
_MOST_MODELS = 200


def found(files: Files, path: str) -> Bundle | None:
    """Return the bundle that a repository, or one model's folder, is."""
    folders = models(files)
    if not folders:
        return None
    artifacts: list[Artifact] = []
    apis: list[Api] = []
    gpus: list[Said] = []
    providers: list[Said] = []
    sources: list[str] = []
    for folder in folders:
        config = read(files, folder)
        made = _artifacts(files, folder, config)
        artifacts += [each for each in made if not each.path.endswith(".py")]
        sources += [each.path for each in made if each.path.endswith(".py") and files.has(each.path)]
        name = _name(files, folder, config)
        apis.append(_api(files, folder, name, config, made))
        gpus += _gpus(folder, config)
        accelerators = pbtxt.first(config, "optimization", "execution_accelerators").get("gpu_execution_accelerator").items
        providers += [
            Said(named.text, Place(_joined(folder, CONFIG), named.line))
            for each in accelerators
            if (named := pbtxt.first(each, "name")).text
        ]
    return Bundle(
        "triton",
        path,
        files.root,
        apis[0].name if len(apis) == 1 else "",
        artifacts=tuple(artifacts),
        apis=tuple(apis),
        sources=tuple(sources),
        gpus=tuple(gpus),
        providers=tuple(providers),
    )


def models(files: Files) -> tuple[str, ...]:
    """Return the models' folders, "" where the root is one itself; none where this is no repository."""
    if files.entry(CONFIG) is not None or _versions(files, ""):
        return ("",)
    folders = [each.path for each in files.children("") if _is_folder(files, each.path)]
    return tuple(each for each in folders[:_MOST_MODELS] if files.entry(f"{each}/{CONFIG}") is not None or _versions(files, each))


def read(files: Files, folder: str) -> Yaml:
    """Return a model's configuration, ``NOTHING`` where it is absent or damaged (`problem` says which)."""
    data = parts.content(files, _joined(folder, CONFIG), _LONGEST)
    try:
        return pbtxt.parse(data) if data else NOTHING
    except Malformed:
        return NOTHING


def problem(files: Files, folder: str) -> Malformed | None:
    """Return what makes a model's configuration unreadable for Triton."""
    data = parts.content(files, _joined(folder, CONFIG), _LONGEST)
    try:
        pbtxt.parse(data or b"")
    except Malformed as error:
        return error
    return None


def on_cpu(files: Files, folder: str) -> tuple[Place, ...]:
    """Return where a model that could run on the GPU is put on the CPU in all its instances; code of Python's own is no such model."""
    config = read(files, folder)
    kinds = [pbtxt.first(group, "kind") for group in config.get("instance_group").items]
    if not kinds or any(kind.text != "KIND_CPU" for kind in kinds) or pbtxt.first(config, "backend").text == "python":
        return ()
    return (Place(_joined(folder, CONFIG), kinds[0].line),)


def _joined(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _is_folder(files: Files, path: str) -> bool:
    entry = files.entry(path)
    return entry is not None and entry.kind == "dir"


def _versions(files: Files, folder: str) -> tuple[str, ...]:
    """Return a model's version folders that hold a model, lowest first."""
    numbers = [
        each.path
        for each in files.children(folder)
        if (name := each.path.rpartition("/")[2]).isascii() and name.isdigit() and name[0] != "0" and len(name) < 20
    ]
    numbers.sort(key=lambda path: int(path.rpartition("/")[2]))
    return tuple(each for each in numbers if any(_is_model(inside.path) for inside in files.children(each)))


def _is_model(path: str) -> bool:
    return path.rpartition("/")[2].startswith("model.")


def _name(files: Files, folder: str, config: Yaml) -> str:
    return folder or pbtxt.first(config, "name").text or files.root.rpartition("/")[2]


def _artifacts(files: Files, folder: str, config: Yaml) -> tuple[Artifact, ...]:
    platform, backend = pbtxt.first(config, "platform"), pbtxt.first(config, "backend")
    if platform.text == "ensemble":
        return ()
    declared = pbtxt.first(config, "default_model_filename")
    said = next((each for each in (declared, platform, backend) if each.text), NOTHING)
    name = declared.text or _NAMES.get(platform.text) or _NAMES.get(backend.text, "")
    at = Place(_joined(folder, CONFIG), said.line)
    versions = _versions(files, folder)
    if not versions:
        return (Artifact(folder or files.root.rpartition("/")[2], _kind(name), _joined(folder, f"1/{name}"), at),) if name else ()
    made: list[Artifact] = []
    for version in versions:
        there = [each.path for each in files.children(version) if _is_model(each.path)]
        paths = [f"{version}/{name}"] if name and (f"{version}/{name}" in there or declared.text) else there
        for path in paths:
            # A model whose tensors lie in other files is a folder of the same name.
            inner = f"{path}/model.onnx"
            path_ = inner if path.endswith(".onnx") and files.entry(inner) is not None else path
            made.append(Artifact(_joined(folder, version.rpartition("/")[2]), _kind(path_), path_, at if said else Place(path_)))
    return tuple(made)


def _kind(path: str) -> ArtifactKind:
    name = path.rpartition("/")[2]
    return _KINDS.get(name) or parts.kind(name)


def _api(files: Files, folder: str, name: str, config: Yaml, made: tuple[Artifact, ...]) -> Api:
    batch = pbtxt.first(config, "max_batch_size").text
    batched = batch.isascii() and batch.isdigit() and int(batch[:9]) > 0
    inputs = tuple(_tensor(each, batched=batched) for each in config.get("input").items)
    if not inputs:
        from gpudoctor.bundle.layouts.onnx import tensors

        inputs = next((tensors(files, each.path) for each in reversed(made) if each.kind == "onnx"), ())
    named = config.get("input")
    at = Place(_joined(folder, CONFIG), named.line) if config else Place(made[0].path if made else folder)
    return Api(name, f"/v2/models/{name}/infer", "tensor", inputs, "", at)


def _tensor(node: Yaml, *, batched: bool) -> Tensor:
    """Return an input; its dims are without the batch where batches are allowed at all."""
    dims: list[int | str | None] = [None] if batched else []
    for each in node.get("dims").items:
        word = each.text
        dims.append(int(word) if word.isascii() and word.isdigit() and len(word) < 19 else None)
    return Tensor(pbtxt.first(node, "name").text, _TYPES.get(pbtxt.first(node, "data_type").text, ""), tuple(dims))


def _gpus(folder: str, config: Yaml) -> list[Said]:
    made = []
    for group in config.get("instance_group").items:
        listed = group.get("gpus")
        kind = pbtxt.first(group, "kind")
        if listed.items:
            made.append(Said(f"[{', '.join(each.text for each in listed.items)}]", Place(_joined(folder, CONFIG), listed.line)))
        elif kind.text == "KIND_GPU":
            made.append(Said("1", Place(_joined(folder, CONFIG), kind.line)))
    return made
