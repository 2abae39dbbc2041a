"""The program was built with a newer Video Codec SDK than the driver implements.

ffmpeg then says "Driver does not support the required nvenc API version. Required: 12.1 Found: 12.0" and "The minimum required
Nvidia driver for nvenc is 530.41.03 or newer". Devices and libraries are all there.

How it is told from its look-alikes: both API versions stand in the text. An image shows it where it builds ffmpeg and names the
release of nv-codec-headers (n12.2.72.0) that it is built with; of an ffmpeg that comes as a package or is copied from another stage
nothing is known, and it cannot be told or is not looked at. Where a library cannot be loaded at all, it is
`container/driver-capabilities-missing-video`; ffmpeg adds the sentence about the minimum driver there too.

Cure: install the driver that the message names or a newer one, or take a build of ffmpeg with older headers.

Sources: ffmpeg (libavcodec/nvenc.c); nv-codec-headers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor import tables
from gpudoctor.host import Unseen
from gpudoctor.model import Cure, Finding, NotApplicable, Rule
from gpudoctor.rules import images

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.formats.dockerfile import Command

_MINIMUM: dict[tuple[int, ...], str] = {
    (8, 1): "390.25",
    (8, 2): "396.24",
    (9, 0): "418.30",
    (9, 1): "435.21",
    (11, 0): "455.28",
    (11, 1): "470.57.02",
    (12, 0): "520.56.06",
    (12, 1): "530.41.03",
    (12, 2): "550.54.14",
    (13, 0): "570.0",
}
"""The oldest Linux driver for each version of the NVENC API (nv-codec-headers, README of each release; ffmpeg prints the same)."""
_DOTS = 3
_BUILDERS = frozenset({"configure", "./configure", "make", "ninja", "meson"})


def check(facts: Facts) -> Iterator[Finding]:
    """Find an image that builds ffmpeg with headers of an NVENC API which the driver here does not have."""
    images.need_gpu(facts)
    if facts.platform.jetson:
        raise NotApplicable("A Jetson encodes by other libraries.")
    image = facts.image
    told = _headers(image.commands)
    builds = any(
        each.argv[0].rpartition("/")[2] in _BUILDERS and any("nvenc" in word or "ffnvcodec" in word for word in each.argv)
        for each in image.commands
    )
    if told is None or not builds:
        raise NotApplicable("It is not seen that this image builds ffmpeg with a certain release of NVIDIA's headers.")
    command, tag = told
    if not tag:
        raise Unseen(image.path, "which release of nv-codec-headers it takes is not told")
    if facts.platform.wsl:
        raise Unseen("the driver", "which Windows driver has which version of NVENC is not in the table")
    if not command.sure:
        raise Unseen(image.path, f"nv-codec-headers {tag} is taken under a condition")
    wanted = _MINIMUM.get(tables.version(tag.removeprefix("n"))[:2])
    if wanted is None:
        raise Unseen(image.path, f"the driver that nv-codec-headers {tag} needs is not in the table")
    driver = images.driver(facts)
    if driver.numbers >= tables.version(wanted):
        return
    at = f" (line {command.line})" if command.line else ""
    source = f"docker history {facts.given.image}" if not image.of_file else image.path
    yield Finding(
        "the driver is too old for this ffmpeg's NVENC",
        f"The image builds ffmpeg with nv-codec-headers {tag}{at}: encoding on the GPU needs driver {wanted}, and driver {driver.version} is "
        "here.",
        (
            images.evidence(image.base_told._replace(path=source, line=command.line or None, says=" ".join(command.argv))),
            driver.evidence,
        ),
        Cure(
            "SHOWN",
            f"Install driver {wanted} or newer, or build with the headers of an older release: of those that this driver serves, n{_served(driver)} "
            "is the newest.",
        ),
        severity="warning",
        breaks=(),
    )


def _headers(commands: tuple[Command, ...]) -> tuple[Command, str] | None:
    """Return the command that fetches nv-codec-headers and their release, ``n12.2.72.0`` ("" where it names none); None: none does."""
    fetched = None
    for each in commands:
        program = each.argv[0].rpartition("/")[2]
        if program in {"git", "curl", "wget"} and any("nv-codec-headers" in word for word in each.argv):
            fetched = each, _release(each)
        elif fetched is not None and not fetched[1] and each.argv[:2] in {("git", "checkout"), ("git", "switch")}:
            # After a clone without a tag; ffmpeg's own tags have three numbers at most.
            fetched = each, _release(each)
    return fetched


def _release(command: Command) -> str:
    for word in " ".join(command.argv).replace("/", " ").replace("=", " ").split():
        name = word.removesuffix(".tar.gz").removesuffix(".zip").removeprefix("nv-codec-headers-")
        if name.startswith("n") and name.count(".") == _DOTS and name[1:].replace(".", "").isdigit():
            return name
    return ""


def _served(driver: images.HostDriver) -> str:
    newest = max((api for api, needed in _MINIMUM.items() if tables.version(needed) <= driver.numbers), default=min(_MINIMUM))
    return ".".join(map(str, newest))


RULE = Rule(
    "container/driver-too-old-for-nvenc",
    130,
    "error",
    "the driver is too old for this ffmpeg's NVENC",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="image",
    signs=(
        "driver does not support the required nvenc api version",
        "the minimum required nvidia driver for nvenc is",
        "minimum required nvidia driver + nvenc",
        "required: <n>.<n> found: <n>.<n>",
        "nvenc*invalid_version",
        "nv_enc_err_invalid_version",
    ),
)
