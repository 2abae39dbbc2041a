"""The output of `nvidia-smi -L`: the GPUs the driver answers for, and their MIG devices."""

from __future__ import annotations

from gpudoctor.values import NamedTuple


class SmiMig(NamedTuple):
    """A MIG device: its profile (`1g.5gb`) and its UUID (`MIG-…`, with older drivers `MIG-GPU-…/1/0`)."""

    name: str
    uuid: str


class SmiGpu(NamedTuple):
    """A GPU as nvidia-smi numbers it (in PCI order, not by device minor)."""

    index: int  # type: ignore[assignment]  # nobody asks a GPU for the place of a value
    name: str
    uuid: str
    migs: tuple[SmiMig, ...]


def list_gpus(text: str) -> tuple[SmiGpu, ...]:
    """Give the GPUs in order; messages and warnings between the lines are skipped."""
    gpus: list[SmiGpu] = []
    for line in text.splitlines():
        words = line.strip()
        head, _, tail = words.rpartition("(UUID: ")
        uuid = tail.removesuffix(")")
        if words.startswith("GPU "):
            number, colon, name = head[4:].partition(": ")
            if colon and number.isdecimal() and len(number) < 6:
                gpus.append(SmiGpu(int(number), name.strip(), uuid, ()))
        elif words.startswith("MIG ") and gpus and head:
            profile = head[4:].split(" Device ")[0].strip()
            gpus[-1] = gpus[-1]._replace(migs=(*gpus[-1].migs, SmiMig(profile, uuid)))
    return tuple(gpus)
