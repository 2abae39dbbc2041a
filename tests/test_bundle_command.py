"""`smoke --bundle` as a user types it: exit codes, sentences, and JSON that follows its schema."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema
import pytest

from gpudoctor.bundle import Wanted, call
from gpudoctor.bundle.checks import layout
from gpudoctor.commands import bundle as command
from gpudoctor.facts import Facts
from gpudoctor.host.hostfile import load
from tests.bundle import laid

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parent.parent
HOST = ROOT / "fixtures" / "hosts" / "ubuntu-22.04-a10g-hook.host"
SCHEMA = json.loads((ROOT / "docs" / "schema" / "bundle.schema.json").read_text())


def smoke(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    argv = [sys.executable, "-m", "gpudoctor", "smoke", *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)


def static(path: Path | str) -> tuple[int, dict[str, object]]:
    """Run the static pass against a recorded host, and return the exit code and the JSON, held to its schema."""
    ran = smoke("--bundle", str(path), "--static", "--host", str(HOST), "--json")
    value = json.loads(ran.stdout)
    jsonschema.validate(value, SCHEMA)
    assert value["code"] == ran.returncode
    return ran.returncode, value


def onnx_file(root: Path) -> Path:
    """Write an ONNX file alone."""
    path = root / "relu.onnx"
    path.write_bytes(laid.onnx())
    return path


@pytest.mark.parametrize(
    ("lay", "kind"),
    [
        (laid.bentoml_0_13, "bentoml-0.13"),
        (laid.bento, "bentoml-1"),
        (laid.mlflow, "mlflow"),
        (laid.triton, "triton"),
        (onnx_file, "onnx"),
    ],
)
def test_every_format_gives_json_by_the_schema(lay: Callable[[Path], Path], kind, tmp_path):
    """Each format is named, and what is said of it follows the schema."""
    _, value = static(lay(tmp_path))
    assert value["format"] == kind
    assert value["calls"] == []
    assert value["verdict"] in {"fail", "cannot-tell"}


def test_weights_alone_are_nothing_to_test(tmp_path):
    """A safetensors file is named for what it is, and that is no pass."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(laid.safetensors())
    code, value = static(path)
    assert (code, value["format"], value["verdict"]) == (3, "safetensors", "nothing-to-test")


@pytest.mark.parametrize(
    "make", [lambda root: root / "absent", lambda root: root, lambda _: ROOT / "README.md", lambda _: Path("/dev/null")]
)
def test_what_is_no_bundle_is_said_with_exit_code_2(make: Callable[[Path], Path], tmp_path):
    """A path that is not there, an empty folder, a text and a device are no bundles, by name, as text and as JSON."""
    path = make(tmp_path)
    code, value = static(path)
    assert (code, value["format"], value["verdict"]) == (2, None, "nothing-to-test")
    ran = smoke("--bundle", str(path), "--static", "--host", str(HOST))
    assert ran.returncode == 2
    assert "not a bundle" in ran.stdout


def test_without_an_environment_it_says_what_to_give(tmp_path):
    """The static pass is made, and a sentence names the three ways to call the bundle."""
    ran = smoke("--bundle", str(onnx_file(tmp_path)))
    assert ran.returncode in {1, 3}
    for option in ("--python", "--venv", "--image"):
        assert option in ran.stdout


@pytest.mark.parametrize(
    "words",
    [
        ["torch", "--bundle", "x"],
        ["--bundle", "x", "--daemon-reload"],
        ["--api", "predict"],
        ["--input", "{}"],
        ["--static"],
        ["--trust"],
        ["--host", str(HOST)],
        ["--bundle", "x", "--host", str(HOST)],
        ["--bundle", "x", "--static", "--python", "python3"],
        ["--bundle", "x", "--static", "--input", "1"],
        ["--bundle", "x", "--python", "a", "--image", "b"],
        ["--bundle", "x", "--venv", "--image", "b"],
        ["--bundle", "x", "--isolate", "container"],
        ["--bundle", "x", "--isolate", "nowhere"],
        ["--bundle", "x", "--isolate", "host", "--image", "b"],
        ["--bundle", "x", "--docker-arg=-it"],
        ["--bundle", "x", "--device", "tpu"],
        ["--bundle", "x", "--device", "cpu", "--gpus", "0"],
        ["--bundle", "x", "--gpus", " "],
        ["--bundle", "x", "--timeout", "0"],
        ["--bundle", "x", "--python", "a", "--input", "{"],
        ["--bundle", "x", "--python", "a", "--input", "@absent.json"],
    ],
)
def test_wrong_usage_is_a_sentence(words):
    """Each contradiction ends with exit code 2, one sentence on standard error, and nothing on standard output."""
    ran = smoke(*words)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("gpudoctor: ")
    assert "Traceback" not in ran.stderr


def test_the_body_is_read_from_a_file(tmp_path):
    """`--input @FILE` sends what the file has; a file that is no JSON is refused before anything is started."""
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text('{"text": "é"}')
    bad.write_bytes(b"\xff")
    assert command._body(f"@{good}") == '{"text": "é"}'
    with pytest.raises(ValueError, match="UTF-8"):
        command._body(f"@{bad}")


def dangerous(root: Path) -> Path:
    """Write a bundle with a pickle that would run a command."""
    yml = laid.BENTOML_YML + "- name: vocab\n  artifact_type: PickleArtifact\n  metadata: {}\n"
    laid.bentoml_0_13(root, yml=yml)
    (root / "Classifier" / "artifacts" / "vocab.pkl").write_bytes(b"cos\nsystem\n(Vtrue\ntR.")
    return root


@pytest.mark.parametrize(("words", "verdict"), [((), "refused"), (("--trust",), "fail")])
def test_the_static_pass_says_what_would_not_be_loaded(words, verdict, tmp_path):
    """A dangerous pickle is refused before anything is called; who trusts it has its error all the same."""
    ran = smoke("--bundle", str(dangerous(tmp_path)), "--static", "--host", str(HOST), "--json", *words)
    value = json.loads(ran.stdout)
    assert (ran.returncode, value["verdict"]) == (1, verdict)
    assert "dangerous-pickle" in {each["check"] for each in value["static"]}


@pytest.mark.parametrize(("device", "verdict"), [("cuda", "fail"), ("cpu", "pass")])
def test_a_bundle_that_ran_and_is_packed_wrongly_does_not_pass(device, verdict, tmp_path, monkeypatch):
    """What ran on the GPU of a good environment fails where the bundle itself would not; on the CPU the call alone is judged."""
    laid.bentoml_0_13(tmp_path, pip="bentoml==0.13.2\nonnxruntime==1.16.3\n")
    monkeypatch.setattr(call, "call", lambda *_: call.Called((), "pass", "It ran."))
    want = command.Asked(str(tmp_path), Wanted(python="python3", device=device), static=False)
    done = command.run(Facts(load(str(HOST))), want, lambda *_: None)
    assert "error" in {each.severity for each in done.static}
    assert (done.verdict, done.code) == (verdict, int(verdict == "fail"))


def test_a_check_that_breaks_is_a_result_and_hides_no_other(tmp_path, monkeypatch):
    """Where a check raises, it says so as unknown, and what the others found stays."""
    laid.bentoml_0_13(tmp_path, pip="bentoml==0.13.2\nonnxruntime==1.16.3\nonnxruntime-gpu==1.16.3\n")

    def broken(*_: object) -> None:
        raise RuntimeError("this bundle is odd")

    monkeypatch.setattr(layout, "check", broken)
    want = command.Asked(str(tmp_path), Wanted(), static=True)
    said = {each.check: each for each in command.run(Facts(load(str(HOST))), want, lambda *_: None).static}
    assert said["check-broke"].severity == "unknown"
    assert "this bundle is odd" in said["check-broke"].text
    assert "both-onnxruntimes" in said
