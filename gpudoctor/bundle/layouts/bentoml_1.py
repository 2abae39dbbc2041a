"""A bento of BentoML 1.x: a folder with ``bento.yaml``, or its store's NAME folder, whose ``latest`` names one.

Spec 2 (and spec 1 of the same release, written where ``docker.cuda_version`` is set) has ``schema`` and ``services``; 1.0 and 1.1 have
``apis`` and ``runners``. The code is in ``src``, what is installed in ``env/python``. Models are inside (``models/NAME/VERSION``) only when
the bento was exported: in the store they lie beside the bentos. Measured on 1.1.11 and 1.4.39.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from gpudoctor.bundle import Api, Artifact, Bundle, Place, Said, Tensor
from gpudoctor.bundle.files import Files
from gpudoctor.bundle.layouts import parts, yml
from gpudoctor.formats import Malformed

if TYPE_CHECKING:
    from gpudoctor.bundle.layouts.yml import Yaml

MARKER = "bento.yaml"
_PLAIN = {"integer": "int64", "number": "float64", "boolean": "bool", "string": "str"}
"""JSON schema's plain types, as numpy names them."""


def opened(files: Files) -> Files:
    """Return the files that a bento consists of: those of the latest version for a NAME folder, with its models of the store."""
    if files.entry(MARKER) is None:
        latest = parts.content(files, "latest", 300)
        version = latest.decode("utf-8", "replace").strip() if latest else ""
        if version and "/" not in version and files.entry(f"{version}/{MARKER}") is not None:
            files = Files(f"{files.root}/{version}")
    # BENTOML_HOME/bentos/NAME/VERSION is the bento, BENTOML_HOME/models/NAME/VERSION a model that it needs.
    bentos = os.path.dirname(os.path.dirname(files.root))
    if os.path.basename(bentos) != "bentos":
        return files
    home = os.path.dirname(bentos)
    wanted = [f"models/{tag.replace(':', '/')}" for tag, _ in models(parts.quiet_tree(files, MARKER))]
    beside = tuple((path, f"{home}/{path}") for path in wanted if files.entry(path) is None and os.path.isdir(f"{home}/{path}"))
    return Files(files.root, beside=beside) if beside else files


def found(files: Files, path: str) -> Bundle | None:
    """Return the bundle; raises NotABundle where it is damaged."""
    if files.entry(MARKER) is None:
        return None
    tree = parts.tree(files, MARKER)
    if not tree.word("service") or not (tree.word("name") or tree.word("bentoml_version")):
        parts.refuse(
            f"not a bundle: {MARKER} names no service, so BentoML did not write it",
            Place(MARKER, tree.get("service").line or 1),
            "Give a folder that bentoml build made: BENTOML_HOME/bentos/NAME/VERSION.",
        )
    listed = _installed(files, tree)
    docker, image = tree.get("docker"), tree.get("image")
    python = next((each for each in (image.get("python_version"), docker.get("python_version")) if each), yml.NOTHING)
    base = next((each for each in (image.get("base_image"), docker.get("base_image")) if each), yml.NOTHING)
    cuda = docker.get("cuda_version")
    return Bundle(
        "bentoml-1",
        path,
        files.root,
        tree.word("name"),
        tree.word("version"),
        tree.word("spec") or "1",
        tree.word("bentoml_version"),
        _said(python),
        _said(tree.get("service")),
        _artifacts(files, tree),
        _apis(files, tree),
        parts.sources(files, "src"),
        ("src",),
        listed.requirements,
        listed.indexes,
        listed.files,
        parts.base_image(files, "env/docker/Dockerfile") or _said(base),
        _said(cuda),
        _gpus(tree),
        setup=_setup(files, tree),
    )


def _said(node: Yaml) -> Said | None:
    return Said(node.text, Place(MARKER, node.line)) if node and node.text else None


def _installed(files: Files, tree: Yaml) -> parts.Installed:
    """Return what the image installs: the lock where there is one, else what the packer asked for; conda's environment beside it."""
    listed = parts.Installed()
    for path in ("env/python/requirements.lock.txt", "env/python/requirements.txt", "env/python/requirements.in"):
        listed = parts.pip(files, path)
        if listed.files:
            break
    if not listed.files:
        listed = _inline(files, tree)
    python = tree.get("python")
    indexes = [*listed.indexes]
    for key, option in (("index_url", "--index-url"), ("extra_index_url", "--extra-index-url"), ("find_links", "--find-links")):
        node = python.get(key)
        said = [each for each in (*node.items, node) if each and each.text]
        # A lock repeats them in its own first lines.
        known = {each.text for each in indexes}
        indexes += [
            Said(f"{option} {each.text}", Place(MARKER, each.line)) for each in said if f"{option} {each.text}" not in known
        ]
    conda = parts.conda(files, "env/conda/environment.yml")
    return parts.Installed(listed.requirements + conda.requirements, (*indexes, *conda.indexes), listed.files + conda.files)


def _inline(files: Files, tree: Yaml) -> parts.Installed:
    """Return the requirements that stand in bento.yaml itself, each with its line there."""
    whole = tree.get("image", "python_requirements")
    if whole and whole.text:
        rows = (parts.content(files, MARKER, yml.LONGEST) or b"").decode("utf-8", "replace").split("\n")
        made, indexes, _ = parts.pip_text(whole.text, MARKER, _places(whole, rows))
        return parts.Installed(made, indexes, (MARKER,))
    items = tree.get("python", "packages").items
    made, indexes, _ = parts.pip_text("\n".join(each.text for each in items), MARKER, tuple(each.line for each in items))
    return parts.Installed(made, indexes, (MARKER,) if made else ())


def _places(whole: Yaml, rows: list[str]) -> tuple[int, ...]:
    """Return the file's line of each line of a text, however YAML folds and quotes it: the next one that has its first word."""
    at = whole.line
    places = []
    for line in whole.text.split("\n"):
        first = line.split(" ")[0]
        later = next((row for row in range(at, len(rows) + 1) if first and first in rows[row - 1]), at)
        places.append(later)
        at = later
    return tuple(places)


def _artifacts(files: Files, tree: Yaml) -> tuple[Artifact, ...]:
    """Return the model files among the sources, and those of the models that the bento carries."""
    made: list[Artifact] = []
    for path in parts.below(files, "src"):
        made += _artifact(path.rpartition("/")[2], path, Place(path))
    for tag, line in models(tree):
        for path in parts.below(files, f"models/{tag.replace(':', '/')}"):
            made += _artifact(tag, path, Place(MARKER, line))
    return tuple(made)


def _artifact(name: str, path: str, at: Place) -> tuple[Artifact, ...]:
    """Return the artifact that a file is by its name, none for most files."""
    if path.endswith("/saved_model.pb"):
        return (Artifact(name, "savedmodel", path.rpartition("/")[0], at),)
    kind = parts.kind(path)
    return () if kind == "unknown" else (Artifact(name, kind, path, at),)


def models(tree: Yaml) -> tuple[tuple[str, int], ...]:
    """Return the tags of the models that a bento needs from the store (``mlp:abc``), and where each is said.

    From 1.2 on each service has its own; models of a hub, which are downloaded, have no tag.
    """
    said = [*tree.get("models").items, *(item for each in tree.get("services").items for item in each.get("models").items)]
    found: dict[str, int] = {}
    for item in said:
        tag = item.word("tag") or item.text
        if tag.count(":") == 1 and "/" not in tag and all(part and not part.startswith(".") for part in tag.split(":")):
            found.setdefault(tag, item.get("tag").line or item.line)
    return tuple(found.items())


def _gpus(tree: Yaml) -> tuple[Said, ...]:
    services = [each.get("config", "resources", "gpu") for each in tree.get("services").items]
    runners = [each.get("resource_config", "nvidia.com/gpu") for each in tree.get("runners").items]
    return tuple(_asked(node) for node in (*services, *runners) if node.items or (node and node.text not in {"", "0", "0.0"}))


def _asked(node: Yaml) -> Said:
    """Return a number of GPUs, or a list of their indices in brackets."""
    text = f"[{', '.join(each.text for each in node.items)}]" if node.items else node.text
    return Said(text, Place(MARKER, node.line))


def _setup(files: Files, tree: Yaml) -> tuple[Said, ...]:
    """Return what runs when the image is built: the setup script, and the commands that the packer added."""
    image = tree.get("image")
    said = [*parts.script(files, "env/docker/setup_script")] if tree.get("docker", "setup_script") else []
    # The first command is BentoML's own, for the packages of the system.
    said += [
        Said(node.text, Place(MARKER, node.line))
        for node in (*image.get("commands").items, *image.get("post_commands").items)
        if node.text and not node.text.startswith("apt-get update && apt-get install")
    ]
    return tuple(said)


def _apis(files: Files, tree: Yaml) -> tuple[Api, ...]:
    """Return the APIs of the schema, in bento.yaml or beside it, or those of 1.0 and 1.1, which know no shapes."""
    routes = tree.get("schema", "routes")
    if routes.items:
        return tuple(_route(each) for each in routes.items if each.word("name"))
    schema = "apis/schema.json"
    listed = parts.deeper(parts.json(files, schema), "routes")
    if isinstance(listed, list) and listed:
        return tuple(
            _schema(each, Place(schema)) for each in listed if isinstance(each, dict) and isinstance(each.get("name"), str)
        )
    documents = parts.quiet_tree(files, "apis/openapi.yaml") if tree.get("apis").items else yml.NOTHING
    return tuple(_older(each, documents) for each in tree.get("apis").items if each.word("name"))


def _route(node: Yaml) -> Api:
    at = Place(MARKER, node.get("name").line)
    try:
        value = yml.plain(node)
    except Malformed:
        # An example larger than any that is worth sending: what remains is the name.
        return Api(node.word("name"), node.word("route"), "", at=at)
    return _schema(value, at)


def _schema(route: dict[str, Any], at: Place) -> Api:
    """Return an API from its JSON schema: each property of the input is an argument."""
    given = route.get("input")
    given = given if isinstance(given, dict) else {}
    properties = given.get("properties")
    properties = (
        {str(name): about for name, about in properties.items() if isinstance(about, dict)}
        if isinstance(properties, dict)
        else {}
    )
    required = given.get("required")
    needed = [name for name in required if isinstance(name, str)] if isinstance(required, list) else []
    inputs = tuple(_argument(name, about) for name, about in properties.items())
    shared = given.get("$defs")
    defined: dict[str, Any] = shared if isinstance(shared, dict) else {}
    takes = ", ".join(dict.fromkeys(_type(about) for about in properties.values()))
    values = {
        name: value for name, about in properties.items() if (value := _value(about, defined, wanted=name in needed)) is not _NONE
    }
    body: Any = values
    if given.get("root_input") is True and len(properties) == 1:
        body = next(iter(values.values()), _NONE)
    example = "" if body is _NONE or not set(needed) <= values.keys() else parts.shown(body)
    name = str(route.get("name"))
    where = route.get("route")
    return Api(name, where if isinstance(where, str) else f"/{name}", takes, inputs, example, at)


_NONE = object()


def _value(about: dict[str, Any], defined: dict[str, Any], *, wanted: bool, deep: int = 8) -> Any:
    """Return an argument's first example, or its default where it must be given; ``_NONE`` where there is neither.

    An object that must be given is put together from what is said of its parts.
    """
    named = about.get("$ref")
    if isinstance(named, str) and isinstance(defined.get(named.rpartition("/")[2]), dict):
        about = {**defined[named.rpartition("/")[2]], **{key: value for key, value in about.items() if key != "$ref"}}
    examples = about.get("examples")
    if isinstance(examples, list) and examples:
        return examples[0]
    if "example" in about:
        return about["example"]
    if not wanted:
        return _NONE
    if "default" in about:
        return about["default"]
    inner, required = about.get("properties"), about.get("required", [])
    if about.get("type") != "object" or not isinstance(inner, dict) or not isinstance(required, list) or not deep:
        return _NONE
    made = {}
    for name, part in inner.items():
        value = _value(part, defined, wanted=name in required, deep=deep - 1) if isinstance(part, dict) else _NONE
        if value is not _NONE:
            made[name] = value
        elif name in required:
            return _NONE
    return made


def _type(about: dict[str, Any]) -> str:
    """Return the word for an argument's type: ``tensor``, ``dataframe``, ``image`` and ``file`` are BentoML's own."""
    kind = about.get("type")
    if kind == "tensor" or not isinstance(about.get("format"), str):
        return kind if isinstance(kind, str) else "any"
    return kind if isinstance(kind, str) and kind != "file" else str(about["format"])


def _argument(name: str, about: dict[str, Any]) -> Tensor:
    kind, dtype, shape = about.get("type"), about.get("dtype"), about.get("shape")
    if kind == "tensor":
        whole = isinstance(shape, list)
        sizes = (
            tuple(each if isinstance(each, int) and each >= 0 else None for each in shape) if isinstance(shape, list) else None
        )
        return Tensor(name, dtype if isinstance(dtype, str) else "", sizes if whole else None)
    if isinstance(kind, str) and kind in _PLAIN and "format" not in about:
        return Tensor(name, _PLAIN[kind], ())
    return Tensor(name, "", None)


def _older(node: Yaml, documents: Yaml) -> Api:
    """Return an API of 1.0 or 1.1; its route, shape and an example are in the OpenAPI document, where the packer gave a sample."""
    name = node.word("name")
    at = Place(MARKER, node.get("name").line)
    for route, path in documents.get("paths").keys.items():
        if path.word("post", "x-bentoml-name") != name:
            continue
        body = path.get("post", "requestBody")
        given = body.get("content", "application/json")
        said = given.get("example") or given.get("schema", "example")
        try:
            example = parts.shown(yml.plain(said)) if said else ""
        except Malformed:
            example = ""
        return Api(name, route, node.word("input_type"), _described(body.get("x-bentoml-io-descriptor")), example, at)
    return Api(name, f"/{name}", node.word("input_type"), (), "", at)


def _described(descriptor: Yaml) -> tuple[Tensor, ...]:
    """Return the input of an API of 1.0 or 1.1 by its descriptor, where that tells type or shape."""
    dtype, shape = descriptor.word("args", "dtype"), descriptor.get("args", "shape")
    sizes = (
        tuple(int(each.text) if each.tag == "int" and each.text.isdigit() else None for each in shape.items) if shape else None
    )
    return (Tensor("", dtype, sizes),) if dtype or sizes else ()
