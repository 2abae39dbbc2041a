"""Which ONNX models a release of ONNX Runtime loads."""

from __future__ import annotations

from gpudoctor.tables import _rows, version
from gpudoctor.values import NamedTuple


class Newest(NamedTuple):
    """The newest operator set (of domain ai.onnx) and IR version that a release loads."""

    opset: int
    ir: int


def newest(release: str) -> Newest | None:
    """Return what a release of ONNX Runtime ("1.19.2") loads at most; None where the table does not reach it."""
    have = version(release)
    for since, opset, ir in _rows("onnx_opsets"):
        if have and have >= version(since):
            return Newest(int(opset), int(ir))
    return None


def first(opset: int, ir: int) -> str:
    """Return the oldest release (1.21) that loads models of this operator set and IR version, "" where none of the table does."""
    fits = ""
    for since, most, newest_ir in _rows("onnx_opsets"):
        if opset <= int(most) and ir <= int(newest_ir):
            fits = since
    return fits
