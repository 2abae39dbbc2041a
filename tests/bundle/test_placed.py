"""The real runtimes behind a call: genuine GPU errors on a libcuda of our own, comparisons with the CPU, and formats of one file."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from gpudoctor.bundle import call, isolate, recognise
from tests.bundle import calls, packed
from tests.smoke.conftest import cuda_for_onnxruntime, fake_libcuda, venv  # noqa: F401 - fixtures

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PROBES = calls.ROOT / "gpudoctor" / "bundle" / "probes"
MODEL = """
import sys
sys.path.insert(0, {probes!r})
import onnxruntime_probe as probe
open({path!r}, "wb").write(probe.model())
"""


def asked(path: Path, tmp_path: Path, python: Path | str, **want: Any) -> call.Called:
    """Recognise and call what is at a path, with a Python."""
    bundle, files, checks = recognise.recognise(str(path), str(tmp_path))
    wanted = call.Wanted(**{"python": str(python), "timeout": 60.0, **want})
    return call.call(calls.facts(), bundle, files, checks, wanted, lambda *_: None)


@pytest.fixture
def model(tmp_path) -> Path:
    """Return an ONNX file: x[1,3,16,16] through Conv, Relu, MatMul and Add to y[1,8,16,16]."""
    path = tmp_path / "model" / "m.onnx"
    path.parent.mkdir()
    words = MODEL.format(probes=str(calls.ROOT / "gpudoctor" / "smoke" / "probes"), path=str(path))
    subprocess.run([venv("onnxruntime"), "-c", words], check=True)
    return path


@pytest.fixture
def through(monkeypatch) -> Callable[..., None]:
    """Return a function that sets variables which the bundle's process is to see as well."""
    monkeypatch.setattr(isolate, "_KEPT_STARTS", (*isolate._KEPT_STARTS, "FAKE_"))

    def set_them(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_them


def test_a_plain_model_needs_no_input(model, tmp_path):
    """The input is made from the model's own types and shapes, and on the CPU, as asked, it passes."""
    done = asked(model, tmp_path, venv("onnxruntime"), device="cpu")
    assert (done.verdict, done.calls[0].ran_on) == ("pass", "cpu"), done
    assert done.calls[0].evidence["input"] == "built"
    sessions = done.calls[0].evidence["frameworks"]["onnxruntime"]["sessions"]
    assert sum(sessions[0]["nodes"].values()) >= 3
    assert sessions[0]["outputs"] == [{"name": "y", "shape": [1, 8, 16, 16], "dtype": "float32", "unsound": ""}]


def test_a_missing_library_is_named(model, tmp_path):
    """ONNX Runtime goes on without the GPU and without an exception: a failure, with the library that it lacks."""
    done = asked(model, tmp_path, venv("onnxruntime"))
    assert (done.verdict, done.calls[0].ran_on) == ("fail", "cpu")
    assert "libcublasLt.so.13" in done.text


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"FAKE_DRIVER": "12040"}, "CUDA failure 35"),
        ({"FAKE_CUINIT": "100"}, "CUDA failure 100"),
        ({"FAKE_CUINIT": "999"}, "CUDA failure 999"),
        ({"FAKE_CUINIT": "804"}, "CUDA failure 804"),
    ],
)
def test_a_cuda_failure_is_in_the_sentence(model, tmp_path, through, cuda_for_onnxruntime, variables, words):  # noqa: F811 - a fixture
    """The other silent fallback, of a driver that refuses, is a failure with CUDA's own number."""
    through(LD_LIBRARY_PATH=str(cuda_for_onnxruntime), **variables)
    done = asked(model, tmp_path, venv("onnxruntime"))
    assert (done.verdict, done.calls[0].ran_on) == ("fail", "cpu"), done
    assert words in done.text
    assert "libcuda.so.1" in done.calls[0].evidence["libraries"]


def test_a_model_that_cannot_be_loaded_is_told(model, tmp_path):
    """Half a model is no model: the call fails, and nothing ran anywhere."""
    model.write_bytes(model.read_bytes()[: model.stat().st_size // 2])
    bundle, files, checks = recognise.recognise(str(model), str(tmp_path))
    wanted = call.Wanted(python=str(venv("onnxruntime")), device="cpu", timeout=60.0)
    done = call.call(calls.facts(), bundle._replace(apis=()), files, checks, wanted, lambda *_: None)
    assert (done.verdict, done.calls[0].ran_on) == ("fail", "nowhere")
    assert "could not be loaded" in done.text


TORCH = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.line = torch.nn.Linear(8, 4)
    def forward(self, x):
        return self.line(x).relu()

torch.manual_seed(0)
torch.jit.trace(Net().eval(), torch.ones(1, 8)).save({path!r})
"""


def test_torchscript_is_told_its_shape(tmp_path):
    """Without a shape the sentence says how to give one; with it the model runs, and where its parameters are is the evidence."""
    python = venv("torch")
    path = tmp_path / "model" / "m.pt"
    path.parent.mkdir()
    subprocess.run([python, "-c", TORCH.format(path=str(path))], check=True)
    done = asked(path, tmp_path, python, device="cpu")
    assert (done.verdict, done.calls[0].ok) == ("cannot-tell", None), done
    assert '--input \'{"shape"' in done.text
    done = asked(path, tmp_path, python, device="cpu", body='{"shape": [2, 8]}')
    assert (done.verdict, done.calls[0].ran_on) == ("pass", "cpu")
    module = done.calls[0].evidence["frameworks"]["torch"]["modules"][0]
    assert (module["type"], module["parameters"], module["values"][0]["shape"]) == ("Net", {"cpu": 2}, [2, 4])
    done = asked(path, tmp_path, python)
    assert (done.verdict, done.calls[0].ok) == ("fail", False)
    assert "this build has no CUDA" in done.text


COMPARE = """
import json, sys
sys.path.insert(0, {probes!r})
import gpudoctor_evidence as evidence
evidence.watch(compare=True)
import torch
evidence.compared.__globals__["ACCELERATOR"] = "cpu"

class Net(torch.nn.Module):
    def __init__(self, odd):
        super().__init__()
        self.line = torch.nn.Linear(4, 2)
        self.odd, self.count = odd, 0
    def forward(self, x, scale=None):
        self.count += 1
        y = self.line(x) * scale
        return {{"y": y + (self.count - 1) * self.odd}}

found = []
for odd in (0.0, 1.0):
    evidence.SEEN.turn()
    Net(odd).eval()(torch.ones(1, 4), scale=torch.tensor(2.0))
    found += [[each["calls"], each["off"]] for each in evidence.SEEN.told()["torch"]["modules"]]
print(json.dumps(found))
"""


def test_the_same_is_computed_on_the_cpu():
    """A copy of the model gets the same inputs, named ones too; how far apart the outputs are is noted, and the copy's call is not."""
    ran = subprocess.run([venv("torch"), "-c", COMPARE.format(probes=str(PROBES))], capture_output=True, text=True, check=True)
    same, other = json.loads(ran.stdout)
    assert same == [1, 0.0]
    assert other[0] == 1
    assert other[1] > 0.2


STAND_IN = """
import numpy, json, os, tempfile
__version__ = "1.23.2"
class SessionOptions: pass
class Output:
    name, shape, type = "y", [2], "tensor(float)"
class Input:
    name, shape, type = "x", [2], "tensor(float)"
def get_available_providers(): return ["CUDAExecutionProvider", "CPUExecutionProvider"]
class InferenceSession:
    def __init__(self, model, options=None, providers=None): self.providers = list(providers)
    def get_providers(self): return self.providers
    def get_inputs(self): return [Input()]
    def get_outputs(self): return [Output()]
    def run(self, names, feed): return [numpy.array([1.0, 2.0 if self.providers[0][:4] == "CUDA" else 2.0 + OFF], "float32")]
    def end_profiling(self):
        path = tempfile.mktemp()
        open(path, "w").write(json.dumps([{"cat": "Node", "name": "a_kernel_time", "args": {"provider": self.providers[0]}}]))
        return path
"""


@pytest.mark.parametrize(("off", "differs"), [("0.5", True), ("0.0", False), ("numpy.nan", True)])
def test_an_answer_that_is_not_the_cpus_is_a_failure(model, tmp_path, monkeypatch, off, differs):
    """A session that claims the GPU is asked again on the CPU; without a GPU that is open it is not believed in any case."""
    (tmp_path / "path" / "onnxruntime").mkdir(parents=True)
    (tmp_path / "path" / "onnxruntime" / "__init__.py").write_text(STAND_IN.replace("OFF", off))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "path"))
    done = asked(model, tmp_path, venv("onnxruntime"))
    assert done.calls[0].ok is False
    assert done.calls[0].ran_on == "unknown"
    assert ("differs from the CPU's answer" in done.text) == differs
    if not differs:
        assert "none of its processes has a GPU open" in done.text


@pytest.mark.parametrize(
    ("variables", "words"),
    [({"FAKE_DRIVER": "9000"}, "driver on your system is too old"), ({"FAKE_CUINIT": "100"}, "No CUDA GPUs are available")],
)
def test_pytorchs_own_reason_is_in_the_sentence(tmp_path, through, fake_libcuda, variables, words):  # noqa: F811 - a fixture
    """A bundle that takes the CPU where it finds no GPU answers and fails, with what PyTorch says of the driver."""
    folder = packed.bundle("torch_good", tmp_path)
    through(LD_LIBRARY_PATH=str(fake_libcuda), **variables)
    done = asked(folder, tmp_path, packed.python("0.13"))
    assert (done.verdict, done.calls[0].ran_on) == ("fail", "cpu"), done
    assert words in done.text


def test_each_model_of_a_repository_is_called(model, tmp_path):
    """Of a Triton repository each model's newest version is called by its own runtime; one that only Triton can load is left open."""
    top = tmp_path / "repository"
    for path in ("good/1", "good/2", "half/1", "plan/1"):
        (top / path).mkdir(parents=True)
    for path in ("good/1", "good/2", "half/1"):
        (top / path / "model.onnx").write_bytes(model.read_bytes())
    half = top / "half" / "1" / "model.onnx"
    half.write_bytes(half.read_bytes()[:-1000])
    (top / "plan" / "1" / "model.plan").write_bytes(b"plan")
    done = asked(top, tmp_path, venv("onnxruntime"), device="cpu")
    assert {each.api: each.ok for each in done.calls} == {"good": True, "half": False, "plan": None}
    assert done.verdict == "fail"
    assert done.text.startswith("half: could not be loaded")
    assert "2/model.onnx" in asked(top, tmp_path, venv("onnxruntime"), device="cpu", apis=("good",)).command
