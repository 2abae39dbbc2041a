"""Tests of what the static pass says of a bundle's requirements and image, from tables alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gpudoctor.bundle import Place, Said
from gpudoctor.bundle.checks import environment
from gpudoctor.bundle.files import Files
from gpudoctor.tables import served
from tests.bundle import made

if TYPE_CHECKING:
    from pathlib import Path

    from gpudoctor.bundle import Check

GUIDE_GPU = "bentoml/model-server:0.12.1-py38-gpu"
CUDA_11 = "nvidia/cuda:11.8.0-cudnn8-runtime-ubuntu22.04"
CUDA_12 = "nvidia/cuda:12.8.1-cudnn-runtime-ubuntu24.04"
SLIM = "python:3.11-slim"


def checked(root: Path, pip: str = "", *without: str, **more: object) -> list[Check]:
    """Return what is said of requirements, without the hints that something is not pinned."""
    found = environment.check(made.bundle(root, pip=pip, **more), Files(str(root)), None)  # type: ignore[arg-type]
    return [each for each in found if each.check not in {"framework-not-pinned", *without}]


def names(root: Path, pip: str = "", *without: str, **more: object) -> list[tuple[str, str]]:
    """Return the checks of requirements and how bad they are."""
    return made.named(checked(root, pip, *without, **more))


@pytest.mark.parametrize(
    ("pip", "more"),
    [
        ("onnxruntime==1.16.3", {}),
        ("onnxruntime", {"artifacts": (("model", "onnx"),)}),
        ("torch==2.4.1\nonnxruntime==1.16.3", {"artifacts": (("model", "onnx"),)}),
        ("tensorflow-cpu==2.11.0", {}),
        ("intel-tensorflow", {}),
        ("torch==2.4.1+cpu", {"indexes": ("--extra-index-url https://download.pytorch.org/whl/cpu",)}),
        ("torch==2.4.1", {"indexes": ("--extra-index-url https://download.pytorch.org/whl/cpu",)}),
        ("torch", {"indexes": ("--index-url https://download.pytorch.org/whl/cpu",)}),
        ("jax", {}),
        ("jax==0.4.30\njaxlib==0.4.30", {}),
        ("faiss-cpu", {}),
        ("bentoml==0.13.2", {"conda": "pytorch cpuonly"}),
    ],
)
def test_packages_without_cuda(tmp_path: Path, pip: str, more: dict[str, object]) -> None:
    """A package, build or index without CUDA is an error where the GPU depends on it."""
    assert names(tmp_path, pip, **more) == [("cpu-only-runtime", "error")]


@pytest.mark.parametrize(
    ("pip", "more"),
    [
        ("onnxruntime-gpu==1.16.3", {}),
        ("tensorflow-cpu==2.11.0\ntensorflow==2.11.0", {}),
        ("torch==2.4.1", {}),
        ("jax[cuda12]", {}),
        ("jax\njax-cuda12-plugin", {}),
        ("jax\njaxlib==0.4.30+cuda12.cudnn91", {}),
        ("onnxruntime; sys_platform == 'darwin'\nonnxruntime-gpu==1.16.3; sys_platform != 'darwin'", {}),
        ("torch==2.4.1", {"indexes": ("--extra-index-url https://download.pytorch.org/whl/cu121",)}),
    ],
)
def test_packages_with_cuda(tmp_path: Path, pip: str, more: dict[str, object]) -> None:
    """Packages with CUDA, and markers that exclude the others, are not accused."""
    assert names(tmp_path, pip, **more) == []


def test_onnxruntime_beside_a_framework_with_cuda(tmp_path: Path) -> None:
    """The CPU package is a hint where no model is ONNX and another framework uses the GPU."""
    assert names(tmp_path, "torch==2.4.1\nonnxruntime==1.16.3") == [("cpu-only-runtime", "hint")]


def test_an_mlmodel_that_names_cuda(tmp_path: Path) -> None:
    """Where the MLmodel names CUDA and its requirements pin the CPU package, both places are said."""
    providers = (Said("CUDAExecutionProvider", Place("MLmodel", 7)),)
    (found,) = checked(tmp_path, "onnxruntime==1.16.3", format_="mlflow", providers=providers)
    assert "MLmodel:7 names CUDAExecutionProvider" in found.text
    assert found.cure == "Ask for onnxruntime-gpu==1.16.3 in its place."


def test_the_cpu_index_beside_the_other(tmp_path: Path) -> None:
    """An unpinned torch and the CPU index beside the package index is a matter of luck."""
    more = {"indexes": ("--extra-index-url https://download.pytorch.org/whl/cpu",)}
    assert names(tmp_path, "torch", **more) == [("cpu-only-runtime", "warning")]


@pytest.mark.parametrize("pip", ["onnxruntime\nonnxruntime-gpu==1.16.3", "optimum[onnxruntime]\nonnxruntime-gpu==1.16.3"])
def test_both_onnxruntimes(tmp_path: Path, pip: str) -> None:
    """Both packages of ONNX Runtime, asked for or brought by an extra, are an error."""
    assert names(tmp_path, pip) == [("both-onnxruntimes", "error")]


@pytest.mark.parametrize(
    ("pip", "python", "says"),
    [
        ("onnxruntime-gpu==1.8.1", "3.8", "pin-unavailable"),
        ("onnxruntime-gpu==1.20.1", "3.10", "pin-unavailable"),
        ("onnxruntime-gpu<1.9", "3.8", "pin-unavailable"),
        ("onnxruntime-gpu==1.11.1", "3.8", ""),
        ("onnxruntime-gpu==1.20.0", "3.8", "python-version-mismatch"),
        ("onnxruntime-gpu==1.16.*", "3.8", ""),
        ("onnxruntime-gpu>=1.24", "3.10", "python-version-mismatch"),
        ("onnxruntime-gpu>=1.20,<1.21", "3.10", ""),
        ("torch==1.9.1", "3.8", ""),
        ("torch==1.9.1", "3.10", "python-version-mismatch"),
        ("torch==2.15.0", "3.10", "python-version-mismatch"),
        ("torch==2.99.0", "3.10", "pin-unavailable"),
        ("torch==1.9.1+cu111", "3.8", "pin-unavailable"),
        ("tensorflow==2.11.1", "3.8", ""),
        ("tensorflow==2.11.1", "3.11", "python-version-mismatch"),
        ("tensorflow~=2.8.0", "3.8", ""),
        ("tensorflow-gpu==2.4.1", "3.8", ""),
        ("tensorflow-gpu", "3.8", "pin-unavailable"),
        ("torch==2.99.0", "", "pin-unavailable"),
        ("torch==1.9.1", "", ""),
        ("torch==2.99.0; python_version < '3'", "3.8", ""),
    ],
)
def test_pins_that_are_not_served(tmp_path: Path, pip: str, python: str, says: str) -> None:
    """A pin that the index has no wheel of, at all or for this Python, is an error; a bound that any release meets is not."""
    found = checked(tmp_path, pip, format_="bentoml-1", python=python)
    assert [(each.check, each.severity) for each in found] == ([(says, "error")] if says else [])


def test_pins_of_another_index(tmp_path: Path) -> None:
    """What another index serves is not known, so nothing is said of it."""
    index = ("--index-url https://pypi.example.com/simple",)
    assert names(tmp_path, "torch==2.99.0\nonnxruntime-gpu==1.8.1", indexes=index) == []
    more = ("--extra-index-url https://download.pytorch.org/whl/cu111",)
    assert names(tmp_path, "torch==1.9.1+cu111", indexes=more) == []


def test_the_served_table_has_what_was_measured() -> None:
    """Old releases of onnxruntime-gpu begin at 1.11 for Python 3.8, 1.20.1 is gone, and bounds are compared to the last number."""
    assert served.releases("onnxruntime-gpu", (3, 8))[-1] == "1.11.0"
    assert served.releases("onnxruntime-gpu", (3, 8))[0] == "1.19.2"
    assert "1.20.1" not in served.releases("onnxruntime-gpu")
    assert served.pythons("torch", "2.15") == ((3, 11), (3, 14))
    assert served.pythons("torch", "9.9") is None
    assert served.known("tensorflow")
    assert not served.known("left-pad")
    assert served.admits("~=2.8.1", "2.8.4")
    assert not served.admits("~=2.8.1", "2.9.0")
    assert not served.admits("!=2.8.*", "2.8.4")
    assert served.admits("", "1.0")
    assert served.admits(">=1.0,<2", "1.9")


@pytest.mark.parametrize(
    ("pip", "python", "says"),
    [
        ("bentoml==0.13.0", "3.8", [("protobuf-too-new", "error")]),
        ("bentoml==0.13.1\nonnxruntime-gpu==1.16.3", "3.8", [("protobuf-too-new", "error")]),
        ("bentoml==0.13.0", "3.6", []),
        ("bentoml==0.13.0\nprotobuf<=3.20.3", "3.8", []),
        ("bentoml==0.13.0\nprotobuf>=3.6", "3.8", [("protobuf-too-new", "error")]),
        ("bentoml==0.13.0\ntensorflow==2.8.4", "3.8", []),
        ("bentoml==0.13.0\ntensorflow", "3.8", [("protobuf-too-new", "error")]),
        ("bentoml==0.13.0\ntensorflow", "3.7", []),
        ("bentoml==0.13.2", "3.8", []),
        ("bentoml==0.13.2", "3.11", [("python-version-mismatch", "error")]),
        ("bentoml==0.13.2", "3.10", [("python-version-mismatch", "warning")]),
    ],
)
def test_what_bentoml_itself_needs(tmp_path: Path, pip: str, python: str, says: list[tuple[str, str]]) -> None:
    """BentoML 0.13 needs an old protobuf in its first releases and a Python before 3.11; its script misreads 3.10."""
    assert names(tmp_path, pip, python=python) == says


@pytest.mark.parametrize(
    ("pip", "image", "python", "says"),
    [
        ("onnxruntime-gpu==1.16.3", "bentoml/model-server:0.13.2-py38", "3.8", [("cpu-base-image", "error")]),
        ("onnxruntime-gpu==1.16.3", GUIDE_GPU, "3.8", []),
        ("onnxruntime-gpu==1.19.2", GUIDE_GPU, "3.8", [("cuda-conflict", "error")]),
        ("onnxruntime-gpu", GUIDE_GPU, "3.8", [("cuda-conflict", "error")]),
        ("onnxruntime-gpu==1.16.3", CUDA_11, "3.10", []),
        ("onnxruntime-gpu==1.23.2", CUDA_12, "3.10", []),
        ("onnxruntime-gpu==1.31.1", CUDA_12, "3.12", [("cuda-conflict", "error")]),
        ("onnxruntime-gpu>=1.21,<1.27", CUDA_12, "3.12", []),
        ("onnxruntime-gpu==1.19.2", "nvidia/cuda:12.1.1-cudnn8-runtime-ubuntu22.04", "3.10", [("cudnn-conflict", "error")]),
        ("onnxruntime-gpu[cudnn]==1.23.2", "nvidia/cuda:12.1.1-runtime-ubuntu22.04", "3.10", []),
        ("onnxruntime-gpu==1.23.2", "nvidia/cuda:12.8.1-runtime-ubuntu24.04", "3.12", [("cudnn-conflict", "error")]),
        ("onnxruntime-gpu==1.23.2", "nvidia/cuda:12.8.1-base-ubuntu24.04", "3.12", [("cpu-base-image", "error")]),
        ("onnxruntime-gpu==1.23.2", SLIM, "3.11", [("cpu-base-image", "error")]),
        ("onnxruntime-gpu[cuda,cudnn]==1.23.2", SLIM, "3.11", []),
        ("onnxruntime-gpu==1.23.2\nnvidia-cublas-cu12\nnvidia-cudnn-cu12", SLIM, "3.11", []),
        ("onnxruntime-gpu==1.23.2\ntorch==2.10.0", SLIM, "3.11", []),
        ("onnxruntime-gpu==1.23.2\ntorch==2.14.1", SLIM, "3.11", [("cpu-base-image", "error")]),
        ("onnxruntime-gpu==1.23.2", "registry.example/own:1", "3.11", [("cuda-conflict", "unknown")]),
        ("onnxruntime-gpu==1.23.2", "", "3.11", []),
        ("tensorflow==2.21.0", SLIM, "3.11", [("cpu-base-image", "error")]),
        ("tensorflow[and-cuda]==2.21.0", SLIM, "3.11", []),
        ("tensorflow==2.11.1", GUIDE_GPU, "3.8", []),
        ("tensorflow==2.13.1", GUIDE_GPU, "3.8", [("cudnn-conflict", "error")]),
        ("bentoml==0.13.2\ntensorflow", GUIDE_GPU, "3.8", []),
        ("torch==2.4.1", SLIM, "3.11", []),
    ],
)
def test_cuda_of_the_image(tmp_path: Path, pip: str, image: str, python: str, says: list[tuple[str, str]]) -> None:
    """The image's CUDA and cuDNN are held against what each wheel opens, and what pip installs makes up for it."""
    assert names(tmp_path, pip, "python-version-mismatch", image=image, python=python) == says


def test_what_may_bring_cuda_past_pip(tmp_path: Path) -> None:
    """A set-up script or conda's cudatoolkit may bring the libraries: then it is a warning that says so."""
    scripts = (Said("apt-get install cuda", Place("setup.sh")),)
    (found,) = checked(tmp_path, "onnxruntime-gpu==1.16.3", image="python:3.8-slim", setup=scripts)
    assert (found.severity, "unless setup.sh installs them" in found.text) == ("warning", True)
    (found,) = checked(tmp_path, "onnxruntime-gpu==1.16.3", image="python:3.8-slim", conda="cudatoolkit=11.8 cudnn")
    assert (found.severity, "conda's cudatoolkit" in found.text) == ("warning", True)


def test_the_cuda_that_bentoml_is_asked_for(tmp_path: Path) -> None:
    """docker.cuda_version is held against the wheels as the image that BentoML takes for it; one that it has no image for is an error."""

    def said(cuda: str, pip: str) -> list[tuple[str, str]]:
        return names(tmp_path, pip, format_="bentoml-1", python="3.10", cuda=Said(cuda, Place("bento.yaml", 9)))

    assert said("12.8.1", "onnxruntime-gpu==1.23.2") == []
    assert said("12.1.1", "onnxruntime-gpu==1.23.2") == [("cudnn-conflict", "error")]
    assert said("11.8", "onnxruntime-gpu==1.23.2") == [("cuda-conflict", "error")]
    assert said("13.0.1", "torch==2.12.1") == [("cuda-conflict", "error")]


def test_python_of_the_image(tmp_path: Path) -> None:
    """An image with another Python than the bundle's is a warning."""
    assert names(tmp_path, "torch==2.4.1", image="bentoml/model-server:0.13.2-py37") == [("python-version-mismatch", "warning")]
    assert names(tmp_path, "torch==2.4.1", image="bentoml/model-server:0.13.2-py38") == []
    assert names(tmp_path, "torch==2.4.1", image="python:3", format_="bentoml-1") == []


def test_conda_and_pip_for_one_framework(tmp_path: Path) -> None:
    """A framework that both install is a warning; different ones are not."""
    assert names(tmp_path, "torch==2.4.1", conda="pytorch=2.3 pytorch-cuda=12.1") == [("conda-pip-split", "warning")]
    assert names(tmp_path, "onnxruntime-gpu==1.16.3", conda="pytorch=2.3 pytorch-cuda=12.1") == []


def test_cudnn_of_two_majors(tmp_path: Path) -> None:
    """CuDNN wheels for two CUDAs write the same files; cuBLAS wheels do not."""
    assert names(tmp_path, "nvidia-cudnn-cu12\nnvidia-cudnn-cu13") == [("cuda-conflict", "warning")]
    assert names(tmp_path, "nvidia-cublas-cu11\nnvidia-cublas-cu12") == []


@pytest.mark.parametrize(
    ("pip", "more", "release", "cuda"),
    [
        ("torch==1.9.1", {}, "1.9.1", "10.2"),
        ("torch==1.9.1+cu111", {}, "1.9.1", "11.1"),
        ("torch==2.4.1", {"indexes": ("--extra-index-url https://download.pytorch.org/whl/cu118",)}, "2.4.1", "11.8"),
        ("torch", {"indexes": ("--index-url https://download.pytorch.org/whl/cu118",)}, "", "11.8"),
        ("torch", {"python": "3.8"}, "2.4.1", "12.1"),
        ("torch", {"python": "3.11"}, "2.15.0", "13.2"),
        ("torch>=2.0,<2.3", {"python": "3.11"}, "2.2.2", "12.1"),
        ("onnxruntime-gpu", {"python": "3.8"}, "1.19.2", "12"),
        ("onnxruntime-gpu", {"python": "3.12"}, "1.31.1", "13.0"),
        ("bentoml==0.13.2\ntensorflow", {}, "2.11.1", "11.2"),
        ("tensorflow", {}, "2.13.1", "11.8"),
        ("bentoml", {"conda": "pytorch torchtext cudatoolkit=11.1"}, "", "11.1"),
        ("nvidia-cuda-runtime-cu12==12.8.90", {}, "12.8.90", "12.8"),
    ],
)
def test_which_build_is_taken(tmp_path: Path, pip: str, more: dict[str, object], release: str, cuda: str) -> None:
    """The release and the CUDA that pip or conda would take are those of the tables, for the bundle's Python and indexes."""
    found, missed = environment.frameworks(made.bundle(tmp_path, pip=pip, **more))  # type: ignore[arg-type]
    assert [(each.release, each.cuda) for each in found] == [(release, cuda)]
    assert missed == ()


@pytest.mark.parametrize(
    ("pip", "more"),
    [
        ("torch", {"python": ""}),
        ("torch", {"indexes": ("--extra-index-url https://download.pytorch.org/whl/cu118",)}),
        ("torch @ https://example.com/torch.zip", {}),
        ("tensorflow==2.11.1", {"indexes": ("--index-url https://pypi.example.com/simple",)}),
        ("onnxruntime-gpu==1.16.3", {"indexes": ("--index-url https://pypi.example.com/simple",)}),
        ("bentoml", {"conda": "pytorch"}),
    ],
)
def test_builds_that_cannot_be_told(tmp_path: Path, pip: str, more: dict[str, object]) -> None:
    """Without a Python, with an index that is not known, or an address in its place, the build is not guessed."""
    found, missed = environment.frameworks(made.bundle(tmp_path, pip=pip, **more))  # type: ignore[arg-type]
    assert found == ()
    assert len(missed) == 1


def test_what_is_not_pinned_is_a_hint(tmp_path: Path) -> None:
    """A release that is left to pip is named with its CUDA and its date; one that is pinned is not."""
    bundle = made.bundle(tmp_path, pip="torch", python="3.11", format_="bentoml-1")
    (found,) = environment.check(bundle, Files(str(tmp_path)), None)  # type: ignore[arg-type]
    assert (found.check, found.severity) == ("framework-not-pinned", "hint")
    assert "2.15.0 for CUDA 13.2" in found.text


def test_odd_requirements_break_nothing(tmp_path: Path) -> None:
    """Versions, indexes and images that make no sense are not judged, and break nothing."""
    odd = "torch==\nonnxruntime-gpu==x.y\ntensorflow>=,<\njax===\nbentoml==a\nnvidia-cuda-runtime==1\nnvidia-cublas-cuxx"
    for image in ("", "@", "nvidia/cuda", "nvidia/cuda:latest", "bentoml/model-server", ":", "python:3.99.1.2"):
        for python in ("", "x", "3", "2.7.18", "99.99"):
            for index in ("", "--index-url", "--extra-index-url /", "cu"):
                checked(tmp_path, odd, image=image, python=python, indexes=(index,), conda="pytorch=x cudatoolkit=")


def test_a_cure_names_no_release_that_is_not_there(tmp_path: Path) -> None:
    """onnxruntime-gpu has not each release of onnxruntime, and tensorflow no [and-cuda] before 2.14."""
    cures = {
        pip: checked(tmp_path, pip)[0].cure for pip in ("onnxruntime==1.16.3", "onnxruntime==1.99.0", "tensorflow-cpu==2.11.0")
    }
    assert list(cures.values()) == [
        "Ask for onnxruntime-gpu==1.16.3 in its place.",
        "Ask for onnxruntime-gpu in its place.",
        "Ask for tensorflow==2.11.0 in its place.",
    ]
