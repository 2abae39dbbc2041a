"""What the fixes of a fixture host come to, in the text form of ``bad-<what>.fix`` beside ``bad-<what>.host``.

``python -m tests.fixes [RULE…]`` writes the files anew: read each one before you keep it, a wrong expectation is worse than none.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gpudoctor import engine
from gpudoctor.fix import plan
from gpudoctor.fix.diff import unified
from gpudoctor.host import hostfile
from gpudoctor.model import Wishes
from tests import cases

if TYPE_CHECKING:
    from pathlib import Path

    from gpudoctor.model import Plan, Rule


def bad_hosts(rule: Rule) -> list[Path]:
    """Return the bad fixture hosts of a rule."""
    folder = cases.FIXTURES / "rules" / rule.area / rule.slug.replace("-", "_").replace(".", "_")
    return sorted(folder.glob("bad-*.host"))


def plan_for(path: Path, rule: Rule, wishes: Wishes = Wishes()) -> Plan:  # noqa: B008 - a plain value
    """Return the plan of one rule for one fixture host."""
    return plan.make(hostfile.load(str(path)), [rule], wishes, named=True)


def text(made: Plan) -> bytes:
    """Return the outcome, the diffs and the commands of a plan of one rule."""
    parts = [f"{outcome.expected}: {outcome.text}".rstrip(": ").encode() + b"\n" for outcome in made.outcomes]
    for change in made.changes:
        parts.append(unified(change.target, change.before, change.after))
        if change.mode_after is not None and change.mode_after != (change.mode_before or 0o644):
            parts.append(f"mode: {change.mode_after:04o}\n".encode())
    for step in made.then:
        undo = "" if step.undo is None else f"; undo: {' '.join(step.undo)}"
        parts.append(f"then: {' '.join(step.argv)} ({step.safety}{undo})\n".encode())
    parts += [f"stops: {name}\n".encode() for name in made.hits]
    parts += [f"announces: {finding.rule}\n".encode() for finding in made.new]
    return b"".join(parts)


def expectation(path: Path, rule: Rule) -> bytes:
    """Return what stands in a ``.fix`` file: the plan, and what --force makes of it where it was refused without."""
    plain = plan_for(path, rule)
    if not any(outcome.expected == "forcible" for outcome in plain.outcomes):
        return text(plain)
    return text(plain) + b"with --force:\n" + text(plan_for(path, rule, Wishes(force=True)))


def main(names: list[str]) -> None:
    """Write the expectations of the named rules, of all with a fix where none is named."""
    rules = engine.chosen(names) if names else engine.all_rules()
    for rule in rules:
        for path in bad_hosts(rule) if rule.fix is not None else ():
            path.with_suffix(".fix").write_bytes(expectation(path, rule))


if __name__ == "__main__":
    main(sys.argv[1:])
