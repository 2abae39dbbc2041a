"""Whatever is missing, refused or damaged on a host, no rule crashes."""

from __future__ import annotations

import random

import pytest

from gpudoctor import engine
from gpudoctor.facts import Facts
from gpudoctor.host import Absent, Denied, Ran, Slow, Unseen
from gpudoctor.host.book import Book
from gpudoctor.host.hostfile import load
from gpudoctor.report import json as report
from gpudoctor.report import text
from gpudoctor.report.summary import summarize
from tests.cases import FIXTURES

RULES = engine.all_rules()
BODIES = (b"", b"\0\xff\xfe" * 50, b"x" * 5000, b"{", b"[]", b"[a]\nb = 1\n", b"a: [", b"1 2 3\n", b"-1\n", "ß\n".encode())


def damaged(host, rng, share):
    """Return a host in which a share of all answers is taken away, refused or replaced by something else."""
    nodes = dict(host.nodes)
    for path, node in host.nodes.items():
        if rng.random() >= share:
            continue
        way = rng.randrange(6)
        if way == 0:
            del nodes[path]
        elif way == 1:
            nodes[path] = node._replace(miss=Denied)
        elif way == 2:
            nodes[path] = node._replace(miss=Unseen, stat_miss=Unseen)
        elif way == 3:
            nodes[path] = node._replace(kind=rng.choice(["dir", "fifo", "socket", "file"]), rdev=None, target=None)
        else:
            nodes[path] = node._replace(kind="file", body=rng.choice(BODIES), rdev=None, target=None)
    commands = dict(host.commands)
    for argv in host.commands:
        if rng.random() < share:
            answers = [Absent, Denied, Slow, Unseen, Ran(rng.choice([0, 1, 255]), rng.choice(BODIES), b"")]
            commands[argv] = rng.choice(answers)
    return Book(nodes, commands, dict(host.variables))


@pytest.mark.parametrize("path", sorted((FIXTURES / "hosts").glob("*.host")), ids=lambda path: path.name)
def test_damage_is_no_crash(path):
    """Fifty times, with a twentieth to a half of its answers damaged, a whole machine is diagnosed and reported without a crash."""
    host = load(str(path))
    rng = random.Random(path.name)
    for share in (0.02, 0.05, 0.1, 0.25, 0.5):
        for _ in range(10):
            facts = Facts(damaged(host, rng, share))
            diagnosis = engine.diagnose(facts, RULES)
            assert diagnosis.crashed == ()
            summary = summarize(facts)
            assert report.doctor("x", summary, diagnosis).startswith('{"schema": 1')
            assert text.plain(text.lines(summary, diagnosis, text.MARKS))
