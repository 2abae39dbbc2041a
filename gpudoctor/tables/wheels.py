"""What the wheels of PyTorch, ONNX Runtime and TensorFlow need and have code for, and which one pip takes.

Rows are one a release (2.4), not one a patch. A Python version or a bound on the release chooses among them as pip would, on the day
of the tables: whoever shows such an answer must say that it is the newest of that day.
"""

from __future__ import annotations

from gpudoctor.tables import _row, _rows, version
from gpudoctor.values import NamedTuple


class Torch(NamedTuple):
    """The wheel that pip takes from the default index: release, CUDA, and the cuDNN inside ("" = not known)."""

    release: str
    cuda: str
    cudnn: str


class Targets(NamedTuple):
    """Which GPUs a wheel has code for: ``(8, 6)`` runs on 8.6 and newer 8.x; ``ptx`` is compiled on anything from it on."""

    code: tuple[tuple[int, int], ...]
    ptx: tuple[int, int] | None

    def serve(self, capability: tuple[int, int]) -> bool:
        """Say whether a GPU of this compute capability can run it."""
        own = any(major == capability[0] and minor <= capability[1] for major, minor in self.code)
        return own or (self.ptx is not None and capability >= self.ptx)


class OnnxRuntime(NamedTuple):
    """A release of onnxruntime-gpu: the CUDA and the cuDNN major whose libraries it opens, and the oldest driver."""

    release: str
    cuda: str
    cudnn: int
    driver: str


class TensorFlow(NamedTuple):
    """A release of TensorFlow: CUDA and cuDNN (major.minor) that it was built with, the oldest driver, its targets (None: not known)."""

    release: str
    cuda: str
    cudnn: str
    driver: str
    targets: Targets | None
    and_cuda: bool


def admits(spec: str, release: str) -> bool:
    """Say whether pip's version bounds (``>=2.1,<2.4``; empty: any) admit a release."""
    have = version(release)
    for bound in spec.split(","):
        operator = bound[: len(bound) - len(bound.lstrip("=<>!~"))]
        wanted = version(bound[len(operator) :].strip().removesuffix(".*"))
        if not wanted:
            continue
        # A row is one release: what is asked of its patches is not asked of it.
        size = min(len(wanted), len(have), 2)
        mine, theirs = have[:size], wanted[:size]
        ok = {
            "==": mine == theirs,
            "===": mine == theirs,
            "~=": have >= wanted[: len(have)] and mine[: len(wanted) - 1] == theirs[: len(wanted) - 1],
            ">=": mine >= theirs,
            ">": mine >= theirs,
            "<=": mine <= theirs,
            "<": mine < theirs or (mine == theirs and any(wanted[2:])),
            "!=": True,
        }.get(operator, True)
        if not ok:
            return False
    return True


def torch(spec: str, python: tuple[int, ...]) -> Torch | None:
    """Return the newest PyTorch that bounds and a Python admit; () is a Python that is not known, and asks nothing."""
    for release, oldest, cuda, cudnn in _rows("torch_default"):
        if admits(spec, release) and (not python or python >= version(oldest)):
            return Torch(release, cuda, cudnn)
    return None


def torch_targets(release: str, variant: str, machine: str) -> Targets | None:
    """Return which GPUs a PyTorch wheel has code for, None where it is not known: ``("2.4", "cu121", "x86_64")``."""
    row = _row("torch", release, variant, machine)
    return _targets(row[3], row[4]) if row else None


def torch_variants(release: str, machine: str) -> tuple[str, ...]:
    """Return the CUDA variants of a PyTorch release, the newest first."""
    return tuple(row[1] for row in _rows("torch") if row[0] == release and row[2] == machine)


def onnxruntime(spec: str, python: tuple[int, ...]) -> OnnxRuntime | None:
    """Return the newest onnxruntime-gpu that bounds and a Python admit."""
    above = ""
    for since, cuda, cudnn, oldest, driver, newest in _rows("onnxruntime"):
        fits = any(admits(spec, release) for release in _between(since, above))
        if fits and (not python or python >= version(oldest)):
            exact = spec.lstrip("=")
            return OnnxRuntime(exact if spec.startswith("==") else newest, cuda, int(cudnn), driver)
        above = since
    return None


def tensorflow(spec: str, python: tuple[int, ...]) -> TensorFlow | None:
    """Return the newest TensorFlow that bounds and a Python admit."""
    for release, cuda, cudnn, pythons, driver, targets, ptx, and_cuda in _rows("tensorflow"):
        oldest, _, newest = pythons.partition("-")
        if admits(spec, release) and (not python or version(oldest) <= python <= version(newest)):
            return TensorFlow(release, cuda, cudnn, driver, _targets(targets, ptx) if targets else None, and_cuda == "yes")
    return None


def _between(since: str, above: str) -> list[str]:
    """Return the releases of a row: from its own up to the next one's."""
    major, minor = version(since)[:2]
    end = version(above)[1] if above else minor + 20
    return [f"{major}.{number}" for number in range(minor, end)]


def _targets(code: str, ptx: str) -> Targets:
    return Targets(tuple(_capability(word) for word in code.split()), _capability(ptx) if ptx else None)


def _capability(word: str) -> tuple[int, int]:
    return int(word[:-1]), int(word[-1])
