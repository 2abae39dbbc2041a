"""What an error text means: for a person, and as the JSON object that ``docs/schema/explain.schema.json`` describes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.explain.decide import paragraph
from gpudoctor.report.text import Line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gpudoctor.explain.decide import Answer
    from gpudoctor.explain.numbers import Numbered

SCHEMA = 1
FULL = 3
"""So many answers are given with their cure; the others by name."""


def as_json(answers: Sequence[Answer], numbered: Sequence[Numbered] = ()) -> str:
    """Return one line of JSON, best answer first."""
    import json

    from gpudoctor.report.json import finding

    matches = [
        {
            "mode": each.rule.slug,
            "score": each.score,
            "decided_by": list(each.decided_by),
            "would_decide": list(each.would_decide),
            "quote": each.quote,
            "rule": each.rule.name,
            "title": each.rule.title,
            "verdict": each.verdict,
            "finding": None if each.finding is None else finding(each.finding),
            "doc": f"docs/rules/{each.rule.name}.md",
        }
        for each in answers
    ]
    xids = [
        {
            "number": each.number,
            "switch": each.switch,
            "places": list(each.places),
            "known": each.known,
            "meaning": each.meaning,
            "action": each.action,
        }
        for each in numbered
    ]
    return json.dumps({"schema": SCHEMA, "matches": matches, "xids": xids})


def numbers(numbered: Sequence[Numbered]) -> Iterator[Line]:
    """Yield what each Xid or SXid of the text means and what to do, a line each; nothing where there is none."""
    if not numbered:
        return
    yield Line(0, "Numbered errors of the driver in this text:")
    for each in numbered:
        where = f" at {', '.join(each.places)}" if each.places else ""
        if each.known:
            yield Line(4, f"{each.name}{where}: {each.meaning}. To do: {each.action}.")
        else:
            said = f' It says: "{each.meaning}".' if each.meaning else ""
            yield Line(4, f"{each.name}{where}: an unknown number.{said} To do: {each.action}.")
    yield Line(0, "")


def lines(answers: Sequence[Answer], marks: dict[str, str], *, asked: bool) -> Iterator[Line]:
    """Yield the report's lines, best answer first; ``asked`` is whether a host was asked."""
    best = answers[0]
    equals = [each for each in answers if each.quote == best.quote and each.verdict == best.verdict]
    if best.verdict == "holds":
        yield Line(0, f"{marks['good']} What this host says decides it.", "good")
    elif best.verdict == "refuted":
        yield Line(
            0,
            f"{marks['unknown']} This host does not show what the text says; it may be from another machine or time.",
            "unknown",
        )
    elif len(equals) > 1:
        where = "this host could not decide between them" if asked else "run it on the host, or give it with --host, to decide"
        yield Line(0, f"{marks['unknown']} The same words have {len(equals)} causes; {where}.", "unknown")
    yield Line(0, "")
    for number, each in enumerate(answers[:FULL], 1):
        yield from _answer(f"{number}. " if len(answers) > 1 else "", each, marks)
        yield Line(0, "")
    if len(answers) > FULL:
        others = ", ".join(each.rule.name for each in answers[FULL:])
        yield Line(0, f"less likely: {others}", "quiet")


def _answer(number: str, each: Answer, marks: dict[str, str]) -> Iterator[Line]:
    tone = each.rule.severity
    yield Line(0, f"{marks[tone]} {number}{each.rule.title} [{each.rule.name}]", tone)
    yield Line(4, f'words: "{each.quote}"', "quiet")
    found = each.finding
    if found is not None:
        yield Line(4, found.text)
        for at, proof in enumerate(each.decided_by):
            yield Line(4, f"{'seen:' if at == 0 else '     '} {proof}", "quiet")
        yield Line(4, f"cure: {found.cure.summary}")
        if found.fixable and found.cure.safety != "SHOWN":
            yield Line(10, f"$ gpudoctor fix {each.rule.name}", "command")
        for command in found.cure.commands:
            yield Line(10, f"$ {command}", "command")
        if found.cure.safety == "DISRUPTIVE":
            yield Line(4, "It restarts a service or needs a reboot.")
        if found.cure.risk:
            yield Line(4, f"risk: {found.cure.risk}")
    else:
        for words in each.decided_by:
            yield Line(4, f"on this host: {words}", "quiet")
        yield Line(4, f"cure: {paragraph(each.rule, 'Cure')}")
        for words in each.would_decide:
            yield Line(4, f"decides: {words}", "quiet")
    yield Line(4, f"page: gpudoctor explain {each.rule.slug}", "quiet")
