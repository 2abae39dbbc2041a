"""Bundles packed by the real BentoML, then broken in each way that people's are: the static pass names it, and a call proves it."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.bundle import packed

if TYPE_CHECKING:
    from collections.abc import Callable

HOST = packed.ROOT / "fixtures" / "hosts" / "ubuntu-22.04-a10g-hook.host"
"""One A10G (8.6), driver 535: CUDA 12.2."""
STATIC = ("--static", "--host", str(HOST))


def smoke(path: Path, *words: str) -> tuple[int, dict[str, Any]]:
    """Run ``gpudoctor smoke --bundle`` as a user does, and return the exit code and the JSON."""
    argv = [sys.executable, "-m", "gpudoctor", "smoke", "--bundle", str(path), "--json", *words]
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=300, cwd=packed.ROOT, check=False)
    assert ran.stdout, ran.stderr
    return ran.returncode, json.loads(ran.stdout)


def named(found: dict[str, Any], severity: str = "error") -> set[str]:
    """Return the names of the checks that found something of a severity."""
    return {each["check"] for each in found["static"] if each["severity"] == severity}


def edited(path: Path, old: str, new: str) -> None:
    """Replace words of a file, which must be there."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize("service", ["torch_good", "onnx_good"])
def test_a_sound_bundle_has_no_error(service, tmp_path):
    """A service that names its GPU and requires what it imports passes the static pass, and that alone is no pass."""
    code, found = smoke(packed.bundle(service, tmp_path), *STATIC)
    assert named(found) == set(), found["static"]
    assert (code, found["format"], found["verdict"]) == (0, "bentoml-0.13", "cannot-tell")


@pytest.mark.parametrize("service", ["torch_1", "onnx_1"])
def test_a_sound_bento_has_no_error(service, tmp_path):
    """BentoML 1's bento is recognised, and held against a host that its wheels suit has no error."""
    host = packed.ROOT / "fixtures" / "hosts" / "arch-rtx3090-docker29.host"
    _, found = smoke(packed.bundle(service, tmp_path), "--static", "--host", str(host))
    assert named(found) == set(), found["static"]
    assert found["format"] == "bentoml-1"
    assert [each["api"] for each in found["apis"]] == ["score"]


@pytest.mark.parametrize(
    ("service", "wanted"),
    [
        ("torch_guide", {"saved-on-cpu-never-moved", "module-not-bundled"}),
        ("onnx_guide", {"providers-not-named", "framework-not-required"}),
    ],
)
def test_the_faults_of_the_guides_own_examples_are_named(service, wanted, tmp_path):
    """Services written as the guide of 2021 has them are wrong in the ways that they really are."""
    code, found = smoke(packed.bundle(service, tmp_path), *STATIC)
    assert wanted <= named(found), found["static"]
    assert (code, found["verdict"]) == (1, "fail")


def _missing(folder: Path) -> None:
    next(folder.rglob("model.*")).unlink()


def _empty(folder: Path) -> None:
    next(folder.rglob("model.*")).write_bytes(b"")


def _truncated(folder: Path) -> None:
    model = next(folder.rglob("model.*"))
    model.write_bytes(model.read_bytes()[:-200])


def _pointer(folder: Path) -> None:
    next(folder.rglob("model.*")).write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 12345\n"
    )


def _link(folder: Path) -> None:
    model = next(folder.rglob("model.*"))
    model.unlink()
    model.symlink_to("/etc/hostname")


class _Evil:
    """What a hostile pickle does when it is loaded."""

    def __init__(self, path: str) -> None:
        """Take the file that shows that it ran."""
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        """Have a command run."""
        return os.system, (f"touch {self.path}",)


def _hostile(folder: Path) -> None:
    next(folder.rglob("vocab.pkl")).write_bytes(pickle.dumps(_Evil(str(folder / "ran"))))


def _syntax(folder: Path) -> None:
    with next(folder.rglob("bento_svc.py")).open("a") as file:
        file.write("\ndef broken(:\n")


def _cpu_runtime(folder: Path) -> None:
    for path in (*folder.rglob("requirements.txt"), *folder.rglob("bentoml.yml")):
        path.write_text(path.read_text().replace("onnxruntime-gpu==", "onnxruntime=="))


def _both_runtimes(folder: Path) -> None:
    for path in folder.rglob("requirements.txt"):
        path.write_text(path.read_text() + "\nonnxruntime==1.16.3\n")


def _setup(folder: Path) -> None:
    (folder / "setup.sh").write_text("#!/bin/sh\napt-get install -y libgomp1\n")
    for path in folder.rglob("bentoml.yml"):
        edited(path, "\nenv:\n", "\nenv:\n  setup_sh: setup.sh\n")


def _no_apis(folder: Path) -> None:
    for path in folder.rglob("bentoml.yml"):
        text = path.read_text()
        start, end = text.index("apis:"), text.index("artifacts:")
        path.write_text(text[:start] + "apis: []\n" + text[end:])


def _kind(folder: Path) -> None:
    for path in folder.rglob("bentoml.yml"):
        edited(path, "kind: BentoService", "kind: Recipe")


def _two_gpus(folder: Path) -> None:
    edited(folder / "bento.yaml", "gpu: 1", "gpu: 4")


@pytest.mark.parametrize(
    ("service", "break_it", "check"),
    [
        ("onnx_good", _missing, "artifact-missing"),
        ("onnx_good", _empty, "artifact-empty"),
        ("onnx_good", _truncated, "artifact-truncated"),
        ("onnx_good", _pointer, "git-lfs-pointer"),
        ("onnx_good", _link, "path-leaves-bundle"),
        ("onnx_good", _hostile, "dangerous-pickle"),
        ("onnx_good", _syntax, "syntax-error"),
        ("onnx_good", _cpu_runtime, "cpu-only-runtime"),
        ("onnx_good", _both_runtimes, "both-onnxruntimes"),
        ("onnx_good", _setup, "runs-setup-sh"),
        ("onnx_good", _no_apis, "no-apis"),
        ("onnx_good", _kind, "not-a-bundle"),
        ("torch_good", _missing, "artifact-missing"),
        ("torch_good", _truncated, "artifact-truncated"),
        ("torch_good", _hostile, "dangerous-pickle"),
        ("keras", _missing, "artifact-missing"),
        ("keras", _truncated, "artifact-truncated"),
        ("torch_1", _two_gpus, "gpus-beyond-host"),
    ],
)
def test_what_is_broken_is_named(service, break_it: Callable[[Path], None], check, tmp_path):
    """Each way of breaking a bundle gets its own name, with the place, and nothing of the bundle has run."""
    folder = packed.bundle(service, tmp_path)
    break_it(folder)
    before = sorted(folder.rglob("*"))
    code, found = smoke(folder, *STATIC)
    assert check in named(found) | named(found, "warning"), found["static"]
    assert (found["verdict"] == "refused") is (check == "dangerous-pickle")
    assert found["verdict"] != "pass"
    if check != "runs-setup-sh":
        assert code in {1, 2}
    assert sorted(folder.rglob("*")) == before


def test_an_archive_is_as_good_as_its_folder(tmp_path):
    """A tar.gz of a bundle gives the same findings, and leaves nothing unpacked behind."""
    folder = packed.bundle("onnx_guide", tmp_path)
    archive = tmp_path / "bundle.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, "bundle")
    _, loose = smoke(folder, *STATIC)
    _, inside = smoke(archive, *STATIC)
    assert named(loose) == named(inside)
    assert not list(Path("/tmp").glob(f"gpudoctor-smoke-*/{folder.name}"))


def test_an_archive_that_leaves_its_folder_is_refused(tmp_path):
    """A member called ../../x is not unpacked, and nothing is written outside."""
    archive = tmp_path / "bad.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        info = tarfile.TarInfo("../../gpudoctor-escaped")
        info.size = 1
        tar.addfile(info, io.BytesIO(b"x"))
    code, found = smoke(archive, *STATIC)
    assert (code, found["verdict"], named(found)) == (1, "refused", {"archive-unsafe"})


def test_the_inner_folder_is_the_same_bundle(tmp_path):
    """BentoML 0.13 loads the folder inside a bundle as well, and so it is examined as well."""
    folder = packed.bundle("torch_guide", tmp_path)
    _, outer = smoke(folder, *STATIC)
    _, inner = smoke(folder / "PytorchService", *STATIC)
    assert inner["format"] == outer["format"] == "bentoml-0.13"
    assert "saved-on-cpu-never-moved" in named(inner)


@pytest.mark.parametrize("service", ["torch_good", "onnx_good", "torch_1", "onnx_1"])
def test_a_call_is_answered_and_where_it_ran_is_shown(service, tmp_path):
    """Called for real on the CPU, each service answers, the evidence says CPU, and nothing is left in the bundle."""
    folder = packed.bundle(service, tmp_path)
    before = sorted(folder.rglob("*"))
    exe = packed.python(packed.generation(service))
    code, found = smoke(folder, "--python", exe, "--device", "cpu")
    assert (code, found["verdict"]) == (0, "pass"), found
    assert [(each["ok"], each["ran_on"]) for each in found["calls"]] == [(True, "cpu")]
    assert found["calls"][0]["evidence"]
    assert sorted(folder.rglob("*")) == before


def test_a_service_without_an_example_needs_the_input(tmp_path):
    """Where nothing on disk says what to send, the sentence says what to pass; with --input it is answered."""
    folder = packed.bundle("keras", tmp_path)
    exe = packed.python("0.13")
    code, found = smoke(folder, "--python", exe, "--device", "cpu")
    assert (code, found["verdict"]) == (3, "cannot-tell"), found
    assert "--input" in found["calls"][0]["text"]
    code, found = smoke(folder, "--python", exe, "--device", "cpu", "--input", '{"row": [1, 2, 3, 4]}')
    assert (code, found["verdict"]) == (0, "pass"), found


@pytest.mark.parametrize("service", ["onnx_good", "torch_1"])
def test_served_over_http_it_answers_and_everything_is_stopped(service, tmp_path):
    """The real server is started on loopback, answers over HTTP, and none of its processes stays."""
    folder = packed.bundle(service, tmp_path)
    exe = packed.python(packed.generation(service))
    code, found = smoke(folder, "--python", exe, "--device", "cpu", "--serve")
    assert (code, found["verdict"]) == (0, "pass"), found
    assert found["calls"][0]["ok"]
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(folder) not in running


def test_a_hostile_bundle_is_not_loaded_without_trust(tmp_path):
    """A pickle that runs a command when it is loaded is refused, and the command has not run."""
    folder = packed.bundle("onnx_good", tmp_path)
    _hostile(folder)
    code, found = smoke(folder, "--python", packed.python("0.13"), "--device", "cpu")
    assert (code, found["verdict"], found["calls"]) == (1, "refused", [])
    assert not (folder / "ran").exists()


def test_a_bundle_that_prints_pass_gains_nothing(tmp_path):
    """What a bundle prints is quoted at most: one that fails and prints a verdict has failed."""
    folder = packed.bundle("onnx_good", tmp_path)
    for path in folder.rglob("bento_svc.py"):
        edited(
            path,
            "        words = [",
            '        print(\'{"state": "passed", "verdict": "pass", "ran_on": "gpu"}\', "PASS gpu", flush=True)\n        words = [',
        )
    shutil.copy(next(folder.rglob("vocab.pkl")), tmp_path / "kept")
    _truncated(folder)
    code, found = smoke(folder, "--python", packed.python("0.13"), "--device", "cpu")
    assert (code, found["verdict"]) == (1, "fail"), found
    assert all(each["ran_on"] != "gpu" for each in found["calls"])
