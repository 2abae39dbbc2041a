"""A container image can go round the fix of CVE-2024-0132 and escape to the host (CVE-2025-23359).

Toolkit 1.16.2 closed one way to exchange a path between check and use in the legacy hook; another was left open
until 1.17.4. What an attacker gains is the same: the host's file system inside the container.

How it is told from its look-alikes: `security/cve-2024-0132` is the first fault, below 1.16.2, and a toolkit that
old has both. Hosts that give GPUs by CDI alone are not affected.

Cure: upgrade the toolkit to 1.17.8 or newer. 1.17.4 itself is not a good place to stop: it no longer mounts an
image's CUDA compatibility libraries, which 1.17.5 brought back.

Sources: NVIDIA security bulletin on CVE-2025-23359; release notes of nvidia-container-toolkit 1.17.4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Finding, Rule
from gpudoctor.rules.security import _toolkit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


def check(facts: Facts) -> Iterator[Finding]:
    """Find a toolkit before 1.17.4 whose legacy hook is used."""
    cves = _toolkit.affected(facts, "CVE-2025-23359")
    if cves:
        text = "A malicious image can have the host's own file system mounted into its container, by a way that the first fix left open."
        yield _toolkit.finding(facts, cves, text, "warning")


RULE = Rule(
    "security/cve-2025-23359",
    69,
    "warning",
    "the toolkit's fix against escapes can be gone round",
    check,
    follows=("security/cve-2025-23266", "security/cve-2024-0132"),
    signs=(
        "cve-2025-23359",
        "crafted container image could gain access to the host file system",
    ),
)
