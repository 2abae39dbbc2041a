"""A host as one text: every rule of its grammar, and each mistake with its line."""

from __future__ import annotations

import contextlib
import os
import random
from typing import TYPE_CHECKING

import pytest

from gpudoctor.host import Absent, Denied, Kind, Ran, Slow, Unseen
from gpudoctor.host.hostfile import BadHost, load, parse

if TYPE_CHECKING:
    from pathlib import Path


def test_prose_before_the_first_marker_is_ignored() -> None:
    """Prose may say what it likes, even about dashes, up to the first marker."""
    host = parse(b"A machine -- /etc/x -- of mine.\n\n-- nothing here --\n--\n-- /etc/x --\nbody\n")
    assert list(host.nodes) == ["/etc/x"]
    assert host.read("/etc/x") == b"body\n"


def test_a_body_is_every_line_up_to_the_next_marker() -> None:
    """Blank lines belong to the body, first, last and between; a marker right behind gives an empty one."""
    host = parse(b"-- /a --\n\n1\n\n-- /b --\n-- /c --\nlast without newline")
    assert (host.read("/a"), host.read("/b"), host.read("/c")) == (b"\n1\n\n", b"", b"last without newline")


def test_nonl_takes_the_final_newline() -> None:
    """`nonl` takes one newline from the end, of a file and of a command's output, and none where there is none."""
    host = parse(b"-- /a -- nonl\nx\n\n-- /b -- nonl\n-- $ c -- nonl\nout\n-- /d -- nonl\nx")
    assert (host.read("/a"), host.read("/b"), host.run("c").out, host.read("/d")) == (b"x\n", b"", b"out", b"x")


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        (rb"\-- /etc/y --", b"-- /etc/y --"),
        (rb"\\-- /etc/y --", rb"\-- /etc/y --"),
        (rb"\-- $ ls --", b"-- $ ls --"),
        (rb"\-- env A -- b", b"-- env A -- b"),
        (rb"\--x", rb"\--x"),
        (rb"a \-- /etc/y --", rb"a \-- /etc/y --"),
        (rb"-- other --", b"-- other --"),
        (rb"-- /etc/y without an end", b"-- /etc/y without an end"),
        (rb"--- /etc/y --", b"--- /etc/y --"),
        (rb" -- /etc/y --", b" -- /etc/y --"),
        (rb"-- /etc/y --word", b"-- /etc/y --word"),
    ],
)
def test_lines_that_look_like_markers(line: bytes, kept: bytes) -> None:
    """One backslash protects a body line; what is not quite a marker needs none."""
    host = parse(b"-- /a --\nfirst\n" + line + b"\nlast\n")
    assert host.read("/a") == b"first\n" + kept + b"\nlast\n"
    assert list(host.nodes) == ["/a"]


@pytest.mark.parametrize("kind", ["dir", "socket", "fifo"])
def test_kinds_without_more(kind: Kind) -> None:
    """A folder, a socket and a FIFO are named by one word and cannot be read."""
    host = parse(f"-- /x -- {kind}\n".encode())
    assert host.stat("/x").kind == kind
    with pytest.raises(Denied):
        host.read("/x")


def test_devices() -> None:
    """Devices carry major and minor, and 0666 by default, as NVIDIA makes them; a disk has 0660."""
    host = parse(b"-- /dev/nvidia0 -- char 195:0\n-- /dev/sda -- block 8:0 mode=0600 uid=1 gid=6\n")
    assert host.stat("/dev/nvidia0")[:4] == ("char", 0o666, 0, 0)
    assert host.stat("/dev/nvidia0").rdev == (195, 0)
    assert host.stat("/dev/sda")[:4] == ("block", 0o600, 1, 6)
    assert host.list("/dev") == ("nvidia0", "sda")


def test_links() -> None:
    """Links lead from their own folder, and what is below a link to a folder is found on both ways."""
    host = parse(b"-- /sys/a/driver -- link ../drivers/nvidia\n-- /sys/drivers/nvidia/name --\nx\n-- /l -- link 'with space'\n")
    assert host.read("/sys/a/driver/name") == b"x\n"
    assert host.real("/sys/a/driver") == "/sys/drivers/nvidia"
    assert host.stat("/sys/a/driver").target == "../drivers/nvidia"
    assert host.stat("/l").target == "with space"
    assert not host.exists("/l")


def test_words_of_a_path() -> None:
    """Mode is octal, the rest decimal, in any order; a plain file is 0644 and has no time."""
    host = parse(b"-- /a -- mtime=1700000000 gid=44 mode=4755 uid=7\nx\n-- /b --\n")
    assert host.stat("/a") == ("file", 0o4755, 7, 44, 1700000000, None, None)
    assert host.stat("/b") == ("file", 0o644, 0, 0, None, None, None)


def test_answers_instead_of_a_body() -> None:
    """`absent`, `denied`, `denied-stat` and `unseen` answer read, list and stat each in their way."""
    host = parse(b"-- /a -- absent\n-- /d -- denied mode=0600\n-- /s -- denied-stat\n-- /u -- unseen\n")
    for path, read, stat in (("/a", Absent, Absent), ("/s", Denied, Denied), ("/u", Unseen, Unseen)):
        with pytest.raises(read):
            host.read(path)
        with pytest.raises(stat):
            host.stat(path)
        with pytest.raises(read):
            host.list(path)
    with pytest.raises(Denied):
        host.read("/d")
    with pytest.raises(Denied):
        host.list("/d")
    assert host.stat("/d").mode == 0o600
    # What is denied can still be seen in its folder; what is absent cannot.
    assert host.list("/") == ("d", "s", "u")


def test_base64() -> None:
    """A body in base64, over several lines, is those bytes."""
    assert parse(b"-- /efi -- base64\nBgAA\nAAE=\n").read("/efi") == b"\6\0\0\0\1"


def test_bytes_stay_bytes() -> None:
    """NULs, Latin-1, CR and tabs come through; the text is no text."""
    body = bytes(set(range(256)) - {10}) + b"\r\n\xff\n"
    host = parse(b"-- /proc/1/environ --\n" + body + b"-- $ cat --\n" + body)
    assert host.read("/proc/1/environ") == body
    assert host.run("cat").out == body


def test_commands() -> None:
    """A command is split as a shell would, rc and stderr have words of their own, and a second marker adds to the first."""
    host = parse(
        b"-- $ docker info --format '{{json .}}' --\n{}\n"
        b"-- $ nvidia-smi -L -- rc=9\nout\n-- $ nvidia-smi -L -- stderr\nerr\n"
        b"-- $ a -- missing\n-- $ b -- slow\n-- $ c -- denied\n-- $ d -- unseen\n-- $ e -- rc=-11\n",
    )
    assert host.run("docker", "info", "--format", "{{json .}}") == Ran(0, b"{}\n", b"")
    assert host.run("nvidia-smi", "-L") == Ran(9, b"out\n", b"err\n")
    assert host.run("e").rc == -11
    for name, miss in (("a", Absent), ("b", Slow), ("c", Denied), ("d", Unseen), ("never-named", Absent)):
        with pytest.raises(miss):
            host.run(name)


def test_the_closing_dashes_are_the_first_outside_quotes() -> None:
    """Dashes in quotes or behind a backslash belong to the path or argv; a command may have `--` of its own only so."""
    host = parse(
        b"-- $ sh -c 'a -- b' --\n1\n-- $ x \"q -- \\\" -- \" --\n2\n-- $ y \\-- z --\n3\n-- /l -- link 'a -- b'\n",
    )
    assert host.run("sh", "-c", "a -- b").out == b"1\n"
    assert host.run("x", 'q -- " -- ').out == b"2\n"
    assert host.run("y", "--", "z").out == b"3\n"
    assert host.stat("/l").target == "a -- b"


def test_paths_with_spaces_are_quoted() -> None:
    """A path with a space is quoted from its second character on, because a marker starts with `-- /`."""
    host = parse(b"-- /'a b'/c --\nx\n-- /d\\ e --\ny\n")
    assert (host.read("/a b/c"), host.read("/d e")) == (b"x\n", b"y\n")


def test_variables() -> None:
    """A value is the rest of its line, verbatim, with spaces, quotes and dashes; it may be empty."""
    host = parse(b"-- env A -- b  'c' -- d \n-- env E -- \n-- env F --\n")
    assert host.env("A") == "b  'c' -- d "
    assert host.env("E") == host.env("F") == ""
    with pytest.raises(Absent):
        host.env("NONE")


def test_a_closed_host_knows_nothing_else() -> None:
    """What is not written down is absent, parents are folders, and a trailing slash says nothing."""
    host = parse(b"-- /a/b/c/ -- dir\n-- /a/f --\n")
    assert host.closed
    assert (host.list("/"), host.list("/a"), host.list("/a/b"), host.list("/a/b/c")) == (("a",), ("b", "f"), ("c",), ())
    assert host.stat("/a/b").kind == "dir"
    for ask in (host.read, host.list, host.stat):
        with pytest.raises(Absent):
            ask("/a/z")
    with pytest.raises(Absent):
        host.list("/a/f")


def _folder(tmp_path: Path, **files: str) -> str:
    """Write hosts below a folder named `fixtures`, and return the path of the one called `case`."""
    root = tmp_path / "fixtures"
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".host").write_text(text)
    return str(root / "rules" / "a" / "case.host")


def test_like_starts_from_another_host(tmp_path: Path) -> None:
    """The first marker for a path or an argv replaces what was inherited, `absent` a folder with all below, `unenv` a variable."""
    case = _folder(
        tmp_path,
        hosts__base="-- /etc/a --\nold\n-- /etc/b --\nkept\n-- /dev/x/1 -- char 1:1\n-- /dev/x/2 -- char 1:2\n-- /dev/y -- dir\n"
        "-- $ c -- rc=3\nout\n-- $ c -- stderr\nerr\n-- env A -- 1\n-- env B -- 2\n",
        rules__a__case="-- like hosts/base.host --\n-- /etc/a --\nnew\n-- /dev/x -- absent\n-- $ c --\nfresh\n-- unenv A --\n-- env B -- 3\n",
    )
    host = load(case)
    assert (host.read("/etc/a"), host.read("/etc/b")) == (b"new\n", b"kept\n")
    assert host.list("/dev") == ("y",)
    with pytest.raises(Absent):
        host.stat("/dev/x/1")
    assert host.run("c") == Ran(0, b"fresh\n", b"")
    assert host.variables == {"B": "3"}


def test_a_path_below_an_absent_folder_may_be_named_again(tmp_path: Path) -> None:
    """`absent` takes what was inherited below a folder, not what is named after it."""
    case = _folder(
        tmp_path,
        hosts__base="-- /dev/x/1 --\n-- /dev/x/2 --\n",
        rules__a__case="-- like hosts/base.host --\n-- /dev/x -- absent\n-- /dev/x/3 --\nx\n",
    )
    assert load(case).read("/dev/x/3") == b"x\n"
    assert "/dev/x/1" not in load(case).nodes


def test_like_is_relative_to_fixtures_or_to_the_file(tmp_path: Path) -> None:
    """The nearest folder called `fixtures` counts; without one, the file's own."""
    (tmp_path / "base.host").write_text("-- /a --\nx\n")
    (tmp_path / "case.host").write_text("-- like base.host --\n")
    assert load(str(tmp_path / "case.host")).read("/a") == b"x\n"
    assert parse(b"-- like base.host --\n", str(tmp_path / "elsewhere.host")).read("/a") == b"x\n"


def test_like_must_not_go_round_or_out(tmp_path: Path) -> None:
    """Circles, long chains, absolute paths, `..`, missing files, FIFOs and a late `like` are refused with their line."""
    case = _folder(
        tmp_path,
        rules__a__case="prose\n-- like hosts/one.host --\n",
        hosts__one="-- like hosts/two.host --\n",
        hosts__two="\n\n-- like rules/a/case.host --\n",
        **{f"hosts__chain{at}": f"-- like hosts/chain{at + 1}.host --\n" for at in range(12)},
    )
    with pytest.raises(BadHost, match=r"two\.host:3: `-- like rules/a/case\.host` goes round"):
        load(case)
    with pytest.raises(BadHost, match="too deep"):
        load(str(tmp_path / "fixtures" / "hosts" / "chain0.host"))
    os.mkfifo(tmp_path / "fixtures" / "pipe")
    for text, words in (
        ("-- like /etc/passwd --\n", "1: `-- like` takes one relative path"),
        ("-- like ../x --\n", "1: `-- like` takes one relative path"),
        ("-- like a b --\n", "1: `-- like` takes one relative path"),
        ("-- like '' --\n", "1: `-- like` takes one relative path"),
        ("\n-- like gone.host --\n", "2: `-- like gone.host` cannot be read: no such file"),
        ("-- like hosts --\n", "is a folder"),
        ("-- like pipe --\n", "is not a regular file"),
        ("-- /a --\nx\n-- like hosts/one.host --\n", "3: `-- like` must be the first marker"),
    ):
        with pytest.raises(BadHost) as caught:
            parse(text.encode(), case)
        assert words in str(caught.value)
    with pytest.raises(BadHost):
        parse(b"-- like a\0b --\n", case)


@pytest.mark.parametrize(
    ("marker", "reason"),
    [
        (b"-- /a b --", "a path with spaces must be quoted"),
        (b"-- /a -- door", "`door` is not a word of a marker"),
        (b"-- /a -- mode=rw", "`mode=rw` is not a number"),
        (b"-- /a -- mode=9", "`mode=9` is not a number"),
        (b"-- /a -- uid=root", "`uid=root` is not a number"),
        (b"-- /a -- mtime=", "`mtime=` is not a number"),
        (b"-- /a -- size=3", "`size=3` is not a word of a marker"),
        (b"-- /a -- link", "a link without its target"),
        (b"-- /a -- link x y", "`y` is not a word of a marker"),
        (b"-- /a -- char", "a char device without major:minor"),
        (b"-- /a -- block 8", "`8` is not major:minor"),
        (b"-- /a -- char a:b", "`a:b` is not major:minor"),
        (b"-- /a -- dir base64", "`base64` is not a word of a marker"),
        (b"-- /a -- fifo nonl", "`nonl` is not a word of a marker"),
        (b"-- /a -- mode=0644 dir", "`dir` is not a word of a marker"),
        (b"-- /a -- base64\n%%%", "the body is not base64"),
        (b"-- /a -- link 'x", "quotes do not match"),
        (b"-- $  --", "a command without a name"),
        (b"-- $ a -- rc=one", "`rc=one` is not an exit code"),
        (b"-- $ a -- absent", "`absent` is not a word of a command's marker"),
    ],
)
def test_mistakes_are_named_with_their_line(marker: bytes, reason: str) -> None:
    """A bad marker is refused with file, line and what is wrong, wherever it stands."""
    with pytest.raises(BadHost) as caught:
        parse(b"prose\n-- /first --\nbody\n-- not a marker\n\n" + marker + b"\nbody\n-- /last --\n", "case.host")
    assert (caught.value.path, caught.value.line) == ("case.host", 6)
    assert reason in caught.value.reason
    assert str(caught.value).startswith("case.host:6: ")


def test_a_marker_with_crlf_is_none() -> None:
    """A file saved with CRLF has no markers at all, and says nothing rather than something wrong."""
    assert parse(b"-- /a --\r\nx\r\n").nodes == {}


def test_the_file_itself(tmp_path: Path) -> None:
    """A missing file is an OSError, a folder or FIFO is refused without being opened."""
    with pytest.raises(FileNotFoundError):
        load(str(tmp_path / "gone"))
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(BadHost):
            load(str(path))


def test_random_text_is_a_host_or_bad_host(tmp_path: Path) -> None:
    """Whatever pieces of the grammar are thrown together, parsing ends in a host that can be asked or in BadHost."""
    pieces = [
        b"-- ",
        b" --",
        b"\n",
        b"/a",
        b"/a/b",
        b"$ ",
        b"c",
        b"env ",
        b"unenv ",
        b"like ",
        b"link ",
        b"../a",
        b"char 1:2",
        b"'",
        b'"',
        b"\\",
    ]
    pieces += [
        b" mode=7",
        b"\0",
        b"\xff",
        b" absent",
        b" denied",
        b" base64",
        b" nonl",
        b"=",
        b" rc=1",
        b" stderr",
        b"/",
        b"..",
        b"/./",
        b"//",
    ]
    dice = random.Random(1)
    hosts = bad = 0
    for _ in range(20_000):
        data = b"-- /" + b"".join(dice.choice(pieces) for _ in range(dice.randint(1, 20)))
        try:
            host = parse(data, str(tmp_path / "x.host"))
        except BadHost:
            bad += 1
            continue
        hosts += 1
        for path in (*host.nodes, *host.folders):
            host.exists(path)
            for ask in (host.bytes, host.names):
                with contextlib.suppress(Denied, Unseen):
                    ask(path)
    assert hosts
    assert bad
