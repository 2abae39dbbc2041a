"""libnvcuvid.so.1 is there, but a library that it needs is not in the image.

Older drivers' libnvcuvid is linked to libGL.so.1 or libX11. A slim image has neither, so that loading fails with the same words
as if the file were missing: "Cannot load libnvcuvid.so.1".

Only the error text can tell, and `ldd` in the container: what the library is linked to stands in the library, which is different in
each driver, and what an image lacks stands in its layers, neither of which is read.

How it is told from its look-alikes: the file is in the container, and `ldd` of it names what is not found. Where the file is
missing, it is `container/driver-capabilities-missing-video`.

Cure: install libgl1 (and libx11-6) in the image, or ask for the graphics and display capabilities too.

Sources: ld.so(8); nv-codec-headers (dynlink_loader.h).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import NotApplicable, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.model import Finding


def check(facts: Facts) -> Iterator[Finding]:  # noqa: ARG001 - a host has nothing to ask
    """Say that only a text tells; why stands in the page."""
    raise NotApplicable("It is told from its error text: `gpudoctor explain`.")


RULE = Rule(
    "container/nvcuvid-needs-libgl",
    131,
    "error",
    "libnvcuvid.so.1 lacks a library of the image",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="text",
    signs=(
        "cannot load libnvcuvid.so.1",
        "failed loading nvcuvid",
        "libnvcuvid.so.1: cannot open shared object file",
        "failed to load libnvcuvid.so",
        "libnvcuvid.so.1 + (libgl.so.1|libx11.so.6)*not found",
        "~ (libgl.so.1|libx11.so.6|libgl1)",
    ),
)
