"""A host whose root is mounted somewhere (``--root /host``): its files are read, nothing of it is run.

Links, absolute ones and ``..`` too, are resolved inside the root and never lead outside. Commands and environment variables are
``Unseen``, and so is what is missing below /proc, /sys, /dev and /run where these are not mounted there: an empty
/proc of a disk image says nothing about the machine.
"""

from __future__ import annotations

import os

from gpudoctor.host import Absent, Denied, Host, Miss, Ran, Stat, Unseen
from gpudoctor.host.live import list_folder, read_file, stat_path

_RUNTIME = ("/proc", "/sys", "/dev", "/run", "/var/run")


class Tree(Host):
    """A mounted root file system."""

    def __init__(self, root: str) -> None:
        """Take the folder; raises Absent or Denied where it is not a folder that can be listed."""
        self.root = os.path.realpath(root)
        list_folder(self.root, root)
        alive = bool(self._entries("/proc"))
        self._quiet = tuple(
            mount for mount in _RUNTIME if not (alive and mount != "/sys") and not (mount == "/sys" and self._entries("/sys"))
        )

    def read(self, path: str) -> bytes:
        """Return the bytes of a regular file inside the root."""
        try:
            return read_file(self.root + self.real(path), path)
        except Absent as missed:
            raise self._missed(path, missed) from None

    def list(self, path: str) -> tuple[str, ...]:
        """Return the sorted names in a folder inside the root."""
        try:
            return list_folder(self.root + self.real(path), path)
        except Absent as missed:
            raise self._missed(path, missed) from None

    def stat(self, path: str) -> Stat:
        """Return what is at ``path`` inside the root; only the final component is not followed."""
        folder, _, name = path.rstrip("/").rpartition("/")
        try:
            inside = self.real(folder) if folder else ""
            if inside == "/":
                inside = ""
            if name == "..":
                raise Denied(path, "leads out of the folder it was asked in")
            return stat_path(f"{self.root}{inside}/{name}", path)
        except Absent as missed:
            raise self._missed(path, missed) from None

    def _resolved(self, path: str) -> Stat:
        # Not by `stat`, which would resolve the folder again, and each folder above it: 2 to the power of the depth.
        try:
            return stat_path(self.root + path, path)
        except Absent as missed:
            raise self._missed(path, missed) from None

    def run(self, *argv: str) -> Ran:
        """Never run anything of a mounted root."""
        raise Unseen(" ".join(argv), "a mounted root runs no commands")

    def env(self, name: str) -> str:
        """Know no environment of a mounted root."""
        raise Unseen(f"${name}", "a mounted root has no environment")

    def _entries(self, path: str) -> tuple[str, ...]:
        try:
            return list_folder(self.root + path, path)
        except Miss:
            return ()

    def _missed(self, path: str, missed: Absent) -> Miss:
        if path.startswith(tuple(f"{mount}/" for mount in self._quiet)) or path in self._quiet:
            return Unseen(path, "not mounted in this root")
        return Absent(path, missed.why)
