"""The command ``explain``: a text or a log in, the failures that it shows out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from gpudoctor.explain.decide import Answer
    from gpudoctor.explain.numbers import Numbered
    from gpudoctor.host import Host
    from gpudoctor.model import Rule


def page(rule: Rule) -> str:
    """Return a rule's page as text."""
    words = sys.modules[rule.check.__module__].__doc__ or ""
    return f"{rule.name} ({rule.severity})\n\n{words.strip()}\n"


def page_as_json(rule: Rule, name: str) -> str:
    """Return one line of JSON for a rule that was named: itself, as a text that says just that."""
    from gpudoctor.explain import decide, match
    from gpudoctor.report import explain as report

    return report.as_json(decide.without_host([match.Match(rule, 1.0, name, ())])) + "\n"


def answers(stream: BinaryIO, reopen: Callable[[], Host] | None) -> tuple[tuple[Answer, ...], tuple[Numbered, ...]]:
    """Return what the text is known for, best first: decided on the host that ``reopen`` gives, if there is one.

    Behind it come the numbered errors (Xid, SXid) that the text has, of which there may be some where nothing else is known.
    """
    from gpudoctor import engine
    from gpudoctor.explain import clean, decide, match, numbers

    rules = engine.every_rule()
    collector = numbers.Collector()
    found = match.seen(collector.watch(clean.windows(stream)), (sign for rule in rules for sign in rule.signs))
    matches = match.matches(found, rules)
    if not matches or reopen is None:
        return decide.without_host(matches), collector.found()
    from gpudoctor.facts import Facts

    return decide.on_host(matches, Facts(reopen())), collector.found()
