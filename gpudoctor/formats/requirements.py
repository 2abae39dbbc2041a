"""NVIDIA_REQUIRE_*: what an image demands of a host, as nvidia-container-cli evaluates it.

A blank is *or*, a comma is *and*: ``cuda>=12.4 brand=tesla,driver>=535,driver<536``. Each variable is a demand of its own, and all of
them must be met by every GPU that the container gets. A word that does not follow the grammar makes the whole demand fail, unless an
alternative before it was met. Source: libnvidia-container, src/cli/dsl.c and configure.c.
"""

from __future__ import annotations

from gpudoctor.values import NamedTuple

_OPERATORS = ("=", "!=", "<", "<=", ">", ">=")
_SIGNS = "<>=!"
_DIGITS = frozenset("0123456789.")


class Clause(NamedTuple):
    """One comparison: ``cuda``, ``driver``, ``arch`` or ``brand``, an operator, and a value."""

    name: str
    operator: str
    value: str


class Device(NamedTuple):
    """What a clause is held against; empty where it is not known. ``brand`` is NVML's, in small letters."""

    cuda: str
    driver: str
    arch: str
    brand: str


def alternatives(demand: str) -> tuple[tuple[Clause | None, ...], ...]:
    """Take a demand apart: alternatives of clauses, None in place of a clause that does not follow the grammar."""
    return tuple(tuple(_clause(word) for word in group.split(",") if word) for group in demand.split(" ") if group)


def _clause(word: str) -> Clause | None:
    start = next((at for at, sign in enumerate(word) if sign in _SIGNS), len(word))
    end = start
    while end < len(word) and word[end] in _SIGNS:
        end += 1
    name, operator, value = word[:start].lower(), word[start:end], word[end:]
    if name not in {"cuda", "driver", "arch", "brand"} or operator not in _OPERATORS or not value:
        return None
    if name == "brand":
        return Clause(name, operator, value.lower()) if operator in {"=", "!="} else None
    return Clause(name, operator, value) if set(value) <= _DIGITS else None


def met(clause: Clause | None, device: Device) -> bool | None:
    """Say whether a device meets a clause; None where the device is not known well enough."""
    if clause is None:
        return False
    if clause.name == "brand":
        return (device.brand == clause.value) is (clause.operator == "=") if device.brand else None
    have = {"cuda": device.cuda, "driver": device.driver, "arch": device.arch}[clause.name]
    return compare(have, clause.operator, clause.value) if have else None


def satisfied(demand: str, device: Device) -> bool | None:
    """Say whether a device meets a demand; None where it depends on what is not known of it."""
    groups = alternatives(demand)
    unknown = False
    for group in groups:
        outcome: bool | None = True
        for clause in group:
            if clause is None:
                return None if unknown or outcome is None else False
            result = met(clause, device)
            if result is False:
                outcome = False
                break
            outcome = outcome if result else None
        if outcome:
            return True
        unknown = unknown or outcome is None
    return None if unknown else not groups


def compare(have: str, operator: str, wanted: str) -> bool:
    """Compare two dotted numbers; what one has more than the other counts as zeros do."""
    mine = [int(part or 0) for part in have.split(".") if part]
    theirs = [int(part or 0) for part in wanted.split(".") if part]
    length = max(len(mine), len(theirs))
    mine += [0] * (length - len(mine))
    theirs += [0] * (length - len(theirs))
    return {
        "=": mine == theirs,
        "!=": mine != theirs,
        "<": mine < theirs,
        "<=": mine <= theirs,
        ">": mine > theirs,
        ">=": mine >= theirs,
    }[operator]
