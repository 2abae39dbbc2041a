"""The printed CDI spec and CDI names given to real podman and to a Docker that takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lab.world import DOCKER_RUN, NEWER_DOCKER, PROBE, judged, live, needs

if TYPE_CHECKING:
    from pathlib import Path

SPEC = "$PYTHON -m gpudoctor device-args --format cdi-spec $WITH >/etc/cdi/nodes.yaml"
NAMES = "$($PYTHON -m gpudoctor device-args --format cdi $ASK)"
CASES = [
    ("one-gpu", ()),
    ("eight-gpus-shuffled-minors", ("--gpus", "0,2")),
    ("mig-7-instances", ("--gpus", "0:3")),
    ("mig-7-instances", ("--gpus", "1")),
]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("fixture", "gpus"), CASES, ids=lambda value: value if isinstance(value, str) else "-".join(value) or "all"
)
def test_podman_reads_the_spec(tmp_path: Path, fixture: str, gpus: tuple[str, ...], version: int):
    """From a spec of every GPU, podman gives by its names the chosen nodes and no other."""
    needs("podman", "runc", "unshare", "busybox")
    command = f'{SPEC} && $PODMAN {NAMES} --rootfs "$ROOTFS" {PROBE}'
    judged(live(tmp_path, fixture, command, *gpus, version=version, engine="podman"))


@pytest.mark.parametrize("version", [1, 2])
def test_podman_takes_its_arguments(tmp_path: Path, version: int):
    """With `podman run $(gpudoctor device-args --format podman)` a container gets the chosen nodes and no other."""
    needs("podman", "runc", "unshare", "busybox")
    command = f'$PODMAN $($PYTHON -m gpudoctor device-args --format podman $ASK) --rootfs "$ROOTFS" {PROBE}'
    judged(live(tmp_path, "eight-gpus-shuffled-minors", command, "--gpus", "0,2", version=version, engine="podman"))


def test_podman_does_not_know_a_device_that_is_not_in_the_spec(tmp_path: Path):
    """A spec of one GPU gives that one: another name is unresolvable, so podman really reads the file."""
    needs("podman", "runc", "unshare", "busybox")
    command = f'WITH="--gpus 0"; {SPEC} && $PODMAN --device nvidia.com/gpu=1 --rootfs "$ROOTFS" {PROBE}'
    found = live(tmp_path, "eight-gpus-shuffled-minors", command, "--gpus", "0", engine="podman")
    assert found["rc"] != 0
    assert "nvidia.com/gpu=1" in found["err"]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("fixture", "gpus"), CASES, ids=lambda value: value if isinstance(value, str) else "-".join(value) or "all"
)
def test_docker_with_cdi_reads_the_spec(tmp_path: Path, fixture: str, gpus: tuple[str, ...], version: int):
    """A Docker with CDI switched on takes the spec and its names, on cgroup v1 and v2."""
    needs("dockerd", "unshare", "busybox")
    if not (NEWER_DOCKER / "sbin" / "dockerd").exists():
        pytest.skip("no Docker with CDI here (scripts/lab fetches one from Debian 13 where it can)")
    programs = f"{NEWER_DOCKER / 'sbin'}:{NEWER_DOCKER / 'bin'}"
    options = {"programs": programs, "daemon_json": {"features": {"cdi": True}, "cdi-spec-dirs": ["/etc/cdi"]}}
    found = live(tmp_path, fixture, f"{SPEC} && {DOCKER_RUN} {NAMES} probe {PROBE}", *gpus, version=version, **options)
    assert int(found["server"][0].partition(".")[0]) >= 25
    judged(found)
