"""Tests of what the static pass says of a bundle's own code: providers, devices, frameworks that nobody installs."""

from __future__ import annotations

import io
import pickle
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from gpudoctor.bundle import Place, Said
from gpudoctor.bundle.checks import sources
from tests.bundle import made

if TYPE_CHECKING:
    from pathlib import Path

    from gpudoctor.bundle import Check

GUIDE_TORCH = """
from bentoml import BentoService, api, artifacts, env
from bentoml.adapters import JsonInput, JsonOutput
from bentoml.frameworks.pytorch import PytorchModelArtifact
import torch

device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")

@env(conda_dependencies=['pytorch', 'torchtext', 'cudatoolkit=11.1'], conda_channels=['pytorch', 'nvidia'])
@artifacts([PytorchModelArtifact("model")])
class Service(BentoService):

    def classify_categories(self, sentence):
        with torch.no_grad():
            text = torch.tensor([len(sentence)]).to(device)
            offsets = torch.tensor([0]).to(device)
            output = self.artifacts.model(text, offsets=offsets)
            return output.argmax(1).item() + 1

    @api(input=JsonInput(), output=JsonOutput())
    def predict(self, parsed_json):
        return {'categories': self.classify_categories(parsed_json.get("text"))}
"""
GUIDE_ONNX = """
import torch
from bentoml import BentoService, api, env, artifacts
from bentoml.adapters import JsonInput, JsonOutput
from bentoml.frameworks.onnx import OnnxModelArtifact

device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")

def to_numpy(tensor):
    return tensor.detach().cpu().clone().numpy() if tensor.requires_grad else tensor.cpu().clone().numpy()

@env(infer_pip_packages=False, pip_packages=['onnxruntime-gpu'])
@artifacts([OnnxModelArtifact('model', backend='onnxruntime-gpu')])
class Service(BentoService):

    @api(input=JsonInput(), output=JsonOutput())
    def predict(self, parsed_json):
        text = to_numpy(torch.tensor([len(parsed_json.get('text'))]).to(device))
        return self.artifacts.model.run([self.artifacts.model.get_outputs()[0].name], {'x': text})[0]
"""
GUIDE_KERAS = """
import bentoml
from bentoml import api
from bentoml.adapters import JsonInput
from bentoml.frameworks.keras import KerasModelArtifact
from bentoml.service.artifacts.common import PickleArtifact

@bentoml.env(pip_packages=['tensorflow', 'scikit-learn', 'pandas'], docker_base_image="bentoml/model-server:0.12.1-py38-gpu")
@bentoml.artifacts([KerasModelArtifact('model'), PickleArtifact('tokenizer')])
class Service(bentoml.BentoService):

    @api(input=JsonInput())
    def predict(self, parsed_json):
        return self.artifacts.model.predict(parsed_json)
"""


def checked(root: Path, text: str, **more: object) -> list[Check]:
    """Return what is said of a service's source in a bundle, which has the models that it names."""
    for name in ("m.pt", "m.onnx", "model.pt", "model.onnx", "vocab.pt"):
        (root / name).touch()
    files = made.files(root, service=dedent(text))
    return list(sources.check(made.bundle(root, **more), files, None))  # type: ignore[arg-type]


def names(found: list[Check], *without: str) -> list[tuple[str, str]]:
    """Return the checks and how bad they are; hints about a fall-back to the CPU are left out."""
    return [each for each in made.named(found) if each[0] not in {"cpu-fallback", *without}]


def test_the_guides_onnx_service(tmp_path: Path) -> None:
    """Of the guide's ONNX service both faults are named: no provider, and torch that no requirement brings."""
    found = checked(tmp_path, GUIDE_ONNX, pip="bentoml==0.13.2\nonnxruntime-gpu", artifacts=(("model", "onnx"),))
    assert names(found) == [("framework-not-required", "error"), ("providers-not-named", "error")]
    said = {each.check: each for each in found}
    assert "1.19.2 (the newest as of" in said["providers-not-named"].text
    assert said["providers-not-named"].where == Place("service.py", 13)
    assert "No module named 'torch'" in said["framework-not-required"].text
    assert "OnnxModelArtifact" in said["providers-not-named"].text


def test_bentoml_that_cannot_pass_providers(tmp_path: Path) -> None:
    """Where BentoML is too old to pass providers, the cure is a newer one."""
    found = checked(
        tmp_path, GUIDE_ONNX, packed_by="0.13.0", pip="onnxruntime-gpu==1.16.3\ntorch", artifacts=(("model", "onnx"),)
    )
    (said,) = [each for each in found if each.check == "providers-not-named"]
    assert said.cure.startswith("Pack with BentoML 0.13.2")


def test_the_guides_torch_service(tmp_path: Path) -> None:
    """Of the guide's PyTorch service both faults are named: the model stays where it was, and pip does not install torch."""
    found = checked(
        tmp_path,
        GUIDE_TORCH,
        pip="bentoml==0.13.2",
        conda="pytorch torchtext cudatoolkit=11.1",
        artifacts=(("model", "torch-pickle"),),
    )
    assert names(found) == [("framework-not-required", "warning"), ("saved-on-cpu-never-moved", "warning")]
    said = {each.check: each.text for each in found}
    assert "unless it was saved on the GPU" in said["saved-on-cpu-never-moved"]
    assert "environment.yml:1 has conda install PyTorch" in said["framework-not-required"]


def test_the_guides_keras_service(tmp_path: Path) -> None:
    """TensorFlow places a Keras model itself: nothing is said of the code."""
    found = checked(
        tmp_path,
        GUIDE_KERAS,
        pip="bentoml==0.13.2\ntensorflow\nscikit-learn\npandas",
        artifacts=(("model", "keras-h5"), ("tokenizer", "pickle")),
        image="bentoml/model-server:0.12.1-py38-gpu",
    )
    assert found == []


def tensors(device: str) -> bytes:
    """Return a pickle as torch makes one: a storage is a persistent id that names its device."""

    class Pickler(pickle.Pickler):
        def persistent_id(self, thing: object) -> object:
            return ("storage", "FloatStorage", "0", device, 4) if thing is Pickler else None

    into = io.BytesIO()
    Pickler(into, 2).dump({"weight": Pickler})
    return into.getvalue()


@pytest.mark.parametrize(("device", "says"), [("cpu", [("saved-on-cpu-never-moved", "error")]), ("cuda:0", [])])
def test_where_the_model_was_saved_decides(tmp_path: Path, device: str, says: list[tuple[str, str]]) -> None:
    """A model that was saved on the CPU is an error; one that was saved on the GPU is loaded onto it, as the inputs are."""
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "model.bin").write_bytes(tensors(device))
    found = checked(tmp_path, GUIDE_TORCH, pip="torch==1.13.1", artifacts=(("model", "torch-pickle"),))
    assert names(found) == says


MOVES = "import torch\ndevice = torch.device('cuda' if torch.cuda.is_available() else 'cpu')\n"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("m = torch.load('m.pt').to(device)\nm(torch.tensor(1).to(device))", []),
        ("m = torch.load('m.pt').to(device)\nm(torch.tensor(1))", [("inputs-not-moved", "error")]),
        ("m = torch.load('m.pt', map_location='cpu')\nm(torch.tensor(1))", [("saved-on-cpu-never-moved", "error")]),
        ("m = torch.load('m.pt', map_location='cpu')\nm(torch.tensor(1).cuda())", [("saved-on-cpu-never-moved", "error")]),
        ("m = torch.load('m.pt', map_location=device)\nm(torch.tensor(1).cuda())", []),
        ("m = torch.jit.load('m.pt')\nm(torch.tensor(1).cuda())", [("saved-on-cpu-never-moved", "warning")]),
        ("m = torch.load('m.pt').to('cpu')\nm(torch.tensor(1))", [("device-fixed-to-cpu", "error")]),
        ("m = torch.load('m.pt')\nm.to(elsewhere())\nm(torch.tensor(1))", [("name-not-defined", "error")]),
        ("w = torch.load('m.pt')\nprint(w['a'])", []),
        ("vocab = torch.load('vocab.pt', map_location='cpu')\nvocab(['a', 'b'])", []),
        ("m = torch.load('m.pt', map_location='cpu').eval()\nm('a')", [("saved-on-cpu-never-moved", "error")]),
        ("m = torch.hub.load('ultralytics/yolov5', 'yolov5s')\nm('a.png')", []),
        ("m = torch.hub.load('pytorch/vision', 'resnet18')\nm(torch.zeros(1))", [("saved-on-cpu-never-moved", "error")]),
        ("m = torch.nn.DataParallel(torch.nn.Linear(1, 1).cuda())\nm(torch.zeros(1))", []),
        ("with torch.device(device):\n    m = torch.nn.Linear(1, 1)\nm(torch.zeros(1))", []),
        ("m = torch.nn.Linear(1, 1)\nif torch.cuda.is_available():\n    m.cuda()\nelse:\n    m.cpu()\nm('a.png')", []),
        ("m = torch.nn.Linear(1, 1)\nm(torch.tensor(1).cuda())", [("saved-on-cpu-never-moved", "error")]),
        ("import bentoml\nm = bentoml.pytorch.load_model('x')\nm(torch.tensor(1))", [("saved-on-cpu-never-moved", "error")]),
        ("import bentoml\nm = bentoml.pytorch.load_model('x', device_id='cuda:0')\nm(unknown)", [("name-not-defined", "error")]),
    ],
)
def test_models_and_their_inputs(tmp_path: Path, body: str, says: list[tuple[str, str]]) -> None:
    """Each way of leaving a model or its inputs behind is told from those that are right or cannot be told."""
    assert names(checked(tmp_path, MOVES + body, pip="torch==2.4.1\nbentoml")) == says


def test_a_module_that_moves_its_inputs(tmp_path: Path) -> None:
    """Where a torch module's own code moves its inputs, inputs from the CPU are right; a model that is not moved is no more than a warning."""
    net = "class Net(torch.nn.Module):\n    def forward(self, x):\n        return x.to(device)\n"
    assert names(checked(tmp_path, f"{MOVES}{net}m = Net().to(device)\nm(torch.zeros(1))\n", pip="torch")) == []
    found = checked(tmp_path, f"{MOVES}{net}m = Net()\nm(torch.zeros(1))\n", pip="torch")
    assert names(found) == [("saved-on-cpu-never-moved", "warning")]


def test_providers_by_release(tmp_path: Path) -> None:
    """What a session without providers does depends on the release: it takes the GPU, refuses, or runs on the CPU."""
    text = "import onnxruntime\nonnxruntime.InferenceSession('m.onnx')"

    def said(pin: str) -> str:
        return " ".join(each.text for each in checked(tmp_path, text, pip=pin) if each.check == "providers-not-named")

    assert said("onnxruntime-gpu==1.8.1") == ""
    assert "ValueError" in said("onnxruntime-gpu==1.11.1")
    assert "without an exception" in said("onnxruntime-gpu==1.16.3")
    assert "1.9 to 1.15 refuses" in said("onnxruntime-gpu @ https://example.com/x.zip")


def test_a_provider_that_is_the_cpu_alone_and_one_that_cannot_be_told(tmp_path: Path) -> None:
    """CPUExecutionProvider alone is an error on any release; a provider from outside is "cannot tell"."""
    text = "import onnxruntime as o, sys\no.InferenceSession('m', providers=['CPUExecutionProvider'])\no.InferenceSession('n', providers=sys.argv)"
    found = checked(tmp_path, text, pip="onnxruntime-gpu==1.8.1")
    assert names(found) == [("providers-not-named", "error"), ("providers-not-named", "unknown")]


def test_providers_of_an_mlmodel(tmp_path: Path) -> None:
    """An MLmodel that names only the CPU is an error, one that names CUDA is not."""

    def said(*providers: str) -> list[tuple[str, str]]:
        named = tuple(Said(each, Place("MLmodel", 7)) for each in providers)
        return names(
            checked(tmp_path, "", format_="mlflow", providers=named, pip="onnxruntime-gpu", artifacts=(("model", "onnx"),))
        )

    assert said("CPUExecutionProvider") == [("providers-not-named", "error")]
    assert said("CUDAExecutionProvider", "CPUExecutionProvider") == []


def test_libraries_of_pip_that_nobody_preloads(tmp_path: Path) -> None:
    """ONNX Runtime does not look for pip's CUDA libraries by itself: preload_dlls or an import of torch is needed, an image with CUDA is not."""
    text = "import onnxruntime as o\n{}o.InferenceSession('m', providers=['CUDAExecutionProvider'])"
    pip = "onnxruntime-gpu[cuda,cudnn]==1.23.2"

    def said(line: str, **more: object) -> list[tuple[str, str]]:
        return names(checked(tmp_path, text.format(line), format_="bentoml-1", pip=pip, **more), "framework-not-required")

    assert said("", image="python:3.11-slim") == [("cuda-not-preloaded", "warning")]
    assert said("o.preload_dlls()\n", image="python:3.11-slim") == []
    assert said("import torch\n", image="python:3.11-slim") == []
    assert said("", image="nvidia/cuda:12.8.1-cudnn-runtime-ubuntu24.04") == []


@pytest.mark.parametrize(
    ("pip", "more", "says"),
    [
        ("torch==2.4.1", {}, []),
        ("numpy\npandas", {}, [("framework-not-required", "error")]),
        ("numpy\ntorchvision", {}, []),
        ("numpy\nour-models==1.2", {}, [("framework-not-required", "warning")]),
        ("transformers[torch]", {}, []),
        ("torch; python_version < '3'", {}, [("framework-not-required", "error")]),
        ("numpy", {"image": "registry.example/own:1"}, [("framework-not-required", "warning")]),
        ("numpy", {"image": "pytorch/pytorch:2.4.0-cuda12.4-cudnn9-runtime"}, []),
        ("numpy", {"setup": (Said("pip install torch", Place("setup.sh")),)}, [("framework-not-required", "warning")]),
        ("numpy", {"format_": "triton"}, []),
        ("numpy", {"installs": ()}, []),
    ],
)
def test_a_framework_that_is_imported(tmp_path: Path, pip: str, more: dict[str, object], says: list[tuple[str, str]]) -> None:
    """An import without a requirement is an error where nothing may bring it, a warning where something may, nothing where it is there."""
    assert names(checked(tmp_path, "import torch.nn", pip=pip, **more), "no-gpu-framework") == says


def test_a_framework_that_an_artifact_needs(tmp_path: Path) -> None:
    """A model file needs its framework though the service never names it; an import with a fallback does not."""
    found = checked(tmp_path, "import bentoml", pip="bentoml==0.13.2", artifacts=(("model", "keras-h5"),))
    assert names(found) == [("framework-not-required", "error")]
    assert "bentoml.yml:9 has the artifact model" in found[0].text
    guarded = "try:\n    import tensorflow\nexcept ImportError:\n    tensorflow = None\n"
    assert names(checked(tmp_path, guarded, pip="torch"), "no-gpu-framework") == []


@pytest.mark.parametrize(
    ("pip", "text", "says"),
    [
        ("bentoml==0.13.2\nscikit-learn==1.0\npandas", "import sklearn", [("no-gpu-framework", "error")]),
        ("scikit-learn\nour-kernels", "import sklearn", [("no-gpu-framework", "unknown")]),
        ("xgboost", "import xgboost", [("cpu-by-default", "hint")]),
        ("xgboost", "import xgboost\nb = xgboost.Booster({'device': 'cuda'})", []),
        ("lightgbm\ncuml-cu12", "import lightgbm", []),
        ("cupy-cuda12x\nnumpy", "import cupy", []),
        ("torch", "import torch", []),
    ],
)
def test_nothing_that_can_use_a_gpu(tmp_path: Path, pip: str, text: str, says: list[tuple[str, str]]) -> None:
    """A bundle of CPU packages alone is an error, one with an unknown package cannot be told, one with a GPU framework is neither."""
    assert names(checked(tmp_path, text, pip=pip, artifacts=(("model", "pickle"),))) == says


def test_a_gpu_that_the_code_hides(tmp_path: Path) -> None:
    """Hiding the GPU and pinning the CPU are errors with their line."""
    text = "import os\nimport tensorflow as tf\nos.environ['CUDA_VISIBLE_DEVICES'] = '-1'\nwith tf.device('/CPU:0'):\n    tf.saved_model.load('m')\n"
    found = checked(tmp_path, text, pip="tensorflow==2.11.1")
    assert names(found) == [("device-fixed-to-cpu", "error"), ("gpu-hidden", "error")]
    assert {each.check: each.where.line for each in found} == {"device-fixed-to-cpu": 4, "gpu-hidden": 3}


def test_a_name_in_another_file_is_a_warning(tmp_path: Path) -> None:
    """A name that is not defined is an error in the service's own file, a warning in another, whose code may never run."""
    made.files(tmp_path, helper="def f():\n    return nowhere\n")
    found = checked(tmp_path, "import helper\nimport torch\ndef g():\n    return neither\n", pip="torch")
    assert names(found) == [("name-not-defined", "error"), ("name-not-defined", "warning")]


def test_every_check_says_where_and_what_to_do(tmp_path: Path) -> None:
    """An error has a place in the bundle, one sentence, and a cure."""
    found = checked(tmp_path, GUIDE_ONNX + "\nos.environ\n", pip="numpy", artifacts=(("model", "onnx"),))
    assert len(found) > 3
    for each in found:
        assert each.where.path
        assert each.text.endswith(".")
        assert each.cure or each.severity == "unknown"


ORT = """
import os
import onnxruntime as ort
import torch
"""


@pytest.mark.parametrize(
    "body",
    [
        "p = ['CPUExecutionProvider']\nif torch.cuda.is_available():\n    p.insert(0, 'CUDAExecutionProvider')",
        "p = []\nif ort.get_device() == 'GPU':\n    p.append('CUDAExecutionProvider')\np.append('CPUExecutionProvider')",
        "p = []\np += ['CUDAExecutionProvider']\np.extend(['CPUExecutionProvider'])",
        "p = (['CUDAExecutionProvider'] if torch.cuda.is_available() else []) + ['CPUExecutionProvider']",
        "p = [each for each in ort.get_available_providers() if each != 'TensorrtExecutionProvider']",
        "class A:\n    names = ('CUDAExecutionProvider', 'CPUExecutionProvider')\np = list(A.names)",
        "p = os.environ.get('PROVIDERS') or ['CUDAExecutionProvider']",
    ],
)
def test_providers_that_are_put_together(tmp_path: Path, body: str) -> None:
    """A list that gets the GPU's provider on its way is followed, however it is put together."""
    text = f"{ORT}{body}\ns = ort.InferenceSession('m.onnx', providers=p)\n"
    assert names(checked(tmp_path, text, pip="onnxruntime-gpu==1.18.1\ntorch==2.4.1")) == []
    without = text.replace("CUDAExecutionProvider", "CPUExecutionProvider").replace(
        "ort.get_available_providers()", "['CPUExecutionProvider']"
    )
    found = names(checked(tmp_path, without, pip="onnxruntime-gpu==1.18.1\ntorch==2.4.1"))
    assert [each for each, _ in found] == ["providers-not-named"]


def test_a_session_on_the_cpu_that_stands_in_for_one_on_the_gpu(tmp_path: Path) -> None:
    """Of two branches the one for the CPU is no fault; a second model that is on the CPU always is."""
    gpu, cpu = (f"ort.InferenceSession('m.onnx', providers=['{name}ExecutionProvider'])" for name in ("CUDA", "CPU"))
    asked = "onnxruntime-gpu==1.18.1\ntorch==2.4.1"
    for text in (
        f"if torch.cuda.is_available():\n    s = {gpu}\nelse:\n    s = {cpu}\n",
        f"try:\n    s = {gpu}\nexcept Exception:\n    s = {cpu}\n",
        f"def made():\n    if torch.cuda.is_available():\n        return {gpu}\n    return {cpu}\n",
        "given = {'providers': ['CUDAExecutionProvider']}\ns = ort.InferenceSession('m.onnx', **given)\n",
    ):
        assert names(checked(tmp_path, ORT + text, pip=asked)) == []
    assert names(checked(tmp_path, f"{ORT}s = {gpu}\nt = {cpu}\n", pip=asked)) == [("providers-not-named", "error")]


LAZY = """
import functools
import torch
device = "cuda" if torch.cuda.is_available() else "cpu"

class Service:
    _net = None

    @KIND
    def net(self):
        if self._net is None:
            self._net = torch.nn.Linear(4, 2)
            self._net = self._net.to(device)
        return self._net

    @staticmethod
    def placed(rows):
        return torch.tensor(rows).to(device)

    def predict(self, rows):
        scores = self.net(self.placed(rows))
        return scores.cpu().numpy()
"""


@pytest.mark.parametrize("kind", ["property", "functools.cached_property"])
def test_a_model_behind_a_property(tmp_path: Path, kind: str) -> None:
    """A property is what it returns: the model is moved there, and ``.cpu()`` of its answer moves no model."""
    assert names(checked(tmp_path, LAZY.replace("KIND", kind), pip="torch==2.4.1")) == []
    left = LAZY.replace("KIND", kind).replace("            self._net = self._net.to(device)\n", "")
    assert names(checked(tmp_path, left, pip="torch==2.4.1")) == [("saved-on-cpu-never-moved", "error")]


@pytest.mark.parametrize(
    "body",
    [
        "a = torch.jit.load('m.pt')\nb = torch.jit.load('m.pt')\nfor each in (a, b):\n    each.to(device)\nb(a(torch.zeros(1).to(device)))",
        "m = torch.jit.load('m.pt').to(device)\nlast = torch.nn.Softmax(dim=1)\nlast(m(torch.zeros(1).to(device)).cpu())",
        "m = torch.jit.load('m.pt')\nm = m.to('cuda')\nm(torch.zeros(1).to('cuda'))",
        "from diffusers import DiffusionPipeline\np = DiffusionPipeline.from_pretrained('m')\np.enable_model_cpu_offload()\np('a')",
        "import os\nif not torch.cuda.is_available():\n    os.environ['CUDA_VISIBLE_DEVICES'] = '-1'",
        "prepare = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.ReLU())\nprepare(torch.zeros(1))",
    ],
)
def test_what_is_right_though_it_looks_otherwise(tmp_path: Path, body: str) -> None:
    """Layers without parameters, moves in a loop and of a name onto itself, and what hides the GPU on a condition are no faults."""
    asked = "torch==2.4.1\ndiffusers"
    found = checked(tmp_path, f"import torch\ndevice = 'cuda' if torch.cuda.is_available() else 'cpu'\n{body}\n", pip=asked)
    assert [each for each in names(found) if each[1] != "hint"] == []


def test_inputs_that_are_prepared_on_the_cpu(tmp_path: Path) -> None:
    """tf.device('/CPU:0') above code that only prepares inputs is a hint."""
    text = "import tensorflow as tf\ndef prepared(x):\n    with tf.device('/CPU:0'):\n        return tf.image.resize(x, (2, 2))\n"
    assert names(checked(tmp_path, text, pip="tensorflow==2.11.1")) == [("device-fixed-to-cpu", "hint")]


def test_modules_that_the_service_imports_and_the_bundle_lacks(tmp_path: Path) -> None:
    """Of the bundle's own package a missing module is an error, one of no known package a warning; a service that is not there an error."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__init__.py").touch()
    (tmp_path / "app" / "net.py").write_text("from .layers import Block\n")
    text = "import torch\nimport helpers\nimport dotenv\nfrom app.net import Block\ntry:\n    import extra\nexcept ImportError:\n    extra = None\n"
    found = checked(tmp_path, text, pip="torch==2.4.1\npython-dotenv")
    assert names(found) == [("module-not-bundled", "error"), ("module-not-bundled", "warning")]
    assert [str(each.where) for each in found] == ["app/net.py:1", "service.py:2"]
    (tmp_path / "app" / "layers.py").touch()
    (tmp_path / "helpers.py").touch()
    assert names(checked(tmp_path, text, pip="torch==2.4.1\npython-dotenv")) == []
    moved = checked(tmp_path, "import torch", pip="torch==2.4.1", service=Said("gone:Service", Place("bentoml.yml", 3)))
    assert [(each.check, each.severity, str(each.where)) for each in moved] == [("module-not-bundled", "error", "bentoml.yml:3")]


def test_a_model_that_the_code_loads_and_the_bundle_lacks(tmp_path: Path) -> None:
    """A path that is loaded and is nowhere in the bundle is said, however it is joined; one outside of it, or known only at run time, is not."""
    text = """
        import os
        from pathlib import Path
        import onnxruntime
        import torch
        here = Path(__file__).parent
        a = torch.jit.load(str(here / "weights" / "gone.pt"), map_location="cuda")
        path = os.path.join(os.path.dirname(__file__), "lost.onnx")
        b = onnxruntime.InferenceSession(path, providers=["CUDAExecutionProvider"])
        c = torch.jit.load(here / "m.pt", map_location="cuda")
        d = torch.jit.load("/models/elsewhere.pt", map_location="cuda")
        e = torch.jit.load(os.environ["MODEL"], map_location="cuda")
    """
    found = checked(tmp_path, text, pip="torch==2.4.1\nonnxruntime-gpu==1.18.1")
    assert names(found) == [("artifact-missing", "warning")] * 2
    assert [each.text.partition(" loads ")[2].partition(",")[0] for each in found] == ["gone.pt", "lost.onnx"]


def test_a_name_that_only_another_function_has(tmp_path: Path) -> None:
    """The line is that of the function in which the name stands for nothing, not of one that has such a variable."""
    text = "import torch\ndef first(rows):\n    scores = rows\n    return scores\ndef second():\n    return scores\n"
    (found,) = [each for each in checked(tmp_path, text, pip="torch==2.4.1") if each.check == "name-not-defined"]
    assert str(found.where) == "service.py:6"
