"""nvidia-smi does not come back.

The driver is loaded and the device nodes are there, yet `nvidia-smi -L` gave no answer within ten seconds. Every
container start asks the driver the same things and hangs as well, or ends with "initialization error: driver rpc
error: timed out". The process may be in state D, which cannot be killed; gpudoctor leaves it and goes on.

How it is told from its look-alikes: several causes look alike from here, and the kernel's log decides: Xid 119 or
120 is the GPU's firmware (`hardware/gsp-rpc-timeout`), Xid 79 a GPU that fell off the bus (`hardware/xid79-fallen-off-bus`). Without
any Xid, many GPUs and no nvidia-persistenced make it merely slow (`host/init-timeout-no-persistence`): it then ends
after a while.

Cure: look at the kernel's log, stop what uses the GPU, and reboot; a GPU that hangs again after a cold start is a
matter for its vendor. A reboot may itself hang on a process in state D: then only a power cycle helps.

Sources: NVIDIA Xid errors guide; NVIDIA/open-gpu-kernel-modules#446, #1230.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.host import Slow
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules import advice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts

CURE = Cure(
    "SHOWN",
    "Read the kernel's log for NVRM and Xid lines, stop what uses the GPU, then reboot.",
    ("sudo dmesg | grep -e NVRM -e Xid", "ps -eo pid,stat,wchan:30,cmd | grep nvidia", "sudo reboot"),
    f"{advice.REBOOT_RISK} If a process in state D holds it up, only a power cycle helps.",
)


def check(facts: Facts) -> Iterator[Finding]:
    """Find an nvidia-smi that was asked and did not answer in time."""
    if not facts.driver.safe_to_ask:
        raise NotApplicable("nvidia-smi is only asked where the driver is loaded and every device node is there.")
    try:
        ran = facts.driver.smi_run
    except Slow as slow:
        yield finding(facts, "nvidia-smi", slow)
        return
    if ran is None:
        raise NotApplicable("nvidia-smi is not installed.")


def finding(facts: Facts, what: str, slow: Slow) -> Finding:
    """Return the finding that ``what`` (nvidia-smi or NVML) hangs, with the kernel's last Xid where its log can be read."""
    evidence = [Evidence(Where(slow.asked), slow.why or "no answer within the time limit")]
    xid = facts.driver.logged("NVRM: Xid")
    if xid is not None:
        evidence.append(Evidence(Where("kernel log"), xid))
    if facts.driver.version is not None:
        evidence.append(Evidence(Where(facts.driver.version_source), f"driver {facts.driver.version} is loaded"))
    return Finding(
        f"{what} hangs",
        f"The driver is loaded, but {what} gave no answer in time: a container that asks for the GPU hangs or times out as well. "
        + ("The kernel's log names the cause." if xid is not None else "The kernel's log has to tell why."),
        tuple(evidence),
        CURE,
    )


RULE = Rule(
    "host/nvidia-smi-hangs",
    76,
    "error",
    "nvidia-smi hangs",
    check,
    breaks=("driver",),
    needs=("gpu", "module"),
    follows=("hardware/xid79-fallen-off-bus", "hardware/gsp-rpc-timeout"),
    signs=(
        "nvidia-smi (hangs|hang|hung|is stuck|gets stuck|is hanging|freezes|never returns)",
        "task nvidia-smi*blocked for more than",
        "soft lockup*[nvidia*",
        "task nv_queue*blocked for more than",
    ),
)
