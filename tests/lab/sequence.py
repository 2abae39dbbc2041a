"""One failure mode from its beginning to its end on a fake host: healthy, broken, seen, named, explained, mended, clean, taken back.

Every scenario goes the same way, so that none leaves a part of it out. What breaks the host, what shows it and how it looks are the
scenario's own.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.lab.test_fix import parts, steps
from tests.lab.test_scenarios import DOCTOR, EXPLAIN, found_rules, modes
from tests.lab.world import live

if TYPE_CHECKING:
    from pathlib import Path

GPUDOCTOR = "$PYTHON -m gpudoctor"


class Scenario(NamedTuple):
    """What differs from one failure mode to the other.

    ``prepare`` makes the host a healthy one, ``spoil`` breaks it. ``ask`` is what a user runs: it prints ``works`` on a healthy host
    and ``fails`` on the broken one, and what it prints then is what ``explain`` is given. ``files`` are those that the fix changes:
    after undo they have to be what they were when broken, or not there again. ``mend`` is the command that mends, by default the
    product's own fix with these ``options``, which ends with ``code``. ``effect`` is what puts a change into force (a boot) once it is
    made or taken back. What is mended by hand (``takes_back`` false) has no undo. ``hint`` says that doctor calls it no more than that,
    ``behind`` names what doctor has to say before it. ``times``: how many lines of one ``ask`` say that it works, or fails.
    ``boot`` takes away what no undo takes back (a node that was made), as a boot would.
    """

    rule: str
    prepare: str
    spoil: str
    ask: str
    works: str
    fails: str
    files: tuple[str, ...] = ()
    options: str = ""
    takes_back: bool = True
    mend: str = ""
    effect: str = ":"
    code: int = 0
    hint: bool = False
    behind: str = ""
    times: int = 1
    boot: str = "true"


def all_rules(part: str) -> list[str]:
    """Return the rules of all findings in doctor's JSON, those that follow from others too."""
    report = json.loads(next(line for line in part.split("\n") if line.startswith("{")))
    return [each["rule"] for each in report["findings"]]


def play(work: Path, it: Scenario, fixture: str, **options: Any) -> list[str]:
    """Play a scenario and assert each of its steps; returns what the steps printed."""
    keep = "; ".join(f"{{ [ -e {path} ] && cp -p {path} kept-{at} || rm -f kept-{at}; }}" for at, path in enumerate(it.files))
    same = " && ".join(
        f"if [ -e kept-{at} ]; then cmp {path} kept-{at}; else [ ! -e {path} ]; fi" for at, path in enumerate(it.files)
    )
    slug = it.rule.rpartition("/")[2]
    found = live(
        work,
        fixture,
        steps(
            f"{it.prepare or 'true'}; {it.ask}",
            f"{it.spoil}; {keep or 'true'}",
            it.ask,
            DOCTOR,
            f"{{ {it.ask}; }} 2>&1 | {EXPLAIN}",
            it.mend or f"{GPUDOCTOR} fix {it.rule} --apply --yes {it.options}",
            f"{it.effect}; {it.ask}",
            DOCTOR,
            f"{GPUDOCTOR} undo --yes {it.options}" if it.takes_back else "true",
            same or "true",
            f"{it.effect}; {it.boot}; {it.ask}",
        ),
        **options,
    )
    said = parts(found["out"])
    healthy, spoilt, broken, named, explained, mended, cured, clean, undone, bytes_, again = said
    assert healthy.count(it.works) >= it.times, healthy
    assert it.fails not in healthy, healthy
    assert spoilt.endswith("rc=0\n"), spoilt
    assert broken.count(it.fails) >= it.times, broken
    assert it.works not in broken, broken
    assert found_rules(named, hints=it.hint)[0] == (it.behind or it.rule), named
    assert it.rule in found_rules(named, hints=it.hint), named
    assert modes(explained)[0] == slug, explained
    assert mended.endswith(f"rc={it.code}\n"), mended
    assert cured.count(it.works) >= it.times, cured
    assert it.fails not in cured, cured
    assert it.rule not in all_rules(clean), clean
    assert undone.endswith("rc=0\n"), undone
    assert bytes_.endswith("rc=0\n"), bytes_
    assert (again.count(it.fails) >= it.times) is it.takes_back, again
    return said
