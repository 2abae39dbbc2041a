"""The only door to a bundle's files: nothing outside its root is opened, no link out of it followed, no FIFO or device waited for.

Paths are relative to the root, with ``/``; "" is the root. Each component is opened from the folder before it without following links,
and links are followed here, by their text: what a bundle's author can write never leads to another file of the host.
"""

from __future__ import annotations

import errno
import os
import stat as st
from typing import TYPE_CHECKING, BinaryIO

from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from typing import Literal

MOST_ENTRIES = 100_000
MOST_LEVELS = 100
"""How deep a path goes: each level takes a file descriptor while it is walked."""
_MOST_LINKS = 40
_SEARCH = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Entry(NamedTuple):
    """What is at a path, itself; ``size`` is in bytes, ``target`` is a link's text."""

    path: str
    kind: Literal["file", "dir", "link", "other"]
    size: int
    target: str = ""


class Leaves(Exception):  # noqa: N818 - named for what the path does
    """A path or a link leads out of the bundle; ``target`` is the text that does it."""

    def __init__(self, path: str, target: str) -> None:
        """Take the path that was asked for, and what leads out."""
        super().__init__(f"{path} leads out of the bundle ({target})")
        self.path = path
        self.target = target


class Files:
    """A bundle's tree. With ``only``, the bundle is these files of a folder: they alone are listed, those beside them can be opened.

    Files that ``only`` names may be links to anywhere, because the user named them. ``beside`` has folders that the bundle is served
    with but that lie elsewhere (the models in BentoML's store): a path in the bundle, and the folder that is seen there. ``whole`` and
    ``unread`` tell of ``entries()`` whether it has everything, and which folders could not be listed.
    """

    def __init__(self, root: str, only: tuple[str, ...] = (), beside: tuple[tuple[str, str], ...] = ()) -> None:
        """Take the folder, of a bundle that is no folder the names of its files in it, and what is seen in it from elsewhere."""
        self.root = os.path.realpath(root)
        self.only = only
        self.beside = beside
        self._beside = tuple((path, Files(folder)) for path, folder in beside)
        self.whole = True
        self.unread: tuple[str, ...] = ()
        self._entries: tuple[Entry, ...] | None = None

    def entries(self) -> tuple[Entry, ...]:
        """Return everything in the tree, sorted by path, links not followed: at most the first 100,000, at most 100 levels deep."""
        if self._entries is None:
            if self.only:
                found = [entry for name in self.only if (entry := self.entry(name)) is not None]
            else:
                found = []
                unread: list[str] = []
                self._walk("", 0, found, unread)
                self.unread = tuple(unread)
                for path, other in self._beside:
                    found += [_below(path, each) for each in other.entries()]
                    self.whole = self.whole and other.whole
            self._entries = tuple(sorted(found))
        return self._entries

    def children(self, folder: str) -> tuple[Entry, ...]:
        """Return what is directly in a folder, sorted, links not followed; nothing where it is absent or no folder.

        At most the first 100,000. Of a bundle that is no folder, its own files alone are listed.
        """
        if self.only:
            return self.entries() if not folder else ()
        if (elsewhere := self._elsewhere(folder)) is not None:
            return tuple(_below(elsewhere[0], each) for each in elsewhere[1].children(elsewhere[2]))
        try:
            parts, fds = self._resolve(folder)
        except (Leaves, OSError):
            return ()
        try:
            found = self._list("/".join(parts), fds[-1]) if len(fds) == len(parts) + 1 else []
        except OSError:
            found = []
        finally:
            _close(fds)
        return tuple(sorted(found))

    def entry(self, path: str) -> Entry | None:
        """Return what is at a path, None where nothing is; never raises.

        Links that stay inside are followed, and ``path`` of the answer is where they lead. A link that leaves the bundle or goes round
        in circles is returned as itself (``link``); of a path that leaves it by itself (``../x``) there is nothing.
        """
        if path in self.only:
            try:
                return _entry(path, os.stat(os.path.join(self.root, path)))
            except (OSError, ValueError):
                return None
        if (elsewhere := self._elsewhere(path)) is not None:
            found = elsewhere[1].entry(elsewhere[2])
            return None if found is None else _below(elsewhere[0], found)
        try:
            parts, fds = self._resolve(path)
        except (Leaves, OSError) as error:
            looping = isinstance(error, OSError) and error.errno == errno.ELOOP
            return self._link(path) if isinstance(error, Leaves) or looping else None
        try:
            where = "/".join(parts)
            if len(fds) == len(parts) + 1:
                return Entry(where, "dir", 0)
            return _entry(where, os.lstat(parts[-1], dir_fd=fds[-1]))
        except OSError:
            return None
        finally:
            _close(fds)

    def has(self, path: str) -> bool:
        """Tell whether there is a regular file at a path, or at where a link inside leads."""
        found = self.entry(path)
        return found is not None and found.kind == "file"

    def read(self, path: str, limit: int = 4 * 1024 * 1024) -> bytes:
        """Return the first ``limit`` bytes of a file; raises as ``open`` does."""
        with self.open(path) as stream:
            return stream.read(limit)

    def open(self, path: str) -> BinaryIO:
        """Open a regular file for reading, buffered and seekable; the caller closes it.

        Raises ``Leaves`` for a path or a link out of the bundle, FileNotFoundError, or another OSError for what is no regular file.
        """
        if path in self.only:
            return _opened(os.path.basename(path), None, os.path.realpath(os.path.join(self.root, path)))
        if (elsewhere := self._elsewhere(path)) is not None:
            return elsewhere[1].open(elsewhere[2])
        parts, fds = self._resolve(path)
        try:
            if len(fds) == len(parts) + 1:
                raise IsADirectoryError(errno.EISDIR, "a folder, no file", path)
            return _opened(parts[-1], fds[-1], path)
        finally:
            _close(fds)

    def _elsewhere(self, path: str) -> tuple[str, Files, str] | None:
        """Return where a path is seen from elsewhere, the files there, and its path in them."""
        for start, files in self._beside:
            if path == start or path.startswith(f"{start}/"):
                return start, files, path[len(start) + 1 :]
        return None

    def _resolve(self, path: str) -> tuple[list[str], list[int]]:
        """Return the components of a path with its links followed, and descriptors of the root and of each folder on the way.

        Of a folder there is one descriptor more than components. The caller closes them.
        """
        parts: list[str] = []
        fds = [os.open(self.root, _SEARCH)]
        try:
            _follow(path, parts, fds)
        except ValueError:  # letters that no file name can have
            _close(fds)
            raise FileNotFoundError(errno.ENOENT, "no such file", path) from None
        except BaseException:
            _close(fds)
            raise
        return parts, fds

    def _link(self, path: str) -> Entry | None:
        """Return the link at the end of a path, or on its way, that does not lead to anything inside."""
        parts = [part for part in path.split("/") if part not in {"", "."}]
        if ".." in parts or path.startswith("/"):
            return None
        for end in range(1, len(parts) + 1):
            where = "/".join(parts[:end])
            try:
                _close(self._resolve(where)[1])
            except (Leaves, OSError):
                try:
                    folder, fds = self._resolve("/".join(parts[: end - 1]))
                    try:
                        target = os.readlink(parts[end - 1], dir_fd=fds[-1])
                    finally:
                        _close(fds)
                except (Leaves, OSError):
                    return None
                return Entry("/".join([*folder, parts[end - 1]]), "link", 0, target)
        return None

    def _walk(self, folder: str, level: int, found: list[Entry], unread: list[str]) -> None:
        # Links are not followed, so a folder's name is its path.
        try:
            _, fds = self._resolve(folder)
            try:
                entries = self._list(folder, fds[-1])
            finally:
                _close(fds)
        except (Leaves, OSError):
            unread.append(folder)
            return
        for entry in sorted(entries):
            if len(found) >= MOST_ENTRIES:
                self.whole = False
                return
            found.append(entry)
            if entry.kind == "dir":
                if level + 1 >= MOST_LEVELS:
                    self.whole = False
                else:
                    self._walk(entry.path, level + 1, found, unread)

    def _list(self, folder: str, fd: int) -> list[Entry]:
        handle = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
        found: list[Entry] = []
        try:
            with os.scandir(handle) as names:
                for each in names:
                    if len(found) > MOST_ENTRIES:
                        self.whole = False
                        break
                    path = f"{folder}/{each.name}" if folder else each.name
                    try:
                        about = each.stat(follow_symlinks=False)
                        target = os.readlink(each.name, dir_fd=handle) if st.S_ISLNK(about.st_mode) else ""
                    except OSError:  # it is gone since
                        continue
                    found.append(_entry(path, about, target))
        finally:
            os.close(handle)
        return found


def _follow(path: str, parts: list[str], fds: list[int]) -> None:
    """Walk a path from the root's descriptor on; adds to ``parts`` and ``fds``, and takes away for each ``..``."""
    if path.startswith("/"):
        raise Leaves(path, path)
    todo = path.split("/")[::-1]
    said = path
    links = 0
    while todo:
        part = todo.pop()
        if part in {"", "."}:
            continue
        if part == "..":
            if not parts:
                raise Leaves(path, said)
            parts.pop()
            os.close(fds.pop())
            continue
        mode = os.lstat(part, dir_fd=fds[-1]).st_mode
        if st.S_ISLNK(mode):
            links += 1
            said = os.readlink(part, dir_fd=fds[-1])
            if said.startswith("/"):
                raise Leaves(path, said)
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, "links that go round in circles", path)
            todo += said.split("/")[::-1]
        elif st.S_ISDIR(mode):
            if len(fds) > MOST_LEVELS:
                raise FileNotFoundError(errno.ENOENT, "too many folders in each other", path)
            fds.append(os.open(part, _SEARCH, dir_fd=fds[-1]))
            parts.append(part)
        elif any(each not in {"", "."} for each in todo):
            raise NotADirectoryError(errno.ENOTDIR, "a file on the way, no folder", path)
        else:
            parts.append(part)
            return


def _entry(path: str, about: os.stat_result, target: str = "") -> Entry:
    if st.S_ISREG(about.st_mode):
        return Entry(path, "file", about.st_size)
    if st.S_ISDIR(about.st_mode):
        return Entry(path, "dir", 0)
    return Entry(path, "link", 0, target) if st.S_ISLNK(about.st_mode) else Entry(path, "other", 0)


def _opened(name: str, folder: int | None, path: str) -> BinaryIO:
    """Open the regular file ``name`` of the folder with that descriptor, or of ``path`` where there is none."""
    where = path if folder is None else name
    # Looked at before it is opened, because opening a device has effects, and after it, because it may have been replaced.
    _regular(os.lstat(where, dir_fd=folder), path)
    handle = os.open(where, _READ, dir_fd=folder)
    try:
        _regular(os.fstat(handle), path)
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def _regular(about: os.stat_result, path: str) -> None:
    if not st.S_ISREG(about.st_mode):
        raise OSError(errno.EINVAL, "no regular file", path)


def _below(start: str, entry: Entry) -> Entry:
    return entry._replace(path=f"{start}/{entry.path}" if entry.path else start)


def _close(fds: list[int]) -> None:
    for each in fds:
        os.close(each)
