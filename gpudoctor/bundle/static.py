"""The static pass: every module of ``checks/`` put to a bundle, with nothing of the bundle executed.

A module there has ``check(bundle, files, facts)``, which yields what it found. There is no list to edit.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

from gpudoctor.bundle import Check, Place
from gpudoctor.host import NoAnswer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gpudoctor.bundle import Bundle
    from gpudoctor.bundle.files import Files
    from gpudoctor.facts import Facts

_CHECKS = os.path.join(os.path.dirname(__file__), "checks")
_ORDER = ("error", "warning", "unknown", "hint")


def modules() -> tuple[str, ...]:
    """Return the names of the modules that check, sorted."""
    names = (name.removesuffix(".py") for name in os.listdir(_CHECKS) if name.endswith(".py"))
    return tuple(sorted(name for name in names if not name.startswith("_")))


def examine(bundle: Bundle, files: Files, facts: Facts, found: Iterable[Check] = ()) -> tuple[Check, ...]:
    """Return what is wrong with a bundle on this host, worst first; ``found`` is what recognising it has shown already.

    A check that breaks on a bundle is itself a result: the others are not lost, and it is never taken for "nothing found".
    """
    checks = list(found)
    for name in modules():
        module = import_module(f"gpudoctor.bundle.checks.{name}")
        try:
            checks.extend(module.check(bundle, files, facts))
        except NoAnswer as missed:
            checks.append(Check("check-not-told", "unknown", f"Cannot tell all about the bundle's {name}: {missed}.", Place("")))
        except Exception as broken:  # noqa: BLE001 - a bundle is other people's data, and one check must not hide the others
            what = f"{type(broken).__name__}: {broken}"
            text = f"The check of the bundle's {name} broke, which is a fault of gpudoctor: {what[:200]}."
            checks.append(Check("check-broke", "unknown", text, Place(""), "Report it with the bundle's file names."))
    return tuple(sorted(dict.fromkeys(checks), key=lambda each: (_ORDER.index(each.severity), each.check, each.where)))
