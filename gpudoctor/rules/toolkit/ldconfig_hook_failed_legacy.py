"""The hook's ldconfig is stopped by the hook's own system call filter.

libnvidia-container runs the host's ldconfig inside the container under a seccomp filter. The C library of
2025 (glibc 2.42) asks for clock_gettime there, which the filter did not allow before 1.17.9 and 1.18.0: GPU
containers then fail with "ldcache error: process /sbin/ldconfig failed with error code: 1", or "terminated
with signal 9" after minutes. It was reported on Arch and its relatives, which had the new C library first.

How it is told from its look-alikes: with `toolkit/ldconfig-path-wrong` the words are "no such file or
directory" or "error code: 127", and the path in config.toml is wrong. Error code 1 has other causes too (an
image whose root cannot be written, a kernel without seccomp), which a host's files do not show; so this is a
warning, by the versions alone.

Cure: upgrade the toolkit, or give the GPU by CDI, whose own hook does not filter.

Sources: libnvidia-container pull requests 324 and 326; immich issue 28184 (CDI works where the hook fails);
toolkit release notes of 1.18.0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor import tables
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules import advice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts

_FIXED = (1, 17, 9)
_GLIBC = (2, 42)


def check(facts: Facts) -> Iterator[Finding]:
    """Find a new C library under an old filter, on Arch and its relatives."""
    if facts.platform.family != "arch":
        raise NotApplicable("Reported on Arch and its relatives only.")
    docker, toolkit = facts.docker, facts.toolkit
    if not docker.installed or docker.kind == "desktop" or not facts.gpus.present:
        raise NotApplicable("No Docker on this host gives a GPU to containers.")
    version = toolkit.library_version
    if version is None or not toolkit.hook_acts:
        raise NotApplicable(f"No container goes through the hook here ({toolkit.summary}).")
    glibc = facts.packages.installed("glibc")
    if tables.version(version) >= _FIXED or glibc is None or tables.version(glibc.version) < _GLIBC:
        return
    yield Finding(
        "the hook's ldconfig may be stopped by its filter",
        f"libnvidia-container {version} does not let this system's ldconfig ask for the time, so GPU containers may fail with "
        "ldcache error (error code: 1).",
        (
            Evidence(Where(facts.packages.source), f"libnvidia-container {version}; clock_gettime is allowed from 1.17.9 on"),
            Evidence(Where(facts.packages.source), f"glibc {glibc.version}"),
            Evidence(Where("injection path"), toolkit.summary),
        ),
        Cure(
            "SHOWN",
            "Upgrade the toolkit; until then give the GPU by CDI (--device nvidia.com/gpu=all).",
            advice.upgrade_toolkit(facts),
            f"The whole system is upgraded with it. {advice.RESTART_RISK}",
        ),
    )


RULE = Rule(
    "toolkit/ldconfig-hook-failed-legacy",
    101,
    "warning",
    "the hook's ldconfig may be stopped by its filter",
    check,
    needs=("gpu", "driver", "toolkit"),
    signs=(
        "ldcache error: process *ldconfig* failed with error code: 1",
        "ldcache error: process *ldconfig* terminated with signal",
    ),
)
