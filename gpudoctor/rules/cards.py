"""What the rules that judge each GPU by its PCI device id have in common: which they judge, how they name them, how bad it is.

One host may hold GPUs of several generations. A rule judges each, and makes one finding that names all that
are affected. It is an error only where no GPU is left for containers, and no more than a warning where the
table knows an id by its neighbours alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.host import NoAnswer
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Refused, Where

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpudoctor.facts import Facts
    from gpudoctor.facts.gpu import Function
    from gpudoctor.model import Severity, Wishes


_COLONS = 2  # as in 0000:01:00.0


def passed_through(gpu: Function) -> bool:
    """Say whether a GPU is bound to a driver that sets it aside for a virtual machine."""
    driver = gpu.driver or ""
    return driver.endswith("vfio-pci") or driver in {"pci-stub", "pciback", "xen-pciback"}


def on_bus(facts: Facts) -> tuple[Function, ...]:
    """Return every GPU on the PCI bus; raises NotApplicable where there is none."""
    if facts.platform.wsl or facts.platform.jetson:
        raise NotApplicable("The GPU of a WSL2 guest or a Jetson is not on the PCI bus.")
    if not facts.gpus.functions:
        raise NotApplicable("There is no NVIDIA GPU on the PCI bus.")
    return facts.gpus.functions


def for_driver(facts: Facts) -> tuple[Function, ...]:
    """Return the GPUs that this host's own driver is to take; raises NotApplicable where there is none."""
    found = tuple(gpu for gpu in on_bus(facts) if not passed_through(gpu))
    if not found:
        raise NotApplicable("Every GPU of this host is set aside for virtual machines.")
    return found


def refuse_to_take(facts: Facts, gpus: Sequence[Function], wishes: Wishes) -> None:
    """Refuse to take GPUs from the kernel's own driver where NVIDIA's cannot take them, or where they are there for the screen."""
    if not facts.driver.is_loaded and facts.driver.module_file is None:
        raise Refused(
            "There is no NVIDIA module for this kernel: the console would lose its graphics and gain nothing. Install it first."
        )
    if any(gpu.driver == "nvidia" for gpu in gpus) and not wishes.force:
        raise Refused("NVIDIA's driver has other GPUs of this host; this one may be there for the screen.", forcible=True)


def driver_branch(facts: Facts) -> int:
    """Return the branch of the installed driver; raises NotApplicable where there is none."""
    branch = facts.driver.branch
    if branch is None:
        raise NotApplicable("No NVIDIA driver is installed.")
    return branch


def untaken(facts: Facts, gpus: Sequence[Function]) -> tuple[Function, ...]:
    """Return those of these GPUs that the driver has not taken."""
    taken = {gpu.address for gpu in facts.gpus.taken}
    return tuple(gpu for gpu in gpus if gpu.address not in taken)


def known_or_untaken(facts: Facts, gpus: Sequence[Function]) -> tuple[Function, ...]:
    """Leave out GPUs that the table knows only by their neighbours and that the driver has taken: it knows them better."""
    left = {gpu.address for gpu in untaken(facts, gpus)}
    return tuple(gpu for gpu in gpus if not gpu.probable or gpu.address in left)


def named(gpus: Sequence[Function]) -> str:
    """Return names and PCI addresses, ``Tesla K80 at 0000:01:00.0 and 0000:02:00.0``, and where a generation is only probable."""
    places: dict[str, list[str]] = {}
    for gpu in gpus:
        name = f"{gpu.name}, probably {gpu.architecture}," if gpu.probable else gpu.name
        places.setdefault(name, []).append(gpu.address)
    return "; ".join(f"{name} at {' and '.join(addresses)}" for name, addresses in places.items())


def evidence(gpus: Sequence[Function]) -> tuple[Evidence, ...]:
    """Return the device ids as they were read, with what they mean."""
    found = []
    for gpu in gpus:
        chip = gpu.chip
        generation = f"{chip.chip} {chip.architecture}".strip() if chip is not None else "not in our table"
        meaning = f"probably {generation}, by neighbouring ids" if gpu.probable else generation
        found.append(Evidence(Where(f"{gpu.path}/device"), f"0x{gpu.device_id} ({meaning})"))
    return tuple(found)


def severity(affected: Sequence[Function], gpus: Sequence[Function]) -> Severity:
    """Return how bad it is that the driver does not drive ``affected`` of a host's GPUs."""
    sure = not all(gpu.probable for gpu in affected)
    return "error" if sure and len(affected) == len(gpus) else "warning"


def logged(facts: Facts, *words: str) -> tuple[Evidence, ...]:
    """Return the last line of the kernel log with all of these words as evidence, none where there is no such line or no log."""
    line = facts.driver.logged(*words)
    return (Evidence(Where("kernel log"), line),) if line is not None else ()


def refused(facts: Facts, words: str) -> frozenset[str]:
    """Return the PCI addresses of the GPUs of which the kernel log says ``words``, none where it cannot be read.

    The driver names the GPU on one line, ``NVRM: The NVIDIA GPU 0000:01:00.0 (PCI ID: 10de:2684)``, and says why on the next.
    """
    try:
        lines = facts.driver.log
    except NoAnswer:
        return frozenset()
    found: set[str] = set()
    for before, line in zip(("", *lines), lines, strict=False):
        if words in line:
            found.update(word for word in f"{before} {line}".split() if word.count(":") == _COLONS and "." in word)
    return frozenset(found)


def written_since_boot(facts: Facts, path: str) -> bool:
    """Say whether a file was written after the last boot, so that what it says about modules has not been heeded yet."""
    from gpudoctor.formats import procfs

    stat = facts.host.followed(path)
    booted = procfs.boot_time(facts.host.bytes("/proc/stat") or b"")
    return stat is not None and stat.mtime is not None and booted is not None and stat.mtime > booted


def waits(owner: str, owned: Sequence[Function], place: Where, severity: Severity | None) -> Finding:
    """Return the finding of a GPU whose wrong owner is blacklisted since the boot: only the reboot is missing."""
    return Finding(
        f"{owner} holds the GPU until the next boot",
        f"{named(owned)}: {owner} is blacklisted since the last boot, and the reboot that takes it away has not come.",
        (Evidence(place, f"blacklist {owner}, written after the last boot"),),
        Cure("DISRUPTIVE", "Reboot when it suits.", ("sudo reboot",), "A reboot stops everything that runs on this host."),
        severity=severity,
    )
