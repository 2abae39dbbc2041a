"""The real frameworks, each in its own venv: what they do on a machine without a GPU, and what the smoke test makes of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gpudoctor.facts import Facts
from gpudoctor.host.hostfile import load
from gpudoctor.smoke import climb
from tests.smoke.conftest import ROOT, host_place, rungs, venv

HOST = ROOT / "fixtures" / "hosts" / "ubuntu-22.04-a10g-hook.host"
PROFILES = Path(__file__).parent / "profiles"
STAND_IN = """
import numpy, os, shutil
__version__, cuda_version = "1.31.1", "13.0"
class SessionOptions: pass
def get_available_providers(): return ["CUDAExecutionProvider", "CPUExecutionProvider"]
class InferenceSession:
    def __init__(self, model, options=None, providers=()): self.providers = providers
    def get_providers(self): return list(self.providers)
    def run(self, names, feed): return [numpy.ones((1, 8, 16, 16), numpy.float32)]
    def end_profiling(self): return os.environ["PROFILE"]
"""


def climbed(framework: str, device: str = "cuda", want: climb.Asked | None = None) -> climb.Climb:
    """Climb with a real framework on this machine, with the facts of a healthy host."""
    asked = want or climb.Asked((framework,), device=device)
    return climb._framework(Facts(load(str(HOST))), asked, host_place(venv(framework)), framework, "", lambda *_: None)


@pytest.mark.parametrize("framework", ["torch", "onnxruntime", "tensorflow", "jax"])
def test_it_climbs_to_the_top_on_the_cpu(framework):
    """Import, results and placement pass on the CPU, and the verdict says that it was the CPU."""
    done = climbed(framework, "cpu")
    states = {rung.name: rung.state for rung in done.rungs}
    assert done.verdict == "on the CPU", done
    assert (states["import"], states["computes"], states["placed"]) == ("passed", "passed", "passed")
    assert done.peak_kib is not None
    assert done.peak_kib > 20 << 10


@pytest.mark.parametrize(
    ("framework", "slug"),
    [("torch", "torch-cpu-wheel"), ("tensorflow", "cpu-build-in-image"), ("onnxruntime", "ort-missing-cuda-libs"), ("jax", None)],
)
def test_on_cuda_none_passes_without_a_gpu(framework, slug):
    """Asked for the GPU, each of them fails where it should see it, and the reason is that of its build or its libraries."""
    done = climbed(framework)
    assert done.verdict in {"failed", "not on the GPU"}
    assert done.first_failed is not None
    assert done.first_failed.name == "sees"
    assert done.cause is not None
    if slug is not None:
        assert done.cause.slug == slug


def test_onnxruntime_names_the_missing_library_and_what_it_means():
    """Its silent fallback is caught: right results, on the CPU; the missing library is told as the CUDA that it stands for."""
    done = climbed("onnxruntime")
    states = {rung.name: rung.state for rung in done.rungs}
    assert (states["sees"], states["computes"], states["placed"]) == ("failed", "passed", "failed")
    assert done.verdict == "not on the GPU"
    sees = done.rungs[1]
    assert "libcublasLt.so.13" in sees.facts["missing"]
    assert "CUDAExecutionProvider" in done.rungs[0].facts["listed"]
    assert done.cause is not None
    assert "is CUDA 13" in done.cause.text
    assert set(done.rungs[4].facts["nodes"].values()) == {"CPUExecutionProvider"}


def test_onnxruntime_lacks_only_libcuda(cuda_for_onnxruntime, tmp_path, monkeypatch):
    """With all of CUDA there and no libcuda.so.1, the driver was not injected: in an image, the container got no GPU."""
    import shutil

    folder = tmp_path / "cuda"
    shutil.copytree(cuda_for_onnxruntime, folder)
    (folder / "libcuda.so.1").unlink()
    monkeypatch.setenv("LD_LIBRARY_PATH", str(folder))
    done = climbed("onnxruntime")
    assert done.rungs[1].facts["missing"] == ["libcuda.so.1"]
    assert done.cause is not None
    assert done.cause.slug == "host-driver-libs-incomplete"


@pytest.mark.parametrize(
    ("environment", "code", "slug"),
    [
        ({"FAKE_DRIVER": "12040"}, 35, "driver-too-old-runtime"),
        ({"FAKE_CUINIT": "3"}, 3, "uvm-hmm-cuinit-3"),
        ({"FAKE_CUINIT": "46"}, 46, "compute-mode-exclusive"),
        ({"FAKE_CUINIT": "100"}, 100, None),
        ({"FAKE_CUINIT": "802"}, 802, "fabricmanager-not-running"),
        ({"FAKE_CUINIT": "803"}, 803, "driver-library-mismatch"),
        ({"FAKE_CUINIT": "804"}, 804, "forward-compat-804"),
        ({"FAKE_CUINIT": "999"}, 999, None),
    ],
)
def test_onnxruntime_on_the_fake_libcuda(cuda_for_onnxruntime, monkeypatch, environment, code, slug):
    """The genuine CUDA provider and runtime on the fake libcuda: the other silent fallback ("EP Error") is caught with its number."""
    monkeypatch.setenv("LD_LIBRARY_PATH", str(cuda_for_onnxruntime))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    done = climbed("onnxruntime")
    assert done.verdict == "not on the GPU"
    assert done.rungs[1].facts["missing"] == []
    assert done.rungs[1].facts["code"] == code
    assert any("EP Error" in line or "Falling back" in line for line in done.words)
    assert done.cause is not None
    if slug is not None:
        assert done.cause.slug == slug


@pytest.mark.parametrize(
    ("profile", "verdict"), [("gpu.json", "on the GPU"), ("partly.json", "not on the GPU"), ("nothing.json", "not on the GPU")]
)
def test_the_profile_decides(tmp_path, monkeypatch, profile, verdict):
    """A session that claims the CUDA provider is believed only as far as its profile goes; one node on the CPU, and it is not."""
    (tmp_path / "onnxruntime").mkdir()
    (tmp_path / "onnxruntime" / "__init__.py").write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PROFILE", str(PROFILES / profile))
    done = climbed("onnxruntime")
    assert done.rungs[1].state == "passed"
    assert done.verdict == verdict, done


def test_a_plain_model_is_read_by_every_release_here(probe):
    """The model that is made as bytes loads, and its nodes run as what it says: a convolution and a product of matrices."""
    found = rungs(probe("onnxruntime_probe.py", {"device": "cpu"}, venv("onnxruntime")))
    nodes = " ".join(found["placed"]["facts"]["nodes"])
    assert "relu" in nodes
    assert "product" in nodes


def test_a_framework_that_is_not_there(tmp_path):
    """One that was named and is not installed fails, and the cure says how to name another Python; asked by `all`, it is passed over."""
    python = venv("jax")
    facts = Facts(load(str(HOST)))
    named = climb._framework(facts, climb.Asked(("torch",)), host_place(python), "torch", "", lambda *_: None)
    assert named.verdict == "failed"
    assert named.cause is not None
    assert "--python" in named.cause.cure
    every = climb._framework(facts, climb.Asked(("torch",), every=True), host_place(python), "torch", "", lambda *_: None)
    assert every.verdict == "not installed"


def test_a_kill_is_told(tmp_path, monkeypatch):
    """A framework that the kernel ends while it is imported is told by signal and phase."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("import os\nos.kill(os.getpid(), 9)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    import sys

    asked = climb.Asked(("torch",))
    done = climb._framework(Facts(load(str(HOST))), asked, host_place(sys.executable), "torch", "", lambda *_: None)
    assert done.first_failed is not None
    assert "killed by signal 9 (SIGKILL) during import" in done.first_failed.says
    assert done.verdict == "failed"


def test_profiles_are_as_onnxruntime_writes_them(probe, tmp_path):
    """The kept profiles have the shape of one that the real ONNX Runtime writes: the same keys where the provider is read."""
    python = venv("onnxruntime")
    import subprocess

    code = (
        "import sys, numpy; sys.path.insert(0, sys.argv[1]); import onnxruntime, onnxruntime_probe as probe\n"
        "made = probe.session(onnxruntime, 'cpu', sys.argv[2])\n"
        "made.run(None, {'x': numpy.zeros((1, 3, 16, 16), numpy.float32)}); print(made.end_profiling())\n"
    )
    probes = str(ROOT / "gpudoctor" / "smoke" / "probes")
    ran = subprocess.run([str(python), "-c", code, probes, str(tmp_path)], capture_output=True, text=True, check=True)
    real = [each for each in json.loads(Path(ran.stdout.strip()).read_text()) if each["cat"] == "Node"]
    kept = [each for each in json.loads((PROFILES / "gpu.json").read_text()) if each["cat"] == "Node"]
    assert real
    shape = {"cat", "pid", "tid", "dur", "ts", "ph", "name", "args"}
    assert all(set(each) == shape for each in (*real, *kept))
    assert all(
        {"op_name", "provider", "node_index"} <= set(each["args"]) for each in real if each["name"].endswith("_kernel_time")
    )
