"""Recorded hosts: a Recorder asks once, a Replay knows what it was told, an Overlay is the host as edited."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gpudoctor.host import Absent, Denied, Host, Ran, Slow, Stat, Unseen
from gpudoctor.host.book import Answers, Book, Node, Overlay, Recorder, Replay

if TYPE_CHECKING:
    from collections.abc import Callable


class Counting(Host):
    """A host that counts how often it is asked, and refuses whatever is called `no`."""

    def __init__(self) -> None:
        """Start with nothing asked."""
        self.asked: list[str] = []

    def _note(self, what: str) -> None:
        self.asked.append(what)
        if what.endswith("no"):
            raise Absent(what)
        if what.endswith("secret"):
            raise Denied(what, "permission denied")

    def read(self, path: str) -> bytes:
        """Answer with the path."""
        self._note(f"read {path}")
        return path.encode()

    def list(self, path: str) -> tuple[str, ...]:
        """Answer with one name."""
        self._note(f"list {path}")
        return ("a",)

    def stat(self, path: str) -> Stat:
        """Answer with a file."""
        self._note(f"stat {path}")
        return Node().stat()

    def run(self, *argv: str) -> Ran:
        """Answer with argv."""
        self._note(f"run {' '.join(argv)}")
        return Ran(0, " ".join(argv).encode(), b"")

    def env(self, name: str) -> str:
        """Answer with the name."""
        self._note(f"env {name}")
        return name


QUESTIONS: tuple[Callable[[Host, str], object], ...] = (
    lambda host, what: host.read(what),
    lambda host, what: host.list(what),
    lambda host, what: host.stat(what),
    lambda host, what: host.run(what),
    lambda host, what: host.env(what),
)


@pytest.mark.parametrize("ask", QUESTIONS)
def test_a_recorder_asks_once(ask: Callable[[Host, str], object]) -> None:
    """Each of the five questions reaches the host below once, whether it is answered, absent or refused."""
    below = Counting()
    recorder = Recorder(below)
    first = ask(recorder, "/yes")
    for _ in range(3):
        assert ask(recorder, "/yes") == first
        with pytest.raises(Absent):
            ask(recorder, "/no")
        with pytest.raises(Denied, match="permission denied"):
            ask(recorder, "/secret")
    assert len(below.asked) == 3


def test_an_empty_answer_is_an_answer() -> None:
    """An empty file, folder, output and variable are recorded as such, not asked again."""
    book = Book({"/f": Node(), "/d": Node("dir")}, {("true",): Ran(0, b"", b"")}, {"E": ""})
    recorder = Recorder(book)
    for _ in range(2):
        assert (recorder.read("/f"), recorder.list("/d"), recorder.run("true"), recorder.env("E")) == (b"", (), (0, b"", b""), "")
    replay = Replay(recorder.answers)
    assert (replay.read("/f"), replay.list("/d"), replay.run("true"), replay.env("E")) == (b"", (), (0, b"", b""), "")


@pytest.mark.parametrize("ask", QUESTIONS)
def test_a_replay_was_never_asked(ask: Callable[[Host, str], object]) -> None:
    """What a snapshot was never asked is Unseen, which is not Absent: no rule may take it for missing."""
    with pytest.raises(Unseen, match="was never asked"):
        ask(Replay(Answers.none()), "/x")


def test_conveniences_blur_no_miss() -> None:
    """`bytes`, `names`, `lstat`, `command` and `variable` turn absent into nothing, and let every other miss through."""
    for host, miss in ((Replay(Answers.none()), Unseen), (Recorder(_refusing(Slow)), Slow)):
        for ask in (host.bytes, host.text, host.names, host.lstat, host.exists, host.command, host.variable):
            with pytest.raises(miss):
                ask("/x")
    empty = Book({}, {}, {})
    assert (empty.bytes("/x"), empty.text("/x"), empty.names("/x"), empty.lstat("/x")) == (None, None, (), None)
    assert (empty.exists("/x"), empty.command("x"), empty.variable("x")) == (False, None, None)


def _refusing(miss: type[Slow]) -> Host:
    class Refusing(Counting):
        def _note(self, what: str) -> None:
            raise miss(what, "no answer")

    return Refusing()


def test_a_replayed_miss_does_not_grow() -> None:
    """The same recorded miss raised a thousand times keeps no trace of its earlier journeys."""
    replay = Replay(Answers.none()._replace(reads={"/x": Denied("/x", "permission denied")}))
    for _ in range(1000):
        with pytest.raises(Denied):
            replay.read("/x")
    depth = 0
    missed = replay.answers.reads["/x"]
    assert isinstance(missed, Denied)
    trace = missed.__traceback__
    while trace is not None:
        depth += 1
        trace = trace.tb_next
    assert depth < 10


def _edited() -> Overlay:
    book = Book(
        {"/etc/a": Node(body=b"old", mode=0o600, uid=7), "/etc/b": Node(body=b"b"), "/etc/dir/c": Node(body=b"c")},
        {("id", "-u"): Ran(0, b"0\n", b"")},
        {"HOME": "/root"},
    )
    return Overlay(book, {"/etc/a": b"new", "/etc/b": None, "/etc/new": b"n", "/run/fresh/x": b"x", "/etc/dir/c": None})


def test_an_overlay_reads_as_edited() -> None:
    """Changed files have their new bytes, removed ones are absent, new ones are there, the rest is as it was."""
    host = _edited()
    assert (host.read("/etc/a"), host.read("/etc/new"), host.read("/run/fresh/x")) == (b"new", b"n", b"x")
    with pytest.raises(Absent):
        host.read("/etc/b")
    with pytest.raises(Absent):
        host.read("/etc/never")
    assert (host.run("id", "-u").out, host.env("HOME")) == (b"0\n", "/root")


def test_an_overlay_lists_as_edited() -> None:
    """Folders gain and lose names, a folder that only an edit makes is there, and others stay absent."""
    host = _edited()
    assert host.list("/etc") == ("a", "dir", "new")
    assert host.list("/etc/dir") == ()
    assert host.list("/run/fresh") == ("x",)
    assert host.list("/run") == ("fresh",)
    with pytest.raises(Absent):
        host.list("/nowhere")


def test_an_overlay_stats_as_edited() -> None:
    """A changed file keeps mode and owner, a new one is 0644 of root, a removed one is absent."""
    host = _edited()
    assert host.stat("/etc/a")[:4] == ("file", 0o600, 7, 0)
    assert host.stat("/etc/new")[:4] == ("file", 0o644, 0, 0)
    with pytest.raises(Absent):
        host.stat("/etc/b")
    assert host.stat("/etc/dir").kind == "dir"


def test_an_overlay_leaves_the_host_below_alone() -> None:
    """The host below answers as before."""
    host = _edited()
    host.read("/etc/a")
    assert host.host.read("/etc/a") == b"old"
    assert host.host.list("/etc") == ("a", "b", "dir")


def test_a_folder_that_only_an_edit_makes_is_there() -> None:
    """The folder of a new file exists, so that a rule that follows links on the way to it finds the file."""
    host = _edited()
    assert host.stat("/run/fresh").kind == "dir"
    assert host.real("/run/fresh/x") == "/run/fresh/x"
    assert host.exists("/run/fresh/x")


def test_a_book_follows_links_into_folders() -> None:
    """A node named below a link lands where the link leads, and loops end."""
    book = Book(
        {
            "/var/run": Node("link", target="/run"),
            "/var/run/cdi/x.json": Node(body=b"{}"),
            "/a": Node("link", target="b"),
            "/b": Node("link", target="a"),
        },
        {},
        {},
    )
    assert book.read("/run/cdi/x.json") == book.read("/var/run/cdi/x.json") == b"{}"
    assert book.list("/var/run/cdi") == ("x.json",)
    assert book.stat("/var/run").kind == "link"
    for path in ("/a", "/a/x"):
        with pytest.raises(Absent):
            book.read(path)


def test_reading_what_is_no_file() -> None:
    """A folder, a device and a socket are refused by kind, as on a live host."""
    book = Book({"/d": Node("dir"), "/c": Node("char", rdev=(1, 3)), "/s": Node("socket")}, {}, {})
    for path, words in (("/d", "is a folder"), ("/c", "is a char"), ("/s", "is a socket")):
        with pytest.raises(Denied, match=words):
            book.read(path)
