"""The editor of Compose files: the exact change of many messy ones, and that no other service and no other key ever changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gpudoctor.formats import Malformed
from gpudoctor.formats.edit import Unsafe
from gpudoctor.formats.edit.compose import give, services
from tests import edits

if TYPE_CHECKING:
    from pathlib import Path

NODES = ["/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm"]
REQUEST = {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
KEYS = {
    "reservation": {"deploy": {"resources": {"reservations": {"devices": [REQUEST]}}}},
    "devices": {"devices": [f"{node}:{node}" for node in NODES]},
    "gpus": {"gpus": "all"},
    "cdi": {"devices": ["nvidia.com/gpu=all"]},
}


def asked(path: Path, words: list[str]) -> bytes:
    """Return what comes of an ask (service and style), in the form that the expectation has."""
    return edits.outcome(path, lambda data: give(data, words[0], KEYS[words[1]]))


@pytest.mark.parametrize(("path", "words", "expected"), edits.cases("compose"))
def test_the_change_is_exactly_the_expected_one(path, words, expected):
    """Each messy file changes as its neighbour says, byte for byte."""
    assert asked(path, words) == expected


LAST = st.sampled_from([
    ["image: x"],
    ["image: x  # why", "# a comment"],
    ["image: x", "ports:", "  - 80:80", "  - 81:81"],
    ["image: x", "ports:", "- 80:80"],
    ["image: x", "command: |", "  serve", "", "  more"],
    ["image: x", "deploy:", "  replicas: 2"],
    ["image: x", "deploy: {replicas: 2}"],
    ["image: x", "devices: [/dev/snd]"],
    ["image: x", "environment:", "  A: '1'", "  B:"],
])  # fmt: skip
FILE = st.tuples(
    st.lists(st.tuples(LAST, st.sampled_from(["", "\n", "\n# next\n"])), min_size=1, max_size=3),
    st.sampled_from([2, 4]),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
    st.sampled_from(["", "volumes:\n  data: {}\n", "# the end\n"]),
)


def written(made):
    """Return a Compose file of services s0, s1 ..."""
    parts, step, newline, ends, rest = made
    text = "services:\n"
    for at, (lines, gap) in enumerate(parts):
        text += f"{' ' * step}s{at}:\n" + "".join(f"{' ' * (2 * step)}{line}\n" if line else "\n" for line in lines) + gap
    text += rest
    return (text if ends else text.rstrip("\n")).replace("\n", newline).encode()


@settings(max_examples=60, deadline=None)
@given(FILE, st.sampled_from(sorted(KEYS)))
def test_only_the_asked_service_gains_only_the_asked_keys(made, style):
    """All other values stay, and asked twice is asked once."""
    data = written(made)
    before = yaml.safe_load(data)
    try:
        after = give(data, "s0", KEYS[style])
    except Unsafe:
        # Block text without a line break at the end of the file would get one.
        assert not data.endswith(b"\n")
        assert data.endswith(b"more")
        return
    value = yaml.safe_load(after)
    assert {name: each for name, each in value["services"].items() if name != "s0"} == {
        name: each for name, each in before["services"].items() if name != "s0"
    }
    added = value["services"]["s0"]
    for name, each in before["services"]["s0"].items():
        if name not in KEYS[style]:
            assert added[name] == each
    assert give(after, "s0", KEYS[style]) == after


def test_services_are_named_in_order():
    """The services that a file has, for the question which one is meant."""
    assert services(b"services:\n  b:\n    image: x\n  a:\n    image: y\n") == ("b", "a")


@pytest.mark.parametrize(
    "data", [b"services:\n  a: &a\n    b: *a\n", b"&a [*a]\n", b"a: &x [1]\nb: &y [*x, *x]\nservices: {web: {image: x}}\n"]
)
def test_aliases_without_end_are_no_trouble(data):
    """A file whose aliases lead in a circle, or repeat without end, is refused or edited, and never hangs."""
    outcome = ""
    try:
        outcome = give(data, "web", KEYS["gpus"]).decode()
    except (Unsafe, Malformed) as refused:
        outcome = str(refused)
    assert outcome
