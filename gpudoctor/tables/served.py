"""Which releases of frameworks the Python package index still serves, and for which Pythons: frameworks' old wheels are deleted.

As of the day of the tables, Linux x86_64. An empty answer for a package that is not in the table says nothing: ask `known` first.
"""

from __future__ import annotations

from gpudoctor.tables import _rows, version

Python = tuple[int, ...]


def known(package: str) -> bool:
    """Say whether the table has a package (its normalised name)."""
    return any(row[0] == package for row in _rows("served"))


def releases(package: str, python: Python = ()) -> tuple[str, ...]:
    """Return the releases of a package that have a wheel for a Python (3, 8), the newest first; () is any Python."""
    return tuple(
        release for name, release, pythons in _rows("served") if name == package and (not python or python in _range(pythons))
    )


def pythons(package: str, release: str) -> tuple[Python, Python] | None:
    """Return the oldest and newest Python that a release has a wheel for, None where the release is not served."""
    for name, each, spans in _rows("served"):
        if name == package and _padded(each) == _padded(release):
            span = _range(spans)
            return span[0], span[-1]
    return None


def admits(spec: str, release: str) -> bool:
    """Say whether pip's version bounds (``>=2.1,<2.4.1``; empty: any) admit a release, to the last number.

    Pre-releases are not known here; a bound that cannot be read admits everything. Source: PEP 440.
    """
    have = _padded(release)
    for bound in spec.split(","):
        operator = bound[: len(bound) - len(bound.lstrip("=<>!~"))]
        text = bound[len(operator) :].strip().partition("+")[0]
        prefix = version(text.removesuffix(".*"))
        wanted = _padded(text.removesuffix(".*"))
        if not prefix:
            continue
        same = have[: len(prefix)] == prefix if text.endswith(".*") else have == wanted
        ok = {
            "==": same,
            "===": same,
            "!=": not same,
            "~=": have >= wanted and have[: len(prefix) - 1] == prefix[:-1],
            ">=": have >= wanted,
            ">": have > wanted,
            "<=": have <= wanted,
            "<": have < wanted,
        }.get(operator, True)
        if not ok:
            return False
    return True


def _padded(release: str) -> tuple[int, ...]:
    numbers = version(release)
    return numbers + (0,) * (4 - len(numbers))


def _range(pythons: str) -> list[Python]:
    """Return the Pythons of ``3.8-3.11``."""
    oldest, _, newest = pythons.partition("-")
    return [(3, minor) for minor in range(version(oldest)[1], version(newest)[1] + 1)]
