"""A fix of gpudoctor's was begun and not finished: power failed, or it was killed.

Each file that it was to change is either as it was or as it was meant to be, and the journal in /var/lib/gpudoctor has the originals of
all of them. Half of a fix may be worse than none, so that it should be taken back (or made anew) soon.

How it is told from its look-alikes: an entry of the journal that ends in ``.open`` is also there while a fix is under way right now. Only
the names of the journal's entries are looked at here, never what is in them.

Cure: `gpudoctor undo` takes the interrupted fix back; the next `gpudoctor fix --apply` does the same first.

Sources: gpudoctor's own journal (docs/design.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Evidence, Finding, Rule, Where

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts

_JOURNAL = "/var/lib/gpudoctor"


def check(facts: Facts) -> Iterator[Finding]:
    """Find an open entry of the journal."""
    found = [name for name in facts.host.names(_JOURNAL) if name.endswith(".open")]
    if not found:
        return
    yield Finding(
        "a fix was interrupted",
        "A fix of gpudoctor's was begun and not finished, so that only a part of its changes may be in place.",
        tuple(Evidence(Where(f"{_JOURNAL}/{name}"), "the entry is open: interrupted, or under way right now") for name in found),
        Cure(
            "SAFE",
            "Take it back; the originals are in the journal.",
            ("sudo gpudoctor undo",),
            "None: what someone else changed since is left alone and named.",
        ),
    )


RULE = Rule("host/fix-interrupted", 89, "warning", "a fix was interrupted", check)
