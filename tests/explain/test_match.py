"""The language of signs, and what is made of them."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import pytest

from gpudoctor import engine
from gpudoctor.explain import clean, match
from gpudoctor.model import Rule
from tests.cases import FIXTURES

if TYPE_CHECKING:
    from pathlib import Path

RULES = engine.every_rule()
SIGNS = {sign for rule in RULES for sign in rule.signs}
TEXTS = sorted((FIXTURES / "texts").glob("*.txt"))
UNRELATED = sorted((FIXTURES / "texts" / "unrelated").glob("*.txt"))
SLUGS = sorted((rule.slug for rule in RULES), key=len, reverse=True)


def mode(path: Path) -> str:
    """Return the slug that a text's file is named after."""
    return next(slug for slug in SLUGS if path.name.startswith(f"{slug}-"))


def answers(text: bytes) -> list[str]:
    """Return the slugs that a text is known for, best first."""
    found = match.seen(clean.windows(io.BytesIO(text)), SIGNS)
    return [each.rule.slug for each in match.matches(found, RULES)]


def quote(sign: str, text: str) -> str | None:
    """Return the words of a text that have a sign, None where it has not."""
    return match.seen([text.encode()], [sign]).get(sign)


def rule(name: str, rank: int, *signs: str) -> Rule:
    """Return a rule that has nothing but signs."""
    return Rule(f"made/{name}", rank, "error", name, lambda _: iter(()), signs=signs)


@pytest.mark.parametrize(
    ("sign", "text", "words"),
    [
        ("driver not loaded", "nvml error: Driver\nNot  Loaded: unknown", "Driver Not Loaded"),
        ("driver not loaded", "nvml error: driver not lo\naded", "driver not lo aded"),
        ("driver not loaded", "driver not loadedly", None),
        ("driver not loaded", "a_driver not loaded", None),
        ("error 80*", "Error 804: x", "Error 80"),
        ("nvidia-smi: not found", "sh: 1: `nvidia-smi`: not found", "nvidia-smi`: not found"),
        ("libcublaslt.so.<n>: cannot", "libcublasLt.so.11: cannot open", "libcublasLt.so.11: cannot"),
        ("(suspend|resum)*cuda", "after resume: CUDA", "resume: CUDA"),
        ("after?suspend", "after the long suspend", "after the long suspend"),
        ("after?suspend", "after everything else had been tried suspend", None),
        ("one + two", "two … and one", "one … two"),
        ("one + two", "one alone", None),
    ],
)
def test_what_a_sign_says(sign, text, words):
    """Blanks, quotes and case do not count; gaps, numbers and choices are as wide as the language says; words keep their edges."""
    assert quote(sign, text) == words


def test_shared_words_weigh_less_and_the_commoner_failure_comes_first():
    """A sign of two rules is worth half, equals are ordered by rank, and a hint puts its rule ahead."""
    rules = [rule("rare", 9, "broken", "~ snap"), rule("common", 1, "broken"), rule("own", 5, "burnt")]
    assert [each.rule.title for each in match.matches({"broken": "", "burnt": ""}, rules)] == ["own", "common", "rare"]
    assert [each.rule.title for each in match.matches({"broken": "", "~ snap": ""}, rules)] == ["rare", "common"]
    assert match.matches({"~ snap": ""}, rules) == ()


@pytest.mark.parametrize("sign", sorted(SIGNS))
def test_signs_are_well_formed(sign):
    """A sign is lower-case ASCII, its choices are not nested, and each of its phrases has letters to search for."""
    assert sign == sign.lower()
    assert sign.isascii()
    assert not re.search(r"\([^()]*\([^()]*\|", sign)
    for words in match.phrases(sign):
        made = match.ready(words)
        assert min(map(len, made.literals)) >= 2
        assert not any("<" in choice for choice in re.findall(r"\(([^()]*\|[^()]*)\)", words))


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_a_text_is_known_for_the_failure_it_is_named_after(path):
    """The first answer to each noisy text is its failure."""
    assert answers(path.read_bytes())[:1] == [mode(path)]


def test_each_rule_with_signs_has_a_text():
    """No rule's signs are untried."""
    tried = {mode(path) for path in TEXTS}
    assert {each.slug for each in RULES if any(sign[0] != "~" for sign in each.signs)} <= tried


def test_text_that_is_not_about_gpus_has_no_answer():
    """Of sixty ordinary errors of Docker, Compose, apt, the kernel and Python at most one gets an answer."""
    assert len(UNRELATED) >= 60
    wrong = {path.name: found for path in UNRELATED if (found := answers(path.read_bytes()))}
    assert len(wrong) <= 1, wrong


def test_all_unrelated_texts_in_one_have_no_answer():
    """Words that lie in different messages do not make a failure together, be it a healthy driver and a broken APT, in one log."""
    between = b"\n" + b"10.0.0.7 GET /index.html 200\n" * (match.NEAR // 20)
    assert not answers(between.join(path.read_bytes() for path in UNRELATED))


def test_phrases_of_a_sign_are_near_each_other():
    """The nearest pair counts wherever it stands, not the first of each; what is further apart is of something else."""
    far = "x " * match.NEAR
    assert quote("signed-by + cuda", f"cuda {far} Signed-By") is None
    assert quote("signed-by + cuda", f"cuda {far} Signed-By cuda") == "Signed-By … cuda"
    assert quote("signed-by + cuda", f"Signed-By {far} cuda Signed-By {far} cuda") == "Signed-By … cuda"
    assert quote("one + two + three", f"one two {far} three one {far} two one three") == "one … two … three"


def test_a_message_is_found_in_a_long_log(tmp_path):
    """One line in ten megabytes is found."""
    line = b"Jun 11 08:14:02 gpu3 app[901]: request done in 12 ms, docker container worker, memory fine\n"
    text = line * 60_000 + b"Failed to initialize NVML: Driver/library version mismatch\n" + line * 60_000
    assert answers(text)[0] == "driver-library-mismatch"
