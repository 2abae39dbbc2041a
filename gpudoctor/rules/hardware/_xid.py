"""What the rules about Xid errors have in common: what the log says since the driver was loaded, and whether the GPU answers today."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from gpudoctor import tables
from gpudoctor.host import NoAnswer
from gpudoctor.model import Evidence, NotApplicable, Where
from gpudoctor.rules import cards

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gpudoctor.facts import Facts
    from gpudoctor.formats.kernel_log import Xid

LOG = Where("kernel log")
_LONGEST = 300
_MOST = 5


def need_driver(facts: Facts) -> None:
    """Raise NotApplicable where no driver can have logged an Xid of a GPU of this machine."""
    if facts.platform.wsl or facts.platform.jetson:
        raise NotApplicable("The GPU of a WSL2 guest or a Jetson is not on the PCI bus, and its errors have other names.")
    if not facts.gpus.count and not facts.driver.is_loaded:
        raise NotApplicable("There is no NVIDIA GPU and no driver of NVIDIA's on this host.")


def seen(facts: Facts, *numbers: int) -> tuple[Xid, ...]:
    """Return the log's Xids of these numbers; none where the log is refused but every GPU answers NVML; else raises NoAnswer."""
    try:
        found = facts.driver.xids
    except NoAnswer:
        if all_answer(facts):
            return ()
        raise
    aside = {gpu.address for gpu in facts.gpus.functions if cards.passed_through(gpu)}
    return tuple(each for each in found if each.number in numbers and not each.switch and f"{each.address}.0" not in aside)


def nvml(facts: Facts) -> tuple[dict[str, Any], ...]:
    """Return what NVML says of each GPU, none where it was not asked, hangs or fails."""
    try:
        told = facts.driver.nvml
    except NoAnswer:
        return ()
    gpus = told.get("gpus") if told is not None and told.get("init") == 0 else None
    return tuple(gpu for gpu in gpus if isinstance(gpu, dict)) if isinstance(gpus, list) else ()


def state(facts: Facts, address: str) -> Literal["answers", "fails", "unknown"]:
    """Return whether NVML gets answers from the GPU at ``0000:44:00`` now."""
    for gpu in nvml(facts):
        if str(gpu.get("pci") or "").startswith(f"{address}."):
            return _state(gpu)
    return "unknown"


def _state(gpu: dict[str, Any]) -> Literal["answers", "fails", "unknown"]:
    if gpu.get("error"):
        return "fails"
    return "answers" if gpu.get("uuid") and isinstance(gpu.get("memory_total"), int) else "unknown"


def all_answer(facts: Facts) -> bool:
    """Say whether NVML gets answers from every GPU of this host."""
    gpus = nvml(facts)
    return len(gpus) >= max(1, facts.gpus.count) and all(_state(gpu) == "answers" for gpu in gpus)


def evidence(found: Iterable[Xid]) -> tuple[Evidence, ...]:
    """Return the last line of each GPU and number, with what the number means; at most five."""
    last: dict[tuple[str, int], Xid] = {}
    for each in found:
        last.pop((each.address, each.number), None)
        last[each.address, each.number] = each
    lines = []
    for each in list(last.values())[-_MOST:]:
        known = None if each.switch else tables.xid(each.number)
        line = each.line if len(each.line) <= _LONGEST else f"{each.line[:_LONGEST]}..."
        lines.append(Evidence(LOG, f"{line} (Xid {each.number}: {known.meaning})" if known is not None else line))
    return tuple(lines)


def named(facts: Facts, addresses: Iterable[str]) -> str:
    """Return the GPUs at these addresses by name, ``L4 at 0000:31:00.0``; one that has left the bus by its address alone."""
    wanted = tuple(dict.fromkeys(addresses))
    gpus = [gpu for gpu in facts.gpus.functions if gpu.address.rpartition(".")[0] in wanted]
    there = {gpu.address.rpartition(".")[0] for gpu in gpus}
    gone = [f"the GPU at {address}.0" for address in wanted if address not in there]
    return "; ".join([*([cards.named(gpus)] if gpus else []), *gone])


def reset_command(addresses: Iterable[str]) -> str:
    """Return the command that resets GPUs."""
    return f"sudo nvidia-smi --gpu-reset -i {','.join(f'{address}.0' for address in dict.fromkeys(addresses))}"


RESET_RISK = (
    "A reset needs every program off the GPU, a display and nvidia-persistenced too, and is refused on some GPUs; "
    "on machines with NVSwitches all GPUs are reset together."
)
