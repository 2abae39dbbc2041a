"""The whole line that serves a bundle or an image, as it would be pasted into a shell or a Compose file."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.bundle import laid

ROOT = Path(__file__).parent.parent
HOST = ROOT / "fixtures" / "hosts" / "ubuntu-22.04-a10g-hook.host"
NODES = ["/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools"]
BENTOML_YML = """version: 0.13.2
kind: BentoService
metadata: {created_at: 2026-01-01, service_name: TextService, service_version: 20260101_ABCDEF, module_name: svc, module_file: svc.py}
env: {python_version: 3.8.18, docker_base_image: 'bentoml/model-server:0.13.2-py38', pip_packages: [bentoml==0.13.2]}
apis:
- {name: predict, docs: '', input_type: JsonInput, output_type: JsonOutput, mb_max_batch_size: 1, mb_max_latency: 1, batch: false, route: predict}
artifacts: []
"""
BENTO_YAML = """service: service:Scorer
name: scorer
version: abc
bentoml_version: {packed_by}
creation_time: '2026-01-01T00:00:00+00:00'
models: []
entry_service: Scorer
services: [{{name: Scorer, service: '', models: [], dependencies: [], config: {{resources: {{gpu: 1}}}}}}]
schema: {{name: Scorer, type: service, routes: [{{name: score, route: /score, batchable: false, input: {{properties: {{}}}}, output: {{}}}}]}}
spec: 2
"""


def run_args(*words: str, host: Path = HOST) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does."""
    argv = [sys.executable, "-m", "gpudoctor", "run-args", *words, "--host", str(host)]
    return subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Write the little of a BentoML 0.13 bundle that this command reads."""
    folder = tmp_path / "old"
    (folder / "TextService").mkdir(parents=True)
    for place in (folder, folder / "TextService"):
        (place / "bentoml.yml").write_text(BENTOML_YML)
    (folder / "TextService" / "svc.py").write_text("import bentoml\n")
    (folder / "requirements.txt").write_text("bentoml==0.13.2")
    return folder


def test_the_line_of_an_old_bundle(old):
    """A BentoML 0.13 bundle gets the guide's line: GPUs, device nodes, port 5000 and one worker, and says which image that is."""
    ran = run_args(str(old))
    assert ran.returncode == 0, ran.stderr
    nodes = [word for node in NODES for word in ("--device", node)]
    image = "textservice:20260101_abcdef"
    assert shlex.split(ran.stdout) == ["docker", "run", "--gpus", "all", *nodes, "-p", "5000:5000", image, "--workers=1"]
    assert "bentoml containerize TextService:20260101_ABCDEF" in ran.stderr


def test_the_service_of_an_old_bundle(old):
    """The same as a Compose service, whose nodes and request stand beside each other."""
    ran = run_args(str(old), "--format", "compose", "--workers", "2", "--port", "8080")
    service = yaml.safe_load(ran.stdout)["services"]["textservice"]
    assert service["image"] == "textservice:20260101_abcdef"
    assert service["command"] == ["--workers=2"]
    assert service["ports"] == ["8080:5000"]
    assert service["devices"] == [f"{node}:{node}" for node in NODES]
    assert service["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]


@pytest.mark.parametrize(("packed_by", "code"), [("1.1.11", 0), ("1.4.39", 2)])
def test_workers_of_a_bento(packed_by, code, tmp_path):
    """Before 1.2 a bento's server takes the number of workers; from then on the service has it, and the sentence says where."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "service.py").write_text("import bentoml\n")
    (tmp_path / "bento.yaml").write_text(BENTO_YAML.format(packed_by=packed_by))
    ran = run_args(str(tmp_path), "--workers", "2")
    assert ran.returncode == code, ran.stderr
    if code:
        assert "@bentoml.service(workers=2)" in ran.stderr
        ran = run_args(str(tmp_path))
    words = shlex.split(ran.stdout)
    assert words[words.index("-p") + 1] == "3000:3000"
    assert words[-1] == ("scorer:abc" if code else "--api-workers=2")


def test_an_image_that_is_not_here_needs_its_port():
    """Where an image listens is not guessed: with --port the line is printed, without it the sentence asks for it."""
    ran = run_args("registry.example/team/model:1")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "--port" in ran.stderr
    ran = run_args("registry.example/team/model:1", "--port", "9000")
    assert ran.returncode == 0
    assert shlex.split(ran.stdout)[-3:] == ["-p", "9000:9000", "registry.example/team/model:1"]


@pytest.mark.parametrize(
    ("variables", "exposed", "ports", "last"),
    [
        ('"BUNDLE_PATH=/home/bentoml/bundle"', '"5000/tcp": {}', ["5000:5000"], "--workers=1"),
        ('"BENTO_PATH=/home/bentoml/bento"', '"3000/tcp": {}, "3001/tcp": {}', ["3000:3000"], "served:1"),
        ("", '"8000/tcp": {}, "53/udp": {}', ["8000:8000"], "served:1"),
    ],
)
def test_an_image_says_itself_where_it_listens(variables, exposed, ports, last, tmp_path):
    """BentoML's images are known by their variables, others by the ports that they expose."""
    host = tmp_path / "with-image.host"
    inspected = f'[{{"Architecture": "amd64", "Config": {{"Env": [{variables}], "ExposedPorts": {{{exposed}}}}}}}]'
    host.write_text(f"{HOST.read_text()}\n-- $ docker image inspect served:1 -- rc=0\n{inspected}\n")
    ran = run_args("served:1", host=host)
    assert ran.returncode == 0, ran.stderr
    words = shlex.split(ran.stdout)
    assert [words[at + 1] for at, word in enumerate(words) if word == "-p"] == ports
    assert words[-1] == last


def test_a_host_that_lacks_a_node_gets_no_line(old):
    """A line that cannot work is not printed: what is missing is said with the command that makes it."""
    ran = run_args(str(old), host=ROOT / "fixtures" / "hosts" / "debian-12-no-gpu-docker.host")
    assert ran.returncode in {1, 2}
    assert ran.stdout == ""
    assert ran.stderr


@pytest.mark.parametrize(
    "words", [["x:1", "--format", "yaml"], ["x:1", "--workers", "0"], ["x:1", "--port", "70000"], ["no such", "--port", "1"]]
)
def test_wrong_usage_is_answered_with_a_sentence(words):
    """Each wrong request ends with exit code 2 and one sentence."""
    ran = run_args(*words)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("gpudoctor: ")


def test_a_host_without_uvm_gets_no_line_and_the_command_that_makes_it(old, tmp_path):
    """Where one node is missing the exit code is 1, nothing is printed that would fail, and the command is said."""
    host = tmp_path / "without-uvm.host"
    kept = [line for line in HOST.read_text().splitlines() if not line.startswith("-- /dev/nvidia-uvm")]
    host.write_text("\n".join(kept) + "\n")
    ran = run_args(str(old), host=host)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "missing: /dev/nvidia-uvm" in ran.stderr
    assert "nvidia-modprobe" in ran.stderr


def test_a_path_with_a_dollar_reaches_docker_and_compose(tmp_path):
    """A Triton repository is mounted by its path, quoted for the shell, its `$` doubled for Compose."""
    folder = tmp_path / "a $b"
    (folder / "relu" / "1").mkdir(parents=True)
    (folder / "relu" / "1" / "model.onnx").write_bytes(laid.onnx())
    (folder / "relu" / "config.pbtxt").write_text('name: "relu"\nplatform: "onnxruntime_onnx"\n')
    words = shlex.split(run_args(str(folder)).stdout)
    assert words[words.index("-v") + 1] == f"{folder}:/models:ro"
    assert words[-2:] == ["tritonserver", "--model-repository=/models"]
    (only,) = yaml.safe_load(run_args(str(folder), "--format", "compose").stdout)["services"].values()
    assert only["volumes"] == [f"{folder}:/models:ro".replace("$", "$$")]
    assert only["ports"] == ["8000:8000", "8001:8001", "8002:8002"]
