"""CDI specs, in YAML and in JSON."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpudoctor.formats import Malformed, cdi

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
