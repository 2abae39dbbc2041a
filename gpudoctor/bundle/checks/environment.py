"""What a bundle asks to be installed: frameworks without CUDA, pins that nobody serves, an image whose CUDA is not the wheels'.

Nothing is resolved and no index is asked: releases come from dated tables. Where a bundle bounds a release, the newest that the
bounds and its Python admit is judged, as pip would take it, and the sentence says so; where that cannot be told, nothing is accused.

What brings CUDA's libraries decides most: PyTorch's wheels bring their own; onnxruntime-gpu and TensorFlow open those of the image,
unless an extra ([cuda,cudnn], [and-cuda]) or nvidia-* wheels bring them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from gpudoctor import tables
from gpudoctor.bundle import Check, Place
from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.bundle import Bundle, Required
    from gpudoctor.bundle.files import Files
    from gpudoctor.facts import Facts

NEWEST = f"the newest as of {tables.AS_OF}"
ONNXRUNTIMES = ("onnxruntime-gpu", "onnxruntime")
GUIDE_IMAGE = ("11.3", "8.2.0")
"""CUDA and cuDNN of the -gpu tags of bentoml/model-server. Source: BentoML's guide to GPU serving of 2021."""
_NO_CUDA = frozenset(
    {
        *("python", "ubuntu", "debian", "alpine", "fedora", "rockylinux", "almalinux", "mambaorg/micromamba"),
        *("continuumio/miniconda3", "continuumio/anaconda3", "condaforge/miniforge3", "condaforge/mambaforge"),
    }
)
"""Images whose plain tags have no CUDA libraries."""
_PYPI_CUDA_10_2 = ("1.5", "1.11")
"""From and before: releases of PyTorch whose wheel on the package index is of CUDA 10.2 and not in the table. Source: PyTorch, previous versions."""
_BENTO_CUDA = frozenset(
    {
        *("11", "11.2", "11.2.2", "11.4", "11.4.3", "11.6", "11.6.2", "11.7", "11.7.1", "11.8", "11.8.0"),
        *("12", "12.0", "12.0.0", "12.0.1", "12.1", "12.1.0", "12.1.1", "12.6", "12.6.0", "12.6.1", "12.6.2", "12.6.3"),
        *("12.8", "12.8.0", "12.8.1"),
    }
)
"""What docker.cuda_version may be. Source: BentoML 1.4.39, container/frontend/dockerfile."""
_BENTO_NEWEST = {"11": "11.8.0", "12": "12.8.1"}
_BENTO_CUDNN_9 = ("12.6", "12.8")
_WRITTEN_OVER = ("nvidia-cudnn-", "nvidia-nccl-")
"""Wheels that put the same files into the same folder whatever CUDA they are for."""


_IMAGES = {
    (11, 8): "nvidia/cuda:11.8.0-cudnn8-runtime-ubuntu22.04",
    (12, 8): "nvidia/cuda:12.2.2-cudnn8-runtime-ubuntu22.04",
    (12, 9): "nvidia/cuda:12.8.1-cudnn-runtime-ubuntu24.04",
    (13, 9): "nvidia/cuda:13.0.1-cudnn-runtime-ubuntu24.04",
}
"""An image of NVIDIA's for the major versions of CUDA and cuDNN."""


class Asked(NamedTuple):
    """All that pip is asked of one package: its bounds together, its extras, the place that says most; ``sure``: no marker may exclude it."""

    name: str
    spec: str
    extras: tuple[str, ...]
    at: Place
    sure: bool

    @property
    def exact(self) -> bool:
        """Whether one release is named."""
        return any(each.startswith("==") and not each.endswith(".*") for each in self.spec.split(","))

    @property
    def words(self) -> str:
        """The requirement as it may be written."""
        return self.name + (f"[{','.join(self.extras)}]" if self.extras else "") + self.spec


class Framework(NamedTuple):
    """A framework's wheel: its release, the CUDA and cuDNN that it is built for ("" for a CPU build), the oldest driver for it.

    ``variant`` is ``cu121``, ``cpu`` or ``""``; ``exact``: the bundle names this release, else it is the newest of the tables' day;
    ``brings``: CUDA's libraries come with it.
    """

    name: str
    package: str
    release: str
    cuda: str
    cudnn: str
    driver: str
    variant: str
    at: Place
    exact: bool
    brings: bool

    @property
    def words(self) -> str:
        """It in words: ``onnxruntime-gpu 1.31.1 (the newest as of 2026-11-22)``."""
        release = self.release or (f"for CUDA {self.cuda}" if self.cuda else "for CPUs")
        return f"{self.name} {release}" + ("" if self.exact or not self.release else f" ({NEWEST})")

    @property
    def major(self) -> int:
        """CUDA's major version, 0 for a CPU build."""
        return major(self.cuda)


class Image(NamedTuple):
    """What the bundle's image begins with: ``libraries`` says whether CUDA's are in it; ``cudnn`` is "" where it has none."""

    name: str
    at: Place
    libraries: Literal["yes", "no", "run-time only", "unknown"]
    cuda: str = ""
    cudnn: str = ""
    python: tuple[int, ...] = ()


def check(bundle: Bundle, files: Files, facts: Facts) -> Iterator[Check]:
    """Find what is wrong with what the bundle has installed."""
    del files, facts
    yield from _cpu_only(bundle)
    yield from _both(bundle)
    yield from _served(bundle)
    yield from _bentoml(bundle)
    yield from _image(bundle)
    yield from _image_python(bundle)
    yield from _split(bundle)
    yield from _two_majors(bundle)
    yield from _unpinned(bundle)


def python(bundle: Bundle) -> tuple[int, ...]:
    """Return the Python that the bundle is for, as (3, 8); () where it is not known."""
    numbers = tables.version(bundle.python.text)[:2] if bundle.python is not None else ()
    return numbers if len(numbers) == 2 else ()


def asked(bundle: Bundle, *names: str) -> Asked | None:
    """Return what is asked of pip of the first of these packages that is asked for at all, None where none is."""
    from gpudoctor.formats.pip_requirements import holds

    for name in names:
        found = [
            (each, truth)
            for each in bundle.requirements
            if each.installer == "pip"
            and each.name == name
            and (truth := holds(each.marker, python(bundle), "x86_64")) is not False
        ]
        if found:
            specs = [each.spec for each, _ in found if each.spec]
            extras = tuple(dict.fromkeys(extra for each, _ in found for extra in each.extras))
            said = next((each for each, _ in found if each.spec), found[0][0])
            return Asked(name, ",".join(dict.fromkeys(specs)), extras, said.at, any(truth for _, truth in found))
    return None


def conda(bundle: Bundle, *names: str) -> Required | None:
    """Return the first of these packages that conda is asked for, None where it is asked for none."""
    return next((each for each in bundle.requirements if each.installer == "conda" and each.name in names), None)


def frameworks(bundle: Bundle) -> tuple[tuple[Framework, ...], tuple[str, ...]]:
    """Return the frameworks whose build can be told, and for each of the others a clause that says why it cannot."""
    found: list[Framework] = []
    missed: list[str] = []
    for look in (_torch, _tensorflow, _onnxruntime, _conda_torch, _cuda_wheels):
        told = look(bundle)
        if isinstance(told, Framework):
            found.append(told)
        elif told:
            missed.append(told)
    return tuple(found), tuple(missed)


def image(bundle: Bundle) -> Image | None:
    """Return what the bundle's image begins with, None where it names none."""
    from gpudoctor.facts.image import reference

    if bundle.base_image is None:
        return _cuda_version(bundle)
    base = reference(bundle.base_image.text)
    at, tag = bundle.base_image.at, base.tag.lower()
    if base.repository == "bentoml/model-server":
        served = next(
            (tables.version(f"3.{part[3:]}") for part in tag.split("-") if part.startswith("py3") and part[3:].isdigit()), ()
        )
        if "gpu" in tag.split("-"):
            return Image(base.name, at, "yes", *GUIDE_IMAGE, served)
        return Image(base.name, at, "no", python=served)
    if base.repository.endswith("nvidia/cuda"):
        return _cuda_image(base.name, tag, at)
    if base.repository in _NO_CUDA:
        numbers = tables.version(tag)[:2] if base.repository == "python" else ()
        return Image(base.name, at, "no", python=numbers if len(numbers) == 2 else ())
    return Image(base.name, at, "unknown")


def _cuda_image(name: str, tag: str, at: Place) -> Image:
    parts = tag.split("-")
    cuda = ".".join(map(str, tables.version(tag)))
    if not cuda:
        return Image(name, at, "unknown")
    part = next((each for each in parts if each.startswith("cudnn")), "")
    cudnn = part.removeprefix("cudnn")
    if part and not cudnn:
        cudnn = "9" if tables.version(cuda)[:2] >= (12, 4) else "8"
    if "base" in parts:
        return Image(name, at, "run-time only", cuda)
    return Image(name, at, "yes" if "runtime" in parts or "devel" in parts else "unknown", cuda, cudnn)


def _cuda_version(bundle: Bundle) -> Image | None:
    """Return the image that BentoML 1 takes for docker.cuda_version."""
    if bundle.cuda is None or bundle.format != "bentoml-1" or bundle.cuda.text not in _BENTO_CUDA:
        return None
    cuda = _BENTO_NEWEST.get(bundle.cuda.text, bundle.cuda.text)
    cudnn = "9" if cuda.startswith(_BENTO_CUDNN_9) else "8"
    return Image(f"BentoML's image for CUDA {cuda}", bundle.cuda.at, "yes", cuda, cudnn)


# The frameworks.


def _foreign_index(bundle: Bundle) -> str:
    """Return an index that takes the place of the package index, and whose wheels are not known; "" where there is none."""
    for each in reversed(bundle.indexes):
        if each.text.startswith("--index-url") or not each.text.startswith("--"):
            url = each.text.rpartition(" ")[2].rstrip("/")
            return "" if url.partition("://")[2] == "pypi.org/simple" else url
    return ""


def index_variant(bundle: Bundle) -> tuple[str, Place, bool]:
    """Return the build of PyTorch's own index that is named (``cu121``, ``cpu``), where, and whether no other index is asked."""
    for each in bundle.indexes:
        last = each.text.rstrip("/").rpartition("/")[2].lower()
        if last in {"cpu", "xpu"} or (last.startswith(("cu", "rocm")) and last.strip("curom.0123456789") == "" and len(last) > 3):
            return last, each.at, each.text.startswith("--index-url")
    return "", Place(""), False


def _torch(bundle: Bundle) -> Framework | str:
    from gpudoctor.tables import wheels

    wanted = asked(bundle, "torch")
    if wanted is None:
        return ""
    if "@" in wanted.spec:
        return f"which build of PyTorch {wanted.spec.lstrip('@ ')} is"
    local = next((each.partition("+")[2] for each in wanted.spec.split(",") if "+" in each), "")
    index, _, alone = index_variant(bundle)
    foreign = _foreign_index(bundle)
    spec = ",".join(each.partition("+")[0] for each in wanted.spec.split(","))
    exact = wanted.exact
    variant = local or (index if alone else "")
    release = _pinned(wanted)
    if not variant and index and exact:
        short = ".".join(map(str, tables.version(release)[:2]))
        # Of two indexes pip takes the higher version, and 2.4.0+cu121 is higher than 2.4.0.
        variant = index if index == "cpu" or index in wheels.torch_variants(short, "x86_64") else ""
    if not variant and (index or foreign):
        return f"which build of PyTorch pip takes of {foreign or 'several indexes'}"
    if variant and not variant.startswith("cu"):
        return Framework("PyTorch", "torch", release or "", "", "", "", variant, wanted.at, exact, brings=True)
    if variant:
        cuda = f"{variant[2:-1]}.{variant[-1]}" if variant[2:].isdigit() else ""
        if not cuda:
            return f"which CUDA {wanted.words} is built for"
        return Framework("PyTorch", "torch", release, cuda, "", _floor(cuda), variant, wanted.at, exact, brings=True)
    release = release or newest(bundle, "torch", spec)
    if tables.version(_PYPI_CUDA_10_2[0]) <= tables.version(release)[:2] < tables.version(_PYPI_CUDA_10_2[1]):
        return Framework("PyTorch", "torch", release, "10.2", "", _floor("10.2"), "cu102", wanted.at, exact, brings=True)
    row = wheels.torch(f"=={release}", ()) if release else None
    if row is None:
        return f"which CUDA {wanted.words} is built for"
    variant = f"cu{row.cuda.replace('.', '')}"
    return Framework("PyTorch", "torch", release, row.cuda, row.cudnn, _floor(row.cuda), variant, wanted.at, exact, brings=True)


def _conda_torch(bundle: Bundle) -> Framework | str:
    """Return PyTorch as conda installs it: the package for CUDA beside it tells the build."""
    package = conda(bundle, "pytorch", "pytorch-gpu")
    if package is None or asked(bundle, "torch") is not None:
        return ""
    cpu = conda(bundle, "cpuonly", "pytorch-cpu")
    release = package.spec.lstrip("=").partition("=")[0]
    release = release if tables.version(release) and not package.spec.startswith((">", "<", "!", "~")) else ""
    if cpu is not None:
        return Framework("PyTorch", "pytorch", release, "", "", "", "cpu", cpu.at, exact=bool(release), brings=True)
    beside = conda(bundle, "pytorch-cuda", "cudatoolkit", "cuda-version")
    numbers = tables.version(beside.spec.lstrip("=")) if beside is not None and beside.spec[:1] == "=" else ()
    if len(numbers) < 2:
        return "for which CUDA the PyTorch that conda takes is built"
    cuda = f"{numbers[0]}.{numbers[1]}"
    at = beside.at if beside is not None else package.at
    return Framework(
        "PyTorch", "pytorch", release, cuda, "", _floor(cuda), f"cu{numbers[0]}{numbers[1]}", at, exact=True, brings=True
    )


def newest(bundle: Bundle, package: str, bounds: str) -> str:
    """Return the release that pip takes of the package index on the day of the tables, "" where that is not known."""
    from gpudoctor.tables import served

    here = python(bundle)
    return next((each for each in served.releases(package, here) if served.admits(bounds, each)), "") if here else ""


def _pinned(wanted: Asked) -> str:
    return next(
        (each.lstrip("=").partition("+")[0] for each in wanted.spec.split(",") if each.startswith("==") and "*" not in each), ""
    )


def tensorflow_bounds(bundle: Bundle, spec: str) -> str:
    """Return pip's bounds on TensorFlow with what BentoML 0.13.2 adds: it caps protobuf, which TensorFlow 2.12 needs newer."""
    bento = asked(bundle, "bentoml")
    capped = bento is not None and bento.spec == "==0.13.2"
    return ",".join(each for each in (spec, "<2.12" if capped else "") if each)


def _tensorflow(bundle: Bundle) -> Framework | str:
    from gpudoctor.tables import wheels

    wanted = asked(bundle, "tensorflow", "tensorflow-gpu")
    if wanted is None:
        return ""
    foreign = _foreign_index(bundle)
    if foreign or "@" in wanted.spec:
        return f"which build of TensorFlow {foreign or wanted.spec.lstrip('@ ')} has"
    release = _pinned(wanted) or newest(bundle, "tensorflow", tensorflow_bounds(bundle, wanted.spec))
    row = wheels.tensorflow(f"=={release}", python(bundle)) if release else None
    if row is None:
        return f"which CUDA {wanted.words} is built for"
    brings = "and-cuda" in wanted.extras and row.and_cuda
    return Framework("TensorFlow", wanted.name, release, row.cuda, row.cudnn, row.driver, "", wanted.at, wanted.exact, brings)


def _onnxruntime(bundle: Bundle) -> Framework | str:
    from gpudoctor.tables import wheels

    wanted = asked(bundle, "onnxruntime-gpu")
    if wanted is None:
        return ""
    foreign = _foreign_index(bundle)
    if foreign or "@" in wanted.spec:
        return f"for which CUDA the onnxruntime-gpu of {foreign or wanted.spec.lstrip('@ ')} is built"
    release = _pinned(wanted) or newest(bundle, wanted.name, wanted.spec)
    row = wheels.onnxruntime(f"=={release}", ()) if release else None
    if row is None:
        return f"which CUDA {wanted.words} opens"
    brings = "cuda" in wanted.extras and tables.version(release) >= (1, 21)
    return Framework(
        "onnxruntime-gpu", wanted.name, release, row.cuda, str(row.cudnn), row.driver, "", wanted.at, wanted.exact, brings
    )


def _cuda_wheels(bundle: Bundle) -> Framework | str:
    """Return CUDA's run-time library itself, where a lock pins it and no framework that is known does."""
    if asked(bundle, "torch") is not None:
        return ""  # it brings this
    for each in bundle.requirements:
        if each.installer == "pip" and each.name.startswith("nvidia-cuda-runtime") and each.spec.startswith("=="):
            numbers = tables.version(each.spec[2:])
            if len(numbers) > 1:
                cuda = f"{numbers[0]}.{numbers[1]}"
                name = "CUDA's run-time library"
                return Framework(name, each.name, each.spec[2:], cuda, "", _floor(cuda), "", each.at, exact=True, brings=True)
    return ""


def pip_majors(bundle: Bundle) -> frozenset[int]:
    """Return the CUDA majors whose computing libraries pip installs for frameworks that bring none."""
    found = set()
    told = _torch(bundle)
    if isinstance(told, Framework) and told.major:
        found.add(told.major)
    for each in bundle.requirements:
        if each.installer != "pip" or not each.name.startswith(("nvidia-cublas", "cuda-toolkit")):
            continue
        suffix = each.name.rpartition("-cu")[2]
        found.add(int(suffix) if suffix.isdigit() and "-cu" in each.name else major(each.spec.lstrip("=~>")))
    return frozenset(found - {0})


# The checks.


def _gpu_spec(spec: str) -> str:
    """Return the bounds of onnxruntime where releases of onnxruntime-gpu are within them, else none: not each release has both."""
    from gpudoctor.tables import served

    return spec if any(served.admits(spec, each) for each in served.releases("onnxruntime-gpu")) else ""


def _older(spec: str, release: tuple[int, ...]) -> bool:
    return any(each.startswith(("==", "<", "~=")) and tables.version(each.lstrip("=<~")) < release for each in spec.split(","))


def _cpu_only(bundle: Bundle) -> Iterator[Check]:
    plain = asked(bundle, "onnxruntime")
    if plain is not None and asked(bundle, "onnxruntime-gpu") is None:
        named = next((each for each in bundle.providers if "CUDA" in each.text or "Tensorrt" in each.text), None)
        says = f", although {named.at} names {named.text}" if named is not None else ""
        needed = any(each.kind == "onnx" for each in bundle.artifacts) or not _has_gpu_framework(bundle)
        yield Check(
            "cpu-only-runtime",
            "error" if needed else "hint",
            f"{plain.at} asks for onnxruntime, the package without CUDA{says}: ONNX models run on the CPU.",
            plain.at,
            f"Ask for onnxruntime-gpu{_gpu_spec(plain.spec)} in its place.",
        )
    for name in ("tensorflow-cpu", "intel-tensorflow", "tensorflow-intel"):
        found = asked(bundle, name)
        if found is not None and asked(bundle, "tensorflow", "tensorflow-gpu") is None:
            text = f"{found.at} asks for {name}, which is built without CUDA: TensorFlow runs on the CPU."
            extra = "" if _older(found.spec, (2, 14)) else "[and-cuda]"
            yield Check("cpu-only-runtime", "error", text, found.at, f"Ask for tensorflow{extra}{found.spec} in its place.")
    yield from _cpu_torch(bundle)
    jax = asked(bundle, "jax")
    if jax is not None and not _has_jax_cuda(bundle, jax):
        text = f"{jax.at} asks for jax without its CUDA plug-in: JAX runs on the CPU."
        yield Check("cpu-only-runtime", "error", text, jax.at, f"Ask for jax[cuda12]{jax.spec} in its place.")
    for name, instead in (("faiss-cpu", "faiss-gpu-cu12"), ("paddlepaddle", "paddlepaddle-gpu")):
        found = asked(bundle, name)
        if found is not None and asked(bundle, instead) is None:
            severity: Literal["error", "hint"] = "hint" if _has_gpu_framework(bundle) else "error"
            text = f"{found.at} asks for {name}, which is built without CUDA."
            yield Check("cpu-only-runtime", severity, text, found.at, f"Ask for {instead} in its place, if it shall use the GPU.")


def _has_gpu_framework(bundle: Bundle) -> bool:
    """Say whether another framework that can use the GPU is asked for."""
    return (
        asked(bundle, "torch", "tensorflow", "tensorflow-gpu") is not None
        or conda(bundle, "pytorch", "tensorflow-gpu") is not None
    )


def _has_jax_cuda(bundle: Bundle, jax: Asked) -> bool:
    jaxlib = asked(bundle, "jaxlib")
    return (
        any(extra.startswith(("cuda", "rocm", "tpu")) for extra in jax.extras)
        or (jaxlib is not None and "cuda" in jaxlib.spec)
        or any(each.name.startswith("jax-cuda") for each in bundle.requirements)
    )


def _cpu_torch(bundle: Bundle) -> Iterator[Check]:
    told = _torch(bundle) or _conda_torch(bundle)
    if isinstance(told, Framework) and not told.cuda:
        index, at, _ = index_variant(bundle)
        place = at if index == told.variant and told.package == "torch" else told.at
        kind = "for CPUs" if told.variant == "cpu" else f"for {told.variant}"
        text = f"{place} has PyTorch in the build {kind}, without CUDA: torch.cuda.is_available() is False on any host."
        cure = "Take out +cpu, or the index of CPU builds, and lock again." if told.package == "torch" else "Take out cpuonly."
        yield Check("cpu-only-runtime", "error", text, place, cure)
    elif isinstance(told, str) and told and index_variant(bundle)[0] == "cpu":
        at = index_variant(bundle)[1]
        text = f"{at} names PyTorch's index of CPU builds beside the other: where both have the same release, pip takes the one without CUDA."
        yield Check("cpu-only-runtime", "warning", text, at, "Take the index out.")


def _both(bundle: Bundle) -> Iterator[Check]:
    gpu, plain = asked(bundle, "onnxruntime-gpu"), asked(bundle, "onnxruntime")
    optimum = asked(bundle, "optimum")
    at = plain.at if plain is not None else None
    by = "onnxruntime"
    if at is None and optimum is not None and "onnxruntime" in optimum.extras:
        at, by = optimum.at, "optimum[onnxruntime], which installs onnxruntime"
    if gpu is None or at is None:
        return
    yield Check(
        "both-onnxruntimes",
        "error",
        f"{gpu.at} asks for onnxruntime-gpu and {at} for {by}: both write the same files, and which is left is the last one's to decide.",
        at,
        "Keep onnxruntime-gpu alone." if by == "onnxruntime" else "Ask for optimum[onnxruntime-gpu] in its place.",
    )


def _served(bundle: Bundle) -> Iterator[Check]:
    """Find releases that the package index does not serve: any more, to this Python, or without PyTorch's own index."""
    from gpudoctor.tables import served

    here = python(bundle)
    for name in ("torch", "onnxruntime-gpu", "onnxruntime", "tensorflow", "tensorflow-gpu", "tensorflow-cpu"):
        wanted = asked(bundle, name)
        if wanted is None or not wanted.sure or "@" in wanted.spec:
            continue
        local = next((each for each in wanted.spec.split(",") if each.startswith("==") and "+" in each), "")
        if local and name == "torch" and not bundle.indexes:
            yield Check(
                "pin-unavailable",
                "error",
                f"{wanted.at} pins torch{local}, which only PyTorch's own index has, and the bundle names no index: pip does not find it.",
                wanted.at,
                f"Add --extra-index-url https://download.pytorch.org/whl/{local.partition('+')[2]} to the requirements.",
            )
            continue
        if bundle.indexes or local:
            continue  # what other indexes have is not known
        yield from _not_served(wanted, served.releases(name), served.releases(name, here), here)
        if name == "tensorflow-gpu" and served.admits(wanted.spec, "2.12.0"):
            text = f"{wanted.at} asks for {wanted.words}: the newest tensorflow-gpu is an empty package that refuses to be installed."
            yield Check("pin-unavailable", "error", text, wanted.at, "Ask for tensorflow, which has the GPU in it, in its place.")


def _not_served(wanted: Asked, all_: tuple[str, ...], mine: tuple[str, ...], here: tuple[int, ...]) -> Iterator[Check]:
    from gpudoctor.tables import served

    if any(served.admits(wanted.spec, each) for each in mine):
        return
    if wanted.name == "tensorflow-gpu" and served.admits(wanted.spec, "2.12.0"):
        return
    fitting = [each for each in all_ if served.admits(wanted.spec, each)]
    mine_words = f"Python {'.'.join(map(str, here))}"
    if not fitting:
        nearest = f", for example {wanted.name}=={mine[0]}" if mine else ""
        yield Check(
            "pin-unavailable",
            "error",
            f"{wanted.at} asks for {wanted.words}, of which the package index has no wheel (as of {tables.AS_OF}): pip does not find it.",
            wanted.at,
            f"Pin a release that is served{nearest}, and pack again.",
        )
    elif here and (3, 6) <= here <= (3, 14):
        spans = [span for each in fitting if (span := served.pythons(wanted.name, each)) is not None]
        oldest, newest = min(span[0] for span in spans), max(span[1] for span in spans)
        pythons = f"{_dotted(oldest)} to {_dotted(newest)}" if oldest != newest else _dotted(oldest)
        yield Check(
            "python-version-mismatch",
            "error",
            f"{wanted.at} asks for {wanted.words}, which has wheels for Python {pythons}; the bundle is for {mine_words}: pip does not find one.",
            wanted.at,
            f"Take a Python that it has wheels for, or {wanted.name}=={mine[0]}."
            if mine
            else "Take a Python that it has wheels for.",
        )


def _bentoml(bundle: Bundle) -> Iterator[Check]:
    """Find what BentoML itself needs: 0.13 a Python before 3.11, its first two releases an old protobuf."""
    wanted = asked(bundle, "bentoml")
    pinned = wanted.spec.removeprefix("==") if wanted is not None and wanted.exact else ""
    if bundle.format != "bentoml-0.13":
        yield from _bento_cuda(bundle)
        return
    here = python(bundle)
    place = bundle.python.at if bundle.python is not None else Place("")
    if here >= (3, 11) and tables.version(pinned or bundle.packed_by)[:2] in {(0, 13), ()}:
        text = f"{place} says Python {_dotted(here)}, on which BentoML 0.13 cannot be imported (mutable default HTTPHeaders)."
        yield Check("python-version-mismatch", "error", text, place, "Run it with Python 3.7 to 3.10.")
    elif here >= (3, 10):
        text = (
            f"{place} says Python {_dotted(here)}, of which BentoML 0.13's own set-up script reads three characters: "
            "an image with conda fails to install Python 3.1, one without conda keeps its own Python."
        )
        yield Check(
            "python-version-mismatch",
            "warning",
            text,
            place,
            "Pack with Python 3.8 or 3.9, or build the image without that script.",
        )
    protobuf = asked(bundle, "protobuf")
    if wanted is None or pinned not in {"0.13.0", "0.13.1"} or here[:2] == (3, 6) or _caps_protobuf(bundle, protobuf):
        return
    yield Check(
        "protobuf-too-new",
        "error",
        f"{wanted.at} pins bentoml {pinned} and nothing keeps protobuf below 4, with which every command of that BentoML fails "
        "(Descriptors cannot be created directly).",
        wanted.at,
        "Add protobuf<=3.20.3 to the requirements, or pack with BentoML 0.13.2.",
    )


def _caps_protobuf(bundle: Bundle, protobuf: Asked | None) -> bool:
    """Say whether pip's protobuf stays below 4: by its own bounds, or by a TensorFlow up to 2.11 that is pinned."""
    from gpudoctor.tables import served

    # A release of each major version that pip may take.
    if protobuf is not None and not any(served.admits(protobuf.spec, each) for each in ("4.21.0", "5.29.6", "6.33.0", "7.0.0")):
        return True
    tensorflow = asked(bundle, "tensorflow", "tensorflow-cpu", "tensorflow-gpu")
    if tensorflow is None:
        return False
    release = _pinned(tensorflow) or newest(bundle, tensorflow.name, tensorflow.spec)
    return not release or tables.version(release) < (2, 12)


def _bento_cuda(bundle: Bundle) -> Iterator[Check]:
    if bundle.format == "bentoml-1" and bundle.cuda is not None and bundle.cuda.text not in _BENTO_CUDA:
        text = f"{bundle.cuda.at} asks for CUDA {bundle.cuda.text}, for which BentoML has no image (it has 11.2.2 to 12.8.1)."
        yield Check("cuda-conflict", "error", text, bundle.cuda.at, "Ask for 12.8, or name a docker.base_image of your own.")


def _image(bundle: Bundle) -> Iterator[Check]:
    """Hold the image's CUDA against the frameworks that open it."""
    base = image(bundle)
    if base is None:
        return
    for each in frameworks(bundle)[0]:
        if each.brings or not each.cuda:
            continue
        if each.major in pip_majors(bundle):
            continue
        by_luck = _may_bring(bundle)
        severity: Literal["error", "warning"] = "warning" if by_luck else "error"
        hedge = f", unless {by_luck} installs them" if by_luck else ""
        needs = f"CUDA {each.major} and cuDNN {major(each.cudnn)}"
        if base.libraries == "unknown":
            text = f"Cannot tell whether {base.name} has the libraries of {needs}, which {each.words} opens."
            yield Check("cuda-conflict", "unknown", text, base.at, "Build the image and give it with --image.")
        elif base.libraries != "yes":
            has = "no CUDA libraries" if base.libraries == "no" else "only CUDA's run-time library"
            text = f"{base.name} has {has}, and {each.words} brings none: it runs on the CPU without an exception{hedge}."
            yield Check("cpu-base-image", severity, text, base.at, _bring(each))
        elif _differs(base.cuda, each.cuda):
            text = f"{base.name} has CUDA {base.cuda}, and {each.words} opens the libraries of CUDA {each.cuda}: it runs on the CPU{hedge}."
            yield Check("cuda-conflict", severity, text, base.at, _other_cuda(each, base))
        else:
            yield from _cudnn(bundle, base, each, severity, hedge)


def _differs(image_cuda: str, wheel_cuda: str) -> bool:
    """Say whether a wheel does not find its libraries: up to CUDA 10 their names have the minor version too."""
    if major(image_cuda) != major(wheel_cuda):
        return True
    return major(image_cuda) < 11 and tables.version(image_cuda)[:2] != tables.version(wheel_cuda)[:2]


def _cudnn(bundle: Bundle, base: Image, each: Framework, severity: Literal["error", "warning"], hedge: str) -> Iterator[Check]:
    wanted = asked(bundle, each.package)
    if (wanted is not None and "cudnn" in wanted.extras) or any(
        one.name.startswith("nvidia-cudnn") for one in bundle.requirements
    ):
        return
    if not base.cudnn:
        text = f"{base.name} has no cuDNN, which {each.words} opens: it runs on the CPU{hedge}."
    elif major(base.cudnn) != major(each.cudnn):
        text = f"{base.name} has cuDNN {base.cudnn}, and {each.words} opens cuDNN {each.cudnn}: it runs on the CPU{hedge}."
    elif (
        each.name == "TensorFlow"
        and len(tables.version(base.cudnn)) > 1
        and tables.version(base.cudnn)[:2] < tables.version(each.cudnn)
    ):
        text = f"{base.name} has cuDNN {base.cudnn}, and {each.words}, built with {each.cudnn}, refuses an older one{hedge}."
    else:
        return
    yield Check("cudnn-conflict", severity, text, base.at, f"Take a base image with cuDNN {each.cudnn}.")


def _may_bring(bundle: Bundle) -> str:
    """Return what may install CUDA's libraries past pip, "" where nothing may."""
    package = conda(bundle, "cudatoolkit", "cuda-toolkit", "cuda-runtime", "cudnn", "cuda")
    if package is not None:
        return f"conda's {package.name} ({package.at})"
    return str(bundle.setup[0].at) if bundle.setup else ""


def _bring(each: Framework) -> str:
    if each.name == "TensorFlow" and tables.version(each.release)[:2] >= (2, 14):
        return f"Ask for tensorflow[and-cuda]=={each.release}, or take a base image with CUDA {each.major} and cuDNN {major(each.cudnn)}."
    if each.name == "onnxruntime-gpu" and tables.version(each.release) >= (1, 21):
        return (
            f"Ask for onnxruntime-gpu[cuda,cudnn]=={each.release} and call onnxruntime.preload_dlls() first, or take a base image "
            f"with CUDA {each.major} and cuDNN {major(each.cudnn)}."
        )
    return (
        f"Take a base image with CUDA {each.cuda} and cuDNN {each.cudnn} (nvidia/cuda:...-cudnn{major(each.cudnn)}-runtime-...)."
    )


def _other_cuda(each: Framework, base: Image) -> str:
    pin = {11: "onnxruntime-gpu==1.18.1", 12: "onnxruntime-gpu>=1.21,<1.27"}.get(major(base.cuda))
    if each.name == "onnxruntime-gpu" and pin is not None:
        return f"Pin {pin}, which is for CUDA {major(base.cuda)}, or take a base image of CUDA {each.major}."
    return f"Take a base image of CUDA {each.major}."


def _image_python(bundle: Bundle) -> Iterator[Check]:
    base, here = image(bundle), python(bundle)
    if base is None or not base.python or not here or base.python == here or bundle.python is None:
        return
    if bundle.format == "bentoml-0.13" and here >= (3, 10):
        return  # said of BentoML's script already
    yield Check(
        "python-version-mismatch",
        "warning",
        f"{base.name} has Python {_dotted(base.python)}, and {bundle.python.at} says {_dotted(here)}: pickles and wheels of one may not load in the other.",
        base.at,
        f"Take a base image with Python {_dotted(here)}.",
    )


def _split(bundle: Bundle) -> Iterator[Check]:
    """Find a framework that both conda and pip install, into the same environment."""
    for label, by_conda, by_pip in (
        ("PyTorch", ("pytorch", "pytorch-gpu", "pytorch-cpu"), ("torch",)),
        ("TensorFlow", ("tensorflow", "tensorflow-gpu"), ("tensorflow", "tensorflow-gpu", "tensorflow-cpu")),
        ("ONNX Runtime", ("onnxruntime", "onnxruntime-gpu"), ONNXRUNTIMES),
    ):
        first, second = conda(bundle, *by_conda), asked(bundle, *by_pip)
        if first is not None and second is not None:
            text = f"{first.at} has conda install {label}, and {second.at} has pip install it over that: which build is left is a matter of luck."
            yield Check("conda-pip-split", "warning", text, second.at, f"Ask one of them alone for {label}.")


def _two_majors(bundle: Bundle) -> Iterator[Check]:
    for start in _WRITTEN_OVER:
        found = {
            each.name: each for each in bundle.requirements if each.installer == "pip" and each.name.startswith(f"{start}cu")
        }
        if len(found) > 1:
            names = sorted(found)
            at = found[names[-1]].at
            text = f"{' and '.join(names)} are both asked for, and write the same files: which CUDA's are left is the last one's to decide."
            yield Check("cuda-conflict", "warning", text, at, "Ask for frameworks that are built for one CUDA.")


def _unpinned(bundle: Bundle) -> Iterator[Check]:
    for each in frameworks(bundle)[0]:
        if not each.exact and each.cuda and each.release:
            needs = f"CUDA {each.cuda}" + (f" (driver {each.driver} or newer)" if each.driver else "")
            text = f"{each.at} leaves the release of {each.package} to pip: as of {tables.AS_OF} that is {each.release} for {needs}, later another."
            cure = f"Pin it, for example {each.package}=={each.release}, so that a rebuilt image asks for no newer driver."
            yield Check("framework-not-pinned", "hint", text, each.at, cure)


def _floor(cuda: str) -> str:
    """Return the oldest driver on which programs of a CUDA run, empty where it is not known."""
    row = tables.cuda(cuda)
    return (row.minor or row.full or "") if row is not None else ""


def major(version: str) -> int:
    """Return a version's first number, 0 where there is none."""
    return (tables.version(version) or (0,))[0]


def _dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))
