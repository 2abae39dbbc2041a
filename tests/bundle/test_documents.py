"""The table of checks in docs/bundles.md is complete: the names come from the code."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def in_code() -> set[str]:
    """Return the first argument of every Check(...) in the package."""
    found = set()
    for path in (ROOT / "gpudoctor" / "bundle").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Check" and node.args:
                name = node.args[0]
                if isinstance(name, ast.Constant):
                    found.add(str(name.value))
    return found


def test_every_check_has_its_row():
    """A check that is added without a sentence for its users, or one that is gone, is noticed."""
    text = (ROOT / "docs" / "bundles.md").read_text()
    table = text[text.index("<!-- checks -->") : text.index("<!-- /checks -->")]
    rows = {line.split("`")[1] for line in table.splitlines() if line.startswith("| `")}
    assert len(in_code()) > 40
    assert in_code() - rows == set()
    # A few names are chosen by an expression; each must still stand in the code as it is.
    code = "".join(path.read_text() for path in (ROOT / "gpudoctor" / "bundle").rglob("*.py"))
    assert {name for name in rows - in_code() if f'"{name}"' not in code} == set()
