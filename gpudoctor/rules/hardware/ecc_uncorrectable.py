"""The GPU's memory has an error that ECC could not correct.

Programs get "uncorrectable ECC error encountered"; the kernel's log has Xid 48, 64, 94, 95 or 140. From Ampere on an Xid 94 is
contained to the program that met it, and the faulty row is replaced at the next reset; after an Xid 48 or 95 nothing on the GPU
can be trusted until then. An Xid 64 says that no spare is left.

How it is told from its look-alikes: NVML counts uncorrectable errors since the last reset or load, or says that a page or row of
the memory waits to be replaced; a log that is older than a reset is not held against the GPU. Memory that is merely used up is
`container/gpu-memory-occupied`. Errors that ECC did correct (Xid 92) harm nothing.

Cure: stop what uses the GPU and reset it (nvidia-smi -r) or reboot, so that the row is replaced; if it comes back, the card has
to be replaced.

Sources: NVIDIA GPU memory error management; Xid catalog (48, 63, 64, 94, 95, 140).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpudoctor.model import Cure, Evidence, Finding, Rule, Severity, Where
from gpudoctor.rules import advice
from gpudoctor.rules.hardware import _xid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.formats.kernel_log import Xid

_WORST = frozenset({48, 64, 95, 140, 171, 172})
_CONTAINED = 94
_MARKED = 63


def check(facts: Facts) -> Iterator[Finding]:
    """Find GPUs with uncorrectable errors since their last reset, by NVML's count, else by the kernel's log."""
    _xid.need_driver(facts)
    counted = {str(gpu.get("pci") or "").rpartition(".")[0]: gpu for gpu in _xid.nvml(facts) if _counts(gpu)}
    if any(gpu.get("ecc") is True and not _counts(gpu) for gpu in _xid.nvml(facts)):
        # Nobody counts: the log decides, and where it is refused that is said.
        _ = facts.driver.xids
    logged = _xid.seen(facts, _MARKED, _CONTAINED, *_WORST)
    for address in dict.fromkeys((*counted, *(each.address for each in logged))):
        yield from _judged(facts, address, counted.get(address), tuple(each for each in logged if each.address == address))


def _counts(gpu: dict[str, Any]) -> bool:
    """Say whether NVML counts this GPU's errors, and knows what waits to be replaced."""
    return isinstance(gpu.get("ecc_uncorrected"), int) and isinstance(gpu.get("retiring"), bool)


def _judged(facts: Facts, address: str, gpu: dict[str, Any] | None, logged: tuple[Xid, ...]) -> Iterator[Finding]:
    numbers = {each.number for each in logged}
    evidence = []
    if gpu is not None:
        count, retiring, failed = gpu["ecc_uncorrected"], gpu["retiring"], gpu.get("retiring_failed") is True
        if not count and not retiring and not failed:
            return
        if count:
            evidence.append(Evidence(Where("NVML"), f"{count} uncorrectable ECC errors since the last reset or load"))
        if retiring:
            evidence.append(Evidence(Where("NVML"), "a page or row of the memory waits for a reset to be replaced"))
        if failed:
            evidence.append(Evidence(Where("NVML"), "replacing a row of the memory has failed"))
        # The log may be older than the reset; what NVML counts is not.
        logged = logged if count or failed else ()
        numbers = {each.number for each in logged}
        severity: Severity = "error" if failed or numbers & _WORST else "warning" if count else "hint"
    else:
        severity = "error" if numbers & _WORST else "warning" if _CONTAINED in numbers else "hint"
        failed = 64 in numbers
    text = {
        "error": "has memory errors that ECC could not correct: programs on it fail, or compute with wrong values, until it is reset.",
        "warning": "has had a memory error that ECC could not correct: the program that met it failed, the others go on.",
        "hint": "has a page or row of memory that is replaced at the next reset; until then it goes on.",
    }[severity]
    back = "if it comes back, have the card replaced"
    yield Finding(
        "the GPU's memory has an uncorrectable error" if severity != "hint" else "part of the GPU's memory waits to be replaced",
        f"{_xid.named(facts, (address,))} {text}",
        (*evidence, *_xid.evidence(logged)),
        Cure(
            "SHOWN",
            "Replacing a row has failed: have the card replaced."
            if failed
            else f"Stop what uses the GPU and reset it, or reboot; {back}."
            if severity != "hint"
            else "Reset the GPU or reboot when it suits.",
            (f"nvidia-smi -q -d ECC,ROW_REMAPPER,PAGE_RETIREMENT -i {address}.0", _xid.reset_command((address,))),
            f"{_xid.RESET_RISK} {advice.REBOOT_RISK}",
        ),
        severity=severity,
        breaks=("driver",) if severity == "error" and len(facts.gpus.functions) == 1 else (),
    )


RULE = Rule(
    "hardware/ecc-uncorrectable",
    78,
    "error",
    "the GPU's memory has an uncorrectable error",
    check,
    breaks=("driver",),
    needs=("gpu",),
    signs=(
        "uncorrectable ecc error",
        "cuda_error_ecc_uncorrectable",
        "cudaerroreccuncorrectable",
        "xid (pci:?): (48|63|64|94|95)",
        "double bit ecc error",
        "dbe (double bit error)",
        "uncorrectable double bit error (dbe)",
        "row remapping failure",
    ),
)
