"""The program opens libnvidia-ml.so or libcuda.so without a number.

The toolkit mounts the driver's libraries under their run-time names, libcuda.so.1 and libnvidia-ml.so.1. The name without a
number belongs to development packages. Miners and monitoring agents that open it say "failed to load libnvidia-ml.so".

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
    """Say what this rule is told from."""
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
    ),
)
