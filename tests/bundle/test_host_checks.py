"""Tests of a bundle held against recorded hosts: their driver, their GPUs, and how many of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpudoctor.bundle import Place, Said
from gpudoctor.bundle.checks import host
from gpudoctor.bundle.files import Files
from gpudoctor.facts import Facts
from gpudoctor.host.hostfile import load
from tests.bundle import made

HOSTS = Path(__file__).parent.parent.parent / "fixtures" / "hosts"
DRIVER_535 = "ubuntu-22.04-rtx3060-driver-535"
PASCAL = "ubuntu-22.04-gtx1080ti-driver-580"
BLACKWELL = "ubuntu-22.04-rtx5090-driver-580"
NO_GPU = "ubuntu-24.04-radeon-no-nvidia-gpu"


def checked(root: Path, name: str, pip: str = "", **more: object) -> list[tuple[str, str, str]]:
    """Return the checks of a bundle on a host: their names, how bad they are, and what they say."""
    bundle = made.bundle(root, pip=pip, **{"python": "3.11", "format_": "bentoml-1", **more})  # type: ignore[arg-type]
    found = host.check(bundle, Files(str(root)), Facts(load(str(HOSTS / f"{name}.host"))))
    return [(each.check, each.severity, each.text + each.cure) for each in found]


def names(root: Path, name: str, pip: str = "", **more: object) -> list[tuple[str, str]]:
    """Return the checks of a bundle on a host and how bad they are."""
    return [each[:2] for each in checked(root, name, pip, **more)]


@pytest.mark.parametrize(
    ("name", "pip", "says"),
    [
        (DRIVER_535, "torch==2.4.1", []),
        (DRIVER_535, "torch==2.12.1", [("driver-too-old-for-bundle", "error")]),
        (DRIVER_535, "torch", [("driver-too-old-for-bundle", "error")]),
        (DRIVER_535, "torch==2.12.1+cpu", []),
        (DRIVER_535, "onnxruntime-gpu==1.31.1", [("driver-too-old-for-bundle", "error")]),
        (DRIVER_535, "onnxruntime-gpu==1.23.2", []),
        (DRIVER_535, "tensorflow==2.21.0", []),
        (DRIVER_535, "nvidia-cuda-runtime==13.0.48", [("driver-too-old-for-bundle", "error")]),
        (PASCAL, "torch==2.14.1", [("gpu-too-old-for-bundle", "error")]),
        (PASCAL, "torch==2.4.1", []),
        (BLACKWELL, "torch==2.4.1", [("gpu-too-new-for-bundle", "error")]),
        (BLACKWELL, "torch==2.14.1", []),
        (BLACKWELL, "tensorflow==2.21.0", []),
    ],
)
def test_driver_and_gpu(tmp_path: Path, name: str, pip: str, says: list[tuple[str, str]]) -> None:
    """The driver is held against the wheel's CUDA, the GPU's capability against its code."""
    assert names(tmp_path, name, pip) == says


def test_what_is_said_of_an_old_driver(tmp_path: Path) -> None:
    """The sentence has the wheel, both versions and what to install; a release that is not pinned has its date."""
    ((_, _, text),) = checked(tmp_path, DRIVER_535, "torch")
    for word in ("PyTorch 2.15.0 (the newest as of 2026-11-22)", "CUDA 13.2", "580.65.06", "535.", "Install driver 595"):
        assert word in text


def test_the_image_s_own_cuda(tmp_path: Path) -> None:
    """A CUDA image that is newer than the driver is a warning where its major runs, an error where it does not; an older one is nothing."""
    image = "nvidia/cuda:{}-cudnn-runtime-ubuntu24.04"
    assert names(tmp_path, DRIVER_535, image=image.format("12.8.1")) == [("driver-too-old-for-bundle", "warning")]
    assert names(tmp_path, DRIVER_535, image=image.format("13.0.1")) == [("driver-too-old-for-bundle", "error")]
    assert names(tmp_path, DRIVER_535, image=image.format("11.8.0")) == []


def test_one_of_several_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where only some GPUs have no code it is a warning."""
    from gpudoctor.rules import images

    facts = Facts(load(str(HOSTS / f"{PASCAL}.host")))
    newer = Facts(load(str(HOSTS / f"{BLACKWELL}.host")))
    both = (*images.gpus(facts), *images.gpus(newer))
    monkeypatch.setattr(images, "gpus", lambda _: both)
    found = host.check(made.bundle(tmp_path, pip="torch==2.14.1", python="3.11"), Files(str(tmp_path)), facts)
    assert made.named(list(found)) == [("gpu-too-old-for-bundle", "warning")]


@pytest.mark.parametrize(
    ("name", "asked", "says"),
    [
        (DRIVER_535, "1", []),
        (DRIVER_535, "2", [("gpus-beyond-host", "error")]),
        (DRIVER_535, "[0]", []),
        (DRIVER_535, "[0, 1]", [("gpus-beyond-host", "error")]),
        (DRIVER_535, "0,3", [("gpus-beyond-host", "error")]),
        (DRIVER_535, "0", []),
        (DRIVER_535, "0.5", []),
        (DRIVER_535, "system", []),
        (DRIVER_535, "-1", []),
        (DRIVER_535, "9" * 400, []),
        (NO_GPU, "1", [("gpus-beyond-host", "error")]),
        ("ubuntu-24.04-hgx-h100x8", "8", []),
        ("ubuntu-24.04-hgx-h100x8", "[8]", [("gpus-beyond-host", "error")]),
        ("wsl2-ubuntu-24.04-rtx4070", "2", []),
    ],
)
def test_how_many_gpus(tmp_path: Path, name: str, asked: str, says: list[tuple[str, str]]) -> None:
    """Numbers and indices of GPUs are held against those of the host, where it tells them."""
    assert names(tmp_path, name, gpus=(Said(asked, Place("bento.yaml", 16)),)) == says


def test_a_host_without_a_gpu(tmp_path: Path) -> None:
    """Without a GPU to hold it against, a bundle that asks for none by number cannot be judged, and one without CUDA need not be."""
    assert names(tmp_path, NO_GPU, "torch==2.4.1") == [("driver-too-old-for-bundle", "unknown")]
    assert names(tmp_path, NO_GPU, "scikit-learn") == []


def test_a_host_that_does_not_answer(tmp_path: Path) -> None:
    """Where the driver or the GPU cannot be told, or the wheel is not in the tables, it is said so and nothing is accused."""
    found = names(tmp_path, "jetson-orin-jetpack6", "torch==2.12.1")
    assert found
    assert {severity for _, severity in found} == {"unknown"}
    assert names(tmp_path, DRIVER_535, "torch @ https://example.com/torch.zip") == [("driver-too-old-for-bundle", "unknown")]


def test_docker_without_the_toolkit(tmp_path: Path) -> None:
    """An image on a host whose Docker has no container toolkit is a hint; a bundle without an image is none."""
    name = "rocky-9-a10-toolkit-not-installed"
    assert names(tmp_path, name, "torch==2.4.1", image="python:3.11-slim") == [("no-container-toolkit", "hint")]
    assert names(tmp_path, name, "torch==2.4.1") == []


def test_every_recorded_host(tmp_path: Path) -> None:
    """On every recorded host a bundle is judged without an exception, and every sentence ends."""
    for path in sorted(HOSTS.glob("*.host")):
        for pip in ("torch", "tensorflow==2.11.1\nonnxruntime-gpu==1.31.1"):
            asked = (Said("1", Place("bento.yaml", 1)),)
            for _, _, text in checked(tmp_path, path.stem, pip, gpus=asked, image="nvidia/cuda:12.8.1-cudnn-runtime-ubuntu24.04"):
                assert text.endswith((".", ")"))


@pytest.mark.parametrize(
    ("asked", "packed_by", "says"),
    [
        (("1", "1"), "1.4.39", ["gpus-beyond-host"]),
        (("0.5", "0.5"), "1.4.39", []),
        (("0.5", "0.5", "0.5"), "1.4.39", ["gpus-beyond-host"]),
        (("0.25", "1"), "1.4.39", ["gpus-beyond-host"]),
        (("1", "1"), "1.1.11", []),
    ],
)
def test_services_that_together_ask_for_more(tmp_path: Path, asked: tuple[str, ...], packed_by: str, says: list[str]) -> None:
    """BentoML gives each service GPUs of its own, and one of equal fractions; runners of 1.1 are all given all of them."""
    gpus = tuple(Said(each, Place("bento.yaml", 16 + at)) for at, each in enumerate(asked))
    found = names(tmp_path, DRIVER_535, gpus=gpus, format_="bentoml-1", packed_by=packed_by)
    assert [check for check, _ in found] == says


def test_a_fraction_of_a_gpu_needs_one(tmp_path: Path) -> None:
    """Half a GPU is more than none."""
    assert names(tmp_path, NO_GPU, gpus=(Said("0.5", Place("bento.yaml", 16)),)) == [("gpus-beyond-host", "error")]
