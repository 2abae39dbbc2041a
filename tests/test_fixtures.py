"""Every rule over every fixture host: each finds what it should, and nothing else does (the false-alarm test)."""

from __future__ import annotations

import pytest

from gpudoctor import engine
from gpudoctor.facts import File, Given
from gpudoctor.host import hostfile
from tests.cases import FIXTURES, Case, all_cases, diagnose, words

CASES = all_cases()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_finds_exactly_what_it_says(case: Case) -> None:
    """A fixture host yields the findings that it lists, in whatever severity, and no other; no rule crashes on it."""
    diagnosis = diagnose(case.path)
    assert not diagnosis.crashed
    found = sorted({finding.rule for finding in diagnosis.findings})
    assert found == list(case.finds), "\n".join(f"{each.rule}: {each.text}" for each in diagnosis.findings)


@pytest.mark.parametrize("case", [case for case in CASES if case.rule], ids=lambda case: case.name)
def test_case_is_what_its_name_says(case: Case) -> None:
    """A bad case is found with the expected words, a good one is not found, and an untold one cannot be told."""
    diagnosis = diagnose(case.path)
    own = [finding for finding in diagnosis.findings if finding.rule == case.rule]
    untold = {each.rule for each in diagnosis.untold}
    if case.kind == "bad":
        assert own
        assert case.says, "a bad case says which words it expects"
        text = "\n".join(map(words, own))
        for expected in case.says:
            assert expected in text
    elif case.kind == "good":
        assert not own
        assert case.rule not in untold
    else:
        assert case.kind == "untold"
        assert not own
        assert case.rule in untold
    assert set(case.untold) <= untold


COMPOSE = Given(compose=(File("compose.yml", b""),))


@pytest.mark.parametrize(
    "rule", engine.all_rules() + engine.rules_for(Given(image="x")) + engine.rules_for(COMPOSE), ids=lambda rule: rule.name
)
def test_rule_is_tested_against_its_lookalikes(rule: engine.Rule) -> None:
    """Each rule has a bad case, a good case, and among the good ones at least one that resembles it."""
    own = [case for case in CASES if case.rule == rule.name]
    kinds = {case.kind for case in own}
    assert {"bad", "good"} <= kinds
    assert any(case.lookalike for case in own if case.kind == "good")


@pytest.mark.parametrize("rule", engine.every_rule(), ids=lambda rule: rule.name)
def test_rule_keeps_the_conventions(rule: engine.Rule) -> None:
    """A rule's name is its path, its page names the cure and its sources, and no sentence runs into the next line's."""
    module = rule.check.__module__
    path = module.removeprefix("gpudoctor.rules.").replace(".", "/")
    assert rule.name.replace("-", "_").replace(".", "_") == path
    page = __import__(module, fromlist=["__doc__"]).__doc__
    assert "Cure" in page
    assert "Sources:" in page
    assert rule.title
    assert not rule.title.endswith(".")


def test_there_are_hosts_and_cases() -> None:
    """A run over no fixtures would prove nothing."""
    assert len([case for case in CASES if case.rule is None]) >= 24
    assert len([case for case in CASES if case.rule]) >= 2 * len(engine.all_rules())
    assert FIXTURES.is_dir()


def test_every_common_failure_has_a_whole_machine_and_healthy_ones_are_many():
    """Each rule of rank 40 or less is found on a whole machine, and at least a dozen whole machines have no error and no warning."""
    machines = [case for case in CASES if case.rule is None]
    found = {name for case in machines for name in case.finds}
    assert not [rule.name for rule in engine.all_rules() if rule.rank <= 40 and rule.name not in found]
    severities = {rule.name: rule.severity for rule in engine.all_rules()}
    healthy = [case for case in machines if all(severities[name] == "hint" for name in case.finds)]
    assert len(healthy) >= 12


def test_every_healthy_host_knows_its_date():
    """A healthy machine answers `date +%s`, or the rules about ended branches could not tell."""
    for case in CASES:
        if case.rule is None and not case.finds:
            told = hostfile.load(str(case.path)).run("date", "+%s")
            assert told.out.strip().isdigit(), case.name
