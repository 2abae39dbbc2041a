"""Tests of the checks of model files: missing, cut off, of another kind; what pickles do and need; what the runtime can load."""

from __future__ import annotations

import collections
import datetime as dt
import functools
import io
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from gpudoctor.bundle import Artifact, Bundle, Place, Required, Said
from gpudoctor.bundle.checks import artifacts, pickles
from gpudoctor.bundle.files import Files
from gpudoctor.host import NoAnswer
from tests.amount import REAL

ROOT = Path(__file__).parents[2]
TORCH = ROOT / ".cache/frameworks/torch/bin/python"


class Facts:
    """A host with a number of GPUs; None is a host that does not say."""

    def __init__(self, gpus: int | None) -> None:
        """Take how many."""
        self.number = gpus

    @property
    def gpus(self):
        """Return the GPUs."""
        if self.number is None:
            raise NoAnswer("sysfs cannot be read")
        return SimpleNamespace(count=self.number, present=self.number > 0)


def examined(root: Path, bundle: Bundle, gpus: int | None = 1):
    """Return what both checks find in a folder."""
    files = Files(str(root))
    facts = Facts(gpus)
    return [*artifacts.check(bundle, files, facts), *pickles.check(bundle, files, facts)]


def packed(
    root: Path, name: str, data: bytes | None, kind: str, format_: str = "bentoml-0.13", pip: str = "bentoml==0.13.2", **more
):
    """Return what is found in a bundle with one artifact of these bytes (None: it is not there)."""
    path = root / "artifacts" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if data is not None:
        path.write_bytes(data)
    asked = []
    for line, each in enumerate(pip.split(), start=1):
        package, sign, spec = each.partition("=")
        asked.append(Required(package, sign + spec, "", "pip", Place("requirements.txt", line)))
    artifact = Artifact(name.partition(".")[0], kind, f"artifacts/{name}", Place("bentoml.yml", 9))
    gpus = more.pop("gpus", 1)
    bundle = Bundle(format_, str(root), str(root), artifacts=(artifact,), requirements=tuple(asked), **more)
    return examined(root, bundle, gpus)


def found(checks, name: str = "") -> list[tuple[str, str]]:
    """Return names and severities, of one check alone where it is named."""
    return [(each.check, each.severity) for each in checks if not name or each.check == name]


def errors(checks) -> set[str]:
    """Return the names of the errors."""
    return {each.check for each in checks if each.severity == "error"}


# Files.

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 132735\n"
HTML = b"<!DOCTYPE html>\n<html><head><title>404</title></head></html>"
KINDS = [
    ("m.onnx", "onnx"),
    ("m.pt", "torch-pickle"),
    ("m.pkl", "pickle"),
    ("m.h5", "keras-h5"),
    ("m.safetensors", "safetensors"),
]


@pytest.mark.parametrize(("name", "kind"), KINDS)
@pytest.mark.parametrize(
    ("data", "check"),
    [(None, "artifact-missing"), (b"", "artifact-empty"), (LFS, "git-lfs-pointer"), (HTML, "artifact-not-a-model")],
)
def test_what_is_no_model_at_all(tmp_path, name, kind, data, check):
    """Missing, empty, a pointer of git-lfs and an error page are told apart, for each kind, and say where."""
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts/m_keras_module_name.txt").write_text("keras")
    if kind == "safetensors" and data == HTML:
        check = "artifact-damaged"
    checks = packed(tmp_path, name, data, kind)
    assert errors(checks) == {check}
    (only,) = [each for each in checks if each.check == check]
    assert f"artifacts/{name}" in only.text
    assert str(only.where) in {f"artifacts/{name}", f"artifacts/{name}:1", "bentoml.yml:9"}
    assert only.cure


def test_a_folder_in_place_of_a_file(tmp_path):
    """A folder where a file belongs is said, and a file where a SavedModel's folder belongs."""
    (tmp_path / "artifacts/m.onnx").mkdir(parents=True)
    (tmp_path / "artifacts/m.onnx/x").write_text("x")
    assert errors(packed(tmp_path, "m.onnx", None, "onnx")) == {"artifact-not-a-model"}
    assert errors(packed(tmp_path, "model_saved_model", b"x", "savedmodel")) == {"artifact-not-a-model"}


def test_models_that_are_not_listed_are_looked_at(tmp_path):
    """BentoML 1.x lists no model files: a cut one among the sources is found, and the text of a program is not."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src/model.onnx").write_bytes(LFS)
    (tmp_path / "src/weights.pt").write_bytes(pickle.dumps(Danger(os.system, "id")))
    (tmp_path / "src/service.py").write_text("import os")
    bundle = Bundle("bentoml-1", "x", str(tmp_path))
    assert errors(examined(tmp_path, bundle)) == {"git-lfs-pointer", "dangerous-pickle"}


def test_a_savedmodel_and_its_parts(tmp_path):
    """saved_model.pb, the index and each shard of the variables must be there."""
    folder = tmp_path / "artifacts/m_saved_model"
    (folder / "variables").mkdir(parents=True)
    pb = b"\x08\x01\x12\x04\x0a\x02\x22\x00"
    (folder / "saved_model.pb").write_bytes(pb)
    (folder / "variables/variables.index").write_bytes(b"i" * 2000)
    for shard in range(3):
        (folder / f"variables/variables.data-0000{shard}-of-00003").write_bytes(b"x")
    assert not packed(tmp_path, "m_saved_model", None, "savedmodel")
    (folder / "variables/variables.data-00001-of-00003").unlink()
    assert errors(packed(tmp_path, "m_saved_model", None, "savedmodel")) == {"artifact-missing"}
    (folder / "variables/variables.data-00001-of-00003").write_bytes(b"")
    assert errors(packed(tmp_path, "m_saved_model", None, "savedmodel")) == {"artifact-empty"}
    (folder / "saved_model.pb").write_bytes(pb[:-1])
    assert "artifact-truncated" in errors(packed(tmp_path, "m_saved_model", None, "savedmodel"))
    (folder / "saved_model.pb").unlink()
    (folder / "variables/variables.index").unlink()
    (only, second) = [each for each in packed(tmp_path, "m_saved_model", None, "savedmodel") if each.check == "artifact-missing"]
    assert "saved_model.pb" in only.text
    assert "variables.index" in second.text


def test_the_companions_of_a_keras_model(tmp_path):
    """BentoML 0.13 does not load a Keras model without the file that names Keras's module, and that module may be gone."""
    data = b"\x89HDF\r\n\x1a\n\x02\x08\x08\x00" + bytes(16) + (100).to_bytes(8, "little")
    data = data.ljust(100, b"x")
    assert errors(packed(tmp_path, "m.h5", data, "keras-h5")) == {"artifact-missing"}
    named = tmp_path / "artifacts/m_keras_module_name.txt"
    named.write_text("keras.api._v2.keras")
    old = packed(tmp_path, "m.h5", data, "keras-h5", pip="bentoml==0.13.2 tensorflow==2.8.4")
    assert not old
    new = packed(tmp_path, "m.h5", data, "keras-h5", pip="bentoml==0.13.2 tensorflow==2.21.0")
    assert found(new) == [("module-not-bundled", "error"), ("keras-3-loads-old-format", "hint")]
    assert errors(packed(tmp_path, "m.h5", data[:-1], "keras-h5")) == {"artifact-truncated"}


# ONNX.


def field(key: int, value: int | bytes | str) -> bytes:
    """Return one field of a message, whose lengths stay below 128."""
    data = value.encode() if isinstance(value, str) else value
    return bytes([key << 3, data]) if isinstance(data, int) else bytes([key << 3 | 2, len(data)]) + data


def onnx(opset: int = 15, ir: int = 8, graph: bytes = b"", op: str = "Relu", domain: str = "") -> bytes:
    """Return a small model."""
    node = field(1, field(4, op) + (field(7, domain) if domain else b"")) if op else b""
    return field(1, ir) + field(7, node + graph + field(12, field(1, "y"))) + field(8, field(2, opset))


def outside(location: str, offset: int = 0, length: int = 8) -> bytes:
    """Return a weight whose data is in another file."""
    data = field(1, 2) + field(2, 1)
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
        data += field(13, field(1, key) + field(2, value))
    return field(5, data + field(14, 1))


def test_a_sound_model_is_no_finding(tmp_path):
    """A whole model that the runtime can load gives nothing."""
    assert not packed(tmp_path, "m.onnx", onnx(), "onnx", pip="bentoml==0.13.2 onnxruntime-gpu==1.10.0")


@pytest.mark.parametrize("end", range(1, len(onnx())))
def test_each_cut_of_a_model_is_an_error(tmp_path, end):
    """No part of a model passes."""
    assert errors(packed(tmp_path, "m.onnx", onnx()[:end], "onnx")) & {"artifact-truncated", "artifact-damaged"}


@pytest.mark.parametrize(
    ("location", "data", "check"),
    [
        ("w.bin", None, "external-data-missing"),
        ("w.bin", bytes(15), "external-data-missing"),
        ("w.bin", LFS, "git-lfs-pointer"),
        ("w.bin", bytes(16), ""),
        ("sub/w.bin", bytes(16), ""),
        ("../../secret", None, "path-leaves-bundle"),
        ("/etc/passwd", None, "path-leaves-bundle"),
        ("sub/../../w.bin", None, "path-leaves-bundle"),
        ("*/_ORT_MEM_ADDR_/*", None, "path-leaves-bundle"),
        ("", None, "path-leaves-bundle"),
    ],
)
def test_weights_in_other_files(tmp_path, location, data, check):
    """A file with weights must be there, in the model's folder, long enough, and no pointer of git-lfs."""
    if data is not None:
        path = tmp_path / "artifacts" / location
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    checks = packed(tmp_path, "m.onnx", onnx(graph=outside(location, 8)), "onnx")
    assert errors(checks) == ({check} if check else set())


@pytest.mark.parametrize(
    ("opset", "ir", "pip", "severity"),
    [
        (15, 8, "onnxruntime-gpu==1.10.0", ""),
        (16, 8, "onnxruntime-gpu==1.10.0", "error"),
        (15, 9, "onnxruntime-gpu==1.14.1", "error"),
        (21, 10, "onnxruntime-gpu==1.19.2", ""),
        (23, 10, "onnxruntime-gpu==1.19.2", "error"),
        (23, 10, "onnxruntime==1.19.2", "error"),
        (23, 10, "onnxruntime-gpu", "error"),
        (21, 10, "onnxruntime-gpu", ""),
        (40, 10, "onnxruntime-gpu", "warning"),
        (16, 8, "", ""),
    ],
)
def test_a_runtime_that_is_too_old(tmp_path, opset, ir, pip, severity):
    """Opset and IR version are held against the release that is pinned, or that pip takes for the bundle's Python."""
    checks = packed(
        tmp_path,
        "m.onnx",
        onnx(opset, ir),
        "onnx",
        pip=f"bentoml==0.13.2 {pip}",
        python=Said("3.8.18", Place("python_version", 1)),
    )
    assert found(checks, "runtime-too-old-for-model") == ([("runtime-too-old-for-model", severity)] if severity else [])


def test_operators_of_others_and_models_without_any(tmp_path):
    """Operators that ONNX Runtime has not got are named; its own of com.microsoft are no finding."""
    assert not packed(tmp_path, "m.onnx", onnx(domain="com.microsoft", op="Gelu"), "onnx")
    assert found(packed(tmp_path, "m.onnx", onnx(domain="my.ops", op="Thing"), "onnx")) == [("custom-operators", "warning")]
    assert found(packed(tmp_path, "m.onnx", onnx(op="EfficientNMS_TRT"), "onnx")) == [("custom-operators", "warning")]
    assert found(packed(tmp_path, "m.onnx", onnx(op=""), "onnx")) == [("model-without-nodes", "warning")]


# Pickles that do harm.


class Danger:
    """Pickled as a call."""

    def __init__(self, *call: object) -> None:
        """Take what to call, and with what."""
        self.call = call

    def __reduce__(self):
        """Return it."""
        return self.call[0], tuple(self.call[1:])


def short(word: str) -> bytes:
    """Return a text of protocol 4."""
    return b"\x8c" + bytes([len(word)]) + word.encode()


def calls(module: str, name: str, protocol: int = 4) -> bytes:
    """Return a pickle that calls a name with one text."""
    if protocol == 4:
        return b"\x80\x04" + short(module) + b"\x94" + short(name) + b"\x94\x93\x94" + short("x") + b"\x85\x94R\x94."
    if protocol == 2:
        return b"\x80\x02c" + f"{module}\n{name}\n".encode() + b"q\x00X\x01\x00\x00\x00xq\x01\x85q\x02Rq\x03."
    return f"c{module}\n{name}\np0\n(Vx\np1\ntp2\nRp3\n.".encode()


NAMES = [
    "builtins.eval", "builtins.exec", "builtins.compile", "builtins.open", "builtins.__import__", "builtins.map", "builtins.setattr",
    "__builtin__.eval", "__builtin__.execfile", "os.system", "os.popen", "os.execv", "os.remove", "posix.system", "nt.system",
    "subprocess.Popen", "subprocess.check_output", "_posixsubprocess.fork_exec", "pty.spawn", "importlib.import_module",
    "importlib._bootstrap._load", "runpy.run_path", "runpy._run_code", "socket.socket", "shutil.rmtree", "sys.exit", "ctypes.CDLL",
    "webbrowser.open", "operator.methodcaller", "operator.attrgetter", "functools.reduce", "pip.main", "pip._internal.main",
    "timeit.timeit", "code.InteractiveInterpreter", "codeop.compile_command", "pdb.run", "bdb.Bdb", "cProfile.runctx", "profile.run",
    "trace.Trace", "asyncio.subprocess.create_subprocess_shell", "asyncio.run", "multiprocessing.Process", "concurrent.futures.thread.X",
    "numpy.testing._private.utils.runstring", "numpy.f2py.crackfortran.getlincoef", "numpy.load", "torch.hub.load", "torch.load",
    "torch.utils.cpp_extension.load", "torch.jit.unsupported_tensor_ops.execWrapper", "torch.fx.graph_module.reduce_graph_module",
    "types.FunctionType", "types.CodeType", "marshal.loads", "pickle.loads", "_pickle.loads", "pydoc.pipepager", "platform.popen",
    "commands.getoutput", "urllib.request.urlopen", "http.client.HTTPConnection", "requests.get", "smtplib.SMTP", "ftplib.FTP",
    "tempfile.mktemp", "zipfile.ZipFile", "sqlite3.connect", "logging.config.listen", "doctest.debug_script", "idlelib.pyshell.main",
    "lib2to3.pgen2.pgen.ParserGenerator", "ensurepip._run_pip", "distutils.spawn.spawn", "uuid._get_command_stdout", "io.open",
    "codecs.open", "threading.Thread", "pandas.read_pickle", "pandas.eval", "joblib.load", "dill._dill._eval_repr",
    "evil.run", "torch.os.system", "pathlib.Path.write_text", "typing.get_type_hints",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_call_that_does_harm_is_an_error(tmp_path, name):
    """Each such name is refused in the old protocol, in torch's and in the newest, and is named with its byte."""
    module, _, last = name.rpartition(".")
    if module in {"torch.os", "pathlib.Path"}:
        module, last = module.partition(".")[0], f"{module.partition('.')[2]}.{last}"
    for protocol in (0, 2, 4):
        checks = packed(
            tmp_path, "m.pkl", calls(module, last, protocol), "pickle", pip="bentoml torch numpy pandas joblib dill requests"
        )
        bad = [each for each in checks if (each.check, each.severity) == ("dangerous-pickle", "error")]
        assert bad, protocol
        assert last in bad[0].text or "subprocess" in bad[0].text
        assert "byte " in bad[0].text


@pytest.mark.parametrize("name", ["os.system", "builtins.eval", "subprocess.Popen", "socket.socket"])
@pytest.mark.parametrize("form", ["(Vx\ni{0}\n{1}\n.", "(c{0}\n{1}\nVx\no.", "c{0}\n{1}\n.", "(dVhook\nc{0}\n{1}\ns."])
def test_any_way_to_use_it_is_an_error(tmp_path, name, form):
    """INST, OBJ and a mere import of what does harm are refused as a call is."""
    module, _, last = name.rpartition(".")
    assert "dangerous-pickle" in errors(packed(tmp_path, "m.pkl", form.format(module, last).encode(), "pickle"))


OBFUSCATED = {
    "name from the memo": b"\x80\x04"
    + short("system")
    + b"\x94"
    + short("os")
    + b"\x94"
    + b"00h\x01h\x00\x93"
    + short("id")
    + b"\x85R.",
    "name put together": b"\x80\x04"
    + short("builtins")
    + short("str")
    + b"\x93"
    + short("os")
    + b"\x85R"
    + short("system")
    + b"\x93)R.",
    "getattr of a module": b"cbuiltins\ngetattr\n(cimportlib\nimport_module\n(Vos\ntRVsystem\ntR(Vid\ntR.",
    "getattr of a class": b"cbuiltins\ngetattr\n(cbuiltins\nobject\nV__subclasses__\ntR)R.",
    "getattr of getattr": b"cbuiltins\ngetattr\n(cbuiltins\ngetattr\n(cbuiltins\nobject\nV__class__\ntRV__bases__\ntR.",
    "escaped text": b"\x80\x04V\\u006fs\n" + short("system") + b"\x93" + short("id") + b"\x85R.",
    "escaped string": b"\x80\x04S'\\x6fs'\n" + short("system") + b"\x93" + short("id") + b"\x85R.",
    "partial": b"cfunctools\npartial\n(cos\nsystem\nVid\ntR)R.",
    "loads": pickle.dumps(Danger(pickle.loads, pickle.dumps(Danger(os.system, "id")))),
    "loads in loads": pickle.dumps(Danger(pickle.loads, pickle.dumps(Danger(pickle.loads, pickle.dumps(Danger(eval, "1")))))),
    "bytes as text": pickle.dumps(Danger(pickle.loads, pickle.dumps(Danger(os.system, "id" * 400), 0)), 0),
    "second pickle": pickle.dumps([1]) + pickle.dumps(Danger(os.system, "id")),
    "before an error": b"cos\nsystem\n(Vid\ntR\xff",
    "before the end": pickle.dumps(Danger(os.system, "id"))[:-1],
    "behind nonsense": b"0" * 5 + b"cos\nsystem\n(Vid\ntR.",
    "extension": b"\x80\x02\x82\x05)R.",
    "class changed": b"ccollections\nOrderedDict\n(dV__reduce__\ncos\nsystem\nsb.",
    "modules changed": b"csys\nmodules\nVos\nNs.",
    "carried function": b"\x80\x04" + short("cloudpickle.cloudpickle") + short("_make_function") + b"\x93)R)R.",
    "types by name": b"\x80\x04"
    + short("cloudpickle.cloudpickle")
    + short("_builtin_type")
    + b"\x93"
    + short("FunctionType")
    + b"\x85R)R.",
    "dotted": b"\x80\x04" + short("torch.serialization") + short("os.system") + b"\x93" + short("id") + b"\x85R.",
    "through another": b"\x80\x04" + short("numpy") + short("core.sys.modules") + b"\x93.",
    "opaque call": b"\x80\x02N)R.",
    "load of what cannot be seen": b"cpickle\nloads\n(NtR.",
    "damaged frame": b"\x80\x04\x95\xff\xff\xff\x00\x00\x00\x00\x00cos\nsystem\n(Vid\ntR.",
    "packed by zlib": __import__("zlib").compress(pickle.dumps(Danger(os.system, "id"))),
    "packed by gzip": __import__("gzip").compress(pickle.dumps(Danger(os.system, "id"))),
    "packed by xz": __import__("lzma").compress(pickle.dumps(Danger(os.system, "id"))),
    "packed by bz2": __import__("bz2").compress(pickle.dumps(Danger(os.system, "id"))),
    "packed by lz4": b"\x04\x22\x4d\x18" + bytes(50),
}
if REAL:  # takes seconds
    OBFUSCATED["deep"] = b"\x80\x04" + b"(" * 3_000_000


@pytest.mark.parametrize("what", OBFUSCATED)
@pytest.mark.parametrize(("name", "kind"), [("m.pkl", "pickle"), ("m.pt", "torch-pickle")])
def test_what_hides_is_found(tmp_path, what, name, kind):
    """Names that are put together, nested, escaped, packed, behind errors or in other pickles are refused all the same."""
    assert "dangerous-pickle" in errors(packed(tmp_path, name, OBFUSCATED[what], kind))


def test_pickles_in_archives(tmp_path):
    """The pickle of an archive of torch's is walked, as is an archive in a pickle and a pickle with an archive behind it."""
    bad = pickle.dumps(Danger(os.system, "id"), 2)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("m/data.pkl", bad)
    archive = out.getvalue()
    for data in (archive, pickle.dumps({"weights": archive}), bad + archive, pickle.dumps([1]) + archive):
        checks = packed(tmp_path, "m.pt", data, "torch-pickle")
        assert "dangerous-pickle" in errors(checks)
    assert "m/data.pkl, byte" in next(
        each.text for each in packed(tmp_path, "m.pt", archive, "torch-pickle") if "posix" in each.text
    )


# Pickles that do none.

PLAIN = {
    "numbers": [1, 2.5, 10**40, None, True],
    "texts": ["a", "os", "system", "eval", "x" * 1000],
    "bytes": [b"os.system", bytearray(b"x" * 500)],
    "dictionary": {"cuda": "cuda:0", "os": {"system": [1, 2]}},
    "set": [{1, 2}, frozenset("ab")],
    "ordered": collections.OrderedDict(a=1),
    "default": collections.defaultdict(list, a=[1]),
    "counter": collections.Counter("abracadabra"),
    "deque": collections.deque([1, 2], 5),
    "dates": [dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc), dt.date(2020, 1, 1), dt.timedelta(1)],
    "partial": functools.partial(max, 1),
    "functions": [len, print, os.path.join, dict.fromkeys, "".join],
    "complex": [complex(1, 2), range(3), slice(1)],
    "path": Path("a/b"),
    "namespace": SimpleNamespace(a=1),
    "error": ValueError("x"),
    "iterators": [iter([1, 2]), enumerate("ab")],
    "regex": __import__("re").compile("a+"),
    "uuid": __import__("uuid").UUID(int=5),
    "decimal": __import__("decimal").Decimal("1.5"),
    "random": __import__("random").Random(1),
    "empty": {},
}


@pytest.mark.parametrize("what", PLAIN)
@pytest.mark.parametrize("protocol", range(6))
def test_what_is_ordinary_is_no_finding(tmp_path, what, protocol):
    """Values of ordinary programs give nothing, in no protocol."""
    assert not packed(tmp_path, "m.pkl", pickle.dumps(PLAIN[what], protocol), "pickle")


_REAL = """
import pickle, sys
import numpy as np, torch
folder = sys.argv[1]
net = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3), torch.nn.LSTM(3, 3))
adam = torch.optim.Adam(net.parameters())
values = {
    "module": net, "state": net.state_dict(), "adam": adam.state_dict(), "device": torch.device("cpu"), "dtype": torch.float16,
    "size": torch.Size([1, 2]), "sparse": torch.eye(3).to_sparse(), "parameter": torch.nn.Parameter(torch.ones(2)),
    "half": torch.ones(3, dtype=torch.bfloat16), "layout": torch.strided, "quantized": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
    "array": np.arange(10), "objects": np.array(["a", None], object), "scalar": np.float32(1), "text": np.array(["a", "b"]),
    "record": np.zeros(2, dtype=[("a", "f4")]), "masked": np.ma.masked_array([1, 2], [0, 1]), "generator": np.random.default_rng(1),
    "state of random": np.random.RandomState(1), "function": torch.nn.functional.relu, "dates": np.array(["2020-01-01"], "M8[D]"),
}
for name, value in values.items():
    for protocol in range(2, 6):
        with open(f"{folder}/{name}-{protocol}.pkl", "wb") as file:
            pickle.dump(value, file, protocol)
    torch.save(value, f"{folder}/{name}.pt")
"""


@pytest.mark.skipif(not (REAL and TORCH.exists()), reason="needs GPUDOCTOR_REAL=1 and .cache/frameworks/torch")
def test_what_torch_and_numpy_pickle_is_no_finding(tmp_path):
    """Modules, tensors, optimisers, arrays and random states of the real frameworks are not dangerous, as pickles and as archives."""
    out = tmp_path / "out"
    out.mkdir()
    subprocess.run([str(TORCH), "-c", _REAL, str(out)], check=True, capture_output=True)
    seen = 0
    for path in sorted(out.iterdir()):
        kind = "torch-pickle" if path.suffix == ".pt" else "pickle"
        checks = packed(tmp_path / path.name, path.name, path.read_bytes(), kind, "mlflow", "torch==2.13.0 numpy==2.4.6")
        assert not [each for each in checks if each.check != "weights-only"], path.name
        seen += 1
    assert seen == 105


# What a pickle needs.


def test_the_guides_class_that_is_not_bundled(tmp_path):
    """A class that only the packer imported is named, with the module and what to do; it is no danger."""
    data = b"\x80\x04" + short("text_model") + short("TextClassificationModel") + b"\x93)\x81}" + short("a") + b"K\x01sb."
    checks = packed(tmp_path, "model.pt", data, "torch-pickle")
    assert found(checks) == [("module-not-bundled", "error")]
    assert "text_model.TextClassificationModel" in checks[0].text
    assert "from text_model import" in checks[0].cure
    source = {"sources": ("Service/text_model.py",), "import_roots": ("Service", "")}
    assert not packed(tmp_path, "model.pt", data, "torch-pickle", **source)
    assert found(packed(tmp_path, "model.pt", data, "torch-pickle", pip="bentoml some-strange-package")) == [
        ("module-not-bundled", "warning")
    ]
    assert not packed(tmp_path, "model.pt", data, "torch-pickle", pip="bentoml text-model")


def test_what_conda_brings_is_known(tmp_path):
    """The guide's bundle has PyTorch from conda, under conda's name: that leaves no doubt about the class that is missing."""
    data = b"\x80\x04" + short("text_model") + short("TextClassificationModel") + b"\x93)\x81."
    path = tmp_path / "artifacts/model.pt"
    path.parent.mkdir()
    path.write_bytes(data)
    asked = [Required("bentoml", "==0.13.2", "", "pip", Place("requirements.txt", 1))]
    asked += [Required(name, "", "", "conda", Place("environment.yml", 3)) for name in ("pytorch", "torchtext", "cudatoolkit")]
    artifact = Artifact("model", "torch-pickle", "artifacts/model.pt", Place("bentoml.yml", 9))
    bundle = Bundle("bentoml-0.13", "x", str(tmp_path), artifacts=(artifact,), requirements=tuple(asked))
    assert found(examined(tmp_path, bundle)) == [("module-not-bundled", "error")]


def test_packages_that_are_not_required(tmp_path):
    """A module of a known package asks for that package; one that another requirement brings is there."""
    data = b"\x80\x04" + short("sklearn.linear_model._logistic") + short("LogisticRegression") + b"\x93)\x81."
    checks = packed(tmp_path, "m.pkl", data, "pickle")
    assert found(checks) == [("module-not-bundled", "error")]
    assert "scikit-learn" in checks[0].text
    assert not packed(tmp_path, "m.pkl", data, "pickle", pip="scikit-learn")
    array = calls("numpy.core.multiarray", "_reconstruct")
    assert not packed(tmp_path, "m.pkl", array, "pickle", pip="scikit-learn")
    assert errors(packed(tmp_path, "m.pkl", array, "pickle", pip="pyyaml")) == {"module-not-bundled"}


def test_a_class_of_the_packing_script(tmp_path):
    """A class of __main__ cannot be found where the bundle is loaded."""
    data = b"\x80\x04" + short("__main__") + short("Model") + b"\x93)\x81."
    checks = packed(tmp_path, "m.pkl", data, "pickle")
    assert found(checks) == [("module-not-bundled", "error")]
    assert "the script that packed it" in checks[0].text


def test_functions_that_are_carried_are_told(tmp_path):
    """Code that cloudpickle carries is a hint, and a warning where it starts programs."""
    cloud = short("cloudpickle.cloudpickle")

    def function(name: str) -> bytes:
        code = cloud + short("_builtin_type") + b"\x93" + short("CodeType") + b"\x85R(K\x01C\x04abcdN\x85" + short(name) + b"\x85"
        code += short("x") + b"\x85" + short("/home/me/train.py") + short("predict") + b"K\x01tR"
        return b"\x80\x04" + cloud + short("_make_function") + b"\x93(" + code + b"}NNNtR."

    assert found(packed(tmp_path, "m.pkl", function("forward"), "pickle")) == [("pickle-carries-code", "hint")]
    checks = packed(tmp_path, "m.pkl", function("check_output"), "pickle")
    assert found(checks) == [("dangerous-pickle", "warning"), ("pickle-carries-code", "hint")]
    assert "predict" in checks[0].text


# Devices.


def saved_on(device: str) -> bytes:
    """Return a plain pickle with a tensor that was saved on a device."""

    def text(word: str) -> bytes:
        return b"X" + len(word).to_bytes(4, "little") + word.encode()

    return b"\x80\x02(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text(device) + b"K\x04tQ."


@pytest.mark.parametrize(
    ("device", "gpus", "severities"),
    [
        ("cpu", 0, []),
        ("cuda:0", 1, ["warning"]),
        ("cuda:0", 0, ["error"]),
        ("cuda:3", 4, ["warning"]),
        ("cuda:3", 2, ["error"]),
        ("cuda:0", None, ["warning", "unknown"]),
    ],
)
def test_where_tensors_were_saved(tmp_path, device, gpus, severities):
    """A GPU that the host lacks is an error, one that it has a warning, and a host that does not say "cannot tell"."""
    checks = packed(tmp_path, "m.pt", saved_on(device), "torch-pickle", pip="torch", gpus=gpus)
    assert found(checks) == [("saved-on-cuda", severity) for severity in severities]


@pytest.mark.skipif(not (REAL and TORCH.exists()), reason="needs GPUDOCTOR_REAL=1 and .cache/frameworks/torch")
def test_a_state_dict_that_bentoml_takes_for_torchscript(tmp_path):
    """BentoML 0.13 opens each zip as TorchScript: weights alone fail there, and are told elsewhere."""
    code = "import sys, torch; torch.save(torch.nn.Linear(2, 2).state_dict(), sys.argv[1])"
    subprocess.run([str(TORCH), "-c", code, str(tmp_path / "w.pt")], check=True, capture_output=True)
    data = (tmp_path / "w.pt").read_bytes()
    (tmp_path / "w.pt").unlink()
    assert found(packed(tmp_path, "m.pt", data, "torch-pickle", pip="torch")) == [("weights-only", "error")]
    assert found(packed(tmp_path, "m.pt", data, "torch-pickle", "mlflow", pip="torch")) == [("weights-only", "warning")]
    for end in range(100, len(data), len(data) // 20):
        assert "artifact-truncated" in errors(packed(tmp_path, "m.pt", data[:end], "torch-pickle", pip="torch"))


def test_nothing_is_imported_or_run(tmp_path):
    """The checks leave a pickle unloaded: what it would write is not written, what it would import is not imported."""
    marker = tmp_path / "ran"
    path = tmp_path / "artifacts/m.pkl"
    path.parent.mkdir()
    path.write_bytes(pickle.dumps([Danger(os.mkdir, str(marker)), Danger(__import__, "antigravity")]))
    code = (
        "import sys\n"
        "from gpudoctor.bundle import Artifact, Bundle, Place\n"
        "from gpudoctor.bundle.checks import artifacts, pickles\n"
        "from gpudoctor.bundle.files import Files\n"
        "bundle = Bundle('mlflow', 'x', sys.argv[1], artifacts=(Artifact('m', 'pickle', 'artifacts/m.pkl', Place('x')),))\n"
        "found = [*artifacts.check(bundle, Files(sys.argv[1]), None), *pickles.check(bundle, Files(sys.argv[1]), None)]\n"
        "print(len(found), *sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert int(ran.stdout.split()[0]) >= 2
    assert not {"antigravity", "pickle", "zipfile", "json", "yaml"} & set(ran.stdout.split())
    assert not marker.exists()


def test_a_model_of_mlflows_own_kind_is_no_danger(tmp_path):
    """The base class of each model that MLflow's pyfunc flavour packs is named in its pickle; what loads others' models is dangerous still."""
    form = "(c{}\n{}\no."
    assert "dangerous-pickle" not in errors(
        packed(tmp_path, "m.pkl", form.format("mlflow.pyfunc.model", "PythonModel").encode(), "pickle", pip="mlflow")
    )
    assert "dangerous-pickle" in errors(
        packed(tmp_path, "m.pkl", form.format("mlflow.pyfunc", "load_model").encode(), "pickle", pip="mlflow")
    )
