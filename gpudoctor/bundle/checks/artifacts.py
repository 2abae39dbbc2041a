"""The model files: whether they are there, whole, and of a format that the runtime in the bundle's requirements can load.

Files that the bundle does not list but that are models by their names (BentoML 1.x keeps them among its sources) are looked at too.
What a pickle does is the matter of ``checks/pickles.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from gpudoctor import tables
from gpudoctor.bundle import Artifact, Check, Place, contents
from gpudoctor.bundle.checks import environment
from gpudoctor.host import NoAnswer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.bundle import ArtifactKind, Bundle
    from gpudoctor.bundle.contents import Content
    from gpudoctor.bundle.files import Files
    from gpudoctor.bundle.onnxfile import External, Model
    from gpudoctor.bundle.pickles import Pickle
    from gpudoctor.bundle.torchzip import Zip
    from gpudoctor.facts import Facts

_AGAIN = "Copy the file again from where it was made, and compare the checksums; or pack the bundle again."
_PULL = "Fetch the file itself where the repository is (git lfs pull), and pack the bundle again."
_CALLED = {
    "onnx": "an ONNX model",
    "torchscript": "a TorchScript archive",
    "torch-pickle": "a pickle or an archive of PyTorch's",
    "torch-export": "an archive of torch.export's",
    "pickle": "a pickle",
    "keras-h5": "a Keras model",
    "savedmodel": "a SavedModel",
    "safetensors": "a safetensors file",
}
_MODELS = (
    ".onnx",
    ".pt",
    ".pth",
    ".pt2",
    ".pkl",
    ".pickle",
    ".joblib",
    ".h5",
    ".hdf5",
    ".keras",
    ".safetensors",
    ".ckpt",
    ".bin",
    ".plan",
)
_KINDS: dict[str, ArtifactKind] = {
    ".onnx": "onnx", ".pt": "torch-pickle", ".pth": "torch-pickle", ".ckpt": "torch-pickle", ".pt2": "torch-export", ".pkl": "pickle",
    ".pickle": "pickle", ".joblib": "pickle", ".h5": "keras-h5", ".hdf5": "keras-h5", ".keras": "keras-h5", ".safetensors": "safetensors",
}  # fmt: skip
_MOST_FILES = 200
_MOST_EXTERNAL = 10
_KERAS_3 = (2, 16)
"""From this TensorFlow on, ``tf.keras`` is Keras 3. Source: TensorFlow 2.16 release notes."""
_OWN_DOMAINS = frozenset({
    "", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview", "ai.onnx.preview.training", "com.microsoft",
    "com.microsoft.nchwc", "com.microsoft.experimental", "com.microsoft.dml", "com.ms.internal.nhwc",
})  # fmt: skip
"""Operator sets that ONNX Runtime has itself."""
_EXTENSIONS = "ai.onnx.contrib"


def check(bundle: Bundle, files: Files, facts: Facts) -> Iterator[Check]:
    """Yield what is wrong with the model files."""
    for artifact, listed in models(bundle, files):
        content = contents.of(files, artifact.path, artifact.kind)
        yield from _there(files, artifact, content, listed=listed)
        if content.onnx is not None and content.state == "whole":
            yield from _external(files, artifact, content.onnx)
            yield from _runtime(bundle, artifact, content.onnx)
            yield from _operators(bundle, artifact, content.onnx)
        if content.what in {"pickle", "zip"}:
            yield from _device(bundle, artifact, content, facts)
            yield from _torch(bundle, artifact, content)
        if artifact.kind == "keras-h5":
            yield from _keras(bundle, files, artifact, content)


def models(bundle: Bundle, files: Files) -> list[tuple[Artifact, bool]]:
    """Return the artifacts and whether the bundle lists them: those that it does, then files that are models by their names."""
    found = [(artifact, True) for artifact in bundle.artifacts]
    seen = {artifact.path for artifact in bundle.artifacts}
    folders = tuple(
        f"{path}/" if path else "" for path in seen if (entry := files.entry(path)) is not None and entry.kind == "dir"
    )
    data = _data_of(bundle, files)
    for entry in files.entries():
        if len(found) >= _MOST_FILES:
            break
        if entry.kind != "file" or entry.path in seen or entry.path in data:
            continue
        kind = kind_of(entry.path)
        inside = bool(folders) and entry.path.startswith(folders)
        if kind is not None and (entry.path.lower().endswith(_MODELS) or inside):
            found.append((Artifact(entry.path.rpartition("/")[2], kind, entry.path, Place(entry.path)), False))
    return found


def kind_of(path: str) -> ArtifactKind | None:
    """Return what a file is by its name's end, None where that is no model's."""
    low = path.lower()
    if low.endswith((".bin", ".plan")):
        # Transformers' weights are a pickle under this name; anything else may be called so as well.
        return "torch-pickle" if low.rpartition("/")[2].startswith("pytorch_model") else "unknown"
    end = "." + low.rpartition(".")[2]
    return _KINDS.get(end)


def _data_of(bundle: Bundle, files: Files) -> frozenset[str]:
    """Return the files in which ONNX models have their weights: they are no models, whatever they are called."""
    found = set[str]()
    for artifact in bundle.artifacts:
        if artifact.kind == "onnx":
            content = contents.of(files, artifact.path, "onnx")
            if content.onnx is not None:
                folder = artifact.path.rpartition("/")[0]
                found.update(f"{folder}/{each.location}".lstrip("/") for each in content.onnx.external)
    return frozenset(found)


def _there(files: Files, artifact: Artifact, content: Content, *, listed: bool) -> Iterator[Check]:
    """Yield that a file is missing, empty, something else, or not whole."""
    path, what = artifact.path, content.what
    at = Place(path)
    said = f"{artifact.declared} lists {artifact.name}, and " if listed and artifact.declared.path != path else ""
    if what == "absent":
        text = f"{said}{path} is not there." if said else f"{path} is not there."
        yield Check("artifact-missing", "error", text, artifact.declared, "Pack the bundle again, and copy all of it.")
    elif what == "folder":
        yield from _folder(files, artifact, said)
    elif what == "unreadable":
        # That a link leads out is the matter of the layout.
        if "leads out" not in content.problem:
            text = f"Cannot tell what {path} is: it cannot be read: {content.problem}."
            yield Check("artifact-unreadable", "unknown", text, at, "Run as a user who may read it.")
    elif what == "empty":
        yield from _empty(artifact, said, listed=listed)
    elif what == "git-lfs":
        of = f" of {content.problem} bytes" if content.problem else ""
        text = f"{path} is a pointer of git-lfs ({content.size} bytes), not the file{of} that it stands for."
        yield Check("git-lfs-pointer", "error", text, Place(path, 1), _PULL)
    elif artifact.kind == "savedmodel":
        text = f"{said}{path} is a file, and a SavedModel is a folder."
        yield Check("artifact-not-a-model", "error", text, at, "Pack the bundle again, and copy all of it.")
    elif what == "foreign":
        text = f"{path} should be {_CALLED.get(artifact.kind, 'a model')}, and is {content.problem}."
        page = "page" in content.problem or "document" in content.problem or "JSON" in content.problem
        cure = "It is what a server answered in place of the file: download it again, signed in if need be." if page else _AGAIN
        yield Check("artifact-not-a-model", "error", text, at, cure)
    elif content.state == "truncated":
        yield Check("artifact-truncated", "error", f"{path} is cut off: {content.problem}.", at, _AGAIN)
    elif content.state == "damaged":
        known = _CALLED.get(artifact.kind, "what it should be")
        yield Check("artifact-damaged", "error", f"{path} is not {known}, or a damaged one: {content.problem}.", at, _AGAIN)
    elif content.state == "unread":
        yield Check("artifact-unread", "unknown", f"Cannot tell whether {path} is whole: {content.problem}.", at)


def _empty(artifact: Artifact, said: str, *, listed: bool) -> Iterator[Check]:
    # The empty text of a TextFileArtifact is a text; an empty file that nothing lists may be meant.
    severity: Literal["error", "warning"] = "error" if listed and artifact.kind != "text" else "warning"
    text = f"{said}{artifact.path} is empty (0 bytes)." if said else f"{artifact.path} is empty (0 bytes)."
    yield Check("artifact-empty", severity, text, Place(artifact.path), _AGAIN)


def _folder(files: Files, artifact: Artifact, said: str) -> Iterator[Check]:
    """Yield what a folder lacks: a SavedModel's parts; any file at all."""
    path = artifact.path
    if artifact.kind not in {"savedmodel", "unknown"}:
        text = f"{said}{path} is a folder, and {_CALLED.get(artifact.kind, 'it')} is a file."
        yield Check("artifact-not-a-model", "error", text, Place(path), "Pack the bundle again, and copy all of it.")
        return
    prefix = f"{path}/" if path else ""
    inside = [entry for entry in files.entries() if entry.path.startswith(prefix) and entry.kind != "dir"]
    # BentoML 0.13 puts an empty __init__.py into each folder of artifacts.
    if not any(entry.path != f"{prefix}__init__.py" for entry in inside):
        text = f"{said}{path} is an empty folder."
        yield Check("artifact-empty", "error", text, artifact.declared, "Pack the bundle again, and copy all of it.")
        return
    for entry in inside[:_MOST_FILES]:
        if entry.kind == "file" and 100 < entry.size < 1024 and contents.of(files, entry.path, "unknown").what == "git-lfs":
            text = f"{entry.path} is a pointer of git-lfs ({entry.size} bytes), not the file that it stands for."
            yield Check("git-lfs-pointer", "error", text, Place(entry.path, 1), _PULL)
    if artifact.kind == "savedmodel":
        yield from _saved_model(files, artifact, prefix)


def _saved_model(files: Files, artifact: Artifact, prefix: str) -> Iterator[Check]:
    again = "Save the model again (tf.saved_model.save), and copy the whole folder."
    name = f"{prefix}saved_model.pb"
    content = contents.of(files, name, "savedmodel")
    if content.what == "absent":
        if not files.has(f"{prefix}saved_model.pbtxt"):
            text = f"{artifact.path or 'The folder'} has no saved_model.pb, so it is no SavedModel."
            yield Check("artifact-missing", "error", text, artifact.declared, again)
    elif content.what in {"empty", "git-lfs"}:
        yield from _there_file(Artifact(artifact.name, "unknown", name, Place(name)), content)
    elif content.what == "foreign":
        yield Check("artifact-not-a-model", "error", f"{name} is {content.problem}.", Place(name), _AGAIN)
    elif content.state == "truncated":
        yield Check("artifact-truncated", "error", f"{name} is cut off: {content.problem}.", Place(name), _AGAIN)
    elif content.state == "damaged":
        yield Check(
            "artifact-damaged", "error", f"{name} is no saved_model.pb, or a damaged one: {content.problem}.", Place(name), _AGAIN
        )
    index = f"{prefix}variables/variables.index"
    there = files.entry(index)
    if there is None:
        text = f"{index} is not there: TensorFlow reads the variables of every SavedModel, even of one that has none."
        yield Check("artifact-missing", "error", text, artifact.declared, again)
        return
    if not there.size:
        yield Check("artifact-empty", "error", f"{index} is empty (0 bytes).", Place(index), _AGAIN)
    shards = [entry for entry in files.children(f"{prefix}variables") if "/variables.data-" in f"/{entry.path}"]
    whole = next((int(entry.path[-5:]) for entry in shards if entry.path[-5:].isdigit()), 1)
    names = {entry.path.rpartition("/")[2] for entry in shards}
    missing = [name for number in range(min(whole, 1000)) if (name := f"variables.data-{number:05}-of-{whole:05}") not in names]
    if missing:
        text = f"{prefix}variables/{missing[0]} is not there" + (f", nor {len(missing) - 1} more." if len(missing) > 1 else ".")
        yield Check("artifact-missing", "error", text, artifact.declared, again)
    for entry in shards:
        # A model without variables has a shard of no bytes when TensorFlow 2 wrote it: then the index is small.
        if not entry.size and there.size > 1024:
            yield Check("artifact-empty", "error", f"{entry.path} is empty (0 bytes).", Place(entry.path), _AGAIN)


def _there_file(artifact: Artifact, content: Content) -> Iterator[Check]:
    if content.what == "empty":
        yield from _empty(artifact, "", listed=True)
    else:
        text = f"{artifact.path} is a pointer of git-lfs ({content.size} bytes), not the file that it stands for."
        yield Check("git-lfs-pointer", "error", text, Place(artifact.path, 1), _PULL)


# ONNX.


def _external(files: Files, artifact: Artifact, model: Model) -> Iterator[Check]:
    """Yield which files with weights are missing, too short, or outside of the model's folder."""
    folder = artifact.path.rpartition("/")[0]
    found = [one for each in model.external if (one := _outside(files, artifact.path, folder, each))]
    for check_, text, where in found[:_MOST_EXTERNAL]:
        cure = "Put the file beside the model; BentoML 0.13 does not copy it: save the model as one file (onnx.save without external data)."
        if check_ == "git-lfs-pointer":
            cure = _PULL
        elif check_ == "path-leaves-bundle":
            cure = "Save the model again with its data beside it: ONNX Runtime refuses a path that leaves the folder."
        yield Check(check_, "error", text, where, cure)
    if len(found) > _MOST_EXTERNAL:
        text = f"{artifact.path}: {len(found) - _MOST_EXTERNAL} more files with its weights are missing, too short or elsewhere."
        yield Check("external-data-missing", "error", text, Place(artifact.path))


def _outside(files: Files, path: str, folder: str, each: External) -> tuple[str, str, Place] | None:
    location = each.location
    weights = f"{each.tensors} of its weights" if each.tensors > 1 else "one of its weights"
    shown = location[:120] or "no file"
    parts = location.replace("\\", "/").split("/")
    if location.startswith(("/", "\\", "*/")) or ".." in parts or not location.strip("./") or location[1:2] == ":":
        return "path-leaves-bundle", f"{path} has {weights} in {shown!r}, which is no file in its own folder.", Place(path)
    where = "/".join(part for part in (folder, *parts) if part not in {"", "."})
    entry = files.entry(where)
    if entry is None:
        return "external-data-missing", f"{path} has {weights} in {shown}, which is not there.", Place(path)
    if entry.kind == "link":
        return "path-leaves-bundle", f"{path} has {weights} in {shown}, which is a link out of the bundle.", Place(where)
    if entry.kind != "file":
        return "external-data-missing", f"{path} has {weights} in {shown}, which is no file.", Place(where)
    if entry.size < 1024 and contents.of(files, where, "unknown").what == "git-lfs":
        return (
            "git-lfs-pointer",
            f"{path} has {weights} in {shown}, which is a pointer of git-lfs, not the file.",
            Place(where, 1),
        )
    if entry.size < each.needs:
        text = f"{path} has {weights} in {shown}, which has {entry.size:,} bytes, and they need {each.needs:,}."
        return "external-data-missing", text, Place(where)
    return None


def _runtime(bundle: Bundle, artifact: Artifact, model: Model) -> Iterator[Check]:
    """Yield that the ONNX Runtime which the bundle asks for is too old for the model."""
    from gpudoctor.tables import onnx

    opset, ir = model.opset(), model.ir
    at = Place(artifact.path)
    first = onnx.first(opset, ir)
    wanted = environment.asked(bundle, "onnxruntime-gpu", "onnxruntime")
    if not first:
        text = f"{artifact.path} is of opset {opset} and IR version {ir}, newer than any ONNX Runtime known here loads ({tables.AS_OF})."
        yield Check("runtime-too-old-for-model", "warning", text, at, "Export it with an older opset, or wait for the release.")
        return
    if wanted is None:
        return
    release = next((each.lstrip("=") for each in wanted.spec.split(",") if each.startswith("==") and "*" not in each), "")
    pinned = bool(release)
    release = release or environment.newest(bundle, "onnxruntime-gpu", wanted.spec)
    most = onnx.newest(release) if release else None
    if most is None or (opset <= most.opset and ir <= most.ir):
        return
    has = f"opset {opset}" if opset > most.opset else f"IR version {ir}"
    knows = f"opset {most.opset}" if opset > most.opset else f"IR version {most.ir}"
    which = f"{wanted.name} {release}" + ("" if pinned else f", the newest that pip takes for this Python ({tables.AS_OF}),")
    text = f"{artifact.path} is of {has}, and {which} loads up to {knows} (asked for at {wanted.at})."
    cure = f"Ask for {wanted.name}>={first}, or export the model with opset {most.opset} and IR version {most.ir} at most."
    yield Check("runtime-too-old-for-model", "error", text, at, cure)


def _operators(bundle: Bundle, artifact: Artifact, model: Model) -> Iterator[Check]:
    """Yield operators that ONNX Runtime has not got, and a model that computes nothing."""
    at = Place(artifact.path)
    if not model.nodes:
        text = f"{artifact.path} has no nodes: there is nothing for a GPU to compute."
        yield Check("model-without-nodes", "warning", text, at, "Export the model again; this one gives back what is in it.")
    own = {domain for domain, _ in model.functions}
    strange: dict[str, list[str]] = {}
    for each in model.operators:
        if each.domain not in _OWN_DOMAINS and (each.domain, each.name) not in model.functions and each.domain not in own:
            strange.setdefault(each.domain, []).append(each.name)
    plugins = [each.name for each in model.operators if each.domain == "" and each.name.endswith("_TRT")]
    if plugins:
        strange.setdefault("trt.plugins", []).extend(plugins)
    for domain, names in sorted(strange.items())[:5]:
        some = ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
        if domain == _EXTENSIONS:
            if environment.asked(bundle, "onnxruntime-extensions") is None:
                text = f"{artifact.path} uses {some} of {domain}, which comes with onnxruntime-extensions; the bundle does not ask for it."
                yield Check(
                    "custom-operators", "warning", text, at, "Require onnxruntime-extensions and register it in the session."
                )
            continue
        text = f"{artifact.path} uses operators of {domain[:80]} ({some[:120]}), which ONNX Runtime does not have itself."
        cure = (
            "Use TensorrtExecutionProvider, whose plugins they are."
            if domain == "trt.plugins"
            else "See that the code registers their library (SessionOptions.register_custom_ops_library) and that it is in the bundle."
        )
        yield Check("custom-operators", "warning", text, at, cure)


# PyTorch.


def _device(bundle: Bundle, artifact: Artifact, content: Content, facts: Facts) -> Iterator[Check]:
    """Yield on which GPUs tensors were saved, or TorchScript's code puts them, and whether this host has them."""
    inside = pickles_of(content)
    saved = {
        device.name: f"byte {device.at + start:,}" if not member else f"{member}, byte {device.at - start:,}"
        for member, start, pickle in inside
        for device in pickle.devices
        if device.how == "tensor" and device.name.startswith("cuda")
    }
    written = {each.device: f"{each.member}:{each.line}" for each in (content.zip.written if content.zip is not None else ())}
    if not saved and not written:
        return
    most = max(_number(name) for name in (*saved, *written))
    names = ", ".join(sorted(saved or written))
    where = next(iter((saved or written).values()))
    if saved:
        # TorchScript and torch.export are loaded by the runner with the device that it wants; a pickle by whoever wrote the loader.
        fixed = bundle.format == "bentoml-0.13" and artifact.kind in {"torch-pickle", "torchscript"}
        how = (
            "BentoML 0.13 loads it without map_location, so it needs"
            if fixed
            else "where it is loaded without map_location it needs"
        )
        text = f"{artifact.path} was saved on {names} ({where}): {how} {_what(most)} to be loaded at all."
        cure = (
            "Move the model to the CPU before it is packed (model.cpu()), and to the GPU after it is loaded (model.to(device))."
        )
    else:
        text = f"{artifact.path} has {names} written into its code ({where}), which map_location does not change: it needs {_what(most)}."
        cure = "Trace or script the model on the device where it will run, or take the device from its input."
    severity: Literal["error", "warning", "hint"] = "warning" if saved or most else "hint"
    try:
        have = facts.gpus.count
        lacks = not facts.gpus.present or 0 < have <= most
    except NoAnswer as miss:
        yield Check("saved-on-cuda", severity, text, Place(artifact.path), cure)
        yield Check("saved-on-cuda", "unknown", f"Cannot tell whether this host has {_what(most)}: {miss}.", Place(artifact.path))
        return
    if lacks:
        severity = "error"
        text = f"{text[:-1]}, and this host has {f'{have} GPU' + ('s' if have > 1 else '') if have else 'no NVIDIA GPU'}."
    yield Check("saved-on-cuda", severity, text, Place(artifact.path), cure)


def _number(device: str) -> int:
    digits = device.partition(":")[2]
    return int(digits) if digits.isdigit() and len(digits) < 6 else 0


def _what(most: int) -> str:
    return f"GPU {most} (at least {most + 1} GPUs)" if most else "a GPU"


def pickles_of(content: Content) -> list[tuple[str, int, Pickle]]:
    """Return the pickles in a file: each with the archive's member that it is ("": the file itself), and where that begins."""
    found = [("", 0, content.pickle)] if content.pickle is not None else []
    return found + [(each.member, each.at, each.pickle) for each in (content.zip.pickles if content.zip is not None else ())]


def _torch(bundle: Bundle, artifact: Artifact, content: Content) -> Iterator[Check]:
    """Yield that the file is of another of torch's formats than what loads it expects."""
    at = Place(artifact.path)
    for member, _, pickle in pickles_of(content):
        if pickle.state != "whole":
            name = "truncated" if pickle.state == "truncated" else "unread" if pickle.state == "unread" else "damaged"
            if member and name != "unread":
                yield Check(
                    f"artifact-{name}", "error", f"{artifact.path}: its pickle {member} is broken: {pickle.problem}.", at, _AGAIN
                )
            elif member:
                yield Check("artifact-unread", "unknown", f"Cannot tell what {artifact.path} is: {pickle.problem}.", at)
    archive = content.zip
    weights = weights_only(content)
    if (
        archive is not None
        and content.what == "zip"
        and bundle.format == "bentoml-0.13"
        and artifact.kind in {"torch-pickle", "torchscript"}
    ):
        if archive.state == "whole" and archive.kind != "torchscript":
            what = _words(archive, weights=weights)
            text = f"{artifact.path} is {what}, and BentoML 0.13 takes every zip archive for TorchScript: loading it fails."
            cure = "Pack the model itself (svc.pack(name, model)), or save it with torch.jit.save."
            yield Check("weights-only" if weights else "artifact-not-a-model", "error", text, at, cure)
    elif (
        weights
        and artifact.kind in {"torch-pickle", "torchscript", "torch-export"}
        and bundle.format not in {"state-dict", "bentoml-1"}
    ):
        text = f"{artifact.path} has weights alone, without the model's code: it cannot be called by itself."
        cure = "Save the model itself, or export it (TorchScript, torch.export, ONNX)."
        severity: Literal["error", "warning"] = (
            "error" if artifact.kind != "torch-pickle" or bundle.format == "torchscript" else "warning"
        )
        yield Check("weights-only", severity, text, at, cure)
    if artifact.kind == "torch-export" and archive is not None and archive.kind == "torch-export":
        yield from _export(bundle, artifact, archive)


def _words(archive: Zip, *, weights: bool) -> str:
    if archive.kind == "torch-save":
        return "an archive of torch.save's with weights alone" if weights else "an archive of torch.save's"
    return {"torch-export": "an archive of torch.export's", "mar": "an archive of TorchServe's"}.get(
        archive.kind, "another zip archive"
    )


_WEIGHTS = ("torch._utils._rebuild", "torch._tensor._rebuild", "torch.nn.parameter.", "collections.OrderedDict", "torch.storage.")


def weights_only(content: Content) -> bool:
    """Tell whether a file of torch's names nothing but tensors and plain containers, and has a tensor."""
    inside = pickles_of(content)
    if content.zip is not None and content.zip.kind != "torch-save":
        return False
    names = {str(use) for _, _, pickle in inside for use in pickle.uses}
    plain = all(name.startswith(_WEIGHTS) or (name.startswith("torch.") and _is_value(name)) for name in names)
    return plain and any("_rebuild" in name for name in names)


def _is_value(name: str) -> bool:
    """Tell whether a name of torch's is a storage, a type, a size or a device."""
    last = name.rpartition(".")[2]
    return last.endswith("Storage") or (name.count(".") == 1 and last in {"Size", "device", "dtype", "Tensor"} | _DTYPES)


_DTYPES = frozenset({
    "float16", "float32", "float64", "bfloat16", "half", "float", "double", "int8", "uint8", "int16", "int32", "int64", "bool",
    "complex64", "complex128",
})  # fmt: skip


def _export(bundle: Bundle, artifact: Artifact, archive: Zip) -> Iterator[Check]:
    """Yield that torch is older than what wrote a .pt2: from 2.8 on it is an archive of another build."""
    wanted = environment.asked(bundle, "torch")
    exact = next((each.lstrip("=") for each in (wanted.spec if wanted else "").split(",") if each.startswith("==")), "")
    if wanted is not None and exact and archive.repacked and (2,) <= tables.version(exact) < (2, 8):
        text = f"{artifact.path} was written by torch 2.8 or newer, and {wanted.at} asks for torch {exact}."
        yield Check(
            "runtime-too-old-for-model", "warning", text, Place(artifact.path), "Export it with the torch that will load it."
        )


# Keras.


def _keras(bundle: Bundle, files: Files, artifact: Artifact, content: Content) -> Iterator[Check]:
    """Yield what BentoML's KerasModelArtifact needs beside the model, and what Keras 3 makes of an old file."""
    release = _tensorflow(bundle)
    keras_3 = tables.version(release)[:2] >= _KERAS_3
    at = Place(artifact.path)
    if bundle.format == "bentoml-0.13" and artifact.declared.path != artifact.path:
        folder = artifact.path.rpartition("/")[0]
        named = f"{folder}/{artifact.name}_keras_module_name.txt"
        entry = files.entry(named)
        if entry is None:
            text = f"{named} is not there: BentoML 0.13 reads the name of Keras's module in it and does not load the model without it."
            yield Check("artifact-missing", "error", text, artifact.declared, "Pack the bundle again, and copy all of it.")
        elif entry.kind == "file":
            yield from _keras_module(files, named, release, keras_3=keras_3)
    if content.what == "zip" and content.zip is not None and content.zip.kind == "keras" and release and not keras_3:
        if tables.version(release)[:2] < (2, 12):
            text = (
                f"{artifact.path} is in Keras's format of 2023 (.keras), and TensorFlow {release} reads .h5 and SavedModel alone."
            )
            yield Check("runtime-too-old-for-model", "error", text, at, "Save it as .h5, or require TensorFlow 2.12 or newer.")
    elif content.what == "hdf5" and content.state == "whole" and keras_3:
        text = f"{artifact.path} is in Keras's old format (.h5), and TensorFlow {release} has Keras 3, which does not load every such model."
        yield Check("keras-3-loads-old-format", "hint", text, at, "Pin the TensorFlow that saved it, or save it as .keras.")


def _keras_module(files: Files, named: str, release: str, *, keras_3: bool) -> Iterator[Check]:
    try:
        module = files.read(named, 200).decode("utf-8", "replace").strip()
    except OSError:
        return
    gone = module.startswith(("keras.api._v2", "keras.api._v1", "tensorflow.python.keras"))
    if not module.replace(".", "").replace("_", "").isalnum():
        text = f"{named} should have the name of Keras's module, and has {module[:40]!r}."
        yield Check("artifact-damaged", "error", text, Place(named, 1), "Pack the bundle again, and copy all of it.")
    elif gone and keras_3:
        text = f"{named} has BentoML import {module}, which is not in Keras 3, and that comes with TensorFlow {release}."
        yield Check(
            "module-not-bundled",
            "error",
            text,
            Place(named, 1),
            "Require tensorflow<2.16, or pack the model again with the new one.",
        )
    elif gone and not release:
        text = f"{named} has BentoML import {module}, which is not in TensorFlow 2.16 and newer."
        yield Check("module-not-bundled", "warning", text, Place(named, 1), "Require the TensorFlow that it was packed with.")


def _tensorflow(bundle: Bundle) -> str:
    """Return the TensorFlow that the bundle gets: the one it pins, or the newest for its Python; "" where that is not known."""
    wanted = environment.asked(bundle, "tensorflow", "tensorflow-gpu", "tensorflow-cpu")
    if wanted is None:
        return ""
    pinned = next((each.lstrip("=") for each in wanted.spec.split(",") if each.startswith("==") and "*" not in each), "")
    return pinned or environment.newest(bundle, "tensorflow", environment.tensorflow_bounds(bundle, wanted.spec))
