"""What `doctor` is given to judge on a host: an image's name, a Dockerfile, containers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts import File, Given
from gpudoctor.host import NoAnswer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gpudoctor.facts import Facts

_LIMIT = 4 * 1024 * 1024
_ALPHANUMERIC = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def read(image: str | None, dockerfile: str | None, containers: Sequence[str] = (), *, all_containers: bool = False) -> Given:
    """Return what was given; raises ValueError with one sentence where it cannot be: a bad name, an unreadable file, no Dockerfile."""
    if (image is not None) + (dockerfile is not None) + bool(containers) + all_containers > 1:
        raise ValueError("--image, --dockerfile, --container and --all-containers exclude each other")
    for name in containers:
        if not name[:1].isalnum() or not name.isascii() or name.strip("_.-" + _ALPHANUMERIC):
            raise ValueError(f"--container {name!r} is no container's name or id")
    if image is not None and (not image or image.startswith("-") or not image.isprintable() or " " in image):
        raise ValueError(f"--image {image!r} is no image's name")
    return Given(
        image or "", None if dockerfile is None else _dockerfile(dockerfile), tuple(dict.fromkeys(containers)), all_containers
    )


class Unreadable(ValueError):  # noqa: N818 - a result: what the user named cannot be read
    """A file that the user named cannot be read; the text is one phrase with its path."""


def read_named(path: str) -> bytes:
    """Return the bytes of a file that the user named: a regular one of at most 4 MiB; raises Unreadable."""
    from gpudoctor.host.hostfile import BadHost, open_regular

    try:
        with open_regular(path) as handle:
            data = handle.read(_LIMIT + 1)
    except BadHost as bad:
        raise Unreadable(str(bad)) from None
    except OSError as error:
        raise Unreadable(f"{path}: {(error.strerror or str(error)).lower()}") from None
    if len(data) > _LIMIT:
        raise Unreadable(f"{path}: is larger than {_LIMIT >> 20} MiB")
    return data


def _dockerfile(path: str) -> File:
    from gpudoctor.formats import Malformed
    from gpudoctor.formats.dockerfile import parse

    try:
        data = read_named(path)
        parse(data)
    except Unreadable as unreadable:
        raise ValueError(f"--dockerfile {unreadable}") from None
    except Malformed as bad:
        raise ValueError(f"--dockerfile {path}: {bad}") from None
    return File(path, data)


def unknown(facts: Facts) -> bool:
    """Say whether a container was named that is not on this host."""
    try:
        return bool(facts.given.containers and facts.containers.missing)
    except NoAnswer:
        return False


def remarks(facts: Facts) -> Iterator[str]:
    """Yield what was not looked at, one sentence each."""
    if facts.given.has("container"):
        try:
            yield from (f"there is no container {name}" for name in facts.containers.missing)
            if not facts.containers.names:
                yield "no container runs"
        except NoAnswer as missed:
            yield f"not examined: {missed}"
        return
    if not facts.given.has("image"):
        return
    image = facts.image
    try:
        if not image.is_here:
            yield f"{image.base.name} is not on this host, or Docker does not answer: only its name was judged"
            return
        if image.unread:
            yield f"not examined: {image.unread}"
        elif not image.of_file:
            yield "not examined: the files in the image's layers; its variables and its build history were"
    except NoAnswer as missed:
        yield f"not examined: {missed}"
