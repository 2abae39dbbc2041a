"""The NVIDIA_REQUIRE_* variables of an image, held against this host's driver and GPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor import tables
from gpudoctor.formats import requirements
from gpudoctor.host import NoAnswer, Unseen
from gpudoctor.model import NotApplicable
from gpudoctor.rules import images
from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.facts.gpu import Function
    from gpudoctor.facts.image import Told

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
"""What Go's strconv.ParseBool takes for true."""


class Unmet(NamedTuple):
    """A demand that a GPU here does not meet: its variable, its first alternative, the CUDA in that, and the GPU.

    ``excluded``: the alternatives that are for this driver with another brand, or for this brand with older drivers; empty where the
    driver is older than all of them.
    """

    told: Told
    first: str
    cuda: str
    gpu: str
    excluded: str


def demands(facts: Facts) -> tuple[Told, ...]:
    """Return the demands in force: NVIDIA_REQUIRE_*, or what CUDA_VERSION means in an image that has none of them."""
    env = facts.image.env
    disabled = env.get("NVIDIA_DISABLE_REQUIRE")
    if disabled is not None and disabled.value in _TRUE:
        return ()
    found = [told for name, told in env.items() if name.startswith("NVIDIA_REQUIRE_") and told.value.strip()]
    version = env.get("CUDA_VERSION")
    if version is not None and "NVIDIA_REQUIRE_CUDA" not in env and not facts.image.of_file:
        numbers = tables.version(version.value)
        if len(numbers) > 1:
            found.append(version._replace(value=f"cuda>={numbers[0]}.{numbers[1]}"))
    return tuple(told for told in found if "$" not in told.value)


def need_cuda(facts: Facts) -> None:
    """Raise NotApplicable where the image says nothing of CUDA, whatever this host's driver is, or where there is no GPU."""
    images.need_gpu(facts)
    if facts.image.cuda is None and not demands(facts):
        raise NotApplicable("The image says no CUDA that it is of or asks for.")


def unmet(facts: Facts) -> Iterator[Unmet]:
    """Yield the demands that are not met here; raises Unseen where that depends on what is not known."""
    driver = images.driver(facts)
    unknown = ""
    for told in demands(facts):
        for gpu in images.gpus(facts):
            # What NVML calls a product's brand changed with the driver: each name that it may have is tried.
            devices = [_device(gpu, driver, brand) for brand in images.brands(gpu.name) or ("",)]
            results = {requirements.satisfied(told.value, device) for device in devices}
            if results == {False}:
                yield _unmet(told, gpu, devices[0])
                break
            if results != {True}:
                unknown = f"whether {gpu.name} is of a brand that {told.says.partition('=')[0]} names is not known"
    if unknown:
        raise Unseen(facts.image.path, unknown)


def _device(gpu: Function, driver: images.HostDriver, brand: str) -> requirements.Device:
    arch = ".".join(map(str, gpu.capability or ()))
    return requirements.Device(driver.cuda, driver.version, arch, brand)


def _unmet(told: Told, gpu: Function, device: requirements.Device) -> Unmet:
    groups = requirements.alternatives(told.value)
    first = told.value.split()[0]
    cuda = next((clause.value for group in groups[:1] for clause in group if clause is not None and clause.name == "cuda"), "")
    excluded = [group for group in groups if _leaves_out(group, device)]
    words = " or ".join(dict.fromkeys(_words(group) for group in excluded[:3])) + (" ..." if len(excluded) > 3 else "")
    return Unmet(told, first, cuda, gpu.name, words)


def _leaves_out(group: tuple[requirements.Clause | None, ...], device: requirements.Device) -> bool:
    """Say whether an alternative is for this driver with another GPU, or for this GPU with an older driver."""
    clauses = [clause for clause in group if clause is not None]
    if len(clauses) != len(group) or not any(clause.name in {"brand", "driver", "arch"} for clause in clauses):
        return False
    failed = [clause for clause in clauses if requirements.met(clause, device) is False]
    if all(clause.name in {"brand", "arch"} for clause in failed):
        return True
    # A driver that passes the lower bound and fails the upper one is newer than what is let in.
    return all(clause.name == "driver" and clause.operator in {"<", "<=", "=", "!="} for clause in failed) and not any(
        clause.operator == "=" and not requirements.compare(device.driver, ">", clause.value) for clause in failed
    )


def _words(group: tuple[requirements.Clause | None, ...]) -> str:
    return ",".join(f"{clause.name}{clause.operator}{clause.value}" for clause in group if clause is not None)


def is_checked(facts: Facts) -> bool:
    """Say whether anything on this host evaluates the demands before a container starts: not where CDI gives the GPU."""
    toolkit = facts.toolkit
    try:
        through_cdi = toolkit.gpus_path == "cdi" and toolkit.runtime_path != "legacy"
    except NoAnswer:
        through_cdi = False
    return not through_cdi


def consequence(facts: Facts) -> str:
    """Return what comes of a demand that is not met."""
    if is_checked(facts):
        return "nvidia-container-cli refuses to start its containers"
    return "here CDI gives the GPU and nobody checks, so its containers start, and may fail when they use CUDA"
