"""What the rules on CDI specs share: which specs are judged, how much hangs on them, and the commands that write one anew.

A spec is a file of names only until something reads it. So the same fault is an error where GPUs come to containers by the spec
alone (Docker 29.2 with nvidia-cdi-hook, the nvidia runtime in cdi mode, podman on a host without Docker), a warning where
there is another way beside it, and a hint where nothing on the host reads specs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts.cdi import GPU, REFRESH
from gpudoctor.host import Denied
from gpudoctor.model import Cure, Evidence, NotApplicable, Where

if TYPE_CHECKING:
    from gpudoctor.facts import Facts
    from gpudoctor.facts.cdi import SpecFile
    from gpudoctor.model import Severity

ANEW = "Containers must be started anew to get it."
_MOST = 3


def judged(facts: Facts) -> tuple[SpecFile, ...]:
    """Return the GPU specs in force; raises NotApplicable where there is none, Denied where one of them may not be read."""
    if not facts.gpus.present:
        raise NotApplicable("There is no NVIDIA GPU on this host.")
    found = facts.cdi.in_force
    if found:
        return found
    for each in facts.cdi.files:
        if each.refused:
            raise Denied(each.path, each.refused)
    raise NotApplicable("No CDI spec for nvidia.com/gpu is in force on this host.")


def severity(facts: Facts, spec: SpecFile | None = None, *, resolves: bool = True) -> Severity:
    """Return how bad a fault in a spec is here; ``resolves`` is False where it makes engines not find the names at all.

    A hint where another file defines ``nvidia.com/gpu=all``, as most people ask.
    """
    winner = facts.cdi.devices.get(f"{GPU}=all")
    readers = facts.cdi.readers
    if not readers or (spec is not None and winner is not None and winner is not spec):
        return "hint"
    return "error" if any(each.sole and (resolves or not each.falls_back) for each in readers) else "warning"


def reader(facts: Facts) -> Evidence:
    """Return who reads the specs here."""
    readers = facts.cdi.readers
    if not readers:
        return Evidence(Where("read by"), "no engine on this host, as it is set up today")
    return Evidence(
        Where("read by"), "; ".join(f"{each.name}{'' if each.sole else ' (not the only way here)'}" for each in readers)
    )


def shortened(words: list[str]) -> str:
    """Return a few of many words, and how many more there are."""
    rest = len(words) - _MOST
    return ", ".join(words[:_MOST]) + (f" and {rest} more" if rest > 0 else "")


def write_anew(facts: Facts, spec: SpecFile) -> Cure:
    """Return the cure that has a spec written anew: by nvidia-cdi-refresh where that is installed, else by nvidia-ctk.

    A spec that someone made by hand is set aside where nvidia-cdi-refresh keeps one of its own: it would grow old again.
    """
    cdi = facts.cdi
    if cdi.refresh_unit is None:
        return Cure("SAFE", f"Write the spec anew. {ANEW}", (f"sudo nvidia-ctk cdi generate --output={spec.path}",), "None.")
    restart = f"sudo systemctl restart {REFRESH}"
    if cdi.refreshed(spec.path):
        return Cure("DISRUPTIVE", f"Have nvidia-cdi-refresh write the spec anew. {ANEW}", (restart,), "None.")
    return Cure(
        "DISRUPTIVE",
        f"Set the hand-made spec aside: nvidia-cdi-refresh keeps {cdi.refresh_output} up to date. {ANEW}",
        (f"sudo mv {spec.path} {spec.path}.old", restart),
        "Device names that only the old spec has are gone.",
    )
