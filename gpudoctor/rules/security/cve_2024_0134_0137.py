"""Smaller faults of the toolkit, fixed by 1.17.3: links followed and walls left thin (CVE-2024-0134 to CVE-2024-0137).

CVE-2024-0134 let an image make files on the host through a link (fixed in 1.17.0). CVE-2024-0135, 0136 and 0137 let
an image that was made for it change binaries of the host or reach devices and the network of the host that it was
not given. The bulletin says 1.17.1, the release notes say 1.17.3; we go by the later.

How it is told from its look-alikes: every toolkit this old also has `security/cve-2025-23266`, so this finding
nearly always stands folded under that one. Whether these four reach hosts with CDI alone is not published, so they
are reported there too.

Cure: upgrade the toolkit to 1.17.8 or newer, better the newest.

Sources: NVIDIA security bulletins on CVE-2024-0134 and CVE-2024-0135; release notes of nvidia-container-toolkit
1.17.0 and 1.17.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Finding, Rule
from gpudoctor.rules.security import _toolkit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


def check(facts: Facts) -> Iterator[Finding]:
    """Find a toolkit before 1.17.3 (for CVE-2024-0134: before 1.17.0)."""
    cves = _toolkit.affected(facts, "CVE-2024-0134", "CVE-2024-0135", "CVE-2024-0136", "CVE-2024-0137")
    if cves:
        text = "A malicious image can change files of this host or reach what it was not given."
        yield _toolkit.finding(facts, cves, text, "hint")


RULE = Rule(
    "security/cve-2024-0134-0137",
    68,
    "hint",
    "the toolkit lets an image reach what it was not given",
    check,
    follows=("security/cve-2025-23266", "security/cve-2024-0132", "security/cve-2025-23359"),
    signs=(
        "cve-2024-(0134|0135|0136|0137)",
        "crafted container image can lead to the creation of unauthorized files on the host",
    ),
)
