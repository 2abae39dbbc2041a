"""Whole batches of a large pickle are passed over at once: what is found is what the walk one by one finds."""

from __future__ import annotations

import io
import pickle
import random

import pytest

from gpudoctor.bundle import pickles

LETTERS = "abcdefgh:0é"


def words(chance: random.Random, count: int) -> list[str]:
    """Return texts of 0 to 40 letters, of which those above 32 bytes belong to no batch."""
    return ["".join(chance.choices(LETTERS, k=chance.randint(0, 40))) + str(number) for number in range(count)]


def large(chance: random.Random) -> list[object]:
    """Return what fills a few batches of one kind or another."""
    count = chance.randint(2_500, 9_000)
    numbers = [chance.choice([1, 300, 70_000, -5, 1.5, None, True]) for _ in range(count)]
    return [
        dict(zip(words(chance, count), numbers, strict=True)),
        dict(enumerate(words(chance, count))),
        words(chance, count),
        [chance.random() for _ in range(count * 3)],
        dict(zip(words(chance, count), words(chance, count), strict=True)),
    ]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("protocol", [4, 5])
def test_it_is_what_is_found_one_by_one(seed, protocol, monkeypatch):
    """Of dictionaries and lists of every kind, shared texts too, both ways find the same and end at the same place."""
    chance = random.Random(seed)
    made = large(chance)
    data = pickle.dumps([*made, made[2][:70], pickles.walk, "cuda:1"], protocol)
    fast = pickles.walk(io.BytesIO(data))
    monkeypatch.setattr(pickles, "_MANY", 1 << 40)
    assert pickles.walk(io.BytesIO(data)) == fast
    assert ("gpudoctor.bundle.pickles", "walk") in {(each.module, each.name) for each in fast.uses}


@pytest.mark.parametrize("at", [0, 7, 999, 1_000, 1_500, 2_998])
def test_a_name_that_hides_in_a_batch_is_found(at):
    """Texts of a batch that are used as a name later are read once more: os.system called through the memo does not pass."""
    keys = [f"word{number}" for number in range(3_000)]
    keys[at : at + 2] = ["os", "system"]
    data = pickle.dumps(dict.fromkeys(keys, 1) | {f"more{number}": number for number in range(20_000)}, 4)
    get = [b"j" + (1 + at + number).to_bytes(4, "little") for number in range(2)]
    hostile = data[:-1] + b"0" + get[0] + get[1] + b"\x93\x8c\x02id\x85R."
    ran: list[tuple[str, str]] = []

    class Real(pickle.Unpickler):
        """Python's own, which tells what it would have imported."""

        def find_class(self, module: str, name: str) -> object:
            """Keep the name, and give something harmless."""
            ran.append((module, name))
            return str

    Real(io.BytesIO(hostile)).load()
    assert ran == [("os", "system")]
    uses = {(each.module, each.name, each.how) for each in pickles.walk(io.BytesIO(hostile)).uses}
    assert ("os", "system", "called") in uses


def test_a_device_in_a_batch_is_noted():
    """A text that names a device is found among thousands."""
    made = [f"word{number}" for number in range(30_000)]
    made[12_345] = "cuda:3"
    found = pickles.walk(io.BytesIO(pickle.dumps(made, 4)))
    assert "cuda:3" in {each.name for each in found.devices}
