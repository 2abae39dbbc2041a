"""Bundles of the real BentoML put to a real dockerd: called and served in a container, kept there, and gone afterwards.

The image has no Python of its own: the host's, with BentoML, ONNX Runtime and PyTorch, is lent to it by mounts.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.bundle import packed
from tests.device_args.hosts import HOSTS, ROOT
from tests.lab.test_fix import parts, steps
from tests.lab.test_programs import compose
from tests.lab.world import live, needs

SCHEMA = json.loads((ROOT / "docs" / "schema" / "bundle.schema.json").read_text())
SMOKE = "TMPDIR=$PWD/temporary $PYTHON -m gpudoctor smoke --image probe --json"
# Runs a command, and looks at its container while it runs, once a condition holds that may ask for $pid.
WATCH = """
mkdir -p temporary; listening() { ss -ltnH "$@" | awk '{ print $4 }' | sort; }
listening >before; : >running; { COMMAND >answer; rm running; } &
while [ -e running ]; do
    id=$(docker ps --quiet); pid=$(docker inspect --format '{{.State.Pid}}' $id 2>&1)
    if [ "$pid" -gt 0 ] 2>/dev/null && CONDITION; then
        listening >outside; nsenter --target $pid --net ss -ltnH >inside; docker inspect $id >inspected; break
    fi
    sleep 0.05
done
wait; ls temporary; docker ps --all --quiet; cat answer
"""
LOOK = """
        import os, socket
        found = {"interfaces": [name for _, name in socket.if_nameindex()]}
        for place in ("/gpudoctor-bundle", "/gpudoctor-code"):
            try:
                open(place + "/written", "w").close()
                found[place] = "written"
            except OSError as error:
                found[place] = error.strerror
        for name in ("memory/memory.limit_in_bytes", "pids/pids.max"):
            if os.path.exists("/sys/fs/cgroup/" + name):
                found[name] = int(open("/sys/fs/cgroup/" + name).read())
        found["status"] = [line.split()[1] for line in open("/proc/self/status") if line.startswith(("CapBnd", "NoNewPrivs"))]
        return found
"""
# Besides two writes and the network: what this container leaves for whoever reads its verdict on the host.
HOSTILE = """
import json, os, socket
found = {{}}
for path in ("/gpudoctor-bundle/ran", {victim!r}):
    try:
        open(path, "a").write("x")
        found[path] = "written"
    except OSError as error:
        found[path] = error.strerror
try:
    socket.create_connection(("192.0.2.1", 80), 2)
    found["network"] = "there"
except OSError as error:
    found["network"] = error.strerror
os.symlink({victim!r}, "/gpudoctor-smoke/seen-1")
print("HOSTILE", json.dumps(found), flush=True)
"""
HANGS = """
        import os, signal, time
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        if os.fork() == 0:
            os.setsid()
        time.sleep(300)
"""


def lent(python: str) -> str:
    """Return the arguments that lend this machine's Python and BentoML to a container whose image has none."""
    venv = Path(python).parent.parent
    base = Path(os.path.realpath(python)).parent.parent
    folders = ["/usr", "/lib", "/lib64", str(venv), *([str(base)] if base != Path("/usr") else [])]
    volumes = [f"--docker-arg=--volume={folder}:{folder}:ro" for folder in folders if os.path.exists(folder)]
    return " ".join([*volumes, f"--docker-arg=--entrypoint={python}"])


def smoke(service: str, *words: str) -> str:
    """Return the command that calls a bundle in a container with the Python of a service's BentoML; skips where one of them is not here."""
    needs("dockerd", "unshare", "busybox", "ss", "nsenter", "awk")
    return " ".join([SMOKE, lent(packed.python(packed.generation(service))), *words])


def watched(command: str, condition: str = "true") -> str:
    """Return a script that runs a command and looks at its container."""
    return WATCH.replace("COMMAND", command).replace("CONDITION", condition)


def answers(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what was printed as JSON, each held to its schema."""
    made = [json.loads(line) for line in found["out"].split("\n") if line.startswith("{")]
    assert made, found["out"] + found["err"]
    for each in made:
        jsonschema.validate(each, SCHEMA)
    return made


def nothing_left(found: dict[str, Any]) -> None:
    """Assert that a watched command left no container and no folder: only its answer was printed."""
    assert [line for line in found["out"].split("\n") if line] == [line for line in found["out"].split("\n") if line[:1] == "{"]


def inserted(folder: Path, code: str) -> None:
    """Have the bundle's API begin with other code."""
    (service,) = folder.rglob("bento_svc.py")
    before, mark, after = service.read_text().partition("        words = [")
    assert mark
    service.write_text(f"{before}{code.strip(chr(10))}\n{mark}{after}")


@pytest.mark.parametrize(("service", "how"), [("onnx_good", ""), ("torch_good", ""), ("onnx_1", ""), ("onnx_1", "--serve")])
def test_it_answers_in_a_container(tmp_path: Path, service: str, how: str):
    """Bundles of both generations are called by their own HTTP layer; a container and a folder less than before, the bundle untouched."""
    command = smoke(service, "--device cpu", how)
    folder = packed.bundle(service, tmp_path)
    before = sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*"))
    found = live(tmp_path, "one-gpu", f"mkdir temporary; {command} --bundle {folder}; ls temporary; docker ps --all --quiet")
    (value,) = answers(found)
    assert value["verdict"] == "pass", (value, found["err"])
    assert [(each["ok"], each["ran_on"]) for each in value["calls"]] == [(True, "cpu")]
    nothing_left(found)
    assert sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*")) == before


@pytest.mark.parametrize("version", [1, 2])
def test_what_is_said_of_the_container_is_so(tmp_path: Path, version: int):
    """The kernel's own figures from inside and Docker's from outside: what was asked for is in force, and what is not is not claimed."""
    command = smoke("onnx_good", "--device cpu")
    folder = packed.bundle("onnx_good", tmp_path)
    inserted(folder, LOOK)
    found = live(tmp_path, "one-gpu", watched(f"{command} --bundle {folder}"), version=version)
    (value,) = answers(found)
    assert value["verdict"] == "pass", (value, found["err"])
    nothing_left(found)
    seen = json.loads(value["calls"][0]["evidence"]["answer"])
    assert (seen["interfaces"], seen["/gpudoctor-bundle"], seen["/gpudoctor-code"]) == (["lo"], *["Read-only file system"] * 2)
    assert [int(seen["status"][0], 16), seen["status"][1]] == [1 << 1, "1"], "CAP_DAC_OVERRIDE alone"
    (about,) = json.loads((tmp_path / "inspected").read_text())
    host = about["HostConfig"]
    assert (host["NetworkMode"], host["PortBindings"], host["Privileged"], host["CapDrop"]) == ("none", {}, False, ["ALL"])
    assert {each["Destination"] for each in about["Mounts"] if each["RW"]} == {"/gpudoctor-smoke"}
    said = " ".join(value["remarks"])
    if "memory/memory.limit_in_bytes" in seen:
        assert (seen["pids/pids.max"], host["PidsLimit"]) == (4096, 4096)
        assert 0 <= host["Memory"] - seen["memory/memory.limit_in_bytes"] < os.sysconf("SC_PAGE_SIZE")
        assert f"at most 4096 processes and {host['Memory'] / (1 << 30):.1f} GiB of memory" in said
    else:
        assert (host["PidsLimit"], host["Memory"]) == (None, 0), "Docker has dropped them"
        assert "No limit of processes and memory is seen" in said


def test_a_server_is_reached_by_nobody_else(tmp_path: Path):
    """BentoML 0.13 listens on every address: of a namespace without a network. On this host nothing more listens than before."""
    command = smoke("onnx_good", "--device cpu", "--serve")
    folder = packed.bundle("onnx_good", tmp_path)
    listens = "nsenter --target $pid --net ss -ltnH 2>/dev/null | grep -q ."
    found = live(tmp_path, "one-gpu", watched(f"{command} --bundle {folder}", listens))
    (value,) = answers(found)
    assert (value["verdict"], value["calls"][0]["evidence"]["answer"]) == ("pass", '{"categories": "Sci/Tec"}'), (
        value,
        found["err"],
    )
    nothing_left(found)
    assert "0.0.0.0:" in (tmp_path / "inside").read_text()
    assert (tmp_path / "outside").read_text() == (tmp_path / "before").read_text()
    (about,) = json.loads((tmp_path / "inspected").read_text())
    assert (about["HostConfig"]["NetworkMode"], about["NetworkSettings"]["Ports"]) == ("none", {})


def test_the_guides_service_is_no_pass_where_a_gpu_is_asked_for(tmp_path: Path):
    """It is given the nodes, answers with 200, and computed on the CPU, because its session names no provider: a failure."""
    command = smoke("onnx_guide", "--device cuda", "--input", """'{"text": "gpu stocks"}'""")
    folder = packed.bundle("onnx_guide", tmp_path)
    found = live(tmp_path, "one-gpu", watched(f"{command} --bundle {folder}"))
    (value,) = answers(found)
    (call,) = value["calls"]
    assert (value["verdict"], value["code"], call["ok"], call["ran_on"]) == ("fail", 1, False, "cpu"), (value, found["err"])
    assert "answered" in call["text"]
    assert "but on the CPU" in call["text"]
    assert "without naming a provider" in call["text"]
    assert "providers-not-named" in {each["check"] for each in value["static"]}
    nothing_left(found)
    (about,) = json.loads((tmp_path / "inspected").read_text())
    assert "/dev/nvidia0" in {each["PathInContainer"] for each in about["HostConfig"]["Devices"]}


class Hostile:
    """What a pickle does when it is loaded."""

    def __init__(self, code: str) -> None:
        """Take the code that it runs."""
        self.code = code

    def __reduce__(self) -> tuple[Any, ...]:
        """Have it run."""
        return exec, (self.code,)


def test_a_hostile_pickle_stays_in_its_container(tmp_path: Path):
    """Without --trust it is not loaded. With it, it runs, and neither the bundle, nor the network, nor a file of this host is in its reach."""
    command = smoke("onnx_good", "--device cuda")
    folder = packed.bundle("onnx_good", tmp_path)
    victim = tmp_path / "victim"
    victim.write_text("kept")
    (vocabulary,) = folder.rglob("vocab.pkl")
    vocabulary.write_bytes(pickle.dumps(Hostile(HOSTILE.format(victim=str(victim)))))
    before = sorted(folder.rglob("*"))
    found = live(
        tmp_path,
        "one-gpu",
        f"mkdir temporary; {command} --bundle {folder}; {command} --trust --bundle {folder}; ls temporary; docker ps --all --quiet",
    )
    refused, ran = answers(found)
    assert (refused["verdict"], refused["code"], refused["calls"], refused["printed"]) == ("refused", 1, [], [])
    assert ran["verdict"] == "fail", ran
    told = next(line.removeprefix("HOSTILE ") for line in ran["printed"] if line.startswith("HOSTILE "))
    assert json.loads(told) == {
        "/gpudoctor-bundle/ran": "Read-only file system",
        str(victim): "No such file or directory",
        "network": "Network is unreachable",
    }
    nothing_left(found)
    assert victim.read_text() == "kept"
    assert sorted(folder.rglob("*")) == before


def test_a_bundle_that_hangs_is_ended_with_its_container(tmp_path: Path):
    """Signals ignored and a child in a session of its own do not help it: after --timeout the container is gone, and all of its processes."""
    command = smoke("onnx_good", "--device cpu", "--timeout 3")
    folder = packed.bundle("onnx_good", tmp_path)
    inserted(folder, HANGS)
    script = watched(f"{command} --bundle {folder}")
    found = live(tmp_path, "one-gpu", f"{script}; grep -lzs /gpudoctor-code/ /proc/[0-9]*/cmdline")
    (value,) = answers(found)
    assert (value["verdict"], value["calls"][0]["ran_on"]) == ("fail", "nowhere")
    assert "no answer within 3 s while predict was called: it was killed" in value["text"]
    assert (tmp_path / "inspected").exists()
    nothing_left(found)


def test_where_a_bundle_lies_does_not_matter(tmp_path: Path):
    """A colon and a comma in its path, an archive for an image whose user is not root, and a model that is a link into a cache."""
    command = smoke("onnx_good", "--device cpu")
    folder = packed.bundle("onnx_good", tmp_path)
    (model,) = folder.rglob("model.onnx")
    user = "--docker-arg=--user=1000:1000"
    found = live(
        tmp_path,
        "one-gpu",
        f"mkdir temporary snapshot; chmod a+rwx temporary; umask 077; ln -s {model} snapshot/model.onnx; {command} --bundle snapshot/model.onnx;"
        f"tar -C {folder} -czf bundle.tgz .; {command} {user} --bundle bundle.tgz; "
        f"mv {folder} a:b,c; {command} --bundle a:b,c; chmod -R go= a:b,c; {command} {user} --bundle a:b,c; "
        "ls temporary; docker ps --all --quiet",
    )
    *good, unreadable = answers(found)
    assert [each["verdict"] for each in good] == ["pass"] * 3, (good, found["err"])
    assert unreadable["verdict"] == "fail"
    assert "the image's user may not read it" in unreadable["text"]
    nothing_left(found)


def test_what_docker_refuses_is_told_in_its_words(tmp_path: Path):
    """Where the container cannot be started, the sentence is the daemon's own and not the line about its help; nothing is claimed of it."""
    command = smoke("onnx_good", "--device cpu", "--docker-arg=--volume=/relative:relative")
    folder = packed.bundle("onnx_good", tmp_path)
    (value,) = answers(live(tmp_path, "one-gpu", f"mkdir temporary; {command} --bundle {folder}"))
    assert value["verdict"] == "fail"
    assert "docker run: Error response from daemon: invalid volume specification" in value["text"]
    assert value["remarks"] == []


def test_the_printed_line_starts_the_image(tmp_path: Path):
    """What run-args prints is run as it is: the image starts with the nodes, the request and the words that its server takes."""
    needs("dockerd", "unshare", "busybox")
    packed.python("0.13")
    folder = packed.bundle("onnx_good", tmp_path)
    entry = json.dumps(["/bin/sh", "-c", "echo served with $0; for each in /dev/nvidia*; do echo $each; done"])
    found = live(
        tmp_path,
        "one-gpu",
        steps(
            f"$PYTHON -m gpudoctor run-args {folder} 2>remarks >line; cat line",
            f"docker import --change 'ENTRYPOINT {entry}' image.tar $(sed 's/.* \\([^ ]*\\) --workers=1$/\\1/' line) >/dev/null; sh ./line",
            "docker inspect $(docker ps --all --quiet)",
        ),
        hook=True,
    )
    line, ran, inspected = parts(found["out"])
    assert "docker run --gpus all --device /dev/nvidia0" in line
    assert "served with --workers=1" in ran
    nodes = {each["path"] for each in found["nodes"] if each["in"]}
    assert {each for each in ran.split() if each.startswith("/dev/")} == nodes
    (about,) = json.loads(inspected[inspected.index("[") : inspected.rindex("]") + 1])
    assert about["HostConfig"]["PortBindings"] == {"5000/tcp": [{"HostIp": "", "HostPort": "5000"}]}
    assert about["HostConfig"]["DeviceRequests"][0]["Capabilities"] == [["gpu"]]


@pytest.mark.parametrize("major", ["1", "5"])
def test_the_printed_service_is_read_by_both_composes(tmp_path: Path, major: str):
    """docker-compose 1.29 and Compose 5 read what run-args prints: image, command, port, nodes and the request for the GPU."""
    program = compose(major)
    packed.python("0.13")
    folder = packed.bundle("onnx_good", tmp_path)
    words = ["run-args", str(folder), "--format", "compose", "--host", str(HOSTS / "one-gpu.host")]
    printed = subprocess.run(
        [sys.executable, "-m", "gpudoctor", *words], capture_output=True, text=True, cwd=ROOT, check=True, timeout=30
    )
    file = tmp_path / "docker-compose.yml"
    file.write_text(printed.stdout)
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    ran = subprocess.run(
        [program, "-p", "lab", "-f", str(file), "config"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    service = yaml.safe_load(ran.stdout)["services"]["onnxservice"]
    assert (service["image"].partition(":")[0], service["command"]) == ("onnxservice", ["--workers=1"])
    nodes = {each["source"] if isinstance(each, dict) else each.partition(":")[0] for each in service["devices"]}
    assert nodes == {"/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools"}
    assert service["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]
    (port,) = service["ports"]
    assert (port if isinstance(port, str) else f"{port['published']}:{port['target']}").removesuffix("/tcp") == "5000:5000"
