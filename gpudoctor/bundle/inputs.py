"""What an API is called with: the user's input, the bundle's example, or one that is made from the declared types and shapes.

Where none of these is known, what to give is said as exactly as the bundle allows: the keys that the API's own code reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpudoctor.bundle import Api, Bundle, Tensor
    from gpudoctor.bundle.files import Files

SIZES = {"sequence": 8, "seq": 8, "seq_len": 8, "sequence_length": 8, "height": 64, "width": 64}
"""What a dimension that has a name is taken as; every other free one is 1."""
MOST_NUMBERS = 4_000_000
_IMAGES = ("ImageInput", "LegacyImageInput", "MultiImageInput", "AnnotatedImageInput")
_FORMS = {
    "JsonInput": "'{…}'",
    "StringInput": "'\"some text\"'",
    "DataframeInput": "'[{\"column\": 0.5}]'",
    "TfTensorInput": "'{\"instances\": [[0.5]]}'",
    "MultiFileInput": "",
    "FileInput": "",
}


def request(api: Api, body: str) -> dict[str, Any] | None:
    """Return ``body``, ``content_type`` and ``source`` of the request for an API over HTTP; None where nothing is known to send."""
    if body:
        return {"body": _text(api, body), "content_type": _kind(api), "source": "given"}
    if api.example:
        return {"body": _text(api, api.example), "content_type": _kind(api), "source": "example"}
    if api.takes in _IMAGES[:1]:
        return {"image": 64, "body": "", "content_type": "image/png", "source": "built"}
    made = built(api.inputs)
    if made is None:
        return None
    import json

    if api.takes == "DataframeInput":
        made = _rows(made)
    return {"body": json.dumps(made), "content_type": _kind(api), "source": "built"}


def _text(api: Api, body: str) -> str:
    """Return the body as it is sent: a JSON string is sent as the text that it is to an API that takes text.

    It is so too where that text is JSON itself: examples of BentoML 0.13 are written as text.
    """
    import json

    try:
        value = json.loads(body)
        if isinstance(value, str) and api.takes != "StringInput":
            json.loads(value)
    except ValueError:
        return body
    return value if isinstance(value, str) else body


def _kind(api: Api) -> str:
    return "text/plain" if api.takes == "StringInput" else "application/json"


def built(inputs: Sequence[Tensor]) -> Any:
    """Return an object with a value for each declared input (of one without a name the value alone), None where one has no type or no shape."""
    made = {}
    for each in inputs:
        value = _value(each)
        if value is None:
            return None
        made[each.name] = value
    # An API of BentoML 1.1 takes the value itself.
    return made[""] if set(made) == {""} else made or None


def _rows(made: Any) -> Any:
    """Return the columns of a table as a list of rows, as pandas reads them from a request."""
    columns = {name: value if isinstance(value, list) else [value] for name, value in made.items()}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=False)]


def _value(tensor: Tensor) -> Any:
    """Return nested lists of small numbers for a tensor; None where its type or shape is not known."""
    if tensor.shape is None or not tensor.dtype:
        return None
    shape = [size_of(each) for each in tensor.shape]
    total = 1
    for each in shape:
        total *= each
    if total > MOST_NUMBERS:
        return None
    number = _number(tensor.dtype)
    if number is None:
        return None
    return _nested(shape, iter(range(total)), number)


def size_of(dimension: int | str | None) -> int:
    """Return how large a dimension is made."""
    if isinstance(dimension, int) and dimension > 0:
        return dimension
    return SIZES.get(dimension.lower(), 1) if isinstance(dimension, str) else 1


def _number(dtype: str) -> Any:
    """Return the function that gives the value at a position; None for a type that is not known."""
    if dtype.startswith(("float", "bfloat", "double", "number")):
        return lambda at: (at % 17 - 8) / 16
    if dtype.startswith(("int", "uint")):
        # Zero is a token, an index and a class of every model.
        return lambda _: 0
    if dtype.startswith("bool"):
        return lambda _: True
    if dtype.startswith(("str", "object", "<U")):
        return lambda _: "gpudoctor"
    return None


def _nested(shape: Sequence[int], positions: Any, number: Any) -> Any:
    if not shape:
        return number(next(positions))
    return [_nested(shape[1:], positions, number) for _ in range(shape[0])]


def numbered(path: str) -> tuple[int, ...]:
    """Return the numbers among a path's folders: of a repository's versions the newest is the largest."""
    return tuple(int(part) for part in path.split("/") if part.isdigit())


def ask(api: Api, files: Files, bundle: Bundle) -> str:
    """Say what to give with --input."""
    where, keys = _keys(api, files, bundle)
    if keys:
        pairs = ", ".join(f'"{key}": …' for key in keys)
        return f"no input is known for {api.name} ({api.takes}): give --input '{{{pairs}}}' ({where} reads {', '.join(keys)})"
    unknown = [each for each in api.inputs if _value(each) is None]
    if unknown:
        pairs = ", ".join(f'"{each.name}": …' for each in api.inputs)
        lacking = ", ".join(each.name for each in unknown)
        return f"no input can be made for {api.name}: the shape or type of {lacking} is not declared; give --input '{{{pairs}}}'"
    form = _FORMS.get(api.takes, "'…'")
    if not form:
        return f"no input is known for {api.name} ({api.takes}): give the file's text with --input @FILE"
    return f"no input is known for {api.name} ({api.takes}): give the request's body with --input {form}, or --input @FILE"


def _keys(api: Api, files: Files, bundle: Bundle) -> tuple[str, tuple[str, ...]]:
    """Return the keys that the API's function reads from its first argument by name, and where; nothing where it reads none."""
    import ast

    for path in bundle.sources:
        try:
            tree = ast.parse(files.read(path))
        except Exception:  # noqa: BLE001, S112 - a source that cannot be read or parsed tells nothing here
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == api.name:
                found = _read_keys(node)
                if found:
                    return f"{path}:{node.lineno}", found
    return "", ()


def _read_keys(function: Any) -> tuple[str, ...]:
    """Return ``key`` of each ``argument["key"]`` and ``argument.get("key")``, also of items of the argument."""
    import ast

    names = {each.arg for each in function.args.args if each.arg != "self"}
    for node in ast.walk(function):
        if isinstance(node, ast.comprehension | ast.For) and isinstance(node.iter, ast.Name) and node.iter.id in names:
            names |= {each.id for each in ast.walk(node.target) if isinstance(each, ast.Name)}
    found = []
    for node in ast.walk(function):
        if isinstance(node, ast.Subscript):
            of, key = node.value, node.slice
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get" and node.args:
            of, key = node.func.value, node.args[0]
        else:
            continue
        if isinstance(of, ast.Name) and of.id in names and isinstance(key, ast.Constant) and isinstance(key.value, str):
            found.append(key.value)
    return tuple(dict.fromkeys(found))
