"""A smoke test for a person and as JSON: each ladder rung by rung, what the first failure means, and the verdict.

On a terminal the ladder is shown as it climbs (rich, imported late); the report that stays is the same list of lines as elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpudoctor.report.text import STYLES, Line
from gpudoctor.smoke.ladder import TITLES, WORDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gpudoctor.report.text import Tone
    from gpudoctor.smoke.ladder import Cause, Climb, Smoke

SCHEMA = 1
_TONES: dict[str, Tone] = {"passed": "good", "failed": "error", "untold": "unknown", "not tried": "quiet"}
_WIDTH = max(map(len, WORDS.values()))
_SENTENCES = {
    "on the GPU": "ran on the GPU, shown by where its nodes and tensors were.",
    "on the CPU": "ran on the CPU, as --device cpu asks; this says nothing of a GPU.",
    "starts": "CUDA starts. Nothing was computed: name a framework, or all.",
    "not on the GPU": "computed, and not on the GPU.",
    "failed": "failed.",
    "not installed": "is not installed there and was not tried.",
    "not tried": "was not tried: what it stands on failed.",
}
_GOOD = {"on the GPU", "on the CPU", "starts"}


def lines(smoke: Smoke, marks: dict[str, str]) -> Iterator[Line]:
    """Yield the report's lines; ``marks`` are the signs that the terminal can show."""
    if smoke.nothing:
        yield Line(0, f"{marks['unknown']} {smoke.nothing}", "unknown")
        yield Line(4, "This is no pass. `--device cpu` tries the frameworks on the CPU; `gpudoctor doctor` examines the host.")
        return
    for climb in smoke.climbs:
        yield from _climb(climb, marks)
        yield Line(0, "")
    for each in smoke.differences:
        name = TITLES.get(each.framework, "CUDA")
        yield Line(0, f"{name}, host and image beside each other: {WORDS[each.rung]}: {each.host}, {each.image}", "warning")
        yield Line(4, each.text)
    for climb in smoke.climbs:
        yield _verdict(climb, marks)


def _climb(climb: Climb, marks: dict[str, str]) -> Iterator[Line]:
    yield Line(0, climb.title + (f"   (at most {climb.peak_kib >> 10} MiB of memory)" if climb.peak_kib else ""), "command")
    if climb.verdict in {"not tried", "not installed"}:
        yield Line(2, _SENTENCES[climb.verdict], "quiet")
        return
    for rung in climb.rungs:
        tone = _TONES[rung.state]
        seconds = f"{rung.seconds:7.2f} s" if rung.seconds is not None else " " * 9
        sign = marks.get(tone, "-")
        says = rung.says or rung.state
        yield Line(2, f"{sign:<2} {WORDS[rung.name]:<{_WIDTH}} {seconds}  {says}".rstrip(), tone)
    for remark in climb.remarks:
        yield Line(4, remark, "hint")
    if climb.cause is not None:
        yield from _cause(climb.cause)
    if climb.first_failed is not None:
        for words in climb.words:
            yield Line(4, f"printed: {words[:300]}", "quiet")
        if climb.command:
            yield Line(4, f"again: {climb.command}", "command")


def _cause(cause: Cause) -> Iterator[Line]:
    yield Line(4, f"means: {cause.text}" + (f" [{cause.slug}]" if cause.slug else ""))
    for proof in cause.proof:
        yield Line(4, f"seen: {proof}", "quiet")
    yield Line(4, f"cure: {cause.cure}")
    for command in cause.commands:
        yield Line(10, f"$ {command}", "command")


def _verdict(climb: Climb, marks: dict[str, str]) -> Line:
    good = climb.verdict in _GOOD
    tone: Tone = "good" if good else ("error" if climb.verdict in {"failed", "not on the GPU"} else "quiet")
    failed = climb.first_failed
    if climb.verdict == "starts" and climb.rungs[0].name in {"reload", "import"}:
        words = climb.rungs[-1].says
    else:
        words = _SENTENCES[climb.verdict]
    at = f" First at: {WORDS[failed.name]}." if failed is not None and climb.verdict != "not installed" else ""
    return Line(0, f"{marks.get(tone, '-')} {climb.title}: {words}{at}", tone)


def as_json(smoke: Smoke) -> str:
    """Return one line of JSON, as ``docs/schema/smoke.schema.json`` describes it."""
    import json

    return json.dumps(
        {
            "schema": SCHEMA,
            "device": smoke.device,
            "gpus": list(smoke.gpus),
            "nothing": smoke.nothing or None,
            "code": smoke.code,
            "climbs": [_as_value(each) for each in smoke.climbs],
            "differences": [each._asdict() for each in smoke.differences],
        }
    )


def _as_value(climb: Climb) -> dict[str, Any]:
    failed = climb.first_failed
    return {
        "place": climb.place,
        "framework": climb.framework or None,
        "gpu": climb.gpu or None,
        "verdict": climb.verdict,
        "first_failed": failed.name if failed is not None else None,
        "rungs": [
            {"rung": rung.name, "state": rung.state, "seconds": rung.seconds, "says": rung.says, "facts": rung.facts}
            for rung in climb.rungs
        ],
        "cause": None
        if climb.cause is None
        else {
            "mode": climb.cause.slug or None,
            "text": climb.cause.text,
            "cure": climb.cause.cure,
            "commands": list(climb.cause.commands),
            "proof": list(climb.cause.proof),
        },
        "peak_kib": climb.peak_kib,
        "command": climb.command or None,
        "printed": list(climb.words),
        "remarks": list(climb.remarks),
    }


class Screen:
    """A terminal that shows the ladder while it climbs, on standard error; what it showed is taken away in the end."""

    def __init__(self, marks: dict[str, str]) -> None:
        """Take the signs that the terminal can show."""
        from rich.console import Console
        from rich.live import Live

        self.marks = marks
        self.rows: list[Line] = []
        self.title = ""
        self.now = ""
        self.live = Live(console=Console(stderr=True, highlight=False), transient=True, refresh_per_second=8)

    def __enter__(self) -> Callable[[str, dict[str, Any]], None]:
        """Return what hears each line of a verdict as it comes."""
        self.live.__enter__()
        return self.heard

    def __exit__(self, *failed: object) -> None:
        """Give the terminal back."""
        self.live.__exit__(None, None, None)

    def heard(self, title: str, line: dict[str, Any]) -> None:
        """Show one more rung, or which one is being climbed."""
        from rich.console import Group
        from rich.spinner import Spinner
        from rich.text import Text

        if title != self.title:
            self.title = title
            self.rows = [Line(0, title, "command")]
        rung = str(line.get("rung", ""))
        if "state" in line and rung in WORDS:
            tone = _TONES.get(str(line["state"]), "quiet")
            words = f"{self.marks.get(tone, '-'):<2} {WORDS[rung]:<{_WIDTH}} {line.get('seconds') or 0:7.2f} s"
            self.rows.append(Line(2, words, tone))
        shown = [Text(" " * row.indent + row.words, STYLES[row.tone]) for row in self.rows]
        going = WORDS.get(rung, "") if "phase" in line else "…"
        self.live.update(Group(*shown, Spinner("dots", going)))
