"""The requirements files of a build context, put in the place of the ``pip install -r`` that names them.

``pip install -r requirements.txt`` names a file of the image. Which file of the build context that is follows from the COPY, ADD and
RUN --mount before it: `expand` works it out, reads it through the function that it is given, and follows the files that it names.
What cannot be worked out stays as it was, a package of the manager ``file``: a file from another stage, one that a command wrote or
changed, one outside of the context, one that is not there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.formats import dockerfile as docker
from gpudoctor.formats import pip_requirements as pip
from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gpudoctor.formats.dockerfile import Command, Copy, Dockerfile, Package

    Read = Callable[[str], bytes | None]

MOST_FILES = 50
"""Requirements files that are read for one Dockerfile; real ones name a handful."""
_READING = frozenset(
    {"pip", "pip3", "uv", "python", "python3", "cat", "ls", "echo", "head", "tail", "test", "[", "wc", "sha256sum", "rm", "cd"}
)
"""Programs that may be given a file's name and do not change it."""
_PATTERN = frozenset("*?[")


class _Asked(NamedTuple):
    """What the files of one pip command ask for together."""

    packages: list[Package]
    bounds: list[pip.Requirement]
    indexes: list[str]
    others: list[str]


def expand(file: Dockerfile, read: Read) -> tuple[Package, ...]:
    """Return what a Dockerfile's commands install or remove, the lines of requirements files among it.

    ``read`` takes a path below the build context, without ``..``, and returns what is in the file, None where there is none.
    """
    found: list[Package] = []
    left = [MOST_FILES]
    for at, command in enumerate(file.commands):
        group = list(docker.packages([command]))
        if any(each.option for each in group):
            found += _command(file, at, group, read, left)
        else:
            found += group
    return tuple(found)


def _command(file: Dockerfile, at: int, group: list[Package], read: Read, left: list[int]) -> list[Package]:
    """Return the packages of one pip command, its files read."""
    asked = _Asked([], [], [], [])
    command = file.commands[at]
    for each in group:
        if not each.option:
            asked.packages.append(each._replace(step=each.line))
            continue
        path = docker.within(command.folder, each.words)
        _file(file, at, each, path, read, left, asked, set())
    indexes = (asked.indexes[-1],) if asked.indexes else group[0].indexes
    others = (*group[0].others, *asked.others)
    return [
        _bounded(each, asked.bounds)._replace(indexes=indexes, others=others) if each.manager == "pip" else each
        for each in asked.packages
    ]


def _file(
    file: Dockerfile, at: int, named: Package, path: str, read: Read, left: list[int], asked: _Asked, seen: set[str]
) -> None:
    """Add what a requirements file of the image asks for; where it cannot be read, the file itself."""
    if path in seen and path:
        return
    source, data = _source(file, at, path, read) if left[0] > 0 else ("", None)
    if data is None:
        asked.packages.append(named)
        return
    left[0] -= 1
    seen.add(path)
    content = pip.parse(pip.decode(data))
    options = content.options
    asked.indexes.extend(each.value for each in options.indexes)
    if options.no_index:
        asked.indexes.append("--no-index")
    asked.others.extend(each.value for each in (*options.others, *options.links))
    step = named.step or named.line
    own = named._replace(file=source, step=step, extras=(), spec="")
    folder = path.rpartition("/")[0] or ("/" if path.startswith("/") else ".")
    for option, files in (("-c", options.constraints), ("-r", options.files)):
        for each in files:
            below = own._replace(
                name=each.value, words=each.value, line=each.line, option="-c" if named.option == "-c" else option
            )
            _file(file, at, below, docker.within(folder, each.value), read, left, asked, seen)
    if named.option == "-c":
        asked.bounds.extend(content.requirements)
        # A bound for some Pythons only, or an address, says too little of what is installed: the file counts as not read.
        if any(pip.holds(each.marker) is None or each.url for each in content.requirements):
            asked.packages.append(named)
        return
    for one in content.requirements:
        words = one.name + (f"[{','.join(one.extras)}]" if one.extras else "") + one.spec
        spec = one.spec or ("@" if one.url else "")
        line = own._replace(marker=one.marker, line=one.line, option="")
        if one.name:
            asked.packages.append(line._replace(manager="pip", name=one.name, extras=one.extras, spec=spec, words=words))
        else:
            asked.packages.append(line._replace(name=one.url, words=one.url))


def _bounded(package: Package, bounds: list[pip.Requirement]) -> Package:
    """Return a package with what the constraints add to its version."""
    if package.removed or package.spec == "@" or (package.spec.startswith("==") and "*" not in package.spec):
        return package
    spec = package.spec
    for each in bounds:
        if each.name != package.name or not each.spec or not pip.holds(each.marker):
            continue
        exact = each.spec.startswith("==") and "*" not in each.spec and "," not in each.spec
        spec = each.spec if exact else f"{spec},{each.spec}".strip(",")
        if exact:
            break
    return package if spec == package.spec else package._replace(spec=spec, words=f"{package.words} (bounded to {spec})")


def _source(file: Dockerfile, at: int, path: str, read: Read) -> tuple[str, bytes | None]:
    """Return the file of the context that a path of the image is when a command runs, and what is in it; None where that is not known."""
    command = file.commands[at]
    if not path or _changed(file.commands[:at], path, command):
        return "", None
    before = [copy for copy in file.copies if copy.line < command.line]
    for copy in (*command.mounts, *reversed(before)):
        target = docker.within(copy.folder, copy.target)
        if not target:
            return "", None
        below = target in {path, "/"} or path.startswith(f"{target}/") or (target == "." and not path.startswith("/"))
        if copy.origin and below:
            return "", None
        for candidate in _candidates(copy, target, path) if below else ():
            data = read(candidate)
            if data is not None:
                return candidate, data
    return "", None


def _candidates(copy: Copy, target: str, path: str) -> Iterator[str]:
    """Yield the files of the context that a COPY may have brought to a path: the source itself, a source in a folder, one below it."""
    rest = path.removeprefix(target if target not in {".", "/"} else "").lstrip("/")
    for source in copy.sources:
        if "://" in source or source.startswith("<<"):
            continue
        # A leading slash is the context's own root.
        clean = docker.within(".", source.lstrip("/") or ".")
        if not clean or clean.startswith(".."):
            continue
        folder, _, name = clean.rpartition("/")
        if _PATTERN & set(clean):
            import fnmatch

            if not _PATTERN & set(folder) and rest and "/" not in rest and fnmatch.fnmatchcase(rest, name):
                yield f"{folder}/{rest}" if folder else rest
            continue
        if not rest:
            yield clean
        elif rest == name:
            yield clean
            yield f"{clean}/{rest}"
        else:
            yield rest if clean == "." else f"{clean}/{rest}"


def _changed(before: tuple[Command, ...], path: str, command: Command) -> bool:
    """Say whether an earlier command may have written the file: it names it, and is not known only to read it."""
    name = path.rpartition("/")[2]
    for each in (*before, command):
        if any(file.rpartition("/")[2] == name for file in each.files):
            return True
        if each is command:
            continue
        program = each.argv[0].rpartition("/")[2]
        named = any(word.rpartition("/")[2].rpartition("=")[2] == name for word in each.argv[1:])
        if named and program not in _READING and not program.startswith("pip"):
            return True
        if named and program == "uv" and "compile" in each.argv:
            return True
    return False
