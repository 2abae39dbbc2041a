"""Each format as its own reader takes it: a shell, GNU make, YAML, the CDI parser, the JSON schema."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING

import jsonschema
import pytest
import yaml

from gpudoctor import device_args
from gpudoctor.device_args import Node, Refused, Selection, emit, inject
from gpudoctor.facts import Facts
from gpudoctor.formats import cdi
from gpudoctor.host import NoAnswer, snapshot
from gpudoctor.host.book import Recorder
from gpudoctor.host.hostfile import load, parse
from gpudoctor.host.redact import redact
from tests.device_args.hosts import HOSTS, ROOT, answer, facts

if TYPE_CHECKING:
    from pathlib import Path

CUDA = ["/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools"]
SCHEMA = json.loads((ROOT / "docs" / "schema" / "device-args.schema.json").read_text())
GPUS = ["--gpus", '"device=0,2"']
TWO = [word for path in ("/dev/nvidia3", "/dev/nvidia1", *CUDA) for word in ("--device", path)]
# No host has such nodes; a makefile must get even these right.
ODD = (
    "/dev/a b",
    "/dev/$HOME",
    "/dev/#1",
    "/dev/back\\#slash",
    "/dev/it's",
    '/dev/"q"',
    "/dev/`x`",
    "/dev/$(y)",
    "/dev/%z",
    "/dev/*",
)
ODD_ONES = Selection("machine", (), tuple(Node(path, 1, 1, chosen=True, why="odd") for path in ODD), (), everything=True)

needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="GNU make is not installed")


def make(folder: Path, makefile: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run real make over a makefile."""
    (folder / "Makefile").write_text(makefile)
    return subprocess.run(["make", "-C", str(folder), "-s", *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_args_are_split_by_a_shell_into_what_docker_reads():
    """$(...) splits at blanks and takes no quotes off, so Docker's own quotes around device=0,2 are there once."""
    text = answer("eight-gpus-shuffled-minors", "args", "0,2").text
    ran = subprocess.run(
        ["sh", "-c", 'printf "%s\\n" $(cat)'], input=text, capture_output=True, text=True, timeout=30, check=True
    )
    assert ran.stdout.split("\n")[:-1] == [*GPUS, *TWO]


def test_env_is_sourced_by_a_shell():
    """`eval` or `.` sets DEVICE_ARGS, which unquoted gives the same words as args."""
    text = answer("eight-gpus-shuffled-minors", "env", "0,2").text
    command = f"set -eu; {text}\nprintf '%s\\n' $DEVICE_ARGS"
    ran = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=30, check=True)
    assert ran.stdout.split("\n")[:-1] == [*GPUS, *TWO]


def test_one_device_and_all_need_no_quotes():
    """`--gpus all` and `--gpus device=0` have no comma, so that they may be pasted by hand too."""
    assert answer("one-gpu").text.startswith("--gpus all --device /dev/nvidia0 ")
    assert answer("one-gpu", gpus="0").text.startswith("--gpus device=0 --device /dev/nvidia0 ")


def test_other_purposes_are_told_to_the_hook_and_not_to_cdi():
    """The legacy hook injects the libraries it is told to; with CDI they all come, and there is nothing to tell."""
    hook = shlex.split(shlex.quote(answer("one-gpu", gpus="0", purposes="compute,graphics").text.split()[1]))
    assert hook == ['device=0,"capabilities=utility,compute,graphics"']
    assert answer("cdi", purposes="compute,graphics").text.startswith("--gpus all ")


@pytest.mark.parametrize(
    ("host", "purposes", "called"),
    [
        ("one-gpu", "compute", False),
        ("one-gpu", "compute,graphics", False),
        ("no-toolkit", "compute,graphics", False),
        ("cdi", "compute", False),
        ("cdi", "compute,graphics", True),
        ("runtime-only", "compute", True),
    ],
)
def test_docker_is_called_only_where_files_do_not_say_enough(host: str, purposes: str, called: bool):
    """A call of the docker client costs as much as two starts of Python: with a dockerd whose PATH tells what serves it, none is made."""
    for form in ("args", "make", "make-args", "env", "compose"):
        recorder = Recorder(facts(host).host)
        told = device_args.answer(Facts(recorder), device_args.request("all", purposes, form, None), "")
        assert told.text
        runs = {argv for argv in recorder.answers.runs if argv[0] == "docker"}
        assert runs == ({("docker", "info", "--format", "{{json .}}")} if called else set()), form


def test_dockerd_is_found_by_its_pid_file():
    """A large machine has thousands of processes: where the PID file names dockerd, they are not looked through; a stale one is not believed."""
    for pid, looked in (("812", False), ("811", True), ("", True), ("../812", True)):
        host = parse(f"-- like device-args/one-gpu.host --\n-- /run/docker.pid --\n{pid}\n".encode(), str(HOSTS / "x.host"))
        recorder = Recorder(host)
        told = device_args.answer(Facts(recorder), device_args.request("all", "compute", "make-args", None), "")
        assert told.text.startswith("--gpus all --device /dev/nvidia0 ")
        assert ("/proc" in recorder.answers.lists) is looked


def test_docker_from_before_gpus_gets_its_runtime():
    """Docker 18.09 has no --gpus, though the hook is there: the nvidia runtime is named, with the capabilities in its variables."""
    assert answer("docker-18").text.startswith("--runtime nvidia --env NVIDIA_VISIBLE_DEVICES=all --device /dev/nvidia0 ")
    told = answer("docker-18", gpus="0", purposes="compute,graphics").text
    assert told.startswith(
        "--runtime nvidia --env NVIDIA_VISIBLE_DEVICES=0 --env NVIDIA_DRIVER_CAPABILITIES=utility,compute,graphics "
    )


def test_mig_devices_are_told_by_the_name_they_were_asked_by():
    """The toolkit takes 0:3 and a MIG UUID; a divided GPU is told by its MIG devices, for it cannot be used whole."""
    assert answer("mig-7-instances", gpus="0:3").text.split()[:2] == ["--gpus", "device=0:3"]
    uuid = "MIG-7e0c5a10-0000-5b3f-9a11-000000000003"
    assert answer("mig-7-instances", gpus=uuid).text.split()[:2] == ["--gpus", f"device={uuid}"]
    assert answer("mig-7-instances", gpus="0").text.split()[1] == '"device=' + ",".join(f"0:{place}" for place in range(7)) + '"'


@needs_make
def test_make_fragment_is_included_and_read_as_meant(tmp_path: Path):
    """A makefile that includes the fragment passes on exactly the words of docker run, Docker's own quotes among them."""
    (tmp_path / "gpu.mk").write_text(answer("eight-gpus-shuffled-minors", "make", "0,2").text)
    ran = make(tmp_path, 'include gpu.mk\nall:\n\t@printf "%s\\n" $(DEVICE_ARGS)\n')
    assert ran.stdout.split("\n")[:-1] == [*GPUS, *TWO], ran.stderr


@needs_make
def test_make_args_through_the_shell_function(tmp_path: Path):
    """$(shell) with --format make-args gives the same words; the plain args would lose Docker's quotes on the way."""
    wanted = [*GPUS, *TWO]
    for form, same in (("make-args", True), ("args", False)):
        (tmp_path / "out").write_text(answer("eight-gpus-shuffled-minors", form, "0,2").text)
        ran = make(tmp_path, 'DEVICE_ARGS := $(shell cat out)\nall:\n\t@printf "%s\\n" $(DEVICE_ARGS)\n')
        assert (ran.stdout.split("\n")[:-1] == wanted) is same


@needs_make
@pytest.mark.parametrize("form", ["make", "make-args"])
def test_dollar_comment_sign_quotes_and_blanks_survive_make(tmp_path: Path, form: str):
    """Dollar, comment sign, backslash before it, quotes, blanks and stars reach the recipe's command as they are."""
    text = emit.emit(ODD_ONES, inject.NOTHING, device_args.request("all", "compute", form, None), ("", (), ()))
    (tmp_path / "out").write_text(text)
    start = "include out" if form == "make" else "DEVICE_ARGS := $(shell cat out)"
    ran = make(tmp_path, f'{start}\nall:\n\t@printf "%s\\n" $(DEVICE_ARGS)\n')
    assert ran.stdout.split("\n")[:-1] == [word for path in ODD for word in ("--device", path)], ran.stderr


@needs_make
def test_the_commented_target_works_once_it_is_not_a_comment(tmp_path: Path):
    """The example target of the fragment is right: uncommented, make -n prints the docker run line."""
    text = answer("one-gpu", "make").text
    head, _, target = text.partition("# An example target:\n")
    (tmp_path / "gpu.mk").write_text(head + "".join(line.removeprefix("# ") + "\n" for line in target.splitlines()))
    ran = make(tmp_path, "include gpu.mk\n", "-n", "gpu-run")
    words = shlex.split(ran.stdout)
    assert words[:5] == ["docker", "run", "--rm", "--gpus", "all"], ran.stderr
    assert words[-1] == "IMAGE"


@pytest.mark.parametrize(
    ("style", "wanted"),
    [
        ("devices", {"devices": [f"{path}:{path}" for path in ("/dev/nvidia3", "/dev/nvidia1", *CUDA)]}),
        (
            "reservation",
            {
                "deploy": {
                    "resources": {
                        "reservations": {"devices": [{"driver": "nvidia", "device_ids": ["0", "2"], "capabilities": ["gpu"]}]}
                    }
                }
            },
        ),
        ("gpus", {"gpus": [{"driver": "nvidia", "device_ids": ["0", "2"], "capabilities": ["gpu"]}]}),
    ],
)
def test_compose_styles(style: str, wanted: dict[str, object]):
    """Each style is the YAML that Compose reads, with the indices as text."""
    assert yaml.safe_load(answer("eight-gpus-shuffled-minors", "compose", "0,2", style=style).text) == wanted


def test_compose_of_every_gpu():
    """`all` is `count: all` in a reservation and a bare word under gpus, unless capabilities have to be told too."""
    reserved = yaml.safe_load(answer("one-gpu", "compose", style="reservation").text)
    assert reserved["deploy"]["resources"]["reservations"]["devices"] == [
        {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
    ]
    assert yaml.safe_load(answer("one-gpu", "compose", style="gpus").text) == {"gpus": "all"}
    told = yaml.safe_load(answer("one-gpu", "compose", purposes="compute,video", style="gpus").text)
    assert told == {"gpus": [{"driver": "nvidia", "count": "all", "capabilities": ["gpu", "utility", "compute", "video"]}]}


def test_compose_by_cdi_names():
    """Where engine and spec take CDI names, they stand under devices."""
    assert yaml.safe_load(answer("cdi", "compose", style="cdi").text) == {"devices": ["nvidia.com/gpu=all"]}


def test_cdi_names_are_printed_where_engine_and_spec_take_them():
    """Docker 29 with a spec, and podman alone, get --device nvidia.com/gpu=...; others are told what is missing."""
    assert answer("cdi", "cdi").text == "--device nvidia.com/gpu=all\n"
    assert answer("cdi", "cdi", "0").text == "--device nvidia.com/gpu=0\n"
    assert answer("podman", "cdi").text == "--device nvidia.com/gpu=all\n"
    old = answer("docker-24", "cdi").missing
    assert "Docker 24.0.9 takes no CDI names, 25.0 is the first that does" in old[0].why
    assert [each.what for each in answer("one-gpu", "cdi").missing] == ["nvidia.com/gpu=all"]


def checked(text: str) -> cdi.Spec:
    """Return a CDI spec that the CDI library's own checks do not refuse, and that is strictly of the form which SPEC.md describes."""
    spec = cdi.parse(text.encode(), "spec.yaml")
    assert cdi.refusal(spec) is None
    document = yaml.safe_load(text)
    assert {"cdiVersion", "kind", "devices"} <= set(document) <= {"cdiVersion", "kind", "devices", "containerEdits"}
    assert all(set(device) == {"name", "containerEdits"} for device in document["devices"])
    for edits in (*filter(None, [document.get("containerEdits")]), *(each["containerEdits"] for each in document["devices"])):
        assert set(edits) == {"deviceNodes"}
        assert edits["deviceNodes"]
        for node in edits["deviceNodes"]:
            assert set(node) == {"path"}
            assert node["path"].startswith("/dev/")
    names = [device["name"] for device in document["devices"]]
    # What the library itself works out as the least (MinimumRequiredVersion): hostPath, annotations and so on are not used.
    assert document["cdiVersion"] == ("0.5.0" if any(name[0].isdigit() for name in names) else "0.3.0")
    return spec


@pytest.mark.parametrize("path", sorted(HOSTS.glob("*.host")), ids=lambda path: path.stem)
def test_every_cdi_spec_is_of_the_form(path: Path):
    """On every fixture host, complete or not, the spec is one that engines take, or there is none at all."""
    for purposes in ("compute", "compute,graphics,video,display"):
        try:
            found = answer(path.stem, "cdi-spec", purposes=purposes)
        except (Refused, NoAnswer):
            continue
        assert found.text or found.missing
        if found.text:
            checked(found.text)


def test_without_any_node_nothing_is_written():
    """With --allow-missing on a host that has none of the nodes, a list without an entry is not printed: engines refuse it."""
    for form in ("compose", "cdi-spec", "systemd", "nomad", "kubernetes"):
        found = answer("no-driver", form)
        assert (found.text, bool(found.missing)) == ("", True)
    # A GPU without its node is not offered by the spec.
    assert [device.name for device in checked(answer("one-gpu-no-nodes", "cdi-spec").text).devices] == ["all"]


def test_cdi_spec_has_the_nodes_and_says_that_it_has_no_more():
    """Each GPU by its index, `all` where all were asked for, what they share once; marked as nodes only; version as low as can be."""
    text = answer("eight-gpus-shuffled-minors", "cdi-spec").text
    assert "device nodes only" in text.split("\n", 1)[0]
    spec = checked(text)
    assert (spec.version, spec.kind) == ("0.5.0", "nvidia.com/gpu")
    assert [device.name for device in spec.devices] == [*map(str, range(8)), "all"]
    assert [node.path for node in spec.devices[0].nodes] == ["/dev/nvidia3"]
    assert [node.path for node in spec.nodes] == CUDA
    assert len(spec.devices[-1].nodes) == 8


def test_cdi_spec_of_some_gpus_has_no_all():
    """A spec of two GPUs must not offer `all`."""
    assert [device.name for device in checked(answer("eight-gpus-shuffled-minors", "cdi-spec", "0,2").text).devices] == ["0", "2"]


def test_cdi_spec_of_mig_devices_and_cards():
    """A MIG device carries its GPU's node and its own two; a card carries its DRM nodes, and neither gets another's."""
    spec = checked(answer("mig-7-instances", "cdi-spec", "1:3").text)
    assert [(device.name, [node.path for node in device.nodes]) for device in spec.devices] == [
        ("1:3", ["/dev/nvidia0", "/dev/nvidia-caps/nvidia-cap93", "/dev/nvidia-caps/nvidia-cap94"]),
    ]
    cards = checked(answer("graphics-three-cards", "cdi-spec", "all", "compute,graphics").text).devices
    assert [node.path for node in cards[0].nodes] == ["/dev/nvidia0", "/dev/dri/card2", "/dev/dri/renderD130"]
    assert [node.path for node in cards[1].nodes] == ["/dev/nvidia1", "/dev/dri/card1", "/dev/dri/renderD129"]


def test_cdi_version_is_the_lowest_that_has_what_is_used():
    """A name that begins with a letter needs 0.3.0 only; digits came with 0.5.0."""
    assert checked(answer("wsl2", "cdi-spec").text).version == "0.3.0"


def test_systemd_quadlet_podman_and_nomad():
    """Every chosen node stands in each of these once, in the same order."""
    paths = ["/dev/nvidia3", "/dev/nvidia1", *CUDA]
    service = answer("eight-gpus-shuffled-minors", "systemd", "0,2").text.split("\n")
    assert service == ["[Service]", "DevicePolicy=closed", *(f"DeviceAllow={path} rw" for path in paths), ""]
    quadlet = answer("eight-gpus-shuffled-minors", "systemd", "0,2", style="quadlet").text.split("\n")
    assert quadlet == ["[Container]", *(f"AddDevice={path}" for path in paths), ""]
    assert answer("eight-gpus-shuffled-minors", "podman", "0,2").text.split() == TWO
    nomad = answer("eight-gpus-shuffled-minors", "nomad", "0,2").text
    assert [line.split('"')[1] for line in nomad.split("\n") if "host_path" in line] == paths


# What of a Pod's spec the fragment uses (Kubernetes API v1: PodSpec, Container, VolumeMount, Volume, HostPathVolumeSource).
CONTAINER = {"name": str, "securityContext": dict, "env": list, "volumeMounts": list}
MOUNT = {"name": str, "mountPath": str, "readOnly": bool}
HOST_PATH = {"path": str, "type": str}


def keeps(value: dict[str, object], fields: dict[str, type], *optional: str) -> None:
    """Assert that an object has all fields but the optional ones, each of its type, and no other."""
    assert set(fields) - set(optional) <= set(value) <= set(fields)
    for name, told in value.items():
        assert isinstance(told, fields[name])


@pytest.mark.parametrize("host", ["eight-gpus-shuffled-minors", "mig-7-instances", "imex-channels", "jetson", "wsl2-no-toolkit"])
def test_kubernetes_fragment_is_of_a_pod(host: str):
    """The fragment keeps to a Pod's fields: each volume is a hostPath with a name of its own that is a DNS label, mounted once."""
    text = answer(host, "kubernetes").text
    assert "device plugin" in text
    pod = yaml.safe_load(text)
    assert set(pod) == {"containers", "volumes"}
    (container,) = pod["containers"]
    keeps(container, CONTAINER, "env")
    assert container["securityContext"] == {"privileged": True}
    for each in container["volumeMounts"]:
        keeps(each, MOUNT, "readOnly")
    for each in pod["volumes"]:
        assert set(each) == {"name", "hostPath"}
        keeps(each["hostPath"], HOST_PATH)
        assert each["hostPath"]["type"] in {"CharDevice", "Directory"}
        assert len(each["name"]) <= 63
        assert each["name"].replace("-", "").isalnum()
        assert each["name"] == each["name"].lower().strip("-")
    mounted = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    assert mounted == {each["name"]: each["hostPath"]["path"] for each in pod["volumes"]}
    assert len(mounted) == len(container["volumeMounts"]) == len(pod["volumes"])
    devices = [each["hostPath"]["path"] for each in pod["volumes"] if each["hostPath"]["type"] == "CharDevice"]
    assert devices == [word for word in answer(host, "podman").text.split() if word.startswith("/dev/")]


def test_what_stands_in_for_the_libraries():
    """The nvidia runtime where only it is registered; WSL's own folder where no toolkit is; else a sentence that says there is nothing."""
    assert answer("runtime-only", gpus="0").text.startswith("--runtime nvidia --env NVIDIA_VISIBLE_DEVICES=0 --device")
    told = answer("runtime-only", gpus="0", purposes="video").text
    assert "--env NVIDIA_DRIVER_CAPABILITIES=utility,video" in told
    assert answer("wsl2").text == "--gpus all --device /dev/dxg\n"
    assert (
        answer("wsl2-no-toolkit").text
        == "--device /dev/dxg --volume /usr/lib/wsl:/usr/lib/wsl:ro --env LD_LIBRARY_PATH=/usr/lib/wsl/lib\n"
    )
    wsl = yaml.safe_load(answer("wsl2-no-toolkit", "compose").text)
    assert wsl == {
        "devices": ["/dev/dxg:/dev/dxg"],
        "volumes": ["/usr/lib/wsl:/usr/lib/wsl:ro"],
        "environment": ["LD_LIBRARY_PATH=/usr/lib/wsl/lib"],
    }
    assert answer("wsl2-no-toolkit", "podman").text == answer("wsl2-no-toolkit").text
    assert answer("wsl2-no-toolkit", "systemd", style="quadlet").text == (
        "[Container]\nAddDevice=/dev/dxg\nVolume=/usr/lib/wsl:/usr/lib/wsl:ro\nEnvironment=LD_LIBRARY_PATH=/usr/lib/wsl/lib\n"
    )
    (container,) = yaml.safe_load(answer("wsl2-no-toolkit", "kubernetes").text)["containers"]
    assert container["env"] == [{"name": "LD_LIBRARY_PATH", "value": "/usr/lib/wsl/lib"}]
    assert container["volumeMounts"][1] == {"name": "usr-lib-wsl", "mountPath": "/usr/lib/wsl", "readOnly": True}
    nothing = answer("no-toolkit")
    assert nothing.text.startswith("--device /dev/nvidia0 ")
    assert "the driver's libraries are not injected" in nothing.remarks[0]
    assert answer("jetson").text.startswith("--runtime nvidia --env NVIDIA_VISIBLE_DEVICES=all --device /dev/nv")
    assert yaml.safe_load(answer("jetson", "compose").text)["runtime"] == "nvidia"


@pytest.mark.parametrize("style", ["reservation", "gpus"])
def test_a_style_that_asks_docker_for_a_gpu_needs_what_serves_it(style: str):
    """Without anything behind --gpus these styles cannot work: what is missing is named, with a way that works here."""
    missing = answer("no-toolkit", "compose", style=style).missing
    assert [each.what for each in missing] == ["the NVIDIA container toolkit"]
    assert "apt-get install -y nvidia-container-toolkit" in missing[0].command
    for host in ("runtime-only", "docker-18", "jetson"):
        told = answer(host, "compose", "0", style=style)
        assert [each.what for each in told.missing] == ["what serves `docker run --gpus`"]
        assert "runtime: nvidia" in answer(host, "compose").text
    # --allow-missing prints what was asked for, and never every GPU in its place.
    assert 'device_ids: ["0"]' in answer("runtime-only", "compose", "0", style=style).text
    assert 'device_ids: ["0"]' in answer("no-toolkit", "compose", "0", style=style).text


@pytest.mark.parametrize("path", sorted(HOSTS.glob("*.host")), ids=lambda path: path.stem)
def test_json_keeps_to_its_schema_and_repeats_the_arguments(path: Path):
    """On every fixture host the JSON is valid, and its words are those of --format args."""
    try:
        told = json.loads(answer(path.stem, "json", purposes="compute,graphics").text)
    except (Refused, NoAnswer):
        return
    jsonschema.validate(told, SCHEMA, cls=jsonschema.Draft202012Validator)
    assert told["complete"] is not bool(told["missing"])
    if path.stem != "remote-docker":
        assert " ".join(told["args"]) == answer(path.stem, "args", purposes="compute,graphics").text.strip()


def test_cdi_names_for_podman_beside_a_docker_elsewhere():
    """Where docker talks to another machine, the names of this one's spec are podman's, and that is said."""
    text = b"-- like device-args/podman.host --\n-- env DOCKER_HOST -- tcp://10.0.0.9:2376\n"
    host = Facts(parse(text, str(HOSTS / "podman-and-remote-docker.host")))
    told = device_args.answer(host, device_args.request("all", "compute", "cdi", None), "")
    assert told.text == "--device nvidia.com/gpu=all\n"
    assert "Only podman takes this here: Docker's daemon is not on this host." in told.remarks


def test_docker_desktop_is_refused():
    """Its daemon runs in a machine of its own: nodes and CDI names of this one mean nothing there, and podman's still do."""
    desktop = Facts(load(str(ROOT / "fixtures" / "hosts" / "arch-rtx3090-docker-desktop.host")))
    for form, style in (("args", None), ("cdi", None), ("compose", "cdi"), ("compose", "gpus")):
        with pytest.raises(Refused, match="a machine of its own"):
            device_args.answer(desktop, device_args.request("all", "compute", form, style), "")
    told = device_args.answer(desktop, device_args.request("all", "compute", "podman", None), "")
    assert told.text.startswith("--device /dev/nvidia0")


def test_json_of_a_host_whose_docker_is_elsewhere():
    """The nodes are told all the same, with a remark; the formats that docker reads cannot be told."""
    told = json.loads(answer("remote-docker", "json").text)
    assert told["args"][:2] == ["--device", "/dev/nvidia0"]
    assert "run gpudoctor there" in told["remarks"][0]
    for form, style in (("make", None), ("cdi", None), ("compose", "cdi"), ("compose", "reservation")):
        with pytest.raises(NoAnswer, match="run gpudoctor there"):
            answer("remote-docker", form, style=style)
    assert answer("remote-docker", "podman").text.startswith("--device /dev/nvidia0")


@pytest.mark.parametrize("form", [form for form in device_args.FORMATS if form != "json"])
def test_output_does_not_depend_on_the_order_of_the_request(form: str):
    """The same GPUs give the same bytes, so that a fragment under version control does not change by itself."""
    assert answer("mig-7-instances", form, "1,0:2").text == answer("mig-7-instances", form, "0:2,1").text


@pytest.mark.parametrize("path", sorted(HOSTS.glob("*.host")), ids=lambda path: path.stem)
def test_a_snapshot_gives_the_same_arguments(path: Path, tmp_path: Path):
    """A snapshot of a host, redacted, has all that is asked: the same arguments, or the same refusal, as on the host itself."""
    host = load(str(path))
    host.closed = False  # as a live machine: the guards against questions with effects are on
    recorder = Recorder(host)
    device_args.survey(Facts(recorder))
    answers, _ = redact(recorder.answers)
    tar = tmp_path / "snapshot.tar.gz"
    tar.write_bytes(snapshot.save(answers, {}))
    for form, purposes in (("args", "compute"), ("args", "compute,graphics,display"), ("cdi", "compute"), ("cdi-spec", "video")):
        wanted = device_args.request("all", purposes, form, None)
        told = []
        for each in (load(str(path)), snapshot.open_host(str(tar))):
            try:
                found = device_args.answer(Facts(each), wanted, "")
                told.append((found.text, [missing[:2] for missing in found.missing]))
            except (Refused, NoAnswer) as reason:
                told.append(str(type(reason)))
        assert told[0] == told[1]
