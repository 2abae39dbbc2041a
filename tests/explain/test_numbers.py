"""Xid and SXid numbers in a text: each is named with what it means and what to do."""

from __future__ import annotations

import io
import json

import jsonschema
import pytest

from gpudoctor.explain import clean
from gpudoctor.explain.numbers import Collector
from tests.explain.test_command import SCHEMA

DMESG = """\
[    5.123456] nvidia: module license 'NVIDIA' taints kernel.
[ 1234.567890] NVRM: Xid (PCI:0000:01:00): 79, pid=1234, name=python3, GPU has fallen off the bus.
[ 1235.000000] NVRM: Xid (PCI:0000:41:00): 63, pid='<unknown>', name=<unknown>, Row Remapper: New row marked for remapping
[ 1235.000001] NVRM: Xid (PCI:0000:C1:00 GPU-I:05): 79, pid=7, name=x, GPU has fallen off the bus.
[ 1236.000000] nvidia-nvswitch3: SXid (PCI:0000:c1:00.0): 20034, Fatal, Link 28 LTSSM Fault Up
[ 1236.500000] nvidia-nvswitch0: SXid (PCI:0000:c2:00.0): 22013, Non-fatal, Link 05 Minion Link DLREQ interrupt
[ 1237.000000] NVRM: Xid (PCI:0000:41:00): 999, something new
[ 1238.000000] NVRM: Xid (PCI:0000:01:00): 154, GPU recovery action changed from 0x0 (None) to 0x1 (GPU Reset Required)
"""


def found(text: str) -> list[tuple[str, bool, tuple[str, ...]]]:
    """Return the numbers of a text, whether they are known, and where they were."""
    collector = Collector()
    for _ in collector.watch(clean.windows(io.BytesIO(text.encode()))):
        pass
    return [(each.name, each.known, each.places) for each in collector.found()]


def test_every_number_of_a_pasted_log_is_listed_once():
    """GPUs and NVSwitches, several places of one number, and one that NVIDIA's catalog does not have."""
    assert found(DMESG) == [
        ("Xid 79", True, ("0000:01:00", "0000:c1:00")),
        ("Xid 63", True, ("0000:41:00",)),
        ("SXid 20034", True, ("0000:c1:00.0",)),
        ("SXid 22013", True, ("0000:c2:00.0",)),
        ("Xid 999", False, ("0000:41:00",)),
        ("Xid 154", True, ("0000:01:00",)),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Xid 31", ["Xid 31"]),
        ("we see XID errors: 48 on one GPU", ["Xid 48"]),
        ("DCGM reports Xid error 94", ["Xid 94"]),
        ("NVIDIA says Xid=13 and xid 43", ["Xid 13", "Xid 43"]),
        ("nvidia: Xid 998", []),
        ("postgres: transaction xid 79 was rolled back", []),
        ("NVRM: Xid (0000:03:00): 13, 0001", ["Xid 13"]),
        ("NVRM: Xid (PCI:0000:01:00):\n 79, pid=1", ["Xid 79"]),
        ("the GPU's taxid 79", []),
    ],
)
def test_how_people_write_it(text, expected):
    """The short form counts beside a word about GPUs and with a known number; a database's xid is none."""
    assert [each[0] for each in found(text)] == expected


def test_a_log_with_thousands_of_numbers_is_kept_short():
    """What is kept does not grow with the log."""
    text = "".join(f"NVRM: Xid (PCI:0000:{at % 256:02x}:00): {at}, x\n" for at in range(5000))
    assert len(found(text)) == 40
    assert len(found("".join(f"NVRM: Xid (PCI:0000:{at % 256:02x}:00): 79, x\n" for at in range(5000)))[0][2]) == 8


def test_the_command_says_what_each_number_means(gpudoctor):
    """The whole log at once: the failure by name, and every number with its meaning; JSON has the same."""
    ran = gpudoctor("explain", "--no-host", DMESG)
    assert ran.returncode == 0
    told = ran.stdout.decode()
    assert "[hardware/xid79-fallen-off-bus]" in told
    assert "Xid 79 at 0000:01:00, 0000:c1:00: the GPU has fallen off the bus. To do: switch off and on." in told
    assert "SXid 20034 at 0000:c1:00.0: fatal error of an NVSwitch: Link 28 LTSSM Fault Up. To do: reset all GPUs" in told
    assert 'Xid 999 at 0000:41:00: an unknown number. It says: "something new".' in told
    assert "(GPU Reset Required)" in told
    value = json.loads(gpudoctor("explain", "--no-host", "--json", DMESG).stdout)
    jsonschema.validate(value, SCHEMA)
    assert [each["number"] for each in value["xids"]] == [79, 63, 20034, 22013, 999, 154]


def test_a_number_alone_is_explained_and_an_unknown_one_is_not(gpudoctor):
    """A number that has no rule of its own is an answer; one that nobody knows is said to be unknown, with exit code 1."""
    assert gpudoctor("explain", "--no-host", "Xid 31").returncode == 0
    unknown = gpudoctor("explain", "--no-host", "NVRM: Xid (PCI:0000:41:00): 999, huh")
    assert unknown.returncode == 1
    assert b"unknown number" in unknown.stdout
