"""What the rules about frameworks share: the wheels that are in the image, and whether what they open is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from gpudoctor import tables
from gpudoctor.host import NoAnswer, Unseen
from gpudoctor.model import Evidence, Finding, NotApplicable, Where
from gpudoctor.rules import images
from gpudoctor.rules.image import _compat
from gpudoctor.tables import wheels
from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.facts.gpu import Function
    from gpudoctor.facts.image import Told, Wheel
    from gpudoctor.model import Cure, Severity

Kind = Literal["major", "libraries", "cudnn", "cudnn-minor"]
_FIRST_WITH_ONE_NAME = 11
"""From CUDA 11 on a library's name has the major version only."""


class Trouble(NamedTuple):
    """Why a framework does not find CUDA in the image: another major, no libraries, another or no cuDNN, an older cuDNN.

    ``has`` is what the image has, in words, and ``told`` where that was read; ``unless`` what was not examined and may bring it.
    """

    kind: Kind
    wheel: Wheel
    has: str
    told: Told
    unless: str

    @property
    def severity(self) -> Severity | None:
        """A hint where something that was not examined may bring what is missing."""
        return "hint" if self.unless else None

    @property
    def clause(self) -> str:
        """The end of a sentence: what may make it untrue."""
        return f", unless {self.unless}, which is not examined, brings it" if self.unless else ""


class Served(NamedTuple):
    """The GPUs here that a framework has no code for, and what it has code for."""

    name: str
    wheel: Wheel
    gpus: tuple[Function, ...]
    targets: wheels.Targets


def major(version: str) -> int:
    """Return a version's first number, 0 where there is none."""
    return (tables.version(version) or (0,))[0]


def onnxruntime(facts: Facts) -> Trouble | None:
    """Return why onnxruntime-gpu cannot load its CUDA provider in this image, None where nothing is seen against it."""
    image = facts.image
    wheel = image.onnxruntime
    package = image.installed("onnxruntime-gpu")
    if wheel is None or package is None:
        raise NotApplicable(f"No onnxruntime-gpu is seen in it{_unread(facts)}.")
    if "cuda" in package.extras or image.cuda_packages:
        return None
    torch = image.torch
    extra = "cudnn" in package.extras or bool(image.cudnn_packages)
    if torch is not None and major(torch.cuda) == major(wheel.cuda):
        # PyTorch's libraries serve it, once torch was imported; its cuDNN only where that is the same one.
        if extra or not torch.cudnn or major(torch.cudnn) == major(wheel.cudnn):
            return None
        if image.unread_libraries:
            raise Unseen(image.path, f"{image.unread_libraries} is not examined, and may bring cuDNN")
        cudnn = image.cudnn
        if cudnn is not None and major(cudnn.value) == major(wheel.cudnn):
            return None
        told = cudnn or torch.told
        has = f"cuDNN {cudnn.value}" if cudnn is not None else f"cuDNN {torch.cudnn}, which comes with PyTorch"
        return Trouble("cudnn", wheel, has, told, image.unread)
    return _trouble(facts, wheel, brings_cudnn=extra)


def tensorflow(facts: Facts) -> Trouble | None:
    """Return why TensorFlow cannot load CUDA's libraries in this image, None where nothing is seen against it."""
    image = facts.image
    wheel = image.tensorflow
    if wheel is None:
        raise NotApplicable(f"No TensorFlow whose build is known is seen in it{_unread(facts)}.")
    if wheel.variant or image.cuda_packages:
        return None
    torch = image.torch
    if torch is not None and major(torch.cuda) == major(wheel.cuda):
        return None  # its wheels look into the folders of the same nvidia-* packages
    return _trouble(facts, wheel, brings_cudnn=bool(image.cudnn_packages))


def _unread(facts: Facts) -> str:
    return f"; {facts.image.unread} is not examined" if facts.image.unread else ""


def _trouble(facts: Facts, wheel: Wheel, *, brings_cudnn: bool) -> Trouble | None:
    image = facts.image
    flavour, cuda = image.flavour, image.cuda
    if image.unread_libraries:
        raise Unseen(image.path, f"{image.unread_libraries} is not examined, and may bring CUDA's libraries")
    if flavour in {"none", "base"}:
        words = "only CUDA's run-time library, without cuBLAS, cuFFT and cuDNN" if flavour == "base" else "no CUDA libraries"
        return Trouble("libraries", wheel, words, image.base_told, image.unread)
    if flavour is None or cuda is None:
        raise Unseen(image.path, f"which CUDA libraries {image.base.name} has is not known")
    same = major(cuda.value) == major(wheel.cuda)
    if same and major(cuda.value) < _FIRST_WITH_ONE_NAME:
        same = tables.version(cuda.value)[:2] == tables.version(wheel.cuda)[:2]
    if not same:
        return Trouble("major", wheel, f"CUDA {cuda.value}", cuda, image.unread)
    if brings_cudnn:
        return None
    cudnn = image.cudnn
    if cudnn is None:
        return Trouble("cudnn", wheel, "no cuDNN", image.base_told, image.unread)
    if major(cudnn.value) != major(wheel.cudnn):
        return Trouble("cudnn", wheel, f"cuDNN {cudnn.value}", cudnn, image.unread)
    numbers = tables.version(cudnn.value)
    if len(numbers) > 1 and numbers[:2] < tables.version(wheel.cudnn):
        return Trouble("cudnn-minor", wheel, f"cuDNN {cudnn.value}", cudnn, image.unread)
    return None


def torch(facts: Facts) -> Wheel:
    """Return the PyTorch in the image; raises NotApplicable where none is seen."""
    found = facts.image.torch
    if found is None:
        raise NotApplicable(f"No PyTorch is seen in it{_unread(facts)}.")
    return found


def seen(facts: Facts) -> tuple[tuple[str, Wheel], ...]:
    """Return the frameworks that the image has, with their names; raises NotApplicable where none is, Unseen where none can be told."""
    found: list[tuple[str, Wheel]] = []
    missed: NoAnswer | None = None
    for name, attribute in (("PyTorch", "torch"), ("TensorFlow", "tensorflow"), ("onnxruntime-gpu", "onnxruntime")):
        try:
            wheel = getattr(facts.image, attribute)
        except NoAnswer as miss:
            missed = miss
            continue
        if wheel is not None:
            found.append((name, wheel))
    if not found and missed is not None:
        raise missed
    if not found:
        raise NotApplicable(f"No PyTorch, TensorFlow or onnxruntime-gpu is seen in it{_unread(facts)}.")
    return tuple(found)


def too_old(facts: Facts, *, cuda13: bool) -> tuple[str, Wheel, images.HostDriver] | None:
    """Return the first framework whose CUDA major needs a newer driver: of CUDA 13 on a driver of CUDA 12, or any other.

    None where a compatibility library of the image serves the GPUs here, or may.
    """
    frameworks = seen(facts)
    driver = images.driver(facts)
    for name, wheel in frameworks:
        if not wheel.driver or driver.numbers >= tables.version(wheel.driver):
            continue
        if (major(wheel.cuda) == 13 and major(driver.cuda) == 12) is not cuda13:
            continue
        if _compat.present(facts) and images.forward_compatible(facts) is not False:
            continue
        return name, wheel, driver
    return None


def unserved(facts: Facts) -> tuple[Served, ...]:
    """Return the frameworks that have no code for a GPU here; raises as `seen` does, and Unseen where the GPU is not known."""
    found = []
    for name, wheel in seen(facts):
        targets = _targets(facts, name, wheel)
        if targets is None:
            continue
        left = tuple(gpu for gpu in images.gpus(facts) if gpu.capability is not None and not targets.serve(gpu.capability))
        if left:
            found.append(Served(name, wheel, left, targets))
    return tuple(found)


def without_code(facts: Facts, *, new: bool, title: str, cure: Callable[[str], Cure]) -> Iterator[Finding]:
    """Yield a finding for each framework whose code is all for older GPUs (``new``), or all for newer ones, than one here.

    ``cure`` is given the framework's name.
    """
    for served in unserved(facts):
        least = min(served.targets.code)
        gpus = tuple(gpu for gpu in served.gpus if gpu.capability is not None and (gpu.capability > least) is new)
        if not gpus:
            continue
        sm = "sm_" + "".join(map(str, gpus[0].capability or ()))
        yield Finding(
            title,
            f"{images.named(served.wheel, served.name)} for CUDA {served.wheel.cuda} has code for {written(served.targets)}; the {gpus[0].name} "
            f"is {sm}: each kernel fails with 'no kernel image is available'{images.hedge(served.wheel)}.",
            (
                images.evidence(served.wheel.told),
                *(Evidence(Where(f"{gpu.path}/device"), f"0x{gpu.device_id} ({gpu.name}, {sm})") for gpu in gpus[:1]),
            ),
            cure(served.name),
            severity=None if len(gpus) == len(images.gpus(facts)) and not served.wheel.unless else "warning",
        )


def _targets(facts: Facts, name: str, wheel: Wheel) -> wheels.Targets | None:
    if name == "TensorFlow":
        row = wheels.tensorflow(f"=={wheel.release}", ())
        return row.targets if row is not None else None
    if name == "PyTorch" and wheel.cuda:
        return wheels.torch_targets(wheel.release, wheel.variant, facts.image.machine)
    return None


def written(targets: wheels.Targets) -> str:
    """Return a wheel's targets as PyTorch prints them: ``sm_50 sm_60``."""
    return " ".join(f"sm_{code[0]}{code[1]}" for code in targets.code)
