"""A pickle, read without being loaded: which names it imports, what it calls with them, and on which device its tensors were.

Loading a pickle runs it: it is a program for a small stack machine whose instructions import names and call them. This module walks
the instructions with a stack of its own that knows texts, names and tuples and takes everything else for "something". Nothing is
imported or called.

What a newcomer must know:

- The real machine stops at its first error, and what ran until then has run. So a walk does not end at an instruction that cannot
  be carried out: it notes it (``state``) and goes on as far as there are instructions that can be read.
- What cannot be followed is reported (``odd``), never passed over: a name that is put together while loading, a call of something
  that another call gave.
- Byte strings are passed over by seeking: tensors in a plain pickle are byte strings that hold another file of torch.save, which is a
  pickle too. Such inner pickles are walked as well, wherever they stand.
- One file may hold several pickles: torch.save's files of before 1.6 have five, and raw tensors behind them. joblib writes raw
  arrays between the instructions.

Sources: pickletools of CPython (the instructions), Modules/_pickle.c (what is an error), torch/serialization.py (both file formats),
joblib/numpy_pickle.py (where raw arrays stand), cloudpickle/cloudpickle.py (how functions and classes are carried by value).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from gpudoctor.bundle.window import Short, Window
from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    import re
    from collections.abc import Callable
    from typing import BinaryIO

TORCH_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""The first pickle of a file of torch.save before 1.6, behind its two bytes of protocol."""

_LONGEST_NAME = 400
"""Texts beyond it are data. Python allows longer names; that one is used as one is reported as a name that cannot be told."""
_MOST_READ = 128 * 1024 * 1024
"""Bytes of instructions that are read, all pickles of a file together; byte strings are passed over and do not count."""
_MOST_STACK = 2_000_000
_MOST_MARKS = 200_000
_MOST_MEMO = 1 << 27
_MOST_HELD = 12 * 1024 * 1024
"""Bytes of texts and tuples that are kept on the stack, and as much again in the memo; what is older is then lost."""
_MOST_CODE = 1024 * 1024
_MOST_FOUND = 5_000
_MOST_PICKLES = 1_000
_MOST_NESTED = 8
_MOST_INNER = 20_000
_MOST_ENCODED = 6 * 1024 * 1024
_WIDEST_TUPLE = 512
_RECENT = 64
_BATCH = 1000
"""How many entries Python's pickler writes between MARK and SETITEMS or APPENDS."""
_MOST_OF_BATCH = 48 * 1024
_MANY = 128 * 1024
"""From how many bytes on it pays to look for whole batches."""

How = Literal["named", "made", "called"]
"""``named``: imported, no more; ``made``: an instance is made without calling it (``cls.__new__``); ``called``: it is called."""


class Use(NamedTuple):
    """A name that the pickle imports, what it does with it, and at which byte for the first time.

    ``inner``: it stands in a byte string that holds a pickle; it runs where something loads that. ``loaded``: this pickle does so
    itself (``pickle.loads``), or it is the pickle itself.
    """

    module: str
    name: str
    how: How
    at: int
    loaded: bool

    def __str__(self) -> str:
        """Return ``module.name``."""
        return f"{self.module}.{self.name}" if self.name else self.module


class Odd(NamedTuple):
    """Something that an ordinary pickle does not do: a clause that says what, and at which byte."""

    text: str
    at: int
    loaded: bool


class Code(NamedTuple):
    """A function that the pickle carries as byte code: its name where that can be told, and the names that it uses."""

    name: str
    names: tuple[str, ...]
    at: int


class Device(NamedTuple):
    """A device that is named: by a tensor that was saved on it (``tensor``), or by some text (``text``)."""

    name: str
    at: int
    how: Literal["tensor", "text"]


class Range(NamedTuple):
    """A part of the file, from ``start`` to before ``end``; ``loaded`` as for ``Use``."""

    start: int
    end: int
    loaded: bool


class Pickle(NamedTuple):
    """What a file of pickles does when it is loaded.

    ``state``: ``whole``; ``truncated``; ``damaged``: an instruction that does not exist or cannot be carried out; ``unread``: there
    is more than is worth reading, or more than can be followed. ``problem`` says it in words. ``pickles``: how many stand one behind
    the other; ``end``: where the last ends; ``zips``: byte strings that begin as a zip archive does, which torch.load would open;
    ``storages``: the tensors' data by their keys, and how many bytes each must have; ``protocol``: the newest. ``legacy``: it is a file of torch.save before 1.6.
    """

    state: Literal["whole", "truncated", "damaged", "unread"]
    problem: str
    protocol: int
    pickles: int
    end: int
    legacy: bool
    uses: tuple[Use, ...]
    odd: tuple[Odd, ...]
    codes: tuple[Code, ...]
    devices: tuple[Device, ...]
    zips: tuple[Range, ...]
    storages: tuple[tuple[str, int], ...] = ()


class _Global:
    """A name that was imported; one object a name."""

    __slots__ = ("module", "name")

    def __init__(self, module: str, name: str) -> None:
        self.module = module
        self.name = name


class _Made:
    """What a call gave, where that matters: ``what`` is ``class``, ``function``, ``code``, ``module``, ``wrapper``, or the call's name."""

    __slots__ = ("what",)

    def __init__(self, what: str) -> None:
        self.what = what


class _Bytes:
    """A byte string that was passed over; or a text too long for a name, in the encoding ``text``."""

    __slots__ = ("end", "start", "text")

    def __init__(self, start: int, end: int, text: str = "") -> None:
        self.start = start
        self.end = end
        self.text = text


class _Tuple:
    """A tuple, and about how many bytes of memory it holds."""

    __slots__ = ("items", "weight")

    def __init__(self, items: list[Any], weight: int) -> None:
        self.items = items
        self.weight = weight


class _Lost:
    """Something that was given up when there was no more room to keep such things."""

    __slots__ = ()


_LOST = _Lost()


class _Broken(Exception):  # noqa: N818 - never leaves this module
    """There is no going on: the text says why; ``state`` is the pickle's."""

    def __init__(self, state: Literal["truncated", "damaged", "unread"], text: str) -> None:
        super().__init__(text)
        self.state: Literal["truncated", "damaged", "unread"] = state


_PLAIN = bytearray(b"\xff" * 256)
"""By instruction: how many bytes of an argument follow one that pushes something that is of no interest; 255: another instruction."""
for _code, _count in ((b"N", 0), (b"G", 8), (b"\x88", 0), (b"\x89", 0), (b"]", 0), (b"\x8f", 0), (b"\x97", 0)):
    _PLAIN[_code[0]] = _count

_NEEDS = bytearray(256)
"""By instruction: how many bytes follow in any case."""
for _codes, _count in ((b"KUhqC\x8c\x8a\x80\x82", 1), (b"M\x83", 2), (b"JTXjrB\x8b\x84", 4), (b"G\x8d\x8e\x95\x96", 8)):
    for _each in _codes:
        _NEEDS[_each] = _count

_LOADERS = frozenset({
    "pickle.loads", "pickle.load", "_pickle.loads", "_pickle.load", "pickle._loads", "pickle._load", "cPickle.loads", "pickle5.loads",
    "cloudpickle.loads", "cloudpickle.cloudpickle.loads", "cloudpickle.load", "dill.loads", "dill._dill.loads", "joblib.load",
    "torch.storage._load_from_bytes", "torch.load", "torch.serialization.load",
})  # fmt: skip
_NEWOBJ = frozenset({"copyreg._reconstructor", "copyreg.__newobj__", "copyreg.__newobj_ex__"})
_IMPORTERS = frozenset({
    "importlib.import_module", "importlib.__import__", "builtins.__import__", "cloudpickle.cloudpickle.subimport",
    "dill._dill._import_module",
})  # fmt: skip
_GETTERS = frozenset({"builtins.getattr", "dill._dill._get_attr"})
REACHING = frozenset({
    "__globals__", "__builtins__", "__subclasses__", "__class__", "__base__", "__bases__", "__mro__", "__dict__", "__code__",
    "__closure__", "__func__", "__self__", "__getattribute__", "__getattr__", "__setattr__", "__loader__", "__spec__", "__import__",
    "__reduce__", "__reduce_ex__", "__init_subclass__", "__defaults__", "__wrapped__", "__module__", "gi_frame", "cr_frame",
    "f_globals", "f_builtins", "tb_frame", "__traceback__", "mro",
})  # fmt: skip
"""Attributes that lead from one thing to any other."""
_CLASS_MAKERS = (
    "_make_skeleton_class",
    "_make_skeleton_enum",
    "_rehydrate_skeleton_class",
    "_make_class",
    "_create_type",
    "_make_typevar",
    "_create_namedtuple",
    "_lookup_class_or_track",
)
_FUNCTION_MAKERS = ("_make_function", "_make_skel_func", "_create_function", "_fill_function")
_CLOUDPICKLES = frozenset({
    "bentoml.utils.cloudpickle", "joblib.externals.cloudpickle.cloudpickle", "joblib.externals.cloudpickle.cloudpickle_fast",
    "pyspark.cloudpickle.cloudpickle", "pyspark.cloudpickle.cloudpickle_fast", "ray.cloudpickle.cloudpickle",
    "ray.cloudpickle.cloudpickle_fast", "srsly.cloudpickle.cloudpickle", "srsly.cloudpickle.cloudpickle_fast",
    "cloudpickle.cloudpickle_fast", "cloudpickle",
})  # fmt: skip
"""Where cloudpickle is also found: packages carry copies of it, BentoML 0.x an old one."""
_CODE_MAKERS = frozenset({"types.CodeType", "dill._dill._create_code", "cloudpickle.cloudpickle._make_code"})
_ITEM_BYTES = {
    "Double": 8, "Float": 4, "Half": 2, "Long": 8, "Int": 4, "Short": 2, "Char": 1, "Byte": 1, "Bool": 1, "BFloat16": 2,
    "ComplexDouble": 16, "ComplexFloat": 8, "QInt8": 1, "QUInt8": 1, "QInt32": 4, "Untyped": 1,
}  # fmt: skip


class _Found:
    """What the walks of one file have found so far."""

    def __init__(self) -> None:
        self.uses: dict[tuple[str, str, How, bool], int] = {}
        self.odd: dict[tuple[str, bool], int] = {}
        self.codes: list[Code] = []
        self.devices: dict[tuple[str, Literal["tensor", "text"]], int] = {}
        self.inner: dict[tuple[int, int], bool] = {}
        self.zips: dict[tuple[int, int], bool] = {}
        self.storages: dict[str, int] = {}
        self.encoded: list[tuple[str | _Bytes, int]] = []
        self.protocol = 0

    def add(self, other: _Found) -> None:
        """Take over what another has found; what both have stays where it was found first."""
        for use, at in other.uses.items():
            self.uses.setdefault(use, at)
        for odd, at in other.odd.items():
            self.odd.setdefault(odd, at)
        for device, at in other.devices.items():
            self.devices.setdefault(device, at)
        for key, size in other.storages.items():
            self.storages.setdefault(key, size)
        for here, there in ((self.inner, other.inner), (self.zips, other.zips)):
            for place, loaded in there.items():
                here[place] = here.get(place, False) or loaded
        self.codes += other.codes
        self.encoded += other.encoded
        self.protocol = max(self.protocol, other.protocol)


class _Steps:
    """How many bytes were read, and how much of carried functions may still be kept, over all pickles of a file."""

    __slots__ = ("code", "read")

    def __init__(self) -> None:
        self.read = 0
        self.code = _MOST_CODE


def walk(stream: BinaryIO, start: int = 0, end: int | None = None) -> Pickle:
    """Return what loading the pickles from ``start`` to ``end`` of a stream would do. Only an OSError of reading is raised."""
    if end is None:
        end = stream.seek(0, 2)
    found, steps = _Found(), _Steps()
    state, problem, pickles, behind, legacy = _row(stream, start, end, found, steps, loaded=True)
    storages = tuple(found.storages.items())
    done: set[tuple[int, int]] = set()
    for depth in range(_MOST_NESTED + 1):
        waiting = [(place, loaded) for place, loaded in found.inner.items() if place not in done]
        texts, found.encoded = found.encoded, []
        if not waiting and not texts:
            break
        if depth == _MOST_NESTED or len(done) + len(waiting) > _MOST_INNER:
            state, problem = _worse(state, problem, "unread", "pickles stand in pickles deeper, or more often, than is followed")
            break
        for place, loaded in waiting:
            done.add(place)
            inner = _Found()
            became, why, _, _, _ = _row(stream, place[0], place[1], inner, steps, loaded=loaded)
            if became == "whole" or loaded:
                # A byte string that only looks like a pickle is data; one that is loaded counts as far as it goes.
                found.add(inner)
                if became != "whole":
                    state, problem = _worse(
                        state, problem, became, f"in the pickle that is a byte string at byte {place[0]:,}: {why}"
                    )
        for text, at in texts:
            _encoded(stream, text, at, found, steps)
    return Pickle(
        state,
        problem,
        found.protocol,
        pickles,
        behind,
        legacy,
        tuple(Use(module, name, how, at, loaded) for (module, name, how, loaded), at in _first(found.uses)),
        tuple(Odd(text, at, loaded) for (text, loaded), at in _first(found.odd)),
        tuple(found.codes),
        tuple(Device(name, at, how) for (name, how), at in _first(found.devices)),
        tuple(Range(first, last, loaded) for (first, last), loaded in found.zips.items()),
        storages,
    )


_State = Literal["whole", "truncated", "damaged", "unread"]


def _first(found: dict[Any, int]) -> list[tuple[Any, int]]:
    return sorted(found.items(), key=lambda item: item[1])


def _worse(state: _State, problem: str, other: _State, why: str) -> tuple[_State, str]:
    """Return the first problem that was met."""
    return (state, problem) if state != "whole" else (other, why)


def _encoded(stream: BinaryIO, text: str | _Bytes, at: int, found: _Found, steps: _Steps) -> None:
    """Walk a pickle that stood in the file as text (protocol 2 writes bytes so); its positions are those of the text's beginning."""
    from io import BytesIO

    if isinstance(text, _Bytes):
        stream.seek(text.start)
        text = _decoded(stream.read(text.end - text.start), text.text)
    data = text.encode("latin-1", "replace")
    inner = _Found()
    _row(BytesIO(data), 0, len(data), inner, steps, loaded=True)
    inner.uses = dict.fromkeys(inner.uses, at)
    inner.odd = dict.fromkeys(inner.odd, at)
    inner.devices = dict.fromkeys(inner.devices, at)
    if inner.inner or inner.encoded or inner.zips:
        inner.odd["holds a pickle in a text that is in a pickle in a text, which is not followed", True] = at
    inner.inner, inner.zips, inner.encoded = {}, {}, []
    inner.codes = [code._replace(at=at) for code in inner.codes]
    found.add(inner)


def _row(
    stream: BinaryIO, start: int, end: int, found: _Found, steps: _Steps, *, loaded: bool
) -> tuple[_State, str, int, int, bool]:
    """Walk pickles that stand one behind the other: what became of them, why, how many, where the last ends, whether torch's of old."""
    stream.seek(start)
    legacy = stream.read(min(2 + len(TORCH_MAGIC), end - start))[2:] == TORCH_MAGIC
    here, count = start, 0
    state: _State = "whole"
    problem = ""
    while here < end and count < (5 if legacy else _MOST_PICKLES):
        one = _Found()
        became: _State
        machine = _Machine(Window(stream, here, end), one, steps, loaded=loaded)
        try:
            try:
                machine.run()
            finally:
                steps.read += machine.window.read
        except Short as short:
            became, why = "truncated", str(short)
        except _Broken as broken:
            became, why = broken.state, str(broken)
        else:
            became, why = ("damaged" if machine.problem else "whole"), machine.problem
        if machine.arrays:
            _plainly(stream, here, end, one, steps, loaded=loaded)
        if count and not legacy and became != "whole" and one.protocol < 2:
            break  # What stands behind a pickle need not be one.
        found.add(one)
        count += 1
        if became != "whole":
            state, problem = _worse(state, problem, became, why)
        if not machine.stopped:
            break
        here = machine.window.tell()
    if not count:
        state, problem = "truncated", f"it ends at byte {end:,}, and has no instruction"
    if legacy and state == "whole":
        wanted = here + sum(8 + size for size in found.storages.values())
        if count < 5:
            state, problem = "truncated", f"it ends at byte {end:,}, and of its five parts {count} are there"
        elif wanted > end:
            state, problem = "truncated", f"it ends at byte {end:,}, and its tensors go on to byte {wanted:,}"
    return state, problem, count, here, legacy


def _plainly(stream: BinaryIO, start: int, end: int, found: _Found, steps: _Steps, *, loaded: bool) -> None:
    """Add the names that a pickle of joblib's imports where something else loads it, to which its raw arrays are instructions."""
    other = _Found()
    machine = _Machine(Window(stream, start, end), other, steps, loaded=loaded, joblib=False)
    try:
        machine.run()
    except (Short, _Broken):
        pass  # As is to be expected of raw arrays.
    finally:
        steps.read += machine.window.read
    for use, at in other.uses.items():
        # Numbers can look like an import of anything, but hardly of something that could be a module.
        if all(part.isidentifier() for part in use[0].split(".")):
            found.uses.setdefault(use, at)


class _Machine:
    """Carries out the instructions of one pickle, up to its STOP."""

    def __init__(
        self, window: Window, found: _Found, steps: _Steps, *, loaded: bool, depth: int = 0, joblib: bool = True
    ) -> None:
        self.window = window
        self.joblib = joblib
        self.arrays = 0
        self.depth = depth
        self.found = found
        self.steps = steps
        self.loaded = loaded
        self.stopped = False
        self.problem = ""
        self.protocol = 0
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.put_at = bytearray()
        self.lost_at = bytearray()
        self.puts = 0
        self.room = _MOST_HELD
        self.held = 0
        self.globals: dict[tuple[str, str], _Global] = {}
        self.recent: dict[str, int] = {}
        self.here = 0
        self.batch = _batches() if window.end - window.base > _MANY else None
        self.batches: list[tuple[int, int, int]] = []

    # ------------------------------------------------------------------ the loop

    def run(self) -> None:
        """Read instructions up to STOP. Raises Short or _Broken where there is no going on; what was found stands in ``found``."""
        window, stack, plain, needs = self.window, self.stack, _PLAIN, _NEEDS
        others = _OTHERS
        data, at = window.data, window.at
        size = len(data)
        while True:
            if size - at < 16:
                window.at = at
                try:
                    window.more(16)
                except Short as short:
                    if not len(window.data) - window.at:
                        raise
                    if 1 + needs[window.data[window.at]] > len(window.data) - window.at:
                        raise Short(short.at, window.tell() + 1 + needs[window.data[window.at]]) from None
                data, at = window.data, window.at
                size = len(data)
                if len(stack) > _MOST_STACK or len(self.marks) > _MOST_MARKS:
                    what = f"its stack has more than {_MOST_STACK:,} things, or {_MOST_MARKS:,} marks"
                    raise _Broken("unread", f"{what}; it was read up to byte {window.base + at:,}")
                if self.steps.read + window.read > _MOST_READ:
                    what = f"it has more than {_MOST_READ >> 20} MiB of instructions"
                    raise _Broken("unread", f"{what}; it was read up to byte {window.base + at:,}")
            code = data[at]
            count = plain[code]
            if count != 255:
                stack.append(None)
                at += 1 + count
                continue
            if code == 0x94:  # MEMOIZE
                at += 1
                self.put(self.puts, stack[-1] if stack else None)
                continue
            if code == 0x71:  # BINPUT
                self.put(data[at + 1], stack[-1] if stack else None)
                at += 2
                continue
            if code == 0x4B:  # BININT1
                stack.append(data[at + 1])
                at += 2
                continue
            if code == 0x28:  # MARK
                if self.batch is not None and self.protocol >= 4:
                    window.at = at
                    if self.pass_batch():
                        data, at = window.data, window.at
                        size = len(data)
                        continue
                    data, at = window.data, window.at
                    size = len(data)
                self.marks.append(len(stack))
                at += 1
                continue
            handler = others[code]
            self.here = window.base + at
            window.at = at + 1
            if handler is None:
                raise _Broken("damaged", f"at byte {self.here:,} stands 0x{code:02x}, which is no instruction of a pickle")
            handler(self)
            if self.stopped:
                return
            if self.held > _MOST_HELD:
                self.lighten()
            data, at = window.data, window.at
            size = len(data)

    def pass_batch(self) -> bool:
        """Pass over a whole batch of short texts and numbers that goes into a dictionary or a list, if that is what comes next.

        A vocabulary has a million instructions, which would take seconds one by one. Where its texts stand is kept, for any of them
        may be used as a name later.
        """
        assert self.batch is not None  # noqa: S101 - asked where there is one
        window = self.window
        left = window.end - window.tell()
        if len(window.data) - window.at < min(_MOST_OF_BATCH, left):
            window.more(min(_MOST_OF_BATCH, left))
        found = self.batch.match(window.data, window.at)
        # A device's name is noted where it stands.
        if found is None or window.data.find(b"cuda", window.at, found.end()) >= 0:
            return False
        first = self.puts
        last = first + _TEXTS_OF_BATCH[str(found.lastgroup)]
        # Numbers that were given out ahead are not what Python's pickler writes.
        if last > _MOST_MEMO or any(self.put_at[first // 8 + 1 : last // 8 + 1]):
            return False
        self.here = window.tell()
        if last > first:
            self.batches.append((first, last, self.here))
            self.give_up(first, last)
        self.puts = last
        window.at = found.end()
        self.into(self.top())
        return True

    def of_batch(self, index: int) -> Any:
        """Return the text of a number that was given out in a batch, read once more; _LOST for one that was not."""
        from bisect import bisect_right

        at = bisect_right(self.batches, (index, _MOST_MEMO, 0)) - 1
        if at < 0 or index >= self.batches[at][1]:
            return _LOST
        first, _, start = self.batches[at]
        here = self.window.tell()
        window = Window(self.window.stream, start, self.window.end)
        window.more(min(_MOST_OF_BATCH, window.end - start))
        self.window.goto(here)
        data, place = window.data, 1
        while True:
            code = data[place]
            if code != 0x8C:
                place += 1 + _WIDTHS.get(code, 0)
                continue
            length = data[place + 1]
            if first == index:
                return _decoded(data[place + 2 : place + 2 + length], "utf-8")
            first += 1
            place += 3 + length

    def give_up(self, first: int, last: int) -> None:
        """Mark the numbers from one to before another as given out, and what they stand for as not kept."""
        for kept in (self.put_at, self.lost_at):
            kept.extend(bytes(max(last // 8 + 1 - len(kept), 0)))
            start, end = -(-first // 8), last // 8
            kept[start:end] = b"\xff" * (end - start)
            for index in (*range(first, start * 8), *range(end * 8, last)):
                kept[index >> 3] |= 1 << (index & 7)

    def wrong(self, text: str) -> None:
        """Note what the real machine would stop at."""
        self.problem = self.problem or f"at byte {self.here:,} it {text}"

    def pop(self) -> Any:
        """Take the topmost thing, which is none where there is nothing above the last mark."""
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            self.wrong("takes more from its stack than is there")
            return None
        return self.stack.pop()

    def top(self) -> Any:
        """Return the topmost thing."""
        return self.stack[-1] if self.stack else None

    def above_mark(self) -> list[Any]:
        """Take all that is above the last mark, and the mark."""
        if not self.marks:
            self.wrong("looks for a mark, and there is none")
            found, self.stack[:] = self.stack[:], []
            return found
        start = self.marks.pop()
        found = self.stack[start:]
        del self.stack[start:]
        return found

    def number(self, count: int) -> int:
        """Return an argument of ``count`` bytes, which are in memory already."""
        window = self.window
        window.at += count
        return int.from_bytes(window.data[window.at - count : window.at], "little")

    def line(self) -> bytes:
        """Return an argument that ends with a newline; of a long one the beginning."""
        return self.window.line(_LONGEST_NAME * 4)

    def lighten(self) -> None:
        """Count what the texts and tuples on the stack hold, and give up the lowest of them where it is too much."""
        stack = self.stack
        self.held = sum(map(_weight, stack))
        for index, value in enumerate(stack):
            if self.held <= _MOST_HELD // 2:
                break
            weight = _weight(value)
            if weight:
                stack[index] = _LOST
                self.held -= weight

    # ------------------------------------------------------------------ memo

    def put(self, index: int, value: Any) -> None:
        """Keep a thing under a number, if it is of interest."""
        place, bit = index >> 3, 1 << (index & 7)
        if place >= len(self.put_at):
            if index > _MOST_MEMO:
                raise _Broken("unread", f"at byte {self.window.tell():,} it numbers more things than can be followed")
            more = bytes(place - len(self.put_at) + 1024)
            self.put_at += more
            self.lost_at += more
        if not self.put_at[place] & bit:
            self.put_at[place] |= bit
            self.puts += 1
        elif index in self.memo:
            self.room += _weight(self.memo.pop(index)) + 100
        self.lost_at[place] &= ~bit
        if value is None or type(value) in {int, dict}:
            return
        weight = _weight(value) + 100
        if self.room >= weight:
            self.room -= weight
            self.memo[index] = value
            return
        self.lost_at[place] |= bit
        if type(value) is str:
            self.recent[value] = index
            if len(self.recent) > _RECENT:
                del self.recent[next(iter(self.recent))]

    def get(self, index: int) -> None:
        """Push the thing that was kept under a number."""
        value = self.memo.get(index)
        if value is None:
            place, bit = index >> 3, 1 << (index & 7)
            if place >= len(self.put_at) or not self.put_at[place] & bit:
                self.wrong("takes from its memo what was never put there")
            elif self.lost_at[place] & bit:
                value = self.of_batch(index)
        self.stack.append(value)

    # ------------------------------------------------------------------ what is found

    def odd(self, text: str) -> None:
        """Note something that an ordinary pickle does not do."""
        if len(self.found.odd) < _MOST_FOUND:
            self.found.odd.setdefault((text, self.loaded), self.here)

    def named(self, module: str, name: str) -> _Global:
        """Return the object for an imported name, and note that it is imported."""
        if self.protocol < 3:
            module, name = _of_python_2(module, name)
        found = self.globals.get((module, name))
        if found is None:
            found = _Global(module, name)
            if len(self.globals) >= _MOST_FOUND:
                raise _Broken("unread", f"it imports more than {_MOST_FOUND:,} names; it was read up to byte {self.here:,}")
            self.globals[module, name] = found
            self.use(found, "named")
        return found

    def use(self, what: _Global, how: How) -> None:
        """Note what is done with an imported name."""
        self.found.uses.setdefault((what.module, what.name, how, self.loaded), self.here)

    def text(self, text: str) -> None:
        """Push a text that is short enough for a name."""
        self.stack.append(text)
        self.held += len(text) + 60
        if text[:4] == "cuda" and (len(text) == 4 or (text[4] == ":" and text[5:].isdecimal())):
            self.found.devices.setdefault((text, "text"), self.here)

    def passed(self, count: int, encoding: str = "") -> None:
        """Push a byte string of ``count`` bytes, or a long text, and pass over it."""
        window = self.window
        start = window.tell()
        if start + count > window.end:
            raise Short(window.end, start + count)
        if count >= 4:
            if len(window.data) - window.at < 4:
                window.more(4)
            head = window.data[window.at : window.at + 4]
            # A name of a method that gives bytes is no use to anybody: only what could be loaded later is of interest.
            if head[0] == 0x80 and 2 <= head[1] <= 5 and count > 4:
                self.found.inner.setdefault((start, start + count), False)
            elif head == b"PK\x03\x04":
                self.found.zips.setdefault((start, start + count), False)
            if len(self.found.inner) + len(self.found.zips) > _MOST_INNER:
                raise _Broken("unread", f"more than {_MOST_INNER:,} byte strings look like pickles of their own")
        window.goto(start + count)
        self.stack.append(_Bytes(start, start + count, encoding))

    def tensor(self, pid: Any) -> None:
        """Note where a tensor was, of the persistent id that torch.save gives its data."""
        items = pid.items if type(pid) is _Tuple else ()
        if len(items) < 5 or items[0] != "storage":
            return
        if type(items[3]) is str:
            self.found.devices.setdefault((items[3][:40], "tensor"), self.here)
        if type(items[2]) is str and type(items[4]) is int and type(items[1]) is _Global and len(self.found.storages) < 200_000:
            kind = items[1].name.removesuffix("Storage")
            self.found.storages.setdefault(items[2], items[4] * _ITEM_BYTES.get(kind, 1))

    # ------------------------------------------------------------------ calls

    def call(self, callee: Any, arguments: Any) -> Any:
        """Note a call, and return what it gives where that matters later."""
        items: list[Any] = arguments.items if type(arguments) is _Tuple else []
        if type(callee) is not _Global:
            if type(callee) is _Made and callee.what == "type CodeType":
                self.code(items)
                return _Made("code")
            self.call_of_something(callee)
            return None
        module = "cloudpickle.cloudpickle" if callee.module in _CLOUDPICKLES else callee.module
        path = f"{module}.{callee.name}" if callee.name else module
        self.use(callee, "called")
        if path in _NEWOBJ:
            return self.make(items[0] if items else None)
        if path in _GETTERS:
            return self.attribute(items)
        if path in _IMPORTERS:
            if items and type(items[0]) is str:
                return self.named(items[0], "")
            self.odd(f"has {path} import something whose name is put together while loading")
            return _Made("a module")
        if path in _LOADERS:
            self.load(path, items)
            return None
        if path in {"_codecs.encode", "codecs.encode"}:
            return items[0] if items and type(items[0]) in {str, _Bytes} else None
        if path == "torch.device" and items and type(items[0]) is str and items[0] != "cpu":
            number = f":{items[1]}" if len(items) > 1 and type(items[1]) is int else ""
            self.found.devices.setdefault((f"{items[0]}{number}"[:40], "text"), self.here)
            return None
        if path == "numpy.dtype" and items and type(items[0]) is str:
            return _Made(f"dtype {items[0]}")
        if path in _CODE_MAKERS:
            self.code(items)
            return _Made("code")
        cloud = module.partition(".")[0] in {"cloudpickle", "dill"}
        if cloud and callee.name in {"_builtin_type", "_load_type"} and items and type(items[0]) is str:
            return _Made(f"type {items[0]}")
        if (cloud and callee.name in _CLASS_MAKERS) or (path == "builtins.type" and len(items) == 3):
            return _Made("class")
        if cloud and callee.name in _FUNCTION_MAKERS:
            return _Made("function")
        if path in {"functools.partial", "operator.attrgetter", "operator.methodcaller", "operator.itemgetter"}:
            return _Made(path)
        return None

    def call_of_something(self, callee: Any) -> None:
        """Note a call of something that was not imported by its name."""
        what = callee.what if type(callee) is _Made else ""
        if what in {"class", "type SimpleNamespace", "type MappingProxyType", "type MethodType"}:
            return
        if what == "function":
            self.odd("calls a function that it carries itself as byte code")
        elif what:
            self.odd(f"calls what {what} gave")
        else:
            self.odd("calls something that cannot be told")

    def make(self, cls: Any) -> Any:
        """Note an instance that is made without a call."""
        if type(cls) is _Global:
            self.use(cls, "made")
            if cls.name == "NumpyArrayWrapper" and cls.module == "joblib.numpy_pickle":
                return _Made("wrapper")
        elif not (type(cls) is _Made and cls.what == "class"):
            self.odd("makes an instance of something that cannot be told")
        return None

    def attribute(self, items: list[Any]) -> Any:
        """Note what getattr takes of what."""
        if len(items) < 2 or type(items[1]) is not str:
            self.odd("takes an attribute whose name is put together while loading")
            return _Made("getattr")
        owner, name = items[0], items[1]
        if type(owner) is _Global:
            return self.named(owner.module, f"{owner.name}.{name}" if owner.name else name)
        if name in REACHING:
            self.odd(f"takes {name[:60]} of something")
        return _Made("getattr")

    def load(self, path: str, items: list[Any]) -> None:
        """Note a pickle that this one loads."""
        value = items[0] if items else None
        if type(value) is str:
            self.found.encoded.append((value, self.here))
        elif type(value) is _Bytes and not value.text:
            place = (value.start, value.end)
            (self.found.zips if place in self.found.zips else self.found.inner)[place] = self.loaded
        elif type(value) is _Bytes and value.end - value.start <= _MOST_ENCODED:
            self.found.encoded.append((value, self.here))
        else:
            self.odd(f"has {path} load something that is put together while loading")
        if len(self.found.encoded) > 100:
            raise _Broken("unread", "it loads more than 100 pickles that stand in it as text")

    def code(self, items: list[Any]) -> None:
        """Keep the names that a function's byte code uses, of the arguments that code objects are made with."""
        names: list[str] = []
        texts: list[str] = []
        tuples = 0
        for item in items:
            if type(item) is _Tuple:
                tuples += 1
                if all(type(each) is str for each in item.items):
                    names += item.items
            elif type(item) is str and tuples:
                texts.append(item)
        self.steps.code -= sum(map(len, names)) + 200
        if self.steps.code < 0:
            self.odd("carries more byte code than is examined")
            return
        # The file's name comes before the function's.
        self.found.codes.append(Code(texts[1][:200] if len(texts) > 1 else "", tuple(dict.fromkeys(names)), self.here))

    def array(self, state: dict[str, Any]) -> None:
        """Pass over the raw array that joblib writes behind the description of one."""
        window = self.window
        self.arrays += 1
        shape, dtype = state.get("shape"), state.get("dtype")
        kind = dtype.what.removeprefix("dtype ") if type(dtype) is _Made else ""
        sizes = shape.items if type(shape) is _Tuple else None
        digits = kind.lstrip("<>|=")[1:]
        if sizes is None or not all(type(size) is int for size in sizes) or not digits.isdecimal() or len(digits) > 12:
            raise _Broken("unread", f"at byte {window.tell():,} joblib wrote an array whose size cannot be told")
        if kind.startswith("O"):
            if self.depth >= _MOST_NESTED:
                raise _Broken("unread", f"at byte {window.tell():,} arrays stand in arrays deeper than is followed")
            inner = _Machine(window, self.found, self.steps, loaded=self.loaded, depth=self.depth + 1)
            inner.run()
            self.problem = self.problem or inner.problem
            return
        count = int(digits) * (4 if kind.startswith("U") else 1)
        for size in sizes:
            count *= size
        if type(state.get("numpy_array_alignment_bytes")) is int:
            padding = window.take(1)[0]
            window.goto(window.tell() + padding)
        start = window.tell()
        if start + count > window.end:
            raise Short(window.end, start + count)
        window.goto(start + count)

    # ------------------------------------------------------------------ instructions

    def do_stop(self) -> None:
        """STOP."""
        self.pop()
        self.stopped = True

    def do_pop(self) -> None:
        """POP: the mark itself, where it is on top."""
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self.pop()

    def do_pop_mark(self) -> None:
        """POP_MARK."""
        self.above_mark()

    def do_dup(self) -> None:
        """DUP."""
        value = self.top()
        self.stack.append(value)
        self.held += _weight(value)

    def do_line(self) -> None:
        """FLOAT, LONG: a number as text."""
        self.line()
        self.stack.append(None)

    def do_int(self) -> None:
        """INT."""
        text = self.line().strip()
        self.stack.append(int(text) if text.isdigit() and len(text) < 19 else None)

    def do_binint(self) -> None:
        """BININT."""
        value = self.number(4)
        self.stack.append(value if value < 1 << 31 else value - (1 << 32))

    def do_binint2(self) -> None:
        """BININT2."""
        self.stack.append(self.number(2))

    def do_long1(self) -> None:
        """LONG1."""
        self.long(self.number(1))

    def do_long4(self) -> None:
        """LONG4."""
        self.long(self.number(4))

    def long(self, count: int) -> None:
        """Push a long number: a tensor of more than two thousand million elements has one for its size."""
        if count <= 8:
            self.stack.append(int.from_bytes(self.window.take(count), "little", signed=True))
            return
        self.skip(count)
        self.stack.append(None)

    def skip(self, count: int) -> None:
        """Pass over bytes that must be there."""
        after = self.window.tell() + count
        if after > self.window.end:
            raise Short(self.window.end, after)
        self.window.goto(after)

    def do_persid(self) -> None:
        """PERSID."""
        self.line()
        self.stack.append(None)

    def do_binpersid(self) -> None:
        """BINPERSID."""
        self.tensor(self.pop())
        self.stack.append(None)

    def do_reduce(self) -> None:
        """REDUCE: call."""
        arguments = self.pop()
        self.stack.append(self.call(self.pop(), arguments))

    def do_string(self) -> None:
        """Push a text in quotes, with escapes."""
        start = self.window.tell()
        line = self.line().strip()
        if len(line) > _LONGEST_NAME:
            self.stack.append(_Bytes(start, self.window.tell() - 1, "escape"))
            return
        if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in {b"'", b'"'}:
            self.wrong("has a text without quotes")
        self.text(_decoded(line, "escape"))

    def do_unicode(self) -> None:
        """UNICODE."""
        start = self.window.tell()
        line = self.line()
        if len(line) > _LONGEST_NAME:
            self.stack.append(_Bytes(start, self.window.tell() - 1, "raw-unicode-escape"))
        else:
            self.text(_decoded(line, "raw-unicode-escape"))

    def counted(self, width: int, encoding: str) -> None:
        """Push a text whose length stands before it."""
        count = self.number(width)
        if count > _LONGEST_NAME:
            self.passed(count, encoding)
        elif count > self.window.end - self.window.tell():
            raise Short(self.window.end, self.window.tell() + count)
        else:
            data = self.window.take(count)
            try:
                self.text(data.decode())
            except UnicodeDecodeError:
                self.text(data.decode("latin-1"))

    def do_binstring(self) -> None:
        """BINSTRING."""
        self.counted(4, "latin-1")

    def do_short_binstring(self) -> None:
        """SHORT_BINSTRING."""
        self.counted(1, "latin-1")

    def do_binunicode(self) -> None:
        """BINUNICODE."""
        self.counted(4, "utf-8")

    def do_short_binunicode(self) -> None:
        """SHORT_BINUNICODE."""
        self.counted(1, "utf-8")

    def do_binunicode8(self) -> None:
        """BINUNICODE8."""
        self.counted(8, "utf-8")

    def do_binbytes(self) -> None:
        """BINBYTES."""
        self.passed(self.number(4))

    def do_short_binbytes(self) -> None:
        """SHORT_BINBYTES."""
        self.passed(self.number(1))

    def do_binbytes8(self) -> None:
        """BINBYTES8, BYTEARRAY8."""
        self.passed(self.number(8))

    def do_readonly(self) -> None:
        """READONLY_BUFFER."""

    def into(self, target: Any) -> None:
        """Note what is written into something that was imported."""
        if type(target) is _Global:
            self.odd(f"writes into {target.module[:80]}.{target.name[:80]}")

    def do_append(self) -> None:
        """APPEND."""
        self.pop()
        self.into(self.top())

    def do_appends(self) -> None:
        """Write things above the mark into a list or a set: APPENDS, ADDITEMS."""
        self.above_mark()
        self.into(self.top())

    def do_setitem(self) -> None:
        """SETITEM."""
        value, key = self.pop(), None
        key = self.pop()
        self.items([key, value])

    def do_setitems(self) -> None:
        """SETITEMS."""
        self.items(self.above_mark())

    def items(self, pairs: list[Any]) -> None:
        """Write into a dictionary; a small one is remembered, for it may describe an array."""
        target = self.top()
        self.into(target)
        if type(target) is dict and len(target) + len(pairs) <= 32:
            for key, value in zip(pairs[::2], pairs[1::2], strict=False):
                if type(key) is str:
                    target[key] = value

    def do_build(self) -> None:
        """BUILD: give an object its state."""
        state, target = self.pop(), self.top()
        if type(target) is _Global:
            self.odd(f"replaces parts of {target.module[:80]}.{target.name[:80]}")
        elif type(target) is _Made and target.what == "wrapper" and type(state) is dict and self.joblib:
            self.array(state)
            self.stack[-1] = None

    def imported(self, module: bytes, name: bytes) -> _Global:
        """Return the object for a name that stands in the instruction itself."""
        if len(module) > _LONGEST_NAME or len(name) > _LONGEST_NAME:
            self.odd("imports a name of more than 400 letters")
        return self.named(module[:_LONGEST_NAME].decode("utf-8", "replace"), name[:_LONGEST_NAME].decode("utf-8", "replace"))

    def do_global(self) -> None:
        """GLOBAL."""
        module = self.line()
        self.stack.append(self.imported(module, self.line()))

    def do_stack_global(self) -> None:
        """STACK_GLOBAL."""
        name, module = self.pop(), self.pop()
        if type(name) is not str or type(module) is not str:
            self.odd("imports a name that is put together while loading")
            self.stack.append(_Made("an import that cannot be told"))
            return
        for text in (module, name):
            # Once a name, often a name: where the memo is full, these are still kept.
            if self.recent and text in self.recent and len(self.memo) < 400_000:
                index = self.recent[text]
                self.memo[index] = text
                self.lost_at[index >> 3] &= ~(1 << (index & 7))
        self.stack.append(self.named(module, name))

    def do_inst(self) -> None:
        """INST: import and call."""
        module = self.line()
        what = self.imported(module, self.line())
        self.stack.append(self.call(what, self.tuple(self.above_mark())))

    def do_obj(self) -> None:
        """OBJ: call."""
        things = self.above_mark()
        if not things:
            self.wrong("calls, and there is nothing to call")
        self.stack.append(self.call(things[0] if things else None, self.tuple(things[1:])))

    def do_newobj(self) -> None:
        """NEWOBJ."""
        self.pop()
        self.stack.append(self.make(self.pop()))

    def do_newobj_ex(self) -> None:
        """NEWOBJ_EX."""
        self.pop()
        self.do_newobj()

    def extension(self, width: int) -> None:
        """Push what the process has registered under a number."""
        number = self.number(width)
        self.odd(f"takes number {number} of the extension registry, whatever that is where it is loaded")
        self.stack.append(None)

    def do_ext1(self) -> None:
        """EXT1."""
        self.extension(1)

    def do_ext2(self) -> None:
        """EXT2."""
        self.extension(2)

    def do_ext4(self) -> None:
        """EXT4."""
        self.extension(4)

    def do_get(self) -> None:
        """GET."""
        index = self.index()
        if index >= 0:
            self.get(index)
        else:
            self.stack.append(None)

    def do_put(self) -> None:
        """PUT."""
        index = self.index()
        if index >= 0:
            self.put(index, self.top())

    def index(self) -> int:
        """Return a number of the memo that is written as text, -1 where there is none."""
        text = self.line().strip()
        if not text.isdigit() or len(text) > 15:
            self.wrong("has no number where one of the memo belongs")
            return -1
        return int(text)

    def do_binget(self) -> None:
        """BINGET."""
        self.get(self.number(1))

    def do_long_binget(self) -> None:
        """LONG_BINGET."""
        self.get(self.number(4))

    def do_long_binput(self) -> None:
        """LONG_BINPUT."""
        self.put(self.number(4), self.top())

    def tuple(self, items: list[Any]) -> Any:
        """Return a tuple, or that it was lost where it is too wide or too heavy to be kept."""
        weight = 100 + 8 * len(items)
        for item in items:
            weight += _weight(item)
        if len(items) > _WIDEST_TUPLE or weight > _MOST_HELD // 16:
            return _LOST
        self.held += weight
        return _Tuple(items, weight)

    def do_tuple(self) -> None:
        """TUPLE."""
        self.stack.append(self.tuple(self.above_mark()))

    def do_empty_tuple(self) -> None:
        """EMPTY_TUPLE."""
        self.stack.append(_Tuple([], 0))

    def do_tuple1(self) -> None:
        """TUPLE1."""
        self.stack.append(self.tuple([self.pop()]))

    def do_tuple2(self) -> None:
        """TUPLE2."""
        second, first = self.pop(), self.pop()
        self.stack.append(self.tuple([first, second]))

    def do_tuple3(self) -> None:
        """TUPLE3."""
        third, second, first = self.pop(), self.pop(), self.pop()
        self.stack.append(self.tuple([first, second, third]))

    def do_empty_dict(self) -> None:
        """EMPTY_DICT."""
        self.stack.append({})

    def do_dict(self) -> None:
        """Make a dictionary of what is above the mark: DICT."""
        pairs = self.above_mark()
        self.stack.append({})
        self.items(pairs)

    def do_list(self) -> None:
        """LIST, FROZENSET."""
        self.above_mark()
        self.stack.append(None)

    def do_proto(self) -> None:
        """PROTO."""
        number = self.number(1)
        if number > 5:
            self.wrong(f"says that it is of protocol {number}, and the newest is 5")
        self.protocol = min(number, 5)
        self.found.protocol = max(self.found.protocol, self.protocol)

    def do_frame(self) -> None:
        """FRAME: a promise of how many bytes follow."""
        after = self.number(8) + self.window.tell()
        if after > self.window.end:
            # The real machine reads the whole of it first, so nothing of it would run; what it would do is still worth a look.
            self.problem = self.problem or str(Short(self.window.end, after))


_OTHERS: list[Callable[[_Machine], None] | None] = [None] * 256
"""By instruction: what carries it out. Those that the loop does itself are not in it."""
_HANDLERS = {
    b".": _Machine.do_stop, b"0": _Machine.do_pop, b"1": _Machine.do_pop_mark, b"2": _Machine.do_dup, b"F": _Machine.do_line,
    b"I": _Machine.do_int, b"J": _Machine.do_binint, b"L": _Machine.do_line, b"M": _Machine.do_binint2, b"P": _Machine.do_persid,
    b"Q": _Machine.do_binpersid, b"R": _Machine.do_reduce, b"S": _Machine.do_string, b"T": _Machine.do_binstring,
    b"U": _Machine.do_short_binstring, b"V": _Machine.do_unicode, b"X": _Machine.do_binunicode, b"a": _Machine.do_append,
    b"b": _Machine.do_build, b"c": _Machine.do_global, b"d": _Machine.do_dict, b"}": _Machine.do_empty_dict,
    b"e": _Machine.do_appends, b"g": _Machine.do_get, b"h": _Machine.do_binget, b"i": _Machine.do_inst, b"j": _Machine.do_long_binget,
    b"l": _Machine.do_list, b"o": _Machine.do_obj, b"p": _Machine.do_put, b"r": _Machine.do_long_binput, b"s": _Machine.do_setitem,
    b"t": _Machine.do_tuple, b")": _Machine.do_empty_tuple, b"u": _Machine.do_setitems, b"\x80": _Machine.do_proto,
    b"\x81": _Machine.do_newobj, b"\x82": _Machine.do_ext1, b"\x83": _Machine.do_ext2, b"\x84": _Machine.do_ext4,
    b"\x85": _Machine.do_tuple1, b"\x86": _Machine.do_tuple2, b"\x87": _Machine.do_tuple3, b"\x8a": _Machine.do_long1,
    b"\x8b": _Machine.do_long4, b"B": _Machine.do_binbytes, b"C": _Machine.do_short_binbytes, b"\x8c": _Machine.do_short_binunicode,
    b"\x8d": _Machine.do_binunicode8, b"\x8e": _Machine.do_binbytes8, b"\x90": _Machine.do_appends, b"\x91": _Machine.do_list,
    b"\x92": _Machine.do_newobj_ex, b"\x93": _Machine.do_stack_global, b"\x95": _Machine.do_frame, b"\x96": _Machine.do_binbytes8,
    b"\x98": _Machine.do_readonly,
}  # fmt: skip
for _instruction, _handler in _HANDLERS.items():
    _OTHERS[_instruction[0]] = _handler


_TEXTS_OF_BATCH = {"numbers": 0, "keys": _BATCH, "values": _BATCH, "texts": _BATCH, "pairs": 2 * _BATCH}
_FRAME = rb"(?:\x95.{8})?"
_WIDTHS = {0x4B: 1, 0x4D: 2, 0x4A: 4, 0x47: 8, 0x95: 8}
"""How many bytes follow what a batch has beside its texts."""
_NUMBER = rb"(?:K.|M..|J.{4}|G.{8}|[N\x88\x89])"


def _short_text() -> bytes:
    """Return what matches SHORT_BINUNICODE of at most 32 bytes: its length says how many follow, so each has a branch of its own."""
    lengths = b"|".join(b"\\x%02x.{%d}" % (length, length) for length in range(1, 33))
    return rb"\x8c(?:\x00|" + lengths + rb")"


def _batches() -> re.Pattern[bytes]:
    """Return what matches a whole batch of entries, with the kind of it as the name of its group."""
    import re

    text, number = _FRAME + _short_text() + rb"\x94", _FRAME + _NUMBER
    kinds = (
        ("keys", text + number, b"u"),
        ("texts", text, b"e"),
        ("numbers", number, b"e"),
        ("values", number + text, b"u"),
        ("pairs", text + text, b"u"),
    )
    either = (b"(?P<%s>(?:%s){%d}%s%s)" % (name.encode(), entry, _BATCH, _FRAME, end) for name, entry, end in kinds)
    return re.compile(rb"\((?:" + b"|".join(either) + b")", re.DOTALL)


def _weight(value: Any) -> int:
    """Return about how many bytes of memory a thing of the stack holds that could be given up; 0 for small ones."""
    kind = type(value)
    if kind is str:
        return len(value) + 60
    if kind is _Tuple:
        return int(value.weight)
    return 300 if kind is dict else 0


def _decoded(data: bytes, encoding: str) -> str:
    """Return a text of the file as the real machine reads it; what cannot be read is replaced."""
    if encoding == "escape":
        from codecs import escape_decode

        try:
            return escape_decode(data.strip()[1:-1])[0].decode("latin-1")
        except ValueError:
            return data.decode("latin-1")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _of_python_2(module: str, name: str) -> tuple[str, str]:
    """Return a name as Python 3 has it: up to protocol 2, names are taken for Python 2's."""
    from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING

    if (module, name) in NAME_MAPPING:
        return NAME_MAPPING[module, name]
    return IMPORT_MAPPING.get(module, module), name
