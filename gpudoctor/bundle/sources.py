"""A bundle's own Python files, read and never run: what they import, and where they put models and inputs.

What a newcomer must know:

- A file is parsed with the Python that runs us. Names are followed through assignments, imports (of the bundle's own modules too),
  attributes of ``self`` and simple functions; what cannot be followed has the value None and is never held against the bundle.
- Of several assignments those count that may reach the place of use: going back from it, up to the first that surely runs before it.
- A model moves in place (``model.to("cuda")``), a tensor does not (``x = x.to("cuda")``): moves of models are collected over the whole
  bundle, those of tensors are part of their value.
- Only what the service imports is read, and all work is bounded, by bytes and by steps. Where a bound is met the answer is a problem ("cannot tell"), not silence.
"""

from __future__ import annotations

import ast
import sys
import warnings
from typing import TYPE_CHECKING, cast

from gpudoctor.bundle import Check, Place
from gpudoctor.bundle.files import Leaves
from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from gpudoctor.bundle import Bundle
    from gpudoctor.bundle.files import Files

    Value = object
    Frame = dict[str, Value]
    Function = ast.FunctionDef | ast.AsyncFunctionDef

MOST_BYTES = 1024 * 1024
"""Of all files that are read together: a syntax tree takes fifty times the memory of its text."""
_MOST_STEPS = 60_000
_MOST_NESTED = 40
_MOST_INLINED = 4
_MOST_CLASSES = 30


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


NVIDIA = ("CUDAExecutionProvider", "TensorrtExecutionProvider", "NvTensorRTRTXExecutionProvider")
"""ONNX Runtime's providers that compute on NVIDIA's GPUs."""
_ON_CUDA = frozenset({"cuda"})
_ON_CPU = frozenset({"cpu"})
_SOMEWHERE: frozenset[str] = frozenset()
"""A device that cannot be told."""

_TENSORS = _set(
    "tensor as_tensor from_numpy zeros ones rand randn randint empty full arange linspace eye stack cat concat zeros_like "
    "ones_like Tensor FloatTensor LongTensor IntTensor DoubleTensor HalfTensor BoolTensor ByteTensor"
)
"""Functions of torch that make a tensor: on the CPU, unless ``device=`` or a tensor that they are given says otherwise."""
_SAME = _set("torch.compile torch.jit.script torch.jit.freeze torch.jit.optimize_for_inference copy.deepcopy copy.copy")
"""Functions that give back the model they are given, or its copy on the same device."""
_HARMLESS = _set("print len isinstance type id hasattr bool str repr getattr list iter next sum callable vars dir")
"""Built-in functions that do not move a model which they are given."""
_CALLED = _set("forward __call__ predict generate encode sample infer transcribe predict_step encode_image encode_text")
"""Methods of a model that compute."""
_RETURNS_SELF = _set(
    "to cuda cpu eval train half float double bfloat16 requires_grad_ share_memory share_memory_ type to_bettertransformer"
)
_NOT_THE_MODEL = _set("device dtype config parameters state_dict load_state_dict named_parameters modules")
_LEAVES_TORCH = _set("numpy tolist item size dim numel shape dtype device")
_OTHER_PYTHONS = _set(
    "unicode xrange raw_input basestring long unichr reduce file execfile cmp reload buffer intern apply get_ipython aiter "
    "anext ExceptionGroup BaseExceptionGroup EncodingWarning PythonFinalizationError"
)
"""Built-in names of older and newer Pythons and of notebooks: code asks for the version before it uses them."""
_MODULES = ("torch.nn.Module", "torch.nn.modules.module.Module")
_WITH_PARAMETERS = (
    *("Linear", "Bilinear", "Conv", "Embedding", "LSTM", "GRU", "RNN", "BatchNorm", "LayerNorm", "GroupNorm", "RMSNorm"),
    *("Transformer", "Multihead", "PReLU", "Lazy", "SyncBatchNorm"),
)
"""How the names of torch.nn's layers begin that have parameters: one without any computes where its input is."""
_LOADERS = _set(
    "torch.load torch.jit.load torch.export.load onnxruntime.InferenceSession joblib.load safetensors.torch.load_file onnx.load "
    "tensorflow.keras.models.load_model keras.models.load_model keras.saving.load_model tensorflow.saved_model.load xgboost.Booster"
)
"""Functions whose first argument is a model's path."""
_KINDS = {
    "property": "property",
    "cached_property": "property",
    "staticmethod": "static",
    "setter": "setter",
    "deleter": "setter",
}
"""What a decorator makes of a method."""
_AS_LIST = _set("list tuple sorted reversed set frozenset")
_ANY = ...
"""The index that stands for each of several."""
_MOST_LISTS = 16


class Import(NamedTuple):
    """A package that is imported: the first part of its name, the whole name, where; ``sure``: at the top level, without a fallback."""

    package: str
    name: str
    at: Place
    sure: bool


class Session(NamedTuple):
    """An ONNX Runtime session, or what makes one: ``how`` is the call's name as in its documentation.

    ``providers``: the names that may be passed; () where none are; None where they cannot be told.
    """

    how: str
    providers: tuple[str, ...] | None
    at: Place


class Model(NamedTuple):
    """A torch model that is called.

    ``born``: ``as saved`` (an artifact or torch.load without map_location), ``cpu``, ``cuda`` or ``unknown``; ``artifact`` is the
    artifact's name or the file's, "" where neither is known. ``moved``: where it is moved to; an empty set in it cannot be told.
    ``inputs``: the devices of the tensors that it is called with, each with its place. ``sure``: it is a model for certain, and not
    something else that torch.load gave and that can be called.
    """

    label: str
    born: str
    artifact: str
    at: Place
    moved: tuple[tuple[frozenset[str], Place], ...]
    inputs: tuple[tuple[frozenset[str], Place], ...]
    called: Place
    sure: bool


class Hidden(NamedTuple):
    """A line that keeps the GPU from a framework (all: ""), in its own words; ``sure``: on no condition."""

    framework: str
    words: str
    at: Place
    sure: bool = True


class Sources(NamedTuple):
    """What the bundle's own modules do, as far as it can be read.

    ``read`` are the files that were, ``words`` their string constants, ``fallbacks`` where they ask whether CUDA is there,
    ``undefined`` the names that nothing defines, ``lacking`` imports of modules that its own packages lack,
    ``opened`` the paths that functions are given which load models; ``preloads``:
    onnxruntime.preload_dlls is called; ``service``: the service's file,
    "" where it is not among them; ``moves_inside``: a torch module's own code moves itself or its inputs.
    """

    problems: tuple[Check, ...]
    read: tuple[str, ...]
    imports: tuple[Import, ...]
    sessions: tuple[Session, ...]
    models: tuple[Model, ...]
    hidden: tuple[Hidden, ...]
    fallbacks: tuple[Place, ...]
    undefined: tuple[tuple[str, Place], ...]
    lacking: tuple[Import, ...]
    opened: tuple[tuple[str, Place], ...]
    words: frozenset[str]
    preloads: bool
    service: str
    moves_inside: bool


def read(bundle: Bundle, files: Files) -> Sources:
    """Read the bundle's Python files: the service and what it reaches by imports, all of them where the service is not among them."""
    reader = _Reader(bundle, files)
    modules = reader.reached()
    problems = [*reader.problems, *(_syntax(bundle, each) for each in modules if each.error is not None)]
    whole = [each for each in modules if each.error is None]
    walker = _Walker(whole)
    for each in whole:
        walker.sweep_module(each)
    if walker.steps > _MOST_STEPS:
        text = "Cannot tell all of what the bundle's code does with the GPU: it is too large to be followed as a whole."
        problems.append(Check("sources-too-large", "unknown", text, Place(whole[0].path)))
    own = {name.partition(".")[0] for name in reader.paths}
    imports = [found for each in whole for found in each.imports if found.package not in own]
    return Sources(
        tuple(problems),
        tuple(each.path for each in whole),
        tuple(imports),
        walker.chosen(),
        walker.models(),
        tuple(dict.fromkeys(walker.hidden)),
        tuple(dict.fromkeys(walker.fallbacks)),
        tuple(found for each in whole for found in _undefined(each)),
        tuple(
            found
            for each in whole
            for found in each.imports
            if found.package in own and found.name not in reader.paths and not _has_below(reader.paths, found.name)
        ),
        tuple(dict.fromkeys(walker.opened)),
        frozenset(word for each in whole for word in _words(each)),
        walker.preloads,
        reader.service,
        walker.moves_inside,
    )


def _has_below(paths: Iterable[str], name: str) -> bool:
    """Say whether a name is a folder of modules, without a file of its own."""
    return any(each.startswith(f"{name}.") for each in paths)


class _Binding(NamedTuple):
    """One way in which a name gets its value: an expression, or a value that is known already; None is one that cannot be told."""

    value: ast.expr | None
    known: Value
    at: tuple[int, int]
    blocks: tuple[int, ...]


class _Use(NamedTuple):
    """A place in a scope: line and column, and the conditional blocks that it stands in."""

    at: tuple[int, int]
    blocks: tuple[int, ...]


class _Scope:
    """A module, a class or a function: its names, its calls, and for a class the attributes that methods give ``self``."""

    __slots__ = (
        *("attributes", "bindings", "calls", "globals", "kind", "module", "node", "owner", "params", "parent", "returns"),
        "stores",
    )

    def __init__(self, module: _Module, node: ast.AST, parent: _Scope | None, owner: _Scope | None = None) -> None:
        self.module, self.node, self.parent, self.owner = module, node, parent, owner
        self.bindings: dict[str, list[_Binding]] = {}
        self.attributes: dict[str, list[tuple[_Scope, _Binding]]] = {}
        self.calls: list[tuple[ast.Call, _Use]] = []
        self.returns: list[tuple[ast.expr, _Use]] = []
        self.stores: list[tuple[ast.Subscript, ast.expr, _Use]] = []
        self.params: tuple[str, ...] = ()
        self.kind = ""
        self.globals: set[str] = set()

    def is_class(self) -> bool:
        return isinstance(self.node, ast.ClassDef)


class _Module:
    """One file: its path, the names under which it can be imported, its tree or why there is none."""

    __slots__ = ("contexts", "error", "imports", "local", "names", "path", "scope", "scopes", "text", "tree")

    def __init__(self, path: str, names: tuple[str, ...], text: str) -> None:
        self.path, self.names, self.text = path, names, text
        self.error: SyntaxError | Exception | None = None
        self.imports: list[Import] = []
        self.local: list[str] = []
        self.contexts: dict[int, list[ast.stmt]] = {}
        self.scopes: list[_Scope] = []
        self.tree: ast.Module | None = None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            self.error = error
        self.scope = _Scope(self, self.tree or ast.Module([], []), None)
        if self.tree is not None:
            _Scanner(self).run(self.tree)

    def place(self, node: ast.AST) -> Place:
        return Place(self.path, getattr(node, "lineno", 0))


# What names stand for. None stands for what cannot be told.


class _Named(NamedTuple):
    """Something of a package that is not the bundle's: ``torch.cuda.is_available``."""

    path: str


class _Const(NamedTuple):
    value: object


class _Many(NamedTuple):
    """One of several; None may be among them."""

    options: tuple[Value, ...]


class _Listed(NamedTuple):
    items: tuple[Value, ...]


class _Mapping(NamedTuple):
    items: tuple[tuple[Value, Value], ...]


class _Tensor(NamedTuple):
    devices: frozenset[str]


class _IsModel(NamedTuple):
    key: str


class _IsSession(NamedTuple):
    key: str


class _Artifacts(NamedTuple):
    """``self.artifacts`` of a BentoML service."""

    path: str


class _Code(NamedTuple):
    scope: _Scope
    bound: _Scope | None


class _Class(NamedTuple):
    scope: _Scope


class _Instance(NamedTuple):
    scope: _Scope


class _Own(NamedTuple):
    """A module of the bundle."""

    module: _Module


class _Birth(NamedTuple):
    label: str
    born: str
    artifact: str
    at: Place


class _Reader:
    """Finds the modules that count, and parses these alone; ``paths`` are all by the names under which they can be imported."""

    def __init__(self, bundle: Bundle, files: Files) -> None:
        self.files = files
        self.problems: list[Check] = []
        self.names = {path: _names(path, bundle.import_roots) for path in bundle.sources}
        self.paths = {name: path for path in reversed(bundle.sources) for name in self.names[path]}
        module = bundle.service.text.partition(":")[0].replace("/", ".").removesuffix(".py") if bundle.service is not None else ""
        self.service = self.paths.get(module, "")
        self.left = MOST_BYTES

    def reached(self) -> list[_Module]:
        """Return the modules that the service imports, itself first, and their packages with them."""
        todo = [self.service] if self.service else list(self.names)
        found: dict[str, _Module] = {}
        while todo:
            path = todo.pop(0)
            if path in found:
                continue
            module = self.parsed(path)
            if module is None:
                continue
            found[path] = module
            if self.service:
                todo += self.imported(module)
        return list(found.values())

    def imported(self, module: _Module) -> list[str]:
        """Return the files of the bundle that importing a module, or a name of it, runs."""
        found = []
        for name in (*module.names, *module.local):
            parts = name.split(".")
            found += [self.paths[whole] for size in range(1, len(parts) + 1) if (whole := ".".join(parts[:size])) in self.paths]
        return list(dict.fromkeys(found))

    def parsed(self, path: str) -> _Module | None:
        """Return a file's module, None where it cannot be read (which the layout's check says) or no more is read."""
        try:
            data = self.files.read(path, MOST_BYTES + 1)
        except (OSError, Leaves):
            return None
        if len(data) > self.left:
            if not self.problems:
                text = f"Cannot tell what {path} does: no more than {MOST_BYTES >> 20} MiB of code is read."
                self.problems.append(Check("sources-too-large", "unknown", text, Place(path)))
            return None
        self.left -= len(data)
        return _Module(path, self.names[path], _decoded(data))


def _decoded(data: bytes) -> str:
    """Return a file's text as Python would read it (UTF-8, unless its first lines say Latin-1 or another)."""
    if data.startswith(b"\xef\xbb\xbf"):
        data = data[3:]
    for line in data.split(b"\n", 2)[:2]:
        if line.lstrip().startswith(b"#") and b"coding" in line:
            name = line.partition(b"coding")[2].lstrip(b":= ").split(b" ")[0].strip(b"-*\r ").decode("ascii", "replace")
            try:
                return data.decode(name)
            except (LookupError, ValueError):
                break
    return data.decode("utf-8", "replace")


def _names(path: str, roots: Sequence[str]) -> tuple[str, ...]:
    """Return the names under which a file can be imported, from each folder on the path that it is below."""
    found = []
    for root in roots or ("",):
        prefix = f"{root.rstrip('/')}/" if root else ""
        if not path.startswith(prefix):
            continue
        parts = path[len(prefix) :].removesuffix(".py").split("/")
        if parts[-1] == "__init__":
            parts = parts[:-1]
        if parts and all(part.isidentifier() for part in parts):
            found.append(".".join(parts))
    return tuple(dict.fromkeys(found))


def _syntax(bundle: Bundle, module: _Module) -> Check:
    """Return the check for a file that does not parse here; "cannot tell" where it may be right for another Python."""
    error = module.error
    line = (error.lineno or 0) if isinstance(error, SyntaxError) else 0
    reason = error.msg if isinstance(error, SyntaxError) else "it is nested too deeply or has a null byte"
    place = Place(module.path, line)
    if reason.startswith("Missing parentheses in call to"):
        text = f"{place} is Python 2 ({reason.partition('. ')[0]}): the service cannot be imported by any Python 3."
        return Check("syntax-error", "error", text, place, "Write it for Python 3 and pack it again.")
    wanted = tuple(int(part) for part in bundle.python.text.split(".")[:2] if part.isdigit()) if bundle.python else ()
    here = sys.version_info[:2]
    if not isinstance(error, SyntaxError) or not (3, 7) <= wanted <= here:
        other = f"Python {'.'.join(map(str, wanted))}" if wanted else "the bundle's own Python"
        text = f"Cannot tell whether {place} is sound: Python {here[0]}.{here[1]} says '{reason}', and {other} may not."
        return Check(
            "syntax-error", "unknown", text, place, f"Try it with the bundle's Python: python -m py_compile {module.path}"
        )
    text = f"{place} has a syntax error: {reason}."
    return Check("syntax-error", "error", text, place, "Mend the line and pack the bundle again.")


class _Scanner:
    """Takes a module's tree apart into scopes, without judging anything."""

    def __init__(self, module: _Module) -> None:
        self.module = module
        self.blocks = 0

    def run(self, tree: ast.Module) -> None:
        self.module.scopes.append(self.module.scope)
        try:
            self.body(tree.body, self.module.scope, (), guarded=False)
        except RecursionError:
            self.module.error = RecursionError("nested too deeply")

    def block(self, blocks: tuple[int, ...]) -> tuple[int, ...]:
        self.blocks += 1
        return (*blocks, self.blocks)

    def body(self, statements: Sequence[ast.stmt], scope: _Scope, blocks: tuple[int, ...], *, guarded: bool) -> None:
        for each in statements:
            self.statement(each, scope, blocks, guarded=guarded)

    def statement(self, node: ast.stmt, scope: _Scope, blocks: tuple[int, ...], *, guarded: bool) -> None:
        use = _Use((node.lineno, node.col_offset), blocks)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            self.function(node, scope, use)
            return
        if isinstance(node, ast.ClassDef):
            self.calls((*node.decorator_list, *node.bases, *(each.value for each in node.keywords)), scope, use)
            inner = _Scope(self.module, node, scope)
            self.module.scopes.append(inner)
            self.bind(scope, node.name, None, _Class(inner), use)
            self.body(node.body, inner, (), guarded=guarded)
            return
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            self.imported(node, scope, use, guarded=guarded)
            return
        if isinstance(node, ast.Global):
            scope.globals.update(node.names)
            return
        self.calls((each for each in ast.iter_child_nodes(node) if isinstance(each, ast.expr)), scope, use)
        if isinstance(node, ast.Expr):
            self.grown(node.value, scope, use)
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                self.assign(target, node.value, scope, use)
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            self.assign(node.target, node.value, scope, use)
        elif isinstance(node, ast.AugAssign):
            longer = ast.BinOp(node.target, node.op, node.value) if isinstance(node.op, ast.Add) else None
            self.assign(node.target, longer, scope, use)
        elif isinstance(node, ast.Return) and node.value is not None:
            scope.returns.append((node.value, use))
        elif isinstance(node, ast.If):
            if _is_main(node.test):
                return  # not run where the module is imported
            checking = _last(node.test) == "TYPE_CHECKING"
            self.body(node.body, scope, self.block(blocks), guarded=guarded or checking)
            self.body(node.orelse, scope, self.block(blocks), guarded=guarded)
        elif isinstance(node, (ast.For, ast.AsyncFor, ast.While)):
            inside = self.block(blocks)
            if not isinstance(node, ast.While):
                self.assign(node.target, _one_of(node.iter), scope, use._replace(blocks=inside))
            self.body(node.body, scope, inside, guarded=guarded)
            self.body(node.orelse, scope, inside, guarded=guarded)
        elif isinstance(node, (ast.With, ast.AsyncWith)):
            for item in node.items:
                self.calls((item.context_expr,), scope, use)
                self.module.contexts[id(item.context_expr)] = node.body
                if item.optional_vars is not None:
                    self.assign(item.optional_vars, None, scope, use)
            self.body(node.body, scope, blocks, guarded=guarded)
        elif isinstance(node, ast.Try):
            self.attempt(node, scope, blocks, guarded=guarded)
        elif type(node).__name__ == "TryStar":
            self.attempt(cast("ast.Try", node), scope, blocks, guarded=guarded)
        elif isinstance(node, ast.Match):
            for case in node.cases:
                self.body(case.body, scope, self.block(blocks), guarded=guarded)

    def attempt(self, node: ast.Try, scope: _Scope, blocks: tuple[int, ...], *, guarded: bool) -> None:
        catches = any(each.type is None or _catches_import(each.type) for each in node.handlers)
        self.body(node.body, scope, self.block(blocks), guarded=guarded or catches)
        for handler in node.handlers:
            self.body(handler.body, scope, self.block(blocks), guarded=guarded or catches)
        self.body(node.orelse, scope, self.block(blocks), guarded=guarded)
        self.body(node.finalbody, scope, blocks, guarded=guarded)

    def function(self, node: Function, scope: _Scope, use: _Use) -> None:
        arguments = node.args
        defaults = (*arguments.defaults, *(each for each in arguments.kw_defaults if each is not None))
        self.calls((*node.decorator_list, *defaults), scope, use)
        owner = scope if scope.is_class() else scope.owner
        inner = _Scope(self.module, node, scope, owner)
        named = [_last(each.func if isinstance(each, ast.Call) else each) for each in node.decorator_list]
        inner.kind = next((kind for name in named if (kind := _KINDS.get(name))), "")
        inner.params = tuple(
            each.arg
            for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg)
            if each is not None
        )
        self.module.scopes.append(inner)
        if inner.kind != "setter":
            self.bind(scope, node.name, None, _Code(inner, None), use)
        self.body(node.body, inner, (), guarded=True)

    def calls(self, expressions: Iterable[ast.expr], scope: _Scope, use: _Use) -> None:
        """Note every call of a statement, and every name bound in the middle of an expression.

        What a call sees is what held before its statement: in ``model = model.to(device)`` the model before.
        """
        for expression in expressions:
            for node in ast.walk(expression):
                if isinstance(node, ast.Call):
                    scope.calls.append((node, use))
                elif isinstance(node, ast.NamedExpr):
                    self.assign(node.target, node.value, scope, use._replace(at=(node.lineno, node.col_offset)))
                elif isinstance(node, ast.comprehension):
                    inside = _Use((node.iter.lineno, node.iter.col_offset), (*use.blocks, -1))
                    self.assign(node.target, _one_of(node.iter), scope, inside)

    def grown(self, node: ast.expr, scope: _Scope, use: _Use) -> None:
        """Take ``names.append("a")`` and its like as ``names = names + ["a"]``."""
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not node.args:
            return
        target, added = node.func.value, node.args[-1]
        if isinstance(target, ast.Name) and target.id not in scope.bindings:
            return
        if node.func.attr in {"append", "insert"}:
            self.assign(target, ast.BinOp(target, ast.Add(), ast.List([added], ast.Load())), scope, use)
        elif node.func.attr == "extend":
            self.assign(target, ast.BinOp(target, ast.Add(), added), scope, use)

    def assign(self, target: ast.expr, value: ast.expr | None, scope: _Scope, use: _Use) -> None:
        if isinstance(target, ast.Name):
            self.bind(scope, target.id, value, None, use)
        elif isinstance(target, (ast.Tuple, ast.List)):
            parts = value.elts if isinstance(value, (ast.Tuple, ast.List)) and len(value.elts) == len(target.elts) else None
            for number, each in enumerate(target.elts):
                self.assign(each, parts[number] if parts is not None else None, scope, use)
        elif isinstance(target, ast.Starred):
            self.assign(target.value, None, scope, use)
        elif isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
            if scope.owner is not None and scope.params[:1] == (target.value.id,):
                scope.owner.attributes.setdefault(target.attr, []).append((scope, _Binding(value, None, use.at, use.blocks)))
        elif isinstance(target, ast.Subscript) and value is not None:
            scope.stores.append((target, value, use))

    def bind(self, scope: _Scope, name: str, value: ast.expr | None, known: Value, use: _Use) -> None:
        if name in scope.globals:
            # It runs when the function is called: what the module itself says before may still hold.
            scope, use = self.module.scope, use._replace(blocks=self.block(()))
        scope.bindings.setdefault(name, []).append(_Binding(value, known, use.at, use.blocks))

    def imported(self, node: ast.Import | ast.ImportFrom, scope: _Scope, use: _Use, *, guarded: bool) -> None:
        module, place = self.module, self.module.place(node)
        sure = not guarded and scope.parent is None
        if isinstance(node, ast.Import):
            for each in node.names:
                package = each.name.partition(".")[0]
                module.imports.append(Import(package, each.name, place, sure))
                module.local.append(each.name)
                known = _Named(each.name if each.asname else package)
                self.bind(scope, each.asname or package, None, known, use)
            return
        base = node.module or ""
        if node.level:
            base = self.absolute(node)
        if base and base != "__future__":
            module.imports.append(Import(base.partition(".")[0], base, place, sure))
        for each in node.names:
            whole = f"{base}.{each.name}" if base else each.name
            module.local.append(whole)
            self.bind(scope, each.asname or each.name, None, _Named(whole), use)
        module.local.append(base)

    def absolute(self, node: ast.ImportFrom) -> str:
        parts = (self.module.names or ("",))[0].split(".")
        up = node.level - (1 if self.module.path.endswith("__init__.py") else 0)
        parts = parts[: len(parts) - up] if up <= len(parts) else []
        return ".".join([*parts, *([node.module] if node.module else [])])


def _one_of(items: ast.expr) -> ast.expr:
    """Return an expression for any one of several: what a loop's variable is."""
    return ast.Subscript(items, ast.Constant(_ANY), ast.Load())


def _is_main(test: ast.expr) -> bool:
    return isinstance(test, ast.Compare) and isinstance(test.left, ast.Name) and test.left.id == "__name__"


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _catches_import(node: ast.expr) -> bool:
    names = node.elts if isinstance(node, ast.Tuple) else [node]
    return any(_last(each) in {"ImportError", "ModuleNotFoundError", "Exception", "BaseException", "OSError"} for each in names)


class _Walker:
    """Works out what expressions stand for, and collects what is done with models, sessions and devices."""

    def __init__(self, modules: list[_Module]) -> None:
        self.by_name = {name: each for each in reversed(modules) for name in each.names}
        self.steps = self.nested = self.inlined = self.swept = self.cuts = 0
        self.known: dict[int, Value] = {}
        self.busy: set[tuple[int, int]] = set()
        self.births: dict[str, _Birth] = {}
        self.moves: dict[str, dict[Place, frozenset[str]]] = {}
        self.inputs: dict[str, dict[tuple[Place, int], frozenset[str]]] = {}
        self.called: dict[str, Place] = {}
        self.escaped: set[str] = set()
        self.parts: set[str] = set()
        self.sessions: dict[str, Session] = {}
        self.branches: dict[str, tuple[int, tuple[int, ...]]] = {}
        self.opened: list[tuple[str, Place]] = []
        self.hidden: list[Hidden] = []
        self.fallbacks: list[Place] = []
        self.default_device = False
        self.preloads = False
        self.moves_inside = False
        self.evaluated: set[str] = set()

    def models(self) -> tuple[Model, ...]:
        """Return the models that are called; none where torch's default device was changed, which moves all of them."""
        if self.default_device:
            return ()
        return tuple(
            Model(
                birth.label,
                birth.born,
                birth.artifact,
                birth.at,
                tuple((devices, place) for place, devices in self.moves.get(key, {}).items()),
                tuple((devices, place) for (place, _), devices in self.inputs.get(key, {}).items()),
                self.called[key],
                key in self.evaluated or key in self.inputs or "torch.load" not in birth.label,
            )
            for key, birth in self.births.items()
            if key in self.called and key not in self.escaped and key not in self.parts
        )

    def chosen(self) -> tuple[Session, ...]:
        """Return the sessions without those that stand in for one on the GPU: in another branch of the same function."""
        on_gpu = {
            self.branches[key] for key, each in self.sessions.items() if any(name in NVIDIA for name in each.providers or ())
        }
        return tuple(
            each
            for key, each in self.sessions.items()
            if self.branches[key] in on_gpu
            or not any(scope == self.branches[key][0] and blocks != self.branches[key][1] for scope, blocks in on_gpu)
        )

    # What a module does.

    def sweep_module(self, module: _Module) -> None:
        for scope in module.scopes:
            self.sweep(scope, {})

    def sweep(self, scope: _Scope, frame: Frame) -> None:
        """Look at every call of a scope; ``frame`` has the values of its parameters where they are known."""
        for target, value, use in scope.stores:
            if self.path(self.value(target.value, scope, use, frame)) == "os.environ":
                key = self.text(self.value(target.slice, scope, use, frame))
                self.variable(key, self.value(value, scope, use, frame), scope.module.place(target), use)
        for call, use in scope.calls:
            self.call(call, scope, use, frame)

    def call(self, node: ast.Call, scope: _Scope, use: _Use, frame: Frame) -> None:
        place = scope.module.place(node)
        self.value(node, scope, use, frame)  # it may make a model or a session
        arguments = [each.value if isinstance(each, ast.Starred) else each for each in node.args]
        arguments += [each.value for each in node.keywords]
        if isinstance(node.func, ast.Attribute):
            if node.func.attr in {"to", "cuda"} and scope.owner is not None and self.is_module(scope.owner):
                self.moves_inside = True
            for base in self.options(self.value(node.func.value, scope, use, frame)):
                if isinstance(base, _IsModel):
                    self.method(base.key, node, scope, use, frame, arguments)
                elif isinstance(base, _IsSession) and node.func.attr == "set_providers":
                    given = self.providers(self.argument(node, 0, "providers", scope, use, frame))
                    session = self.sessions[base.key]
                    merged = None if given is None or session.providers is None else (*session.providers, *given)
                    self.sessions[base.key] = session._replace(providers=merged)
        functions = self.options(self.value(node.func, scope, use, frame))
        for function in functions:
            if isinstance(function, _IsModel) and not isinstance(node.func, ast.Attribute):
                self.compute(function.key, place, arguments, scope, use, frame)
            elif isinstance(function, _IsModel) and isinstance(node.func, ast.Attribute):
                if node.func.attr not in _RETURNS_SELF | _CALLED | _NOT_THE_MODEL:
                    self.compute(function.key, place, arguments, scope, use, frame)
            elif isinstance(function, _Named):
                self.foreign(function.path, node, scope, use, frame)
            elif isinstance(function, _Code) and self.swept < _MOST_INLINED:
                bound = self.bound(function, node, scope, use, frame)
                if any(isinstance(each, (_IsModel, _IsSession)) for value in bound.values() for each in self.options(value)):
                    self.swept += 1
                    self.sweep(function.scope, bound)
                    self.swept -= 1
        self.escape(node, functions, arguments, scope, use, frame)

    def escape(
        self, node: ast.Call, functions: Sequence[Value], arguments: list[ast.expr], scope: _Scope, use: _Use, frame: Frame
    ) -> None:
        """Note models that are given to somebody who may move them: nothing is said of these."""
        for function in functions:
            if isinstance(function, (_Code, _IsModel)):
                continue
            if function is None and isinstance(node.func, ast.Name) and node.func.id in _HARMLESS:
                continue
            if isinstance(function, _Named) and (function.path in _SAME or function.path.startswith("torch.nn.functional")):
                continue
            for argument in arguments:
                for value in self.options(self.value(argument, scope, use, frame)):
                    self.escaped.update(self.keys(value))

    def keys(self, value: Value) -> list[str]:
        if isinstance(value, _IsModel):
            return [value.key]
        if isinstance(value, _Listed):
            return [key for each in value.items for part in self.options(each) for key in self.keys(part)]
        return []

    def method(self, key: str, node: ast.Call, scope: _Scope, use: _Use, frame: Frame, arguments: list[ast.expr]) -> None:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        place = scope.module.place(node)
        moves = self.moves.setdefault(key, {})
        if name == "eval":
            self.evaluated.add(key)
        elif name == "cuda":
            moves[place] = _ON_CUDA
        elif name == "cpu":
            moves[place] = _ON_CPU
        elif name == "to":
            target = self.argument(node, 0, "device", scope, use, frame)
            if node.args or any(each.arg == "device" for each in node.keywords):
                devices = self.devices(target)
                if devices or not self.is_dtype(target):
                    moves[place] = devices
        elif name.startswith("enable_") and name.endswith("_cpu_offload"):
            moves[place] = _SOMEWHERE  # diffusers moves each part to the GPU when its turn comes
        elif name in _CALLED:
            self.compute(key, place, arguments, scope, use, frame)

    def compute(self, key: str, place: Place, arguments: list[ast.expr], scope: _Scope, use: _Use, frame: Frame) -> None:
        self.called.setdefault(key, place)
        for number, argument in enumerate(arguments):
            values = self.options(self.value(argument, scope, use, frame))
            if any(isinstance(each, _Tensor) for each in values):
                each_device = [each.devices if isinstance(each, _Tensor) else _SOMEWHERE for each in values]
                known = all(each_device)
                self.inputs.setdefault(key, {})[place, number] = frozenset().union(*each_device) if known else _SOMEWHERE

    def foreign(self, path: str, node: ast.Call, scope: _Scope, use: _Use, frame: Frame) -> None:
        """Look at a call of a package's function."""
        place = scope.module.place(node)
        first = self.argument(node, 0, "", scope, use, frame)
        second = self.argument(node, 1, "", scope, use, frame)
        if path in _LOADERS and node.args:
            self.opened += [(name, place) for name in self.files(node.args[0], scope, use, frame)]
        if path in {"os.environ.setdefault", "os.putenv", "os.environ.__setitem__"}:
            self.variable(self.text(first), second, place, use)
        elif path == "os.environ.update":
            given = first.items if isinstance(first, _Mapping) else ()
            for key, value in (
                *given,
                *((_Const(each.arg), self.value(each.value, scope, use, frame)) for each in node.keywords),
            ):
                self.variable(self.text(key), value, place, use)
        elif path in {"torch.set_default_device", "torch.set_default_tensor_type"}:
            self.default_device = (
                self.default_device or path.endswith("device") or "cuda" in (self.text(first) or self.path(first))
            )
        elif path == "torch.device":
            self.default_device = self.default_device or id(node) in scope.module.contexts
        elif path == "onnxruntime.preload_dlls":
            self.preloads = True
        elif path in {"torch.cuda.is_available", "torch.cuda.device_count"}:
            self.fallbacks.append(place)
        elif path.startswith("tensorflow.") and path.endswith(".set_visible_devices"):
            if first == _Listed(()) and (
                self.text(second) or self.text(self.keyword(node, "device_type", scope, use, frame))
            ) in {"GPU", ""}:
                self.hidden.append(Hidden("tensorflow", "set_visible_devices([], 'GPU')", place, not use.blocks))
        elif path in {"tensorflow.device", "tensorflow.compat.v1.device"}:
            if "CPU" in self.text(first).upper().replace("/", "").split(":"):
                below = [part for each in scope.module.contexts.get(id(node), ()) for part in ast.walk(each)]
                sure = not use.blocks and any(self.computes(each, scope) for each in below if isinstance(each, ast.Call))
                self.hidden.append(Hidden("tensorflow", f"tf.device({self.text(first)!r})", place, sure))
        elif (
            path == "jax.config.update"
            and self.text(first) in {"jax_platform_name", "jax_platforms"}
            and self.text(second) == "cpu"
        ):
            self.hidden.append(Hidden("jax", f"jax.config.update({self.text(first)!r}, 'cpu')", place, not use.blocks))

    def files(self, node: ast.expr, scope: _Scope, use: _Use, frame: Frame) -> tuple[str, ...]:
        """Return the relative path that an expression ends with: ``here / "m.onnx"``, ``os.path.join(here, "m.onnx")``, ``"m.onnx"``."""
        if (
            isinstance(node, ast.Call)
            and node.args
            and _last(node.func) in {"str", "open", "join", "Path", "joinpath", "fspath", "abspath"}
        ):
            return self.files(node.args[-1] if _last(node.func) != "open" else node.args[0], scope, use, frame)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            return self.files(node.right, scope, use, frame)
        if isinstance(node, ast.Name):
            found = [each.value for each in scope.bindings.get(node.id, ()) if each.value is not None]
            if len(found) == 1 and not isinstance(found[0], ast.Name):
                return self.files(found[0], scope, use, frame)
        text = self.text(self.value(node, scope, use, frame))
        return (text,) if text and not text.startswith(("/", "~", "$")) and "://" not in text else ()

    def computes(self, node: ast.Call, scope: _Scope) -> bool:
        """Say whether a call makes, loads or calls a model, as far as its name tells: preparing inputs on the CPU is right."""
        name = _last(node.func)
        if name in _CALLED | {"load_model", "load", "Sequential", "Model"} or "model" in name.lower():
            return True
        if any(isinstance(each, ast.Attribute) and each.attr == "artifacts" for each in ast.walk(node.func)):
            return True
        # A variable that is called, and which is no function of the bundle's.
        here = isinstance(node.func, ast.Name) and (name in scope.bindings or name in scope.module.scope.bindings)
        return here and self.value(node.func, scope, _Use((node.lineno, node.col_offset), ()), {}) is None

    def variable(self, name: str, value: Value, place: Place, use: _Use) -> None:
        """Look at an environment variable that the code sets."""
        if not isinstance(value, _Const):
            return
        text = str(value.value).strip()
        if name == "CUDA_VISIBLE_DEVICES" and text in {"", "-1"}:
            self.hidden.append(Hidden("", f"CUDA_VISIBLE_DEVICES={text!r}", place, not use.blocks))
        elif name == "NVIDIA_VISIBLE_DEVICES" and text in {"void", "none"}:
            self.hidden.append(Hidden("", f"NVIDIA_VISIBLE_DEVICES={text!r}", place, not use.blocks))
        elif name in {"JAX_PLATFORMS", "JAX_PLATFORM_NAME"} and text == "cpu":
            self.hidden.append(Hidden("jax", f"{name}='cpu'", place, not use.blocks))

    # What an expression stands for.

    def value(self, node: ast.expr, scope: _Scope, use: _Use, frame: Frame) -> Value:
        """Return what an expression may stand for at a place; None where that cannot be told."""
        if not frame and id(node) in self.known:
            return self.known[id(node)]
        self.steps += 1
        key = (id(node), id(frame) if frame else 0)
        if self.steps > _MOST_STEPS or self.nested >= _MOST_NESTED or key in self.busy:
            self.cuts += 1
            return None
        self.busy.add(key)
        self.nested += 1
        cuts = self.cuts
        try:
            found = self.worked_out(node, scope, use, frame)
        finally:
            self.busy.discard(key)
            self.nested -= 1
        if not frame and cuts == self.cuts:
            self.known[id(node)] = found  # what was cut short may be told better from another place
        return found

    def worked_out(self, node: ast.expr, scope: _Scope, use: _Use, frame: Frame) -> Value:
        def inner(part: ast.expr) -> Value:
            return self.value(part, scope, use, frame)

        if isinstance(node, ast.Constant):
            return _Const(node.value)
        if isinstance(node, ast.Name):
            return self.name(node.id, scope, use, frame)
        if isinstance(node, ast.Attribute):
            return _many(self.attribute(base, node.attr, scope, use) for base in self.options(inner(node.value)))
        if isinstance(node, ast.Call):
            return self.result(node, scope, use, frame)
        if isinstance(node, ast.IfExp):
            return _many((inner(node.body), inner(node.orelse)))
        if isinstance(node, ast.BoolOp):
            return _many(inner(each) for each in node.values)
        if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
            return _Listed(tuple(inner(each) for each in node.elts[:1000]))
        if isinstance(node, ast.Dict):
            pairs = [(each, value) for each, value in zip(node.keys, node.values, strict=True) if each is not None]
            return _Mapping(tuple((inner(each), inner(value)) for each, value in pairs[:1000]))
        if isinstance(node, ast.JoinedStr):
            return self.joined(node, inner)
        if isinstance(node, ast.Subscript):
            return _many(self.item(base, node, inner) for base in self.options(inner(node.value)))
        if isinstance(node, ast.BinOp):
            return self.added(inner(node.left), inner(node.right))
        if isinstance(node, (ast.ListComp, ast.SetComp, ast.GeneratorExp)):
            return _Listed((inner(node.elt),))
        if isinstance(node, (ast.Await, ast.NamedExpr, ast.Starred)):
            return inner(node.value)
        return None

    def added(self, left: Value, right: Value) -> Value:
        """Return the sum of two values: of lists, which may be one of several, or of tensors."""
        found: list[Value] = []
        for first in self.options(left):
            for second in self.options(right):
                if isinstance(first, _Listed) and isinstance(second, _Listed):
                    found.append(_Listed((*first.items, *second.items)))
                else:
                    found.append(next((each for each in (first, second) if isinstance(each, _Tensor)), None))
        return _many(found[:_MOST_LISTS]) if len(found) <= _MOST_LISTS else None

    def joined(self, node: ast.JoinedStr, inner: Callable[[ast.expr], Value]) -> Value:
        words = ""
        for each in node.values:
            value = inner(each.value) if isinstance(each, ast.FormattedValue) else inner(each)
            if not isinstance(value, _Const):
                return _Const(words) if words.startswith(("cuda", "cpu")) else None
            words += str(value.value)
        return _Const(words)

    def item(self, base: Value, node: ast.Subscript, inner: Callable[[ast.expr], Value]) -> Value:
        if isinstance(base, _Tensor):
            return base
        wanted = inner(node.slice)
        if isinstance(base, _Artifacts):
            return self.artifact(self.text(wanted), base.path)
        if isinstance(base, _Mapping):
            return next((value for each, value in base.items if each == wanted), None)
        if isinstance(base, _Listed) and wanted == _Const(_ANY):
            return _many(base.items)
        if isinstance(base, _Listed) and isinstance(wanted, _Const) and isinstance(wanted.value, int):
            return base.items[wanted.value] if -len(base.items) <= wanted.value < len(base.items) else None
        return None

    def name(self, name: str, scope: _Scope, use: _Use, frame: Frame) -> Value:
        here: _Scope | None = scope
        first = True
        while here is not None:
            if here.is_class() and not first:
                here = here.parent
                continue
            if name in here.params and (not first or name not in here.bindings or name in frame):
                if first and name in frame:
                    own = frame[name]
                    later = self.bound_to(here, name, use, frame) if name in here.bindings else None
                    return _many((own, later)) if later is not None else own
                is_self = here.owner is not None and here.params[:1] == (name,) and not here.is_class()
                return _Instance(here.owner) if is_self and here.owner is not None else None
            if name in here.bindings and name not in scope.globals - ({name} if here.parent is None else set()):
                return self.bound_to(here, name, use if first else None, frame if first else {})
            here, first = here.parent, False
        return None

    def bound_to(self, scope: _Scope, name: str, use: _Use | None, frame: Frame) -> Value:
        found = _reaching(scope.bindings[name], use)
        values = [self.of(each, scope, frame) for each in found]
        if use is not None and name in scope.params and found[-1].blocks:
            values.append(None)  # the argument itself may still be there
        return _many(values)

    def of(self, binding: _Binding, scope: _Scope, frame: Frame) -> Value:
        if binding.value is not None:
            return self.value(binding.value, scope, _Use(binding.at, binding.blocks), frame)
        return self.resolved(binding.known)

    def resolved(self, value: Value) -> Value:
        """Return what an imported name stands for where it is one of the bundle's own."""
        if not isinstance(value, _Named):
            return value
        if value.path in self.by_name:
            return _Own(self.by_name[value.path])
        module, _, name = value.path.rpartition(".")
        if module in self.by_name:
            return self.attribute(_Own(self.by_name[module]), name)
        return value

    def attribute(self, base: Value, name: str, scope: _Scope | None = None, use: _Use | None = None) -> Value:
        if isinstance(base, _Named):
            return self.resolved(_Named(f"{base.path}.{name}"))
        if isinstance(base, _Own):
            if name in base.module.scope.bindings:
                return self.bound_to(base.module.scope, name, None, {})
            whole = next((f"{each}.{name}" for each in base.module.names if f"{each}.{name}" in self.by_name), "")
            return _Own(self.by_name[whole]) if whole else None
        if isinstance(base, _IsModel):
            return None if name in _NOT_THE_MODEL else base
        if isinstance(base, _Tensor):
            return None if name in _LEAVES_TORCH else base
        if isinstance(base, _Artifacts):
            return None if name == "get" else self.artifact(name, base.path)
        if isinstance(base, (_Instance, _Class)):
            return self.member(base, name, scope, use)
        return None

    def member(self, base: _Instance | _Class, name: str, scope: _Scope | None, use: _Use | None) -> Value:
        """Return what an attribute of a class or its instance stands for, seen from a place; of several classes the nearest one's."""
        classes, _ = self.lineage(base.scope)
        for each in classes:
            if name in each.attributes:
                return self.assigned(each.attributes[name], scope, use)
            if name in each.bindings:
                value = self.bound_to(each, name, None, {})
                if not isinstance(value, _Code) or not isinstance(base, _Instance) or value.scope.kind == "static":
                    return value
                if value.scope.kind == "property":
                    return _many(self.value(given, value.scope, where, {}) for given, where in value.scope.returns[:20])
                return value._replace(bound=each)
        return _Artifacts(base.scope.module.path) if name == "artifacts" else None

    def assigned(self, bindings: list[tuple[_Scope, _Binding]], scope: _Scope | None, use: _Use | None) -> Value:
        """Return what methods give an attribute: what this method has surely given it before, else what any of them does."""
        by_scope: dict[int, tuple[_Scope, list[_Binding]]] = {}
        for where, binding in bindings:
            by_scope.setdefault(id(where), (where, []))[1].append(binding)
        before: list[_Binding] = []
        if scope is not None and use is not None and id(scope) in by_scope:
            before = [each for each in _reaching(by_scope[id(scope)][1], use) if each.at < use.at]
            if before and before[-1].blocks == use.blocks[: len(before[-1].blocks)]:
                return _many(self.of(each, scope, {}) for each in before)
        found = [self.of(each, scope, {}) for each in before if scope is not None]
        for where, all_ in by_scope.values():
            if where is not scope or len(by_scope) == 1:
                found += [self.of(each, where, {}) for each in _reaching(all_, None) if each not in before]
        return _many(found)

    def lineage(self, scope: _Scope) -> tuple[list[_Scope], list[str]]:
        """Return a class and the classes of the bundle that it is made from, and the names of those that are not the bundle's."""
        classes: list[_Scope] = []
        foreign: list[str] = []
        todo = [scope]
        while todo and len(classes) < _MOST_CLASSES:
            each = todo.pop(0)
            if each in classes or not isinstance(each.node, ast.ClassDef) or each.parent is None:
                continue
            classes.append(each)
            use = _Use((each.node.lineno, each.node.col_offset), ())
            for node in each.node.bases:
                for base in self.options(self.value(node, each.parent, use, {})):
                    todo += [base.scope] if isinstance(base, _Class) else []
                    foreign += [base.path] if isinstance(base, _Named) else []
        return classes, foreign

    def is_module(self, scope: _Scope) -> bool:
        """Say whether a class is a torch model."""
        _, foreign = self.lineage(scope)
        return any(path in _MODULES or path.endswith((".LightningModule", ".PreTrainedModel")) for path in foreign)

    def result(self, node: ast.Call, scope: _Scope, use: _Use, frame: Frame) -> Value:
        """Return what a call gives back."""
        if isinstance(node.func, ast.Attribute):
            base = self.value(node.func.value, scope, use, frame)
            found = [self.of_method(each, node, scope, use, frame) for each in self.options(base)]
            if any(each is not None for each in found):
                return _many(found)
        functions = self.options(self.value(node.func, scope, use, frame))
        if functions == (None,) and isinstance(node.func, ast.Name):
            return self.built_in(node.func.id, node, scope, use, frame)
        return _many(self.returned(each, node, scope, use, frame) for each in functions)

    def built_in(self, name: str, node: ast.Call, scope: _Scope, use: _Use, frame: Frame) -> Value:
        """Return what Python's own functions make of lists and of arguments by name."""
        if name in _AS_LIST:
            return self.argument(node, 0, "", scope, use, frame) if node.args else _Listed(())
        if name == "dict" and not node.args and all(each.arg for each in node.keywords):
            return _Mapping(tuple((_Const(each.arg), self.value(each.value, scope, use, frame)) for each in node.keywords))
        return None

    def of_method(self, base: Value, node: ast.Call, scope: _Scope, use: _Use, frame: Frame) -> Value:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        if isinstance(base, _Artifacts) and name == "get":
            return self.artifact(self.text(self.argument(node, 0, "", scope, use, frame)), base.path)
        if isinstance(base, _IsModel):
            return base if name in _RETURNS_SELF else _Tensor(_SOMEWHERE) if name in _CALLED else None
        if isinstance(base, _Mapping) and name == "get":
            wanted = self.argument(node, 0, "", scope, use, frame)
            return next((value for each, value in base.items if each == wanted), None)
        if not isinstance(base, _Tensor):
            return None
        if name == "cuda":
            return _Tensor(_ON_CUDA)
        if name == "cpu":
            return _Tensor(_ON_CPU)
        if name == "to":
            target = self.argument(node, 0, "device", scope, use, frame)
            devices = self.devices(target)
            given = bool(node.args) or any(each.arg == "device" for each in node.keywords)
            return base if not given or (not devices and self.is_dtype(target)) else _Tensor(devices)
        return None if name in _LEAVES_TORCH else base

    def returned(self, function: Value, node: ast.Call, scope: _Scope, use: _Use, frame: Frame) -> Value:
        if isinstance(function, _Named):
            return self.made(function.path, node, scope, use, frame)
        if isinstance(function, _IsModel):
            return _Tensor(_SOMEWHERE)
        if isinstance(function, _Class):
            if self.is_module(function.scope):
                name = getattr(function.scope.node, "name", "")
                return self.born(_Birth(f"the {name}", "cpu", "", scope.module.place(node)), node, scope)
            return _Instance(function.scope)
        if isinstance(function, _Code):
            if self.inlined >= _MOST_INLINED:
                self.cuts += 1
                return None
            self.inlined += 1
            bound = self.bound(function, node, scope, use, frame)
            found = _many(self.value(value, function.scope, where, bound) for value, where in function.scope.returns[:20])
            self.inlined -= 1
            return found
        return None

    def bound(self, function: _Code, node: ast.Call, scope: _Scope, use: _Use, frame: Frame) -> Frame:
        """Return the values that a call gives to a function's parameters."""
        names = list(function.scope.params)
        found: Frame = {}
        if function.bound is not None and names:
            found[names.pop(0)] = _Instance(function.bound)
        for name, each in zip(names, node.args, strict=False):
            if isinstance(each, ast.Starred):
                break
            found[name] = self.value(each, scope, use, frame)
        found |= {each.arg: self.value(each.value, scope, use, frame) for each in node.keywords if each.arg in names}
        return found

    def made(self, path: str, node: ast.Call, scope: _Scope, use: _Use, frame: Frame) -> Value:
        """Return what a function of a package gives back: models, sessions, tensors and devices are known."""

        def argument(number: int, name: str) -> Value:
            return self.argument(node, number, name, scope, use, frame)

        package, _, last = path.rpartition(".")
        place = scope.module.place(node)
        if path in {"torch.device", "str"} and (node.args or node.keywords):
            return argument(0, "device")
        if path == "torch.cuda.current_device":
            return _Const("cuda:0")
        if path in _SAME:
            return argument(0, "")
        if path in {"os.getenv", "os.environ.get"}:
            return _many((argument(1, "default"), None))
        if path in {"torch.load", "torch.jit.load"}:
            where = argument(1, "map_location")
            born = "as saved" if where is None and not self.given(node, 1, "map_location") else _born(where, self.devices(where))
            file = self.text(argument(0, "f")).rpartition("/")[2]
            return self.born(_Birth(f"the model that {path}() loads", born, file, place), node, scope)
        if path in {"bentoml.pytorch.load_model", "bentoml.torchscript.load_model", "bentoml.pytorch_lightning.load_model"}:
            where = argument(1, "device_id")
            born = "cpu" if not self.given(node, 1, "device_id") else _born(where, self.devices(where))
            return self.born(_Birth(f"the model that {path}() loads", born, "", place), node, scope)
        if last == "from_pretrained" and package.startswith(("transformers.", "diffusers.")):
            kind = package.rpartition(".")[2]
            if "Model" not in kind and "For" not in kind and "Pipeline" not in kind:
                return None
            born = "unknown" if any(each.arg in {"device_map", None} for each in node.keywords) else "cpu"
            return self.born(_Birth(f"the {kind}", born, "", place), node, scope)
        if path == "torch.hub.load":
            # Others' hub code may choose the device itself, as YOLOv5's does.
            born = "cpu" if self.text(argument(0, "")).startswith("pytorch/vision") else "unknown"
            return self.born(_Birth("the model of torch.hub.load()", born, "", place), node, scope)
        if path == "timm.create_model" or (path.startswith("torchvision.models.") and last.islower()):
            return self.born(_Birth(f"the model of {path}()", "cpu", "", place), node, scope)
        if package == "torch.nn" and (
            last.startswith(_WITH_PARAMETERS) or (last == "Sequential" and self.of_models(node, scope, use, frame))
        ):
            return self.born(_Birth(f"the {last}", "cpu", "", place), node, scope)
        if package == "torch" and last in _TENSORS:
            return self.tensor(node, scope, use, frame)
        if package == "torch.cuda" and last.endswith("Tensor"):
            return _Tensor(_ON_CUDA)
        how = _session_maker(path)
        if how:
            return self.session(how, node, scope, use, frame)
        if path == "onnxruntime.get_available_providers":
            return _Listed((_Const("CUDAExecutionProvider"), _Const("CPUExecutionProvider")))
        return None

    def of_models(self, node: ast.Call, scope: _Scope, use: _Use, frame: Frame) -> bool:
        """Say whether a call is given a model: a sequence of transforms alone is none."""
        given = [self.value(each.value if isinstance(each, ast.Starred) else each, scope, use, frame) for each in node.args]
        return any(self.keys(part) for each in given for part in self.options(each))

    def tensor(self, node: ast.Call, scope: _Scope, use: _Use, frame: Frame) -> Value:
        named = next((each.value for each in node.keywords if each.arg == "device"), None)
        if named is not None:
            return _Tensor(self.devices(self.value(named, scope, use, frame)))
        first = self.argument(node, 0, "", scope, use, frame)
        given = first.items if isinstance(first, _Listed) else (first,)
        tensors = [part for each in given for part in self.options(each) if isinstance(part, _Tensor)]
        last = _last(node.func)
        if tensors:
            return _Tensor(frozenset().union(*(each.devices for each in tensors)))
        return _Tensor(_SOMEWHERE if last in {"stack", "cat", "concat", "as_tensor", "zeros_like", "ones_like"} else _ON_CPU)

    def session(self, how: str, node: ast.Call, scope: _Scope, use: _Use, frame: Frame) -> Value:
        def argument(number: int, name: str) -> Value:
            return self.argument(node, number, name, scope, use, frame)

        place = scope.module.place(node)
        number, name = (2, "providers") if how.endswith(("InferenceSession", "OnnxModelArtifact")) else (1, "providers")
        if "from_pretrained" in how:
            name = "provider"
            number = 99
        given = argument(number, name) if self.given(node, number, name) else _Listed(())
        starred = [self.value(each.value, scope, use, frame) for each in node.keywords if each.arg is None]
        options = [pair for each in starred if isinstance(each, _Mapping) for pair in each.items]
        given = next((value for key, value in options if key == _Const(name)), given)
        followed = all(isinstance(each, _Mapping) for each in starred)
        unpacked = any(isinstance(each, ast.Starred) for each in node.args) or not followed
        providers = None if unpacked and given == _Listed(()) else self.providers(given)
        key = f"{place}:{node.col_offset}"
        if key not in self.sessions:
            self.sessions[key] = Session(how, providers, place)
            self.branches[key] = (id(scope), use.blocks)
        return _IsSession(key)

    def artifact(self, name: str, path: str) -> Value:
        """Return what an artifact of a BentoML service stands for; whether it is torch's is for who knows the bundle to say."""
        if not name:
            return None
        key = f"artifact {name}"
        self.births.setdefault(key, _Birth(f"the artifact {name}", "as saved", name, Place(path)))
        return _IsModel(key)

    def born(self, birth: _Birth, node: ast.Call, scope: _Scope) -> Value:
        key = f"{birth.at}:{node.col_offset}"
        self.births.setdefault(key, birth)
        if scope.owner is not None and self.is_module(scope.owner):
            self.parts.add(key)  # a part of a model goes where the model goes
        return _IsModel(key)

    # Helpers on values.

    def given(self, node: ast.Call, number: int, name: str) -> bool:
        return len(node.args) > number or any(each.arg == name for each in node.keywords)

    def argument(self, node: ast.Call, number: int, name: str, scope: _Scope, use: _Use, frame: Frame) -> Value:
        """Return an argument by its position or its name, None where it is not given or cannot be told."""
        for each in node.keywords:
            if name and each.arg == name:
                return self.value(each.value, scope, use, frame)
        if len(node.args) > number and not any(isinstance(each, ast.Starred) for each in node.args[: number + 1]):
            return self.value(node.args[number], scope, use, frame)
        return None

    def keyword(self, node: ast.Call, name: str, scope: _Scope, use: _Use, frame: Frame) -> Value:
        return self.argument(node, len(node.args), name, scope, use, frame)

    def options(self, value: Value) -> tuple[Value, ...]:
        return value.options if isinstance(value, _Many) else (value,)

    def text(self, value: Value) -> str:
        return value.value if isinstance(value, _Const) and isinstance(value.value, str) else ""

    def path(self, value: Value) -> str:
        return value.path if isinstance(value, _Named) else ""

    def is_dtype(self, value: Value) -> bool:
        return any(isinstance(each, _Named) and each.path.startswith("torch.") for each in self.options(value))

    def devices(self, value: Value) -> frozenset[str]:
        """Return the devices that a value may name; none where one of its options cannot be told."""
        found = set()
        for each in self.options(value):
            said = each.value if isinstance(each, _Const) else None
            if isinstance(said, int) and not isinstance(said, bool):
                said = "cuda"
            if isinstance(each, _Tensor):
                said = next(iter(each.devices), None)
            if not isinstance(said, str):
                return _SOMEWHERE
            found.add("cuda" if said.startswith("cuda") else "cpu" if said.startswith("cpu") else "other")
        return frozenset(found)

    def providers(self, value: Value) -> tuple[str, ...] | None:
        """Return all names of providers in a value; None where a part of it cannot be told, and none for NVIDIA's GPUs is seen."""
        found: list[str] = []
        untold = False
        for each in self.options(value):
            untold = untold or each is None or isinstance(each, (_IsModel, _Named))
            if isinstance(each, _Const) and isinstance(each.value, str):
                found.append(each.value)
            for part in each.items if isinstance(each, _Listed) else ():
                for one in self.options(part):
                    named = self.options(one.items[0])[0] if isinstance(one, _Listed) and one.items else one
                    if isinstance(named, _Const):
                        found.append(str(named.value))
                    else:
                        untold = True
        # One that is surely among them is enough to say that it may be passed.
        return None if untold and not any(name in NVIDIA for name in found) else tuple(dict.fromkeys(found))


def _session_maker(path: str) -> str:
    """Return the name of a call that makes an ONNX Runtime session, as its documentation has it; empty where it makes none."""
    package, _, last = path.rpartition(".")
    if last == "InferenceSession" and package.partition(".")[0] == "onnxruntime":
        return "InferenceSession"
    if last == "OnnxModelArtifact" and package.startswith("bentoml"):
        return last
    if path == "bentoml.onnx.load_model":
        return path
    if last == "from_pretrained" and package.startswith("optimum.onnxruntime."):
        return f"{package.rpartition('.')[2]}.from_pretrained"
    return ""


def _born(value: Value, devices: frozenset[str]) -> str:
    if value == _Const(None):
        return "as saved"
    return "cuda" if "cuda" in devices else "cpu" if devices == _ON_CPU else "unknown"


def _many(values: Iterable[Value]) -> Value:
    """Return one value for several that are possible."""
    flat: list[Value] = []
    for each in values:
        for part in each.options if isinstance(each, _Many) else (each,):
            if part not in flat and len(flat) < 50:
                flat.append(part)
    return flat[0] if len(flat) == 1 else _Many(tuple(flat)) if flat else None


def _reaching(bindings: list[_Binding], use: _Use | None) -> list[_Binding]:
    """Return the assignments that may hold at a place (None: from another scope, once all have run), the last one first."""
    found = []
    for each in reversed(bindings):
        if use is not None and each.at >= use.at:
            continue
        found.append(each)
        if each.blocks == (use.blocks[: len(each.blocks)] if use is not None else ()):
            break
    return found or list(reversed(bindings))


def _words(module: _Module) -> Iterator[str]:
    for node in ast.walk(module.tree or ast.Module([], [])):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < 100:
            yield node.value


def _undefined(module: _Module) -> Iterator[tuple[str, Place]]:
    """Yield names that functions use and nothing defines: calling them raises NameError. Nothing where names may come from elsewhere."""
    import builtins
    import symtable

    tree = module.tree
    if tree is None or any(
        each.name == "*" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for each in node.names
    ):
        return
    used: dict[str, list[ast.Name]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            used.setdefault(node.id, []).append(node)
    if used.keys() & {"globals", "exec", "eval", "locals", "vars", "setattr", "__builtins__"}:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            top = symtable.symtable(module.text, module.path, "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    known = {each.get_name() for each in top.get_symbols() if each.is_assigned() or each.is_imported() or each.is_namespace()}
    known |= set(dir(builtins)) | {"__file__", "__name__", "__path__", "__spec__", "__loader__", "__package__", "__annotations__"}
    known |= {"__class__", "__module__", "__qualname__", "WindowsError", "reveal_type"} | _OTHER_PYTHONS
    tables = [top]
    wanted: dict[str, int] = {}
    while tables:
        table = tables.pop()
        tables += table.get_children()
        for each in table.get_symbols():
            if each.is_global() and each.is_assigned():
                known.add(each.get_name())
            if each.is_referenced() and (not each.is_assigned() if table is top else each.is_global() and not each.is_local()):
                wanted.setdefault(each.get_name(), table.get_lineno())
    annotations = {
        part.id
        for node in ast.walk(tree)
        for each in (getattr(node, "annotation", None), getattr(node, "returns", None))
        if isinstance(each, ast.expr)
        for part in ast.walk(each)
        if isinstance(part, ast.Name)
    }
    for name, first in wanted.items():
        if name not in known and name not in annotations and name in used:
            # Another function may have a variable of that name, above the one in which there is none.
            there = sorted(used[name], key=lambda node: (node.lineno < first, node.lineno))
            yield name, module.place(there[0])
