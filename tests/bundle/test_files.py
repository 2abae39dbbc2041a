"""The door to a bundle's files: what it lists, follows and refuses."""

from __future__ import annotations

import os
import time

import pytest

from gpudoctor.bundle import files as door
from gpudoctor.bundle.files import Entry, Files, Leaves


@pytest.fixture
def root(tmp_path):
    """Return a folder with files, links of each kind and a FIFO, and a secret beside it."""
    (tmp_path / "secret").write_text("secret")
    bundle = tmp_path / "bundle"
    (bundle / "a" / "b").mkdir(parents=True)
    (bundle / "a" / "b" / "model").write_bytes(b"model")
    os.symlink("b/model", bundle / "a" / "inside")
    os.symlink("a", bundle / "folder")
    os.symlink("../secret", bundle / "out")
    os.symlink(str(tmp_path / "secret"), bundle / "absolute")
    os.symlink("loop", bundle / "loop")
    os.symlink("nothing", bundle / "dangling")
    os.symlink("folder/../../secret", bundle / "round")
    os.mkfifo(bundle / "fifo")
    return bundle


def test_entries_are_the_whole_tree_sorted_with_links_as_links(root):
    """Everything is listed once, in order, and no link is followed."""
    entries = Files(str(root)).entries()
    assert [each.path for each in entries] == sorted(each.path for each in entries)
    kinds = {each.path: each.kind for each in entries}
    assert kinds == {
        "a": "dir",
        "a/b": "dir",
        "a/b/model": "file",
        "a/inside": "link",
        "absolute": "link",
        "dangling": "link",
        "fifo": "other",
        "folder": "link",
        "loop": "link",
        "out": "link",
        "round": "link",
    }
    assert next(each for each in entries if each.path == "a/b/model").size == 5


@pytest.mark.parametrize("path", ["a/b/model", "a/inside", "folder/inside", "folder/b/model", "./a//b/../b/model"])
def test_links_that_stay_inside_are_followed(root, path):
    """A link to a file inside, also through a folder that is a link, is that file."""
    files = Files(str(root))
    assert files.entry(path) == Entry("a/b/model", "file", 5)
    assert files.read(path) == b"model"
    assert files.read(path, 2) == b"mo"


@pytest.mark.parametrize("path", ["out", "absolute", "round", "../secret", "a/../../secret", "/etc/hostname"])
def test_what_leads_out_is_never_opened(root, path):
    """Links and paths out of the bundle raise Leaves, however they lead there."""
    with pytest.raises(Leaves):
        Files(str(root)).open(path)


def test_entry_tells_a_link_that_leaves_from_what_is_absent(root):
    """A link that leaves is itself, a link to nothing and a path that leaves are nothing."""
    files = Files(str(root))
    assert files.entry("out") == Entry("out", "link", 0, "../secret")
    assert files.entry("folder/../out") is None
    assert files.entry("loop") == Entry("loop", "link", 0, "loop")
    assert files.entry("dangling") is None
    assert files.entry("../secret") is None
    assert files.entry("a/b/model/more") is None
    assert files.entry("") == Entry("", "dir", 0)


@pytest.mark.parametrize("path", ["fifo", "loop", "a", "nothing", "x\0y", "\ud800", "n" * 300, "/".join("d" * 2000)])
def test_what_is_no_regular_file_is_an_error_at_once(root, path):
    """A FIFO is not waited for, and no name makes anything but an OSError."""
    began = time.monotonic()
    with pytest.raises(OSError, match=r"."):
        Files(str(root)).open(path)
    assert Files(str(root)).has(path) is False
    assert time.monotonic() - began < 1


def test_no_descriptor_is_left_open(root):
    """Whatever is asked, the process has as many open files afterwards as before."""
    before = len(os.listdir("/proc/self/fd"))
    files = Files(str(root))
    for path in ("a/b/model", "out", "loop", "fifo", "nothing", "../secret", "a", "folder/inside", "a/b/model/x"):
        files.entry(path)
        files.children(path)
        try:
            files.read(path)
        except (Leaves, OSError):
            continue
    files.entries()
    assert len(os.listdir("/proc/self/fd")) == before


def test_one_file_is_a_bundle_and_those_beside_it_can_be_opened(root):
    """Only the file is listed; its external data beside it can be opened; the file itself may be a link to anywhere."""
    files = Files(str(root), only=("out",))
    assert files.entries() == files.children("") == (Entry("out", "file", 6),)
    assert files.read("out") == b"secret"
    assert files.read("a/b/model") == b"model"
    with pytest.raises(Leaves):
        files.open("absolute")


def test_folders_from_elsewhere_are_seen_in_their_place(root, tmp_path):
    """A model of the store is seen below models/, and cannot be left from there either."""
    store = tmp_path / "store"
    store.mkdir()
    (store / "saved_model.onnx").write_bytes(b"onnx")
    os.symlink("../secret", store / "out")
    files = Files(str(root), beside=(("models/mlp/1", str(store)),))
    assert files.read("models/mlp/1/saved_model.onnx") == b"onnx"
    assert files.entry("models/mlp/1") == Entry("models/mlp/1", "dir", 0)
    assert "models/mlp/1/saved_model.onnx" in [each.path for each in files.entries()]
    assert [each.path for each in files.children("models/mlp/1")] == ["models/mlp/1/out", "models/mlp/1/saved_model.onnx"]
    with pytest.raises(Leaves):
        files.open("models/mlp/1/out")


def test_too_many_files_are_cut_and_told(root, monkeypatch):
    """A tree beyond the limit is listed up to it, and says that it is not whole."""
    monkeypatch.setattr(door, "MOST_ENTRIES", 3)
    files = Files(str(root))
    assert len(files.entries()) == 3
    assert files.whole is False


def test_folders_too_deep_end_and_are_told(tmp_path):
    """Folders nested without end are followed up to a level, not to a crash."""
    where = os.open(tmp_path, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d", dir_fd=where)
        inner = os.open("d", os.O_RDONLY, dir_fd=where)
        os.close(where)
        where = inner
    os.close(where)
    files = Files(str(tmp_path))
    assert len(files.entries()) == door.MOST_LEVELS
    assert files.whole is False
