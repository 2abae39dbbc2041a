"""The command as it is called: what is on which stream, exit codes, help, and that nothing is changed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.device_args.hosts import HOSTS, ROOT
from tests.test_changes_nothing import guarded

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Program = Callable[..., subprocess.CompletedProcess[bytes]]


def host(name: str) -> list[str]:
    """Return the arguments that name a fixture host."""
    return ["device-args", "--host", str(HOSTS / f"{name}.host")]


def test_standard_output_is_the_arguments_and_nothing_else(gpudoctor: Program):
    """One line of arguments; every remark is on standard error and begins with the program's name."""
    ran = gpudoctor(*host("no-toolkit"))
    assert ran.returncode == 0
    assert (
        ran.stdout == b"--device /dev/nvidia0 --device /dev/nvidiactl --device /dev/nvidia-uvm --device /dev/nvidia-uvm-tools\n"
    )
    assert ran.stderr.startswith(b"gpudoctor: Nothing on this host serves `docker run --gpus`")


def test_missing_node_is_1_with_its_command_and_nothing_on_standard_output(gpudoctor: Program):
    """A needed node that is not there: exit 1, no arguments, the command that makes it on standard error."""
    ran = gpudoctor(*host("one-gpu-missing-uvm"))
    assert (ran.returncode, ran.stdout) == (1, b"")
    assert ran.stderr == b"gpudoctor: missing: /dev/nvidia-uvm: CUDA cannot work without it; run: sudo nvidia-modprobe -u -c 0\n"


def test_allow_missing_prints_the_rest(gpudoctor: Program):
    """--allow-missing prints what is there, still says what is not, and the exit code stays 1."""
    ran = gpudoctor(*host("one-gpu-missing-uvm"), "--allow-missing")
    assert (ran.returncode, ran.stdout) == (1, b"--gpus all --device /dev/nvidia0 --device /dev/nvidiactl\n")
    assert b"nvidia-modprobe -u -c 0" in ran.stderr


def test_json_of_an_incomplete_host_is_printed(gpudoctor: Program):
    """The JSON says itself what is missing, so it is printed, with exit 1."""
    ran = gpudoctor(*host("one-gpu-missing-uvm"), "--format", "json")
    told = json.loads(ran.stdout)
    assert (ran.returncode, told["complete"], told["missing"][0]["what"]) == (1, False, "/dev/nvidia-uvm")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([*host("one-gpu"), "--gpus", "1"], b"There is no GPU 1 here"),
        ([*host("one-gpu"), "--gpus", ","], b"--gpus is empty"),
        ([*host("one-gpu"), "--format", "yaml"], b"--format yaml: one of args, make"),
        ([*host("one-gpu"), "--with", "sound"], b"--with sound: one or more of compute"),
        ([*host("one-gpu"), "--style", "gpus"], b"--format args has no styles"),
        ([*host("one-gpu"), "--format", "compose", "--style", "quadlet"], b"one of devices, reservation"),
        (host("no-gpu"), b"There is no NVIDIA GPU on this host."),
        (host("jetson-no-lists"), b"stand in lists"),
        (["device-args", "--host", "/nonexistent"], b"no such file"),
        ([*host("one-gpu"), "--root", "/"], b"exclude each other"),
    ],
)
def test_wrong_usage_and_no_such_gpu_are_2(gpudoctor: Program, arguments: list[str], words: bytes):
    """What cannot be had or was asked wrongly: exit 2, one sentence, nothing on standard output."""
    ran = gpudoctor(*arguments)
    assert (ran.returncode, ran.stdout) == (2, b"")
    assert words in ran.stderr
    assert b"Traceback" not in ran.stderr


@pytest.mark.parametrize("name", ["proc-unreadable", "remote-docker"])
def test_a_host_that_does_not_say_is_3(gpudoctor: Program, name: str):
    """Where the host does not answer, or docker talks to another one, it cannot be told: exit 3, nothing on standard output."""
    ran = gpudoctor(*host(name))
    assert (ran.returncode, ran.stdout) == (3, b"")
    assert b"cannot tell" in ran.stderr


def test_full_disk_is_4(gpudoctor: Program):
    """Arguments that cannot be written are an error of their own."""
    with open("/dev/full", "wb") as full:
        assert gpudoctor(*host("one-gpu"), stdout=full).returncode == 4


def test_closed_standard_output_is_4():
    """A caller that closed standard output is told so in one line."""
    command = f"exec {sys.executable} -m gpudoctor device-args --host '{HOSTS / 'one-gpu.host'}' >&-"
    ran = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, cwd=ROOT, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (4, b"gpudoctor: standard output: is closed\n")


def test_help_says_index_not_count(gpudoctor: Program):
    """The help says that a number is an index here and a count with Docker's --gpus, and not the minor."""
    words = b" ".join(gpudoctor("device-args", "--help").stdout.split())
    assert b"an index here" in words
    assert b"Docker's own --gpus 2 it is a count" in words
    assert b"not the number in /dev/nvidia0" in words


def test_a_mounted_root_is_read(gpudoctor: Program, tmp_path: Path):
    """Below a mounted root without /proc nothing can be told: exit 3, never a list that lacks what matters."""
    (tmp_path / "etc").mkdir()
    ran = gpudoctor("device-args", "--root", str(tmp_path))
    assert (ran.returncode, ran.stdout) == (3, b"")


def test_changes_nothing():
    """Live and recorded, in every format that asks more than nodes, no file is written and no node made."""
    assert guarded("device-args") == []
    for form in ("args", "json", "cdi", "compose"):
        assert guarded(*host("cdi"), "--format", form) == []


README = (ROOT / "README.md").read_text()


@pytest.mark.skipif(shutil.which("make") is None, reason="GNU make is not installed")
def test_readme_makefile_stops_where_the_command_fails(tmp_path: Path):
    """README's makefile runs docker with the arguments on a complete host, and stops with $(error) on an incomplete one."""
    example = README.split("```make\n", 1)[1].split("```", 1)[0]
    assert ".SHELLSTATUS" in example
    assert "$(error" in example
    program = tmp_path / "gpudoctor"
    program.write_text(f'#!/bin/sh\ncd {ROOT} && exec {sys.executable} -m gpudoctor "$@" --host "$HOST"\n')
    program.chmod(0o755)
    (tmp_path / "Makefile").write_text(example)
    for name, complete in (("one-gpu", True), ("one-gpu-missing-uvm", False)):
        environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "HOST": str(HOSTS / f"{name}.host")}
        ran = subprocess.run(
            ["make", "-n", "-C", str(tmp_path)], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        if complete:
            assert ran.returncode == 0, ran.stderr
            assert "--gpus all --device /dev/nvidia0 --device /dev/nvidiactl" in ran.stdout
        else:
            assert ran.returncode == 2
            assert "docker run" not in ran.stdout
            assert "nvidia-modprobe -u -c 0" in ran.stderr
            assert "***" in ran.stderr
