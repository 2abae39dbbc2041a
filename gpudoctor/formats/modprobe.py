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
    """Give the directives in order, with the number of their first line; other lines are skipped.

    As kmod reads them: words are parted by spaces and tabs alone, a line that ends in a backslash is joined to the next with nothing
    between, and a carriage return is a part of its word, so that `blacklist nouveau` with one blacklists nothing.
    """
    directives: list[Directive] = []
    pending, start = "", 0
    for number, line in enumerate(text.split("\n"), 1):
        start = start or number
        if line.endswith("\\"):
            pending += line[:-1]
            continue
        verb, rest = _cut(pending + line)
        module, rest = _cut(rest)
        if module and verb in _VERBS:
            directives.append(Directive(verb, module.replace("-", "_"), rest.strip(" \t\r"), start))
        pending, start = "", 0
    return tuple(directives)


def _cut(text: str) -> tuple[str, str]:
    """Split the first word off."""
    text = text.lstrip(" \t")
    end = next((at for at, sign in enumerate(text) if sign in " \t"), len(text))
    return text[:end], text[end:]


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
