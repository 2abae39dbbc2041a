"""Broken as people break it: Docker's own words for it, what doctor says on that host, what explain makes of the words, and the cure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.lab.test_fix import PROBE, parts, steps
from tests.lab.world import live, needs

if TYPE_CHECKING:
    from pathlib import Path

DOCTOR = "$PYTHON -m gpudoctor doctor --json"
EXPLAIN = "$PYTHON -m gpudoctor explain - --json"
STOP = "kill $(pidof dockerd); for i in $(seq 100); do pidof dockerd >/dev/null || break; sleep 0.1; done"
START = (
    "dockerd --data-root $PWD/again --exec-root /run/again --iptables=false --ip6tables=false --bridge=none --ip-forward=false "
    "--storage-driver=vfs"
)


def found_rules(part: str, *, hints: bool = False) -> list[str]:
    """Return the rules of the root causes in doctor's JSON, the first to mend first; hints only where they are asked for."""
    report = json.loads(next(line for line in part.split("\n") if line.startswith("{")))
    return [each["rule"] for each in report["findings"] if each["because_of"] is None and (hints or each["severity"] != "hint")]


def modes(part: str) -> list[str]:
    """Return the failure modes that explain names, the best first."""
    answer = json.loads(next(line for line in part.split("\n") if line.startswith("{")))
    return [each["mode"] for each in answer["matches"]]


def test_no_hook_on_dockerds_path(tmp_path: Path):
    """`--gpus` without the hook: Docker's own words, recognised, and decided on this host as the toolkit that is not installed."""
    needs("dockerd", "unshare", "busybox")
    ask = "docker run --rm --network none --gpus all probe true"
    found = live(tmp_path, "one-gpu", steps(ask, DOCTOR, f"{ask} 2>&1 | {EXPLAIN}"))
    said = parts(found["out"])
    assert "could not select device driver" in said[0]
    assert "rc=125" in said[0]
    assert found_rules(said[1])[0] == "toolkit/toolkit-not-installed"
    assert modes(said[2])[0] == "toolkit-not-installed"


def test_the_hook_came_after_docker_had_started(tmp_path: Path):
    """The commonest of all: the toolkit is there, Docker was not restarted; fix restarts it, and --gpus is taken."""
    needs("dockerd", "unshare", "busybox")
    ask = "docker run --rm --network none --gpus all probe sh -c 'echo it runs'"
    hook = "printf '#!/bin/sh\\nexit 0\\n' >bin/nvidia-container-runtime-hook; chmod 755 bin/nvidia-container-runtime-hook"
    found = live(
        tmp_path,
        "one-gpu",
        steps(
            f"sleep 2; {hook}",
            ask,
            DOCTOR,
            f"{ask} 2>&1 | {EXPLAIN}",
            "$PYTHON -m gpudoctor fix docker-not-restarted --apply --yes --allow-restart",
            ask,
            DOCTOR,
        ),
    )
    said = parts(found["out"])
    assert "could not select device driver" in said[1]
    assert found_rules(said[2])[0] == "docker/docker-not-restarted"
    assert modes(said[3])[0] == "docker-not-restarted"
    assert said[4].endswith("rc=0\n"), said[4]
    assert "it runs" in said[5]
    assert "docker/docker-not-restarted" not in found_rules(said[6])


def test_an_invalid_daemon_json_keeps_docker_down(tmp_path: Path):
    """A comma too many: dockerd really refuses to start, doctor names line and column, and fix does not touch what it cannot read."""
    needs("dockerd", "unshare", "busybox")
    broken = '{\n  "log-driver": "local",\n}\n'
    found = live(
        tmp_path,
        "one-gpu",
        steps(
            f"{STOP}; cp broken.json /etc/docker/daemon.json",
            START,
            DOCTOR,
            f"{START} 2>&1 | {EXPLAIN}",
            "$PYTHON -m gpudoctor fix docker --apply --yes; cmp broken.json /etc/docker/daemon.json && echo untouched",
        ),
        files={str(tmp_path / "broken.json"): broken},
        hook=True,
    )
    said = parts(found["out"])
    assert "unable to configure the Docker daemon with file /etc/docker/daemon.json" in said[1]
    assert "rc=1" in said[1]
    assert "docker/daemon-json-invalid" in found_rules(said[2])
    assert modes(said[3])[0] == "daemon-json-invalid"
    assert "untouched" in said[4]


def test_an_option_that_is_a_flag_and_in_daemon_json_too(tmp_path: Path):
    """Docker refuses both together, in words that explain knows."""
    needs("dockerd", "unshare", "busybox")
    found = live(
        tmp_path,
        "one-gpu",
        steps(
            f"{STOP}; cp both.json /etc/docker/daemon.json",
            f"{START} --default-runtime nvidia",
            f"{START} --default-runtime nvidia 2>&1 | {EXPLAIN}",
        ),
        files={str(tmp_path / "both.json"): '{"default-runtime": "nvidia"}\n'},
    )
    said = parts(found["out"])
    assert "specified both as a flag and in the configuration file: default-runtime" in said[1]
    assert modes(said[2])[0] == "daemon-json-flag-conflict"


def test_a_runtime_that_nobody_registered(tmp_path: Path):
    """`--runtime=nvidia` where Docker has none: its words are recognised, and without a container that asks the host is not accused."""
    needs("dockerd", "unshare", "busybox")
    ask = "docker run --rm --network none --runtime nvidia probe true"
    found = live(tmp_path, "one-gpu", steps(ask, f"{ask} 2>&1 | {EXPLAIN}"), hook=True)
    said = parts(found["out"])
    assert "nvidia" in said[0]
    assert "untime" in said[0]
    assert modes(said[1])[0] == "runtime-not-registered"


def test_a_node_that_is_not_there(tmp_path: Path):
    """A copied list with nvidia-uvm before its first use: Docker's words, recognised; and the healthy container beside it runs."""
    needs("dockerd", "unshare", "busybox")
    ask = "docker run --rm --network none --device /dev/nvidia-uvm probe true"
    found = live(tmp_path, "one-gpu-missing-uvm", steps(ask, f"{ask} 2>&1 | {EXPLAIN}", PROBE))
    said = parts(found["out"])
    assert 'error gathering device information while adding custom device "/dev/nvidia-uvm"' in said[0]
    assert modes(said[1])[0] == "uvm-device-missing"
    assert "it runs" in said[2]
