"""Questions that would change a host are not asked, and what a host could not show is not taken for an answer."""

from __future__ import annotations

import pytest

from gpudoctor.facts import Facts
from gpudoctor.facts.docker import INFO
from gpudoctor.host import Absent, Unseen, live
from gpudoctor.host.book import Recorder
from gpudoctor.host.hostfile import parse
from gpudoctor.host.tree import Tree

DAEMON = b"-- /proc/9/comm --\ndockerd\n-- /proc/9/status --\nUid:\t0\t0\t0\t0\n"
ANSWER = b'-- $ docker info --format \'{{json .}}\' --\n{"ServerVersion": "28.5.2"}\n'


def as_if_live(text: bytes) -> Recorder:
    """Return a host that counts its questions and is not closed, so that every guard is on."""
    host = parse(text)
    host.closed = False
    return Recorder(host)


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        (ANSWER, False),
        (DAEMON + ANSWER, True),
        (DAEMON + ANSWER + b"-- env DOCKER_HOST -- tcp://other:2375\n", False),
        (DAEMON + ANSWER + b"-- env DOCKER_HOST -- ssh://me@other\n", False),
    ],
)
def test_docker_is_asked_only_where_a_daemon_runs_here(text: bytes, asked: bool):
    """`docker info` would start a socket-activated daemon, and over the network it would answer for another machine."""
    recorder = as_if_live(text)
    assert (Facts(recorder).docker.info is not None) == asked
    assert (INFO in recorder.answers.runs) == asked


def test_links_of_a_mounted_root_stay_inside_whatever_is_asked(tmp_path):
    """An absolute link to a folder is followed inside the root by stat too, never to this machine's own folder."""
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "mine").write_text("mine")
    (tmp_path / "out").symlink_to("/inside")
    (tmp_path / "host").symlink_to("/etc")
    tree = Tree(str(tmp_path))
    assert tree.stat("/out/mine").kind == "file"
    with pytest.raises(Absent):
        tree.stat("/host/passwd")


def test_an_unmounted_proc_or_sys_is_no_answer(monkeypatch):
    """Where /proc or /sys is not mounted, what is missing there cannot be told; elsewhere it is absent."""
    monkeypatch.setattr(live, "populated", lambda folder: folder != "/sys")
    host = live.Live()
    for ask in (host.read, host.list, host.stat):
        with pytest.raises(Unseen):
            ask("/sys/no-such-thing")
        with pytest.raises(Absent):
            ask("/proc/no-such-thing")


KERN = b"""-- /var/log/kern.log --
Nov 23 10:11:12 box kernel: NVRM: loading NVIDIA UNIX x86_64 Kernel Module  550.163.01
Nov 23 10:12:12 box kernel: NVRM: Xid (PCI:0000:41:00): 79, GPU has fallen off the bus.
"""


def test_a_log_file_of_an_earlier_boot_says_nothing_of_today():
    """Without a loaded driver an Xid in kern.log is of an earlier boot; with one, it is of what was loaded last."""
    loaded = b"-- /sys/module/nvidia/version --\n550.163.01\n"
    again = b"Nov 24 08:00:00 box kernel: NVRM: loading NVIDIA UNIX x86_64 Kernel Module  550.163.01\n"
    assert Facts(parse(KERN)).driver.xids == ()
    assert Facts(parse(KERN)).driver.log_since_load == ()
    assert [each.number for each in Facts(parse(KERN + loaded)).driver.xids] == [79]
    assert Facts(parse(KERN + again + loaded)).driver.xids == ()
