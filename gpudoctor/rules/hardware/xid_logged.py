"""The driver or an NVSwitch has logged an error that asks for a reset or a look at the hardware.

NVIDIA's driver reports what goes wrong on a GPU as numbered Xid errors in the kernel's log, and NVSwitches as SXid errors. Most
come from a program (13, 31, 32, 43, 45, 69: an invalid access or instruction, or a program that was ended), and are over with it:
they are no fault of the host and no finding. Others ask for a reset of the GPU (46, 62, 74, 109, 143, 154, 155, 158), for a power
cable (54) or for a cold start (110): the GPU may fail or be slower until then. A fatal SXid stops NVLink until all GPUs and
NVSwitches are reset.

How it is told from its look-alikes: the number decides, and only what was logged since the driver was last loaded counts. Xid 79
is `hardware/xid79-fallen-off-bus`, 119 and 120 are `hardware/gsp-rpc-timeout`, and 48, 63, 64, 94, 95 and 140
`hardware/ecc-uncorrectable`. Whether a reset has happened since does not show in the log, so this is a warning.

Cure: what the finding says of its number: restart the program, reset the GPU, reboot, or check the cable; if it comes back, it is
a matter for the card's vendor.

Sources: NVIDIA Xid catalog; NVIDIA fabric manager user guide (SXid errors).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor import tables
from gpudoctor.model import Cure, Finding, Rule
from gpudoctor.rules import advice
from gpudoctor.rules.hardware import _xid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.formats.kernel_log import Xid

_OTHERS = frozenset({48, 63, 64, 79, 94, 95, 119, 120, 140, 171, 172})
"""Numbers that have a rule of their own."""
_QUIET = frozenset({"restart the program", "nothing now", "update the driver"})
_RECOVERY = 154
_NEEDS = ("GPU Reset Required", "Node Reboot Required", "Drain and Reset")
"""What an Xid 154 may say; "None" and "Drain P2P" ask for nothing that concerns a single GPU."""

_LOGGED = (
    "8|11|13|31|32|37|38|39|40|41|43|44|45|46|54|60|61|62|66|67|68|69|70|71|72|74|75|76|77|78|80|82|83|84|85|"
    "86|88|89|92|93|96|97|98|99|100|101|102|103|104|105|106|107|108|109|110|121|126|127|128|129|130|131|132|"
    "133|134|135|136|137|139|141|143|144|145|146|147|148|149|150|151|154|155|156|157|158|160|161|168"
)
"""The numbers of the catalog, but for those with a rule of their own: any of them in a text leads here."""


def check(facts: Facts) -> Iterator[Finding]:
    """Find Xids whose meaning is a fault of the GPU or its links, and fatal SXids."""
    _xid.need_driver(facts)
    found = facts.driver.xids
    asking = tuple(each for each in found if _asks(each))
    gpus = tuple(dict.fromkeys(each.address for each in asking if not each.switch))
    if gpus:
        actions = {known.action for each in asking if not each.switch and (known := tables.xid(each.number)) is not None}
        yield Finding(
            "the driver has logged an error that asks for more than a restart of the program",
            f"{_xid.named(facts, gpus)}: since it was loaded, the driver has logged errors after which this GPU may fail or be slower until "
            "they are seen to; a reset since then would not show.",
            _xid.evidence(each for each in asking if not each.switch),
            Cure("SHOWN", _summary(actions), (_xid.reset_command(gpus),), f"{_xid.RESET_RISK} {advice.REBOOT_RISK}"),
        )
    switches = tuple(each for each in asking if each.switch)
    if switches:
        yield Finding(
            "an NVSwitch has logged a fatal error",
            f"The NVSwitch at {switches[-1].address}.0 has logged a fatal error: programs that use several GPUs over NVLink fail until all GPUs "
            "and NVSwitches are reset.",
            _xid.evidence(switches),
            Cure(
                "SHOWN",
                "Stop what uses the GPUs and nvidia-fabricmanager, reset all GPUs together, start it again; or reboot.",
                (
                    "sudo systemctl stop nvidia-fabricmanager",
                    "sudo nvidia-smi --gpu-reset",
                    "sudo systemctl start nvidia-fabricmanager",
                ),
                f"{_xid.RESET_RISK} {advice.REBOOT_RISK}",
            ),
        )


def _asks(each: Xid) -> bool:
    if each.switch:
        return each.fatal
    if each.number == _RECOVERY:
        # Its line ends like: action changed from 0x0 (None) to 0x1 (GPU Reset Required)
        return any(words in each.line.rpartition(" to ")[2] for words in _NEEDS)
    known = tables.xid(each.number)
    return known is not None and each.number not in _OTHERS and known.action not in _QUIET


def _summary(actions: set[str]) -> str:
    if "check the power cable" in actions:
        return "Switch the machine off and check the card's power cables."
    if actions & {"switch off and on", "reboot"}:
        return "Switch the machine off and on; if it comes back, ask the card's vendor."
    return "If programs on it fail, stop them and reset the GPU, or reboot; if it comes back, ask the card's vendor."


RULE = Rule(
    "hardware/xid-logged",
    100,
    "warning",
    "the driver has logged an error that asks for a reset",
    check,
    needs=("gpu", "driver"),
    signs=(
        f"xid (pci:?): ({_LOGGED})",
        "nvidia-nvswitch? sxid (pci:?)",
    ),
)
