"""`gpudoctor smoke` as it is used: exit codes, the screen, the JSON, and an image beside the host."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path

import jsonschema
import pytest

from gpudoctor.facts import Facts
from gpudoctor.host.hostfile import load, parse
from gpudoctor.report import smoke as report
from gpudoctor.report.text import MARKS
from gpudoctor.smoke import climb, image
from gpudoctor.smoke.ladder import ABOVE, BELOW, Cause, Climb, Rung, Smoke, filled, verdict
from tests.smoke.conftest import PROBES, ROOT, venv

SCHEMA = json.loads((ROOT / "docs" / "schema" / "smoke.schema.json").read_text())
HOSTS = ROOT / "fixtures" / "device-args"
# A `docker` that runs "containers" as processes of this machine: what is tested is what it is told, and the verdict's way back.
DOCKER = """#!{python}
import json, os, sys
words = sys.argv[1:]
with open({log!r}, "a") as log:
    log.write(json.dumps(words) + "\\n")
if words[:2] == ["image", "inspect"]:
    if words[-1] == "absent":
        sys.exit("Error response from daemon: No such image: absent:latest")
    print("sha256:0")
    sys.exit(0)
if words[0] == "rm":
    sys.exit(0)
if words[0] == "exec":
    with open({log!r} + ".folder") as file:
        words.append(json.dumps(dict(json.loads(words.pop()), out=file.read())))
folder = next((word.rsplit(":", 2)[0] for word in words if word.endswith(":/gpudoctor-smoke:Z")), None)
if "--detach" in words:
    with open({log!r} + ".folder", "w") as file:
        file.write(folder)
    sys.exit(0)
if "broken" in words:
    sys.stderr.write("docker: Error response from daemon: could not select device driver \\"\\" with capabilities: [[gpu]].\\n")
    sys.exit(125)
if "crash" in words:
    sys.exit(139)
settings = json.loads(words[-1])
if folder:
    settings["out"] = folder
python = [word.split("=", 1)[1] for word in words if word.startswith("--entrypoint=")] or [{python!r}]
os.execv(python[-1], [python[-1], "-", json.dumps(settings)])
"""


def none_here() -> bool:
    """Say whether this machine has no GPU, as the program sees it."""
    from gpudoctor.host.live import Live

    return bool(climb.no_gpu(Facts(Live())))


@pytest.fixture
def docker(tmp_path):
    """Put a stand-in for docker on the PATH; return the environment and the file in which it writes down what it was told."""
    log = tmp_path / "docker.log"
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "docker"
    program.write_text(DOCKER.format(python=sys.executable, log=str(log)))
    program.chmod(0o755)
    return {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}, log


def test_without_a_gpu_it_is_no_pass(gpudoctor):
    """Without a GPU the answer is "no GPU to test", exit 3, with frameworks or without, and nothing is started."""
    if not none_here():
        pytest.skip("this machine has a GPU")
    for words in ((), ("torch",), ("all", "--image", "x")):
        ran = gpudoctor("smoke", *words)
        assert ran.returncode == 3
        assert "no GPU to test" in ran.stdout.decode()
    told = json.loads(gpudoctor("smoke", "torch", "--json").stdout)
    jsonschema.validate(told, SCHEMA)
    assert told["nothing"]
    assert told["climbs"] == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("foo",), "no such framework"),
        (("--device", "tpu", "torch"), "cuda or cpu"),
        (("--device", "cpu"), "needs a framework"),
        (("torch", "--timeout", "0"), "--timeout"),
        (("torch", "--docker-arg", "-t"), "need --image"),
        (("torch", "--device", "cpu", "--gpus", "0"), "excludes"),
        (("torch", "--gpus", ","), "--gpus is empty"),
        (("torch", "--device", "cpu", "--python", "/no/such"), "no such program"),
    ],
)
def test_wrong_usage_is_2(gpudoctor, words, says):
    """What cannot be meant ends with exit code 2 and a sentence."""
    ran = gpudoctor("smoke", *words)
    assert ran.returncode == 2
    assert says in ran.stderr.decode()


def test_on_the_cpu_the_screen_and_the_json_say_so(gpudoctor):
    """A pass with --device cpu is 0, and both outputs say that it was the CPU."""
    python = str(venv("onnxruntime"))
    ran = gpudoctor("smoke", "onnxruntime", "--device", "cpu", "--python", python)
    assert ran.returncode == 0, ran.stderr
    assert "ran on the CPU, as --device cpu asks; this says nothing of a GPU" in ran.stdout.decode()
    ran = gpudoctor("smoke", "onnxruntime", "--device", "cpu", "--python", python, "--json")
    told = json.loads(ran.stdout)
    jsonschema.validate(told, SCHEMA)
    assert [each["verdict"] for each in told["climbs"]] == ["on the CPU"]
    assert told["code"] == ran.returncode == 0


def test_a_full_disk_is_4(gpudoctor):
    """A result that cannot be written is exit code 4."""
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with open("/dev/full", "wb") as full:
        assert gpudoctor("smoke", "--device", "cpu", "torch", "--python", sys.executable, stdout=full).returncode == 4


def test_none_installed_is_no_pass(gpudoctor):
    """`all` where no framework is installed shows nothing, and is 1."""
    if any(importlib.util.find_spec(name) for name in ("torch", "onnxruntime", "tensorflow", "jax")):
        pytest.skip("this Python has a framework")
    ran = gpudoctor("smoke", "all", "--device", "cpu", "--python", sys.executable)
    assert ran.returncode == 1
    assert "is not installed there" in ran.stdout.decode()


def test_in_an_image_the_verdict_comes_back_by_its_folder(gpudoctor, docker):
    """The image's ladder is climbed beside the host's; no network, no entry point of the image, the folder mounted, the user's words last."""
    environment, log = docker
    python = str(venv("onnxruntime"))
    words = ("--device", "cpu", "--python", python, "--image", "some", "--docker-arg", f"--entrypoint={python}", "--json")
    ran = gpudoctor("smoke", "onnxruntime", *words, env=environment)
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    jsonschema.validate(told, SCHEMA)
    assert [(each["place"], each["verdict"]) for each in told["climbs"]] == [("host", "on the CPU"), ("image", "on the CPU")]
    started = [json.loads(line) for line in log.read_text().splitlines()][-1]
    assert started[:3] == ["run", "--rm", "--interactive"]
    assert started[started.index("--network") + 1] == "none"
    assert started[-4:-1] == [f"--entrypoint={python}", "some", "-"]
    assert not any(word.startswith("--gpus") or word == "--device" for word in started)


def test_an_image_that_is_not_here_is_not_downloaded(gpudoctor, docker):
    """An image that is not here ends with 2 and the command that gets it."""
    ran = gpudoctor("smoke", "torch", "--device", "cpu", "--image", "absent", env=docker[0])
    assert ran.returncode == 2
    assert "docker pull absent" in ran.stderr.decode()


@pytest.mark.parametrize(
    ("name", "says"), [("broken", "could not select device driver"), ("crash", "killed by signal 11 (SIGSEGV)")]
)
def test_how_a_container_fails_is_told(gpudoctor, docker, name, says):
    """A container that Docker does not start, or that a signal ends, is a result: what Docker says, or the signal in its exit code."""
    ran = gpudoctor("smoke", "torch", "--device", "cpu", "--image", name, "--json", env=docker[0])
    told = json.loads(ran.stdout)
    jsonschema.validate(told, SCHEMA)
    assert ran.returncode == 1
    assert says in next(each for each in told["climbs"] if each["place"] == "image")["rungs"][0]["says"]


def test_the_printed_command_can_be_pasted(gpudoctor, docker):
    """The command of a container's ladder runs by itself in a shell, its verdict on standard output."""
    import subprocess

    environment, _ = docker
    ran = gpudoctor("smoke", "torch", "--device", "cpu", "--image", "some", "--json", env=environment)
    command = next(each for each in json.loads(ran.stdout)["climbs"] if each["place"] == "image")["command"]
    assert "--volume" not in command
    again = subprocess.run(["sh", "-c", command], env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert '"rung": "import"' in again.stdout


def test_the_nodes_of_the_host_and_its_injection_path_are_given():
    """A container gets what device-args prints on this host, as words."""
    facts = Facts(load(str(HOSTS / "one-gpu.host")))
    words, _ = image.gpu_words(facts, ("all",))
    assert "--device" in words
    assert "/dev/nvidia0" in words
    container = image.Container("some", ("--user=5",), words)
    shown = image.run_words(container, "name", "/tmp/x", ("A=1",))
    assert shown.index("--user=5") > shown.index("--entrypoint")
    assert shown[-2:] == ("some", "-")


def test_missing_nodes_are_not_made():
    """Where a node is missing, that is the failure with the command that makes it; no process is started and no container either."""
    facts = Facts(load(str(HOSTS / "one-gpu-missing-uvm.host")))
    done = climb.smoke(facts, climb.Asked(("torch",), image="some"), lambda *_: None)
    assert [each.verdict for each in done.climbs] == ["failed", "not tried"]
    assert done.code == 1
    below = done.climbs[0]
    assert below.cause is not None
    assert below.cause.slug == "uvm-device-missing"
    assert any("nvidia-modprobe" in each for each in below.cause.commands)


def test_each_gpu_is_named_by_its_uuid(monkeypatch):
    """Several GPUs are shown one by one, by UUID; a variable of the user's is left as it is where none is named."""
    from gpudoctor import device_args
    from gpudoctor.device_args import select

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    facts = Facts(load(str(HOSTS / "eight-gpus-shuffled-minors.host")))
    every = select.select(facts, device_args.request("all", "compute", "args", None))
    names = climb._gpus(every, climb.Asked(()))
    assert len(names) == 8
    assert all(name.startswith("GPU-") for name in names)
    mig = Facts(load(str(HOSTS / "mig-7-instances.host")))
    one = select.select(mig, device_args.request("0:3", "compute", "args", None))
    assert climb._gpus(one, climb.Asked((), gpus=("0:3",)))[0].startswith("MIG-")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert climb._gpus(every, climb.Asked(())) == ("",)


@pytest.mark.parametrize("lost", [True, False])
def test_a_container_that_loses_its_gpu_at_daemon_reload(docker, tmp_path, monkeypatch, lost):
    """The nodes are opened in a running container before and after; what opened before and not after is the failure mode's name."""
    from typing import NamedTuple

    environment, log = docker
    node = tmp_path / "node"
    node.write_bytes(b"")
    systemctl = tmp_path / "bin" / "systemctl"
    systemctl.write_text(f"#!/bin/sh\n{f'rm {node}' if lost else 'true'}\n")
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", environment["PATH"])

    class Chosen(NamedTuple):
        chosen: tuple[object, ...]

    class Node(NamedTuple):
        path: str

    place = climb._Place("image", "", image.Container("some", (), ()))
    facts = Facts(load(str(HOSTS / "one-gpu.host")))
    done = climb._reload(facts, climb.Asked((), image="some"), place, Chosen((Node(str(node)),)), lambda *_: None)
    assert done.rungs[0].state == ("failed" if lost else "passed"), done
    assert (done.cause is not None and done.cause.slug == "daemon-reload-loses-gpu") == lost
    told = [json.loads(line)[0] for line in log.read_text().splitlines()]
    assert told == ["run", "exec", "exec", "rm"]


def test_ended_from_outside_it_leaves_nothing(tmp_path):
    """A SIGTERM to the program ends the framework's process as well, and its folder is gone."""
    import signal
    import subprocess
    import time

    from gpudoctor.smoke import run

    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(
        f"import os, time\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(120)\n"
    )
    (tmp_path / "folders").mkdir()
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}", "TMPDIR": str(tmp_path / "folders")}
    words = [sys.executable, "-m", "gpudoctor", "smoke", "torch", "--device", "cpu", "--python", sys.executable]
    with subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as program:
        for _ in range(200):
            if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text():
                break
            time.sleep(0.05)
        program.send_signal(signal.SIGTERM)
        assert program.wait(20) == 143
    stat = run._stat(int((tmp_path / "pid").read_text()))
    assert stat is None or stat[0] == b"Z"
    assert list((tmp_path / "folders").iterdir()) == []


def test_it_starts_light():
    """Below the frameworks nothing heavy is imported: no rich, no YAML, no rule."""
    from tests.test_light import HEAVY, imported

    modules = imported("smoke", "--json")
    assert "gpudoctor.smoke.climb" in modules
    assert not HEAVY & modules
    assert not [name for name in modules if name.startswith("gpudoctor.rules")]


def test_where_there_is_nothing_to_test():
    """A host without NVIDIA's anything has nothing to test; one with a node, though its bus is not to be seen, has."""
    assert climb.no_gpu(Facts(parse(b""))).startswith("no GPU to test")
    assert climb.no_gpu(Facts(parse(b"-- /dev/nvidia0 -- char 195:0\n"))) == ""


def ladder(**states: str) -> tuple[Rung, ...]:
    """Return a framework's rungs with these states, the others passed."""
    return tuple(Rung(name, states.get(name, "passed"), 0.1) for name in ABOVE)


@pytest.mark.parametrize(
    ("rungs", "framework", "device", "expected"),
    [
        (ladder(), "torch", "cuda", "on the GPU"),
        (ladder(kernels="untold", freed="untold"), "torch", "cuda", "on the GPU"),
        (ladder(), "torch", "cpu", "on the CPU"),
        (ladder(placed="untold"), "torch", "cuda", "failed"),
        (ladder(computes="untold"), "torch", "cuda", "failed"),
        (ladder(sees="failed", placed="failed"), "onnxruntime", "cuda", "not on the GPU"),
        (ladder(placed="failed"), "torch", "cuda", "not on the GPU"),
        (ladder(freed="failed"), "torch", "cuda", "failed"),
        (filled((Rung("nodes", "passed"),), BELOW), "", "cuda", "failed"),
        (tuple(Rung(name, "passed") for name in BELOW), "", "cuda", "starts"),
    ],
)
def test_only_a_proven_placement_is_a_pass(rungs, framework, device, expected):
    """The verdict is "on the GPU" where results and placement both passed, and never by what was not tried or not told."""
    assert verdict(rungs, framework, device) == expected


def test_side_by_side_the_first_rung_that_differs_is_the_finding():
    """Host fine and container not: the toolkit below the framework, the image above; both at one rung: the host."""
    fine = tuple(Rung(name, "passed") for name in BELOW)
    broken = (Rung("nodes", "passed"), Rung("libcuda", "failed"), *(Rung(name, "not tried") for name in BELOW[2:]))
    pairs = [Climb("host", "", "", fine, "starts"), Climb("image", "", "", broken, "failed")]
    found = climb._differences(
        [
            *pairs,
            Climb("host", "torch", "", ladder(), "on the GPU"),
            Climb("image", "torch", "", ladder(kernels="failed"), "failed"),
        ]
    )
    assert [(each.framework, each.rung) for each in found] == [("", "libcuda"), ("torch", "kernels")]
    assert "toolkit" in found[0].text
    assert "the image is at fault" in found[1].text
    both = climb._differences([Climb(place, "", "", broken, "failed") for place in ("host", "image")])
    assert "Both fail" in both[0].text


@pytest.mark.parametrize(
    ("targets", "capability", "fits"),
    [
        ("sm_75 sm_80 sm_86 sm_90", (8, 9), "sm_80"),
        ("sm_75 sm_80 sm_86", (7, 0), ""),
        ("sm_80 sm_86", (9, 0), ""),
        ("sm_80 compute_86", (12, 0), "compute_86"),
        ("sm_90a", (9, 0), "sm_90a"),
        ("sm_100f", (10, 3), "sm_100f"),
        ("sm_100a compute_100a", (10, 3), ""),
        ("sm_120", (12, 1), "sm_120"),
        ("sm_120", (10, 0), ""),
    ],
)
def test_which_code_runs_on_which_capability(targets, capability, fits):
    """The same major and a lower or equal minor, PTX upwards, and `a` for that one alone; in both probes that ask it."""
    for name in ("torch_probe", "tensorflow_probe"):
        spec = importlib.util.spec_from_file_location(name, PROBES / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        kept = list(sys.path)
        spec.loader.exec_module(module)
        sys.path[:] = kept
        assert module.covers(targets.split(), capability) == fits


def test_the_screen_of_a_pass_and_of_a_failure():
    """The report names the rung, the failure mode, the cure with its command, and what was not tried."""
    failed = (Rung("nodes", "passed", 0.01, "/dev/nvidia0 open"), Rung("libcuda", "failed", 0.02, "libcuda.so.1: cannot open"))
    cause = Cause(
        "host-driver-libs-incomplete", "libcuda is not here", "Install it.", ("sudo apt-get install libcuda1",), ("/x: absent",)
    )
    done = Smoke(
        "cuda",
        ("",),
        (
            Climb("host", "", "", filled(failed, BELOW), "failed", "python3 - < x", cause, 9000, ("last words",)),
            Climb("host", "torch", "", filled((), ABOVE), "not tried"),
            Climb("image", "torch", "GPU-1", ladder(), "on the GPU"),
        ),
    )
    text = "\n".join(line.words for line in report.lines(done, MARKS))
    for words in (
        "[host-driver-libs-incomplete]",
        "$ sudo apt-get install libcuda1",
        "not tried",
        "PyTorch, image, GPU-1: ran on the GPU",
        "First at: libcuda loads.",
        "printed: last words",
    ):
        assert words in text, words
    assert done.code == 1
    jsonschema.validate(json.loads(report.as_json(done)), SCHEMA)


def test_the_ladder_is_shown_as_it_climbs(capsys):
    """The live screen takes each line of a verdict and puts the terminal back."""
    screen = report.Screen(MARKS)
    with screen as heard:
        heard("PyTorch, host", {"phase": "import", "rung": "import"})
        heard("PyTorch, host", {"rung": "import", "state": "passed", "seconds": 1.25})
        heard("PyTorch, host", {"end": True})
    assert any("framework imports" in row.words and "1.25 s" in row.words for row in screen.rows)
