"""What a replaced file keeps, and what is never replaced."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from gpudoctor.fix import apply, plan
from gpudoctor.fix.journal import Journal, Locked
from gpudoctor.fix.write import Disk, NotWritten
from gpudoctor.host import hostfile
from gpudoctor.model import Change, Plan, Refused
from tests.fix import transaction

ROOT = os.geteuid() == 0


def replace(root, path, before, after, mode=None):
    """Replace one file as a fix does."""
    change = Change(path, path, before, after, mode, mode)
    using = transaction.hands(root)
    using.journal.lock()
    try:
        return apply.execute(using, Plan((change,), (), (), (), (), ()), ["a/b"], allow_restart=False)
    finally:
        using.journal.unlock()


@pytest.fixture
def root(tmp_path):
    """Make a root with one file."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/x.conf").write_bytes(b"old\n")
    return tmp_path


def test_mode_and_owner_stay(root):
    """The new file has the old one's permissions and, where root writes it, its owner."""
    file = root / "etc/x.conf"
    file.chmod(0o4751)
    if ROOT:
        os.chown(file, 12, 34)
        file.chmod(0o4751)
    before = file.stat()
    assert not replace(root, "/etc/x.conf", b"old\n", b"new\n").problem
    after = file.stat()
    assert file.read_bytes() == b"new\n"
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert after.st_ino != before.st_ino


def test_extended_attributes_stay(root):
    """Attributes, by which ACLs and SELinux labels are kept, come along."""
    file = root / "etc/x.conf"
    try:
        os.setxattr(file, "user.note", b"kept")
    except OSError:
        pytest.skip("this file system has no extended attributes")
    assert not replace(root, "/etc/x.conf", b"old\n", b"new\n").problem
    assert os.getxattr(file, "user.note") == b"kept"


def test_an_access_list_stays(root):
    """A real ACL, set by setfacl, is the same after the file was replaced."""
    file = root / "etc/x.conf"
    if subprocess.run(["sh", "-c", 'setfacl -m u:1234:r "$0"', str(file)], capture_output=True, check=False).returncode:
        pytest.skip("setfacl is not installed, or this file system has no ACLs")
    before = subprocess.run(["getfacl", "-n", str(file)], capture_output=True, check=True).stdout
    assert not replace(root, "/etc/x.conf", b"old\n", b"new\n").problem
    assert subprocess.run(["getfacl", "-n", str(file)], capture_output=True, check=True).stdout == before
    assert b"user:1234:r" in before


def test_a_file_changed_in_between_is_left_alone(root):
    """What is no longer what the plan saw is not written."""
    done = replace(root, "/etc/x.conf", b"what the plan saw\n", b"new\n")
    assert "no longer what the plan saw" in done.problem
    assert (root / "etc/x.conf").read_bytes() == b"old\n"


def test_a_file_changed_at_the_last_moment_is_left_alone(root, monkeypatch):
    """A change between the look and the rename is seen as well."""
    real = Disk.stage

    def stage(self, path, *args):
        real(self, path, *args)
        (root / "etc/x.conf").write_bytes(b"someone else's\n")

    monkeypatch.setattr(Disk, "stage", stage)
    done = replace(root, "/etc/x.conf", b"old\n", b"new\n")
    assert "changed by someone else" in done.problem
    assert (root / "etc/x.conf").read_bytes() == b"someone else's\n"


def test_a_file_made_at_the_last_moment_is_left_alone(root, monkeypatch):
    """A file that was to be made, and is there by the time, is not overwritten."""
    real = Disk.stage

    def stage(self, path, *args):
        real(self, path, *args)
        (root / "etc/y.conf").write_bytes(b"someone else's\n")

    monkeypatch.setattr(Disk, "stage", stage)
    assert replace(root, "/etc/y.conf", None, b"new\n").problem
    assert (root / "etc/y.conf").read_bytes() == b"someone else's\n"


def test_hard_links_are_not_parted(root):
    """A file with a second name is refused: a rename would leave the other name with the old contents."""
    os.link(root / "etc/x.conf", root / "etc/second")
    done = replace(root, "/etc/x.conf", b"old\n", b"new\n")
    assert "2 hard links" in done.problem
    assert (root / "etc/x.conf").read_bytes() == b"old\n"


def test_a_link_in_the_files_place_is_never_followed(root):
    """A link that turns up where the file was is refused, and what it leads to is not touched."""
    (root / "secret").write_bytes(b"old\n")
    (root / "etc/x.conf").unlink()
    (root / "etc/x.conf").symlink_to("../secret")
    with pytest.raises(NotWritten, match="link"):
        replace(root, "/etc/x.conf", b"old\n", b"new\n")
    assert (root / "secret").read_bytes() == b"old\n"


def test_a_link_on_the_way_is_never_followed(root):
    """A folder that was swapped for a link leads nowhere."""
    (root / "elsewhere").mkdir()
    (root / "elsewhere/x.conf").write_bytes(b"old\n")
    (root / "etc/x.conf").unlink()
    (root / "etc").rmdir()
    (root / "etc").symlink_to("elsewhere")
    with pytest.raises(NotWritten):
        replace(root, "/etc/x.conf", b"old\n", b"new\n")
    assert (root / "elsewhere/x.conf").read_bytes() == b"old\n"


def test_a_fifo_and_a_folder_are_refused(root):
    """What is no regular file is not replaced, and a FIFO does not block."""
    (root / "etc/x.conf").unlink()
    os.mkfifo(root / "etc/x.conf")
    (root / "etc/folder").mkdir()
    for path in ("/etc/x.conf", "/etc/folder"):
        with pytest.raises(NotWritten, match="no regular file"):
            replace(root, path, b"old\n", b"new\n")


@pytest.mark.skipif(not ROOT, reason="chattr needs root")
def test_an_immutable_file_is_refused_with_the_command_that_frees_it(root):
    """An immutable file is somebody's decision: it is respected, and named."""
    file = root / "etc/x.conf"
    if subprocess.run(["chattr", "+i", str(file)], capture_output=True, check=False).returncode:
        pytest.skip("this file system has no immutable files")
    try:
        done = replace(root, "/etc/x.conf", b"old\n", b"new\n")
    finally:
        subprocess.run(["chattr", "-i", str(file)], check=True)
    assert "immutable" in done.problem
    assert "chattr -ia /etc/x.conf" in done.problem
    assert file.read_bytes() == b"old\n"


@pytest.mark.skipif(not ROOT, reason="mounting needs root")
@pytest.mark.parametrize(
    ("mount", "words"),
    [
        ('mount --bind "$R" "$R" && mount -o remount,bind,ro "$R" && ', "read-only"),
        (
            'touch "$R/../other" && printf "old\\n" > "$R/../other" && mount --bind "$R/../other" "$R/etc/x.conf" && ',
            "mount point",
        ),
    ],
)
def test_a_read_only_file_system_and_a_file_that_is_mounted(tmp_path, mount, words):
    """Both are said in plain words, and nothing is changed."""
    (tmp_path / "r/etc").mkdir(parents=True)
    (tmp_path / "r/etc/x.conf").write_bytes(b"old\n")
    script = (
        "import pathlib, sys\nfrom tests.fix import test_write as t\nfrom gpudoctor.fix.write import NotWritten\n"
        "try:\n    print(t.replace(pathlib.Path(sys.argv[1]), '/etc/x.conf', b'old\\n', b'new\\n').problem)\n"
        "except NotWritten as refused:\n    print(refused)\n"
    )
    import sys

    ran = subprocess.run(
        ["unshare", "-m", "sh", "-c", f'R="$1"; {mount} exec "$2" -c "$3" "$1"', "sh", str(tmp_path / "r"), sys.executable, script],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if "unshare" in ran.stderr:
        pytest.skip("no private mount namespace is to be had here")
    assert words in ran.stdout, ran.stderr
    assert (tmp_path / "r/etc/x.conf").read_bytes() == b"old\n"


HOST = """A host with links.
-- /etc/real.conf --
x
-- /etc/link.conf -- link real.conf
-- /etc/dangling.conf -- link /srv/conf/there.conf
-- /etc/one -- link two
-- /etc/two -- link one
-- /srv -- dir
"""


def test_links_are_resolved_and_circles_refused():
    """An edit through a link changes what it leads to; a dangling one makes its target; a circle is refused."""
    host = hostfile.parse(HOST.encode())
    assert plan.target_of(host, "/etc/link.conf") == "/etc/real.conf"
    assert plan.target_of(host, "/etc/dangling.conf") == "/srv/conf/there.conf"
    with pytest.raises(Refused, match="circle"):
        plan.target_of(host, "/etc/one")


def test_the_journal_is_for_its_owner_alone_and_follows_no_link(tmp_path):
    """The folder is 0700 and each file 0600; a folder that others may read, or a link in its place, is refused."""
    root = transaction.make_root(tmp_path)
    assert not transaction.carry_out(root).problem
    folder = root / "var/lib/gpudoctor"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in folder.iterdir())
    folder.chmod(0o755)
    with pytest.raises(NotWritten, match="0700"):
        transaction.hands(root).journal.lock()
    folder.rename(tmp_path / "moved")
    folder.symlink_to(tmp_path / "moved")
    with pytest.raises(NotWritten, match="0700"):
        transaction.hands(root).journal.lock()


def test_a_planted_temporary_file_is_not_followed(tmp_path, monkeypatch):
    """A link under the name of the temporary file makes the fix fail, and what it leads to is not written."""
    root = transaction.make_root(tmp_path)
    victim = tmp_path / "victim"
    victim.write_bytes(b"untouched")
    monkeypatch.setattr(Journal, "new_id", lambda _: "20260101-000000-00000")
    (root / "etc/.a.conf.gpudoctor-20260101-000000-00000").symlink_to(victim)
    done = transaction.carry_out(root)
    assert done.problem
    assert victim.read_bytes() == b"untouched"
    assert transaction.state(root) == transaction.OLD


def test_the_second_waits_or_says_who_holds_the_lock(tmp_path):
    """Whoever comes second is told which process changes the host."""
    root = transaction.make_root(tmp_path)
    first = transaction.hands(root).journal
    first.lock()
    try:
        with pytest.raises(Locked, match=f"process {os.getpid()}"):
            transaction.hands(root).journal.lock(wait=0.2)
    finally:
        first.unlock()
    transaction.hands(root).journal.lock(wait=0)


def test_the_journal_is_bounded(tmp_path, monkeypatch):
    """Old finished entries go; an open one and the newest never."""
    from gpudoctor.fix import journal

    monkeypatch.setattr(journal, "_KEPT", 3)
    root = transaction.make_root(tmp_path)
    for _ in range(3):
        assert not transaction.carry_out(root).problem
        for path, data in transaction.OLD.items():
            file = Path(f"{root}{path}")
            if data is None:
                file.unlink()
            else:
                file.write_bytes(data)
                file.chmod(0o640)
    assert not transaction.carry_out(root).problem
    assert len(transaction.hands(root).journal.entries()) == 3


def test_undo_is_byte_exact_and_an_undo_can_be_undone(tmp_path):
    """Back and forth: old, new, old, new, each time byte for byte, with the modes."""
    root = transaction.make_root(tmp_path)
    first = transaction.carry_out(root)
    using = transaction.hands(root)
    using.journal.lock()
    wanted = transaction.OLD
    for _ in range(4):
        entry = using.journal.entries()[-1]
        assert not apply.diverged(using, entry)
        done = apply.execute(using, apply.backwards(entry), entry.rules, allow_restart=False, undoes=entry.id)
        assert not done.problem
        assert transaction.state(root) == wanted
        wanted = transaction.NEW if wanted == transaction.OLD else transaction.OLD
    assert first.id
    latest = apply.latest(using.journal)
    assert latest is None or latest.id == first.id


def test_what_was_changed_since_is_not_taken_back(tmp_path):
    """A file that someone else changed after the fix is named, with both changes."""
    root = transaction.make_root(tmp_path)
    transaction.carry_out(root)
    (root / "etc/a.conf").write_bytes(b"by hand\n")
    using = transaction.hands(root)
    (apart,) = apply.diverged(using, using.journal.entries()[-1])
    assert apart == ("/etc/a.conf", b"one\r\ntwo", b"one\r\nTWO", b"by hand\n")
