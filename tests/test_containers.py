"""`doctor --container`, `--all-containers` and `ps`: what each container was given, and who is on which GPU."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import jsonschema
import pytest
from hypothesis import given as examples
from hypothesis import strategies as st

from gpudoctor.facts import Facts, Given
from gpudoctor.facts.containers import DEFAULT_SHM, Container
from gpudoctor.host import Unseen
from gpudoctor.host.hostfile import parse
from tests.cases import FIXTURES

if TYPE_CHECKING:
    from gpudoctor.facts.usage import User

RULES = FIXTURES / "rules" / "container"
CUDA = str(RULES / "container_started_without_gpu" / "bad-cuda-image.host")
SHARED = str(RULES / "gpu_memory_occupied" / "bad-another-container.host")
MANY = str(RULES / "container_started_without_gpu" / "bad-all-of-a-host.host")
SCHEMAS = FIXTURES.parent / "docs" / "schema"


def container(**changes: object) -> Container:
    """Return the container that ``docker inspect`` describes with these parts of HostConfig, Env and others."""
    env = changes.pop("env", [])
    told = {
        "Id": "ab",
        "Name": "/web",
        "HostConfig": changes,
        "Config": {"Env": env, "Image": "app"},
        "State": {"Running": True, "Pid": 7},
    }
    body = json.dumps([told]).encode()
    facts = Facts(parse(b"-- $ docker inspect --type container web --\n" + body + b"\n"), Given(containers=("web",)))
    (found,) = facts.containers.all
    return found


def ways(found: Container) -> list[tuple[str, tuple[str, ...]]]:
    """Return how and which GPUs a container was given."""
    return [(way.how, way.which) for way in found.ways]


def request(
    driver: str = "", count: int = 0, ids: tuple[str, ...] = (), capabilities: tuple[str, ...] = ("gpu",)
) -> dict[str, object]:
    """Return a DeviceRequest as Docker writes it."""
    return {"Driver": driver, "Count": count, "DeviceIDs": list(ids) or None, "Capabilities": [list(capabilities)], "Options": {}}


def test_every_way_to_a_gpu_is_recognised():
    """--gpus by number, count and name, CDI, the runtime with its variable, and nodes; another vendor's and none are none."""
    assert ways(container(DeviceRequests=[request(count=-1)])) == [("gpus", ("all",))]
    assert ways(container(DeviceRequests=[request(count=2)])) == [("gpus", ("0", "1"))]
    assert ways(container(DeviceRequests=[request("nvidia", ids=("GPU-1",))])) == [("gpus", ("GPU-1",))]
    assert ways(container(DeviceRequests=[request("cdi", ids=("nvidia.com/gpu=0", "acme.com/nic=1"))])) == [
        ("cdi", ("nvidia.com/gpu=0",))
    ]
    assert ways(container(Runtime="nvidia", env=["NVIDIA_VISIBLE_DEVICES=0,2"])) == [("runtime", ("0", "2"))]
    assert ways(container(Runtime="nvidia", env=["CUDA_VERSION=9.0"])) == [("runtime", ("all",))]
    assert ways(container(Devices=[{"PathOnHost": "/dev/nvidia0"}, {"PathOnHost": "/dev/nvidiactl"}])) == [
        ("devices", ("/dev/nvidia0",))
    ]
    for nothing in (
        {"DeviceRequests": [request("amd", count=-1)]},
        {"DeviceRequests": [request(capabilities=("tpu",), count=1)]},
        {"DeviceRequests": [request()]},
        {"Runtime": "nvidia"},
        {"Runtime": "nvidia", "env": ["NVIDIA_VISIBLE_DEVICES=void"]},
        {"Runtime": "runc", "env": ["NVIDIA_VISIBLE_DEVICES=all"]},
        {"Devices": [{"PathOnHost": "/dev/nvidia-uvm"}]},
        {},
    ):
        assert ways(container(**nothing)) == []


def test_the_daemon_sets_the_variables_of_a_request():
    """A request overrides the container's own variables: which GPUs always, which parts of the driver where it names any."""
    env = ["NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_DRIVER_CAPABILITIES=all"]
    named = container(DeviceRequests=[request(ids=("1",), capabilities=("gpu", "video", "nvidia"))], env=env)
    assert (named.env["NVIDIA_VISIBLE_DEVICES"], named.env["NVIDIA_DRIVER_CAPABILITIES"]) == ("1", "video")
    assert named.own_env["NVIDIA_DRIVER_CAPABILITIES"] == "all"
    plain = container(DeviceRequests=[request(count=-1)], env=env)
    assert plain.env["NVIDIA_DRIVER_CAPABILITIES"] == "all"


def test_doctor_of_a_container_says_what_it_was_given_and_nothing_of_the_host(gpudoctor):
    """The header has a line for the container; only what concerns it is found, and the whole host with --all."""
    ran = gpudoctor("doctor", "--host", CUDA, "--container", "asr")
    assert ran.returncode == 1
    assert b"asr: no GPU; driver capabilities compute,utility" in ran.stdout
    assert b"[container/container-started-without-gpu]" in ran.stdout
    told = json.loads(gpudoctor("doctor", "--host", CUDA, "--container", "asr", "--json").stdout)
    jsonschema.validate(told, json.loads((SCHEMAS / "doctor.schema.json").read_text()))
    assert told["host"]["containers"][0]["shm_bytes"] == DEFAULT_SHM
    assert {each["rule"].partition("/")[0] for each in told["findings"]} == {"container"}


def test_all_containers_are_those_that_run(gpudoctor):
    """Each running container is examined; the database without a GPU is no finding."""
    told = json.loads(gpudoctor("doctor", "--host", MANY, "--all-containers", "--json").stdout)
    assert [each["name"] for each in told["host"]["containers"]] == ["db", "trainer", "asr"]
    assert [(each["rule"], each["severity"]) for each in told["findings"]] == [
        ("container/container-started-without-gpu", "warning"),
        ("container/shm-too-small", "hint"),
    ]


def test_a_container_that_is_not_there_and_a_bad_name_are_wrong_usage(gpudoctor, tmp_path):
    """Docker's "no such container" is exit code 2 with the name; so are a name that cannot be one, and two kinds of input at once."""
    host = tmp_path / "a.host"
    refusal = "-- $ docker inspect --type container gone -- rc=1 stderr\nError response from daemon: No such container: gone\n"
    machine = FIXTURES / "hosts" / "ubuntu-24.04-l4-docker29-cdi.host"
    host.write_text(machine.read_text() + refusal)
    ran = gpudoctor("doctor", "--host", str(host), "--container", "gone")
    assert (ran.returncode, b"there is no container gone" in ran.stderr) == (2, True)
    for arguments in (
        ("--container", "-v"),
        ("--container", "a b"),
        ("--container", "a", "--image", "b"),
        ("--container", "a", "--all-containers"),
    ):
        assert gpudoctor("doctor", "--host", CUDA, *arguments).returncode == 2


def test_docker_that_is_not_asked_is_not_told():
    """Where no daemon of this machine answers, nothing is run and nothing is concluded."""
    host = parse(b"-- $ docker inspect --type container web --\n[]\n")
    host.closed = False
    with pytest.raises(Unseen, match="no Docker daemon"):
        _ = Facts(host, Given(containers=("web",))).containers.all


def test_ps_names_each_container(gpudoctor):
    """Process, container, program and memory, each GPU in a row; JSON keeps to its schema."""
    ran = gpudoctor("ps", "--host", SHARED)
    assert ran.returncode == 0
    lines = [line.split() for line in ran.stdout.decode().splitlines()]
    assert lines == [
        ["GPU", "PCI", "CONTAINER", "PID", "PROGRAM", "MEMORY"],
        ["0", "0000:31:00.0", "asr", "4711", "python3", "1024", "MiB"],
        ["0", "0000:31:00.0", "llm", "5150", "ollama", "20480", "MiB"],
    ]
    told = json.loads(gpudoctor("ps", "--host", SHARED, "--json").stdout)
    jsonschema.validate(told, json.loads((SCHEMAS / "ps.schema.json").read_text()))
    assert [each["container"] for each in told["gpus"][0]["processes"]] == ["asr", "llm"]
    silent = gpudoctor("ps", "--host", str(FIXTURES / "hosts" / "debian-12-no-gpu-docker.host"))
    assert (silent.returncode, silent.stdout) == (3, b"")
    assert b"cannot tell: NVML" in silent.stderr


def users(cgroup: str) -> User:
    """Return the process 9 of a host with this cgroup file, which is the only one on its GPU."""
    nvml = json.dumps({"init": 0, "gpus": [{"index": 0, "processes": [{"pid": 9, "memory": None}]}]})
    facts = Facts(parse(f"-- $ nvml --\n{nvml}\n-- /proc/9/cgroup --\n{cgroup}\n".encode()))
    ((user,),) = (gpu.users or () for gpu in facts.usage.gpus)
    return user


@pytest.mark.parametrize(
    ("cgroup", "engine"),
    [
        ("0::/system.slice/docker-{}.scope", "docker"),
        ("12:pids:/docker/{}\n4:devices:/docker/{}", "docker"),
        ("0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{}.scope/container", "podman"),
        ("0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/cri-containerd-{}.scope", "kubernetes"),
        ("0::/init.scope", ""),
        ("0::/user.slice/user-1000.slice/session-2.scope", ""),
    ],
)
def test_whose_a_process_is(cgroup: str, engine: str):
    """The cgroup's path tells the engine and the container's id, on v1 and v2; a name that is not known is a short id."""
    user = users(cgroup.replace("{}", "0f" * 32))
    assert (user.engine, user.container) == (engine, "0f0f0f0f0f0f" if engine else "")


@examples(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3), max_leaves=5
    )
)
def test_inspect_of_any_shape_is_read(value):
    """Whatever stands in an answer of docker inspect, it is read or left out, and nothing raises."""
    for key in ("DeviceRequests", "Devices", "ShmSize", "Runtime", "IpcMode", "Privileged"):
        assert container(**{key: value}).name == "web"
    assert container(env=value).name == "web"


def test_a_snapshot_of_containers_says_the_same(gpudoctor, tmp_path):
    """What `--all-containers` asks is recorded and redacted, and leads to the same findings and the same table."""
    from gpudoctor import engine
    from gpudoctor.commands import ps
    from gpudoctor.host.book import Recorder
    from gpudoctor.host.hostfile import load
    from gpudoctor.host.redact import redact
    from gpudoctor.host.snapshot import save

    for path in (MANY, SHARED):
        given = Given(all_containers=True) if path == MANY else Given(containers=("asr",))
        recorder = Recorder(load(path))
        facts = Facts(recorder, given)
        found = engine.diagnose(facts, engine.rules_for(given)).findings
        ps.ask(facts)
        snapshot = tmp_path / "snapshot.tar.gz"
        snapshot.write_bytes(save(redact(recorder.answers)[0], {"taken": "2026-11-22"}))
        arguments = ("--all-containers",) if path == MANY else ("--container", "asr")
        told = json.loads(gpudoctor("doctor", "--host", str(snapshot), *arguments, "--json").stdout)
        assert [each["rule"] for each in told["findings"]] == [each.rule for each in found]
    assert b" llm " in gpudoctor("ps", "--host", str(snapshot)).stdout
