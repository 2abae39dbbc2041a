"""NVIDIAScape: a container image can run code as root on the host (CVE-2025-23266, CVE-2025-23267).

The toolkit's hook enable-cuda-compat ran with the container's own environment, so an image that sets LD_PRELOAD had
its library loaded by a program that runs as root outside of the container. The hook update-ldcache followed links
that the image had placed. Both are fixed in 1.17.8. Whoever only runs images of their own has little to fear; a host
that runs other people's is open.

How it is told from its look-alikes: with CDI only toolkits before 1.17.5 are affected. Where the feature
disable-cuda-compat-lib-hook is set, the first fault is shut off on the legacy path and only the second is left (a
hint then). Older faults of the toolkit have rules of their own and are folded under this one.

Cure: upgrade the toolkit to 1.17.8 or newer, better the newest. Until then `features.disable-cuda-compat-lib-hook =
true` in /etc/nvidia-container-runtime/config.toml helps on the legacy path; it takes forward compatibility from
images.

Sources: NVIDIA security bulletin on CVE-2025-23266; NVIDIA/nvidia-container-toolkit#1208 and release notes of
1.17.8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Evidence, Finding, Rule, Where
from gpudoctor.rules.security import _toolkit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts

_HOOK = "CVE-2025-23266"
_LINK = "CVE-2025-23267"
_FEATURE = "disable-cuda-compat-lib-hook"


def check(facts: Facts) -> Iterator[Finding]:
    """Find a toolkit before 1.17.8, on a path that the faults reach."""
    cves = _toolkit.affected(facts, _HOOK, _LINK)
    if not cves:
        return
    toolkit = facts.toolkit
    off = toolkit.setting("features", _FEATURE) is True and not _toolkit.only_cdi(facts)
    if not off:
        text = "A malicious image can run code as root on this host, outside of its container, when it is given a GPU."
        yield _toolkit.finding(facts, cves, text, "warning")
        return
    rest = tuple(cve for cve in cves if cve.cve == _LINK)
    text = f"A malicious image can have files on this host changed by a link; {_HOOK} itself is shut off by {_FEATURE}."
    found = _toolkit.finding(facts, rest, text, "hint")
    mitigation = Evidence(Where(toolkit.config_path, toolkit.line("features", _FEATURE)), f"{_FEATURE} = true")
    yield found._replace(evidence=(*found.evidence, mitigation))


RULE = Rule(
    "security/cve-2025-23266",
    57,
    "warning",
    "the toolkit lets an image run code as root on the host",
    check,
    signs=(
        "cve-2025-(23266|23267)",
        "nvidiascape",
        "vulnerability in some hooks used to initialize the container",
    ),
)
