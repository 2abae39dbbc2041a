"""What the fixes come to on every fixture host: the exact change, that it cures, that it converges, and that patch(1) takes it."""

from __future__ import annotations

import subprocess

import pytest

from gpudoctor import engine
from gpudoctor.fix import plan, session
from gpudoctor.fix.diff import unified
from gpudoctor.host.book import Overlay
from gpudoctor.model import Edit, Wishes
from tests import cases, fixes

RULES = [rule for rule in engine.all_rules() if rule.fix is not None]
BAD = [pytest.param(rule, path, id=f"{rule.name}-{path.stem}") for rule in RULES for path in fixes.bad_hosts(rule)]


def test_every_rule_with_a_fix_has_a_bad_host_that_it_mends():
    """A fix that is refused on all of its own bad hosts was never tried."""
    insisting = Wishes(force=True)
    plans = {rule.name: [fixes.plan_for(path, rule, insisting) for path in fixes.bad_hosts(rule)] for rule in RULES}
    idle = [name for name, made in plans.items() if not any(each.changes or each.then for each in made)]
    assert not idle
    assert RULES


@pytest.mark.parametrize(("rule", "path"), BAD)
def test_the_plan_is_exactly_the_expected_one(rule, path):
    """Outcome, diff, commands and whom they hit stand beside each bad host, byte for byte."""
    assert fixes.expectation(path, rule) == path.with_suffix(".fix").read_bytes()


@pytest.mark.parametrize("path", cases.all_paths(), ids=lambda path: str(path.relative_to(cases.FIXTURES)))
def test_a_plan_for_all_rules_converges_and_breaks_nothing(path):
    """On every fixture host, the plan made on what a plan leaves changes no file again, and no new error comes."""
    host = fixes.hostfile.load(str(path))
    rules = engine.all_rules()
    first = plan.make(host, rules, Wishes(), named=True)
    assert not [each for each in first.new if each.severity == "error"]
    for change in first.changes:
        assert change.before != change.after or change.mode_before != change.mode_after
    if not first.changes:
        return
    files = {name: change.after for change in first.changes for name in (change.path, change.target)}
    modes = {change.target: change.mode_after for change in first.changes if change.mode_after is not None}
    second = plan.make(Overlay(host, files, modes), rules, Wishes(), named=True)
    assert not [change.path for change in second.changes]


@pytest.mark.parametrize(("rule", "path"), BAD)
def test_patch_takes_the_diff(rule, path, tmp_path):
    """The diff that is shown, given to patch(1), makes exactly the bytes that would be written."""
    for number, change in enumerate(fixes.plan_for(path, rule).changes):
        diff = unified(change.target, change.before, change.after)
        # patch removes a folder that it has emptied.
        file = tmp_path / str(number) / "file"
        file.parent.mkdir(parents=True)
        if change.before is not None:
            file.write_bytes(change.before)
        subprocess.run(["patch", "-s", "--binary", str(file)], input=diff, check=True, timeout=20)
        assert (file.read_bytes() if file.exists() else None) == change.after


def test_a_fix_that_crashes_is_a_result(monkeypatch):
    """A broken fix does not end the program: its finding stays, and the plan says why."""
    rule = next(each for each in RULES if each.name == "docker/default-runtime-nvidia-without-gpu")

    def crash(_facts, _wishes):
        raise ZeroDivisionError("by nothing")
        yield

    everything = [each._replace(fix=crash) if each.name == rule.name else each for each in engine.all_rules()]
    monkeypatch.setattr(engine, "all_rules", lambda: tuple(everything))
    made = fixes.plan_for(fixes.bad_hosts(rule)[0], rule)
    assert [each.expected for each in made.outcomes] == ["remains"]
    assert "ZeroDivisionError: by nothing" in made.outcomes[0].text
    assert not made.changes


def test_a_fix_that_would_cause_something_as_bad_is_not_planned(monkeypatch):
    """A cure that breaks daemon.json is tried on the copy only: its finding stays, with the name of what it would cause."""
    rule = next(each for each in RULES if each.name == "docker/daemon-reload-loses-gpu")

    def harm(_facts, _wishes):
        yield Edit("/etc/docker/daemon.json", b"{\n")

    everything = tuple(each._replace(fix=harm) if each.name == rule.name else each for each in engine.all_rules())
    monkeypatch.setattr(engine, "all_rules", lambda: everything)
    path = fixes.bad_hosts(rule)[0]
    (outcome,) = fixes.plan_for(path, rule).outcomes
    assert outcome.expected == "remains"
    assert "[docker/daemon-json-invalid]" in outcome.text
    assert not fixes.plan_for(path, rule).changes


def test_the_host_asked_again_has_to_show_what_was_promised():
    """A promised cure that does not show, and an error that was not there before, are both said; what was announced is not."""
    rule = next(each for each in RULES if each.name == "toolkit/no-cgroups-true-rootful")
    path = fixes.bad_hosts(rule)[0]
    made = fixes.plan_for(path, rule)
    before = fixes.hostfile.load(str(path))
    assert session.still_wrong(before, made, ()).startswith("toolkit/no-cgroups-true-rootful is still found")
    files = {change.path: change.after for change in made.changes}
    assert session.still_wrong(Overlay(before, files, {}), made, ()) == ""
    broken = Overlay(before, {**files, "/etc/docker/daemon.json": b"{\n"}, {})
    assert session.still_wrong(broken, made, ()).startswith("docker/daemon-json-invalid is found, which was not before")
