"""The printed arguments given to a real dockerd: a node that is given opens, one that is left out is refused."""

from __future__ import annotations

import compileall
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.device_args.hosts import ROOT
from tests.lab.world import DOCKER_RUN, NEWER_DOCKER, PROBE, judged, live, needs

if TYPE_CHECKING:
    from pathlib import Path

ASK = "$($PYTHON -m gpudoctor device-args $ASK)"
CASES: list[tuple[str, tuple[str, ...]]] = [
    ("one-gpu", ()),
    ("eight-gpus-shuffled-minors", ("--gpus", "0,2")),
    ("eight-gpus-shuffled-minors", ("--gpus", "0000:2a:00.0,GPU-5c1e4b7a-0000-4d20-8f3b-6a1c4c000007")),
    ("sixteen-gpus-nvswitch", ()),
    ("sixteen-gpus-nvswitch", ("--gpus", "15")),
    ("mig-7-instances", ("--gpus", "0:3")),
    ("mig-7-instances", ("--gpus", "1")),
    ("imex-channels", ("--gpus", "1")),
    ("graphics-three-cards", ("--gpus", "1", "--with", "graphics")),
    ("excluded-gpu", ()),
]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("fixture", "gpus"), CASES, ids=lambda value: value if isinstance(value, str) else "-".join(value) or "all"
)
def test_given_nodes_open_and_others_are_refused(tmp_path: Path, fixture: str, gpus: tuple[str, ...], version: int):
    """`docker run $(gpudoctor device-args)`: each chosen node gives ENXIO, each other one, made by hand inside, EPERM."""
    needs("dockerd", "unshare", "busybox")
    found = live(tmp_path, fixture, f"{DOCKER_RUN} {ASK} probe {PROBE}", *gpus, version=version)
    assert found["server"][1] == str(version)
    judged(found)


def test_without_the_arguments_every_node_is_refused(tmp_path: Path):
    """The oracle itself: a container that is given nothing is refused every node, or the other tests would prove nothing."""
    needs("dockerd", "unshare", "busybox")
    command = (
        f'UNWANTED="$UNWANTED /dev/nvidia0=195:0 /dev/nvidiactl=195:255 /dev/nvidia-uvm=507:0" WANTED= {DOCKER_RUN} probe {PROBE}'
    )
    found = live(tmp_path, "one-gpu", command)
    assert found["rc"] == 0, found["err"]
    said = [line for line in found["out"].split("\n") if line.startswith("/dev/")]
    assert len(said) == 4
    assert all(line.endswith(" Operation not permitted") for line in said)


def test_a_fixed_list_fails_on_the_node_that_is_not_there(tmp_path: Path):
    """What device-args is for: the list of the guide fails where nvidia-uvm is missing, and gpudoctor stops with the command first."""
    needs("dockerd", "unshare", "busybox")
    copied = "--device /dev/nvidia0 --device /dev/nvidiactl --device /dev/nvidia-uvm"
    found = live(tmp_path, "one-gpu-missing-uvm", f"{DOCKER_RUN} {copied} probe {PROBE}")
    assert found["rc"] in {125, 127}  # 127 is how 20.10 ends
    assert "error gathering device information while adding custom device" in found["err"]


def test_allow_missing_runs_with_the_rest(tmp_path: Path):
    """--allow-missing gives a list that Docker takes."""
    needs("dockerd", "unshare", "busybox")
    command = f"{DOCKER_RUN} $($PYTHON -m gpudoctor device-args --allow-missing) probe {PROBE}"
    found = live(tmp_path, "one-gpu-missing-uvm", command)
    judged(found)
    assert [node["path"] for node in found["nodes"] if node["in"]] == ["/dev/nvidia0", "/dev/nvidiactl"]
    assert "nvidia-modprobe -u -c 0" in found["err"]


def test_a_mounted_root_gives_the_same_nodes(tmp_path: Path):
    """From a container with the host's root file system mounted, --root prints what the host itself would."""
    needs("dockerd", "unshare", "busybox")
    command = f"{DOCKER_RUN} $($PYTHON -m gpudoctor device-args $ASK --root /) probe {PROBE}"
    judged(live(tmp_path, "eight-gpus-shuffled-minors", command, "--gpus", "0,2"))


def visible(found: dict[str, Any]) -> str:
    """Return the NVIDIA_VISIBLE_DEVICES that Docker made of --gpus."""
    return next(line for line in found["out"].split("\n") if line.startswith("NVIDIA_VISIBLE_DEVICES=")).partition("=")[2]


@pytest.mark.parametrize(
    ("gpus", "seen"),
    [((), "all"), (("--gpus", "2"), "2"), (("--gpus", "0,2"), "0,2"), (("--gpus", "0,2", "--with", "compute,video"), "0,2")],
    ids=["all", "one", "two", "two-with-capabilities"],
)
def test_docker_reads_its_quotes_from_a_shell(tmp_path: Path, gpus: tuple[str, ...], seen: str):
    """With a hook on dockerd's PATH, --gpus is printed, and Docker understands it as the devices that were meant."""
    needs("dockerd", "unshare", "busybox")
    found = live(tmp_path, "eight-gpus-shuffled-minors", f"{DOCKER_RUN} {ASK} probe {PROBE}", *gpus, hook=True)
    judged(found)
    assert visible(found) == seen


def test_docker_reads_its_quotes_from_env(tmp_path: Path):
    """The same by `eval "$(gpudoctor device-args --format env)"` and $DEVICE_ARGS."""
    needs("dockerd", "unshare", "busybox")
    command = f'eval "$($PYTHON -m gpudoctor device-args $ASK --format env)"; {DOCKER_RUN} $DEVICE_ARGS probe {PROBE}'
    found = live(tmp_path, "eight-gpus-shuffled-minors", command, "--gpus", "0,2", hook=True)
    judged(found)
    assert visible(found) == "0,2"


MAKEFILES = {
    "include": "include gpu.mk\n",
    "shell": "DEVICE_ARGS := $(shell $(PYTHON) -m gpudoctor device-args $(ASK) --format make-args)\n"
    "ifneq ($(.SHELLSTATUS),0)\n$(error device-args failed)\nendif\n",
}


@pytest.mark.parametrize("form", MAKEFILES)
def test_docker_reads_its_quotes_from_make(tmp_path: Path, form: str):
    """The same by a makefile, with the fragment included and with $(shell)."""
    needs("dockerd", "unshare", "busybox", "make")
    makefile = f'{MAKEFILES[form]}gpu-run:\n\t@{DOCKER_RUN} $(DEVICE_ARGS) probe sh -c "$$PROBE"\n'
    command = "$PYTHON -m gpudoctor device-args $ASK --format make >gpu.mk && make gpu-run"
    found = live(
        tmp_path,
        "eight-gpus-shuffled-minors",
        command,
        "--gpus",
        "0,2",
        hook=True,
        files={str(tmp_path / "Makefile"): makefile},
    )
    judged(found)
    assert visible(found) == "0,2"


BASE = "services:\n  gpu:\n    image: probe\n    network_mode: none\n    environment: [WANTED, UNWANTED]\n"


@pytest.mark.parametrize("major", ["1", "5"])
def test_compose_runs_with_the_devices(tmp_path: Path, major: str):
    """docker-compose 1.29, and Compose 5 with a Docker of its age, run a service with the devices: they open, the others are refused."""
    needs("dockerd", "unshare", "busybox", "docker-compose")
    program, options = "docker-compose", {}
    if major == "5":
        program = f"{sys.prefix}/bin/docker-compose"
        if not (os.path.exists(program) and NEWER_DOCKER.exists()):
            pytest.skip("no Compose 5 or no newer Docker here (scripts/lab fetches both where it can)")
        options = {"programs": f"{NEWER_DOCKER / 'sbin'}:{NEWER_DOCKER / 'bin'}"}
    command = (
        f"{{ cat base; $PYTHON -m gpudoctor device-args $ASK --format compose | sed 's/^/    /'; }} >docker-compose.yml; "
        f"COMPOSE_PROJECT_NAME=lab {program} run --rm -T gpu {PROBE}"
    )
    files = {str(tmp_path / "base"): BASE}
    found = live(tmp_path, "eight-gpus-shuffled-minors", command, "--gpus", "0,2", files=files, **options)
    judged(found)


@pytest.mark.parametrize(
    ("hook", "arguments", "most"),
    [
        (True, ("--format", "make-args"), 8.5),
        (True, ("--with", "compute,graphics"), 8.5),
        (False, ("--format", "make-args"), 8.5),
        (True, ("--format", "cdi"), 14),
    ],
    ids=["hook", "hook-with-graphics", "no-toolkit", "cdi"],
)
def test_start_up_on_a_live_host(tmp_path: Path, hook: bool, arguments: tuple[str, ...], most: float):
    """Beside a running dockerd the whole command's cost is printed as a ratio to a bare Python: a call of the docker client shows."""
    needs("dockerd", "unshare", "busybox")
    compileall.compile_dir(str(ROOT / "gpudoctor"), quiet=2)
    found = live(tmp_path, "one-gpu", "true", hook=hook, cpu=arguments)
    print(f"live, beside a running dockerd: device-args {' '.join(arguments)} is {found['ratio']:.1f} times a bare Python start")
    # The budget is 7.5, which scripts/bench holds; seven runs on a busy machine do not tell it so exactly.
    assert found["ratio"] < most
