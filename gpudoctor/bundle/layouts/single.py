"""One file of torch's or of weights alone: TorchScript, ``.pt2``, what torch.save wrote, safetensors, and TorchServe's ``.mar``.

All of torch's are zip archives and are told apart by the names in them, not by the file's own name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

from gpudoctor.bundle import Api, Artifact, Bundle, Place, Tensor, zips
from gpudoctor.bundle.files import Leaves
from gpudoctor.bundle.layouts import parts

if TYPE_CHECKING:
    from gpudoctor.bundle import ArtifactKind
    from gpudoctor.bundle.files import Files

_TORCH = (".pt", ".pth", ".pt2", ".ts", ".torchscript", ".jit", ".ckpt", ".bin", ".mar")
_LONGEST_PROGRAM = 4 * 1024 * 1024
"""Bytes of a graph's JSON that are read into values, which take ten times as much."""
_DTYPES = {
    1: "uint8",
    2: "int8",
    3: "int16",
    4: "int32",
    5: "int64",
    6: "float16",
    7: "float32",
    8: "float64",
    10: "complex64",
    11: "complex128",
    12: "bool",
    13: "bfloat16",
}
"""ScalarType of torch/_export/serde/schema.py."""
_LONGEST_HEADER = 100 * 1024 * 1024
"""safetensors refuses a longer one."""


def found(files: Files, path: str) -> Bundle | None:
    """Return the bundle that one file of torch's, of safetensors or of TorchServe's is; None for any other."""
    if len(files.only) != 1:
        return None
    name = files.only[0]
    entry = files.entry(name)
    if entry is None:
        return None
    head = parts.content(files, name, 64 * 1024) or b""
    low = name.lower()
    if low.endswith(".safetensors") or safetensors(head, entry.size):
        return _bundle("safetensors", "safetensors", files, path, name)
    if head.startswith(b"PK\x03\x04"):
        return _zip(files, path, name, entry.size, head)
    if not low.endswith(_TORCH):
        return None
    if low.endswith(".mar"):
        return _bundle("torchserve", "unknown", files, path, name)
    if low.endswith(".pt2"):
        return _bundle("torch-export", "torch-export", files, path, name)
    # A pickle: what torch.save wrote before 1.6, or a module pickled by itself. Anything else is no file that can be told by its bytes.
    if head[:1] == b"\x80":
        return _bundle("state-dict", "torch-pickle", files, path, name)
    return None if low.endswith(".bin") else _bundle("torchscript", "torchscript", files, path, name)


def _zip(files: Files, path: str, name: str, size: int, head: bytes) -> Bundle | None:
    try:
        with files.open(name) as stream:
            members = zips.members(stream, size)
            if members is not None:
                return _whole(files, path, name, stream, members)
    except (Leaves, OSError):
        pass
    # Cut off: the directory stands at the end. What it is called, and the name of the first members, must do.
    low = name.lower()
    if low.endswith(".mar"):
        return _bundle("torchserve", "unknown", files, path, name)
    if low.endswith(".pt2"):
        return _bundle("torch-export", "torch-export", files, path, name)
    return _bundle("torchscript", "torchscript", files, path, name) if low.endswith(_TORCH) or b"data.pkl" in head else None


def _whole(files: Files, path: str, name: str, stream: BinaryIO, members: tuple[zips.Member, ...]) -> Bundle | None:
    # torch puts everything into one folder that has the name of the file when it was saved.
    inner = {member.name.partition("/")[2] or member.name: member for member in members}
    if any(member.name == "MAR-INF/MANIFEST.json" for member in members):
        return _bundle("torchserve", "unknown", files, path, name)
    if "constants.pkl" in inner and any(member.startswith("code/") for member in inner):
        return _bundle("torchscript", "torchscript", files, path, name)
    program = inner.get("models/model.json") or inner.get("serialized_exported_program.json")
    if program is not None or "archive_format" in inner:
        data = zips.content(stream, program, _LONGEST_PROGRAM) if program else None
        return _bundle("torch-export", "torch-export", files, path, name, exported(parts.json_of(data)) if data else ())
    return _bundle("state-dict", "torch-pickle", files, path, name) if "data.pkl" in inner else None


def _bundle(format_: str, kind: ArtifactKind, files: Files, path: str, name: str, inputs: tuple[Tensor, ...] = ()) -> Bundle:
    stem = name.rpartition(".")[0] or name
    apis = (Api("forward", "", "Tensor", inputs, at=Place(name)),) if format_ in {"torchscript", "torch-export"} else ()
    return Bundle(format_, path, files.root, stem, artifacts=(Artifact(stem, kind, name, Place(name)),), apis=apis)


def exported(program: Any) -> tuple[Tensor, ...]:
    """Return the inputs of an exported program; a dimension that may vary has the size of the example that it was exported with."""
    module = parts.deeper(program, "graph_module")
    values = parts.deeper(module, "graph", "tensor_values")
    specs = parts.deeper(module, "signature", "input_specs")
    found = []
    for spec in specs if isinstance(specs, list) else ():
        name = parts.deeper(spec, "user_input", "arg", "as_tensor", "name")
        if not isinstance(name, str):
            continue
        about = parts.deeper(values, name)
        dtype, sizes = parts.deeper(about, "dtype"), parts.deeper(about, "sizes")
        shape = tuple(_size(each) for each in sizes) if isinstance(sizes, list) else None
        found.append(Tensor(name, _DTYPES.get(dtype, "") if isinstance(dtype, int) else "", shape))
    return tuple(found)


def _size(about: Any) -> int | None:
    for value in (parts.deeper(about, "as_int"), parts.deeper(about, "as_expr", "hint", "as_int")):
        if isinstance(value, int):
            return value
    return None


def safetensors(head: bytes, size: int) -> bool:
    """Tell whether bytes begin as a safetensors file: the header's length in eight bytes, then JSON."""
    length = int.from_bytes(head[:8], "little")
    return 2 <= length <= min(_LONGEST_HEADER, size - 8) and head[8:10] in {b'{"', b"{}"}


def weights(files: Files, path: str) -> Bundle | None:
    """Return what a folder of weights is: safetensors, or what torch.save wrote, as Hugging Face's models are saved."""
    there = [each for each in files.children("") if each.kind in {"file", "link"}]
    low = {each.path: each.path.lower() for each in there}
    # Hugging Face's exports have the ONNX model in a folder of its own, beside the weights.
    inner = [each.path.lower() for each in files.children("onnx")]
    if any(name.endswith((".onnx", ".pt2")) for name in (*low.values(), *inner)):
        return None
    tensors = [name for name in low if low[name].endswith(".safetensors")]
    if tensors:
        made = tuple(Artifact(name.rpartition(".")[0], "safetensors", name, Place(name)) for name in tensors)
        return Bundle("safetensors", path, files.root, artifacts=made)
    torch = [name for name in low if low[name].startswith("pytorch_model") and low[name].endswith(".bin")]
    made = tuple(Artifact(name.rpartition(".")[0], "torch-pickle", name, Place(name)) for name in torch)
    return Bundle("state-dict", path, files.root, artifacts=made) if made else None


def refuse_file(files: Files, path: str, supported: str) -> NoReturn:
    """Raise NotABundle for a file of no known kind, with what it looks like."""
    name = files.only[0]
    low = name.lower()
    head = parts.content(files, name, 512)
    if head is None:
        parts.refuse(f"not a bundle: {name} cannot be read", Place(path), "Run as a user who may read it.")
    if not head:
        parts.refuse(f"not a bundle: {name} is empty", Place(path), supported)
    if head.startswith(b"version https://git-lfs.github.com/spec/"):
        cure = "Fetch the file itself: git lfs pull."
        parts.refuse(f"not a bundle: {name} is a pointer of git-lfs, not the file", Place(path, 1), cure, "git-lfs-pointer")
    if low.endswith((".h5", ".hdf5", ".keras")) or head.startswith(b"\x89HDF\r\n"):
        cure = "Pack it with BentoML, or save it as a TensorFlow SavedModel (model.export), and give that folder."
        parts.refuse(f"not a bundle: {name} is a Keras model by itself, with nothing that says how to call it", Place(path), cure)
    if low.endswith((".pkl", ".pickle", ".joblib", ".pickle.gz")) or head[:1] == b"\x80":
        cure = "Give the folder that it was packed in, or pack it with BentoML or MLflow."
        parts.refuse(
            f"not a bundle: {name} is a pickle by itself: it says neither what it needs nor how to call it", Place(path), cure
        )
    if low.endswith((".plan", ".engine", ".trt")):
        cure = "Put it into a Triton repository (MODEL/1/model.plan) and give that folder."
        parts.refuse(f"not a bundle: {name} is a TensorRT engine by itself", Place(path), cure)
    if low.endswith((".gguf", ".ggml")) or head.startswith(b"GGUF"):
        cure = "Serve it with the program it was made for, such as llama.cpp, and check the GPU with gpudoctor smoke."
        parts.refuse(f"not a bundle: {name} has weights for llama.cpp", Place(path), cure)
    if low.endswith(".py"):
        parts.refuse(f"not a bundle: {name} is Python source, not a packed bundle", Place(path), "Build it first: bentoml build.")
    parts.refuse(f"not a bundle: {name} is a file of no kind that is known here", Place(path), supported)
