"""`doctor --image` and `doctor --dockerfile`: judged on this host, and only what concerns them."""

from __future__ import annotations

import json
import random

import pytest

from gpudoctor import engine
from gpudoctor.facts import Facts, File, Given
from gpudoctor.host.hostfile import load
from tests.cases import FIXTURES
from tests.test_damaged_hosts import damaged

HOST = str(FIXTURES / "hosts" / "ubuntu-22.04-rtx3060-driver-535.host")
RULES = FIXTURES / "rules"
IMAGE = RULES / "image" / "driver_too_old_for_image" / "bad-image-asks-12.8.host"


@pytest.fixture
def dockerfile(tmp_path):
    """Return the path of a Dockerfile with two faults on this host."""
    path = tmp_path / "Dockerfile"
    path.write_text("FROM nvidia/cuda:13.0.1-runtime-ubuntu22.04\nRUN pip3 install torch\nRUN pip3 install -r requirements.txt\n")
    return str(path)


def test_dockerfile_is_judged_alone_and_the_host_with_all(gpudoctor, dockerfile):
    """Without --all only the file's own findings are printed; what was not examined is said on standard error."""
    ran = gpudoctor("doctor", "--host", HOST, "--dockerfile", dockerfile)
    assert ran.returncode == 1
    assert f"{dockerfile}:2: pip install torch".encode() in ran.stdout
    assert b"[framework/torch-cuda13-wheel-driver-12]" in ran.stdout
    assert b"daemon-reload" not in ran.stdout
    assert b"not examined: requirements.txt (line 3)" in ran.stderr
    everything = gpudoctor("doctor", "--host", HOST, "--dockerfile", dockerfile, "--all")
    assert b"daemon-reload" in everything.stdout
    assert b"[framework/torch-cuda13-wheel-driver-12]" in everything.stdout


def test_requirements_beside_the_dockerfile_are_read(gpudoctor, tmp_path):
    """A file that is copied and installed is read from the Dockerfile's folder; a finding names its line."""
    (tmp_path / "Dockerfile").write_text("FROM python:3.12\nCOPY req/ /req/\nRUN pip install -r /req/gpu.txt\n")
    (tmp_path / "req").mkdir()
    (tmp_path / "req" / "gpu.txt").write_bytes("\ufeff# GPU\r\n-r base.txt\r\n".encode())
    (tmp_path / "req" / "base.txt").write_text("numpy\ntorch\n")
    ran = gpudoctor("doctor", "--host", HOST, "--dockerfile", str(tmp_path / "Dockerfile"))
    assert ran.returncode == 1
    assert b"[framework/torch-cuda13-wheel-driver-12]" in ran.stdout
    assert f"{tmp_path}/req/base.txt:2: torch".encode() in ran.stdout
    assert b"not examined" not in ran.stderr


@pytest.mark.parametrize("leads", ["link", "fifo", "missing", "folder"])
def test_requirements_outside_of_the_context_are_not_read(gpudoctor, tmp_path, leads):
    """A link out of the folder, a FIFO, a folder or no file at all: what it asks for is said to be unknown."""
    import os

    context = tmp_path / "context"
    context.mkdir()
    (tmp_path / "outside.txt").write_text("torch\n")
    (context / "Dockerfile").write_text("FROM python:3.12\nCOPY requirements.txt .\nRUN pip install -r requirements.txt\n")
    named = context / "requirements.txt"
    if leads == "link":
        named.symlink_to("../outside.txt")
    elif leads == "fifo":
        os.mkfifo(named)
    elif leads == "folder":
        named.mkdir()
    ran = gpudoctor("doctor", "--host", HOST, "--dockerfile", str(context / "Dockerfile"))
    assert ran.stdout.count(b"torch") == 0
    assert b"not examined: requirements.txt (line 3)" in ran.stderr


def test_image_of_a_recorded_host(gpudoctor):
    """The image's variables come from the recorded host; JSON has its findings."""
    ran = gpudoctor("doctor", "--host", str(IMAGE), "--image", "acme/asr:1.4", "--json")
    assert ran.returncode == 1
    told = json.loads(ran.stdout)
    assert [each["rule"] for each in told["findings"]] == ["image/driver-too-old-for-image"]


def test_only_chooses_among_the_rules_of_what_is_given(gpudoctor, dockerfile):
    """--only names areas and rules as ever; without an image these say what they have to be given."""
    ran = gpudoctor("doctor", "--host", HOST, "--dockerfile", dockerfile, "--only", "framework", "--json")
    assert {each["rule"].partition("/")[0] for each in json.loads(ran.stdout)["findings"]} == {"framework"}
    plain = json.loads(gpudoctor("doctor", "--host", HOST, "--only", "framework", "--json").stdout)
    assert plain["findings"] == []
    assert "--image IMAGE or --dockerfile FILE" in plain["not_applicable"][0]["text"]


def test_image_that_is_not_here_is_judged_by_its_name(gpudoctor):
    """What is not on the host cannot be told, and is said so; a tag that is gone is found all the same."""
    ran = gpudoctor("doctor", "--host", HOST, "--image", "acme/unknown:1")
    assert ran.returncode == 3
    assert b"acme/unknown:1 is not on this host" in ran.stderr
    gone = gpudoctor("doctor", "--host", HOST, "--image", "nvidia/cuda:11.0-base")
    assert gone.returncode == 1
    assert b"[image/cuda-image-tag-removed]" in gone.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--image", "a", "--dockerfile", "b"], b"exclude each other"),
        (["--image", "-x"], b"is no image's name"),
        (["--image", ""], b"is no image's name"),
        (["--dockerfile", "/nonexistent/Dockerfile"], b"no such file"),
        (["--dockerfile", "/"], b"is a folder"),
        (["--dockerfile", "/dev/null"], b"is not a regular file"),
        (["--dockerfile", HOST], b"this is no Dockerfile"),
    ],
)
def test_wrong_usage(gpudoctor, arguments, says):
    """What cannot be judged is said in one sentence, with exit code 2."""
    ran = gpudoctor("doctor", "--host", HOST, *arguments)
    assert ran.returncode == 2
    assert says in ran.stderr
    assert ran.stdout == b""


def test_plain_diagnosis_reads_no_rule_about_images():
    """Rules that need an image are put only where one was given."""
    facts = Facts(load(HOST))
    assert not [rule for rule in engine.all_rules() if rule.needs_input]
    diagnosis = engine.diagnose(facts, engine.rules_for(Given(image="x")))
    assert len(diagnosis.not_applicable) == len(engine.rules_for(Given(image="x"))) >= 26


def test_no_rule_crashes_on_a_damaged_host_or_a_random_dockerfile():
    """Whatever is missing on the host or odd in the file, each rule ends in a result."""
    files = sorted(RULES.rglob("*.Dockerfile"))
    rng = random.Random(5)
    host = load(HOST)
    for path in files:
        lines = path.read_text().splitlines()
        rng.shuffle(lines)
        text = "\n".join(["FROM nvidia/cuda:12.4.1-runtime-ubuntu22.04", *lines]).encode()
        given = Given(dockerfile=File("Dockerfile", text))
        diagnosis = engine.diagnose(Facts(damaged(host, rng, 0.1), given), engine.rules_for(given))
        assert diagnosis.crashed == ()
    images = [path for path in RULES.rglob("*.host") if b"\ngiven: image " in path.read_bytes()]
    assert len(images) > 20
    for path in images:
        name = path.read_text().partition("\ngiven: image ")[2].partition("\n")[0]
        given = Given(image=name)
        for share in (0.05, 0.3, 0.6):
            diagnosis = engine.diagnose(Facts(damaged(load(str(path)), rng, share), given), engine.rules_for(given))
            assert diagnosis.crashed == ()
