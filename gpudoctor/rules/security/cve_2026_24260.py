"""A race in the toolkit, fixed in 1.19.1 (CVE-2026-24260).

The bulletin of July 2026 names a time-of-check, time-of-use fault in every toolkit before 1.19.1, with a score of
8.5. Whether it reaches hosts that give GPUs by CDI alone is not published, so it is reported on those too.

How it is told from its look-alikes: a toolkit before 1.17.8 has it as well, but there `security/cve-2025-23266` is
the graver one, and this finding is folded under it. Alone it is a hint: nothing of it is known to be used, and what
it takes is not public.

Cure: upgrade the toolkit to 1.19.1 or newer. From 1.19.1 on CDI specs are written in version 0.7.0, which podman
before 5.1 and Docker before 26.1 do not read (`cdi/cdi-spec-version-too-new`).

Sources: NVIDIA security bulletin on CVE-2026-24260; release notes of nvidia-container-toolkit 1.19.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Finding, Rule
from gpudoctor.rules.security import _toolkit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


def check(facts: Facts) -> Iterator[Finding]:
    """Find a toolkit before 1.19.1."""
    cves = _toolkit.affected(facts, "CVE-2026-24260")
    if cves:
        yield _toolkit.finding(facts, cves, "A malicious image may use a race in the toolkit against this host.", "hint")


RULE = Rule(
    "security/cve-2026-24260",
    70,
    "hint",
    "the toolkit has a race that an image may use",
    check,
    follows=(
        "security/cve-2025-23266",
        "security/cve-2024-0132",
        "security/cve-2025-23359",
        "security/cve-2024-0134-0137",
    ),
    signs=("cve-2026-24260",),
)
