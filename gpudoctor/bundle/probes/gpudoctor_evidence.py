"""What a process that runs a bundle's model tells of where it computed; imported there, before the bundle, by any Python from 3.7 on.

Hooks are put into ONNX Runtime and PyTorch when they are first imported: which sessions and modules ran, by which provider, on which
device, and what came out. What is told here is the process's own word; the process above it looks at its devices and libraries.
"""

import errno
import json
import os
import sys
import threading
import time

MOST_BYTES = 64 << 20
"""Of inputs that are kept to compute the same on the CPU; larger ones are not compared."""
MOST_WEIGHTS = 2 << 30
"""Of a model's parameters, in bytes, of which a copy is made on the CPU."""
TOLERANCE = 2e-2
"""Of the largest value of an output: TensorFloat-32 keeps ten bits, and a deep net adds up what is lost."""
CPU = "CPUExecutionProvider"
ACCELERATOR = "cuda"
GPUS = ("CUDAExecutionProvider", "TensorrtExecutionProvider", "NvTensorRTRTXExecutionProvider", "NvTensorRtRtxExecutionProvider")


class Seen:
    """What was seen to compute since the last ``turn``."""

    def __init__(self):
        """Start with nothing."""
        self.sessions = []
        self.modules = {}
        self.own = threading.local()
        self.compare = False
        self.peak = 0
        self.written = None
        self.last = 0.0
        self.count = 0

    def turn(self):
        """Forget what ran, because another API is called now; sessions and their placement stay known."""
        for each in self.sessions:
            each["ran"] = 0
            each["outputs"] = []
        self.modules = {}
        self.own = threading.local()
        self.peak = 0
        torch = sys.modules.get("torch")
        if torch is not None and cuda_in_use(torch):
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            self.peak = torch.cuda.memory_allocated()

    def noted(self):
        """Write what is known into this process's file, where one was asked for (a server's processes)."""
        if self.written is None:
            return
        self.count += 1
        now = time.monotonic()
        if self.count > 200 and now - self.last < 0.2:
            return
        self.last = now
        path = os.path.join(self.written, f"{os.getpid()}.json")
        try:
            with open(path + ".new", "w") as file:
                json.dump(self.told(), file)
            os.replace(path + ".new", path)
        except (OSError, ValueError):
            pass

    def told(self):
        """Return what is known, as plain values."""
        found = {}
        sessions = [told_of_session(each) for each in self.sessions if each["ran"]]
        if self.sessions:
            ort = sys.modules.get("onnxruntime")
            found["onnxruntime"] = {
                "version": getattr(ort, "__version__", ""),
                "sessions": sessions,
                "idle": len(self.sessions) - len(sessions),
                "available": list(ort.get_available_providers()) if ort is not None else [],
            }
        torch = sys.modules.get("torch")
        if torch is not None and hasattr(torch, "nn"):
            started = cuda_in_use(torch)
            found["torch"] = {
                "version": str(torch.__version__),
                "cuda": torch.version.cuda or "",
                "initialized": started,
                "modules": list(self.modules.values()),
                "allocated": max(torch.cuda.max_memory_allocated() - self.peak, 0) if started else 0,
                "why_not": "" if started or not self.compare else without_cuda(torch),
            }
        tensorflow = told_of_tensorflow()
        if tensorflow:
            found["tensorflow"] = tensorflow
        return found


SEEN = Seen()


def cuda_in_use(torch):
    """Say whether this process has started CUDA by PyTorch; asking does not start it."""
    try:
        return bool(torch.cuda.is_initialized())
    except Exception:  # noqa: BLE001 - code of others: whatever it raises is told, or nothing is
        return False


def without_cuda(torch):
    """Return why PyTorch cannot use a GPU here, "" where it can."""
    if not torch.version.cuda:
        return "this PyTorch was built without CUDA"
    try:
        torch.cuda.init()
    except Exception as error:  # noqa: BLE001 - code of others: whatever it raises is told, or nothing is
        return str(error).strip().partition("\n")[0][:300]
    return ""


def told_of_session(each):
    """Return what is known of one session of ONNX Runtime; its profile ends here, because only a profile that has ended can be read."""
    ended = each["profile"]
    if each["nodes"] is None and not ended:
        each["profile"] = True
        try:
            path = each["session"].end_profiling()
            with open(path) as file:
                each["nodes"], each["kinds"] = placement(json.load(file))
            os.unlink(path)
        except Exception as error:  # noqa: BLE001 - code of others: whatever it raises is told, or nothing is
            each["nodes"], each["kinds"] = None, {"": f"{type(error).__name__}: {error}"}
    try:
        after = list(each["session"].get_providers())
    except Exception:  # noqa: BLE001 - code of others: whatever it raises is told, or nothing is
        after = []
    known = ("model", "asked", "got", "nodes", "kinds", "printed", "loader", "ran", "outputs", "off")
    return dict({name: each[name] for name in known}, after=after)


def placement(events):
    """Return how many nodes each provider ran, and the types of those nodes, from the events of a profile."""
    found = {}
    kinds: dict[str, dict[str, int]] = {}
    for event in events:
        arguments = event.get("args") or {}
        name = event.get("name", "")
        if event.get("cat") == "Node" and arguments.get("provider") and name.endswith("_kernel_time"):
            found[name] = (arguments["provider"], arguments.get("op_name", ""))
    counts: dict[str, int] = {}
    for provider, kind in found.values():
        counts[provider] = counts.get(provider, 0) + 1
        kinds.setdefault(provider, {})
        kinds[provider][kind] = kinds[provider].get(kind, 0) + 1
    return counts, kinds


def told_of_tensorflow():
    """Return the GPUs that TensorFlow has, where its variables are, and its peak of GPU memory; nothing where it was not used."""
    tf = sys.modules.get("tensorflow")
    if tf is None or not hasattr(tf, "config"):
        return {}
    import gc

    devices: dict[str, int] = {}
    kind = getattr(tf, "Variable", None)
    if kind is None:
        return {}
    for each in gc.get_objects():
        try:
            if issubclass(type(each), kind):
                where = str(getattr(each, "device", "") or "")
                devices[where] = devices.get(where, 0) + 1
        except Exception:  # noqa: BLE001, S112 - code of others: whatever it raises is told, or nothing is
            continue
    try:
        gpus = [each.name for each in tf.config.list_logical_devices("GPU")]
        peaks = {}
        for each in gpus:
            peaks[each] = int(tf.config.experimental.get_memory_info(each.rpartition("device:")[2])["peak"])
    except Exception as error:  # noqa: BLE001 - code of others: whatever it raises is told, or nothing is
        return {"version": tf.__version__, "gpus": None, "variables": devices, "peak": {}, "error": str(error)[:300]}
    built = bool(tf.test.is_built_with_cuda())
    return {"version": tf.__version__, "gpus": gpus, "variables": devices, "peak": peaks, "built": built}


# ---------------------------------------------------------------------------------------------------------------------
# What comes out


def unsound(value, most=2000000):
    """Return "NaN" or "infinite" where a number in nested lists, dicts and arrays is none, else ""."""
    numpy = sys.modules.get("numpy")
    todo, looked = [value], 0
    while todo and looked < most:
        each = todo.pop()
        looked += 1
        if isinstance(each, float):
            if each != each:  # noqa: PLR0124 - this is how a NaN is told
                return "NaN"
            if each in (float("inf"), float("-inf")):
                return "infinite"
        elif isinstance(each, dict):
            todo.extend(each.values())
        elif isinstance(each, (list, tuple)):
            todo.extend(each)
        elif numpy is not None and isinstance(each, numpy.ndarray) and each.dtype.kind in "fc":
            if numpy.isnan(each).any():
                return "NaN"
            if not numpy.isfinite(each).all():
                return "infinite"
    return ""


def has_null(value):
    """Say whether nested lists have a null in them, which is how some servers write a NaN into JSON."""
    return value is None or (isinstance(value, list) and any(has_null(each) for each in value))


def difference(one, other):
    """Return by how much two arrays differ, of the largest value of the second (at least 1); None where they cannot be compared."""
    import numpy

    one, other = numpy.asarray(one), numpy.asarray(other)
    if one.dtype.kind not in "fiub" or other.dtype.kind not in "fiub":
        return None
    if one.shape != other.shape:
        return float("inf")
    if not one.size:
        return 0.0
    one, other = one.astype("float64"), other.astype("float64")
    both = numpy.isnan(one) & numpy.isnan(other)
    off = numpy.where(both | (one == other), 0.0, numpy.abs(one - other))
    # An infinite value on one side alone, or a NaN, is a difference without a measure.
    if not numpy.isfinite(off).all():
        return float("inf")
    finite = numpy.abs(other[numpy.isfinite(other)])
    return float(off.max() / max(1.0, float(finite.max()) if finite.size else 1.0))


def described(name, value, declared=None):
    """Return what is said of an output: its name, shape, type, whether it is sound, and the declared shape where it has another one."""
    shape = list(getattr(value, "shape", ()))
    said = {"name": name, "shape": shape, "dtype": str(getattr(value, "dtype", type(value).__name__)), "unsound": unsound(value)}
    if declared is not None and hasattr(value, "shape"):
        fits = len(declared) == len(shape) and all(not isinstance(a, int) or a == b for a, b in zip(declared, shape))  # noqa: B905 - strict is of Python 3.10
        if not fits:
            said["declared"] = [each if isinstance(each, (int, str)) else None for each in declared]
    return said


# ---------------------------------------------------------------------------------------------------------------------
# ONNX Runtime


def hook_onnxruntime(ort):
    """Make every session profile itself and remember what it was asked for, what it got and what it ran."""
    import functools
    import tempfile

    kind = getattr(ort, "InferenceSession", None)
    if kind is None or getattr(kind, "gpudoctor", False):
        return
    first, run, bound = kind.__init__, kind.run, getattr(kind, "run_with_iobinding", None)
    kind.gpudoctor = True

    @functools.wraps(first)
    def made(self, path_or_bytes, sess_options=None, providers=None, *others, **named):
        import contextlib
        import io

        options = sess_options if sess_options is not None else ort.SessionOptions()
        options.enable_profiling = True
        options.profile_file_prefix = os.path.join(tempfile.gettempdir(), f"gpudoctor-ort-{os.getpid()}")
        heard = io.StringIO()
        try:
            with contextlib.redirect_stdout(heard):
                first(self, path_or_bytes, options, providers, *others, **named)
        finally:
            sys.stdout.write(heard.getvalue())
        SEEN.sessions.append(
            {
                "session": self,
                "given": (path_or_bytes, sess_options is not None),
                "model": os.path.basename(path_or_bytes) if isinstance(path_or_bytes, str) else "",
                "asked": None if providers is None else [each if isinstance(each, str) else each[0] for each in providers],
                "got": list(self.get_providers()),
                "printed": heard.getvalue()[-1000:],
                "loader": loader_says(ort, self, providers),
                "ran": 0,
                "profile": False,
                "nodes": None,
                "kinds": {},
                "outputs": [],
                "off": None,
                "kept": None,
            }
        )

    def of(session):
        return next((each for each in SEEN.sessions if each["session"] is session), None)

    @functools.wraps(run)
    def ran(self, output_names, input_feed, *others, **named):
        values = run(self, output_names, input_feed, *others, **named)
        each = of(self)
        if each is not None:
            each["ran"] += 1
            declared = {output.name: output.shape for output in self.get_outputs()}
            names = list(output_names or declared)
            each["outputs"] = [described(name, value, declared.get(name)) for name, value in zip(names, values)]  # noqa: B905 - strict is of Python 3.10
            if each["kept"] is None and SEEN.compare and size_of(input_feed.values()) <= MOST_BYTES:
                each["kept"] = (names, dict(input_feed), values)
            SEEN.noted()
        return values

    kind.__init__, kind.run = made, ran
    if bound is not None:

        @functools.wraps(bound)
        def ran_bound(self, *arguments, **named):
            made = bound(self, *arguments, **named)
            each = of(self)
            if each is not None:
                each["ran"] += 1
                SEEN.noted()
            return made

        kind.run_with_iobinding = ran_bound


def loader_says(ort, session, providers):
    """Return what the loader says of the library of a GPU's provider that was asked for and not got; "" where it loads."""
    import ctypes

    got = session.get_providers()
    for each in providers or ():
        name = each if isinstance(each, str) else each[0]
        if name not in GPUS or name in got or name not in ort.get_available_providers():
            continue
        library = "libonnxruntime_providers_%s.so" % ("cuda" if name.startswith("CUDA") else "tensorrt")
        path = os.path.join(os.path.dirname(ort.__file__), "capi", library)
        try:
            # ONNX Runtime has just done the same: what loads is loaded already.
            ctypes.CDLL(path)
        except OSError as error:
            return str(error)[:300]
    return ""


def size_of(values):
    """Return how many bytes arrays have together."""
    return sum(getattr(each, "nbytes", 0) for each in values)


def compare_onnxruntime():
    """Compute again what each session computed first, by the CPU's provider alone, and note how far apart the two are."""
    import onnxruntime as ort

    for each in [one for one in SEEN.sessions if one["kept"] and one["off"] is None]:
        if not set(each["got"]) - {CPU}:
            each["kept"] = None
            continue
        names, feed, values = each["kept"]
        each["kept"] = None
        known = len(SEEN.sessions)
        try:
            other = ort.InferenceSession(each["given"][0], providers=[CPU])
            again = other.run(names, feed)
            offs = [difference(one, two) for one, two in zip(values, again)]  # noqa: B905 - strict is of Python 3.10
            each["off"] = max([off for off in offs if off is not None], default=None)
        except Exception as error:  # noqa: BLE001 - code of others: whatever it raises is told, or nothing is
            each["off"] = f"{type(error).__name__}: {str(error)[:200]}"
        del SEEN.sessions[known:]


# ---------------------------------------------------------------------------------------------------------------------
# PyTorch


def hook_torch(torch):
    """Remember each module that is called from outside of all modules: where its parameters are and its outputs."""
    import functools

    kind = torch.nn.Module
    if getattr(kind, "gpudoctor", False):
        return
    kind.gpudoctor = True
    first = kind.__call__
    # While torch.compile reads a model's code, it must not meet ours in it.
    compiling = getattr(getattr(torch, "compiler", None), "is_compiling", None) or bool

    @functools.wraps(first)
    def call(self, *inputs, **named):
        if compiling():
            return first(self, *inputs, **named)
        depth = getattr(SEEN.own, "depth", 0)
        if depth:
            return first(self, *inputs, **named)
        SEEN.own.depth = 1
        try:
            output = first(self, *inputs, **named)
            remember(torch, self, inputs, named, output)
        finally:
            SEEN.own.depth = 0
        return output

    kind.__call__ = call


def remember(torch, called, inputs, named, output):
    """Note where a module's parameters and outputs are, what they are, and how far from the CPU's."""
    each = SEEN.modules.setdefault(id(called), {"type": type_of(called), "calls": 0, "off": None})
    each["calls"] += 1
    each["parameters"] = counted(list(called.parameters()) + list(called.buffers()))
    values = tensors(torch, output)
    each["outputs"] = counted(values)
    each["values"] = [dict(described("", value), unsound=unsound_tensor(torch, value)) for value in values[:8]]
    if SEEN.compare and each["calls"] == 1:
        each["off"] = compared(torch, called, inputs, named, values)
    SEEN.noted()


def type_of(called):
    """Return a module's class, of a compiled one the name that it had."""
    return str(getattr(called, "original_name", "") or type(called).__name__)


def counted(values):
    """Return how many tensors are on each device."""
    found: dict[str, int] = {}
    for each in values:
        where = str(each.device)
        found[where] = found.get(where, 0) + 1
    return found


def tensors(torch, value):
    """Return the tensors in nested lists, tuples and dicts."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [found for each in value for found in tensors(torch, each)]
    return []


def unsound_tensor(torch, value):
    """Return "NaN" or "infinite" where a tensor has such a value, else ""."""
    if not value.is_floating_point():
        return ""
    with torch.no_grad():
        if bool(torch.isnan(value).any()):
            return "NaN"
        return "" if bool(torch.isfinite(value).all()) else "infinite"


def compared(torch, called, inputs, named, values):
    """Return how far a module's outputs on the GPU are from those of its copy on the CPU; None where it is on the CPU, or cannot be."""
    parameters = list(called.parameters())
    given = tensors(torch, [*inputs, *named.values()])
    if not any(each.device.type == ACCELERATOR for each in (*parameters, *given, *values)) or getattr(called, "training", False):
        return None
    if sum(each.numel() * each.element_size() for each in parameters) > MOST_WEIGHTS:
        return f"not compared: its parameters are larger than {MOST_WEIGHTS >> 20} MiB"
    import copy

    try:
        with torch.no_grad():
            other = copy.deepcopy(called).cpu().float()
            moved = [to_cpu(torch, each) for each in inputs]
            again = tensors(torch, other(*moved, **to_cpu(torch, named)))
            offs = [difference(one.detach().float().cpu().numpy(), two.float().numpy()) for one, two in zip(values, again)]  # noqa: B905 - strict is of Python 3.10
        return max([off for off in offs if off is not None], default=None)
    except Exception as error:  # noqa: BLE001 - code of others: whatever it raises is told, or nothing is
        return f"not compared: {type(error).__name__}: {str(error)[:200]}"


def to_cpu(torch, value):
    """Return nested tensors on the CPU, those of floating point as 32 bits."""
    if isinstance(value, torch.Tensor):
        return value.float().cpu() if value.is_floating_point() else value.cpu()
    if isinstance(value, dict):
        return {key: to_cpu(torch, each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(to_cpu(torch, each) for each in value)
    return value


# ---------------------------------------------------------------------------------------------------------------------
# Hooks when something is imported

HOOKS = {"onnxruntime": hook_onnxruntime, "torch": hook_torch}


class Finder:
    """Finds what Python finds, and puts the hooks in when the module has been executed."""

    def __init__(self):
        """Start with no search under way."""
        self.busy = set()

    def find_spec(self, name, path=None, target=None):  # noqa: ARG002 - what Python calls it with
        """Return the real spec of a module that is to be hooked, its loader wrapped; None for all others."""
        if name not in HOOKS or name in self.busy:
            return None
        import importlib.util

        self.busy.add(name)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self.busy.discard(name)
        if spec is None or spec.loader is None or not hasattr(spec.loader, "exec_module"):
            return spec
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            try:
                HOOKS[name](module)
            except Exception as error:  # noqa: BLE001 - code of others: whatever it raises is told, or nothing is
                sys.stderr.write(f"gpudoctor: no evidence from {name}: {error}\n")

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def watch(written=None, *, compare=False):
    """Put the hooks in. ``written``: a folder into which each process writes what it knows, None for none."""
    SEEN.written = written
    SEEN.compare = compare
    sys.meta_path.insert(0, Finder())
    # TensorFlow takes all memory of the GPU unless this is known before its first operation.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")


# ---------------------------------------------------------------------------------------------------------------------
# The worker: loads one bundle, calls its APIs, and tells the process above


class Told:
    """A line to the process above, and its nod: it looks at this process before it lets it go on."""

    def __init__(self, up, down):
        """Take the two pipes' descriptors; -1: there is no process above, and lines go to standard output."""
        self.up, self.down = up, down

    def __call__(self, **line):
        """Tell one line and wait for the nod."""
        data = (json.dumps(line, default=str) + "\n").encode()
        if self.up < 0:
            os.write(1, data)
            return
        while data:
            data = data[os.write(self.up, data) :]
        os.read(self.down, 1)


def asked():
    """Return the settings; calls with a long input stand in a file beside this one."""
    settings = json.loads(sys.argv[1])
    if isinstance(settings["calls"], str):
        with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), settings["calls"]), encoding="utf-8") as file:
            settings["calls"] = json.load(file)
    return settings


class Failed(Exception):  # noqa: N818 - an answer, not an error of the program
    """An API answered with an error: a status and its words."""

    def __init__(self, status, text):
        """Take the HTTP status (0 where there is none) and what was said."""
        Exception.__init__(self, text)
        self.status = status


class Wanting(Exception):  # noqa: N818 - an answer, not an error of the program
    """What to call it with is not known; the text says what to give."""


def origin(error, root):
    """Return the innermost place in the bundle's own files where an exception came by, as ``path:line``; "" where there is none."""
    found = ""
    trace = error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        path = os.path.abspath(name)
        if root and not name.startswith("<") and path.startswith(os.path.abspath(root) + os.sep):
            found = f"{os.path.relpath(path, root)}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found


def said(error, root):
    """Return what an exception says: class, words, where in the bundle; of one without words, where it was raised."""
    text = str(error)
    trace = error.__traceback__
    if not text.strip() and trace is not None:
        while trace.tb_next is not None:
            trace = trace.tb_next
        text = f"raised at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
    if isinstance(error, OSError) and error.errno == errno.EROFS:
        text += "; gpudoctor shows it the bundle read-only, its own server may not"
    return {
        "error": type(error).__name__,
        "text": text[:2000],
        "where": origin(error, root),
        "status": getattr(error, "status", 0),
    }


def work(load, call):
    """Load the bundle that the settings name and call its APIs, one after the other; an exception is a result.

    ``load(settings)`` returns the service; ``call(service, each, settings)`` the answer: ``text`` and, where there are such, ``values``.
    """
    settings = asked()
    told = Told(settings.get("up", -1), settings.get("down", -1))
    root = settings["bundle"]
    told(phase="load", rung="load")
    watch(compare=settings["device"] == "cuda")
    began = time.monotonic()
    try:
        service = load(settings)
    except BaseException as error:  # noqa: BLE001 - code of others: whatever it raises is told, or nothing is
        told(failed="load", seen=SEEN.told(), **said(error, root))
        leave()
    told(loaded=True, seconds=round(time.monotonic() - began, 3))
    for each in settings["calls"]:
        told(phase="call", rung=each["api"])
        one(told, service, each, settings, call)
    told(end=True)
    leave()


def one(told, service, each, settings, call):
    """Call one API and tell how it went."""
    line = {"answered": each["api"], "visible": visible()}
    SEEN.turn()
    began = time.monotonic()
    try:
        answer = call(service, each, settings)
        line.update(ok=True, answer=str(answer["text"])[:4000], unsound=unsound(answer.get("values")))
        line["outputs"] = answer.get("outputs", [])
    except Wanting as error:
        line.update(ok=None, text=str(error))
    except BaseException as error:  # noqa: BLE001 - code of others: whatever it raises is told, or nothing is
        line.update(said(error, settings["bundle"]), ok=False)
    line["seconds"] = round(time.monotonic() - began, 4)
    if sys.modules.get("onnxruntime") is not None:
        compare_onnxruntime()
    line["seen"] = SEEN.told()
    told(**line)


def visible():
    """Return the variables that say which GPUs this process may see; None: not set."""
    return {name: os.environ.get(name) for name in ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES")}


def leave():
    """End this process without what frameworks do when Python ends: it is known to crash and to hang."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def parsed(text):
    """Return a JSON text's value, the text itself where it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return text


# ---------------------------------------------------------------------------------------------------------------------
# What a plain model is fed with

SIZES = {"sequence": 8, "seq": 8, "seq_len": 8, "sequence_length": 8, "height": 64, "width": 64}
"""What a dimension that has a name is taken as; every other free one is 1."""


def given(each):
    """Return the value of the body that a call is given, None where it has none; what is no JSON is text."""
    return parsed(each["body"]) if each.get("body") else None


def fed(body, name, only):
    """Return the value for one input: by its name, or the whole where there is one input and the body does not name it."""
    if body is None:
        return None
    if isinstance(body, dict):
        for inside in (body, body.get("inputs")):
            if isinstance(inside, dict) and name in inside:
                return inside[name]
        # The request of the v2 protocol: a list of names, shapes and data.
        listed = body.get("inputs")
        for one in listed if isinstance(listed, list) else ():
            if isinstance(one, dict) and one.get("name") == name:
                return shaped(one)
        if only and isinstance(listed, list):
            return listed
        if only and "shape" not in body:
            raise Wanting("the input has no {}: it has {}".format(name, ", ".join(map(str, body))))
    if only:
        return body
    raise Wanting(f"there is more than one input: give an object with {name} in it")


def shaped(one):
    """Return the data of one input of the v2 protocol in its shape."""
    import numpy

    return numpy.asarray(one["data"]).reshape(one.get("shape") or -1)


def tidy(shape, declared):
    """Return a shape of numbers: what is free in the first is taken from the second, else by its name, else 1."""
    found = []
    for at, each in enumerate(shape):
        other = declared[at] if declared is not None and len(declared) == len(shape) else None
        size = each if isinstance(each, int) and each > 0 else other
        found.append(size if isinstance(size, int) and size > 0 else SIZES.get(str(each or other).lower(), 1))
    return found


def numbers(numpy, shape, kind):
    """Return an array of small numbers around 0; of whole numbers zeros, which are a token, an index and a class of every model."""
    if kind in ("object", "string", "str"):
        return numpy.full(shape, "gpudoctor", dtype=object)
    made = numpy.zeros(shape, dtype=kind)
    if made.dtype.kind == "f":
        made = ((numpy.arange(made.size) % 17 - 8) / 16.0).reshape(shape).astype(kind)
    if made.dtype.kind == "b":
        made[...] = True
    return made


def png(size):
    """Return a grey square as a PNG file, for APIs that take an image."""
    import struct
    import zlib

    def part(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data) & 0xFFFFFFFF)

    rows = (b"\0" + b"\x80" * (3 * size)) * size
    head = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", zlib.compress(rows)) + part(b"IEND", b"")
