"""The engine: root causes first, what follows folded under them, misses and crashes as results."""

from __future__ import annotations

import pytest

from gpudoctor import engine
from gpudoctor.facts import Facts, fact
from gpudoctor.host import Absent, Denied, Slow, Unseen
from gpudoctor.host.hostfile import parse
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where


def rule(name, *, severity="error", raises=None, findings=1, rank=10, **layers):
    """Return a rule that finds something, nothing, or raises."""

    def check(facts):
        for number in range(findings):
            proof = (Evidence(Where(f"/{name}", number + 1), "seen"),)
            yield Finding(f"{name} {number}", "text.", proof, Cure("SHOWN", "do this."))
        if raises is not None:
            raise raises

    return Rule(name, rank, severity, name, check, **layers)


def diagnose(*rules):
    """Put rules to an empty host."""
    return engine.diagnose(Facts(parse(b"")), rules)


def test_root_cause_first_and_followers_right_behind_it():
    """A finding that needs a layer which an error breaks stands behind that error and names it."""
    told = diagnose(
        rule("a/uvm", rank=1, needs=("driver",), breaks=("uvm",)),
        rule("a/toolkit", rank=2, breaks=("toolkit",)),
        rule("a/driver", rank=50, breaks=("driver",)),
    )
    assert [(each.rule, each.because_of) for each in told.findings] == [
        ("a/driver", None),
        ("a/uvm", "a/driver"),
        ("a/toolkit", None),
    ]


def test_a_chain_is_folded_link_by_link():
    """No GPU explains no driver, which explains the missing library."""
    told = diagnose(
        rule("a/library", needs=("driver",), breaks=("libraries",)),
        rule("a/driver", needs=("gpu",), breaks=("driver",)),
        rule("a/gpu", breaks=("gpu",)),
    )
    assert [(each.rule, each.because_of) for each in told.findings] == [
        ("a/gpu", None),
        ("a/driver", "a/gpu"),
        ("a/library", "a/driver"),
    ]


def test_rules_that_follow_each_other_do_not_vanish():
    """Two rules that each name the other as their cause are both still reported, one as the root."""
    told = diagnose(rule("a/one", follows=("a/two",)), rule("a/two", follows=("a/one",)))
    assert sorted(each.rule for each in told.findings) == ["a/one", "a/two"]
    assert [each.because_of for each in told.findings].count(None) == 1


def test_a_warning_breaks_nothing():
    """Only an error takes a layer away: a warning about the driver does not explain a missing node."""
    told = diagnose(rule("a/risk", severity="warning", breaks=("driver",)), rule("a/node", needs=("driver",)))
    assert [(each.rule, each.because_of) for each in told.findings] == [("a/node", None), ("a/risk", None)]


def test_a_hint_explains_no_error():
    """An error that names a hint's rule as its cause stays a root cause, so that it cannot vanish behind the hint."""
    told = diagnose(rule("a/error", follows=("a/hint",)), rule("a/hint", severity="hint"))
    assert [(each.rule, each.because_of) for each in told.findings] == [("a/error", None), ("a/hint", None)]


def test_order_is_severity_then_the_bottom_of_the_stack_then_rank():
    """Errors come before warnings before hints; within one severity the lower layer, then the commoner mode."""
    told = diagnose(
        rule("a/hint", severity="hint", rank=1),
        rule("a/warning", severity="warning", rank=1),
        rule("a/container", rank=1, breaks=("container",)),
        rule("a/gpu-rare", rank=90, breaks=("gpu",)),
        rule("a/gpu-common", rank=3, breaks=("gpu",)),
    )
    assert [each.rule for each in told.findings] == ["a/gpu-common", "a/gpu-rare", "a/container", "a/warning", "a/hint"]


@pytest.mark.parametrize(
    ("miss", "reason"), [(Denied("/x", "permission denied"), "denied"), (Slow("nvidia-smi"), "slow"), (Unseen("/y"), "unseen")]
)
def test_no_answer_is_untold_and_keeps_what_was_found_before(miss, reason):
    """A rule that meets no answer cannot tell; what it had found before stands."""
    told = diagnose(rule("a/b", raises=miss))
    assert [(each.rule, each.reason) for each in told.untold] == [("a/b", reason)]
    assert str(miss) in told.untold[0].text
    assert len(told.findings) == 1
    assert not told.passed


def test_a_crash_is_a_result_with_its_place():
    """A rule that raises anything unforeseen is reported as crashed, with file and line, and the others go on."""
    told = diagnose(rule("a/broken", raises=ZeroDivisionError("oops"), findings=0), rule("a/fine", findings=0))
    assert told.passed == ("a/fine",)
    assert told.crashed[0].rule == "a/broken"
    assert "ZeroDivisionError: oops (test_engine.py:" in told.crashed[0].text


def test_an_uncaught_absent_is_a_crash_and_not_a_pass():
    """Absent is an answer that a rule must handle: one that lets it through is broken, not passed."""
    assert [each.rule for each in diagnose(rule("a/b", raises=Absent("/x"), findings=0)).crashed] == ["a/b"]


def test_not_applicable_gives_its_reason():
    """A rule that does not apply says why."""
    told = diagnose(rule("a/b", raises=NotApplicable("There is no GPU."), findings=0))
    assert told.not_applicable == (("a/b", "There is no GPU."),)


def test_fact_is_worked_out_once_and_so_is_its_miss():
    """A fact is computed once; a NoAnswer is kept and raised again without asking again."""
    asked = []

    class Area:
        @fact
        def value(self):
            """Count."""
            asked.append("value")
            return 7

        @fact
        def refused(self):
            """Refuse."""
            asked.append("refused")
            raise Denied("/x")

    area = Area()
    assert area.value + area.value == 14
    for _ in range(2):
        with pytest.raises(Denied):
            _ = area.refused
    assert asked == ["value", "refused"]


def test_names_are_found_by_path_or_slug_and_nothing_else():
    """`named` takes area/slug and slug, and no path that leads elsewhere."""
    assert engine.named("toolkit/no-cgroups-true-rootful").name == "toolkit/no-cgroups-true-rootful"
    assert engine.named("no-cgroups-true-rootful").name == "toolkit/no-cgroups-true-rootful"
    for name in (
        "docker/no-cgroups-true-rootful",
        "../engine",
        "",
        "/",
        "no_cgroups_true_rootful",
        "toolkit/../host/no-nvidia-gpu",
    ):
        assert engine.named(name) is None
