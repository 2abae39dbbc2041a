"""The GPU no longer answers on the PCI bus.

The kernel says "NVRM: Xid (PCI:0000:44:00): 79, GPU has fallen off the bus", nvidia-smi "Unable to determine the device handle
for GPU" or "GPU is lost". Power, heat, a riser or a cable, the firmware or the card itself are the reasons. The driver does not
take such a GPU back: programs on it fail, and asking for all GPUs often fails as a whole.

How it is told from its look-alikes: it worked before, and the kernel's log has Xid 79 since the driver was loaded; where NVML
gets answers from that GPU again, it is only a warning. In a virtual machine that never worked it may be the old driver's refusal
(`host/vm-passthrough-hypervisor`). A container that has lost its GPU while nvidia-smi works on the host is
`docker/daemon-reload-loses-gpu`.

Cure: switch the machine off and on (a warm reboot is often not enough); check power, temperature and seat; update the firmware;
limiting the clock (nvidia-smi -lgc) shows whether power is the cause.

Sources: NVIDIA Xid catalog (79); open-gpu-kernel-modules issue 507.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.host import NoAnswer
from gpudoctor.model import Cure, Evidence, Finding, Rule, Where
from gpudoctor.rules import advice, cards
from gpudoctor.rules.hardware import _xid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts

_LOST = "GPU is lost"
_AT_START = "fallen off the bus and is not responding"
_LOOK = "sudo dmesg | grep -e NVRM -e pcieport -e AER"
_CHECKS = "check power cables, temperature and the card's seat, and update the firmware"


def check(facts: Facts) -> Iterator[Finding]:
    """Find GPUs that the driver has lost since it was loaded, or that did not answer when it was."""
    _xid.need_driver(facts)
    words = _lost(facts)
    try:
        found = _xid.seen(facts, 79)
        dead = _dead_at_start(facts)
    except NoAnswer:
        if not words and not _xid.all_answer(facts):
            raise
        found, dead = (), {}
    back = tuple(dict.fromkeys(each.address for each in found if _xid.state(facts, each.address) == "answers"))
    gone = tuple(dict.fromkeys((*(each.address for each in found if each.address not in back), *dead)))
    evidence = [*_xid.evidence(each for each in found if each.address in gone), *words, *dead.values()]
    if evidence:
        who = _xid.named(facts, gone) if gone else "a GPU of this host"
        virtual = facts.platform.hypervisor
        machine = "the virtual machine (or the machine below it)" if virtual else "the machine"
        yield Finding(
            "the GPU has fallen off the bus",
            f"{who[:1].upper()}{who[1:]} no longer answers on the PCI bus, and the driver does not take it back: what runs on it fails, and "
            "so may every container that asks for all GPUs.",
            tuple(evidence),
            Cure(
                "SHOWN",
                f"Switch {machine} off and on (a warm reboot is often not enough); if it comes back, {_CHECKS}.",
                (_LOOK, "sudo poweroff"),
                advice.REBOOT_RISK,
            ),
        )
    if back:
        yield Finding(
            "the GPU had fallen off the bus",
            f"{_xid.named(facts, back)} had fallen off the PCI bus since the driver was loaded and answers again; it may happen again.",
            _xid.evidence(each for each in found if each.address in back),
            Cure("SHOWN", f"Watch the kernel's log; if it comes back, {_CHECKS}.", (_LOOK,)),
            severity="warning",
            breaks=(),
        )


def _lost(facts: Facts) -> tuple[Evidence, ...]:
    """Return where NVML or nvidia-smi say today that a GPU is lost."""
    for gpu in _xid.nvml(facts):
        if gpu.get("error") == _LOST:
            return (Evidence(Where("NVML"), f"GPU {gpu.get('index')}: {_LOST}"),)
    try:
        ran = facts.driver.smi_run
    except NoAnswer:
        return ()
    lines = (ran.out + b"\n" + ran.err).decode("utf-8", "replace").split("\n") if ran is not None else []
    return tuple(Evidence(Where("nvidia-smi -L"), line.strip()[:200]) for line in lines if _LOST in line)[:1]


def _dead_at_start(facts: Facts) -> dict[str, Evidence]:
    """Return the log's words about each GPU that did not answer when the driver was loaded, and that it has not taken since.

    ``NVRM: The NVIDIA GPU 0000:05:00.0 (PCI ID: 10de:1b80)``, and on the next line why.
    """
    taken = {gpu.address for gpu in facts.gpus.taken}
    aside = {gpu.address for gpu in facts.gpus.functions if cards.passed_through(gpu)}
    lines = facts.driver.log_since_load
    found: dict[str, Evidence] = {}
    for before, line in zip(("", *lines), lines, strict=False):
        if _AT_START in line:
            text = f"{before} {line}" if before.startswith("NVRM: The NVIDIA GPU ") else line
            address = text.partition("The NVIDIA GPU ")[2].partition(" ")[0].lower()
            if address and address not in taken | aside:
                found[address.rpartition(".")[0]] = Evidence(_xid.LOG, text.replace(" NVRM:", "")[:300])
    return found


RULE = Rule(
    "hardware/xid79-fallen-off-bus",
    55,
    "error",
    "the GPU has fallen off the bus",
    check,
    breaks=("driver",),
    needs=("gpu",),
    signs=(
        "nvmlerror_gpuislost",
        "gpu has fallen off the bus",
        "fallen off the bus and is not responding",
        "xid (pci:?): 79",
        "gpu is lost. reboot the system to recover",
        "gpu is lost",
        "osinitnvmapping: cannot attach gpu",
        "rminitadapter failed! (0x22",
        "unable to determine the device handle for gpu*",
    ),
)
