"""The reader of Compose files: what each service asks of a GPU, and the places of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gpudoctor.formats import Malformed
from gpudoctor.formats.compose import Ask, Device, Extends, Node, Setting, Text, interpolated, parse, tree
from tests.edits import FOLDER

if TYPE_CHECKING:
    from pathlib import Path

REAL = b"""\
version: "3.8"   # ignored by Compose 2
x-gpu: &gpu
  deploy:
    resources:
      reservations:
        devices:
          - driver: nvidia
            count: ${GPUS:-all}
            capabilities: [gpu, utility]
x-env: &env
  TZ: Europe/Berlin
  TOKEN:
services:
  trainer:
    <<: *gpu
    build: {context: ./train, dockerfile: Dockerfile.gpu}
    command: ["python", "train.py"]
    environment:
      <<: *env
      NVIDIA_VISIBLE_DEVICES: all
    shm_size: 8gb
    ipc: host
    profiles: [gpu]
  server:
    extends: {file: base.yml, service: server}
    image: ${REGISTRY}/server:1
    runtime: nvidia
    command: serve --all
    environment:
    - NVIDIA_DRIVER_CAPABILITIES=compute,utility
    - HOME
    devices:
    - /dev/nvidia0:/dev/nvidia0:rw
    - ${NODE:-/dev/nvidiactl}
    - nvidia.com/gpu=all
    - source: /dev/nvidia-uvm
      target: /dev/uvm
    device_cgroup_rules: ['c 195:* rmw']
    privileged: true
    network_mode: host
    deploy: {resources: {limits: {devices: [{count: 1}]}}}
  worker:
    extends: server
    gpus: all
  viewer:
    gpus:
      - device_ids: ["0", '1']
        capabilities: [gpu]
      - {driver: tpu, count: 1}
    deploy:
    build: .
  idle:
"""


def test_requests_with_their_places():
    """A request that a merge brings has the lines where it is written and the line of the merge."""
    (service, *_) = parse(REAL).services
    assert (service.name, service.line) == ("trainer", 14)
    (ask,) = service.reservations
    assert ask == Ask(
        Text("nvidia", 7, 15), Text("${GPUS:-all}", 8, 15), None, (Text("gpu", 9, 15), Text("utility", 9, 15)), 7, 15
    )
    assert ask.for_gpu
    assert ask.number is not None
    assert interpolated(ask.number.text)
    assert Text("deploy", 3, 15) in service.keys
    assert Text("shm_size", 21) in service.keys


def test_environment_in_both_forms():
    """A map and a list of variables say the same; a name alone takes its value from Compose's own environment."""
    trainer, server, *_ = parse(REAL).services
    assert trainer.environment == (
        Setting("TZ", "Europe/Berlin", 11, 19),
        Setting("TOKEN", None, 12, 19),
        Setting("NVIDIA_VISIBLE_DEVICES", "all", 20),
    )
    assert server.environment == (Setting("NVIDIA_DRIVER_CAPABILITIES", "compute,utility", 30), Setting("HOME", None, 31))
    assert server.variable("HOME") == Setting("HOME", None, 31)
    assert server.variable("TZ") is None
    (twice,) = parse(b"services: {web: {environment: [A=1, A=2]}}").services
    assert twice.variable("A") == Setting("A", "2", 1)


def test_devices_in_all_their_forms():
    """One text of up to three parts, where the colon of a variable's default parts nothing; a CDI name; a map."""
    server = parse(REAL).service("server")
    assert server is not None
    assert server.devices == (
        Device("/dev/nvidia0", "/dev/nvidia0", "rw", 33),
        Device("${NODE:-/dev/nvidiactl}", "", "", 34),
        Device("nvidia.com/gpu=all", "", "", 35),
        Device("/dev/nvidia-uvm", "/dev/uvm", "", 36),
    )


def test_other_keys_of_a_service():
    """All that a rule may want to know about a service, as it is written."""
    file = parse(REAL)
    trainer, server, worker, viewer, idle = file.services
    assert file.version == Text("3.8", 1)
    assert file.extensions == (Text("x-gpu", 2), Text("x-env", 10))
    assert (trainer.build, trainer.image, trainer.shm_size) == (Text("./train", 16), None, Text("8gb", 21))
    assert (trainer.ipc, trainer.profiles) == (Text("host", 22), (Text("gpu", 23),))
    assert [each.text for each in trainer.command] == ["python", "train.py"]
    assert server.command == (Text("serve --all", 28),)
    assert (server.extends, server.runtime) == (Extends("server", "base.yml", 25), Text("nvidia", 27))
    assert server.image == Text("${REGISTRY}/server:1", 26)
    assert server.device_cgroup_rules == (Text("c 195:* rmw", 38),)
    assert (server.privileged, server.network_mode) == (Text("true", 39), Text("host", 40))
    assert server.misplaced == (Text("deploy.resources.limits.devices", 41),)
    assert server.reservations == ()
    assert (worker.extends, worker.gpus_all, worker.gpus) == (Extends("server", "", 43), Text("all", 44), ())
    assert [each.for_gpu for each in viewer.gpus] == [True, False]
    assert viewer.gpus[0].device_ids == (Text("0", 47), Text("1", 47))
    assert (viewer.build, viewer.gpus_all) == (Text(".", 51), None)
    assert (idle.line, idle.keys, idle.image) == (52, (), None)
    assert file.service("nobody") is None


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("deploy.resources.limits.devices", "deploy: {resources: {limits: {devices: []}}}"),
        ("deploy.resources.devices", "deploy: {resources: {devices: []}}"),
        ("deploy.devices", "deploy: {devices: []}"),
        ("deploy.reservations.devices", "deploy: {reservations: {devices: []}}"),
    ],
)
def test_devices_in_the_wrong_place(path: str, text: str):
    """Each of the places where people put the request and Compose does not take it is told."""
    (service,) = parse(f"services:\n  web:\n    {text}\n".encode()).services
    assert service.misplaced == (Text(path, 3),)
    assert service.reservations == ()


def test_what_a_request_leaves_out_is_none():
    """No count, a count without a value and no capabilities are told from empty lists."""
    data = b"services: {web: {gpus: [{driver: nvidia, count: , device_ids: []}, {}]}}"
    (service,) = parse(data).services
    assert service.gpus[0] == Ask(Text("nvidia", 1), None, (), None, 1)
    assert [each.for_gpu for each in service.gpus] == [True, False]


def test_own_key_goes_before_a_merged_one_and_the_first_merge_before_the_second():
    """As YAML merges: what stands in the map itself wins, then the first of several."""
    data = b"a: &a {image: a, runtime: a}\nb: &b {image: b, runtime: b, ipc: b}\nservices:\n  web: {<<: [*a, *b], image: own}\n"
    (service,) = parse(data).services
    assert (service.image, service.runtime, service.ipc) == (Text("own", 4), Text("a", 1, 4), Text("b", 2, 4))
    quoted = parse(b'a: &a {image: a}\nservices: {web: {"<<": *a}}\n').services[0]
    assert quoted.image is None


def test_alias_in_an_alias_tells_the_one_in_the_service():
    """Where an alias brings a list with another alias in it, the line is that of the one the service itself has."""
    data = b"n: &n /dev/a\nl: &l [/dev/b, *n]\nservices:\n  web:\n    devices: *l\n  db: {devices: [*n]}\n"
    web, db = parse(data).services
    assert web.devices == (Device("/dev/b", "", "", 2, 5), Device("/dev/a", "", "", 1, 5))
    assert db.devices == (Device("/dev/a", "", "", 1, 6),)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"services:\n  web: {}\n---\na: 1\n", "line 3, column 1: a second document"),
        (b"services:\n  web:\n    image: a\n    image: b\n", "line 4, column 5: the key image stands twice"),
        (b"services:\n\tweb: {}\n", "line 2, column 1: a tab"),
        (b"services:\n  web:\n    <<: *gone\n", "line 3, column 9: there is no anchor gone"),
        (b"services:\n  web: &w\n    a: *w\n", "line 3, column 8: anchor w has an alias of itself"),
        (b"services:\n  web:\n    <<: text\n", "line 3, column 5: a merge"),
        (b"services:\n  - web\n", "line 2, column 3: services must be a mapping"),
        (b"services:\n  web: image\n", "line 2, column 8: service web must be a mapping"),
        (b"services:\n  web:\n    devices: /dev/a\n", "line 3, column 14: devices must be a list"),
        (b"services:\n  web:\n    image: [a]\n", "line 3, column 12: image must be one value"),
        (b"services:\n  ? [a]\n  : b\n", "line 2, column 5: a key that is no text"),
        ("services:\n  web:\n\u00a0\u00a0image: x\n".encode(), "line 3, column 1: no-break spaces"),
        (b"services: {web: {image: \x07}}", "line 1, column 25: a character that YAML does not allow"),
        (b"services: \xff", "line 1, column 11: a byte that is not UTF-8"),
        (b"- a\n", "line 1: there is no mapping at the top"),
        (b"", "line 1: there is no mapping at the top"),
        (b"a: " + b"[" * 200, "line 1, column 103: too many levels"),
        (b"services:\n  web: {image: x\n", "line 3, column 1: expected"),
    ],
)
def test_malformed_with_its_place(data: bytes, reason: str):
    """What Compose refuses as a file is refused with the line and the column."""
    with pytest.raises(Malformed) as caught:
        parse(data)
    assert str(caught.value).startswith(reason)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("${A}", True),
        ("a$B", True),
        ("${A:-b}", True),
        ("$_", True),
        ("$$A", False),
        ("$$$A", True),
        ("a$", False),
        ("$1", False),
        ("5$ {a}", False),
        ("", False),
    ],
)
def test_interpolated(text: str, told: bool):
    """A dollar and a name is a variable, two dollars are one dollar."""
    assert interpolated(text) is told


def test_json_with_tabs_is_read():
    """In JSON tabs are white space, which PyYAML alone would refuse; in a text they are escaped."""
    (service,) = parse(b'{\t"services":\n\t{"web": {"image": "a\\tb",\t"gpus": "all"}}}').services
    assert (service.image, service.gpus_all) == (Text("a\tb", 2), Text("all", 2))


def plain(node: Node) -> Any:
    """Return a node as texts, lists and dicts."""
    while node.target is not None:
        node = node.target
    if node.kind == "map":
        return {key.value: plain(value) for key, value in node.pairs}
    return [plain(each) for each in node.elements] if node.kind == "list" else node.value


def within(node: Node, text: str, start: int, end: int) -> None:
    """Assert that each node lies in what holds it, and that its place begins and ends with something of its own."""
    assert start <= node.start <= node.end <= end
    piece = text[node.start : node.end]
    assert piece == piece.strip() or node.kind != "text" or node.style in {"|", ">"}
    if node.kind == "text" and not node.style and not node.anchor and "\n" not in piece:
        assert piece == node.value
    for part in (*(each for pair in node.pairs for each in pair), *node.elements):
        within(part, text, node.start, node.end)


@pytest.mark.parametrize(
    "path", sorted(each for each in (FOLDER / "compose").iterdir() if each.suffix != ".diff"), ids=lambda path: path.name
)
def test_values_are_those_that_pyyaml_reads(path: Path):
    """Over all files of the editor's fixtures: the same values as PyYAML's base loader makes, and sound places."""
    data = path.read_bytes()
    try:
        found = tree(data)
    except Malformed as malformed:
        expected = path.with_name(f"{path.name}.diff").read_text().partition("\n")[2]
        assert expected == f"malformed: {malformed}\n"  # noqa: PT017 - many files, few of them malformed
        return
    text = found.text.replace("\t", " ") if path.suffix == ".json" else found.text
    assert plain(found.root) == yaml.load(text, Loader=yaml.BaseLoader)
    within(found.root, found.text, 0, len(found.text))


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from(["", "a", "a b", "a: b", "# no", "1", "null", "- a", "é\n\nb\n", " a ", "{", "'", "a\tb"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b c", "1", "é", "# d"]), inner, max_size=3)
    ),
    max_leaves=10,
)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["services", "x-a", "version"]), VALUES, min_size=1),
    st.sampled_from([True, False, None]),
    st.integers(2, 6),
    st.sampled_from(["\n", "\r\n"]),
)
def test_whatever_yaml_is_written_is_read(value: dict[str, Any], flow: bool | None, indent: int, newline: str):
    """Any values, dumped in any style, come back, and each node is where it says."""
    text = yaml.safe_dump(value, default_flow_style=flow, indent=indent, line_break=newline, allow_unicode=True, width=20)
    found = tree(text.encode())
    assert plain(found.root) == value
    within(found.root, found.text, 0, len(found.text))
