"""What `doctor` is given to judge on a host: an image's name, a Dockerfile, containers, Compose files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts import File, Given
from gpudoctor.host import NoAnswer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gpudoctor.facts import Facts

_LIMIT = 4 * 1024 * 1024
_MOST_BESIDE = 100
"""How many files that Compose files name are read at most."""
_OVERRIDES = ("compose.override.yaml", "compose.override.yml", "docker-compose.override.yml", "docker-compose.override.yaml")
_ALPHANUMERIC = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def read(
    image: str | None,
    dockerfile: str | None,
    containers: Sequence[str] = (),
    compose: Sequence[str] = (),
    *,
    all_containers: bool = False,
) -> Given:
    """Return what was given; raises ValueError with one sentence where it cannot be: a bad name, an unreadable file, no Dockerfile."""
    if (image is not None) + (dockerfile is not None) + bool(containers) + all_containers + bool(compose) > 1:
        raise ValueError("--image, --dockerfile, --container, --all-containers and --compose exclude each other")
    if compose:
        return composed(compose)
    for name in containers:
        if not name[:1].isalnum() or not name.isascii() or name.strip("_.-" + _ALPHANUMERIC):
            raise ValueError(f"--container {name!r} is no container's name or id")
    if image is not None and (not image or image.startswith("-") or not image.isprintable() or " " in image):
        raise ValueError(f"--image {image!r} is no image's name")
    file = None if dockerfile is None else _dockerfile(dockerfile)
    given = Given(image or "", file, tuple(dict.fromkeys(containers)), all_containers)
    return given if file is None else given._replace(beside=requirements_beside(file))


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


def requirements_beside(file: File) -> tuple[File, ...]:
    """Return the requirements files that a Dockerfile installs from its own folder, named from there.

    The folder of the Dockerfile is taken for the build context. A file that leads out of it, is no regular one or is too large is left
    out: what it asks for is then not known.
    """
    import os

    from gpudoctor.formats import build_context
    from gpudoctor.formats.dockerfile import parse

    folder = os.path.dirname(file.path) or "."
    inside = os.path.join(os.path.realpath(folder), "")
    found: dict[str, File] = {}

    def read(path: str) -> bytes | None:
        full = os.path.join(folder, path)
        if path not in found and os.path.isfile(full) and os.path.realpath(full).startswith(inside):
            try:
                found[path] = File(path, read_named(full))
            except Unreadable:
                return None
        return found[path].data if path in found else None

    build_context.expand(parse(file.data), read)
    return tuple(found.values())


def composed(paths: Sequence[str]) -> Given:
    """Return Compose files with what they name; raises ValueError with one sentence for what cannot be read or is no Compose file.

    What they name beside them is read where it is there: a file by ``include``, ``extends`` or ``env_file``, and ``.env`` beside the first.
    """
    import os

    from gpudoctor.facts.composed import beside
    from gpudoctor.formats import Malformed, compose
    from gpudoctor.formats import composed as merging

    files: list[File] = []
    try:
        for path in paths:
            data = read_named(path)
            files.append(File(path, data))
            compose.parse(data)
    except Unreadable as unreadable:
        raise ValueError(f"--compose {unreadable}") from None
    except Malformed as bad:
        raise ValueError(f"--compose {path}{f':{bad.line}' if bad.line else ''}: {bad.reason}") from None
    named: dict[str, File] = {}

    def other(path: str, wanted: str) -> tuple[str, bytes] | None:
        there = beside(path, wanted, files)
        own = next((each for each in files if os.path.normpath(each.path) == there), None)
        if own is None and there not in named and len(named) < _MOST_BESIDE:
            try:
                named[there] = File(there, read_named(there))
            except Unreadable:
                return None
        found = own or named.get(there)
        return None if found is None else (found.path, found.data)

    dotenv = other(files[0].path, ".env")
    variables = merging.env_file(dotenv[1], lambda _: None) if dotenv is not None else {}
    try:
        made = merging.merged(tuple((each.path, each.data) for each in files), other, variables.get)
    except Malformed as bad:
        raise ValueError(f"--compose {bad.path}{f':{bad.line}' if bad.line else ''}: {bad.reason}") from None
    for service in made.services.values():
        for each in service.all("env_file"):
            path_of = each.get("path") if each.kind == "map" else each
            if path_of is not None:
                other(made.homes.get(each.file, each.file), path_of.text)
    return Given(compose=tuple(files), compose_beside=tuple(named.values()))


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
    if facts.given.has("compose"):
        yield from _of_compose(facts)
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


def _of_compose(facts: Facts) -> Iterator[str]:
    """Yield what was not looked at in Compose files, and what Compose would look at beside them."""
    import os

    from gpudoctor.facts.composed import beside

    given = facts.given.compose
    try:
        services, includes = facts.composed.services, facts.composed.merged.includes
        program = facts.composed.program
    except NoAnswer as missed:
        yield f"not examined: {missed}"
        return
    if not services:
        yield f"{given[0].path} has no services"
    for each in includes:
        named = each.get("path") if each.kind == "map" else each
        yield f"not examined: {named.text if named is not None else 'a file'} ({each.file}:{each.line}, include)"
    for service in services:
        if service.lacking:
            yield f"not wholly known: the service {service.name} ({service.value.file}:{service.value.line}): {service.lacking}"
        profiles = service.value.all("profiles")
        if profiles and service.signs:
            names = ", ".join(each.text for each in profiles)
            yield f"{service.name} runs only with a profile ({names}): docker compose --profile {profiles[0].text} up"
    paths = {os.path.normpath(each.path) for each in given}
    if len(given) == 1 and os.path.basename(given[0].path).startswith(("compose.y", "docker-compose.y")):
        for name in _OVERRIDES:
            path = beside(given[0].path, name)
            if path not in paths and os.path.exists(path):
                yield f"{path} is beside it: without -f Compose takes it too; give --compose twice to judge both"
    if facts.podman.poses_as_docker and program is None:
        yield "docker is podman here, and podman-compose reads these files in its own way"
