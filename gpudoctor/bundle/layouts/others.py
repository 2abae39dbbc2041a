"""What is recognised but cannot be called here: another server's layouts (Cog, KServe, TorchServe), and weights without a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.bundle import Api, Bundle, Check, Place, Said
from gpudoctor.bundle.layouts import parts, yml
from gpudoctor.formats import Malformed

if TYPE_CHECKING:
    from gpudoctor.bundle.files import Files

_MOST_MANIFESTS = 20


def cog(files: Files, path: str) -> Bundle | None:
    """Return the bundle that a folder with ``cog.yaml`` is: the source of an image, built by Cog."""
    if files.entry("cog.yaml") is None:
        return None
    tree = parts.tree(files, "cog.yaml")
    build = tree.get("build")
    predict = tree.get("predict")
    python = build.get("python_version")
    wanted = build.get("gpu")
    listed = parts.pip(files, build.word("python_requirements") or "requirements.txt")
    if not listed.files:
        items = build.get("python_packages").items
        made, indexes, _ = parts.pip_text("\n".join(each.text for each in items), "cog.yaml", tuple(each.line for each in items))
        listed = parts.Installed(made, indexes, ("cog.yaml",) if made else ())
    file = predict.text.partition(":")[0]
    return Bundle(
        "cog",
        path,
        files.root,
        python=Said(python.text, Place("cog.yaml", python.line)) if python.text else None,
        service=Said(predict.text, Place("cog.yaml", predict.line)) if predict.text else None,
        apis=(Api("predictions", "/predictions", "json", at=Place("cog.yaml", predict.line)),) if predict else (),
        sources=(file,) if file and files.has(file) else (),
        import_roots=("",),
        requirements=listed.requirements,
        indexes=listed.indexes,
        installs=listed.files,
        cuda=Said(build.word("cuda"), Place("cog.yaml", build.get("cuda").line)) if build.word("cuda") else None,
        gpus=(Said("1", Place("cog.yaml", wanted.line)),) if wanted.text.lower() in {"true", "yes", "on"} else (),
        setup=tuple(Said(each.text, Place("cog.yaml", each.line)) for each in build.get("run").items if each.text),
    )


def kserve(files: Files, path: str) -> Bundle | None:
    """Return the bundle that a manifest of an InferenceService is, alone or in a folder."""
    names = [each.path for each in files.children("") if each.path.lower().endswith((".yaml", ".yml", ".json"))]
    for name in names[:_MOST_MANIFESTS]:
        data = parts.content(files, name, 256 * 1024) or b""
        if b"InferenceService" not in data:
            continue
        # A manifest may hold several documents.
        first = 0
        for part in data.split(b"\n---"):
            tree = _manifest(part)
            if tree.word("kind") == "InferenceService":
                return _service(files, path, name, tree, first)
            first += part.count(b"\n") + 1
    return None


def _manifest(data: bytes) -> yml.Yaml:
    try:
        return yml.parse(data)
    except Malformed:
        return yml.NOTHING


def _service(files: Files, path: str, name: str, tree: yml.Yaml, first: int) -> Bundle:
    predictor = tree.get("spec", "predictor")
    gpus: list[Said] = []
    at = Place(name, first + tree.get("kind").line)
    for part in (predictor, *predictor.keys.values(), *predictor.get("containers").items):
        limit = part.get("resources", "limits", "nvidia.com/gpu")
        if limit.text:
            gpus.append(Said(limit.text, Place(name, first + limit.line)))
    return Bundle(
        "kserve", path, files.root, tree.word("metadata", "name"), service=Said("InferenceService", at), gpus=tuple(gpus)
    )


def cannot_be_called(bundle: Bundle) -> tuple[Check, ...]:
    """Return the check that says why a format cannot be called by itself, and what can be done instead."""
    where = bundle.artifacts[0].declared if bundle.artifacts else Place("")
    name = where.path or bundle.name or bundle.path
    if bundle.format == "safetensors":
        text = (
            f"{name} has weights alone: the numbers of a model, without its architecture, so there is nothing that can be called"
        )
        cure = "Give the bundle that uses the weights, or export the model to ONNX and give that file."
        return (Check("weights-only", "error", f"{text}.", where, cure),)
    if bundle.format == "state-dict":
        text = f"{name} was written by torch.save: the weights are there, but not the code of the model, so nothing can be called"
        cure = "Give the bundle that has the model's code too, or export the model (TorchScript, torch.export, ONNX) and give that file."
        return (Check("weights-only", "error", f"{text}.", where, cure),)
    if bundle.format == "torchserve":
        text = f"{name} is an archive of TorchServe, whose project is retired: only TorchServe loads it"
        cure = "Unpack it (it is a zip) and give the model file in it, TorchScript or a state dict."
        return (Check("other-server", "error", f"{text}.", where, cure),)
    if bundle.format == "cog":
        text = "cog.yaml is the source of an image of Cog's: the model is called by the server in that image"
        cure = "Build it (cog build -t NAME), start it (docker run --gpus all -p 127.0.0.1:5000:5000 NAME) and send POST /predictions."
        return (Check("other-server", "error", f"{text}.", Place("cog.yaml", 1), cure),)
    if bundle.format == "kserve":
        text = "This is a manifest of KServe's InferenceService: it names a model that is stored elsewhere, and holds none"
        cure = "Give the folder or the file that its storageUri names."
        return (Check("other-server", "error", f"{text}.", bundle.service.at if bundle.service else Place(""), cure),)
    return ()
