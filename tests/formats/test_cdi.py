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


@given(
    st.one_of(st.binary(), st.text(alphabet="{}[]:,-'\"&*!\n a1").map(str.encode)),
    st.sampled_from([b"", b"containerEdits:\n ", b'{"devices": [']),
    st.sampled_from(["x.json", "x.yaml"]),
)
def test_random_bytes_never_raise_anything_else(data: bytes, before: bytes, path: str) -> None:
    """Whatever the file holds, the only error is Malformed, and it has a reason."""
    try:
        cdi.parse(before + data, path)
    except Malformed as error:
        assert error.reason  # noqa: PT017 - either outcome is fine
