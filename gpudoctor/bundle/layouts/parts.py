"""What several layouts have: requirements of pip and conda, a Dockerfile's base image, JSON beside the model, the bundle's own sources.

A file that is absent, leaves the bundle or cannot be read gives nothing here: the checks say what that means.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from gpudoctor.bundle import Check, NotABundle, Place, Required, Said
from gpudoctor.bundle.files import Leaves
from gpudoctor.bundle.layouts import yml
from gpudoctor.formats import Malformed, text
from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from gpudoctor.bundle import ArtifactKind
    from gpudoctor.bundle.files import Files

_SCRIPT = 64 * 1024
_JSON = 1024 * 1024
"""Bytes of JSON that are read into values: an example or a schema has kilobytes."""
_EXAMPLE = 4 * 1024 * 1024
_MOST_NESTED = 5
_MOST_REQUIRED = 5_000

KINDS: tuple[tuple[str, ArtifactKind], ...] = (
    (".onnx", "onnx"),
    (".torchscript", "torchscript"),
    (".torchscript.pt", "torchscript"),
    (".pt2", "torch-export"),
    (".pt", "torch-pickle"),
    (".pth", "torch-pickle"),
    (".ckpt", "torch-pickle"),
    (".pkl", "pickle"),
    (".pickle", "pickle"),
    (".joblib", "pickle"),
    (".cloudpickle", "pickle"),
    (".h5", "keras-h5"),
    (".hdf5", "keras-h5"),
    (".safetensors", "safetensors"),
    (".plan", "plan"),
    (".engine", "plan"),
    (".trt", "plan"),
    (".savedmodel", "savedmodel"),
)
"""What a file is by its name's end. ``.pt`` may be anything of torch; what it really is, is read from its bytes."""


class Installed(NamedTuple):
    """What a requirements file asks for, of which indexes, and the files that it consists of."""

    requirements: tuple[Required, ...] = ()
    indexes: tuple[Said, ...] = ()
    files: tuple[str, ...] = ()


def refuse(text_: str, where: Place, cure: str = "", check: str = "not-a-bundle") -> NoReturn:
    """Raise NotABundle with one error."""
    raise NotABundle(Check(check, "error", text_, where, cure))


def kind(name: str) -> ArtifactKind:
    """Return what a model file is by its name, ``unknown`` where that says nothing."""
    low = name.lower()
    if low.endswith(".torchscript.pt"):
        return "torchscript"
    return next((what for end, what in KINDS if low.endswith(end)), "unknown")


def content(files: Files, path: str, limit: int = _SCRIPT) -> bytes | None:
    """Return the first bytes of a file, None where it cannot be read."""
    try:
        return files.read(path, limit)
    except (Leaves, OSError):
        return None


def tree(files: Files, path: str) -> yml.Yaml:
    """Return a YAML file's values; raises NotABundle that names the line, because the format stands and falls with this file."""
    try:
        data = files.read(path, yml.LONGEST + 1)
    except Leaves as error:
        refuse(f"not a bundle: {path} is a link out of it, to {error.target}", Place(path), "Put the file itself there.")
    except OSError as error:
        refuse(f"not a bundle: {path} cannot be read: {error.strerror or 'no regular file'}", Place(path))
    if len(data) > yml.LONGEST:
        refuse(f"not a bundle: {path} is larger than {yml.LONGEST >> 20} MiB, which no such file is", Place(path))
    try:
        return yml.parse(data)
    except Malformed as error:
        refuse(f"not a bundle: {path} is no YAML that can be read: {error.reason}", Place(path, error.line))


def quiet_tree(files: Files, path: str) -> yml.Yaml:
    """Return the values of a YAML file that the bundle can be without, ``NOTHING`` where it cannot be read."""
    data = content(files, path, yml.LONGEST)
    try:
        return yml.parse(data) if data else yml.NOTHING
    except Malformed:
        return yml.NOTHING


def json(files: Files, path: str) -> Any:
    """Return the value of a JSON file of at most 1 MiB, None where it cannot be read."""
    data = content(files, path, _JSON + 1)
    return None if data is None or len(data) > _JSON else json_of(data)


def json_of(data: bytes | str) -> Any:
    """Return the value of JSON text, None where it is none."""
    from json import loads

    try:
        return loads(data)
    except (ValueError, RecursionError):
        return None


def shown(value: Any) -> str:
    """Return a value as JSON text; "" for what JSON has no form for, such as an infinite number."""
    from json import dumps

    try:
        return dumps(value, ensure_ascii=False, allow_nan=False)
    except (ValueError, TypeError, RecursionError):
        return ""


def example(files: Files, path: str) -> str:
    """Return the text of a file that is a request's body, as it stands; "" where it is absent or larger than 4 MiB."""
    data = content(files, path, _EXAMPLE + 1)
    return "" if data is None or len(data) > _EXAMPLE else text(data).strip()


def deeper(value: Any, *names: str) -> Any:
    """Return what is at a path of keys in JSON, None where there is nothing."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def script(files: Files, path: str) -> tuple[Said, ...]:
    """Return a script's text and place (its first 64 KiB), nothing where it is absent or empty."""
    data = content(files, path)
    return (Said(text(data), Place(path)),) if data and data.strip() else ()


def base_image(files: Files, path: str) -> Said | None:
    """Return the image that a Dockerfile's last stage is made from, and the line of its FROM."""
    from gpudoctor.formats.dockerfile import parse

    data = content(files, path, _SCRIPT)
    if not data:
        return None
    try:
        base = parse(data).base
    except Malformed:
        return None
    return Said(base.image, Place(path, base.line)) if base.image else None


def sources(files: Files, folder: str, *without: str) -> tuple[str, ...]:
    """Return the Python files below a folder, except those below the folders and the files named."""
    start = f"{folder}/" if folder else ""
    return tuple(
        each.path
        for each in files.entries()
        if each.path.endswith(".py")
        and each.path.startswith(start)
        and each.kind in {"file", "link"}
        and not any(each.path == other or each.path.startswith(f"{other}/") for other in without)
        and "/__pycache__/" not in each.path
        and files.has(each.path)
    )


def below(files: Files, folder: str) -> tuple[str, ...]:
    """Return the paths of the regular files below a folder, links to files inside among them."""
    start = f"{folder}/" if folder else ""
    return tuple(
        each.path
        for each in files.entries()
        if each.path.startswith(start) and (each.kind == "file" or (each.kind == "link" and files.has(each.path)))
    )


def pip(files: Files, path: str) -> Installed:
    """Read a requirements file and those that it names with -r; an absent one gives nothing."""
    seen: list[str] = []
    found: list[Required] = []
    indexes: list[Said] = []
    _pip(files, path, seen, found, indexes)
    return Installed(tuple(found), tuple(indexes), tuple(seen))


def _pip(files: Files, path: str, seen: list[str], found: list[Required], indexes: list[Said]) -> None:
    from gpudoctor.formats.pip_requirements import decode

    data = content(files, path, 1024 * 1024)
    if data is None or path in seen or len(seen) > _MOST_NESTED:
        return
    seen.append(path)
    made, said, others = pip_text(decode(data), path)
    found += made[: _MOST_REQUIRED - len(found)]
    indexes += said
    folder = path.rpartition("/")[0]
    for other in others:
        _pip(files, f"{folder}/{other}".lstrip("/") if not other.startswith("/") else other, seen, found, indexes)


def pip_text(
    words: str, path: str, lines: tuple[int, ...] = ()
) -> tuple[tuple[Required, ...], tuple[Said, ...], tuple[str, ...]]:
    """Return what the text of a requirements file asks for, its indexes as pip's options, and the files that it names with -r.

    ``lines`` are the lines of ``path`` where the text's lines stand, where that is not line for line.
    """
    from gpudoctor.formats.pip_requirements import parse

    def place(line: int) -> Place:
        return Place(path, line if not lines else lines[min(max(line, 1), len(lines)) - 1])

    read = parse(words)
    found = tuple(
        Required(each.name, each.spec or (f"@ {each.url}" if each.url else ""), each.marker, "pip", place(each.line), each.extras)
        for each in read.requirements
        if each.name
    )
    options = read.options
    said = [
        Said(f"{option} {each.value}", place(each.line))
        for option, values in (
            ("--index-url", options.indexes),
            ("--extra-index-url", options.others),
            ("--find-links", options.links),
        )
        for each in values
    ]
    return found, tuple(said), tuple(each.value for each in options.files)


def conda(files: Files, path: str, node: yml.Yaml | None = None) -> Installed:
    """Read an environment.yml: conda's packages, and pip's in it. ``node`` is the environment where it is part of another file."""
    environment = quiet_tree(files, path) if node is None else node
    if not environment:
        return Installed()
    found: list[Required] = []
    indexes: list[Said] = []
    for item in environment.get("dependencies").items[:_MOST_REQUIRED]:
        if item.tag == "map":
            listed = item.get("pip").items[:_MOST_REQUIRED]
            made, said, others = pip_text("\n".join(each.text.replace("\n", " ") for each in listed), path, _lines(listed))
            found += made
            indexes += said
            folder = path.rpartition("/")[0]
            for other in others:
                inner = pip(files, f"{folder}/{other}".lstrip("/"))
                found += inner.requirements
                indexes += inner.indexes
        elif item.text.strip():
            found.append(conda_package(item.text, Place(path, item.line)))
    return Installed(tuple(found), tuple(indexes), (path,))


def _lines(items: tuple[yml.Yaml, ...]) -> tuple[int, ...]:
    return tuple(each.line for each in items)


def conda_package(words: str, at: Place) -> Required:
    """Take one of conda's specifications apart: ``channel::name=1.2=build``, ``name >=1.2``; the version stays as conda writes it."""
    from gpudoctor.formats.pip_requirements import normalised

    rest = words.strip().rpartition("::")[2].strip()
    end = next((each for each, sign in enumerate(rest) if sign in "=<>!~ ["), len(rest))
    return Required(normalised(rest[:end]), rest[end:].strip().replace(" ", ""), "", "conda", at)
