"""``gpudoctor explain`` as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys

import jsonschema
import pytest

from tests.cases import FIXTURES
from tests.test_light import HEAVY, imported

SCHEMA = json.loads((FIXTURES.parent / "docs" / "schema" / "explain.schema.json").read_text())
HOSTS = FIXTURES / "rules"
SNAP = HOSTS / "docker" / "docker_snap"
NO_DRIVER = 'docker: Error response from daemon: could not select device driver "" with capabilities: [[gpu]].'


def first_bad(area: str, rule: str) -> str:
    """Return the first bad host of a rule."""
    return str(min((HOSTS / area / rule).glob("bad-*.host")))


def explained(ran):
    """Return what came of --json, which keeps the schema."""
    told = json.loads(ran.stdout)
    jsonschema.validate(told, SCHEMA)
    return told["matches"]


@pytest.mark.parametrize(
    ("area", "rule"),
    [
        ("docker", "docker_snap"),
        ("docker", "docker_desktop_linux"),
        ("docker", "docker_not_restarted"),
        ("host", "no_nvidia_gpu"),
        ("toolkit", "toolkit_not_installed"),
    ],
)
def test_the_host_decides_between_five_causes_of_the_same_words(gpudoctor, area, rule):
    """The same text is explained by that one of its causes which holds on the host, with what was seen there."""
    ran = gpudoctor("explain", "--json", "--host", first_bad(area, rule), NO_DRIVER)
    matches = explained(ran)
    assert ran.returncode == 0
    assert matches[0]["mode"] == rule.replace("_", "-")
    assert matches[0]["verdict"] == "holds"
    assert matches[0]["decided_by"]
    assert matches[0]["finding"]["evidence"]
    assert len(matches) == 5


def test_without_a_host_the_causes_are_ranked_and_what_decides_is_said(gpudoctor):
    """--no-host asks no host: the commonest cause comes first, and each says what would decide."""
    matches = explained(gpudoctor("explain", "--json", "--no-host", NO_DRIVER))
    assert matches[0]["mode"] == "toolkit-not-installed"
    assert len(matches) == 5
    for each in matches:
        assert each["decided_by"] == []
        assert each["would_decide"]
        assert each["quote"] == "could not select device driver"
        assert each["verdict"] == "unknown"
    text = gpudoctor("explain", "--no-host", NO_DRIVER).stdout.decode()
    assert "The same words have 5 causes" in text
    assert "cure:" in text


def test_words_that_look_like_options_are_text(gpudoctor):
    """An unquoted message is taken as it is, options of docker in it too, in any place."""
    for words in (
        ["docker:", "Error", "--gpus", "all", "-it", *NO_DRIVER.split()],
        ["--", "--json", *NO_DRIVER.split(), "--host"],
    ):
        ran = gpudoctor("explain", "--no-host", *words)
        assert ran.returncode == 0
        assert b"toolkit/toolkit-not-installed" in ran.stdout


def test_text_from_standard_input_and_from_a_log(tmp_path):
    """A text is read from a pipe with -, and from a file with --log."""
    log = tmp_path / "app.log"
    log.write_text("2025-01-01T00:00:00Z starting\nAssertionError: Torch not compiled with CUDA enabled\n")
    program = [sys.executable, "-m", "gpudoctor", "explain", "--no-host", "--json"]
    with log.open("rb") as piped:
        from_pipe = subprocess.run([*program, "-"], stdin=piped, capture_output=True, cwd=FIXTURES.parent, check=False)
    from_log = subprocess.run([*program, "--log", str(log)], capture_output=True, cwd=FIXTURES.parent, check=False)
    assert from_pipe.stdout == from_log.stdout
    assert explained(from_log)[0]["mode"] == "torch-cpu-wheel"


def test_nothing_known_is_exit_1(gpudoctor):
    """Where nothing known is in the text, there is no answer rather than a wrong one."""
    ran = gpudoctor("explain", "--no-host", "Bind for 0.0.0.0:80 failed: port is already allocated")
    assert ran.returncode == 1
    assert ran.stdout == b""
    assert b"nothing known" in ran.stderr
    ran = gpudoctor("explain", "--no-host", "--json", "port is already allocated")
    assert ran.returncode == 1
    assert explained(ran) == []


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--log", "no-such-file"],
        ["--log", "."],
        ["text", "--log", "x"],
        ["--no-host", "--host", "x", "text"],
        ["--host", "no-such-host", NO_DRIVER],
    ],
)
def test_wrong_usage_is_exit_2(gpudoctor, arguments):
    """No text, two texts, an unreadable log or host: each is said in one sentence."""
    ran = gpudoctor("explain", *arguments)
    assert ran.returncode == 2
    assert len(ran.stderr.decode().strip().splitlines()) == 1


def test_a_rule_that_is_named_is_its_page_and_as_json_itself(gpudoctor):
    """One argument that is a rule's name or slug prints its page; with --json it is the one match."""
    for name in ("framework/torch-cpu-wheel", "torch-cpu-wheel"):
        assert b"Sources:" in gpudoctor("explain", name).stdout
        assert [each["mode"] for each in explained(gpudoctor("explain", "--json", name))] == ["torch-cpu-wheel"]


def test_what_the_host_refutes_comes_last_and_says_so(gpudoctor):
    """A cause that the host does not have stays in the list, behind, with the reason."""
    matches = explained(gpudoctor("explain", "--json", "--host", first_bad("docker", "docker_snap"), NO_DRIVER))
    refuted = [each for each in matches if each["verdict"] == "refuted"]
    assert refuted
    assert matches.index(refuted[0]) > 0
    assert all(each["decided_by"] and each["finding"] is None for each in refuted)


def test_a_cause_that_could_not_be_told_says_what_was_missing(gpudoctor):
    """Where the deciding file cannot be read, the reason stands first in what would decide."""
    host = HOSTS / "toolkit" / "no_cgroups_true_rootful" / "untold-config-unreadable.host"
    matches = explained(gpudoctor("explain", "--json", "--host", str(host), "Failed to initialize NVML: Unknown Error"))
    untold = next(each for each in matches if each["mode"] == "no-cgroups-true-rootful")
    assert untold["verdict"] == "unknown"
    assert "config.toml" in untold["would_decide"][0]


def test_only_the_matched_rules_are_asked():
    """An explanation imports the facts that its candidates need and no parser that nothing is read with."""
    modules = imported("explain", "--host", first_bad("docker", "docker_snap"), NO_DRIVER)
    assert not HEAVY & modules
    modules = imported("explain", "--no-host", NO_DRIVER)
    assert not [name for name in modules if name.startswith(("gpudoctor.host.live", "gpudoctor.host.hostfile"))]


def test_explanations_of_text_that_steers_terminals_are_harmless(gpudoctor):
    """What the text contains cannot steer the terminal that shows the answer."""
    ran = gpudoctor("explain", "--no-host", "Torch not\x1b]0;x\x07 compiled with \x9b31m CUDA enabled")
    assert b"\x1b" not in ran.stdout
    assert b"\x07" not in ran.stdout


def test_text_of_another_machine_is_explained_and_said_not_to_fit_this_one(gpudoctor):
    """Where no cause of the text holds on the host, the report says so and explains the text all the same."""
    host = FIXTURES / "hosts" / "ubuntu-24.04-l4-docker29-cdi.host"
    ran = gpudoctor("explain", "--host", str(host), "cgroup subsystem devices not found")
    assert ran.returncode == 0
    assert "This host does not show what the text says" in ran.stdout.decode()
    assert "toolkit/cgroupv2-old-libnvidia-container" in ran.stdout.decode()
