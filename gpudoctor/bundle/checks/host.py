"""What a bundle needs of the host that it is held against: a driver for its CUDA, GPUs that its wheels have code for, and enough of them.

The host's side is that of the rules about images (``rules/images.py``); the bundle's frameworks are those of ``checks/environment.py``.
What a host does not answer is "cannot tell", and is said once for each question.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from gpudoctor import tables
from gpudoctor.bundle import Check, Place
from gpudoctor.bundle.checks import environment
from gpudoctor.host import NoAnswer
from gpudoctor.model import NotApplicable
from gpudoctor.rules import images

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.bundle import Bundle, Said
    from gpudoctor.bundle.checks.environment import Framework, Image
    from gpudoctor.bundle.files import Files
    from gpudoctor.facts import Facts
    from gpudoctor.facts.gpu import Function
    from gpudoctor.tables.wheels import Targets

_OTHER_HOST = "Ask for GPUs that the host has, or serve it on another host."
_LAST_OLD_WHEELS = "torch<2.15 of https://download.pytorch.org/whl/cu126"
"""The newest wheels with code for Maxwell, Pascal and Volta. Source: PyTorch's build scripts (torch.tsv)."""


def check(bundle: Bundle, files: Files, facts: Facts) -> Iterator[Check]:
    """Find what keeps the bundle from the GPU of this host."""
    del files
    yield from _enough(bundle, facts)
    frameworks, missed = environment.frameworks(bundle)
    base = environment.image(bundle)
    wanted = [each for each in frameworks if each.cuda]
    try:
        if not facts.gpus.present:
            yield from _no_gpu(bundle, wanted, base)
            return
    except NoAnswer as miss:
        yield _cannot("driver-too-old-for-bundle", f"this host has a GPU for it: {miss}")
        return
    for words in missed:
        yield _cannot("driver-too-old-for-bundle", f"this host's driver and GPU serve it: {words} is not in the tables")
    if wanted or (base is not None and base.cuda):
        yield from _driver(facts, wanted, base)
        yield from _code(facts, wanted)
        yield from _toolkit(facts, base)


def _cannot(check_: str, words: str) -> Check:
    return Check(check_, "unknown", f"Cannot tell whether {words}.", Place(""))


def _no_gpu(bundle: Bundle, wanted: list[Framework], base: Image | None) -> Iterator[Check]:
    if not bundle.gpus and (wanted or (base is not None and base.cuda)):
        words = "the driver and the GPU that it will be served on fit it: this host has no NVIDIA GPU"
        cure = "Give the host that will serve it with --host FILE (gpudoctor snapshot -o FILE makes one there)."
        yield _cannot("driver-too-old-for-bundle", words)._replace(cure=cure)


# How many GPUs.


def _enough(bundle: Bundle, facts: Facts) -> Iterator[Check]:
    """Hold the GPUs that the bundle asks for against those of the host."""
    for said in bundle.gpus:
        needs = _needs(said)
        if needs is None:
            continue
        number, what = needs
        try:
            have = facts.gpus.count
            known = have > 0 or not facts.gpus.present
        except NoAnswer as miss:
            yield _cannot("gpus-beyond-host", f"this host has {what}: {miss}")._replace(where=said.at)
            continue
        if not known:
            continue  # WSL's and a Jetson's GPU are not on the bus: there is one, and how many more is not told
        if number > have:
            text = f"{said.at} asks for {what}, and this host has {_has(have)}.{_then(bundle, have)}"
            yield Check("gpus-beyond-host", "error", text, said.at, _OTHER_HOST)
            return
    yield from _together(bundle, facts)


def _has(have: int) -> str:
    return "no NVIDIA GPU" if not have else f"{have} GPU" + ("s, numbered from 0" if have > 1 else ", number 0")


def _then(bundle: Bundle, have: int) -> str:
    if bundle.format != "bentoml-1":
        return ""
    return f" BentoML serves it all the same, {'with those that there are' if have else 'on the CPU'}, and says nothing."


def _together(bundle: Bundle, facts: Facts) -> Iterator[Check]:
    """Add up what the services of a bento ask for: each has GPUs of its own, except that equal fractions share one.

    Source: BentoML 1.4.39, _bentoml_impl/server/allocator.py. The runners of 1.0 and 1.1 are all given all GPUs.
    """
    if bundle.format != "bentoml-1" or len(bundle.gpus) < 2 or tables.version(bundle.packed_by) < (1, 2):
        return
    whole = 0
    fractions: dict[float, int] = {}
    for said in bundle.gpus:
        needs = _needs(said)
        if needs is not None and "." in said.text and float(said.text) < 1:
            fractions[float(said.text)] = fractions.get(float(said.text), 0) + 1
        elif needs is not None:
            whole += needs[0]
    whole += sum(-(-count // int(1 / each)) for each, count in fractions.items())
    try:
        have = facts.gpus.count
    except NoAnswer:
        return
    if 0 < have < whole:
        at = bundle.gpus[-1].at
        text = (
            f"The bundle's {len(bundle.gpus)} services ask for {whole} GPUs together, and this host has {_has(have)}: BentoML gives each "
            "its own, and a service for which there is none left runs on the CPU and says nothing."
        )
        yield Check("gpus-beyond-host", "error", text, at, f"Ask for fractions that share a GPU (gpu: 0.5). {_OTHER_HOST}")


def _needs(said: Said) -> tuple[int, str] | None:
    """Return how many GPUs a host must have for what is asked, and that in words; None where no number is asked."""
    import math

    text = said.text.strip()
    try:
        if text.replace(".", "", 1).isdigit() and not text.startswith("["):
            number = math.ceil(float(text))
            return (number, f"{number} GPU" + ("s" if number != 1 else "")) if number else None
        numbers = [int(part) for part in text.strip("[]() ").replace(",", " ").split()]
    except (ValueError, OverflowError):
        return None
    return (max(numbers) + 1, f"GPU {max(numbers)}") if numbers and min(numbers) >= 0 else None


# The driver.


def _driver(facts: Facts, wanted: list[Framework], base: Image | None) -> Iterator[Check]:
    try:
        driver = images.driver(facts)
        compatible = _compatible(facts, base)
    except (NoAnswer, NotApplicable) as miss:
        yield _cannot("driver-too-old-for-bundle", f"this host's driver is new enough for it: {miss}")
        return
    found = False
    for each in wanted:
        if each.driver and driver.numbers < tables.version(each.driver) and compatible is False:
            found = True
            text = f"{each.words} is built for CUDA {each.cuda}, which needs driver {each.driver} or newer; this host's is {driver.version} with CUDA {driver.cuda}."
            instead = f"take a build of {each.name} for CUDA {environment.major(driver.cuda)}"
            yield Check(
                "driver-too-old-for-bundle", "error", text, each.at, images.newer_driver(facts, each.cuda, instead).summary
            )
        elif each.driver and driver.numbers < tables.version(each.driver) and compatible is None:
            found = True
            words = f"driver {driver.version} serves {each.words} (CUDA {each.cuda}): the image has NVIDIA's compatibility library, which not every GPU takes"
            yield _cannot("driver-too-old-for-bundle", words)._replace(where=each.at)
    if not found and base is not None and base.cuda and compatible is False:
        yield from _image(facts, base, driver)


def _compatible(facts: Facts, base: Image | None) -> bool | None:
    """Say whether a compatibility library in the image stands in for an older driver; None where that depends on the GPU's kind."""
    if base is None or not base.name.partition(":")[0].endswith("nvidia/cuda"):
        return False
    return images.forward_compatible(facts)


def _image(facts: Facts, base: Image, driver: images.HostDriver) -> Iterator[Check]:
    """Find an image whose containers ask for a newer CUDA than the driver has."""
    row = tables.cuda(base.cuda)
    if row is None or tables.version(driver.cuda)[:2] >= tables.version(base.cuda)[:2]:
        return
    oldest = row.minor or row.full or str(row.branch)
    runs = driver.numbers >= tables.version(oldest)
    severity: Literal["error", "warning"] = "warning" if runs else "error"
    then = (
        "its containers are refused unless the image makes an exception for this driver"
        if runs
        else f"it needs driver {oldest} or newer"
    )
    text = f"{base.name} is of CUDA {base.cuda}, and driver {driver.version} has CUDA {driver.cuda}: {then}."
    cure = images.newer_driver(facts, base.cuda, "take a base image of an older CUDA").summary
    yield Check("driver-too-old-for-bundle", severity, text, base.at, cure)


# The GPU.


def _code(facts: Facts, wanted: list[Framework]) -> Iterator[Check]:
    """Find a framework whose wheel has no code for a GPU of this host."""
    known = [(each, targets) for each in wanted if (targets := _targets(facts, each)) is not None]
    if not known:
        return
    try:
        gpus = images.gpus(facts)
    except (NoAnswer, NotApplicable) as miss:
        yield _cannot("gpu-too-old-for-bundle", f"its frameworks have code for this host's GPU: {miss}")
        return
    for each, targets in known:
        left = [gpu for gpu in gpus if gpu.capability is not None and not targets.serve(gpu.capability)]
        if left:
            yield _unserved(each, targets, left, whole=len(left) == len(gpus))


def _unserved(each: Framework, targets: Targets, left: list[Function], *, whole: bool) -> Check:
    gpu = left[0]
    capability = gpu.capability or (0, 0)
    old = capability < min(targets.code)
    has = " ".join(f"sm_{code[0]}{code[1]}" for code in targets.code)
    text = (
        f"{each.words} for CUDA {each.cuda} has code for {has}; the {gpu.name} is sm_{capability[0]}{capability[1]}: "
        "each kernel fails with 'no kernel image is available'."
    )
    if old and each.name == "PyTorch":
        cure = f"Take {_LAST_OLD_WHEELS}, which still has code for Maxwell, Pascal and Volta."
    else:
        cure = f"Take an older {each.name}." if old else f"Take a newer {each.name}, or its build for a newer CUDA."
    return Check(
        "gpu-too-old-for-bundle" if old else "gpu-too-new-for-bundle", "error" if whole else "warning", text, each.at, cure
    )


def _targets(facts: Facts, each: Framework) -> Targets | None:
    from gpudoctor.tables import wheels

    if each.name == "TensorFlow":
        row = wheels.tensorflow(f"=={each.release}", ())
        return row.targets if row is not None else None
    if each.package != "torch" or not each.release:
        return None  # conda builds its own
    try:
        machine = facts.platform.machine
    except NoAnswer:
        return None
    return wheels.torch_targets(".".join(map(str, tables.version(each.release)[:2])), each.variant, machine)


# Docker.


def _toolkit(facts: Facts, base: Image | None) -> Iterator[Check]:
    if base is None:
        return
    try:
        lacking = facts.docker.installed and not facts.toolkit.installed
    except NoAnswer:
        return  # the host's own rules say so
    if lacking:
        text = "Docker here has no NVIDIA Container Toolkit: containers of the bundle's image do not get the GPU."
        yield Check(
            "no-container-toolkit", "hint", text, base.at, "Run gpudoctor doctor, which says how to install it on this host."
        )
