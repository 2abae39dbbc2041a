"""Tests of reading a bundle's own code: what it imports, where it puts models and inputs, with none of it run."""

from __future__ import annotations

import sys
import time
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from gpudoctor.bundle import sources
from tests.bundle import made

if TYPE_CHECKING:
    from pathlib import Path

ORT = "import onnxruntime as o\n"
INIT = "class Service:\n    def __init__(self):\n"
CPU, CUDA, EITHER, SOMEWHERE = frozenset({"cpu"}), frozenset({"cuda"}), frozenset({"cpu", "cuda"}), frozenset()


def read(root: Path, **texts: str) -> sources.Sources:
    """Write the sources (the service is service.py) and read them."""
    files = made.files(root, **{name: dedent(text) for name, text in texts.items()})
    return sources.read(made.bundle(root), files)


def providers(root: Path, text: str) -> list[tuple[str, tuple[str, ...] | None]]:
    """Return the sessions of a service and what they name."""
    return [(each.how, each.providers) for each in read(root, service=text).sessions]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("import onnxruntime\ns = onnxruntime.InferenceSession('m.onnx')", ()),
        ("import onnxruntime as ort\ns = ort.InferenceSession('m', providers=['CPUExecutionProvider'])", ("CPUExecutionProvider",)),
        ("from onnxruntime import InferenceSession as S\ns = S('m', None, ['CUDAExecutionProvider'])", ("CUDAExecutionProvider",)),
        ("import onnxruntime.capi.onnxruntime_inference_collection as c\nc.InferenceSession('m')", ()),
        (
            f"{ORT}P = [('CUDAExecutionProvider', {{'device_id': 0}}), 'CPUExecutionProvider']\n{INIT}        self.s = o.InferenceSession('m', providers=P)",
            ("CUDAExecutionProvider", "CPUExecutionProvider"),
        ),
        ("import onnxruntime as o\no.InferenceSession('m', providers=o.get_available_providers())", ("CUDAExecutionProvider", "CPUExecutionProvider")),
        ("import onnxruntime as o\ndef f(p):\n    return o.InferenceSession('m', providers=p)", None),
        ("import onnxruntime as o\nk = make()\no.InferenceSession('m', **k)", None),
        (
            "import onnxruntime as o\ngpu = True\np = ['CUDAExecutionProvider'] if gpu else ['CPUExecutionProvider']\no.InferenceSession('m', providers=p)",
            ("CUDAExecutionProvider", "CPUExecutionProvider"),
        ),
        ("import onnxruntime as o\np = ['CPUExecutionProvider']\np = ['CUDAExecutionProvider'] + p\no.InferenceSession('m', providers=p)", ("CUDAExecutionProvider", "CPUExecutionProvider")),
        ("import onnxruntime as o\ns = o.InferenceSession('m')\ns.set_providers(['CUDAExecutionProvider'])", ("CUDAExecutionProvider",)),
        (
            f"{ORT}{INIT}        self.s = o.InferenceSession('m')\n    def go(self):\n        self.s.set_providers(['CUDAExecutionProvider'])",
            ("CUDAExecutionProvider",),
        ),
    ],
)  # fmt: skip
def test_providers_of_a_session(tmp_path: Path, text: str, named: tuple[str, ...] | None) -> None:
    """The providers of a session are followed through aliases, constants, attributes and set_providers."""
    assert providers(tmp_path, text) == [("InferenceSession", named)]


def test_providers_of_bentoml_and_optimum(tmp_path: Path) -> None:
    """The calls of BentoML and Optimum that make a session are known, with the argument that names its provider."""
    text = """
    import bentoml
    from bentoml.frameworks.onnx import OnnxModelArtifact
    from optimum.onnxruntime import ORTModelForSequenceClassification as M
    a = OnnxModelArtifact("model", backend="onnxruntime-gpu")
    b = OnnxModelArtifact("model", "onnxruntime-gpu", ["CUDAExecutionProvider"])
    c = bentoml.onnx.load_model("x:latest")
    d = bentoml.onnx.load_model("x:latest", providers=["CUDAExecutionProvider"])
    e = M.from_pretrained("x", provider="CUDAExecutionProvider")
    f = M.from_pretrained("x")
    """
    assert providers(tmp_path, text) == [
        ("OnnxModelArtifact", ()),
        ("OnnxModelArtifact", ("CUDAExecutionProvider",)),
        ("bentoml.onnx.load_model", ()),
        ("bentoml.onnx.load_model", ("CUDAExecutionProvider",)),
        ("ORTModelForSequenceClassification.from_pretrained", ("CUDAExecutionProvider",)),
        ("ORTModelForSequenceClassification.from_pretrained", ()),
    ]


def test_a_constant_of_another_module(tmp_path: Path) -> None:
    """A constant and a function of the bundle's other modules are followed, by either way of importing them."""
    found = read(
        tmp_path,
        service="from config import PROVIDERS\nimport lib.make as make\nimport onnxruntime\n"
        "onnxruntime.InferenceSession('m', providers=PROVIDERS)\nmake.session()",
        config="PROVIDERS = ['CUDAExecutionProvider']",
        lib____init__="",
        lib__make="import onnxruntime as ort\nfrom . import names\ndef session():\n    return ort.InferenceSession('m', providers=names.P)",
        lib__names="P = ('TensorrtExecutionProvider',)",
    )
    assert sorted((each.at.path, each.providers) for each in found.sessions) == [
        ("lib/make.py", ("TensorrtExecutionProvider",)),
        ("service.py", ("CUDAExecutionProvider",)),
    ]
    assert {each.package for each in found.imports} == {"onnxruntime"}


def model(root: Path, text: str) -> sources.Model:
    """Return the one model of a service."""
    (found,) = read(root, service=text).models
    return found


TORCH = "import torch\ndevice = torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')\n"


@pytest.mark.parametrize(
    ("body", "born", "moved", "inputs"),
    [
        ("m = self.artifacts.model\nreturn m(torch.tensor([1]).to(device))", "as saved", [], [EITHER]),
        ("return self.artifacts.get('model')(torch.zeros(3, device='cuda'))", "as saved", [], [CUDA]),
        ("return self.artifacts['model'].forward(torch.zeros(3))", "as saved", [], [CPU]),
        ("m = self.artifacts.model.to(device)\nreturn m(torch.zeros(3).cuda())", "as saved", [EITHER], [CUDA]),
        ("m = torch.load('m.pt')\nm.cuda()\nreturn m(x)", "as saved", [CUDA], []),
        ("m = torch.load('m.pt', map_location='cpu')\nreturn m(x)", "cpu", [], []),
        ("m = torch.jit.load('m.pt', map_location=device).eval()\nreturn m(x)", "cuda", [], []),
        ("m = torch.jit.load('m.pt', self.device)\nreturn m(x)", "unknown", [], []),
        ("m = torch.load('m.pt')\nm.to(where())\nreturn m(x)", "as saved", [SOMEWHERE], []),
        ("m = torch.load('m.pt')\nm = m.to(torch.float16)\nreturn m(x)", "as saved", [], []),
        ("m = torch.nn.Linear(2, 2).to('cpu')\nreturn m(torch.from_numpy(x).float())", "cpu", [CPU], [CPU]),
        ("m = torch.load('m.pt')\nx = torch.tensor(x)\nx = x.unsqueeze(0).to('cuda')\nreturn m.generate(x)", "as saved", [], [CUDA]),
        ("m = torch.load('m.pt')\nx = torch.tensor(x)\nif big:\n    x = x.cuda()\nreturn m(x)", "as saved", [], [EITHER]),
        ("m = torch.compile(torch.load('m.pt'))\nreturn m(torch.stack([torch.zeros(1).cuda()]))", "as saved", [], [CUDA]),
    ],
)  # fmt: skip
def test_models_and_inputs(
    tmp_path: Path, body: str, born: str, moved: list[frozenset[str]], inputs: list[frozenset[str]]
) -> None:
    """Where a model is born, where it is moved, and on which device its inputs are, is followed through a method."""
    indented = "\n".join(f"        {line}" for line in body.splitlines())
    found = model(tmp_path, f"{TORCH}class Service:\n    def predict(self, x):\n{indented}\n")
    assert found.born == born
    assert [devices for devices, _ in found.moved] == moved
    assert [devices for devices, _ in found.inputs] == inputs


def test_a_model_kept_in_an_attribute(tmp_path: Path) -> None:
    """A model that one method loads and moves, and another calls, is one model."""
    found = model(
        tmp_path,
        f"""{TORCH}
class Service:
    def __init__(self):
        self.net = torch.load("weights/net.pt").eval()
        self.net.to(device)

    def predict(self, x):
        return self.net(torch.tensor(x).to(device))
""",
    )
    assert found.artifact == "net.pt"
    assert [devices for devices, _ in found.moved] == [EITHER]
    assert found.at.line == 6


def test_a_model_moved_by_a_function(tmp_path: Path) -> None:
    """A model that is given to a function of the bundle is followed into it; one given to somebody else is let alone."""
    found = read(
        tmp_path,
        service="""
        import torch
        from helpers import put
        import accelerate
        class Service:
            def __init__(self):
                self.a = torch.load("a.pt")
                put(self.a)
                self.b = accelerate.prepare(torch.load("b.pt"))
                self.c = torch.load("c.pt")
                accelerate.prepare(self.c)
            def predict(self, x):
                return self.a(x), self.b(x), self.c(x)
        """,
        helpers="def put(model, device='cuda'):\n    model.to('cuda')\n",
    )
    assert [(each.artifact, [devices for devices, _ in each.moved]) for each in found.models] == [("a.pt", [CUDA])]


def test_parts_of_a_model_are_not_models(tmp_path: Path) -> None:
    """The layers inside a torch module go where the module goes; the module itself is a model that is made on the CPU."""
    found = model(
        tmp_path,
        """
        import torch
        from torch import nn
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.fc = nn.Linear(2, 2)
            def forward(self, x):
                return self.fc(x)
        class Service:
            def __init__(self):
                self.net = Net()
                self.net.load_state_dict(torch.load("w.pt"))
            def predict(self, x):
                return self.net(torch.tensor(x).cuda())
        """,
    )
    assert (found.label, found.born, found.moved) == ("the Net", "cpu", ())


def test_a_global_model(tmp_path: Path) -> None:
    """A model that a function puts into a global variable is the one that another calls."""
    found = model(
        tmp_path,
        """
        import torch
        net = None
        def load():
            global net
            net = torch.jit.load("m.pt")
            net.cuda()
        def predict(x):
            return net(x)
        """,
    )
    assert [devices for devices, _ in found.moved] == [CUDA]


def test_the_default_device_moves_all(tmp_path: Path) -> None:
    """Where torch's default device is changed, nothing is said of models."""
    text = "import torch\ntorch.set_default_device('cuda')\nm = torch.nn.Linear(1, 1)\nm(torch.zeros(1))"
    assert read(tmp_path, service=text).models == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import os\nos.environ['CUDA_VISIBLE_DEVICES'] = ''", "CUDA_VISIBLE_DEVICES=''"),
        ("from os import environ as e\ne['CUDA_VISIBLE_DEVICES'] = '-1'", "CUDA_VISIBLE_DEVICES='-1'"),
        ("import os\nHIDE = '-1'\nos.environ.update(CUDA_VISIBLE_DEVICES=HIDE)", "CUDA_VISIBLE_DEVICES='-1'"),
        ("import os\nos.environ.update({'CUDA_VISIBLE_DEVICES': ''})", "CUDA_VISIBLE_DEVICES=''"),
        ("import os\nos.environ.setdefault('CUDA_VISIBLE_DEVICES', '')", "CUDA_VISIBLE_DEVICES=''"),
        ("import os\nos.putenv('NVIDIA_VISIBLE_DEVICES', 'void')", "NVIDIA_VISIBLE_DEVICES='void'"),
        ("import tensorflow as tf\ntf.config.set_visible_devices([], 'GPU')", "set_visible_devices([], 'GPU')"),
        ("import tensorflow as tf\ntf.config.experimental.set_visible_devices([], device_type='GPU')", "set_visible_devices([], 'GPU')"),
        ("import tensorflow as tf\nwith tf.device('/CPU:0'):\n    pass", "tf.device('/CPU:0')"),
        ("import jax\njax.config.update('jax_platform_name', 'cpu')", "jax.config.update('jax_platform_name', 'cpu')"),
        ("import os\nos.environ['JAX_PLATFORMS'] = 'cpu'", "JAX_PLATFORMS='cpu'"),
    ],
)  # fmt: skip
def test_lines_that_hide_the_gpu(tmp_path: Path, text: str, words: str) -> None:
    """Each way in which code hides the GPU from a framework is seen."""
    assert [each.words for each in read(tmp_path, service=text).hidden] == [words]


@pytest.mark.parametrize(
    "text",
    [
        "import os\nos.environ['CUDA_VISIBLE_DEVICES'] = '0'",
        "import os\nos.environ['CUDA_VISIBLE_DEVICES'] = os.getenv('GPU', '')",
        "import tensorflow as tf\ntf.config.set_visible_devices(tf.config.list_physical_devices('GPU')[:1], 'GPU')",
        "import tensorflow as tf\nwith tf.device('/GPU:0'):\n    pass",
        "import os\nif __name__ == '__main__':\n    os.environ['CUDA_VISIBLE_DEVICES'] = ''",
    ],
)
def test_lines_that_do_not_hide_it(tmp_path: Path, text: str) -> None:
    """What chooses a GPU, cannot be followed or does not run when the service is imported, is not held against it."""
    assert read(tmp_path, service=text).hidden == ()


def test_modules_that_the_service_does_not_import(tmp_path: Path) -> None:
    """A script that lies beside the service, and that it does not import, is not read."""
    found = read(tmp_path, service="import helper", helper="import jax", train="import torch\ntorch.load('x')(1)")
    assert found.read == ("service.py", "helper.py")
    assert [each.name for each in found.imports] == ["jax"]
    assert found.models == ()


def test_imports_with_a_fallback_are_not_sure(tmp_path: Path) -> None:
    """An import that is guarded, in a function or for type checkers only, is not sure; a plain one is."""
    text = """
    import torch.nn as nn
    from typing import TYPE_CHECKING
    if TYPE_CHECKING:
        import tensorflow
    try:
        import cupy
    except ImportError:
        cupy = None
    def late():
        import jax
    """
    found = read(tmp_path, service=text)
    assert {each.package: each.sure for each in found.imports if each.package != "typing"} == {
        "torch": True, "tensorflow": False, "cupy": False, "jax": False,
    }  # fmt: skip


def test_undefined_names(tmp_path: Path) -> None:
    """A name that nothing defines is found at its line; builtins, globals of other functions, annotations and star imports are not."""
    text = "import os\ndef f(x: Later) -> None:\n    global late\n    late = 1\n    return missing(x), late, print, __file__, [y for y in x]\n"
    found = read(tmp_path, service=text)
    assert [(name, at.line) for name, at in found.undefined] == [("missing", 5)]
    assert read(tmp_path, service=f"from os import *\n{text}").undefined == ()
    assert read(tmp_path, service="try:\n    unicode\nexcept NameError:\n    pass\n").undefined == ()


def checks(root: Path, text: str, python: str) -> list[tuple[str, str, int]]:
    """Return what is wrong with a file that does not parse."""
    files = made.files(root, service=text)
    found = sources.read(made.bundle(root, python=python), files).problems
    return [(each.check, each.severity, each.where.line) for each in found]


def test_syntax_errors(tmp_path: Path) -> None:
    """A syntax error has its line; Python 2 is named; what another Python may accept is not told."""
    assert checks(tmp_path, "x = 1\ndef f(:\n    pass\n", "3.8") == [("syntax-error", "error", 2)]
    assert checks(tmp_path, "x = 1\nprint 'x'\n", "2.7") == [("syntax-error", "error", 2)]
    newer = f"3.{sys.version_info[1] + 1}"
    assert checks(tmp_path, "x = 1\ndef f(:\n    pass\n", newer) == [("syntax-error", "unknown", 2)]
    assert checks(tmp_path, "async = 1\n", "3.6") == [("syntax-error", "unknown", 1)]


def test_a_broken_file_that_is_not_imported(tmp_path: Path) -> None:
    """A file that the service does not import is not read, broken as it may be; without a known service every file is."""
    files = made.files(tmp_path, service="import onnxruntime\nonnxruntime.InferenceSession('m')", notes="def f(:")
    bundle = made.bundle(tmp_path)
    assert sources.read(bundle, files).problems == ()
    found = sources.read(bundle._replace(service=None), files)
    assert [(each.check, each.where.path) for each in found.problems] == [("syntax-error", "notes.py")]
    assert len(found.sessions) == 1
    assert found.service == ""


def test_files_that_are_too_large_or_odd(tmp_path: Path) -> None:
    """A file beyond the limit is "cannot tell"; null bytes, deep nesting, another encoding and a missing file break nothing."""
    files = made.files(
        tmp_path, service="import a, b, c, d, e\n", b="x = " + "(" * 3000 + ")" * 3000, c="y = " + "1+" * 20000 + "1"
    )
    (tmp_path / "a.py").write_bytes(b"x = 1\n" * 200_000)
    (tmp_path / "d.py").write_bytes(b"# -*- coding: latin-1 -*-\nname = '\xe9'\n")
    (tmp_path / "e.py").write_bytes(b"x = 1\0\n")
    bundle = made.bundle(tmp_path)
    found = sources.read(bundle._replace(sources=(*bundle.sources, "gone.py")), files)
    by_path = {each.where.path: (each.check, each.severity) for each in found.problems}
    assert by_path["a.py"] == ("sources-too-large", "unknown")
    assert by_path["b.py"][0] == "syntax-error"
    assert by_path["e.py"][0] == "syntax-error"
    assert "d.py" not in by_path
    assert "service.py" in found.read


@pytest.mark.parametrize(
    "text",
    [
        "import torch\na = b\nb = a\na(torch.zeros(1))\n",
        "def f(x):\n    return f(f(x))\nf(f(f(1)))\n",
        "import torch\nclass A(B): pass\nclass B(A): pass\nB().x.y.z()\n",
        "import torch\nx = torch.zeros(1)\n" + "x = (x + x).to(x.device) if x else x\n" * 300 + "torch.load('m')(x)\n",
        "import onnxruntime as o\np = ['a']\n" + "p = p + p\n" * 60 + "o.InferenceSession('m', providers=p)\n",
        "x = [" + "[" * 80 + "]" * 80 + "]\ny = " + ".a" * 2000 + "\n",
        "z = q" + ".a" * 3000 + "()\n",
    ],
)
def test_code_that_leads_in_circles(tmp_path: Path, text: str) -> None:
    """Definitions that lead in circles, double in size or are very long are given up in bounded time."""
    began = time.monotonic()
    read(tmp_path, service=text)
    assert time.monotonic() - began < 5
