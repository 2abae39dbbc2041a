"""A CDI spec does not parse or breaks the format's rules, and engines drop the whole file.

The CDI library reads each *.yaml and *.json in /etc/cdi and /var/run/cdi. One wrong indent, a device name that it
does not allow, a device that stands twice: and none of the file's devices exist any more. Docker writes a line to
its log, podman not even that; what one sees is "unresolvable CDI devices nvidia.com/gpu=all".

How it is told from its look-alikes: the file is read here as the library reads it, and the line that it refuses is
named. A file that is right but in a newer version of the format than the engine knows is
`cdi/cdi-spec-version-too-new`; a file that is right and names what is not there any more is `cdi/cdi-spec-stale`.

Cure: write NVIDIA's spec anew (nvidia-ctk never writes a wrong one, so someone edited it or a write was cut off).
Another vendor's spec is theirs to mend; it does no harm to the others. `gpudoctor fix` does so too, and keeps a
text that is overwritten beside it, as .gpudoctor.

Sources: container-device-interface source (cache.go, spec.go, device.go, container-edits.go); CDI SPEC.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts.cdi import GPU
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules.cdi import _specs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.model import Steps, Wishes


def check(facts: Facts) -> Iterator[Finding]:
    """Find spec files that the CDI library refuses."""
    if not facts.cdi.files:
        raise NotApplicable("There is no CDI spec on this host.")
    served = f"{GPU}=all" in facts.cdi.devices
    for spec in facts.cdi.files:
        wrong = spec.malformed
        if wrong is None:
            continue
        severity = _specs.severity(facts, resolves=False) if spec.for_nvidia else "hint"
        column = f"column {wrong.column}: " if wrong.column else ""
        yield Finding(
            "a CDI spec is not valid",
            f"{spec.path} is dropped by every engine as a whole, so none of the devices in it can be asked for: {wrong.reason}.",
            (Evidence(Where(spec.path, wrong.line or None), f"{column}{wrong.reason}"), _specs.reader(facts)),
            _specs.write_anew(facts, spec)
            if spec.for_nvidia
            else Cure(
                "SHOWN",
                f"It is not NVIDIA's: mend line {wrong.line or 1} of {spec.path}, or have its vendor's tool write it anew.",
            ),
            severity="warning" if severity == "error" and served else severity,
            breaks=("cdi",) if spec.for_nvidia and not served else (),
        )


def fix(facts: Facts, _: Wishes) -> Steps:
    """Have NVIDIA's specs written anew; what a person wrote into one that is overwritten is kept beside it."""
    for spec in facts.cdi.files:
        if spec.malformed is not None and spec.for_nvidia:
            yield from _specs.rewrite(facts, spec)


RULE = Rule(
    "cdi/cdi-spec-invalid",
    55,
    "error",
    "a CDI spec is not valid",
    check,
    breaks=("cdi",),
    needs=("gpu",),
    fix=fix,
    signs=(
        "failed to (parse|load|read) cdi spec",
        "invalid cdi spec",
        "/cdi/nvidia.yaml*(invalid|yaml:|failed to parse)",
        "failed to unmarshal cdi spec",
        "invalid spec, no devices",
        "invalid device, empty device edits",
    ),
)
