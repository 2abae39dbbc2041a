"""`gpudoctor snapshot` with an image, a Dockerfile or containers: what was named can be judged elsewhere, and its secrets stay here."""

from __future__ import annotations

import json

import pytest

from gpudoctor import engine
from gpudoctor.commands import snapshot
from gpudoctor.facts import Facts, Given
from gpudoctor.host import snapshot as tar
from gpudoctor.host.hostfile import load, parse
from tests.cases import FIXTURES, all_paths, read

HOST = FIXTURES / "hosts" / "ubuntu-22.04-rtx3060-driver-535.host"
NAME = "registry.corp.example:5000/team/asr:1.4"
CONFIG = {
    "Env": [
        "PATH=/usr/bin",
        "NVIDIA_REQUIRE_CUDA=cuda>=12.8",
        "NVIDIA_VISIBLE_DEVICES=all",
        "CUDA_VERSION=12.8.0",
        "NV_CUDNN_VERSION=9.1.0.70-1",
        "LD_LIBRARY_PATH=/usr/local/nvidia/lib",
        "HF_TOKEN=hf_verysecret1",
        "DB_PASSWORD=verysecret2",
        "NVIDIA_API_KEY=nvapi-verysecret3",
        "PROJECT=verysecret4",
    ],
    "Labels": {"owner": "verysecret5"},
    "Cmd": ["serve", "--key", "verysecret6"],
}
IMAGE = [
    {
        "Id": "sha256:1",
        "RepoTags": [NAME],
        "Author": "verysecret7",
        "Architecture": "amd64",
        "Config": CONFIG,
        "ContainerConfig": {"Env": ["A_SECRET=verysecret8"]},
    }
]
HISTORY = "\n".join(
    json.dumps({"CreatedBy": words, "Comment": "verysecret9"})
    for words in (
        'CMD ["serve" "--key" "verysecret10"]',
        "RUN |2 TOKEN=verysecret11 B=c /bin/sh -c pip install torch==2.4.0 -i https://me:verysecret12@pypi.corp.example/whl/cu121 # buildkit",
        "ENV HF_TOKEN=hf_verysecret13",
        "/bin/sh -c #(nop)  LABEL owner=verysecret14",
        "RUN /bin/sh -c curl -H 'Authorization: Bearer verysecret15' https://10.1.2.3/x && pip install nvidia-cudnn-cu12==8.9.2.26",
    )
)


def host():
    """Return a host that has the image."""
    text = HOST.read_text() + (
        f"-- $ docker image inspect {NAME} --\n{json.dumps(IMAGE)}\n"
        f"-- $ docker history --no-trunc --format '{{{{json .}}}}' {NAME} --\n{HISTORY}\n"
    )
    return parse(text.encode())


def told(facts: Facts, given: Given) -> list[tuple[str, str]]:
    """Return what the rules about what was given say."""
    diagnosis = engine.diagnose(facts, engine.rules_for(given))
    assert not diagnosis.crashed
    return sorted(
        [(each.rule, str(each.severity)) for each in diagnosis.findings] + [(u.rule, u.reason) for u in diagnosis.untold]
    )


def test_an_image_of_a_private_registry_is_judged_elsewhere(gpudoctor, tmp_path):
    """The snapshot has what the image's rules ask, under another name for its registry, and nothing of its secrets."""
    judged = snapshot.wanted([NAME], None, (), all_containers=False)
    taken = snapshot.take(host(), judged)
    ((name, instead),) = taken.renamed
    assert name == NAME
    assert instead.endswith(".invalid:5000/team/asr:1.4")
    path = tmp_path / "snapshot.tar.gz"
    path.write_bytes(taken.packed)
    replayed = tar.open_host(str(path))
    everything = repr(replayed.__dict__) + repr(tar.load(str(path)).answers)
    assert "verysecret" not in everything
    assert "corp.example" not in everything
    assert "10.1.2.3" not in everything
    assert told(Facts(replayed, Given(image=instead)), Given(image=instead)) == told(Facts(host(), judged[0]), judged[0])
    image = Facts(replayed, Given(image=instead)).image
    assert [each.name for each in image.packages] == ["nvidia-cudnn-cu12", "torch"]
    assert image.torch.variant == "cu121"
    ran = gpudoctor("doctor", "--host", str(path), "--image", instead)
    assert ran.returncode == 1
    assert b"[image/driver-too-old-for-image]" in ran.stdout


def test_every_image_and_container_of_the_fixtures_says_the_same_from_a_snapshot(tmp_path):
    """What is judged of an image, a Dockerfile or a container is the same on the host and from its redacted snapshot."""
    seen = 0
    for path in all_paths():
        given = read(path).given
        if not (given.image or given.dockerfile or given.has("container")):
            continue
        taken = snapshot.take(load(str(path)), (given,))
        saved = tmp_path / "snapshot.tar.gz"
        saved.write_bytes(taken.packed)
        again = given._replace(image=dict(taken.renamed).get(given.image, given.image))
        assert told(Facts(tar.open_host(str(saved)), again), given) == told(Facts(load(str(path)), given), given), path
        seen += 1
    assert seen > 100


def test_several_are_named_and_each_is_asked():
    """Images, a container and all running ones are asked together, each one once."""
    wanted = snapshot.wanted(["a:1", "b:2", "a:1"], None, ["web"], all_containers=True)
    assert [each.image for each in wanted if each.image] == ["a:1", "b:2"]
    assert [each.containers for each in wanted if each.containers] == [("web",)]
    taken = snapshot.take(host(), wanted)
    assert "a:1 is not on this host, or Docker does not answer: only its name was judged" in taken.remarks


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--image", "-x"], b"is no image's name"),
        (["--dockerfile", "/nonexistent"], b"no such file"),
        (["--container", "/x"], b"is no container's name"),
    ],
)
def test_wrong_usage(gpudoctor, tmp_path, arguments, says):
    """A name that cannot be one is refused before anything is asked, and no file is written."""
    ran = gpudoctor("snapshot", "-o", str(tmp_path / "s.tar.gz"), *arguments)
    assert ran.returncode == 2
    assert says in ran.stderr
    assert not (tmp_path / "s.tar.gz").exists()
