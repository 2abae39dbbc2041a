"""/etc/os-release: `NAME=value` lines in a small part of the shell's grammar (os-release(5))."""

from __future__ import annotations

from gpudoctor.formats import text


def parse(data: bytes) -> dict[str, str]:
    """Give the variables, unquoted; the last one of a name wins, and other lines are skipped."""
    values: dict[str, str] = {}
    for line in text(data).splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and name.isidentifier():
            values[name] = _unquoted(value.strip())
    return values


def _unquoted(value: str) -> str:
    """Take one pair of quotes away, and the backslashes that mean something in double quotes."""
    if len(value) >= 2 and value[0] == value[-1] == "'":
        return value[1:-1]
    if len(value) >= 2 and value[0] == value[-1] == '"':
        value = value[1:-1]
        if "\\" in value:
            for special in ('"', "$", "`"):
                value = value.replace(f"\\{special}", special)
            value = value.replace("\\\\", "\\")
    return value
