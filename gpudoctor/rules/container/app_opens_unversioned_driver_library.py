"""The program opens libnvidia-ml.so or libcuda.so without a number.

The toolkit mounts the driver's libraries under their run-time names, libcuda.so.1 and libnvidia-ml.so.1. The name without a
number belongs to development packages; for libcuda.so alone newer toolkits make a link. Miners and monitoring agents that open
libnvidia-ml.so say "failed to load libnvidia-ml.so".

Only the error text can tell: by which name a program opens a library stands in the program, and neither the host nor the image's
configuration shows it.

How it is told from its look-alikes: the .1 file is in the container. Where it is missing too, no GPU was asked for
(`container/container-started-without-gpu`).

Cure: make a link in the image (ln -s libnvidia-ml.so.1 libnvidia-ml.so in the library folder), or a newer version of the
program.

Sources: libnvidia-container (src/nvc_info.c, lists of libraries); dlopen(3).
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
    "container/app-opens-unversioned-driver-library",
    134,
    "error",
    "the program opens a driver library by a name that is not mounted",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="text",
    signs=(
        "libnvidia-ml.so: cannot open shared object file",
        "libcuda.so: cannot open shared object file",
        "failed to load libnvidia-ml.so:",
        "libnvidia-ml.so not found",
        "library libnvidia-ml.so not",
        "failed to open libnvidia-ml.so:",
        "could not load libnvidia-ml.so:",
        "unable to load libnvidia-ml.so",
    ),
)
