"""Two CDI specs define the same device.

In one folder both files have equal priority: the CDI library says `conflicting device "nvidia.com/gpu=0" (specs
..., ...)` in a log that nobody reads, and the name vanishes, even where another folder has it as well. Across
folders the later one wins without a word: /var/run/cdi over /etc/cdi. So after an upgrade to toolkit 1.18 the
hand-made /etc/cdi/nvidia.yaml of old has no effect, and whoever edits it is puzzled.

How it is told from its look-alikes: the device names of all specs are compared, folder by folder; /var/run and /run
are one folder. One file that is out of date is `cdi/cdi-spec-stale`.

Cure: set the hand-made file aside. Device names that only this file has (others than 0, 1 ... and all) are then
gone.

Sources: container-device-interface source (pkg/cdi/cache.go).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts.cdi import GPU
from gpudoctor.host import Denied
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules.cdi import _specs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.facts.cdi import SpecFile


def check(facts: Facts) -> Iterator[Finding]:
    """Find GPU specs that share device names."""
    cdi = facts.cdi
    refused = [each for each in cdi.files if each.refused]
    if len(cdi.gpu_specs) < 2 <= len(cdi.gpu_specs) + len(refused):
        raise Denied(refused[0].path, refused[0].refused)
    if len(cdi.gpu_specs) < 2:
        raise NotApplicable("There are not two CDI specs for nvidia.com/gpu on this host.")
    names = [name for name in cdi.clashes if name.startswith(f"{GPU}=")]
    if names:
        files = cdi.clashes[names[0]]
        # The file of nvidia-cdi-refresh would come back: the other one goes.
        aside = next((each for each in files if not cdi.refreshed(each.path)), files[0])
        yield Finding(
            "two CDI specs in one folder define the same device",
            f"{' and '.join(each.path for each in files)} both define {_specs.shortened(names)}: engines then know none of these names.",
            (*(_where(each, names[0]) for each in files), _specs.reader(facts)),
            _aside(aside),
            severity=_specs.severity(facts, resolves=False),
        )
        return
    shadowed = [(each, cdi.devices[f"{GPU}={device.name}"]) for each in cdi.gpu_specs for device in each.devices]
    pair = next(((loser, winner) for loser, winner in shadowed if winner is not loser), None)
    if pair is None:
        return
    loser, winner = pair
    name = next(f"{GPU}={device.name}" for device in loser.devices if cdi.devices[f"{GPU}={device.name}"] is winner)
    yield Finding(
        "one CDI spec hides another",
        f"{winner.path} takes precedence, so the same devices in {loser.path} have no effect, whatever is changed there.",
        (_where(loser, name), _where(winner, name)),
        _aside(loser),
        severity="hint",
        breaks=(),
    )


def _where(spec: SpecFile, name: str) -> Evidence:
    bare = name.partition("=")[2]
    lines = spec.data.decode("utf-8", "replace").split("\n")
    quoted = {bare, f'"{bare}"', f"'{bare}'"}
    line = next(
        (number for number, text in enumerate(lines, 1) if "name" in text and text.partition(":")[2].strip(" ,") in quoted), None
    )
    return Evidence(Where(spec.path, line), f"defines {name}")


def _aside(spec: SpecFile) -> Cure:
    command = f"sudo mv {spec.path} {spec.path}.old"
    return Cure("SAFE", f"Set {spec.path} aside.", (command,), "Device names that only this file has are gone.")


RULE = Rule(
    "cdi/cdi-conflict",
    107,
    "error",
    "two CDI specs define the same device",
    check,
    breaks=("cdi",),
    needs=("gpu",),
    signs=("conflicting device nvidia.com/gpu",),
)
