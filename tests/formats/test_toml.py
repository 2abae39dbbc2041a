"""The toolkit's config.toml: values, places, and what TOML refuses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpudoctor.formats import Malformed, toml

SHIPPED = b"""\
disable-require = false
#swarm-resource = "DOCKER_RESOURCE_GPU"
#no-cgroups = true

[nvidia-container-cli]
environment = []
ldconfig = "@/sbin/ldconfig.real"
load-kmods = true
#no-cgroups = false
#user = "root:video"

[nvidia-container-runtime]
log-level = "info"

# Specify the runtimes to consider, "no-cgroups = true" is no key here.
runtimes = [
    "docker-runc",  # ] no-cgroups = true
    "runc",
]

mode = "auto"

    [nvidia-container-runtime.modes.cdi]
    spec-dirs = ["/etc/cdi", "/var/run/cdi"]
"""


def test_a_shipped_file_gives_its_values() -> None:
    """Comments are no values, and nested tables are reached by their path."""
    doc = toml.parse(SHIPPED)
    assert toml.get(doc, "nvidia-container-cli.load-kmods") is True
    assert toml.get(doc, "nvidia-container-cli.no-cgroups") is None
    assert toml.get(doc, "nvidia-container-runtime.modes.cdi.spec-dirs") == ["/etc/cdi", "/var/run/cdi"]
    assert toml.get(doc, "nvidia-container-runtime.mode.auto") is None


def test_an_empty_file_is_an_empty_table() -> None:
    """No bytes are valid TOML."""
    assert toml.parse(b"") == {}


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (SHIPPED, None),
        (SHIPPED.replace(b"#no-cgroups = false", b"no-cgroups = true"), 9),
        (b"# top\nnvidia-container-cli.no-cgroups = true\n[features]\nno-cgroups = 1", 2),
        (b"[features]\nno-cgroups = true\n", None),
        (b"no-cgroups = true\n[nvidia-container-cli]\nload-kmods = true", None),
        (b"\nnvidia-container-cli = { load-kmods = true, no-cgroups = true }", 2),
        (b'nvidia-container-cli = { a = [{ no-cgroups = true }], "no-cgroups" = true }', 1),
        (b'[ "nvidia-container-cli" ]\r\n\r\n"no-cgroups"=true\r\n', 3),
        (b"[[nvidia-container-cli]]\nno-cgroups = true", None),
        (b"[nvidia-container-cli]\nuser = '''\nno-cgroups = true\n'''\nno-cgroups = false", 5),
        (b'[nvidia-container-cli]\nuser = "a \\" # \\\\"\nno-cgroups = false', 3),
        (b'[nvidia-container-cli]\nuser = """\n\\"""\nno-cgroups = 1 """\nno-cgroups = false', 5),
    ],
)
def test_the_line_of_a_key_is_that_of_its_table(data: bytes, line: int | None) -> None:
    """A key of the same name in a comment, a string or another table is not taken."""
    assert toml.line_of(data, "nvidia-container-cli", "no-cgroups") == line


def test_the_line_of_a_key_at_the_top_and_in_a_deep_table() -> None:
    """The top is named by an empty table, a deep table by its dotted name."""
    assert toml.line_of(SHIPPED, "", "disable-require") == 1
    assert toml.line_of(SHIPPED, "nvidia-container-runtime", "mode") == 21
    assert toml.line_of(SHIPPED, "nvidia-container-runtime.modes.cdi", "spec-dirs") == 24


@pytest.mark.parametrize(
    ("data", "line", "reason"),
    [
        (b"a = 1\n\na = 2\n", 3, "a key that is already set"),
        (b"[cli]\n[other]\n[cli]\n", 3, "a table that is already there"),
        (b"\xef\xbb\xbfa = 1\n", 1, "a byte order mark before the first character"),
        (b"a = 1\nno-cgroups true\n", 2, "no equals sign after the key"),
        (
            b"a = 1\nmode = auto\n",
            2,
            "no value TOML knows: text needs quotes, yes and no are spelt true and false",
        ),
        (
            b'a = 1\nmode = "auto\n',
            2,
            "a character that may not stand here, often a line break in a quoted value",
        ),
        (b'a = 1\nmode = "auto', 2, "a quote that is never closed"),
        (b"a = 1\n[nvidia-container-cli\nb = 1", 2, "no closing bracket after the table's name"),
        (b"a = [1 2]\n", 1, "a list without its closing bracket"),
        (b"a = { b = 1\n", 1, "an inline table without its closing brace"),
        (b"a = 1 b = 2\n", 1, "something after the value"),
        (b"<html>\n", 1, "neither a key nor a table"),
        (b'a = 1\nb = "\xff"\n', 2, "a byte that is not UTF-8 text"),
    ],
)
def test_what_toml_refuses_has_a_line_and_a_plain_reason(data: bytes, line: int, reason: str) -> None:
    """Each broken file says where and why."""
    with pytest.raises(Malformed) as caught:
        toml.parse(data)
    assert (caught.value.line, caught.value.reason) == (line, reason)
    assert caught.value.column >= 1


@pytest.mark.parametrize("data", [b"a = " + b"[" * 20000, b"a = " + b"9" * 10000, b"a = \0", b"\0" * 40])
def test_hostile_files_are_malformed(data: bytes) -> None:
    """Deep nesting, endless numbers and NULs are refused like any other fault."""
    with pytest.raises(Malformed):
        toml.parse(data)


@given(st.one_of(st.binary(), st.text(alphabet="[]{}=.,\"'#\\ \nab1").map(str.encode)))
def test_random_bytes_never_raise_anything_else(data: bytes) -> None:
    """Whatever the file holds, the only error is Malformed, and looking for a line never fails."""
    toml.line_of(data, "a", "b")
    try:
        toml.parse(data)
    except Malformed as error:
        assert error.reason  # noqa: PT017 - either outcome is fine


@given(
    st.dictionaries(
        st.sampled_from(["a", "b", "c-d", "e"]),
        st.sampled_from(['"x # = y"', "'[a]'", '"""\nb = 1\n"""', "[\n1, # ]\n2]", "{ a = 1, q = { a = 2 } }", "true"]),
    )
)
def test_every_key_of_a_valid_file_has_its_line(entries: dict[str, str]) -> None:
    """The scanner finds each key on the line it was written to, whatever the values before it look like."""
    content, lines = "[t]\n", {}
    for key, value in entries.items():
        lines[key] = content.count("\n") + 1
        content += f"{key} = {value}\n"
    assert toml.parse(content.encode())
    for key in ("a", "b", "c-d", "e"):
        assert toml.line_of(content.encode(), "t", key) == lines.get(key)
