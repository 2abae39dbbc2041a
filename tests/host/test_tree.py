"""A mounted root: links never lead out of it, and what is not mounted there is not taken for missing."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from gpudoctor.host import Absent, Denied, Unseen
from gpudoctor.host.tree import Tree

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return an empty root, beside a file that is not part of it."""
    (tmp_path / "outside").write_text("not yours")
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc" / "inside").write_text("mine")
    return root


@pytest.mark.parametrize(
    "target",
    [
        "/etc/inside",
        "../etc/inside",
        "../../../../../../etc/inside",
        "/../../etc/./inside",
        "/etc//inside",
        "/chain/../etc/inside",
    ],
)
def test_links_stay_inside(root: Path, target: str) -> None:
    """Absolute links and any number of `..` are resolved inside the root."""
    (root / "chain").mkdir()
    (root / "etc" / "link").symlink_to(target)
    tree = Tree(str(root))
    assert tree.read("/etc/link") == b"mine"
    assert tree.real("/etc/link") == "/etc/inside"
    assert tree.stat("/etc/link").target == target


def test_what_is_outside_cannot_be_reached(root: Path) -> None:
    """Neither a link to a real path of this machine, nor `..` in a question, nor a linked folder leads out."""
    (root / "abs").symlink_to(root.parent / "outside")
    (root / "rel").symlink_to("../outside")
    (root / "up").symlink_to("..")
    (root / "deep").symlink_to("../../../..")
    tree = Tree(str(root))
    for path in ("/abs", "/rel", "/up/outside", "/../outside", "/etc/../../outside", "/deep" + str(root.parent) + "/outside"):
        with pytest.raises((Absent, Denied)):
            tree.read(path)
        assert not tree.exists(path)
    assert tree.list("/up") == tree.list("/") == ("abs", "deep", "etc", "rel", "up")
    assert tree.list("/deep/etc") == ("inside",)
    with pytest.raises((Absent, Denied)):
        tree.stat("/etc/..")


def test_links_that_go_round_are_absent(root: Path) -> None:
    """A loop of links and a dangling link have nothing at their end."""
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("/a")
    (root / "self").symlink_to("self/x")
    (root / "dangling").symlink_to("/nowhere/at/all")
    tree = Tree(str(root))
    for path in ("/a", "/self", "/dangling", "/a/x"):
        with pytest.raises(Absent):
            tree.read(path)
        with pytest.raises(Absent):
            tree.list(path)
    assert tree.stat("/a").kind == "link"
    assert tree.stat("/dangling").target == "/nowhere/at/all"


def test_a_deep_path_costs_a_look_a_folder(root: Path) -> None:
    """Forty folders deep, with links between, is answered at once: each folder is looked at a few times, not 2 to the 40th."""
    path = "/d" * 40
    os.makedirs(f"{root}{path}")
    (root / "link").symlink_to(path)
    (root / "d" / "d" / "back").symlink_to("/link")
    began = time.monotonic()
    tree = Tree(str(root))
    assert tree.stat(path).kind == "dir"
    assert tree.real("/link/../d") == path
    assert tree.list("/d/d/back") == ()
    assert time.monotonic() - began < 1


def test_what_is_not_mounted_is_unseen(root: Path) -> None:
    """Below an empty /proc, /sys, /dev and /run nothing is known; elsewhere a missing file is missing."""
    for name in ("proc", "sys", "dev"):
        (root / name).mkdir()
    (root / "dev" / "shm").mkdir()
    (root / "etc" / "mtab").symlink_to("../proc/self/mounts")
    tree = Tree(str(root))
    for path in (
        "/proc/devices",
        "/proc",
        "/sys/module/nvidia/version",
        "/dev/nvidiactl",
        "/run/systemd/system",
        "/var/run/cdi",
        "/etc/mtab",
    ):
        with pytest.raises(Unseen):
            tree.read(path) if path != "/proc" else tree.stat("/proc/1")
    for ask in (tree.stat, tree.list):
        with pytest.raises(Unseen):
            ask("/dev/nvidia0")
    assert tree.stat("/dev/shm").kind == "dir"
    for path in ("/etc/cdi/x", "/procx", "/device"):
        with pytest.raises(Absent):
            tree.read(path)


def test_what_is_mounted_is_answered(root: Path) -> None:
    """With /proc mounted (a host seen from a container) a missing node is missing; /sys is judged by itself."""
    (root / "proc").mkdir()
    (root / "proc" / "devices").write_text("195 nvidia\n")
    (root / "sys").mkdir()
    tree = Tree(str(root))
    assert tree.read("/proc/devices") == b"195 nvidia\n"
    for path in ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/run/systemd/system"):
        with pytest.raises(Absent):
            tree.read(path)
    with pytest.raises(Unseen):
        tree.read("/sys/module/nvidia/version")
    (root / "sys" / "module").mkdir()
    with pytest.raises(Absent):
        Tree(str(root)).read("/sys/module/nvidia/version")


def test_nothing_is_run_or_opened(root: Path) -> None:
    """Commands and variables are Unseen, a FIFO in the root is refused and does not hang."""
    (root / "bin").mkdir()
    (root / "bin" / "date").write_text("#!/bin/sh\necho ran\n")
    (root / "bin" / "date").chmod(0o755)
    os.mkfifo(root / "etc" / "pipe")
    (root / "etc" / "to-pipe").symlink_to("/etc/pipe")
    tree = Tree(str(root))
    with pytest.raises(Unseen):
        tree.run("date", "+%s")
    with pytest.raises(Unseen):
        tree.env("PATH")
    for path in ("/etc/pipe", "/etc/to-pipe", "/etc"):
        with pytest.raises(Denied) as missed:
            tree.read(path)
        assert missed.value.asked == path
        assert str(root) not in str(missed.value)
    assert not tree.closed


def test_the_root_itself(root: Path, tmp_path: Path) -> None:
    """A root may be given through a link; one that is not there or is a file is refused."""
    (tmp_path / "link").symlink_to(root)
    assert Tree(str(tmp_path / "link")).read("/etc/inside") == b"mine"
    assert Tree(f"{root}/").stat("/").kind == "dir"
    assert Tree("/").stat("/etc").kind == "dir"
    for path in (tmp_path / "gone", tmp_path / "outside"):
        with pytest.raises((Absent, Denied)):
            Tree(str(path))
