"""What rules about an image ask of the host that it is to run on: driver, GPUs, and the words for both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor import tables
from gpudoctor.host import NoAnswer, Unseen
from gpudoctor.model import Cure, Evidence, NotApplicable, Where
from gpudoctor.rules import advice
from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from gpudoctor.facts import Facts
    from gpudoctor.facts.gpu import Function
    from gpudoctor.facts.image import Told, Wheel

_BRANDS = (
    # the beginning of a product's name, and what NVML may call its brand
    ("GeForce", ("geforce", "geforcertx")),
    ("TITAN", ("titan", "titanrtx")),
    ("Quadro", ("quadro", "quadrortx", "nvidiartx")),
    ("NVIDIA RTX", ("quadrortx", "nvidiartx", "nvidia")),
    ("RTX", ("quadrortx", "nvidiartx", "nvidia")),
    ("Tesla", ("tesla", "nvidia")),
    *(
        (name, ("tesla", "nvidia"))
        for name in ("A2", "A10", "A16", "A30", "A40", "A100", "A800", "H20", "H100", "H200", "H800", "L2", "L4")
    ),
    *(
        (name, ("tesla", "nvidia"))
        for name in ("L20", "L40", "L40S", "B200", "B300", "GB200", "GB300", "GH200", "V100", "P100", "T4", "A10G")
    ),
)
_CONSUMER = frozenset({"geforce", "titan"})
_PRODUCTION = (535, 580, 595)
"""Branches to name for a newer driver: those with long or production support that distributions package."""
UNKNOWN_DRIVER = "no version of an NVIDIA driver is known on this host"


class HostDriver(NamedTuple):
    """The driver's version, the newest CUDA that it runs in full ("12.4"), and where the version was read."""

    version: str
    cuda: str
    evidence: Evidence

    @property
    def numbers(self) -> tuple[int, ...]:
        """The version as numbers."""
        return tables.version(self.version)


def evidence(told: Told) -> Evidence:
    """Return where a fact of an image was read, and what stands there."""
    return Evidence(Where(told.path, told.line), told.says if len(told.says) < 200 else f"{told.says[:197]}...")


def need_gpu(facts: Facts) -> None:
    """Raise NotApplicable where there is no NVIDIA GPU on this host that an image could be judged on."""
    if not facts.gpus.present:
        raise NotApplicable("There is no NVIDIA GPU on this host for an image to use.")


def driver(facts: Facts) -> HostDriver:
    """Return this host's driver; raises Unseen where its version or its CUDA is not known, NotApplicable without a GPU."""
    need_gpu(facts)
    nvml = _nvml(facts)
    told = str(nvml.get("driver") or "") if nvml else ""
    version = facts.driver.version or told
    where, says = facts.driver.version_source, f"driver {version}"
    if not version and not facts.platform.wsl and not facts.platform.jetson:
        version = facts.driver.disk_version or facts.driver.library_version or ""
        where, says = facts.driver.branch_source[0], f"driver {version}"
    elif not facts.driver.version:
        where = "NVML"
    cuda = str(nvml.get("cuda") or "") if nvml else ""
    if not cuda and not facts.platform.wsl and not facts.platform.jetson:
        cuda = tables.newest_cuda_for(version) or ""
    if not version or not cuda:
        raise Unseen("the driver", UNKNOWN_DRIVER)
    return HostDriver(version, cuda, Evidence(Where(where), f"{says}: CUDA up to {cuda}"))


def _nvml(facts: Facts) -> dict[str, object]:
    try:
        told = facts.driver.nvml
    except NoAnswer:
        return {}
    return told if told is not None and told.get("init") == 0 else {}


def gpus(facts: Facts) -> tuple[Function, ...]:
    """Return the GPUs that a container can get here, each with a known capability; raises Unseen where one's is not known."""
    need_gpu(facts)
    found = tuple(each for each in facts.gpus.functions if each.driver in {None, "nvidia"})
    if not found or any(each.capability is None or each.probable for each in found):
        raise Unseen("the GPU", "its compute capability is not known")
    return found


def brands(name: str) -> tuple[str, ...]:
    """Return what NVML may call the brand of a product, none where that is not known."""
    short = name.removeprefix("NVIDIA ")
    for start, found in reversed(_BRANDS):
        if short.startswith(start) and not short[len(start) : len(start) + 1].isalnum():
            return found
    return ()


def forward_compatible(facts: Facts) -> bool | None:
    """Say whether the GPUs here take a newer libcuda than the driver's: data-center ones do, GeForce does not; None: not known.

    Source: CUDA compatibility guide. NGC-ready RTX boards do as well, so of those it is not known.
    """
    found = [brands(each.name) for each in gpus(facts)]
    if all(_CONSUMER & set(each) for each in found):
        return False
    return True if all("tesla" in each for each in found) else None


def newer_driver(facts: Facts, cuda: str, instead: str) -> Cure:
    """Return the cure that installs a driver for a CUDA, or ``instead`` ("take ...") where no such driver drives the GPUs here."""
    row = tables.cuda(cuda)
    wanted = row.branch if row is not None else 0
    branch = next((each for each in _PRODUCTION if each >= wanted), wanted)
    old = [
        each
        for each in facts.gpus.functions
        if each.chip is not None and each.chip.last_branch and each.chip.last_branch < wanted
    ]
    if old:
        return Cure("SHOWN", f"{instead[:1].upper()}{instead[1:]}: no driver with CUDA {cuda} drives the {old[0].name}.")
    if facts.platform.wsl:
        return Cure("SHOWN", f"Install a newer NVIDIA driver in Windows, or {instead}.")
    if facts.platform.jetson:
        return Cure("SHOWN", f"{instead[:1].upper()}{instead[1:]}: a Jetson's driver comes with its JetPack.")
    proprietary = any(each.chip is not None and each.chip.open_module == "no" for each in facts.gpus.functions)
    return Cure(
        "SHOWN",
        f"Install driver {branch} or newer and reboot, or {instead}.",
        advice.install_driver(facts, branch, open_module=not proprietary),
        advice.REBOOT_RISK,
    )


def named(wheel: Wheel, name: str) -> str:
    """Return a wheel in words: ``PyTorch 2.15 (the newest as of 2026-11-22)``."""
    return f"{name} {wheel.release}" + (f" ({wheel.assumed})" if wheel.assumed else "")


def hedge(wheel: Wheel) -> str:
    """Return the end of a sentence about a wheel: what was not examined and may change it."""
    return f", unless {wheel.unless}, which is not examined, installs another release" if wheel.unless else ""
