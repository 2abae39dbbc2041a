"""CUDA's compatibility library in an image: whether it has one, and whether it puts it before the driver's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts.image import Told
from gpudoctor.host import NoAnswer

if TYPE_CHECKING:
    from gpudoctor.facts import Facts
    from gpudoctor.formats.dockerfile import Command, Package


def on_path(facts: Facts) -> Told | None:
    """Return what puts a compat folder into the loader's path, None where nothing is seen to.

    Its value is ``ldconfig`` where a folder is only given to ldconfig once: a runtime that runs ldconfig anew forgets it.
    """
    image = facts.image
    told = image.env.get("LD_LIBRARY_PATH")
    if told is not None and any(_is_compat(folder) for folder in told.value.split(":")):
        return told
    for each in _commands(facts):
        way = _leads(each) if each.sure else ""
        if way:
            return Told(way, image.path, each.line or None, " ".join((*each.argv, *(f"> {file}" for file in each.files))))
    return None


def brought(facts: Facts) -> Told | None:
    """Return what shows that a compatibility library is in the image: a package, or NVIDIA's own CUDA image."""
    image = facts.image
    told = image.env.get("NV_CUDA_COMPAT_PACKAGE")
    if told is not None:
        return told
    if image.base.repository == "nvidia/cuda" and image.machine == "x86_64":
        return image.base_told
    package = next((each for each in _packages(facts) if each.sure and each.name.startswith("cuda-compat-")), None)
    return image.told(package) if package is not None else None


def present(facts: Facts) -> bool:
    """Say whether a compatibility library is seen in the image."""
    return on_path(facts) is not None or brought(facts) is not None


def _commands(facts: Facts) -> tuple[Command, ...]:
    try:
        return facts.image.commands
    except NoAnswer:
        return ()


def _packages(facts: Facts) -> tuple[Package, ...]:
    try:
        return facts.image.packages
    except NoAnswer:
        return ()


def _is_compat(folder: str) -> bool:
    return folder.startswith("/usr/local/cuda") and folder.rstrip("/").endswith("/compat")


def _leads(command: Command) -> str:
    """Return how a command makes the linker look into a compat folder, empty where it does not."""
    program = command.argv[0].rpartition("/")[2]
    if program == "ldconfig" and any(_is_compat(word) for word in command.argv[1:]):
        return "ldconfig"
    kept = any(file.startswith("/etc/ld.so.conf") for file in command.files)
    return "kept" if kept and any(_is_compat(word) for word in command.argv[1:]) else ""
