"""The kernel's log, in every form it is kept in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpudoctor.formats import kernel_log

MESSAGE = "NVRM: Xid (PCI:0000:41:00): 79, pid=1234, GPU has fallen off the bus."


@pytest.mark.parametrize(
    "before",
    [
        "",
        "[   12.345678] ",
        "[ 1012.345678][  T233] ",
        "[  112.345678] [    C3] ",
        "[Mon Nov 23 10:11:12 2026] ",
        "<4>[   12.345678] ",
        "<4>",
        "4,1234,12345678,-;",
        "6,1234,12345678,-,caller=T233;",
        "kern  :warn  : [   12.345678] ",
        "Nov 23 10:11:12 gpu-box-3 kernel: ",
        "Nov 23 10:11:12 gpu-box-3 kernel: [   12.345678] ",
        "2026-11-23T10:11:12.123456+00:00 gpu-box-3 kernel: [   12.345678] ",
    ],
)
def test_what_stands_before_the_message_is_taken_away(before: str) -> None:
    """dmesg, kmsg, journald and syslog give the same message."""
    assert kernel_log.lines(f"noise\n{before}{MESSAGE}\nmore noise\n".encode()) == (MESSAGE,)


def test_only_lines_that_matter_are_kept_in_order() -> None:
    """Each of the words keeps its line once, and a bracket of the message's own stays."""
    kept = [
        "nvidia: loading out-of-tree module taints kernel.",
        "nvidia: module verification failed: signature and/or required key missing - tainting kernel",
        "nouveau 0000:01:00.0: NVIDIA TU104 (164000a1)",
        "[drm] [nvidia-drm] [GPU ID 0x00000100] Loading driver",
        "Loading of module with unavailable key is rejected",
        "PM: suspend entry (deep)",
        'audit: type=1400 audit(1.2:3): apparmor="DENIED" operation="open" comm="nvidia-modprobe"',
        "PKCS#7 signature not signed with a trusted key",
        "NovaCore: nova probing",
    ]
    log = "".join(f"[{number:5}.000001] usb 1-1: new device\n[{number:5}.000002] {line}\n" for number, line in enumerate(kept))
    assert kernel_log.lines(log.encode()) == tuple(kept)


def test_a_flood_keeps_its_start_and_its_end() -> None:
    """A line that repeats for days does not fill the memory, and how the driver loaded stays."""
    log = b"".join(b"[ %d.1] NVRM: Xid %d\n" % (number, number) for number in range(9000))
    kept = kernel_log.lines(log)
    assert (len(kept), kept[0], kept[999], kept[1000], kept[-1]) == (
        4000,
        "NVRM: Xid 0",
        "NVRM: Xid 999",
        "NVRM: Xid 6000",
        "NVRM: Xid 8999",
    )
    assert len(kernel_log.lines(b"NVRM: " + b"x" * 100000)[0]) == 1000


@given(st.one_of(st.binary(), st.text(alphabet="[]<>;,: 1T\n").map(str.encode)))
def test_random_bytes_never_raise(data: bytes) -> None:
    """Garbage gives lines that can be printed."""
    for line in kernel_log.lines(data.replace(b"\n", b"NVRM\n") + b"NVRM"):
        line.encode()


def test_xids_of_every_form_are_read():
    """With and without PCI, of a MIG instance, of an NVSwitch; what merely quotes one is none."""
    log = (
        "NVRM: Xid (PCI:0000:44:00): 79, pid=1234, GPU has fallen off the bus.",
        "NVRM: Xid (0000:C1:00): 31, Ch 00000010",
        "NVRM: Xid (PCI:0000:44:00 GPU-I:05): 94, pid=7194, Contained: SM",
        "nvidia-nvswitch3: SXid (PCI:0000:c1:00.0): 20034, Fatal, Link 30 LTSSM Fault Up",
        "nvidia-nvswitch3: SXid (PCI:0000:c1:00.0): 12028, Non-fatal, Link 46 egress non-posted PRIV error",
        'audit: comm="NVRM: Xid (PCI:0000:44:00): 79, ..."',
        "NVRM: Xid (PCI:0000:44:00): many",
        "NVRM: Xid (",
    )
    assert [each[:4] for each in kernel_log.xids(log)] == [
        ("0000:44:00", 79, False, False),
        ("0000:c1:00", 31, False, False),
        ("0000:44:00", 94, False, False),
        ("0000:c1:00", 20034, True, True),
        ("0000:c1:00", 12028, True, False),
    ]
    assert kernel_log.xids(log)[0].line == log[0]


@given(st.lists(st.text(alphabet="NVRM: Xid(PC0.,)9")))
def test_xids_of_garbage_never_raise(log: list[str]) -> None:
    """Whatever stands in a log, reading its Xids gives numbers and addresses or nothing."""
    for each in kernel_log.xids(tuple(log)):
        assert each.number >= 0
