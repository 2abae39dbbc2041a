"""The door through which a host is written: a file is replaced whole or not at all.

The new bytes go into a temporary file in the same folder, with the old one's mode, owner and extended attributes (ACLs and the SELinux
label among them); it is flushed to the disk, renamed over the old one, and the folder is flushed. Killed at any instant, the
file is the old one or the new one. Paths are those of the host and are resolved before they come here: a link that turns up on
the way, or in the file's own place, is never followed.
"""

from __future__ import annotations

import errno
import os
import stat as st

from gpudoctor.values import NamedTuple

_FLAGS = 0x80086601  # FS_IOC_GETFLAGS of linux/fs.h, on 64-bit machines
_IMMUTABLE, _APPEND_ONLY = 0x10, 0x20

_SAID = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is mounted read-only",
    errno.EACCES: "permission is denied; run this with sudo",
    errno.EPERM: "the operation is not permitted; run this with sudo, and see whether lsattr shows the file as immutable",
    errno.EBUSY: "it is a mount point of its own (a file bound into place), so it cannot be replaced",
    errno.ELOOP: "a link turned up where there was none",
    errno.ESTALE: "the network file system lost it",
    errno.EIO: "the disk reports an error",
    errno.ENAMETOOLONG: "its name is too long",
}


class NotWritten(Exception):  # noqa: N818 - says what did not happen
    """A file could not be written: ``path``, and one phrase why.

    ``changed`` where it is no longer what the plan saw, ``needs_root`` where another user may write it.
    """

    def __init__(self, path: str, why: str, *, changed: bool = False, needs_root: bool = False) -> None:
        """Keep the path and the reason."""
        super().__init__(path, why)
        self.path = path
        self.why = why
        self.changed = changed
        self.needs_root = needs_root

    def __str__(self) -> str:
        """Return one phrase, such as ``/etc/docker/daemon.json: the disk is full``."""
        return f"{self.path}: {self.why}"


class Found(NamedTuple):
    """A file as it is: its bytes, permission bits, owner and group."""

    data: bytes
    mode: int
    uid: int
    gid: int


class Disk:
    """The file system below ``root`` (empty for this machine's own)."""

    def __init__(self, root: str = "") -> None:
        """Take the folder that is the host's root."""
        self.root = root.rstrip("/")

    def shown(self, path: str) -> str:
        """Return the path as this machine knows it."""
        return f"{self.root}{path}"

    def look(self, path: str) -> Found | None:
        """Return a file as it is, None where there is none; raises NotWritten where it is no regular file or cannot be read."""
        try:
            folder = self._folder(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise said(path, error) from None
        try:
            return _look(folder, path)
        except OSError as error:
            raise said(path, error) from None
        finally:
            os.close(folder)

    def missing_folders(self, path: str) -> tuple[str, ...]:
        """Return the folders that have to be made for a file, the outermost first."""
        missing: list[str] = []
        at = path.rpartition("/")[0]
        while at and not os.path.isdir(self.shown(at)):
            missing.insert(0, at)
            at = at.rpartition("/")[0]
        return tuple(missing)

    def make_folders(self, folders: tuple[str, ...], mode: int = 0o755) -> None:
        """Make folders that are not there."""
        for path in folders:
            try:
                parent = self._folder(path)
            except OSError as error:
                raise said(path, error) from None
            try:
                os.mkdir(_name(path), mode, dir_fd=parent)
                os.fsync(parent)
            except FileExistsError:
                pass
            except OSError as error:
                raise said(path, error) from None
            finally:
                os.close(parent)

    def remove_folders(self, folders: tuple[str, ...]) -> None:
        """Remove folders that were made for a file, as far as they are empty."""
        for path in reversed(folders):
            try:
                parent = self._folder(path)
            except OSError:
                continue
            try:
                os.rmdir(_name(path), dir_fd=parent)
                os.fsync(parent)
            except OSError as error:
                if error.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT, errno.EBUSY}:
                    raise said(path, error) from None
            finally:
                os.close(parent)

    def stage(self, path: str, temporary: str, data: bytes, mode: int, owner: tuple[int, int] | None = None) -> None:
        """Write the new bytes beside ``path`` under the name ``temporary``, as the old file is but for ``mode``, and flush them.

        ``owner`` (uid, gid) is for a file that is not there any more; a file that never was belongs to whoever writes.
        """
        try:
            folder = self._folder(path)
        except OSError as error:
            raise said(path, error) from None
        try:
            old = _open_old(folder, path)
            try:
                handle = os.open(
                    temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder
                )
                try:
                    _write(handle, data)
                    if old is not None:
                        info = os.fstat(old)
                        os.fchown(handle, info.st_uid, info.st_gid)
                    elif owner is not None and os.geteuid() == 0:
                        os.fchown(handle, *owner)
                    os.fchmod(handle, mode)
                    if old is not None:
                        _copy_attributes(old, handle, path)
                    os.fsync(handle)
                finally:
                    os.close(handle)
            finally:
                if old is not None:
                    os.close(old)
        except OSError as error:
            raise said(path, error) from None
        finally:
            os.close(folder)

    def commit(self, path: str, temporary: str | None, before: bytes | None) -> None:
        """Put the staged file into place, or remove ``path`` where there is none; only where it still is what ``before`` says."""
        try:
            folder = self._folder(path)
        except OSError as error:
            raise said(path, error) from None
        name = _name(path)
        try:
            now = _look(folder, path)
            if (None if now is None else now.data) != before:
                raise NotWritten(path, "it was changed by someone else in between", changed=True)
            if temporary is None:
                if now is not None:
                    os.unlink(name, dir_fd=folder)
            elif before is None:
                # A link fails where someone made the file in between; a rename would replace it.
                _link_new(temporary, name, folder, path)
            else:
                os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)
        except OSError as error:
            raise said(path, error) from None
        finally:
            os.close(folder)

    def discard(self, path: str, temporary: str) -> None:
        """Remove a staged file that was not put into place; nothing where there is none."""
        try:
            folder = self._folder(path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise said(path, error) from None
        try:
            os.unlink(temporary, dir_fd=folder)
            os.fsync(folder)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise said(path, error) from None
        finally:
            os.close(folder)

    def _folder(self, path: str) -> int:
        """Open the folder of a path without following a link on the way."""
        handle = os.open(self.root or "/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for part in path.split("/")[1:-1]:
            try:
                inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=handle)
            finally:
                os.close(handle)
            handle = inner
        return handle


def said(path: str, error: OSError) -> NotWritten:
    """Turn what the kernel said into a phrase for a person."""
    why = _SAID.get(error.errno or 0) or (os.strerror(error.errno).lower() if error.errno else str(error))
    return NotWritten(path, why, needs_root=error.errno == errno.EACCES)


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _look(folder: int, path: str) -> Found | None:
    try:
        handle = os.open(_name(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return None
    try:
        info = os.fstat(handle)
        if not st.S_ISREG(info.st_mode):
            raise NotWritten(path, "it is no regular file")
        parts = []
        while part := os.read(handle, 1 << 20):
            parts.append(part)
    finally:
        os.close(handle)
    return Found(b"".join(parts), st.S_IMODE(info.st_mode), info.st_uid, info.st_gid)


def _open_old(folder: int, path: str) -> int | None:
    """Open the file that is to be replaced, and say no where replacing it would harm; None where there is none."""
    try:
        handle = os.open(_name(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return None
    try:
        _refuse_harm(handle, folder, path)
    except BaseException:
        os.close(handle)
        raise
    return handle


def _refuse_harm(handle: int, folder: int, path: str) -> None:
    info = os.fstat(handle)
    if not st.S_ISREG(info.st_mode):
        raise NotWritten(path, "it is no regular file")
    if info.st_nlink > 1:
        raise NotWritten(path, f"it has {info.st_nlink} hard links, and replacing it would part them")
    if info.st_dev != os.fstat(folder).st_dev:
        raise NotWritten(path, _SAID[errno.EBUSY])
    if _attributes(handle) & (_IMMUTABLE | _APPEND_ONLY):
        raise NotWritten(path, f"it is immutable; `chattr -ia {path}` takes that away")


def _attributes(handle: int) -> int:
    """Return the file's attributes as chattr(1) sets them, 0 where the file system has none."""
    import fcntl
    import struct

    try:
        return int(struct.unpack("I", fcntl.ioctl(handle, _FLAGS, b"\0" * 8)[:4])[0])
    except OSError:
        return 0


def _write(handle: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(handle, left) :]


def _copy_attributes(old: int, new: int, path: str) -> None:
    """Copy extended attributes: ACLs, the SELinux label, capabilities."""
    try:
        names = os.listxattr(old)
    except OSError as error:
        if error.errno in {errno.ENOTSUP, errno.ENOSYS}:
            return
        raise
    for name in names:
        value = os.getxattr(old, name)
        try:
            os.setxattr(new, name, value)
        except OSError as error:
            # A label that the kernel gave the new file by itself need not be set.
            if _same_attribute(new, name, value):
                continue
            raise NotWritten(
                path, f"its extended attribute {name} cannot be kept ({os.strerror(error.errno or 0).lower()})"
            ) from None


def _same_attribute(handle: int, name: str, value: bytes) -> bool:
    try:
        return os.getxattr(handle, name) == value
    except OSError:
        return False


def _link_new(temporary: str, name: str, folder: int, path: str) -> None:
    try:
        os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except FileExistsError:
        raise NotWritten(path, "someone else made it in between", changed=True) from None
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}:
            raise
        # FAT has no hard links; a boot partition is often FAT.
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        return
    os.unlink(temporary, dir_fd=folder)
