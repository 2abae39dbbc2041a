"""Which of the failures that a text looks like holds on this host.

Several failures print the same words. Their rules look at the host, so that asking them decides; without a host, or where a rule has
to be given more than one, the page says what would.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Literal

from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpudoctor.explain.match import Match
    from gpudoctor.facts import Facts
    from gpudoctor.model import Finding, Rule

Verdict = Literal["holds", "refuted", "unknown"]

_HOLDS = {"error": 3.0, "warning": 2.0, "hint": 1.0}
_REFUTED = 0.3


class Answer(NamedTuple):
    """One failure that the text looks like, and what the host says of it.

    ``decided_by`` is what was seen on the host, ``would_decide`` what to look at where that has not decided.
    """

    rule: Rule
    score: float
    quote: str
    verdict: Verdict
    decided_by: tuple[str, ...]
    would_decide: tuple[str, ...]
    finding: Finding | None = None


def without_host(matches: Sequence[Match]) -> tuple[Answer, ...]:
    """Return the matches as they are, each with what would decide."""
    return tuple(Answer(each.rule, each.score, each.quote, "unknown", (), _would_decide(each.rule)) for each in matches)


def on_host(matches: Sequence[Match], facts: Facts) -> tuple[Answer, ...]:
    """Put the matched rules, and no others, to a host; those that find something there come before those that do not."""
    from gpudoctor import engine

    diagnosis = engine.diagnose(facts, [each.rule for each in matches if not each.rule.needs_input])
    findings = {each.rule: each for each in reversed(diagnosis.findings)}
    order = {each.rule: at for at, each in enumerate(diagnosis.findings)}
    refuted = dict.fromkeys(diagnosis.passed, "was looked for on this host, and is not so")
    refuted.update((note.rule, note.text) for note in diagnosis.not_applicable)
    untold = {each.rule: each.text for each in diagnosis.untold}
    answers = []
    for each in matches:
        name = each.rule.name
        if name in findings:
            found = findings[name]
            score = min(1.0, each.score * _HOLDS[found.severity or "error"])
            answers.append(Answer(each.rule, score, each.quote, "holds", tuple(map(str, found.evidence)), (), found))
        elif name in refuted:
            answers.append(Answer(each.rule, each.score * _REFUTED, each.quote, "refuted", (refuted[name],), ()))
        else:
            missed = (untold[name],) if name in untold else ()
            answers.append(Answer(each.rule, each.score, each.quote, "unknown", (), (*missed, *_would_decide(each.rule))))
    answers.sort(key=lambda answer: (-answer.score, order.get(answer.rule.name, len(order)), answer.rule.rank))
    return tuple(answer._replace(score=round(answer.score, 3)) for answer in answers)


def paragraph(rule: Rule, *beginnings: str) -> str:
    """Return the paragraph of a rule's page that begins so, as one line without the beginning; "" where there is none."""
    for words in (sys.modules[rule.check.__module__].__doc__ or "").split("\n\n"):
        for beginning in beginnings:
            if words.startswith(beginning):
                return " ".join(words.removeprefix(beginning).split()).lstrip(",: ")
    return ""


def _would_decide(rule: Rule) -> tuple[str, ...]:
    words = paragraph(rule, "How it is told from its look-alikes", "Look-alikes")
    return (words,) if words else ()
