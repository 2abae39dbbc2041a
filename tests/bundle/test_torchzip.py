"""Tests of the reader of torch's archives, and of those of HDF5, SavedModel and safetensors files."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import struct
import subprocess
import sys
import time
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest

from gpudoctor.bundle import h5, safetensors, savedmodel_pb, torchzip, zips
from tests.amount import need_real

TORCH = Path(__file__).parents[2] / ".cache/frameworks/torch/bin/python"
_MAKE = """
import sys, torch
folder = sys.argv[1]
model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.ReLU())
torch.save(model.state_dict(), folder + "/weights.pt")
torch.save(model, folder + "/module.pt")
torch.save(model.state_dict(), folder + "/legacy.pt", _use_new_zipfile_serialization=False)
torch.jit.script(model).save(folder + "/script.pt")
class OnCuda(torch.nn.Module):
    def forward(self, x):
        return x.to("cuda:1") + 1
torch.jit.script(OnCuda()).save(folder + "/cuda.pt")
torch.export.save(torch.export.export(model, (torch.rand(2, 3),)), folder + "/model.pt2")
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Files that the real torch wrote."""
    need_real("the real torch")
    if not TORCH.exists():
        pytest.skip("needs .cache/frameworks/torch")
    folder = tmp_path_factory.mktemp("torch")
    program = tmp_path_factory.mktemp("program") / "make.py"  # TorchScript reads the source of what it compiles.
    program.write_text(_MAKE)
    subprocess.run([str(TORCH), str(program), str(folder)], check=True, capture_output=True)
    return folder


def archive(members: dict[str, bytes], packing: int = zipfile.ZIP_STORED) -> bytes:
    """Return a zip."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", packing) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return out.getvalue()


def read(data: bytes) -> torchzip.Zip:
    """Read bytes."""
    return torchzip.read(io.BytesIO(data))


class Calls:
    """Pickled as a call of os.system."""

    def __reduce__(self):
        """Return the call."""
        return os.system, ("id",)


def test_what_the_real_torch_writes(made):
    """Each of torch's formats is told, whole, with its pickles; a device in TorchScript's code with its line."""
    kinds = {path.name: torchzip.read(path.open("rb")) for path in made.iterdir() if path.name != "legacy.pt"}
    assert {name: each.kind for name, each in kinds.items()} == {
        "weights.pt": "torch-save",
        "module.pt": "torch-save",
        "script.pt": "torchscript",
        "cuda.pt": "torchscript",
        "model.pt2": "torch-export",
    }
    assert all(each.state == "whole" for each in kinds.values()), kinds
    assert all(inside.pickle.state == "whole" for each in kinds.values() for inside in each.pickles)
    assert [(each.device, each.line > 1) for each in kinds["cuda.pt"].written] == [("cuda:1", True)]
    assert not kinds["script.pt"].written
    names = {str(use) for each in kinds["module.pt"].pickles for use in each.pickle.uses}
    assert "torch.nn.modules.linear.Linear" in names
    assert [each.member for each in kinds["model.pt2"].pickles] == ["model/data/sample_inputs/model.pt: archive/data.pkl"]
    assert {device.name for each in kinds["weights.pt"].pickles for device in each.pickle.devices} == {"cpu"}


@pytest.mark.parametrize("name", ["weights.pt", "script.pt", "model.pt2"])
def test_a_cut_archive_is_truncated(made, name):
    """An archive that ends early has no directory."""
    data = (made / name).read_bytes()
    for part in range(1, 50):
        found = read(data[: len(data) * part // 50])
        assert found.state in {"truncated", "damaged"}
        assert found.problem


def test_tensors_that_are_missing_are_seen(made):
    """An archive whose pickle names a tensor that is not in it, or is too short, is damaged."""
    with zipfile.ZipFile(made / "weights.pt") as file:
        members = {each.filename: file.read(each) for each in file.infolist()}
    assert read(archive(members)).state == "whole"
    short = dict(members, **{"weights/data/0": members["weights/data/0"][:-1]})
    assert "needs" in read(archive(short)).problem
    gone = {name: data for name, data in members.items() if name != "weights/data/1"}
    assert "missing" in read(archive(gone)).problem


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_pickles_are_walked_wherever_they_are(packing):
    """Packed members, members of other names, a second one of the same name, and archives in the archive are all walked."""
    bad, good = pickle.dumps(Calls(), 2), pickle.dumps(OrderedDict(), 2)
    inner = archive({"m/data.pkl": bad}, packing)
    found = read(archive({"a/data.pkl": good, "a/extra/other.pkl": bad, "a/nested.pt": inner}, packing))
    calls = [each.member for each in found.pickles if any(use.name == "system" for use in each.pickle.uses)]
    assert calls == ["a/extra/other.pkl", "a/nested.pt: m/data.pkl"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_both_of_two_members_of_one_name_are_walked():
    """Which of the two a reader takes depends on the reader."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("a/data.pkl", pickle.dumps(Calls(), 2))
        file.writestr("a/data.pkl", pickle.dumps(OrderedDict(), 2))
    assert any(use.name == "system" for each in read(out.getvalue()).pickles for use in each.pickle.uses)


def test_an_archive_behind_other_bytes():
    """What stands before an archive moves it, and is no reason not to read it."""
    found = read(b"#!/bin/sh\n" + archive({"a/data.pkl": pickle.dumps(Calls(), 2)}))
    assert found.state == "whole"
    assert any(use.name == "system" for use in found.pickles[0].pickle.uses)


def test_flipped_bytes_never_break_the_reader():
    """Whatever bytes are changed, there is an answer."""
    data = archive(
        {"a/data.pkl": pickle.dumps(Calls(), 2), "a/code/x.py": b'"cuda:0"', "a/constants.pkl": b"N."}, zipfile.ZIP_DEFLATED
    )
    chance = random.Random(5)
    for _ in range(1500):
        changed = bytearray(data)
        for _ in range(chance.randint(1, 6)):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        assert read(bytes(changed)).state in {"whole", "truncated", "damaged", "unread"}


def test_a_bomb_is_not_unpacked():
    """A pickle that unpacks to a gigabyte is not examined, and the archive says so."""
    found = read(archive({"a/data.pkl": bytes(200 * 1024 * 1024)}, zipfile.ZIP_DEFLATED))
    assert found.state == "unread"
    assert not found.pickles


def test_archives_of_five_gigabytes(tmp_path):
    """A sparse archive of more than four gigabytes (zip64) is read at once."""
    path = tmp_path / "big.pt"
    size = 5 * 1024**3
    data = pickle.dumps(OrderedDict(), 2)

    def local(name: bytes, length: int) -> bytes:
        return (
            struct.pack(
                "<4s5H3I2H", b"PK\x03\x04", 45, 0, 0, 0, 0, 0, min(length, 0xFFFFFFFF), min(length, 0xFFFFFFFF), len(name), 0
            )
            + name
        )

    def entry(name: bytes, length: int, at: int) -> bytes:
        extra = struct.pack("<HHQQQ", 1, 24, length, length, at)
        head = struct.pack(
            "<4s6H3I5H2I", b"PK\x01\x02", 45, 45, 0, 0, 0, 0, 0, *[0xFFFFFFFF] * 2, len(name), len(extra), 0, 0, 0, 0, 0xFFFFFFFF
        )
        return head + name + extra

    with path.open("wb") as file:
        file.write(local(b"m/data/0", size))
        file.seek(size, os.SEEK_CUR)
        second = file.tell()
        file.write(local(b"m/data.pkl", len(data)) + data)
        start = file.tell()
        directory = entry(b"m/data/0", size, 0) + entry(b"m/data.pkl", len(data), second)
        end = start + len(directory)
        file.write(directory)
        file.write(struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 2, 2, len(directory), start))
        file.write(struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1))
        file.write(struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 2, 2, len(directory), 0xFFFFFFFF, 0))
    began = time.monotonic()
    with path.open("rb") as file:
        found = torchzip.read(file)
    assert time.monotonic() - began < 1
    assert (found.state, found.kind, found.members) == ("whole", "torch-save", 2)
    assert found.pickles[0].pickle.state == "whole"
    assert zipfile.ZipFile(path).namelist() == ["m/data/0", "m/data.pkl"]


def hdf5(version: int, end: int, start: int = 0) -> bytes:
    """Return a superblock that says where the file ends."""
    if version < 2:
        head = h5.SIGNATURE + bytes([version, 0, 0, 0, 0, 8, 8, 0]) + bytes(8 if version == 0 else 12)
        head += struct.pack("<4Q", 0, 2**64 - 1, end, 2**64 - 1)
    else:
        head = h5.SIGNATURE + bytes([version, 8, 8, 0]) + struct.pack("<4Q", 0, 2**64 - 1, end, 48)
    return bytes(start) + head


@pytest.mark.parametrize("version", [0, 1, 2, 3])
@pytest.mark.parametrize("start", [0, 512, 1024])
def test_where_an_hdf5_file_ends(version, start):
    """The superblock's end is held against the size, whichever version it is of and wherever it stands."""
    data = hdf5(version, 4000, start).ljust(4000 + start, b"x")
    assert h5.read(io.BytesIO(data), len(data)) == ("whole", "")
    assert h5.read(io.BytesIO(data[:-1]), len(data) - 1).state == "truncated"
    assert h5.read(io.BytesIO(data[: start + 20]), start + 20).state == "truncated"
    assert h5.read(io.BytesIO(b"no such file"), 12).state == "damaged"


def test_broken_superblocks_have_an_answer():
    """Whatever the superblock's bytes are, nothing breaks."""
    chance = random.Random(2)
    for _ in range(2000):
        data = bytearray(hdf5(chance.randrange(4), 300).ljust(300, b"x"))
        for _ in range(4):
            data[chance.randrange(8, 64)] = chance.randrange(256)
        assert h5.read(io.BytesIO(bytes(data)), 300).state in {"whole", "truncated", "damaged"}


def tensors(header: object, size: int) -> bytes:
    """Return a safetensors file."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(size)


def test_where_a_safetensors_file_ends():
    """The tensors' last offset is held against the size; a header that is none is damage."""
    header = {"__metadata__": {"format": "pt"}, "w": {"dtype": "F16", "shape": [4], "data_offsets": [0, 8]}}
    data = tensors(header, 8)
    whole = safetensors.read(io.BytesIO(data), len(data))
    assert (whole.state, whole.tensors, whole.types) == ("whole", 1, ("F16",))
    for end in range(len(data)):
        assert safetensors.read(io.BytesIO(data[:end]), end).state == "truncated"
    for header in ([1], {"w": {"data_offsets": [0, "8"]}}, {"w": 1}, {"w": {"data_offsets": [-1, 2]}}):
        data = tensors(header, 8)
        assert safetensors.read(io.BytesIO(data), len(data)).state == "damaged"
    page = b"<!DOCTYPE html>" + bytes(100)
    assert safetensors.read(io.BytesIO(page), len(page)).state == "damaged"
    deep = struct.pack("<Q", 200_000) + b"[" * 200_000
    assert safetensors.read(io.BytesIO(deep), len(deep)).state == "damaged"


def part(key: int, value: int | bytes) -> bytes:
    """Return one field of a message, whose lengths stay below 128."""
    return bytes([key << 3, value]) if isinstance(value, int) else bytes([key << 3 | 2, len(value)]) + value


def test_what_a_savedmodel_takes():
    """Signatures, their inputs and the version that wrote them are read; each cut is seen."""
    shape = part(3, part(2, bytes([1 << 3]) + b"\xff" * 9 + b"\x01") + part(2, part(1, 8)))
    given = part(1, part(1, b"x") + part(2, part(1, b"serving_x:0") + part(2, 1) + shape))
    signature = part(5, part(1, b"serving_default") + part(2, given))
    data = part(1, 1) + part(2, part(1, part(4, b"serve") + part(5, b"2.8.4")) + signature)
    found = savedmodel_pb.read(io.BytesIO(data), len(data))
    assert (found.state, found.tensorflow, found.tags) == ("whole", "2.8.4", ("serve",))
    assert [(each.name, each.inputs) for each in found.signatures] == [("serving_default", (("x", "float32", (None, 8)),))]
    for end in range(len(data)):
        assert savedmodel_pb.read(io.BytesIO(data[:end]), end).state in {"truncated", "damaged"}


def test_nothing_of_an_archive_is_imported(made):
    """Reading what torch wrote imports neither torch nor zipfile nor pickle."""
    code = "import sys; from gpudoctor.bundle import torchzip; torchzip.read(open(sys.argv[1], 'rb')); print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code, str(made / "module.pt")], capture_output=True, text=True, check=True)
    assert not {"torch", "zipfile", "pickle", "numpy"} & set(ran.stdout.split())


def test_more_members_than_are_read_are_said(monkeypatch):
    """A directory that is too long to be read is no empty archive."""
    data = archive({"a": b"1", "b": b"2"})
    monkeypatch.setattr(torchzip, "_MOST_MEMBERS", 1)
    assert read(data).state == "unread"
    assert len(zips.members(io.BytesIO(data), len(data)) or ()) == 2
    monkeypatch.setattr(zips, "MOST", 1)
    assert zips.members(io.BytesIO(data), len(data)) is None
