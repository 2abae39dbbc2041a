"""A redacted snapshot gives the same findings as the host it was taken of, and names nobody."""

from __future__ import annotations

import pytest

from gpudoctor import engine
from gpudoctor.facts import Facts
from gpudoctor.host import snapshot
from gpudoctor.host.book import Recorder
from gpudoctor.host.hostfile import load
from gpudoctor.host.redact import redact
from tests.cases import FIXTURES, all_paths

RULES = engine.all_rules()


def told(host):
    """Return what the rules say of a host, without the words."""
    diagnosis = engine.diagnose(Facts(host), RULES)
    assert not diagnosis.crashed
    return (
        [(each.rule, each.severity, each.because_of) for each in diagnosis.findings],
        [(each.rule, each.reason) for each in diagnosis.untold],
        [each.rule for each in diagnosis.not_applicable],
        diagnosis.passed,
    )


@pytest.mark.parametrize("path", all_paths(), ids=lambda path: str(path.relative_to(FIXTURES)))
def test_snapshot_redacted_saved_and_read_again_says_the_same(path, tmp_path):
    """Record a fixture host as if it were live, redact, save, load: the diagnosis is the same, and no GPU UUID of it is left."""
    host = load(str(path))
    host.closed = False  # as a live machine: the guards against questions with effects are on
    recorder = Recorder(host)
    before = told(recorder)
    answers, _ = redact(recorder.answers)
    tar = tmp_path / "snapshot.tar.gz"
    tar.write_bytes(snapshot.save(answers, {}))
    assert told(snapshot.open_host(str(tar))) == before
    uuids = [line.rpartition("GPU-")[2].strip() for line in path.read_text(errors="replace").split("\n") if "GPU UUID" in line]
    everything = repr(answers)
    for uuid in uuids:
        assert uuid[:8] in {"00000000", "????????"} or uuid not in everything
