"""A bundle's examination for a person and as JSON: what it is, what is wrong with it, each call, the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.report.text import Line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.bundle import Bundle, Call, Check, Result
    from gpudoctor.report.text import Tone

SCHEMA = 1
_TONES: dict[str, Tone] = {"error": "error", "warning": "warning", "hint": "hint", "unknown": "unknown"}
_VERDICTS: dict[str, Tone] = {
    "pass": "good",
    "fail": "error",
    "refused": "error",
    "nothing-to-test": "unknown",
    "cannot-tell": "unknown",
}
_RAN = {
    "gpu": "ran on the GPU",
    "cpu": "ran on the CPU",
    "mixed": "ran partly on the GPU and partly on the CPU",
    "unknown": "ran, where is not known",
    "nowhere": "was not run",
}


def lines(done: Result, marks: dict[str, str]) -> Iterator[Line]:
    """Yield the report's lines; ``marks`` are the signs that the terminal can show."""
    if done.bundle is not None:
        yield Line(0, _headline(done.bundle), "command")
    for each in done.static:
        yield from _check(each, marks)
    if done.bundle is not None and not done.static:
        yield Line(2, f"{marks['good']} the static pass found nothing", "good")
    for remark in done.remarks:
        yield Line(2, remark, "hint")
    for call in done.calls:
        yield from _call(call, done, marks)
    for words in done.printed:
        yield Line(4, f"printed: {words[:300]}", "quiet")
    if done.command and done.verdict != "pass":
        yield Line(4, f"again: {done.command}", "command")
    tone = _VERDICTS[done.verdict]
    if done.bundle is not None:
        yield Line(0, f"{marks.get(tone, '-')} {done.verdict}: {done.text}", tone)


def _headline(bundle: Bundle) -> str:
    words = [bundle.format]
    if bundle.name:
        words.append(f"{bundle.name}:{bundle.version}" if bundle.version else bundle.name)
    if bundle.packed_by:
        words.append(f"packed by {bundle.packed_by}")
    if bundle.python is not None:
        words.append(f"Python {bundle.python.text}")
    return "  ".join(words)


def _check(each: Check, marks: dict[str, str]) -> Iterator[Line]:
    tone = _TONES[each.severity]
    yield Line(2, f"{marks[tone]} {each.text} [{each.check}]", tone)
    if each.where.path:
        yield Line(6, f"seen: {each.where}", "quiet")
    if each.cure:
        yield Line(6, f"do: {each.cure}")


def _call(call: Call, done: Result, marks: dict[str, str]) -> Iterator[Line]:
    good = call.ok and done.verdict == "pass"
    tone: Tone = "unknown" if call.ok is None else ("good" if good else "error")
    yield Line(2, f"{marks[tone]} {call.api} {_RAN[call.ran_on]}: {call.text}", tone)
    for name, value in call.evidence.items():
        if value in (None, "", [], {}):
            continue
        yield Line(6, f"{name}: {_short(value)}", "quiet")


def _short(value: object) -> str:
    if isinstance(value, str):
        words = value
    else:
        import json

        words = json.dumps(value, default=str)
    return words if len(words) <= 200 else words[:197] + "..."


def as_json(done: Result) -> str:
    """Return one line of JSON, as ``docs/schema/bundle.schema.json`` describes it."""
    import json

    bundle = done.bundle
    return json.dumps(
        {
            "schema": SCHEMA,
            "path": done.path,
            "format": bundle.format if bundle is not None else None,
            "name": (bundle.name if bundle is not None else "") or None,
            "version": (bundle.version if bundle is not None else "") or None,
            "apis": [] if bundle is None else [{"api": api.name, "route": api.route, "takes": api.takes} for api in bundle.apis],
            "static": [
                {
                    "check": each.check,
                    "severity": each.severity,
                    "text": each.text,
                    "where": str(each.where),
                    "cure": each.cure or None,
                }
                for each in done.static
            ],
            "calls": [
                {"api": call.api, "ok": call.ok, "ran_on": call.ran_on, "evidence": call.evidence, "text": call.text}
                for call in done.calls
            ],
            "verdict": done.verdict,
            "text": done.text,
            "code": done.code,
            "remarks": list(done.remarks),
            "printed": list(done.printed),
            "command": done.command or None,
        },
        default=str,
    )
