"""CDI specs, in YAML and in JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gpudoctor.formats import Malformed, cdi
from gpudoctor.host.hostfile import load
from tests.cases import FIXTURES

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

YAML = b"""\
---
cdiVersion: 0.5.0
kind: nvidia.com/gpu
annotations:
    made.by: hand
devices:
    - name: 1:0
      containerEdits:
        deviceNodes:
            - path: /dev/nvidia10
              hostPath: /run/driver/dev/nvidia10
            - path: /dev/nvidia1
              major: 195
              minor: 1
              type: c
    - name: all
      containerEdits:
        deviceNodes:
            - path: /dev/nvidia1
        mounts:
            - hostPath: /run/nvidia-persistenced/socket
              containerPath: /run/nvidia-persistenced/socket
containerEdits:
    env:
        - NVIDIA_VISIBLE_DEVICES=void
    deviceNodes:
        - path: /dev/nvidiactl
    hooks:
        - hookName: createContainer
          path: /usr/bin/nvidia-cdi-hook
          args: [nvidia-cdi-hook, update-ldcache]
    mounts:
        - hostPath: /usr/lib/x86_64-linux-gnu/libcuda.so.570.86.15
          containerPath: /usr/lib/x86_64-linux-gnu/libcuda.so.570.86.15
"""
JSON = b"""{
\t"cdiVersion": "0.3.0",
\t"kind": "nvidia.com/gpu",
\t"devices": [
\t\t{"name": "0", "containerEdits": {"deviceNodes": [{"path": "/dev/nvidia0", "major": 195}]}}
\t]
}
"""


def test_a_yaml_spec_gives_devices_and_common_edits() -> None:
    """A MIG name stays text, numbers are numbers, and what is missing is empty."""
    spec = cdi.parse(YAML, "/var/run/cdi/nvidia.yaml")
    assert (spec.version, spec.kind) == ("0.5.0", "nvidia.com/gpu")
    assert [device.name for device in spec.devices] == ["1:0", "all"]
    assert spec.devices[0].nodes == (
        cdi.Node("/dev/nvidia10", "/run/driver/dev/nvidia10", None, None, "", 10),
        cdi.Node("/dev/nvidia1", "/dev/nvidia1", 195, 1, "c", 12),
    )
    assert spec.devices[1].mounts == ("/run/nvidia-persistenced/socket",)
    assert [node.path for node in spec.nodes] == ["/dev/nvidiactl"]
    assert spec.mounts == ("/usr/lib/x86_64-linux-gnu/libcuda.so.570.86.15",)
    assert spec.hooks == ("/usr/bin/nvidia-cdi-hook",)
    assert spec.env == ("NVIDIA_VISIBLE_DEVICES=void",)
    assert spec.annotations == (("made.by", "hand"),)


@pytest.mark.parametrize("path", ["/etc/cdi/nvidia.json", "/etc/cdi/nvidia.yaml"])
def test_a_json_spec_may_be_indented_by_tabs(path: str) -> None:
    """JSON is known by its brace whatever the file is called."""
    spec = cdi.parse(JSON, path)
    assert spec.devices == (cdi.Device("0", (cdi.Node("/dev/nvidia0", "/dev/nvidia0", 195, None, "", 5),), (), (), ()),)


def test_yaml_in_braces_or_in_a_json_file_is_read() -> None:
    """The CDI library takes YAML everywhere."""
    assert cdi.parse(b"{cdiVersion: 0.6.0, kind: a.b/c, devices: [],}", "x.yaml").version == "0.6.0"
    assert cdi.parse(b"cdiVersion: 0.6.0\nkind: a.b/c\n", "x.json").kind == "a.b/c"


def test_without_libyaml_the_result_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """A PyYAML without the C loader only takes longer."""
    import yaml

    fast = cdi.parse(YAML, "x.yaml")
    monkeypatch.delattr(yaml, "CBaseLoader", raising=False)
    assert cdi.parse(YAML, "x.yaml") == fast


@pytest.mark.parametrize(
    ("data", "path", "line", "reason"),
    [
        (b"- a\n- b\n", "x.yaml", 0, "the spec must be a mapping"),
        (b"", "x.yaml", 0, "the spec must be a mapping"),
        (b"kind: a\ndevices: none\n", "x.yaml", 0, "devices must be a list"),
        (b"devices: [a]\n", "x.yaml", 0, "a device must be a mapping"),
        (b"devices: [{containerEdits: {}}]\n", "x.yaml", 0, "a device without a name"),
        (b'{"devices": [{"name": 0}]}', "x.json", 0, "the name of a device must be text"),
        (b"containerEdits: [a]\n", "x.yaml", 0, "containerEdits must be a mapping"),
        (b"containerEdits: {deviceNodes: [/dev/nvidia0]}\n", "x.yaml", 0, "a device node must be a mapping"),
        (
            b"containerEdits: {deviceNodes: [{path: /dev/a, major: x}]}\n",
            "x.yaml",
            0,
            "the major of a device node must be a number",
        ),
        (b"kind: a\n---\nkind: b\n", "x.yaml", 2, "a second document, where one spec is expected"),
        (b"kind: a\n  devices: b\n", "x.yaml", 2, "mapping values are not allowed in this context"),
        (b'{\n"kind": "a"\n"devices": []}', "x.json", 3, "neither JSON nor YAML (expecting ',' delimiter)"),
        (b"kind: \xff", "x.yaml", 1, "a byte that is not UTF-8 text"),
        (b"kind: \0", "x.yaml", 0, "a character that YAML does not allow"),
    ],
)
def test_what_is_no_spec_is_malformed(data: bytes, path: str, line: int, reason: str) -> None:
    """Each fault is named, with the line where the syntax is at fault."""
    with pytest.raises(Malformed) as caught:
        cdi.parse(data, path)
    assert (caught.value.line, caught.value.reason) == (line, reason)


@pytest.mark.parametrize(
    "data",
    [b"[" * 400 + b"]" * 400, b"[" * 100000, b"- " * 100000, b'{"a":' * 100000, b"? " * 5000, b"{[a]: b}"],
)
def test_hostile_files_are_malformed(data: bytes) -> None:
    """Deep nesting and keys that are lists end as Malformed, in both forms."""
    for path in ("x.yaml", "x.json"):
        with pytest.raises(Malformed):
            cdi.parse(data, path)


def test_the_line_of_a_text() -> None:
    """The first line that contains the text is given."""
    assert cdi.line_of(YAML, "libcuda.so") == 33
    assert cdi.line_of(YAML, "---") == 1
    assert cdi.line_of(YAML, "libcuda.so.1") is None


@pytest.mark.parametrize(
    ("changed", "into", "reason"),
    [
        (b"cdiVersion: 0.5.0", b"cdiVersion: five", "is no version"),
        (b"cdiVersion: 0.5.0", b"kinds: none", "there is no cdiVersion"),
        (b"kind: nvidia.com/gpu", b"kind: gpu", "not of the form vendor/class"),
        (b"kind: nvidia.com/gpu", b"kind: 9com/gpu", "not of the form vendor/class"),
        (b"name: 1:0", b"name: gpu 0", "is no name for a device"),
        (b"name: 1:0", b"name: all", "defines device 'all' twice"),
        (b"type: c", b"type: x", "unknown type"),
        (b"A=1", b"A", "not of the form NAME=value"),
    ],
)
def test_what_the_library_refuses(changed: bytes, into: bytes, reason: str) -> None:
    """A spec is right as it stands, and one change makes the CDI library drop it, with the place to look at."""
    spec = (
        b"cdiVersion: 0.5.0\nkind: nvidia.com/gpu\ndevices:\n- name: 1:0\n  containerEdits:\n    deviceNodes:\n"
        b"    - path: /dev/nvidia0\n      type: c\n- name: all\n  containerEdits:\n    env: [A=1]\n"
    )
    assert cdi.refusal(cdi.parse(spec, "x.yaml")) is None
    assert changed in spec
    wrong = cdi.refusal(cdi.parse(spec.replace(changed, into), "x.yaml"))
    assert wrong is not None
    assert reason in wrong[0]


def test_a_spec_without_devices_is_refused() -> None:
    """The library wants at least one device."""
    wrong = cdi.refusal(cdi.parse(b"cdiVersion: 0.5.0\nkind: nvidia.com/gpu\ndevices: []\n", "x.yaml"))
    assert wrong == ("it defines no device", "devices")


@given(
    st.one_of(st.binary(), st.text(alphabet="{}[]:,-'\"&*!\n a1").map(str.encode)),
    st.sampled_from([b"", b"containerEdits:\n ", b'{"devices": [']),
    st.sampled_from(["x.json", "x.yaml"]),
)
def test_random_bytes_never_raise_anything_else(data: bytes, before: bytes, path: str) -> None:
    """Whatever the file holds, the only error is Malformed, and it has a reason."""
    try:
        cdi.refusal(cdi.parse(before + data, path))
    except Malformed as error:
        assert error.reason  # noqa: PT017 - either outcome is fine


def base(text: str) -> object:
    """Return what the base loader makes of YAML, None where it refuses it."""
    try:
        return yaml.load(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError:
        return None


def bodies() -> Iterator[str]:
    """Yield every CDI spec of the fixture hosts."""
    for path in sorted(FIXTURES.rglob("*.host")):
        for name, node in load(str(path)).nodes.items():
            if "/cdi/" in name and node.kind == "file" and node.body:
                yield node.body.decode("utf-8", "replace")


def test_specs_of_the_fixtures_are_read_by_lines_as_by_the_base_loader() -> None:
    """The short way through YAML gives the same of every spec that it takes, and takes all that are as nvidia-ctk writes them."""
    taken = 0
    for text in set(bodies()):
        told = cdi._from_lines(text)
        if told is None:
            # JSON, braces, tabs and comments are not for it.
            assert set(text) & set("{[\t#'")
            continue
        taken += 1
        assert told == base(text)
    assert taken > 20


VALUES = [
    "x",
    "1:0",
    "-x",
    "--x",
    "/dev/a",
    ".5",
    "...",
    "---",
    '"x"',
    '"1:0"',
    '""',
    '" x "',
    "x:y",
    "x::y",
    "x:",
    "-",
    "=",
    "+1",
    "a b",
]
VALUES += [
    "@x",
    "x,y",
    "x=y",
    '"x',
    'x"',
    '"a" b',
    '"a": b',
    "- x",
    ",x",
    "~",
    "",
    " ",
    "x ",
    " x",
    "x: y",
    '"',
    '"-"',
    ".",
    "/",
    "--",
    "0x1",
]
STARTS = ["a: ", "b: ", "c:", "- ", "- a: ", "- b:", "a:", "-", "-  ", "a:  ", '"a": ', "a.b: ", "- - "]


def plain(value: object, column: int, chance: random.Random) -> list[str]:
    """Return a value as lines of plain YAML, with indents and quotes as chance has it."""
    if isinstance(value, str):
        return [f'"{value}"' if not value or chance.random() < 0.3 or value.endswith(":") or " " in value else value]
    lines = []
    pairs = value.items() if isinstance(value, dict) else [(None, each) for each in value]
    for key, each in pairs:
        start = " " * column + ("- " if key is None else f"{key}:")
        if isinstance(each, str):
            lines.append(start + ("" if key is None else " ") + plain(each, 0, chance)[0])
        elif key is None:
            inner = plain(each, column + 2, chance)
            lines += [start + inner[0].lstrip(" "), *inner[1:]]
        else:
            step = chance.choice([0, 2, 4]) if isinstance(each, list) else chance.choice([1, 2, 4])
            lines += [start, *plain(each, column + step, chance)]
    return lines


KEYS = st.text(alphabet="abcXYZ019", min_size=1, max_size=8)
WORDS = st.one_of(
    st.sampled_from(["", "1:0", "/dev/nvidia0", "a b", "x:"]), st.text(alphabet="abz019/._=+,@", max_size=9).map("v".__add__)
)
DOCUMENTS = st.dictionaries(
    KEYS,
    st.recursive(
        WORDS,
        lambda deeper: st.one_of(
            st.dictionaries(KEYS, deeper, min_size=1, max_size=4),
            st.lists(st.one_of(WORDS, st.dictionaries(KEYS, deeper, min_size=1, max_size=3)), min_size=1, max_size=4),
        ),
        max_leaves=12,
    ),
    min_size=1,
    max_size=4,
)


@st.composite
def nearly_plain(draw: st.DrawFn) -> str:
    """Draw plain YAML in which a few lines are lost, doubled, moved, put in, indented otherwise, or have another value or sign."""
    chance = draw(st.randoms(use_true_random=False))
    lines = plain(draw(DOCUMENTS), 0, chance)
    for _ in range(draw(st.integers(1, 3))):
        at = chance.randrange(len(lines))
        line = lines[at]
        damage = chance.choice(["lose", "double", "move", "put", "indent", "value", "sign"])
        if damage == "lose" and len(lines) > 1:
            del lines[at]
        elif damage == "double":
            lines.insert(chance.choice([at, len(lines)]), line)
        elif damage == "move":
            lines.insert(chance.randrange(len(lines)), lines.pop(at))
        elif damage == "put":
            indent = " " * chance.choice([0, 1, 2, 4, len(line) - len(line.lstrip(" "))])
            lines.insert(at, indent + chance.choice(STARTS) + chance.choice(["", *VALUES]))
        elif damage == "indent":
            lines[at] = " " * chance.choice([0, 1, 2, 4, 6]) + line.lstrip(" ")
        elif damage == "value":
            lines[at] = line[: line.find(":") + 2] + chance.choice(VALUES)
        elif line:
            place = chance.randrange(len(line))
            lines[at] = line[:place] + chance.choice(["", "ab", *'a: -"=,@/.\n']) + line[place + 1 :]
    return chance.choice(["", "", "---\n", "\n"]) + "\n".join(lines) + chance.choice(["", "\n", "\n\n"])


@given(nearly_plain())
def test_lines_that_are_read_are_read_as_by_the_base_loader(text: str) -> None:
    """Whatever the short way through YAML takes, the base loader reads alike; what that refuses it does not take."""
    told = cdi._from_lines(text)
    if told is not None:
        assert told == base(text)


@given(DOCUMENTS, st.randoms(use_true_random=False))
def test_plain_yaml_is_read_by_lines(document: dict[str, object], chance: random.Random) -> None:
    """A document written plainly, whatever its indents, is taken by the short way and comes out as it went in."""
    text = "\n".join(plain(document, 0, chance)) + "\n"
    assert cdi._from_lines(text) == document == base(text)
