"""APT's package sources (sources.list(5)): one-line `.list` files and deb822 `.sources` files.

A `.list` file of the toolkit's repository is often the saved HTML of an error page, because its address was
fetched with curl; APT then refuses every source of the machine, and so does this parser.
"""

from __future__ import annotations

from gpudoctor.formats import Malformed, text
from gpudoctor.values import NamedTuple

_TYPES = ("deb", "deb-src")
_INLINE = "inline"


class Source(NamedTuple):
    """One address with one suite.

    `signed_by` is the path of the key, "inline" where the key itself stands in the file, None where any
    trusted key will do. `enabled` is False for a line that is commented out and for `Enabled: no`.
    """

    path: str
    line: int
    uri: str
    suite: str
    signed_by: str | None
    enabled: bool


def parse(path: str, data: bytes) -> tuple[Source, ...]:
    """Parse one file, in the form that the ending of its path says.

    Sources of packages and of source code are both given, so an address can occur twice. Raises `Malformed`
    with the line for what APT refuses.
    """
    content = text(data)
    return _deb822(path, content) if path.endswith(".sources") else _one_line(path, content)


def _one_line(path: str, content: str) -> tuple[Source, ...]:
    """Parse `deb [options] address suite components` lines."""
    sources: list[Source] = []
    for number, whole in enumerate(content.split("\n"), 1):
        line = whole.strip()
        bare = line.lstrip("# \t")
        enabled = bare == line
        if not bare or (not enabled and not bare.startswith(("deb ", "deb-src ", "deb\t", "deb-src\t"))):
            continue
        fields = bare.partition("#")[0].split(None, 1)
        if not fields or fields[0] not in _TYPES:
            if "<" in bare:
                raise Malformed("HTML where a line must begin with deb or deb-src", number)
            raise Malformed("a line that begins with neither deb nor deb-src", number)
        rest = fields[1].strip() if len(fields) > 1 else ""
        signed_by = None
        if rest.startswith("["):
            options, closed, rest = rest[1:].partition("]")
            if not closed and enabled:
                raise Malformed("options without their closing bracket", number)
            for option in options.split():
                name, _, value = option.partition("=")
                if name.lower() == "signed-by":
                    signed_by = value
        words = rest.split()
        if len(words) >= 2:
            sources.append(Source(path, number, words[0], words[1], signed_by, enabled))
        elif enabled:
            raise Malformed("a source without an address or without a suite", number)
    return tuple(sources)


def _deb822(path: str, content: str) -> tuple[Source, ...]:
    """Parse stanzas of `Field: value`."""
    sources: list[Source] = []
    fields: dict[str, str] = {}
    first, key = 0, ""
    for number, line in enumerate([*content.split("\n"), ""], 1):
        if line.startswith("#"):
            continue
        if not line.strip():
            if fields:
                sources.extend(_stanza(path, first, fields))
            fields, key = {}, ""
        elif line[0] in " \t":
            if not key:
                raise Malformed("a line that continues nothing", number)
            fields[key] += f"\n{line.strip()}"
        else:
            name, colon, value = line.partition(":")
            if not colon:
                raise Malformed("a line that is neither a field nor its continuation", number)
            first = first if fields else number
            key = name.strip().lower()
            fields[key] = value.strip()
    return tuple(sources)


def _stanza(path: str, line: int, fields: dict[str, str]) -> list[Source]:
    """Give every address of a stanza with every suite."""
    enabled = fields.get("enabled", "yes").lower() not in {"no", "false", "without", "off", "disable", "0"}
    addresses, suites = fields.get("uris", "").split(), fields.get("suites", "").split()
    if not addresses or not suites or "types" not in fields:
        if not enabled:
            return []
        raise Malformed("a source without Types, URIs or Suites", line)
    key = fields.get("signed-by", "").strip()
    signed_by = _INLINE if "BEGIN PGP" in key else " ".join(key.split()) or None
    return [Source(path, line, address, suite, signed_by, enabled) for address in addresses for suite in suites]
