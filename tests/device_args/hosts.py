"""The fixture hosts of device-args, and shortcuts to ask them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gpudoctor import device_args
from gpudoctor.device_args import select
from gpudoctor.facts import Facts
from gpudoctor.host.hostfile import load

if TYPE_CHECKING:
    from gpudoctor.device_args import Answer, Selection

ROOT = Path(__file__).parent.parent.parent
HOSTS = ROOT / "fixtures" / "device-args"


def facts(name: str) -> Facts:
    """Return the facts of a fixture host."""
    return Facts(load(str(HOSTS / f"{name}.host")))


def selected(name: str, gpus: str = "all", purposes: str = "compute") -> Selection:
    """Return what is selected on a fixture host."""
    return select.select(facts(name), device_args.request(gpus, purposes, "args", None))


def answer(name: str, form: str = "args", gpus: str = "all", purposes: str = "compute", style: str | None = None) -> Answer:
    """Return what the command would print for a fixture host."""
    return device_args.answer(facts(name), device_args.request(gpus, purposes, form, style), name)


def nodes(selection: Selection) -> list[str]:
    """Return the paths that a container gets, without /dev/."""
    return [node.path.removeprefix("/dev/") for node in selection.chosen]
