"""The editor of Compose files: the exact change of many messy ones, and that no other service and no other key ever changes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gpudoctor.formats import Malformed
from gpudoctor.formats.edit import Unsafe, compose
from gpudoctor.formats.edit.compose import give, services
from tests.edits import cases, outcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Request(NamedTuple):
    """A GPU for a service, in one of the styles of ``device-args --format compose``; each style looks at its own fields.

    ``devices``: ``nodes``, paths that are the same in the container. ``cdi``: ``names`` such as ``nvidia.com/gpu=all``. ``reservation`` and
    ``gpus``: ``device_ids`` where there are some, else ``number`` of GPUs (their ``count:``), and ``capabilities``.
    """

    style: Literal["devices", "reservation", "gpus", "cdi"]
    nodes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    number: int | Literal["all"] = "all"
    device_ids: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ("gpu",)


def keys_of(request: Request) -> dict[str, Any]:
    """Return the keys of a service that a request stands for; ValueError where it names nothing."""
    if (request.style == "devices" and not request.nodes) or (request.style == "cdi" and not request.names):
        raise ValueError("the request names no device")
    if request.style == "devices":
        return {"devices": [f"{node}:{node}" for node in request.nodes]}
    if request.style == "cdi":
        return {"devices": list(request.names)}
    whole = not request.device_ids and request.number == "all" and request.capabilities == ("gpu",)
    if request.style == "gpus" and whole:
        return {"gpus": "all"}
    wanted: dict[str, Any] = {"driver": "nvidia"}
    if request.device_ids:
        wanted["device_ids"] = list(request.device_ids)
    else:
        wanted["count"] = request.number
    wanted["capabilities"] = list(request.capabilities)
    if request.style == "gpus":
        return {"gpus": [wanted]}
    return {"deploy": {"resources": {"reservations": {"devices": [wanted]}}}}


def give_gpu(data: bytes, service: str, request: Request) -> bytes:
    """Return the file with a service that has the GPU."""
    return give(data, service, keys_of(request))


NODES = ("/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm")
REQUESTS = {
    "devices": Request("devices", nodes=NODES),
    "reservation": Request("reservation"),
    "gpus": Request("gpus"),
    "cdi": Request("cdi", names=("nvidia.com/gpu=all",)),
}


def asked(data: bytes, words: list[str]) -> bytes:
    """Do what the first line of an expectation asks.

    ``give SERVICE STYLE [nodes= names= number= ids= capabilities=]``, or ``put SERVICE KEYS``, the keys as JSON.
    """
    verb, service, rest = words[0], words[1], words[2:]
    if verb == "put":
        return give(data, service, json.loads(" ".join(rest)))
    told: dict[str, Any] = dict(word.split("=", 1) for word in rest if "=" in word)
    fields: dict[str, Any] = {name: tuple(value.split(",")) for name, value in told.items() if name != "number"}
    if "number" in told:
        fields["number"] = int(told["number"])
    assert verb == "give"
    if "ids" in fields:
        fields["device_ids"] = fields.pop("ids")
    return give_gpu(data, service, REQUESTS[rest[0]]._replace(**fields))


@pytest.mark.parametrize(("path", "words", "expected"), cases("compose"))
def test_fixture(path: Path, words: list[str], expected: bytes):
    """Each messy file changes exactly as its expectation says, and asking again changes nothing more."""
    assert outcome(path, lambda data: asked(data, words)) == expected
    if not expected.startswith((b"malformed: ", b"refused: ")):
        once = asked(path.read_bytes(), words)
        assert asked(once, words) == once


def test_services_are_named_in_order():
    """The services that a file has are told in its order, those of a merge too, for the question which one is meant."""
    assert services(b"services:\n  b:\n    image: x\n  a:\n    image: y\n") == ("b", "a")
    assert services(b"x-a: &a {c: {image: x}}\nservices:\n  b:\n  <<: *a\n") == ("c", "b")


def test_unknown_service_names_the_known_ones():
    """A name that is not there is refused with those that are."""
    with pytest.raises(Unsafe, match=r"^there is no service api in this file; there are: web, db$"):
        give_gpu(b"services: {web: {image: x}, db: {image: y}}\n", "api", Request("gpus"))


@pytest.mark.parametrize("request_", [Request("devices"), Request("cdi")])
def test_request_that_names_nothing_is_a_mistake(request_: Request):
    """A request without nodes or names would write an empty list, which Compose refuses."""
    with pytest.raises(ValueError, match="names no device"):
        give_gpu(b"services:\n  web:\n    image: x\n", "web", request_)


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (Request("gpus"), "gpus: all"),
        (Request("gpus", number=2), "gpus:\n      - driver: nvidia\n        count: 2\n        capabilities: [gpu]"),
        (
            Request("gpus", capabilities=("gpu", "video")),
            "gpus:\n      - driver: nvidia\n        count: all\n        capabilities: [gpu, video]",
        ),
        (Request("cdi", names=("nvidia.com/gpu=0", "nvidia.com/gpu=GPU-1a")), "devices:\n      - nvidia.com/gpu=0\n      - nvidia.com/gpu=GPU-1a"),
        (Request("devices", nodes=("/dev/dri/card 1",)), 'devices:\n      - "/dev/dri/card 1:/dev/dri/card 1"'),
    ],
)  # fmt: skip
def test_each_style_is_written_as_device_args_prints_it(request_: Request, text: str):
    """The four styles, with what needs quotes in quotes."""
    data = b"services:\n  web:\n    image: x\n"
    assert give_gpu(data, "web", request_) == data + f"    {text}\n".encode()


def test_several_nodes_go_into_one_pair_of_brackets():
    """What is lacking in one list or map in brackets is put in together, whatever stands behind its last entry."""
    for before, after in (
        ("[]", '["/dev/a:/dev/a", "/dev/b:/dev/b"]'),
        ("[ ]", '[ "/dev/a:/dev/a", "/dev/b:/dev/b" ]'),
        ("[/dev/x]", '[/dev/x, "/dev/a:/dev/a", "/dev/b:/dev/b"]'),
        ("['/dev/x',]", "['/dev/x', '/dev/a:/dev/a', '/dev/b:/dev/b',]"),
        ("[  # none\n      ]", '["/dev/a:/dev/a", "/dev/b:/dev/b"  # none\n      ]'),
    ):
        data = f"services:\n  web:\n    devices: {before}\n    image: x\n"
        made = f"services:\n  web:\n    devices: {after}\n    image: x\n"
        if before.startswith("['"):
            made = made.replace(" '/dev/a", ", '/dev/a").replace("',, ", "', ")
        assert give_gpu(data.encode(), "web", Request("devices", nodes=("/dev/a", "/dev/b"))) == made.encode()


@pytest.mark.parametrize(
    "data",
    [
        b"services:\n  a: &a\n    b: *a\n",
        b"&a [*a]\n",
        b"x: &x [1]\ny: &y [*x, *x]\nz: &z [*y, *y]\nservices: {web: {image: x, labels: *z}}\n",
        b"services:\n  web:\n    image: " + b"[" * 300 + b"]" * 300 + b"\n",
        b"".join(
            b"x-%d: &x%d {<<: [*x%d, *x%d]}\n" % (at, at, at - 1, at - 1) if at else b"x-0: &x0 {a: 1}\n" for at in range(60)
        )
        + b"services: {web: {<<: *x59}}\n",
    ],
)
def test_aliases_and_brackets_without_end_are_no_trouble(data: bytes):
    """A file that leads in a circle, or repeats or nests without end, is refused or edited soon, and never hangs."""
    if b"web" not in data or b"[[" in data:
        with pytest.raises((Unsafe, Malformed)):
            give_gpu(data, "web", Request("gpus"))
    else:
        once = give_gpu(data, "web", Request("gpus"))
        assert give_gpu(once, "web", Request("gpus")) == once != data


@pytest.mark.parametrize(
    "data", [b"services: {web: {image: \xff}}", b"services: {web: {image: \x01}}", b"", b"5", b"services: ]"]
)
def test_malformed_is_never_edited(data: bytes):
    """Every verb passes on what the reader says."""
    for verb in (
        lambda: give_gpu(data, "web", Request("gpus")),
        lambda: give(data, "web", {"runtime": "nvidia"}),
        lambda: services(data),
    ):
        with pytest.raises(Malformed):
            verb()


def test_what_belongs_deeper_comes_first_at_one_place():
    """A new key and an entry of the last list go to the same place; the entry stays with its list, whatever was asked for first."""
    data = b"services:\n  web:\n    image: x\n    environment:\n    - A=1\n"
    for keys in ({"runtime": "nvidia", "environment": ["B=2"]}, {"environment": ["B=2"], "runtime": "nvidia"}):
        assert give(data, "web", keys) == data + b"    - B=2\n    runtime: nvidia\n"


def test_quotes_are_those_of_the_file():
    """Ids need quotes, and get the kind that the file has most of."""
    data = b"services:\n  web:\n    image: 'x'\n    ports: ['80:80']\n    user: \"0\"\n"
    once = give_gpu(data, "web", Request("gpus", device_ids=("0", "1")))
    assert once.endswith(b"    - driver: nvidia\n        device_ids: ['0', '1']\n        capabilities: [gpu]\n")


def test_block_of_text_at_the_very_end_would_gain_a_line_break():
    """Without a line break at the end of the file a block of text has none either, so nothing can follow it; elsewhere it can."""
    data = b"services:\n  web:\n    image: x\n  db:\n    command: |\n      serve"
    with pytest.raises(Unsafe, match=r"^line 5: the file ends in this block of text without a line break"):
        give_gpu(data, "db", Request("gpus"))
    assert give_gpu(data, "web", Request("gpus")) == data.replace(b"x\n", b"x\n    gpus: all\n")
    folded = data.replace(b"|", b"|-")
    assert give_gpu(folded, "db", Request("gpus")) == folded + b"\n    gpus: all"


@pytest.mark.parametrize(
    ("function", "damage"),
    [
        ("_block", lambda text: text.replace("all", "none")),
        ("_block", lambda text: text.replace("gpus", "Gpus")),
        ("_block", lambda text: f"{text}\n    shm_size: 1g"),
        ("_block", lambda text: text.replace("    gpus", "  gpus")),
        ("_block", lambda text: f"# {text}"),
        ("_block", lambda text: f"    <<: *env\n{text}"),
        ("_written", lambda text: text.replace("image: y", "image: z")),
        ("_written", lambda text: text.replace("0o644", "420")),
        ("_written", lambda text: text.replace("'1'", "1")),
        ("_written", lambda text: text.replace("*env", "{A: '1'}")),
        ("_written", lambda text: text.replace("&env", "&ENV")),
        ("_written", lambda text: text.replace("    image: x\n    gpus: all\n", "    gpus: all\n    image: x\n")),
        ("_written", lambda text: text.replace("  db:", "  web:")),
        ("_written", lambda text: f"{text}---\n"),
        ("_written", lambda text: f"{text}}}"),
    ],
)  # fmt: skip
def test_a_wrong_edit_is_found_by_the_check(monkeypatch: pytest.MonkeyPatch, function: str, damage: Callable[[str], str]):
    """Whatever else an edit would have changed, a value, its type, a name, an alias or the order of keys, the result is refused."""
    data = b"x-env: &env {A: '1'}\nservices:\n  web:\n    image: x\n  db:\n    image: y\n    mode: 0o644\n    environment: *env\n"
    real = getattr(compose, function)
    done = []

    def damaged(*words: Any) -> Any:
        made = real(*words)
        text = made if isinstance(made, str) else "\n".join(made)
        done.append(damage(text) != text)
        return damage(text) if isinstance(made, str) else damage(text).split("\n")

    monkeypatch.setattr(compose, function, damaged)
    with pytest.raises(Unsafe, match="cannot be edited safely"):
        give_gpu(data, "web", Request("gpus"))
    assert done == [True]


# Messy files: a service's keys are drawn as lines, so that what should have come out is known without the editor.
BODIES = st.sampled_from(
    [
        ["image: x"],
        ["image: x  # why", "# a comment", "# and another"],
        ["'image': 'x'", "restart: 'no'"],
        ["image: x", "ports:", "  - 80:80", "  # - 443:443", "  - 81:81"],
        ["ports:", "- '80:80'", "image: x"],
        ["image: x", "command: |", "  serve", "", "  more", ""],
        ["image: x", "command: >-", "  serve", "    # no comment", ""],
        ["image: x", "command: serve", "  --all", "  # a comment", "restart: always"],
        ["image: x", "deploy:", "  replicas: 2", "", "  # resources:"],
        ["deploy:", "  resources:", "    limits: {memory: 1g}", "  replicas: 2", "image: x"],
        ["image: x", "deploy: {replicas: 2, resources: { limits: {memory: 1g} } }  # small"],
        ["image: x", "deploy:", "# nothing yet", "restart: always"],
        ["image: x", "deploy: {}"],
        ["image: x", "devices: [/dev/snd]"],
        ["image: x", "devices: [", '  "/dev/snd", # sound', '  "/dev/dri"', "  ]"],
        ["devices:", "- /dev/snd:/dev/snd:r", "image: x"],
        ["image: x", "devices:", "    - '/dev/snd'   ", "    # - /dev/dri", ""],
        ["image: x", "environment:", "  A: '1'", "  B:", "  Größe: 1 GB"],
        ["<<: *base", "image: x"],
        ["image: x", "labels: *labels"],
        ["image: x", "volumes:", "  - *volume", "  - type: bind", "    source: a", "    target: /b"],
        [],
    ]
)
GAPS = st.sampled_from(["", "\n", "\n# next\n", "   # in between\n", " \n\n"])
HEAD = "x-base: &base\n  restart: always\nx-labels: &labels {a: b}\nx-volume: &volume a:/a\n"


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """Draw a file of one to three services, s0 and so on, in one indentation and line ending."""
    step = draw(st.sampled_from([1, 2, 4, 8]))
    text = draw(st.sampled_from(["", "version: '3.8'\n", "---\n", "# 2021\n\n"])) + HEAD + "services:\n"
    for at in range(draw(st.integers(1, 3))):
        name = f"s{at}"
        text += f"{' ' * step}{draw(st.sampled_from([name, repr(name)]))}:{draw(st.sampled_from(['', '  # note', ' ']))}\n"
        text += "".join(f"{' ' * (2 * step)}{line}\n" if line else "\n" for line in draw(BODIES)) + draw(GAPS)
    text += draw(st.sampled_from(["", "volumes:\n  data: {}\n", "# the end\n", "...\n"]))
    # Not behind a block of text, whose own last line break that would take away.
    text = text if draw(st.booleans()) or text.rstrip().endswith("more") else text.rstrip("\n ")
    return draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + text.replace("\n", draw(st.sampled_from(["\n", "\r\n"]))).encode()


def merged(old: Any, new: Any) -> Any:
    """Put keys into a value as a service should have them afterwards."""
    if isinstance(old, dict):
        return {**old, **{name: merged(old.get(name), each) for name, each in new.items()}}
    return [*old, *(each for each in new if each not in old)] if isinstance(old, list) else new


@settings(max_examples=60, deadline=None)
@given(files(), st.sampled_from(sorted(REQUESTS)), st.data())
def test_only_the_asked_service_gains_only_what_was_asked(old: bytes, style: str, data: st.DataObject):
    """Text is only put in, every other value stays, the file's line ending is used, and asked twice is asked once."""
    before = yaml.safe_load(old)
    service = data.draw(st.sampled_from(sorted(before["services"])))
    once = give_gpu(old, service, REQUESTS[style])
    before["services"][service] = merged(before["services"][service], keys_of(REQUESTS[style]))
    assert yaml.safe_load(once) == before
    left = iter(once)
    assert all(byte in left for byte in old)
    assert once.count(b"\r\n") in {0, once.count(b"\n")}
    assert once.endswith(b"\n") == old.endswith(b"\n")
    assert give_gpu(once, service, REQUESTS[style]) == once


@settings(max_examples=60, deadline=None)
@given(files(), st.data())
def test_lines_stay_as_they_are(old: bytes, data: st.DataObject):
    """Where nothing stands in brackets, all old lines stay and all new ones are together."""
    service = data.draw(st.sampled_from(sorted(yaml.safe_load(old)["services"])))
    once = give_gpu(old, service, Request("gpus"))
    before, after = old.splitlines(), once.splitlines()
    assert len(after) == len(before) + 1
    (new,) = [at for at in range(len(after)) if after[:at] + after[at + 1 :] == before][:1]
    assert after[new].strip().replace(b"'", b"").replace(b'"', b"") == b"gpus: all"
