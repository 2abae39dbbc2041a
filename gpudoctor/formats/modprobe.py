"""/etc/modprobe.d/*.conf and its siblings (modprobe.d(5)): module options, blacklists and replaced commands.

A dash and an underscore are the same in a module's name; here it is always the underscore.
"""

from __future__ import annotations

from gpudoctor.formats.cmdline import parse as split_parameters
from gpudoctor.values import NamedTuple

_VERBS = ("options", "blacklist", "install", "remove", "alias", "softdep")


class Directive(NamedTuple):
    """One line. `module` is its first word (of an alias: the alias), `rest` what follows, as written."""

    verb: str
    module: str
    rest: str
    line: int


def parse(text: str) -> tuple[Directive, ...]:
    """Give the directives in order, with the number of their first line; other lines are skipped."""
    directives: list[Directive] = []
    pending, start = "", 0
    for number, line in enumerate(text.split("\n"), 1):
        part = line.rstrip("\r")
        start = start or number
        if part.endswith("\\"):
            pending += f"{part[:-1]} "
            continue
        words = (pending + part).split(None, 2)
        if len(words) > 1 and words[0] in _VERBS:
            rest = words[2].strip() if len(words) > 2 else ""
            directives.append(Directive(words[0], words[1].replace("-", "_"), rest, start))
        pending, start = "", 0
    return tuple(directives)


def options(directives: tuple[Directive, ...], module: str) -> tuple[tuple[str, str, int], ...]:
    """Give a module's options as (name, value, line) in order; the last one of a name is the one in force.

    Names are given with underscores. A flag without an equals sign has the value "".
    """
    wanted = module.replace("-", "_")
    return tuple(
        (name.replace("-", "_"), value or "", directive.line)
        for directive in directives
        if directive.verb == "options" and directive.module == wanted
        for name, value in split_parameters(directive.rest)
    )
