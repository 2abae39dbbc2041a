"""A diagnosis for a person: what this machine is, then the root causes with their cures in the order to mend them.

One list of lines serves both outputs: plain where it is piped or NO_COLOR is set, rich (imported late) on a terminal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from gpudoctor.report.summary import headline
from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.model import Diagnosis, Finding, Untold

Tone = Literal["error", "warning", "hint", "good", "unknown", "quiet", "plain", "command"]

MARKS = {"error": "✗", "warning": "!", "hint": "i", "good": "✓", "unknown": "?"}
ASCII_MARKS = {"error": "x", "warning": "!", "hint": "i", "good": "ok", "unknown": "?"}
STYLES: dict[Tone, str] = {
    "error": "bold red",
    "warning": "bold yellow",
    "hint": "cyan",
    "good": "green",
    "unknown": "magenta",
    "quiet": "dim",
    "plain": "",
    "command": "bold",
}


class Line(NamedTuple):
    """One line: how far it is indented, its words, how it is meant."""

    indent: int
    words: str
    tone: Tone = "plain"


def lines(host: dict[str, Any], diagnosis: Diagnosis, marks: dict[str, str]) -> Iterator[Line]:
    """Yield the report's lines; ``marks`` are the signs that the terminal can show."""
    for label, words in headline(host):
        yield Line(0, f"{label:<8} {words}", "quiet")
    yield Line(0, "")
    roots = [each for each in diagnosis.findings if each.because_of is None and each.severity != "hint"]
    for number, root in enumerate(roots, 1):
        yield from _finding(f"{number}. " if len(roots) > 1 else "", root, marks)
        yield from _followers(root, diagnosis)
        yield Line(0, "")
    hints = [each for each in diagnosis.findings if each.because_of is None and each.severity == "hint"]
    for hint in hints:
        yield Line(0, f"{marks['hint']} {hint.title} [{hint.rule}]", "hint")
        yield Line(4, f"{hint.text} ({hint.evidence[0]})")
        yield Line(4, hint.cure.summary)
        yield from _followers(hint, diagnosis)
    if hints:
        yield Line(0, "")
    yield from _untold([each for each in diagnosis.untold if each.reason != "unseen"], marks)
    for note in diagnosis.crashed:
        yield Line(0, f"{marks['unknown']} {note.rule} crashed, please report it: {note.text}", "unknown")
    yield _last(diagnosis, roots, marks)


def _root(finding: Finding, diagnosis: Diagnosis) -> str | None:
    """Return the rule of the root cause that a finding follows from, None for a root cause."""
    causes = {each.rule: each.because_of for each in diagnosis.findings}
    name = finding.because_of
    while name is not None and causes.get(name) is not None:
        name = causes[name]
    return name


def _followers(root: Finding, diagnosis: Diagnosis) -> Iterator[Line]:
    for each in diagnosis.findings:
        if _root(each, diagnosis) == root.rule:
            yield Line(4, f"follows from it: {each.title} [{each.rule}]", "quiet")


def _finding(number: str, root: Finding, marks: dict[str, str]) -> Iterator[Line]:
    tone: Tone = root.severity or "error"
    yield Line(0, f"{marks[tone]} {number}{root.title} [{root.rule}]", tone)
    yield Line(4, root.text)
    for at, proof in enumerate(root.evidence):
        yield Line(4, f"{'seen:' if at == 0 else '     '} {proof}", "quiet")
    yield Line(4, f"cure: {root.cure.summary}")
    if root.fixable and root.cure.safety != "SHOWN":
        yield Line(10, f"$ gpudoctor fix {root.rule}", "command")
        yield Line(10, "(shows the change, and makes it with --apply)" + (" or by hand:" if root.cure.commands else ""), "quiet")
    for command in root.cure.commands:
        yield Line(10, f"$ {command}", "command")
    if root.cure.risk:
        yield Line(4, f"risk: {root.cure.risk}")


def _untold(untold: list[Untold], marks: dict[str, str]) -> Iterator[Line]:
    """Group what could not be told by what was not answered: one refused socket keeps a dozen rules from telling."""
    reasons: dict[str, list[str]] = {}
    for each in untold:
        reasons.setdefault(each.text.removeprefix("cannot tell: "), []).append(each.rule)
    for reason, rules in reasons.items():
        shown = ", ".join(rules[:3]) + (f" and {len(rules) - 3} more" if len(rules) > 3 else "")
        way = "; run with sudo" if "denied" in reason or "permitted" in reason else ""
        yield Line(0, f"{marks['unknown']} cannot tell: {reason}{way}", "unknown")
        yield Line(4, f"needed by {shown}", "quiet")


def _last(diagnosis: Diagnosis, roots: list[Finding], marks: dict[str, str]) -> Line:
    unseen = diagnosis.unseen
    parts = [f"{len(diagnosis.passed)} checks passed", f"{len(diagnosis.not_applicable)} do not apply here"]
    if unseen:
        parts.append(f"{unseen} not examined (this kind of input cannot answer them)")
    unclear = len(diagnosis.untold) - unseen + len(diagnosis.crashed)
    if unclear:
        parts.append(f"{unclear} could not tell")
    words = ", ".join(parts) + "."
    if roots:
        return Line(0, f"{len(roots)} to mend, in this order. {words}" if len(roots) > 1 else f"1 to mend. {words}", "plain")
    if unclear or diagnosis.saw_little:
        return Line(0, f"{marks['unknown']} Nothing wrong was found, but not all could be looked at. {words}", "unknown")
    return Line(0, f"{marks['good']} Nothing wrong found. {words}", "good")


def _printable(words: str) -> str:
    """Take control characters out: what a recorded host contains must not steer a terminal.

    Tabs stay, and so does a carriage return at the end of a line, since a diff is given to patch(1).
    """
    if words.isprintable():
        return words
    body = words.removesuffix("\r")
    return "".join(sign if sign.isprintable() or sign == "\t" else "?" for sign in body) + words[len(body) :]


def plain(report: Iterator[Line]) -> str:
    """Return the report as plain text, one line a line."""
    return "".join(" " * line.indent + _printable(line.words) + "\n" if line.words else "\n" for line in report)


def styled(report: Iterator[Line], width: int) -> str:
    """Return the report with terminal colours, wrapped at ``width`` columns with its indentation kept."""
    import io

    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    console = Console(file=io.StringIO(), force_terminal=True, width=width, highlight=False, legacy_windows=False)
    with console.capture() as capture:
        for line in report:
            if line.tone == "command":
                # A command is copied and pasted: it must not be broken across lines.
                console.print(Text(" " * line.indent + _printable(line.words), STYLES["command"]), soft_wrap=True)
            else:
                console.print(Padding(Text(_printable(line.words), STYLES[line.tone]), (0, 0, 0, line.indent)))
    return "\n".join(row.rstrip() for row in capture.get().split("\n"))
