"""Services of Compose files with and without a GPU, run by both generations of Compose, before `fix --compose` and after."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.sequence import GPUDOCTOR
from tests.lab.stand_ins import program as program_of
from tests.lab.test_fix import parts, steps
from tests.lab.test_programs import compose
from tests.lab.world import NEWER_DOCKER, live, needs

if TYPE_CHECKING:
    from pathlib import Path

# With a comment, quotes and a list of its own style, which the edit has to leave as they are. A node made by hand shows that it is the
# device cgroup that refuses, not only the missing name.
FILE = """\
services:
  # no GPU is asked for here
  train:
    image: 'probe'
    network_mode: none
    command: ["sh", "-c", "mknod /tmp/gpu c 195 0; (: </tmp/gpu); : </dev/nvidia0"]   # as far as the missing driver
    environment:
    - A=1

  web:
    image: probe
    network_mode: none
    command: ["sh", "-c", "mknod /tmp/gpu c 195 0; (: </tmp/gpu); : </dev/nvidia0"]
"""
OPENED = ("can't open /tmp/gpu: No such device or address", "can't open /dev/nvidia0: No such device or address")
REFUSED = ("can't open /tmp/gpu: Operation not permitted", "can't open /dev/nvidia0: no such file")


def generation(major: str) -> tuple[str, dict[str, Any]]:
    """Return a Compose and the options of a Docker of its age; skips where one of the two is not here."""
    needs("dockerd", "unshare", "busybox")
    program = compose(major)
    if major == "1":
        return program, {}
    if not NEWER_DOCKER.exists():
        pytest.skip("no newer Docker here (scripts/lab fetches one where it can)")
    return f"{sys.prefix}/bin/docker-compose", {"programs": f"{NEWER_DOCKER / 'sbin'}:{NEWER_DOCKER / 'bin'}"}


@pytest.mark.parametrize(
    ("major", "version", "style"),
    [("1", 1, "devices"), ("5", 2, "devices"), ("1", 2, "reservation"), ("5", 1, "reservation"), ("5", 2, "gpus")],
)
def test_a_service_without_a_gpu_is_given_one(tmp_path: Path, major: str, version: int, style: str):
    """`up` of a service that asks for none is refused the node; fix --compose gives it one, and no other service; undo takes it back."""
    program, options = generation(major)
    # The one on the PATH is the one that judges the new file, too.
    up = "docker-compose -p lab up --no-color train; docker-compose -p lab rm -sf >/dev/null 2>&1"
    fix = f"{GPUDOCTOR} fix --compose docker-compose.yml --service train --style {style}"
    found = live(
        tmp_path,
        "one-gpu",
        steps(
            f"cp docker-compose.yml before.yml; mkdir -p bin; ln -s {program} bin/docker-compose",
            up,
            f"{fix}; cmp docker-compose.yml before.yml && echo untouched",
            f"{fix} --apply --yes",
            up,
            "docker-compose -p lab run --rm -T web",
            "diff before.yml docker-compose.yml",
            f"{fix} --apply --yes",
            f"{GPUDOCTOR} undo --yes",
            "cmp docker-compose.yml before.yml",
            up,
        ),
        version=version,
        hook=style != "devices",
        files={
            str(tmp_path / "docker-compose.yml"): FILE,
            **(program_of(tmp_path, "hook.py", "nvidia-container-runtime-hook") if style != "devices" else {}),
        },
        **options,
    )
    said = parts(found["out"])
    assert found["server"][1] == str(version)
    assert all(words in said[1] for words in REFUSED), said[1]
    assert "untouched" in said[2], said[2]
    assert said[3].endswith("rc=0\n"), said[3]
    assert "accepted by: docker-compose" in said[3]
    assert all(words in said[4] for words in OPENED), said[4]
    assert not any(words in said[4] for words in REFUSED), said[4]
    assert all(words in said[5] for words in REFUSED), said[5]
    assert not any(line.startswith("<") for line in said[6].split("\n")), said[6]
    assert any(line.startswith(">") for line in said[6].split("\n")), said[6]
    assert "Nothing to do" in said[7], said[7]
    assert said[8].endswith("rc=0\n"), said[8]
    assert said[9].endswith("rc=0\n"), said[9]
    assert all(words in said[10] for words in REFUSED), said[10]
