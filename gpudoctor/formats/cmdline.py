"""The kernel's command line, /proc/cmdline, split as the kernel splits it.

A dash and an underscore are the same in a parameter's name, for the kernel's modules and for systemd alike. A
parameter that stands twice is no error, and mostly the last one wins.
"""

from __future__ import annotations

_TRUE = ("1", "yes", "y", "true", "t", "on")
_FALSE = ("0", "no", "n", "false", "f", "off")


def parse(text: str) -> tuple[tuple[str, str | None], ...]:
    """Split a command line into (name, value) in order; the value is None where there is no equals sign.

    Double quotes protect spaces, and are taken away round a whole parameter or a whole value (the kernel's
    `next_arg`). A quote that is never closed reaches to the end.
    """
    words = text.split() if '"' not in text else _quoted_words(text)
    args: list[tuple[str, str | None]] = []
    for word in words:
        quoted = word.startswith('"')
        name, equals, value = word[quoted:].partition("=")
        if quoted and word.endswith('"'):
            name, value = (name, value.removesuffix('"')) if equals else (name.removesuffix('"'), value)
        if not equals or not name:
            args.append((name + equals + value, None))
        elif value.startswith('"'):
            args.append((name, value[1:].removesuffix('"')))
        else:
            args.append((name, value))
    return tuple(args)


def values(args: tuple[tuple[str, str | None], ...], key: str) -> tuple[str | None, ...]:
    """Give the values of one parameter in order: () where it is absent, None for each without a value."""
    wanted = key.replace("-", "_")
    return tuple(value for name, value in args if name.replace("-", "_") == wanted)


def unified_cgroup(args: tuple[tuple[str, str | None], ...]) -> bool | None:
    """Tell which cgroup hierarchy the command line asks systemd for.

    True is the unified one (v2), False the old ones (v1 or hybrid), None nothing: absent, without a value, or
    with one that systemd does not understand. The last one decides. Whether systemd obeys depends on its
    version.
    """
    asked = values(args, "systemd.unified_cgroup_hierarchy")
    word = (asked[-1] or "").lower() if asked else ""
    if word in _TRUE:
        return True
    return False if word in _FALSE else None


def _quoted_words(text: str) -> list[str]:
    """Split at the spaces that stand outside double quotes; the quotes stay."""
    words: list[str] = []
    word = ""
    inside = False
    for number, piece in enumerate(text.split('"')):
        if number:
            word += '"'
            inside = not inside
        if inside:
            word += piece
            continue
        head, *rest = _split(piece)
        word += head
        for following in rest:
            words.append(word)
            word = following
    words.append(word)
    return [word for word in words if word]


def _split(piece: str) -> list[str]:
    """Split at white space like `str.split`, but keep the empty ends, which tell whether a word goes on."""
    words = piece.split()
    if not words:
        return ["", ""] if piece else [""]
    if piece[0].isspace():
        words.insert(0, "")
    if piece[-1].isspace():
        words.append("")
    return words
