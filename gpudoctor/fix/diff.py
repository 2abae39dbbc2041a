"""A change of one file as a unified diff, byte for byte: what is shown before anything is written, and what the fixtures hold."""

from __future__ import annotations


def unified(path: str, before: bytes | None, after: bytes | None) -> bytes:
    """Return the unified diff of a file; None is no file (``/dev/null``). Empty where nothing changes.

    Carriage returns and bytes that are not UTF-8 come out as they are; a missing final newline is marked as diff(1) does, so that the
    result can be given to patch(1).
    """
    if before == after:
        return b""
    import difflib

    old_name = "/dev/null" if before is None else f"a{path}"
    new_name = "/dev/null" if after is None else f"b{path}"
    old, new = _lines(before or b""), _lines(after or b"")
    parts = list(difflib.unified_diff(old, new, old_name, new_name, n=3))
    if not parts:
        # An empty file that comes or goes has no line to show.
        parts = [f"--- {old_name}\n", f"+++ {new_name}\n"]
    text = "".join(part if part.endswith("\n") else f"{part}\n\\ No newline at end of file\n" for part in parts)
    return text.encode("utf-8", "surrogateescape")


def _lines(data: bytes) -> list[str]:
    """Split at newlines only: a carriage return or a form feed inside a line is part of it."""
    text = data.decode("utf-8", "surrogateescape")
    lines = text.split("\n")
    return [f"{line}\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
