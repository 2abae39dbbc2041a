"""What was changed, with the originals: written and flushed before the first file is touched, so that it can always be taken back.

One file an entry in a folder that only its owner may look into. ``ID.open`` is under way, or was interrupted; it becomes ``ID.json``
when it is finished. Whoever finds an ``ID.open`` while holding the lock knows that it was interrupted.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from typing import TYPE_CHECKING, Any, Literal

from gpudoctor.fix.write import NotWritten, said
from gpudoctor.model import Change, Then
from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

State = Literal["open", "done", "reverted", "conflict"]
"""open: under way; done: carried out; reverted: failed or interrupted, and taken back at once; conflict: the same, but someone else
changed a file in between, which was left as it is."""

FOLDER = "/var/lib/gpudoctor"
_KEPT = 200  # finished entries
_KEPT_BYTES = 64 << 20
_WAIT = 10.0  # seconds for another gpudoctor to finish


class Locked(Exception):  # noqa: N818 - a result
    """Another gpudoctor changes this host; the text says which process."""


class Written(NamedTuple):
    """One file of an entry: the change, its temporary name, and the owner (uid, gid) of what was there before."""

    change: Change
    temporary: str
    owner: tuple[int, int] | None


class Entry(NamedTuple):
    """One fix, or one undo of one (``undoes``).

    ``then`` are the commands that it runs, ``begun`` how many of them were begun, ``left`` those that are for the user; ``folders``
    were made for it.
    """

    id: str
    when: str
    state: State
    rules: tuple[str, ...]
    written: tuple[Written, ...]
    folders: tuple[str, ...] = ()
    then: tuple[Then, ...] = ()
    begun: int = 0
    undoes: str = ""
    left: tuple[Then, ...] = ()


def in_force(entries: Sequence[Entry]) -> frozenset[str]:
    """Return the names of the entries that are in force: carried out, and not taken back by a later one that is in force itself."""
    undone: set[str] = set()
    found = set()
    for entry in reversed(entries):
        if entry.state == "done" and entry.id not in undone:
            found.add(entry.id)
            undone.add(entry.undoes)
    return frozenset(found)


class Journal:
    """The journal of one host, below ``root`` (empty for this machine)."""

    def __init__(self, root: str = "", folder: str | None = None) -> None:
        """Take the host's root; ``folder`` is where the journal is, by default that of root or of the user who is not root."""
        own = folder or (FOLDER if root or os.geteuid() == 0 else f"{_state_home()}/gpudoctor")
        self.folder = f"{root.rstrip('/')}{own}"
        self._lock: int | None = None

    def exists(self) -> bool:
        """Say whether anything was ever changed here, so that there is something to lock."""
        return os.path.lexists(self.folder)

    def lock(self, wait: float = _WAIT) -> None:
        """Take the lock, waiting for at most ``wait`` seconds; raises Locked, and NotWritten where the folder cannot be made."""
        import fcntl

        self._make()
        try:
            handle = os.open(f"{self.folder}/lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise said(f"{self.folder}/lock", error) from None
        until = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until:
                    holder = os.pread(handle, 200, 0).decode("utf-8", "replace").strip()
                    os.close(handle)
                    raise Locked(f"another gpudoctor changes this host ({holder or 'process unknown'})") from None
                time.sleep(0.05)
            except OSError as error:
                os.close(handle)
                raise said(f"{self.folder}/lock", error) from None
        self._lock = handle
        # Only for the message of whoever waits: a full disk is no reason to stop here.
        with contextlib.suppress(OSError):
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"process {os.getpid()}".encode(), 0)

    def unlock(self) -> None:
        """Give the lock back; the file stays, since removing it would let two in."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def entries(self) -> tuple[Entry, ...]:
        """Return all entries, the oldest first; one that cannot be read is left out (``damaged`` names it)."""
        return tuple(entry for _, entry in self._all() if entry is not None)

    def damaged(self) -> tuple[str, ...]:
        """Return the paths of entries that cannot be read."""
        return tuple(path for path, entry in self._all() if entry is None)

    def save(self, entry: Entry) -> None:
        """Write an entry and flush it; the file of its earlier state goes."""
        path = self._path(entry)
        self._write(path, _packed(entry))
        other = f"{self.folder}/{entry.id}.{'json' if entry.state == 'open' else 'open'}"
        try:
            os.unlink(other)
            _flush(self.folder)
        except FileNotFoundError:
            return
        except OSError as error:
            raise said(other, error) from None

    def prune(self) -> None:
        """Forget the oldest finished entries where there are too many, or where they take too much room."""
        files = [f"{self.folder}/{name}" for name in sorted(os.listdir(self.folder), reverse=True) if name.endswith(".json")]
        total = 0
        for at, path in enumerate(files):
            total += os.lstat(path).st_size
            if at >= _KEPT or (at and total > _KEPT_BYTES):
                # What cannot be forgotten now is forgotten the next time.
                with contextlib.suppress(OSError):
                    os.unlink(path)

    def new_id(self) -> str:
        """Return a fresh name: the time in UTC, to the millisecond so that names sort, and a few random letters."""
        now = time.time()
        return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}-{int(now * 1000) % 1000:03d}{os.urandom(1).hex()}"

    def _path(self, entry: Entry) -> str:
        return f"{self.folder}/{entry.id}.{'open' if entry.state == 'open' else 'json'}"

    def _make(self) -> None:
        try:
            os.makedirs(self.folder, 0o700, exist_ok=True)
            info = os.lstat(self.folder)
        except OSError as error:
            raise said(self.folder, error) from None
        if not _is_private_folder(info):
            raise NotWritten(self.folder, "the journal's folder must be a folder of its owner's alone (mode 0700), and no link")

    def _all(self) -> Iterator[tuple[str, Entry | None]]:
        try:
            names = sorted(os.listdir(self.folder))
        except FileNotFoundError:
            return
        except OSError as error:
            raise said(self.folder, error) from None
        for name in names:
            if not name.endswith((".open", ".json")):
                continue
            path = f"{self.folder}/{name}"
            try:
                handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
                with os.fdopen(handle, "rb") as file:
                    yield path, _unpacked(file.read())
            except OSError as error:
                if error.errno != errno.ELOOP:
                    raise said(path, error) from None
                yield path, None
            except (ValueError, KeyError, TypeError):
                yield path, None

    def _write(self, path: str, data: bytes) -> None:
        temporary = f"{path}.new"
        try:
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                left = memoryview(data)
                while left:
                    left = left[os.write(handle, left) :]
                os.fsync(handle)
            finally:
                os.close(handle)
            os.rename(temporary, path)
            _flush(self.folder)
        except OSError as error:
            raise said(path, error) from None


def _is_private_folder(info: os.stat_result) -> bool:
    import stat as st

    return st.S_ISDIR(info.st_mode) and not info.st_mode & 0o077 and info.st_uid == os.geteuid()


def _state_home() -> str:
    return os.environ.get("XDG_STATE_HOME") or f"{os.path.expanduser('~')}/.local/state"


def _flush(folder: str) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _packed(entry: Entry) -> bytes:
    import base64
    import json

    def coded(data: bytes | None) -> str | None:
        return None if data is None else base64.b64encode(data).decode()

    value: dict[str, Any] = {"schema": 1, **entry._asdict()}
    value["written"] = [
        {
            **each.change._asdict(),
            "before": coded(each.change.before),
            "after": coded(each.change.after),
            "temporary": each.temporary,
            "owner": each.owner,
        }
        for each in entry.written
    ]
    value["then"] = [step._asdict() for step in entry.then]
    value["left"] = [step._asdict() for step in entry.left]
    return json.dumps(value).encode()


def _unpacked(data: bytes) -> Entry:
    import base64
    import json

    def plain(text: str | None) -> bytes | None:
        return None if text is None else base64.b64decode(text, validate=True)

    value = json.loads(data)
    if value.pop("schema") != 1:
        raise ValueError("an entry of another version")
    written = []
    for each in value["written"]:
        temporary, owner = each.pop("temporary"), each.pop("owner")
        change = Change(**{**each, "before": plain(each["before"]), "after": plain(each["after"])})
        written.append(Written(change, temporary, None if owner is None else (owner[0], owner[1])))
    lists: dict[str, Any] = {"rules": tuple(value["rules"]), "folders": tuple(value["folders"]), "written": tuple(written)}
    for name in ("then", "left"):
        lists[name] = tuple(
            Then(tuple(step["argv"]), step["safety"], step["why"], None if step["undo"] is None else tuple(step["undo"]))
            for step in value[name]
        )
    return Entry(**{**value, **lists})
