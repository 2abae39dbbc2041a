"""Rules put to facts: findings in the order to mend them, what could not be told, what does not apply, what crashed."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Literal

from gpudoctor.host import Denied, NoAnswer, Slow
from gpudoctor.model import LAYERS, Diagnosis, Finding, NotApplicable, Note, Rule, Untold

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gpudoctor.facts import Facts, Given

_RULES = os.path.join(os.path.dirname(__file__), "rules")
_SEVERITIES = ("error", "warning", "hint")

GIVEN = ("bentoml", "compose", "container", "framework", "image")
"""Areas about what runs on a host, not the host itself: their rules have to be given something, and a plain diagnosis imports none."""

_OPTIONS = {
    "image": "--image IMAGE or --dockerfile FILE",
    "container": "--container NAME or --all-containers",
    "compose": "--compose FILE",
}
"""Of each input that a command line can give, how it is given."""


def areas() -> tuple[str, ...]:
    """Return the areas that have rules, sorted."""
    return tuple(sorted(entry.name for entry in os.scandir(_RULES) if entry.is_dir() and entry.name.isidentifier()))


def modules(area: str) -> tuple[str, ...]:
    """Return the module names of one area's rules, sorted: one file a rule."""
    names = (name.removesuffix(".py") for name in os.listdir(os.path.join(_RULES, area)) if name.endswith(".py"))
    return tuple(sorted(name for name in names if not name.startswith("_")))


def load(area: str, module: str) -> Rule:
    """Import one rule."""
    rule: Rule = import_module(f"gpudoctor.rules.{area}.{module}").RULE
    return rule


def all_rules() -> tuple[Rule, ...]:
    """Import every rule that a plain diagnosis of a host is made of: 10 to 20 ms the first time."""
    loaded = (load(area, module) for area in areas() if area not in GIVEN for module in modules(area))
    return tuple(rule for rule in loaded if not rule.needs_input)


def every_rule() -> tuple[Rule, ...]:
    """Import all there are, those too that have to be given an error text, a Compose file, a container or an image."""
    return tuple(load(area, module) for area in areas() for module in modules(area))


def rules_for(given: Given) -> tuple[Rule, ...]:
    """Import the rules about what the user gave: an image, a Dockerfile, containers, Compose files; some are in areas of the host."""
    loaded = (load(area, module) for area in areas() for module in modules(area))
    return tuple(rule for rule in loaded if given.has(rule.needs_input))


def named(name: str) -> Rule | None:
    """Return the rule called ``area/slug`` or ``slug``, importing no other; None where there is none."""
    area, sign, slug = name.rpartition("/")
    module = slug.replace("-", "_").replace(".", "_")
    if not module.isidentifier():
        return None
    for candidate in (area,) if sign else areas():
        if candidate.isidentifier() and os.path.exists(os.path.join(_RULES, candidate, f"{module}.py")):
            rule = load(candidate, module)
            return rule if slug == rule.slug else None
    return None


def chosen(names: Iterable[str]) -> tuple[Rule, ...]:
    """Return the rules named by ``area``, ``area/slug`` or ``slug``; raises LookupError with the first unknown name."""
    known = areas()
    found: dict[str, Rule] = {}
    for name in names:
        rules: Sequence[Rule]
        if name in known:
            rules = [load(name, module) for module in modules(name)]
        else:
            rule = named(name)
            if rule is None:
                raise LookupError(name)
            rules = [rule]
        found.update((rule.name, rule) for rule in rules)
    return tuple(found.values())


def diagnose(facts: Facts, rules: Sequence[Rule]) -> Diagnosis:
    """Put rules to one host's facts. A rule that raises anything unforeseen is a result too ("crashed")."""
    findings: list[tuple[Rule, Finding]] = []
    untold: list[Untold] = []
    not_applicable: list[Note] = []
    crashed: list[Note] = []
    passed: list[str] = []
    for rule in rules:
        before = len(findings)
        if rule.needs_input in _OPTIONS and not facts.given.has(rule.needs_input):
            not_applicable.append(Note(rule.name, f"It looks at what is given by {_OPTIONS[rule.needs_input]}."))
            continue
        try:
            for finding in rule.check(facts):
                findings.append((rule, _stamped(finding, rule)))  # noqa: PERF401 - what came before a miss is kept
        except NotApplicable as reason:
            not_applicable.append(Note(rule.name, str(reason)))
            continue
        except NoAnswer as missed:
            untold.append(Untold(rule.name, _reason(missed), f"cannot tell: {missed}", rule.severity))
            continue
        except Exception as error:  # noqa: BLE001 - a broken check is a result, not a dead program
            crashed.append(Note(rule.name, f"{type(error).__name__}: {error} ({_place(error)})"))
            continue
        if len(findings) == before:
            passed.append(rule.name)
    return Diagnosis(_ordered(findings), tuple(untold), tuple(not_applicable), tuple(crashed), tuple(passed))


def _stamped(finding: Finding, rule: Rule) -> Finding:
    return finding._replace(
        rule=rule.name,
        fixable=rule.fix is not None,
        severity=finding.severity or rule.severity,
        breaks=rule.breaks if finding.breaks is None else finding.breaks,
        needs=rule.needs if finding.needs is None else finding.needs,
    )


def _reason(missed: NoAnswer) -> Literal["denied", "slow", "unseen"]:
    return "denied" if isinstance(missed, Denied) else "slow" if isinstance(missed, Slow) else "unseen"


def _place(error: Exception) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "?" if trace is None else f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}"


def _ordered(findings: list[tuple[Rule, Finding]]) -> tuple[Finding, ...]:
    """Put root causes first, the ones that stop a container before mere risks, and fold under each what follows from it."""
    depth = {layer: at for at, layer in enumerate(LAYERS)}

    def key(item: tuple[Rule, Finding]) -> tuple[int, int, int, str]:
        rule, finding = item
        layers = finding.breaks or finding.needs or ()
        bottom = min((depth[layer] for layer in layers), default=len(LAYERS))
        return (_SEVERITIES.index(finding.severity or "error"), bottom, rule.rank, rule.name)

    ordered = sorted(findings, key=key)
    causes = _causes(ordered)
    result: list[Finding] = []
    todo = [finding for _, finding in reversed(ordered) if causes[finding.rule] is None]
    unfolded: set[str] = set()
    while todo:
        finding = todo.pop()
        result.append(finding._replace(because_of=causes[finding.rule]))
        if finding.rule not in unfolded:
            unfolded.add(finding.rule)
            todo.extend(each for _, each in reversed(ordered) if causes[each.rule] == finding.rule)
    return tuple(result)


def _causes(ordered: list[tuple[Rule, Finding]]) -> dict[str, str | None]:
    """Return for each rule that found something the rule whose finding explains it, None for a root cause."""
    # The lowest error that takes a layer away explains every finding that needs this layer.
    broken: dict[str, str] = {}
    for _, finding in ordered:
        for layer in (finding.breaks or ()) if finding.severity == "error" else ():
            broken.setdefault(layer, finding.rule)
    causes: dict[str, str | None] = {finding.rule: None for _, finding in ordered}
    # Ordered by severity, so the last one written is the worst of its rule. A hint does not explain an error away.
    worst = {finding.rule: _SEVERITIES.index(finding.severity or "error") for _, finding in reversed(ordered)}
    for rule, finding in ordered:
        layers = sorted(finding.needs or (), key=LAYERS.index)
        candidates = [*rule.follows, *(broken[layer] for layer in layers if layer in broken)]
        for candidate in candidates:
            if candidate in causes and worst[candidate] <= worst[rule.name] and rule.name not in _chain(candidate, causes):
                causes[rule.name] = candidate
                break
    return causes


def _chain(name: str | None, causes: dict[str, str | None]) -> list[str]:
    chain = []
    while name is not None and name not in chain:
        chain.append(name)
        name = causes[name]
    return chain
