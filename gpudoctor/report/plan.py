"""A plan, and what came of it, for a person and as JSON (``docs/schema/fix.schema.json``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpudoctor.fix.diff import unified
from gpudoctor.fix.journal import in_force
from gpudoctor.report.text import Line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.fix.apply import Diverged, Done
    from gpudoctor.fix.journal import Entry
    from gpudoctor.model import Expected, Outcome, Plan, Then
    from gpudoctor.report.text import Tone

SCHEMA = 1

_MEANS: dict[Expected, str] = {
    "cured": "cured by this plan",
    "restart": "cured once Docker restarts",
    "reboot": "cured at the next boot",
    "later": "expected to be cured once the commands ran",
    "refused": "refused",
    "forcible": "refused without --force",
    "untold": "cannot tell",
    "shown": "left to you",
    "remains": "not cured",
}
_DIFF_TONES: dict[str, Tone] = {"+": "good", "-": "error"}
_STAYS = frozenset({"refused", "forcible", "untold", "shown", "remains"})


def stays(plan: Plan) -> tuple[Outcome, ...]:
    """Return what the plan does not cure, hints aside."""
    return tuple(each for each in plan.outcomes if each.expected in _STAYS and each.finding.severity != "hint")


def lines(plan: Plan, *, apply_with: str) -> Iterator[Line]:
    """Yield a plan's lines; ``apply_with`` is the command that carries it out, "" where it is about to be."""
    if not plan.outcomes and not plan.changes:
        yield Line(0, "Nothing to do.", "good")
    for outcome in plan.outcomes:
        if outcome.expected not in _STAYS:
            yield Line(0, f"{outcome.finding.title} [{outcome.finding.rule}]: {_MEANS[outcome.expected]}", "good")
            yield Line(4, outcome.text or str(outcome.finding.evidence[0]), "quiet")
            yield Line(4, outcome.finding.cure.summary)
    yield from _diffs(plan)
    yield from _commands(plan)
    for note in plan.notes:
        yield Line(0, note, "hint")
    for finding in plan.new:
        yield Line(0, f"It announces: {finding.title} [{finding.rule}].", "hint")
    left = [each for each in plan.outcomes if each.expected in _STAYS]
    if left:
        yield Line(0, "")
        yield Line(0, "What stays:", "warning")
    for outcome in left:
        yield from _left(outcome)
    if apply_with and (plan.changes or plan.then):
        yield Line(0, "")
        yield Line(0, f"Nothing was changed. To do it: {apply_with}", "plain")


def _diffs(plan: Plan) -> Iterator[Line]:
    for change in plan.changes:
        yield Line(0, "")
        if change.target != change.path:
            yield Line(0, f"{change.path} leads to {change.target}, which is what changes:", "hint")
        diff = unified(change.target, change.before, change.after).decode("utf-8", "replace")
        for text in diff.split("\n")[:-1]:
            yield Line(0, text, _DIFF_TONES.get(text[:1], "quiet") if text[:3] not in {"+++", "---"} else "plain")
        if change.mode_before != change.mode_after and None not in {change.mode_before, change.mode_after}:
            yield Line(0, f"mode of {change.target}: {change.mode_before:04o} becomes {change.mode_after:04o}")


def _commands(plan: Plan) -> Iterator[Line]:
    if not plan.then:
        return
    yield Line(0, "")
    yield Line(0, "Then:")
    for step in plan.then:
        yield Line(4, " ".join(step.argv), "command")
        yield Line(8, f"{step.why}{_condition(step)}", "quiet")
    if plan.hits:
        yield Line(4, f"The restart stops these running containers: {', '.join(plan.hits)}.", "warning")


def _condition(step: Then) -> str:
    if step.safety == "DISRUPTIVE":
        return " Run only with --allow-restart."
    return " Never run by gpudoctor." if step.safety == "SHOWN" else ""


def _left(outcome: Outcome) -> Iterator[Line]:
    finding = outcome.finding
    yield Line(0, f"{finding.title} [{finding.rule}]: {_MEANS[outcome.expected]}", "warning")
    yield Line(4, outcome.text or finding.text)
    if outcome.expected in {"shown", "remains", "refused"} and finding.cure.commands:
        yield Line(4, finding.cure.summary)
        for command in finding.cure.commands:
            yield Line(8, command, "command")
        if finding.cure.risk:
            yield Line(4, f"Risk: {finding.cure.risk}", "quiet")


def result(done: Done, *, mounted: bool, undone: str = "") -> Iterator[Line]:
    """Yield the lines that say what was done, or what failed and what was restored; ``undone`` names the entry that was taken back."""
    if done.problem:
        yield Line(0, f"Failed at: {done.step}: {done.problem}", "error")
        if done.restored:
            yield Line(0, f"Taken back: {', '.join(done.restored)}.", "warning")
        elif not done.conflicts:
            yield Line(0, "No file is changed.", "warning")
        for path in done.conflicts:
            yield Line(0, f"Not taken back: {path}; someone else changed it in between, or the command failed.", "error")
        return
    for path in done.written:
        yield Line(0, f"written: {path}", "good")
    for tool in done.judged:
        yield Line(0, f"accepted by: {tool}", "good")
    for step in done.ran:
        yield Line(0, f"ran: {' '.join(step.argv)}", "good")
    for step in done.left:
        where = " on the host itself" if mounted else ""
        yield Line(0, f"left to you{where}: {' '.join(step.argv)} ({step.why})", "warning")
    if done.id:
        words = f"{undone} is taken back. To make it again" if undone else "To take it back"
        yield Line(0, f"{words}: sudo gpudoctor undo {done.id}", "quiet")


def recovered(done: Done) -> str:
    """Say in one sentence what was made of a fix that was interrupted."""
    files = f"; restored: {', '.join(done.restored)}" if done.restored else "; no file had been changed"
    left = f"; not restored, since changed by someone else: {', '.join(done.conflicts)}" if done.conflicts else ""
    return f"fix {done.id} was interrupted and is taken back{files}{left}"


def apart(entry: Entry, files: tuple[Diverged, ...]) -> Iterator[Line]:
    """Yield why an undo does not write: what was changed since, and what the undo would have done."""
    for each in files:
        yield Line(0, f"{each.path} is no longer what fix {entry.id} left, so nothing is written.", "error")
        yield Line(0, "Changed since by someone else:", "warning")
        for text in unified(each.path, each.after, each.now).decode("utf-8", "replace").split("\n")[:-1]:
            yield Line(4, text, "quiet")
        yield Line(0, "The undo would do:", "warning")
        for text in unified(each.path, each.after, each.before).decode("utf-8", "replace").split("\n")[:-1]:
            yield Line(4, text, "quiet")


def history(entries: tuple[Entry, ...], damaged: tuple[str, ...]) -> Iterator[Line]:
    """Yield one line an entry, the newest first."""
    if not entries and not damaged:
        yield Line(0, "Nothing was ever changed here by gpudoctor fix.")
    force = in_force(entries)
    for entry in reversed(entries):
        state = "undone" if entry.state == "done" and entry.id not in force else entry.state
        what = f"undo of {entry.undoes}" if entry.undoes else ", ".join(entry.rules) or "compose"
        files = ", ".join(each.change.path for each in entry.written) or "no file"
        yield Line(0, f"{entry.id}  {state:<8}  {what}: {files}")
    for path in damaged:
        yield Line(0, f"{path} cannot be read as an entry.", "error")


def as_json(source: str, plan: Plan, done: Done | None) -> str:
    """Return a plan, and what came of it, as one line of JSON."""
    import json

    return json.dumps(
        {
            "schema": SCHEMA,
            "source": source,
            "changes": [
                {
                    "path": each.path,
                    "target": each.target,
                    "created": each.before is None,
                    "removed": each.after is None,
                    "mode": None if each.mode_after is None else f"{each.mode_after:04o}",
                    "diff": unified(each.target, each.before, each.after).decode("utf-8", "replace"),
                }
                for each in plan.changes
            ],
            "commands": [_command(step) for step in plan.then],
            "outcomes": [
                {
                    "rule": each.finding.rule,
                    "severity": each.finding.severity,
                    "title": each.finding.title,
                    "expected": each.expected,
                    "text": each.text,
                    "commands": list(each.finding.cure.commands),
                }
                for each in plan.outcomes
            ],
            "restart_stops": list(plan.hits),
            "notes": list(plan.notes),
            "announces": [each.rule for each in plan.new],
            "done": None if done is None else _done(done),
        }
    )


def _command(step: Then) -> dict[str, Any]:
    return {"argv": list(step.argv), "safety": step.safety, "why": step.why}


def _done(done: Done) -> dict[str, Any]:
    return {
        "id": done.id,
        "problem": done.problem,
        "step": done.step,
        "written": list(done.written),
        "judged_by": list(done.judged),
        "ran": [_command(step) for step in done.ran],
        "left": [_command(step) for step in done.left],
        "restored": list(done.restored),
        "conflicts": list(done.conflicts),
    }


def history_json(entries: tuple[Entry, ...]) -> str:
    """Return the journal as one line of JSON: no contents of files."""
    import json

    force = in_force(entries)
    rows = [
        {
            "id": each.id,
            "when": each.when,
            "state": each.state,
            "in_force": each.id in force,
            "rules": list(each.rules),
            "files": [written.change.path for written in each.written],
            "commands": [list(step.argv) for step in each.then],
            "undoes": each.undoes or None,
        }
        for each in entries
    ]
    return json.dumps({"schema": SCHEMA, "entries": rows})
