"""An installed package, the same value whether dpkg, rpm or pacman told of it."""

from __future__ import annotations

from gpudoctor.values import NamedTuple


class Package(NamedTuple):
    """One package of the distribution's package manager.

    `version` is the full one of the distribution (`550.163.01-2`, `1:1.17.8-1`). `status` is dpkg's own three
    words, for instance "install ok installed" or "install ok half-configured"; rpm and pacman list only what
    is installed, so theirs is always "installed". `architecture` is empty where the source does not tell.
    """

    name: str
    version: str
    status: str
    architecture: str
