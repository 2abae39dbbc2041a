"""Tests of the reader of pickles: it sees what the real machine would do, follows what can be followed, and stays small and quick."""

from __future__ import annotations

import collections
import datetime as dt
import functools
import io
import os
import pickle
import pickletools
import random
import struct
import subprocess
import sys
import time

import pytest

from gpudoctor.bundle import pickles
from tests.amount import FULL


def walked(data: bytes) -> pickles.Pickle:
    """Walk bytes."""
    return pickles.walk(io.BytesIO(data))


def names(found: pickles.Pickle, how: str = "") -> set[str]:
    """Return the names that a pickle uses, of one kind of use."""
    return {str(use) for use in found.uses if not how or use.how == how}


class Calls:
    """Pickled as a call of something."""

    def __init__(self, *call: object) -> None:
        """Take what to call, and with what."""
        self.call = call

    def __reduce__(self):
        """Return it."""
        return self.call[0], tuple(self.call[1:])


class Plain:
    """Has a state, as models have."""

    def __init__(self) -> None:
        """Set it."""
        self.weights = list(range(300))
        self.name = "model"


VALUES = [
    [1, -1, 1.5, None, True, "text", b"bytes", 10**30, -(10**400), "x" * 5000, b"y" * 5000],
    {"a": {"b": {"c": [1, 2, 3]}}, (1, 2): frozenset({1}), "set": {1, 2}},
    collections.OrderedDict(a=1),
    [dt.datetime(2020, 1, 1), dt.timezone.utc, functools.partial(max, 1), range(5), complex(1, 2)],  # noqa: DTZ001
    [Plain(), Plain()],
    [os.path.join, len, Plain, dict.fromkeys],
    [f"word {number}" for number in range(3000)],
    bytearray(b"z" * 300),
]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_what_is_imported_is_what_python_imports(value, protocol):
    """The names found are those that pickle asks for when it really loads the bytes, and the end is where it stops."""
    asked = set()

    class Watching(pickle._Unpickler):
        def find_class(self, module: str, name: str):
            found = super().find_class(module, name)
            if self.proto < 3:
                module, name = pickles._of_python_2(module, name)
            asked.add(f"{module}.{name}")
            return found

    data = pickle.dumps(value, protocol)
    Watching(io.BytesIO(data)).load()
    found = walked(data)
    assert found.state == "whole", found.problem
    assert not found.odd
    assert found.end == len(data)
    # A method of a class is taken of it by getattr, which is no import.
    derived = {"builtins.dict.fromkeys"}
    assert asked <= names(found)
    assert names(found) - asked <= derived


@pytest.mark.parametrize("protocol", range(6))
def test_a_call_is_seen_with_its_place(protocol):
    """What is called is told from what is only imported, and its byte is that of the instruction."""
    data = pickle.dumps([Calls(os.system, "id"), os.getcwd], protocol)
    found = walked(data)
    called = [use for use in found.uses if use.how == "called"]
    assert [str(use) for use in called if use.module != "copyreg"] == ["posix.system"]
    assert chr(data[called[-1].at]) == "R"
    assert "posix.getcwd" in names(found, "named") - names(found, "called")


def test_names_from_the_memo_are_followed():
    """STACK_GLOBAL with both texts out of the memo is the name that they make."""
    data = b"\x80\x04\x8c\x02os\x94\x8c\x06system\x940h\x00h\x01\x93\x8c\x02id\x85R."
    assert names(walked(data), "called") == {"os.system"}


def test_a_put_overwrites_and_memoize_counts_as_python_does():
    """The number that MEMOIZE gives is that of things put so far, whatever numbers PUT used."""
    data = b"\x80\x04\x8c\x03eva\x94\x8c\x06system\x94\x8c\x02osq\x00\x94h\x02h\x01\x93\x8c\x02id\x85R."
    asked = []

    class Watching(pickle.Unpickler):
        def find_class(self, module: str, name: str):
            asked.append(f"{module}.{name}")
            return len

    Watching(io.BytesIO(data)).load()
    assert asked == ["os.system"]
    assert names(walked(data), "called") == {"os.system"}


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"cos\nsystem\n(S'id'\ntR.", "os.system"),
        (b"(S'id'\nios\nsystem\n.", "os.system"),
        (b"(cos\nsystem\nS'id'\no.", "os.system"),
        (b"c__builtin__\neval\n(S'1'\ntR.", "builtins.eval"),
        (b"ccommands\ngetoutput\n(S'id'\ntR.", "subprocess.getoutput"),
        (b"V__builtin__\np0\n0cbuiltins\ngetattr\n(cos\npath\nVjoin\ntR(tR.", "os.path.join"),
        (b"\x80\x02cbuiltins\ngetattr\ncimportlib\nimport_module\nX\x02\x00\x00\x00os\x85RX\x06\x00\x00\x00system\x86RX\x02\x00\x00\x00id\x85R.", "os.system"),
        (b"\x80\x04\x8c\x05torch\x8c\x09os.system\x93\x8c\x02id\x85R.", "torch.os.system"),
        (b"ccopyreg\n_reconstructor\n(csubprocess\nPopen\ncbuiltins\nobject\nNtR.", "subprocess.Popen"),
        (b"\x80\x02csubprocess\nPopen\n)\x81.", "subprocess.Popen"),
        (b"\x80\x04\x8c\nsubprocess\x8c\x05Popen\x93)}\x92.", "subprocess.Popen"),
    ],
)  # fmt: skip
def test_each_way_to_a_name_is_followed(data, name):
    """Calls by REDUCE, INST, OBJ, NEWOBJ and copyreg, and names by getattr, import_module and Python 2's modules, are told."""
    assert name in names(walked(data), "called") | names(walked(data), "made")


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x04\x8c\x08builtins\x8c\x03str\x93\x8c\x02os\x85R\x8c\x06system\x93.",
        b"cbuiltins\ngetattr\n(cbuiltins\nobject\ncbuiltins\nstr\n)RtR.",
        b"cfunctools\npartial\n(cos\nsystem\nS'id'\ntR)R.",
        b"\x82\x01.",
        b"ccollections\nOrderedDict\n(dS'x'\nS'y'\nsb.",
        b"csys\nmodules\nS'os'\nNs.",
        b"cbuiltins\ngetattr\n(NS'__globals__'\ntR.",
        b"cimportlib\nimport_module\n(cbuiltins\nstr\n)RtR.",
        b"N)R.",
        b"N)\x81.",
        b"cpickle\nloads\n(NtR.",
    ],
)
def test_what_cannot_be_followed_is_said(data):
    """A name put together while loading, a call of a result, a registry's number, and writing into what was imported are reported."""
    assert walked(data).odd


def test_a_pickle_in_a_pickle_is_walked():
    """Bytes that pickle.loads is given are walked, in each protocol, and bytes that nobody loads here are told apart."""
    inner = pickle.dumps(Calls(os.system, "id"), 2)
    for protocol in range(6):
        found = walked(pickle.dumps(Calls(pickle.loads, inner), protocol))
        assert "posix.system" in {str(use) for use in found.uses if use.how == "called" and use.loaded}, protocol
    lying = walked(pickle.dumps({"data": inner}, 4))
    assert [use.loaded for use in lying.uses] == [False, False]
    twice = walked(pickle.dumps(Calls(pickle.loads, pickle.dumps(Calls(pickle.loads, inner), 3)), 5))
    assert "posix.system" in names(twice, "called")
    text = walked(pickle.dumps(Calls(pickle.loads, pickle.dumps(Calls(os.system, "id" * 500), 0)), 0))
    assert "posix.system" in names(text, "called")


def test_pickles_behind_each_other_are_all_walked():
    """A second pickle in the file counts, and what is no pickle behind the first does not."""
    first = pickle.dumps([1], 4)
    found = walked(first + pickle.dumps(Calls(os.system, "id"), 4))
    assert (found.pickles, found.state) == (2, "whole")
    assert "posix.system" in names(found, "called")
    assert (walked(first + bytes(1000)).pickles, walked(first + bytes(1000)).state) == (1, "whole")


@pytest.mark.parametrize("protocol", range(6))
def test_each_cut_is_seen(protocol):
    """A pickle that ends anywhere before its end is truncated, and what ran before the cut is found."""
    data = pickle.dumps([Calls(os.system, "id"), VALUES, b"x" * 100_000], protocol)
    for end in range(1, len(data), max(len(data) // (200 if FULL else 60), 1)):
        assert walked(data[:end]).state in {"truncated", "damaged"}, end
    assert "posix.system" in names(walked(data[:-1]), "called")
    assert walked(b"").state == "truncated"


def test_an_unknown_instruction_and_an_empty_stack_are_damage():
    """What the real machine would stop at is told with its byte, and the walk goes on where it can."""
    assert "0xff" in walked(b"\x80\x04\xff.").problem
    found = walked(b"0cos\nsystem\n(S'id'\ntR.")
    assert found.state == "damaged"
    assert "posix.system" in names(found) or "os.system" in names(found, "called")
    assert walked(b"h\x07.").state == "damaged"
    assert walked(b"\x80\x63.").state == "damaged"


def test_flipped_bytes_never_break_the_reader():
    """Whatever bytes are changed, the walk ends with an answer of its own."""
    data = pickle.dumps([Calls(os.system, "id"), VALUES], 4) + pickle.dumps(VALUES, 0)
    chance = random.Random(7)
    for _ in range(400 if FULL else 80):
        changed = bytearray(data)
        for _ in range(chance.randint(1, 8)):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        assert walked(bytes(changed)).state in {"whole", "truncated", "damaged", "unread"}


HOSTILE = {
    "marks": b"(" * 3_000_000,
    "nothings": b"N" * 3_000_000,
    "tuples": b")" + b"\x85" * 500_000,
    "doubling": b")" + b"2\x86" * 300_000,
    "wide": (b"(" + b"\x8c\xc8" + b"k" * 200 + b"2" * 500 + b"t") * 2_000,
    "kept": b"".join(b"\x8c\xc8%0200d\x85\x94" % number for number in range(100_000)),
    "memo": b"\x80\x04\x8c\xc8" + b"k" * 200 + b"\x94" * 500_000,
    "far": b"Nr\xff\xff\xff\x7f.",
    "long put": b"Np99999999999999999999\n.",
    "line": b"c" + b"a" * 5_000_000,
    "globals": b"".join(b"cm%d\nn\n" % number for number in range(100_000)),
    "calls": b"cm\nn\n" + b")R" * 300_000,
    "inner": b"\x80\x04" + b"B\x05\x00\x00\x00\x80\x02N.." * 100_000 + b".",
    "frame": b"\x80\x04\x95" + b"\xff" * 8 + b"N.",
    "count": b"\x80\x04\x8e" + b"\xff" * 8,
}
_MEASURE = """
import sys, time
from gpudoctor.bundle import pickles
for path in sys.argv[1:]:
    began = time.process_time()
    with open(path, "rb") as stream:
        found = pickles.walk(stream)
    with open("/proc/self/status") as status:  # What getrusage says begins with the parent's.
        peak = next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmHWM"))
    print(found.state, time.process_time() - began, peak, len(found.odd))
"""


def measured(*paths: object) -> list[list[str]]:
    """Walk files in a process of its own: the state of each, the seconds, the process's largest memory in MiB, and how much is odd."""
    ran = subprocess.run([sys.executable, "-c", _MEASURE, *map(str, paths)], capture_output=True, text=True, check=True)
    return [line.split() for line in ran.stdout.splitlines()]


def test_bombs_cost_neither_memory_nor_time(tmp_path):
    """Deep marks, endless texts, doubling tuples and full memos: nothing takes more than 80 MiB or some seconds, and none is whole."""
    for name, data in HOSTILE.items():
        (tmp_path / name).write_bytes(data)
    for name, (state, seconds, memory, _) in zip(HOSTILE, measured(*(tmp_path / name for name in HOSTILE)), strict=True):
        assert state != "whole", name
        assert float(seconds) < 10, name
        assert int(memory) < 80, name


def test_distinct_texts_that_are_all_kept_stay_small(tmp_path):
    """Half a million different words in the memo cost a bounded memory, and a class that comes after them is still told."""
    words = [f"word number {number}" for number in range(500_000)]
    data = pickle.dumps([words, Plain(), dt.date(2020, 1, 1), dt.timedelta(1), Calls(os.system, "id")], 4)
    (tmp_path / "words").write_bytes(data)
    ((state, _, memory, odd),) = measured(tmp_path / "words")
    assert (state, odd) == ("whole", "0")
    assert int(memory) < 80
    assert {"posix.system", "datetime.date", "datetime.timedelta"} <= names(walked(data), "called")


def test_five_gigabytes_of_bytes_are_passed_over(tmp_path):
    """A byte string of five gigabytes is neither read nor held: what stands behind it is found at once."""
    path = tmp_path / "model.pkl"
    size = 5 * 1024**3
    with path.open("wb") as file:
        file.write(b"\x80\x05\x8e" + struct.pack("<Q", size))
        file.seek(size, os.SEEK_CUR)
        file.write(b"0cos\nsystem\nX\x02\x00\x00\x00id\x85R.")
    began = time.monotonic()
    with path.open("rb") as file:
        found = pickles.walk(file)
    assert time.monotonic() - began < 2
    assert found.state == "whole"
    assert names(found, "called") == {"os.system"}


def test_devices_of_tensors_and_of_texts():
    """Where a tensor was saved is told from a text that names a device; a tensor's place in the CPU is told too."""
    pid = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x06\x00\x00\x00cuda:3K\x04tQ"
    found = walked(b"\x80\x02]" + pid + b"aX\x06\x00\x00\x00cuda:1a.")
    assert {(each.name, each.how) for each in found.devices if each.how == "tensor"} == {("cuda:3", "tensor")}
    assert ("cuda:1", "text") in {(each.name, each.how) for each in found.devices}
    assert found.storages == (("0", 16),)


def test_files_of_torch_before_1_6_are_measured():
    """Five pickles, then the tensors: a file that lacks the end of them is truncated although each pickle is whole."""

    def text(word: bytes) -> bytes:
        return b"X" + struct.pack("<I", len(word)) + word

    tensor = b"(" + text(b"storage") + b"ctorch\nFloatStorage\n" + text(b"7") + text(b"cuda:0") + b"K\x04NtQ."
    data = (
        b"\x80\x02"
        + pickles.TORCH_MAGIC
        + b"\x80\x02M\xe9\x03."
        + b"\x80\x02}."
        + b"\x80\x02"
        + tensor
        + b"\x80\x02]"
        + text(b"7")
        + b"a."
    )
    whole = data + struct.pack("<q", 4) + bytes(16)
    assert walked(whole).state == "whole"
    assert walked(whole).legacy
    cut = walked(whole[:-1])
    assert cut.state == "truncated"
    assert "tensors go on" in cut.problem
    inside = walked(
        b"\x80\x04\x8c\rtorch.storage\x8c\x10_load_from_bytes\x93B" + struct.pack("<I", len(whole)) + whole + b"\x85R."
    )
    assert ("cuda:0", "tensor") in {(each.name, each.how) for each in inside.devices}
    assert inside.state == "whole"


def joblib_array(dtype: bytes, shape: int, raw: bytes) -> bytes:
    """Return a pickle as joblib writes it: the description of an array, and the array behind it."""

    def text(word: bytes) -> bytes:
        return b"\x8c" + bytes([len(word)]) + word

    state = (
        b"}("
        + text(b"shape")
        + b"K"
        + bytes([shape])
        + b"\x85"
        + text(b"dtype")
        + text(b"numpy")
        + text(b"dtype")
        + b"\x93"
        + text(dtype)
    )
    state += b"\x89\x88\x87R" + text(b"numpy_array_alignment_bytes") + b"K\x10u"
    return b"\x80\x04" + text(b"joblib.numpy_pickle") + text(b"NumpyArrayWrapper") + b"\x93)\x81" + state + b"b" + raw


def test_raw_arrays_of_joblib_are_passed_over():
    """Of joblib, arrays stand between the instructions: they are skipped, cut ones seen, and what hides in them for pickle.load is found."""
    data = joblib_array(b"f8", 3, b"\x02\xff\xff" + b"\xff" * 24) + b"."
    assert walked(data).state == "whole"
    assert walked(data[:-10]).state == "truncated"
    hidden = b"0cos\nsystem\n(S'id'\ntR.".ljust(32, b"x")
    found = walked(joblib_array(b"i1", len(hidden) - 1, hidden) + b".")
    assert "os.system" in names(found, "called")


def test_functions_that_are_carried_show_what_they_use():
    """The names in the byte code that cloudpickle carries are read, as are the modules it imports for it."""

    def text(word: bytes) -> bytes:
        return b"\x8c" + bytes([len(word)]) + word

    cloud = text(b"cloudpickle.cloudpickle")
    code = cloud + text(b"_builtin_type") + b"\x93" + text(b"CodeType") + b"\x85R"
    code += b"(K\x01K\x00K\x00K\x01K\x03KCC\x04abcd" + b"N\x85" + text(b"subprocess") + text(b"check_output") + b"\x86"
    code += text(b"x") + b"\x85" + text(b"/home/me/train.py") + text(b"predict") + b"K\x01C\x00))tR"
    function = b"\x80\x04" + cloud + text(b"_make_function") + b"\x93(" + code + b"}NNNtR."
    found = walked(function)
    assert not found.odd
    assert [(each.name, each.names) for each in found.codes] == [("predict", ("subprocess", "check_output", "x"))]
    assert walked(function[:-1] + b")R.").odd


def test_the_copy_of_cloudpickle_in_bentoml_carries_classes_too():
    """A class that BentoML 0.13's own copy of cloudpickle carries is made and filled as cloudpickle's: nothing odd about its instance."""

    def text(word: bytes) -> bytes:
        return b"\x8c" + bytes([len(word)]) + word

    def named(name: bytes, module: bytes = b"bentoml.utils.cloudpickle") -> bytes:
        return text(module) + text(name) + b"\x93"

    skeleton = named(b"_make_skeleton_class") + b"(" + named(b"type", b"builtins") + text(b"Net") + b")}NNtR"
    code = named(b"_builtin_type") + text(b"CodeType") + b"\x85R"
    code += b"(K\x01K\x00K\x00K\x01K\x03KCC\x04abcd" + b"N\x85))" + text(b"x.py") + text(b"forward") + b"K\x01C\x00))tR"
    function = named(b"_fill_function") + b"(" + named(b"_make_skel_func") + code + b"K\x00}\x87R}tR"
    whole = b"\x80\x04" + named(b"_rehydrate_skeleton_class") + skeleton + b"}" + text(b"forward") + function + b"s\x86R)\x81."
    found = walked(whole)
    assert (found.state, found.odd) == ("whole", ())
    assert [each.name for each in found.codes] == ["forward"]
    other = whole.replace(b"\x19bentoml.utils.cloudpickle", b"\x19bentoml.utils.cloudpickl_")
    assert walked(other).odd


def test_every_instruction_of_python_is_known():
    """No instruction that this Python's pickletools knows is unknown here."""
    for each in pickletools.opcodes:
        code = each.code.encode("latin-1")[0]
        simple = pickles._PLAIN[code] != 255 or code in {0x94, 0x71, 0x4B, 0x28}
        assert simple or pickles._OTHERS[code] is not None, each.name
