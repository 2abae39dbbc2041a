"""NVIDIA's container toolkit does not serve this machine's processor or C library.

The driver's libraries and the toolkit are built for GNU/Linux on x86_64 and on aarch64. On 32-bit ARM, i686, riscv64 or ppc64le there
is no package to install; on a system with musl instead of glibc (Alpine) the driver's libraries do not load, whatever is installed.

How it is told from its look-alikes: by `uname -m`, and by the dynamic loader: musl's is there and glibc's is not. A Debian with the
musl package beside glibc is served. A Jetson is aarch64, with rules of its own (area `jetson`).

Cure: another machine, or a GNU/Linux distribution on this one. Nothing is changed by us.

Sources: NVIDIA driver README (minimum requirements); nvidia-container-toolkit supported platforms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.host import Unseen
from gpudoctor.model import Cure, Evidence, Finding, Rule, Where

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts

_GLIBC = {"x86_64": "/lib64/ld-linux-x86-64.so.2", "aarch64": "/lib/ld-linux-aarch64.so.1"}


def check(facts: Facts) -> Iterator[Finding]:
    """Find a machine that is not GNU/Linux on x86_64 or aarch64."""
    machine = facts.platform.machine
    if not machine:
        raise Unseen("uname -m", "nothing says which processor this is")
    if machine not in _GLIBC:
        yield _finding(
            f"NVIDIA's container toolkit is made for x86_64 and aarch64; this machine is {machine}, and no GPU container can run on it.",
            Evidence(Where("uname -m"), machine),
        )
        return
    musl = f"/lib/ld-musl-{machine}.so.1"
    if facts.host.exists(musl) and not facts.host.exists(_GLIBC[machine]):
        yield _finding(
            f"{facts.platform.os_name} has musl instead of glibc, and NVIDIA's libraries are made for glibc only.",
            Evidence(Where(musl), f"musl's loader is here, and glibc's {_GLIBC[machine]} is not"),
        )


def _finding(text: str, evidence: Evidence) -> Finding:
    return Finding(
        "NVIDIA's toolkit does not serve this kind of machine",
        text,
        (evidence,),
        Cure("SHOWN", "Use a machine with GNU/Linux (glibc) on x86_64 or aarch64."),
    )


RULE = Rule(
    "host/unsupported-architecture",
    26,
    "error",
    "NVIDIA's toolkit does not serve this kind of machine",
    check,
    breaks=("platform",),
)
