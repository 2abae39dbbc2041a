"""What the bundle's pickles do when they are loaded: what they call that no model needs, and the modules that they need and lack.

What a newcomer must know:

- Loading a pickle runs it. ``dangerous-pickle`` as an error refuses the bundle without ``--trust``; whoever trusts it runs it.
- A name that starts programs, runs code, reads files or opens a connection is an error even where it is only imported: what a pickle
  imports can be called in more ways than can be told.
- A class of the bundle's own, and cloudpickle's copy of one, are what a packed model consists of. They are no finding, but what
  functions that a pickle carries use is worth a look, for that is code which no file of the bundle shows.
- TorchScript's pickles are read by torch's C++ reader, which imports nothing: their modules are none of Python's.

Sources: the lists of names are those of CPython's own modules by what their documentation says that they do, and of the reconstructors
that cloudpickle, numpy, torch, pandas, scikit-learn and joblib write.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Literal

from gpudoctor.bundle import Check, Place, contents
from gpudoctor.bundle.checks import artifacts
from gpudoctor.bundle.pickles import REACHING
from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.bundle import Artifact, Bundle
    from gpudoctor.bundle.contents import Content
    from gpudoctor.bundle.files import Files
    from gpudoctor.bundle.pickles import Code, Pickle, Use
    from gpudoctor.facts import Facts


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_CURE = "Do not load it unless you trust who packed it (--trust); ask them what it is for, or pack the model again as ONNX or safetensors."
_MOST_SAID = 8
_RUNS = "runs code"
_STARTS = "starts programs"
_FILES = "reads or writes files"
_NETWORK = "opens connections"
_IMPORTS = "imports whatever it is told"
_INSIDE = "reaches into the interpreter"

_MODULES = {
    _STARTS: _set(
        "os posix nt subprocess _posixsubprocess _winapi pty popen2 commands platform webbrowser antigravity pip ensurepip venv distutils "
        "setuptools pkg_resources concurrent multiprocessing _multiprocessing asyncio sched signal test idlelib turtledemo pydoc cgitb "
        "_osx_support _aix_support _pyrepl pexpect ptyprocess fabric invoke sh plumbum"
    ),
    _RUNS: _set(
        "code codeop runpy pdb bdb cmd timeit profile cProfile trace doctest unittest lib2to3 marshal _marshal rlcompleter "
        "IPython ctypes _ctypes cffi _xxsubinterpreters _interpreters _testcapi xmlrpc atexit threading _thread _threading_local "
        "tkinter turtle mako"
    ),
    _IMPORTS: _set("importlib imp pkgutil zipimport modulefinder _imp _frozen_importlib _frozen_importlib_external site"),
    _FILES: _set(
        "shutil tempfile glob fileinput linecache mmap zipfile tarfile gzip bz2 lzma shelve dbm sqlite3 _sqlite3 filecmp netrc "
        "configparser fcntl termios fsspec"
    ),
    _NETWORK: _set(
        "socket _socket socketserver ssl _ssl select selectors urllib http ftplib telnetlib smtplib smtpd poplib imaplib nntplib asyncore "
        "asynchat wsgiref requests httpx aiohttp urllib3 paramiko boto3 botocore websocket websockets zmq git docker kubernetes"
    ),
    _INSIDE: _set("sys gc inspect faulthandler tracemalloc symtable dis _symtable opcode sysconfig pyclbr resource"),
}
"""By what they do: modules of which nothing belongs into a model."""
_DANGEROUS = {module: why for why, modules in _MODULES.items() for module in modules}

_BUILTINS_DANGEROUS = {
    **dict.fromkeys(_set("eval exec compile execfile apply breakpoint input raw_input __build_class__"), _RUNS),
    **dict.fromkeys(_set("__import__ reload __loader__ __spec__ __builtins__"), _IMPORTS),
    **dict.fromkeys(_set("open file"), _FILES),
    **dict.fromkeys(_set("globals locals vars setattr delattr exit quit help"), _INSIDE),
}
_NAMES_DANGEROUS = {
    "types.FunctionType": _RUNS,
    "types.LambdaType": _RUNS,
    "types.CodeType": _RUNS,
    "types.ModuleType": _INSIDE,
    "types.new_class": _RUNS,
    "typing.get_type_hints": _RUNS,
    "typing._eval_type": _RUNS,
    "dataclasses._create_fn": _RUNS,
    "dataclasses._FuncBuilder": _RUNS,
    "copyreg.add_extension": "changes how pickles are loaded",
    "copyreg.pickle": "changes how pickles are loaded",
    "copyreg.dispatch_table": "changes how pickles are loaded",
    "logging.config": _RUNS,
    "logging.FileHandler": _FILES,
    "logging.handlers": _NETWORK,
    "logging.basicConfig": _FILES,
    "io.open": _FILES,
    "io.open_code": _FILES,
    "io.FileIO": _FILES,
    "_io.open": _FILES,
    "_io.open_code": _FILES,
    "_io.FileIO": _FILES,
    "_pyio.open": _FILES,
    "codecs.open": _FILES,
    "uuid._get_command_stdout": _STARTS,
    "uuid._popen": _STARTS,
    "weakref.finalize": _RUNS,
    "contextlib.ExitStack": _RUNS,
    "pickle.Unpickler": "loads another pickle",
    "pickle._Unpickler": "loads another pickle",
    "_pickle.Unpickler": "loads another pickle",
    "pickle.load": "loads another pickle",
    "_pickle.load": "loads another pickle",
    "joblib.load": "loads another pickle",
    "joblib.numpy_pickle.load": "loads another pickle",
    "joblib.Memory": _FILES,
    "cloudpickle.load": "loads another pickle",
    "dill._dill._eval_repr": _RUNS,
    "dill._dill._create_filehandle": _FILES,
    "dill.load": "loads another pickle",
    "dill.source": _RUNS,
    "numpy.load": "loads another pickle",
    "numpy.lib.npyio.load": "loads another pickle",
    "numpy.lib._npyio_impl.load": "loads another pickle",
    "numpy.testing": _RUNS,
    "numpy.f2py": _STARTS,
    "numpy.distutils": _STARTS,
    "numpy.ctypeslib": _RUNS,
    "numpy.fromfile": _FILES,
    "numpy.loadtxt": _FILES,
    "numpy.genfromtxt": _FILES,
    "numpy.save": _FILES,
    "numpy.savez": _FILES,
    "numpy.savetxt": _FILES,
    "numpy.DataSource": _FILES,
    "pandas.read_pickle": "loads another pickle",
    "pandas.io.pickle": "loads another pickle",
    "pandas.io.common": _FILES,
    "pandas.eval": _RUNS,
    "pandas.core.computation": _RUNS,
    "torch.hub": "downloads code and runs it",
    "torch.load": "loads another pickle",
    "torch.serialization": "loads another pickle",
    "torch.jit.load": _FILES,
    "torch.package": _RUNS,
    "torch.utils.cpp_extension": _STARTS,
    "torch.utils.bottleneck": _STARTS,
    "torch.utils.collect_env": _STARTS,
    "torch.utils.model_zoo": "downloads a pickle and loads it",
    "torch.utils._config_module": "loads another pickle",
    "torch.utils.data.datapipes": "loads another pickle",
    "torch.jit.unsupported_tensor_ops": _RUNS,
    "torch.fx.experimental": _RUNS,
    "torch.fx.graph_module.reduce_graph_module": "runs Python code that the pickle has as text",
    "torch.fx.graph_module.reduce_package_graph_module": "runs Python code that the pickle has as text",
    "torch.fx.graph_module.reduce_deploy_graph_module": "runs Python code that the pickle has as text",
    "torch.fx.graph_module._forward_from_src": "runs Python code that the pickle has as text",
    "torch.fx.graph_module._exec_with_source": "runs Python code that the pickle has as text",
    "torch.ops": _RUNS,
    "torch._ops": _RUNS,
    "torch.classes": _RUNS,
    "torch._classes": _RUNS,
    "torch._dynamo": _RUNS,
    "torch._inductor": _STARTS,
    "torch.distributed.rpc": _NETWORK,
    "torch.distributed.run": _STARTS,
    "torch.distributed.launch": _STARTS,
    "torch.distributed.elastic": _STARTS,
    "torch.distributed.nn": _RUNS,
    "torch.multiprocessing": _STARTS,
    "torch.testing": _RUNS,
    "tensorflow.io": _FILES,
    "tensorflow.py_function": _RUNS,
    "tensorflow.numpy_function": _RUNS,
    "tensorflow.load_op_library": _RUNS,
    "tensorflow.load_library": _RUNS,
    "keras.utils.get_file": "downloads files",
    "keras.src.utils.file_utils": "downloads files",
    "bentoml.load": _RUNS,
    "mlflow.pyfunc": _RUNS,
}
"""Names, and packages with all that is in them, by what they do."""
_CALLING = {
    **dict.fromkeys(
        _set("reduce partialmethod call starmap accumulate takewhile dropwhile filterfalse groupby map filter"),
        "runs what it is given",
    ),
    "methodcaller": "calls a method by its name",
    "attrgetter": "takes attributes by their names",
    "setitem": "writes into what it is given",
    "delitem": "writes into what it is given",
}
"""Of functools, itertools, operator and builtins: what calls others, and so is dangerous where it is called itself."""
_COMPONENTS = _set(
    "os posix nt sys subprocess shutil builtins __builtin__ __builtins__ importlib ctypes socket pty runpy pickle _pickle marshal "
    "multiprocessing asyncio system popen Popen __import__ exec execfile execv execve execvp spawnl spawnv posix_spawn check_output "
    "check_call getoutput getstatusoutput import_module"
)
"""What a name must not have in it: a module that another has imported is reached through that other."""

_BUILTINS_CALLED = _set(
    "set frozenset list dict tuple int float complex str bytes bytearray bool range slice object type reversed enumerate zip iter "
    "getattr memoryview property classmethod staticmethod super long unicode xrange basestring"
)
_STDLIB_CALLED = _set(
    "collections datetime decimal fractions pathlib uuid enum re copyreg _codecs array itertools functools operator _operator types "
    "random zoneinfo ipaddress numbers abc typing weakref string io _io time calendar logging copy dataclasses statistics locale "
    "contextvars graphlib heapq queue _queue _collections _collections_abc _decimal _datetime _struct struct cloudpickle"
)
"""Modules of the standard library whose classes and reconstructors are in ordinary pickles; what is dangerous of them is named above."""
_STDLIB_FUNCTIONS = _set(
    "defaultdict deque namedtuple datetime date time timedelta timezone tzinfo _compile _reconstructor __newobj__ __newobj_ex__ encode "
    "array _array_reconstructor partial itemgetter getitem count chain repeat cycle islice product permutations combinations "
    "combinations_with_replacement zip_longest tee compress pairwise getLogger ref proxy local lru_cache cached_property "
    "singledispatch _tuplegetter struct_time uuid4 copy deepcopy ip_address ip_network _unpickle _create _make_key type_reconstructor"
)
_OFTEN_OWN = _set("test code cmd trace profile sh git docker fabric invoke")
"""Names of modules that a bundle may well have itself."""
_MAKERS = (
    "_rebuild",
    "_reconstruct",
    "_unpickle",
    "_make",
    "_new",
    "_from",
    "_restore",
    "_create",
    "_init",
    "__",
    "_load_from_bytes",
    "_cast",
)
_FUNCTIONS = _set(
    "scalar dtype ndarray _mareconstruct _get_layout device Size newObj frombuffer rebuild reconstruct unpickle load_from_bytes _function_setstate _class_setstate "
    "_builtin_type subimport dynamic_subimport _gen_ellipsis _gen_not_implemented _lookup_class_or_track _fill_function "
    "_rehydrate_skeleton_class _empty_cell_value _get_cell_contents parametrized_type_hint_getinitargs loads _loads _load_type "
    "_import_module _get_attr _setitems restore_type_tag build_intlist build_tensorlist build_doublelist build_boollist "
    "build_tensor_from_id matrix memmap recarray record _DatetimeUnit csr_matrix csc_matrix coo_matrix csr_array csc_array "
    "bsr_matrix dok_matrix lil_matrix dia_matrix type_reconstructor period_ordinal _period_unpickle interp1d rv_frozen"
)
_SUSPICIOUS = _set(
    "system popen Popen check_output check_call getoutput exec execv execve execvp spawnl spawnv posix_spawn fork __import__ "
    "import_module socket create_connection urlopen urlretrieve ctypes CDLL subprocess pty rmtree builtins"
)
"""Names that are worth saying where a function that a pickle carries uses them. ``eval`` is not: models have a method of that name."""

DISTRIBUTIONS = {
    "sklearn": "scikit-learn",
    "cv2": "opencv-python opencv-python-headless opencv-contrib-python opencv-contrib-python-headless opencv py-opencv",
    "PIL": "pillow",
    "yaml": "pyyaml",
    "skimage": "scikit-image",
    "bs4": "beautifulsoup4",
    "torch": "torch pytorch pytorch-gpu pytorch-cpu",
    "torchvision": "torchvision",
    "torchaudio": "torchaudio",
    "torchtext": "torchtext",
    "pytorch_lightning": "pytorch-lightning lightning",
    "lightning": "lightning",
    "lightning_fabric": "lightning-fabric lightning pytorch-lightning",
    "tensorflow": "tensorflow tensorflow-gpu tensorflow-cpu tf-nightly tensorflow-macos intel-tensorflow",
    "keras": "keras tensorflow tensorflow-gpu tensorflow-cpu",
    "tf_keras": "tf-keras",
    "tensorflow_addons": "tensorflow-addons",
    "transformers": "transformers sentence-transformers",
    "tokenizers": "tokenizers transformers sentence-transformers",
    "sentence_transformers": "sentence-transformers",
    "onnx": "onnx",
    "onnxruntime": "onnxruntime onnxruntime-gpu",
    "numpy": "numpy",
    "scipy": "scipy",
    "pandas": "pandas",
    "xgboost": "xgboost xgboost-cpu",
    "lightgbm": "lightgbm",
    "catboost": "catboost",
    "joblib": "joblib scikit-learn",
    "cloudpickle": "cloudpickle bentoml mlflow",
    "dill": "dill",
    "dateutil": "python-dateutil pandas",
    "pytz": "pytz pandas",
    "spacy": "spacy",
    "thinc": "thinc spacy",
    "srsly": "srsly spacy",
    "gensim": "gensim",
    "nltk": "nltk",
    "fastai": "fastai",
    "fastcore": "fastcore fastai",
    "timm": "timm",
    "ultralytics": "ultralytics",
    "jax": "jax flax",
    "jaxlib": "jaxlib jax flax",
    "flax": "flax",
    "haiku": "dm-haiku",
    "optax": "optax flax",
    "cupy": "cupy",
    "cudf": "cudf",
    "cuml": "cuml",
    "numba": "numba",
    "statsmodels": "statsmodels",
    "prophet": "prophet",
    "category_encoders": "category-encoders",
    "imblearn": "imbalanced-learn",
    "mlxtend": "mlxtend",
    "shap": "shap",
    "pyarrow": "pyarrow",
    "polars": "polars",
    "peft": "peft",
    "accelerate": "accelerate",
    "diffusers": "diffusers",
    "safetensors": "safetensors transformers diffusers timm",
    "torch_geometric": "torch-geometric",
    "einops": "einops",
    "albumentations": "albumentations",
    "detectron2": "detectron2",
    "mlflow": "mlflow mlflow-skinny",
    "bentoml": "bentoml",
    "tqdm": "tqdm",
    "attr": "attrs",
    "attrs": "attrs",
    "pydantic": "pydantic",
    "regex": "regex transformers",
    "google": "protobuf tensorflow",
    "sentencepiece": "sentencepiece",
    "mxnet": "mxnet",
    "paddle": "paddlepaddle paddlepaddle-gpu",
    "threadpoolctl": "threadpoolctl scikit-learn",
    "tslearn": "tslearn",
    "sktime": "sktime",
    "skorch": "skorch",
    "optuna": "optuna",
    "hyperopt": "hyperopt",
    "networkx": "networkx torch scikit-image",
    "sympy": "sympy torch",
    "dgl": "dgl",
    "fasttext": "fasttext",
    "flair": "flair",
    "stanza": "stanza",
}
"""By the name that is imported: the distributions that bring it, the one to ask for first."""
_BRING_NUMPY = _set(
    "scikit-learn scipy pandas tensorflow tensorflow-gpu tensorflow-cpu onnx onnxruntime onnxruntime-gpu xgboost lightgbm catboost "
    "scikit-image opencv-python opencv-python-headless transformers torchvision mlflow bentoml statsmodels spacy gensim jax flax "
    "keras numba sentence-transformers fastai pytorch-lightning lightning imbalanced-learn category-encoders shap prophet timm torchtext"
)
_BRING_SCIPY = _set(
    "scikit-learn xgboost lightgbm catboost scikit-image statsmodels gensim jax imbalanced-learn sentence-transformers fastai mlflow "
    "category-encoders shap"
)
_BRING_TORCH = _set(
    "torchvision torchaudio torchtext pytorch-lightning lightning fastai sentence-transformers timm ultralytics accelerate peft vllm "
    "torch-geometric"
)
_BRING_PANDAS = _set("mlflow statsmodels category-encoders shap prophet sktime seaborn fastai catboost")
_BRING_SKLEARN = _set("imbalanced-learn category-encoders shap sentence-transformers mlflow fastai mlxtend skorch sktime")
_TRANSITIVE = {
    "numpy": _BRING_NUMPY,
    "scipy": _BRING_SCIPY,
    "torch": _BRING_TORCH,
    "pandas": _BRING_PANDAS,
    "sklearn": _BRING_SKLEARN,
    "joblib": _BRING_SKLEARN,
    "threadpoolctl": _BRING_SKLEARN,
    "networkx": _BRING_TORCH,
    "sympy": _BRING_TORCH,
}
_CONDA = {
    "pytorch": "torch", "pytorch-gpu": "torch", "pytorch-cpu": "torch", "opencv": "opencv-python", "py-opencv": "opencv-python",
    "py-xgboost": "xgboost", "py-xgboost-gpu": "xgboost", "tensorflow-mkl": "tensorflow", "python-xgboost": "xgboost",
}  # fmt: skip
"""What conda calls packages that pip calls otherwise."""
OTHERS_KNOWN = _set(
    "requests flask fastapi uvicorn gunicorn starlette httpx aiohttp click jinja2 typing-extensions packaging six certifi urllib3 idna "
    "charset-normalizer prometheus-client psutil boto3 botocore s3transfer jmespath sqlalchemy matplotlib seaborn pip setuptools wheel "
    "python cudatoolkit pytorch-cuda pytorch-mutex cudnn werkzeug markupsafe protobuf grpcio ujson orjson msgpack python-multipart "
    "a2wsgi aiohappyeyeballs aiosignal aiosqlite annotated-types annotated-doc anyio asgiref cattrs click-option-group colorama "
    "coloredlogs cuda-toolkit cuda-bindings cuda-pathfinder deprecated exceptiongroup filelock flatbuffers frozenlist fs fsspec "
    "googleapis-common-protos h11 hf-xet httpcore httpx-ws huggingface-hub humanfriendly importlib-metadata inflection kantoku "
    "markdown-it-py mdurl ml-dtypes mpmath multidict mypy-extensions nvidia-ml-py pathspec pip-requirements-parser propcache "
    "pydantic-core pygments pyparsing python-dotenv python-json-logger pyzmq questionary rich schema shellingham simple-di sniffio "
    "tabulate tomli tomli-w tornado triton typer typing-inspection tzdata uv uvloop watchfiles wcwidth wrapt wsproto yarl zipp circus "
    "appdirs async-timeout backports-asyncio-runner contextlib2 itsdangerous blinker greenlet alembic databricks-sdk docker gitpython "
    "graphene mako sqlparse pyjwt cachetools kiwisolver contourpy cycler fonttools py-zipkin ruamel-yaml sqlalchemy-utils configparser "
    "gputil python-editor thriftpy2 ply absl-py astunparse gast google-pasta grpcio-status h5py libclang namex opt-einsum optree "
    "tensorboard termcolor tensorflow-io-gcs-filesystem patsy cloudpickle loguru humanize watchdog websockets pytest"
)
"""Packages that bring modules of their own name alone, and no model's classes."""
_SAYS_WHAT_IT_NEEDS = frozenset({"bentoml-0.13", "bentoml-1", "mlflow"})


class _Known(NamedTuple):
    """What the bundle can import: its own modules, the distributions that it asks for, and whether others may be there."""

    own: frozenset[str]
    tops: frozenset[str]
    asked: frozenset[str]
    zipped: bool
    complete: bool


class _Place(NamedTuple):
    """A pickle of an artifact: the file, and the member of an archive that it is."""

    path: str
    member: str
    start: int

    def at(self, position: int) -> str:
        """Return where a byte is, in words."""
        inside = f"{self.member}, " if self.member else ""
        return f"{inside}byte {position - self.start:,}"


def check(bundle: Bundle, files: Files, facts: Facts) -> Iterator[Check]:
    """Yield what loading the bundle's pickles does, and what they need; it is the same on every host, so ``facts`` is not asked."""
    del facts
    known = _known(bundle)
    for artifact, _ in artifacts.models(bundle, files):
        content = contents.of(files, artifact.path, artifact.kind)
        if content.what not in {"pickle", "zip"}:
            continue
        script = content.zip is not None and content.zip.kind == "torchscript" and content.pickle is None
        missing: dict[str, tuple[str, str]] = {}
        said: list[Check] = []
        for member, start, pickle in artifacts.pickles_of(content) + _in_bytes(files, artifact, content):
            where = _Place(artifact.path, member, start)
            said += _dangers(where, pickle, known)
            if not script:
                for use in pickle.uses:
                    module = use.module
                    if use.loaded and module not in missing and _lacks(module, known):
                        missing[module] = (str(use), where.at(use.at))
        if content.pickle is None and content.state == "unread":
            said.append(_unexamined(artifact.path, content.problem))
        yield from _few(artifact.path, said)
        yield from _not_bundled(bundle, artifact, missing, known)


def _in_bytes(files: Files, artifact: Artifact, content: Content) -> list[tuple[str, int, Pickle]]:
    """Return the pickles in archives that are byte strings of a pickle: torch loads those too."""
    ranges = [each for _, _, pickle in artifacts.pickles_of(content) for each in pickle.zips]
    if not ranges or content.what == "zip":
        return []
    from gpudoctor.bundle import torchzip

    found: list[tuple[str, int, Pickle]] = []
    try:
        with files.open(artifact.path) as stream:
            for each in ranges[:50]:
                inside = torchzip.read(stream, each.start, each.end)
                found += [(f"an archive at byte {each.start:,}: {one.member}", one.at, one.pickle) for one in inside.pickles]
    except OSError:
        return found
    return found


# What is dangerous.


def _few(path: str, said: list[Check]) -> Iterator[Check]:
    """Yield the worst of what was found in one file, and how much more there is."""
    order = ("error", "warning", "hint", "unknown")
    said = sorted(dict.fromkeys(said), key=lambda each: order.index(each.severity))
    yield from said[:_MOST_SAID]
    more = said[_MOST_SAID:]
    if more:
        worst = more[0].severity
        text = f"{path} does {len(more)} more such things."
        yield Check("dangerous-pickle", worst, text, Place(path), _CURE if worst == "error" else "")


def _unexamined(path: str, problem: str) -> Check:
    text = f"{path} was not examined to its end, so what loading it does cannot be told: {problem}."
    return Check("dangerous-pickle", "error", text, Place(path), _CURE)


def _dangers(where: _Place, pickle: Pickle, known: _Known) -> Iterator[Check]:
    """Yield what is dangerous in one pickle."""
    at = Place(where.path)
    if pickle.state == "unread":
        yield _unexamined(where.path, pickle.problem)
    names: dict[str, list[Use]] = {}
    for use in pickle.uses:
        names.setdefault(str(use), []).append(use)
    for name, uses in names.items():
        worst: tuple[Literal["error", "warning"], str] | None = None
        for use in uses:
            judged = _judge(use, known)
            if judged is not None and (worst is None or worst[0] == "warning"):
                worst = judged
        if worst is None:
            continue
        severity, why = worst
        use = next((each for each in uses if each.how == "called"), uses[0])
        done = {"called": "calls", "made": "makes an instance of", "named": "imports"}[use.how]
        then = "" if use.loaded else " in a byte string that holds a pickle of its own, which runs where it is loaded"
        # The byte of an import is what leads to the place; a call may be far from it.
        text = f"{where.path} {done} {_shown(name)}{then} ({where.at(use.at)}): {why}."
        yield Check(
            "dangerous-pickle", severity, text, at, _CURE if severity == "error" else "See what it is for before loading it."
        )
    for odd in pickle.odd:
        then = "" if odd.loaded else " in a byte string that holds a pickle of its own"
        text = f"{where.path} {odd.text[:300]}{then} ({where.at(odd.at)}), which no ordinary pickle does."
        yield Check("dangerous-pickle", "error", text, at, _CURE)
    yield from _modules(where, pickle)
    yield from _carried(where, pickle.codes)


def _judge(use: Use, known: _Known) -> tuple[Literal["error", "warning"], str] | None:
    """Return how bad a name is that a pickle uses, and why; None for what belongs into one."""
    module, name = use.module, use.name
    top = module.partition(".")[0]
    parts = name.split(".")
    if top == "__torch__" or not all(part.isidentifier() for part in module.split(".")):
        return None  # No module can be called so: loading ends there.
    if not name:
        return None  # A whole module: see _modules.
    if (
        use.how == "called"
        and top in {"functools", "_functools", "itertools", "operator", "_operator", "builtins"}
        and name in _CALLING
    ):
        return "error", f"it {_CALLING[name]}"
    own = _is_own(module, known)
    why = "" if own and top in _OFTEN_OWN else _why(module, top, name)
    if why:
        return "error", f"it {why}"
    reaching = next((part for part in parts if part in REACHING), "")
    if reaching:
        return "error", f"{reaching} leads from one thing to any other"
    # Of the name alone: what stands in ``module`` is imported as it is written, and no attribute of anything.
    reached = next((part for part in parts if part in _COMPONENTS), "")
    if reached:
        return "error", f"it reaches {reached} through another module"
    last = parts[-1]
    if own:
        return None
    if top == "builtins":
        fine = use.how != "called" or parts[0] in _BUILTINS_CALLED or last.endswith(("Error", "Exception", "Warning"))
        return None if fine else ("error", "no ordinary pickle calls it")
    if top in sys.stdlib_module_names and top != "__main__":
        if use.how != "called" or f"{module}.{name}" == "pickle.PickleBuffer":
            return None
        ordinary = last.lstrip("_")[:1].isupper() or last in _STDLIB_FUNCTIONS
        if top not in _STDLIB_CALLED or (len(parts) > 1 and not ordinary):
            return "error", "no ordinary pickle calls it"
        return None if ordinary else ("warning", "it is a function that an ordinary pickle does not call")
    if len(parts) > 1 and not all(part[:1].isupper() or part.startswith("_") for part in parts[:-1]):
        return "error", "it reaches through one module into another"
    if use.how != "called" or top == "__main__":
        return None
    if not _is_known(top, known):
        return "error", "it belongs to neither the bundle nor anything that the bundle is known to require"
    bare = last.lstrip("_")
    if bare[:1].isupper() or last.startswith(_MAKERS) or last in _FUNCTIONS or top in {"cloudpickle", "dill"}:
        return None
    return "warning", "it is a function that an ordinary pickle does not call"


def _why(module: str, top: str, name: str) -> str:
    """Return what a name does that no model needs, "" where it is not known to."""
    if top in {"builtins", "__builtin__"}:
        return _BUILTINS_DANGEROUS.get(name.partition(".")[0], "")
    if top in _DANGEROUS:
        return _DANGEROUS[top]
    path = f"{module}.{name}"
    while path:
        if path in _NAMES_DANGEROUS:
            # A module's own containers and reconstructors stand beside what is dangerous in it.
            return "" if f"{module}.{name}" in _EXCEPT else _NAMES_DANGEROUS[path]
        path = path.rpartition(".")[0]
    return ""


_EXCEPT = _set(
    "torch.serialization._get_layout torch._ops.OpOverload torch._dynamo.eval_frame.OptimizedModule mlflow.pyfunc.PythonModel "
    "mlflow.pyfunc.model.PythonModel mlflow.pyfunc.model.PythonModelContext mlflow.pyfunc.model._FunctionPythonModel "
    "mlflow.pyfunc.model.ChatModel mlflow.pyfunc.model.ChatAgent mlflow.pyfunc.model.ResponsesAgent mlflow.pyfunc.ResponsesAgent "
    "mlflow.pyfunc.ChatModel mlflow.pyfunc.ChatAgent"
)
"""Of what is dangerous as a whole: what models consist of."""


def _modules(where: _Place, pickle: Pickle) -> Iterator[Check]:
    """Say which whole modules are imported: functions that a pickle carries have those that they use."""
    found = {use.module: use for use in pickle.uses if not use.name and use.module.partition(".")[0] in _DANGEROUS}
    for module, use in found.items():
        why = _DANGEROUS[module.partition(".")[0]]
        whose = "for a function that it carries" if pickle.codes else "for nothing that can be seen"
        text = f"{where.path} imports the module {_shown(module)} {whose} ({where.at(use.at)}); it {why}."
        yield Check(
            "dangerous-pickle",
            "hint" if pickle.codes else "warning",
            text,
            Place(where.path),
            "See what it is for before loading it.",
        )


def _carried(where: _Place, codes: tuple[Code, ...]) -> Iterator[Check]:
    """Say what functions are carried as byte code, and what they use that is worth a look."""
    if not codes:
        return
    at = Place(where.path)
    for code in codes:
        found = [name for name in code.names if name in _SUSPICIOUS]
        if found:
            which = f"the function {code.name[:80]}" if code.name else "a function"
            text = f"{where.path} carries {which} as byte code ({where.at(code.at)}), which uses {', '.join(found[:6])}."
            yield Check(
                "dangerous-pickle", "warning", text, at, "Ask who packed it what that function is for: no file shows its code."
            )
    names = list(dict.fromkeys(code.name for code in codes if code.name))
    some = f" ({', '.join(name[:40] for name in names[:4])}{' …' if len(names) > 4 else ''})" if names else ""
    text = f"{where.path} carries {len(codes)} functions as byte code{some}: loading it brings code that no file of the bundle shows."
    if len(codes) == 1:
        text = text.replace("1 functions", "a function")
    cure = "It also ties the file to the Python that packed it; a class that the service file imports is bundled as source."
    yield Check("pickle-carries-code", "hint", text, at, cure)


def _shown(name: str) -> str:
    """Return a name as it can be printed."""
    return name[:160] if name.isprintable() else repr(name[:160])


# What is missing.


def _known(bundle: Bundle) -> _Known:
    """Return what the bundle can import."""
    own = set[str]()
    roots = sorted({root.rstrip("/") for root in bundle.import_roots} | {""}, key=len, reverse=True)
    for source in bundle.sources:
        if not source.endswith(".py"):
            continue
        for root in roots:
            if root and not source.startswith(f"{root}/"):
                continue
            parts = source[len(root) + 1 if root else 0 : -3].split("/")
            if parts[-1] == "__init__":
                parts.pop()
            own.update(".".join(parts[: index + 1]) for index in range(len(parts)))
    asked = frozenset(
        _CONDA.get(each.name, each.name) if each.installer == "conda" else each.name for each in bundle.requirements
    )
    modules = set[str]()
    for names in DISTRIBUTIONS.values():
        modules.update(names.split())
    strange = {
        name
        for name in asked - modules - OTHERS_KNOWN - _BRING_NUMPY - _BRING_PANDAS
        if not name.startswith(("nvidia-", "opentelemetry-", "types-"))
    }
    zipped = any(root.endswith((".zip", ".whl", ".egg")) for root in bundle.import_roots)
    return _Known(frozenset(own), frozenset(name.partition(".")[0] for name in own), asked, zipped, not strange and not zipped)


def _is_own(module: str, known: _Known) -> bool:
    return module in known.own or (module.partition(".")[0] in known.tops and module != "__main__")


def _is_known(top: str, known: _Known) -> bool:
    """Say whether a module is of a package that is known here, or that the bundle asks for by the same name."""
    return top in DISTRIBUTIONS or _normal(top) in known.asked or top in known.tops


def _normal(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def _lacks(module: str, known: _Known) -> bool:
    """Say whether a module is none of the bundle's own, of Python's, or of what the bundle asks for."""
    top = module.partition(".")[0]
    if not all(part.isidentifier() for part in module.split(".")):
        return False
    if top in {"__torch__", "builtins", "__builtin__"} or (top in sys.stdlib_module_names and top != "__main__"):
        return False
    if top in known.tops:
        return module not in known.own and module != top
    if top in DISTRIBUTIONS:
        names = DISTRIBUTIONS[top].split()
        transitive = _TRANSITIVE.get(top, frozenset[str]())
        return not (known.asked & {*names, *transitive} or any(each.startswith(f"{top}-") for each in known.asked))
    return _normal(top) not in known.asked


def _not_bundled(bundle: Bundle, artifact: Artifact, missing: dict[str, tuple[str, str]], known: _Known) -> Iterator[Check]:
    """Yield the modules that a file needs and the bundle lacks; of formats that do not say what they need, nothing is known."""
    if bundle.format not in _SAYS_WHAT_IT_NEEDS:
        foreign = sorted({module.partition(".")[0] for module in missing} - DISTRIBUTIONS.keys())
        if foreign:
            text = (
                f"{artifact.path} needs {', '.join(map(_shown, foreign[:4]))}: without it, wherever it is loaded, loading fails."
            )
            yield Check("module-not-bundled", "hint", text, Place(artifact.path), "Keep the code of the model with it.")
        return
    tops: dict[str, tuple[str, str]] = {}
    for module, what in missing.items():
        top = module.partition(".")[0]
        # That the framework which loads the artifact is not required is said by the check of the sources.
        if top in {"torch", "tensorflow", "keras"} and artifact.kind in {
            "torch-pickle",
            "torchscript",
            "torch-export",
            "keras-h5",
        }:
            continue
        tops.setdefault(top if top not in known.tops else module, what)
    at = Place(artifact.path)
    for top, (name, where) in list(tops.items())[:_MOST_SAID]:
        needs = f"{artifact.path} needs {_shown(name)} ({where})"
        if top == "__main__":
            text = f"{needs}: a class of the script that packed it, which is not there where the bundle is loaded."
            cure = "Put the class into a module of its own, import it in the service file, and pack the bundle again."
            yield Check("module-not-bundled", "error", text, at, cure)
        elif top in DISTRIBUTIONS:
            first = DISTRIBUTIONS[top].split()[0]
            text = f"{needs}, and the bundle does not require {first}: No module named '{top}'."
            yield Check("module-not-bundled", "error", text, at, f"Require {first} in the version that it was packed with.")
        else:
            severity: Literal["error", "warning"] = "error" if known.complete else "warning"
            doubt = "" if known.complete else ", unless one of its requirements brings it"
            text = f"{needs}, and the module {_shown(top)} is neither among the bundle's own files nor required{doubt}."
            cure = (
                f"Import it in the service file (from {_shown(top)} import …), so that it is packed too, or require the package."
            )
            yield Check("module-not-bundled", severity, text, at, cure)
