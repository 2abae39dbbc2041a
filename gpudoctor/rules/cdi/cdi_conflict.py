"""Two CDI specs define the same device.

In one folder both files have equal priority: the CDI library says `conflicting device "nvidia.com/gpu=0" (specs
..., ...)` in a log that nobody reads, and the name vanishes, even where another folder has it as well. Across
folders the later one wins without a word: /var/run/cdi over /etc/cdi. So after an upgrade to toolkit 1.18 the
hand-made /etc/cdi/nvidia.yaml of old has no effect, and whoever edits it is puzzled.

How it is told from its look-alikes: the device names of all specs are compared, folder by folder; /var/run and /run
are one folder. One file that is out of date is `cdi/cdi-spec-stale`.

Cure: set the hand-made file aside. Device names that only this file has (others than 0, 1 ... and all) are then
gone. `gpudoctor fix` removes the file that is one too many (its bytes stay in the journal), keeps the one that fits
the loaded driver, and refuses where a device name would be lost.

Sources: container-device-interface source (pkg/cdi/cache.go).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts.cdi import GPU
from gpudoctor.host import Denied
from gpudoctor.model import Cure, Edit, Evidence, Finding, NotApplicable, Refused, Rule, Where
from gpudoctor.rules.cdi import _specs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.facts.cdi import SpecFile
    from gpudoctor.model import Steps, Wishes


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
        yield Finding(
            "two CDI specs in one folder define the same device",
            f"{' and '.join(each.path for each in files)} both define {_specs.shortened(names)}: engines then know none of these names.",
            (*(_where(each, names[0]) for each in files), _specs.reader(facts)),
            _aside(*_surplus(facts)),
            severity=_specs.severity(facts, resolves=False),
        )
        return
    pairs = _hidden(facts)
    if not pairs:
        return
    loser, winner = pairs[0]
    name = next(f"{GPU}={device.name}" for device in loser.devices if cdi.devices[f"{GPU}={device.name}"] is winner)
    yield Finding(
        "one CDI spec hides another",
        f"{winner.path} takes precedence, so the same devices in {loser.path} have no effect, whatever is changed there.",
        (_where(loser, name), _where(winner, name)),
        _aside(*_surplus(facts)),
        severity="hint",
        breaks=(),
    )


def _hidden(facts: Facts) -> list[tuple[SpecFile, SpecFile]]:
    """Return each spec of which another one hides a device, and that one."""
    devices = facts.cdi.devices
    pairs = []
    for each in facts.cdi.gpu_specs:
        winners = (devices.get(f"{GPU}={device.name}", each) for device in each.devices)
        winner = next((winner for winner in winners if winner is not each), None)
        if winner is not None:
            pairs.append((each, winner))
    return pairs


def _surplus(facts: Facts) -> tuple[SpecFile, ...]:
    """Return the specs to set aside, so that each device stands in one file that the next boot still has."""
    cdi = facts.cdi
    gone: dict[str, SpecFile] = {}
    for name, files in cdi.clashes.items():
        left = [each for each in files if each.path not in gone]
        if not name.startswith(f"{GPU}=") or len(left) < 2:
            continue
        # The file of nvidia-cdi-refresh would come back; of others the one for the loaded driver stays, or the fuller one.
        kept = max(
            reversed(left),
            key=lambda each: (cdi.refreshed(each.path), (each.driver or ("",))[0] == facts.driver.version, len(each.devices)),
        )
        gone |= {each.path: each for each in left if each is not kept}
    if gone:
        return tuple(gone.values())
    for loser, winner in _hidden(facts):
        # What someone wrote to /run is gone after the next boot, and the hidden file is all that is left.
        brief = not cdi.refreshed(winner.path) and facts.host.real(winner.path).startswith("/run/")
        each = winner if brief else loser
        gone[each.path] = each
    return tuple(gone.values())


def _where(spec: SpecFile, name: str) -> Evidence:
    bare = name.partition("=")[2]
    lines = spec.data.decode("utf-8", "replace").split("\n")
    quoted = {bare, f'"{bare}"', f"'{bare}'"}
    line = next(
        (number for number, text in enumerate(lines, 1) if "name" in text and text.partition(":")[2].strip(" ,") in quoted), None
    )
    return Evidence(Where(spec.path, line), f"defines {name}")


def _aside(*specs: SpecFile) -> Cure:
    commands = tuple(f"sudo mv {spec.path} {spec.path}.old" for spec in specs)
    return Cure(
        "SAFE",
        f"Set {' and '.join(spec.path for spec in specs)} aside.",
        commands,
        "Device names that only this file has are gone.",
    )


def fix(facts: Facts, wishes: Wishes) -> Steps:
    """Remove the specs that are one too many, unless a device would be lost; the originals are in the journal."""
    gone = _surplus(facts)
    left = {device.name for each in facts.cdi.gpu_specs if each not in gone for device in each.devices}
    lost = list(dict.fromkeys(device.name for each in gone for device in each.devices if device.name not in left))
    if lost and not wishes.force:
        why = f"{gone[0].path} alone defines {_specs.shortened(lost)}: containers that ask for it would not start any more."
        raise Refused(why, forcible=True)
    for each in gone:
        yield Edit(each.path, None)


RULE = Rule(
    "cdi/cdi-conflict",
    107,
    "error",
    "two CDI specs define the same device",
    check,
    breaks=("cdi",),
    needs=("gpu",),
    fix=fix,
    signs=(
        "conflicting device nvidia.com/gpu",
        "conflicting device nvidia.com/*",
        "conflicting device*(specs /*",
    ),
)
