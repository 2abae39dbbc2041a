"""A diagnosis as one JSON object, as ``docs/schema/doctor.schema.json`` describes it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpudoctor.model import Diagnosis, Finding

SCHEMA = 1


def doctor(source: str, host: dict[str, Any], diagnosis: Diagnosis) -> str:
    """Return one line of JSON: ``source`` is where the host was read, ``host`` its summary."""
    return json.dumps(
        {
            "schema": SCHEMA,
            "source": source,
            "host": host,
            "findings": [finding(each) for each in diagnosis.findings],
            "untold": [{"rule": each.rule, "reason": each.reason, "text": each.text} for each in diagnosis.untold],
            "not_applicable": [{"rule": each.rule, "text": each.text} for each in diagnosis.not_applicable],
            "crashed": [{"rule": each.rule, "text": each.text} for each in diagnosis.crashed],
            "passed": len(diagnosis.passed),
        },
    )


def finding(each: Finding) -> dict[str, Any]:
    """Return one finding as plain values."""
    return {
        "rule": each.rule,
        "severity": each.severity,
        "title": each.title,
        "text": each.text,
        "where": {"path": each.where.path, "line": each.where.line},
        "evidence": [{"path": proof.where.path, "line": proof.where.line, "says": proof.says} for proof in each.evidence],
        "because_of": each.because_of,
        "fix": {
            "safety": each.cure.safety,
            "summary": each.cure.summary,
            "commands": list(each.cure.commands),
            "risk": each.cure.risk,
            "gpudoctor": f"gpudoctor fix {each.rule}" if each.fixable else None,
        },
        "doc": f"docs/rules/{each.rule}.md",
    }
