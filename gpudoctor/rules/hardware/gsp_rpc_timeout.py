"""The firmware on the GPU's system processor (GSP) has stopped answering.

The kernel says "Xid ... 119, Timeout waiting for RPC from GSP!" (or 120). nvidia-smi hangs or takes minutes, and programs fail.

How it is told from its look-alikes: the log has Xid 119 or 120 since the driver was loaded. A start that is merely slow is
`host/init-timeout-no-persistence`. Where NVML gets answers from the GPU today, the firmware has come back, and it is a warning.

Cure: reset the GPU or switch the machine off and on; install a newer driver. With the proprietary module GSP can be switched
off on Turing, Ampere and Ada (options nvidia NVreg_EnableGpuFirmware=0); with the open one and on Blackwell it cannot.

Sources: NVIDIA Xid catalog (119, 120); NVIDIA driver README (GSP firmware); open-gpu-kernel-modules issue 446.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.host import NoAnswer
from gpudoctor.model import Cure, Finding, Rule
from gpudoctor.rules import advice
from gpudoctor.rules.hardware import _xid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts

_WITHOUT = frozenset({"Turing", "Ampere", "Ada"})
_OPTION = "NVreg_EnableGpuFirmware=0"
_FILE = "/etc/modprobe.d/nvidia-gsp.conf"


def check(facts: Facts) -> Iterator[Finding]:
    """Find GPUs whose firmware has not answered the driver since it was loaded."""
    _xid.need_driver(facts)
    found = _xid.seen(facts, 119, 120)
    back = tuple(dict.fromkeys(each.address for each in found if _xid.state(facts, each.address) == "answers"))
    stuck = tuple(dict.fromkeys(each.address for each in found if each.address not in back))
    optional = _optional(facts)
    off = (f"echo 'options nvidia {_OPTION}' | sudo tee {_FILE}", advice.rebuild_initramfs(facts)) if optional else ()
    newer = "install a newer driver" + (", or switch the firmware off from the next boot on" if optional else "")
    if stuck:
        yield Finding(
            "the GPU's system processor does not answer",
            f"{_xid.named(facts, stuck)}: the firmware on the GPU's system processor (GSP) has stopped answering the driver, so nvidia-smi "
            "hangs or fails, and so do programs and containers that want this GPU.",
            _xid.evidence(each for each in found if each.address in stuck),
            Cure(
                "SHOWN",
                f"Reset the GPU; where that hangs, switch the machine off and on. Against the next time, {newer}.",
                (_xid.reset_command(stuck), *off),
                f"{_xid.RESET_RISK} {advice.REBOOT_RISK}",
            ),
        )
    if back:
        yield Finding(
            "the GPU's system processor has not answered",
            f"{_xid.named(facts, back)}: the firmware on the GPU's system processor (GSP) has not answered the driver in time; it answers "
            "again, and may stop again.",
            _xid.evidence(each for each in found if each.address in back),
            Cure(
                "SHOWN",
                f"Reset the GPU when it suits; if it comes back, {newer}.",
                (_xid.reset_command(back), *off),
                _xid.RESET_RISK,
            ),
            severity="warning",
            breaks=(),
        )


def _optional(facts: Facts) -> bool:
    """Say whether this driver works without the GSP on all GPUs here."""
    try:
        flavour = facts.driver.flavour
    except NoAnswer:
        return False
    gpus = facts.gpus.functions
    return flavour == "proprietary" and bool(gpus) and all(gpu.architecture in _WITHOUT and not gpu.probable for gpu in gpus)


RULE = Rule(
    "hardware/gsp-rpc-timeout",
    99,
    "error",
    "the GPU's system processor does not answer",
    check,
    breaks=("driver",),
    needs=("gpu",),
    signs=(
        "timeout waiting for rpc from gsp",
        "xid (pci:?): (119|120)",
        "timeout after*waiting for rpc response from gpu<n> gsp",
        "gsp*(timeout|timed out)*rpc",
        "rminitadapter failed + gsp",
        "rpcrecvpoll timedout for fn",
        "gsp rm heartbeat timed out",
        "cannot initialize gsp firmware rm",
        "cannot bootstrap riscv/gsp",
        "rpcrmapicontrol_gsp*failed",
        "~ gsp",
    ),
)
