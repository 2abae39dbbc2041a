"""ONNX Runtime: a model of our own as bytes, the CUDA provider by name, and the profile's provider of each node."""

from __future__ import annotations

import sys

# Piped to Python, whose working folder would come first among the places to import from: a stray json.py there is not meant.
sys.path[:] = [each for each in sys.path if each]

import json  # noqa: E402
import os  # noqa: E402
import time  # noqa: E402


class Out:
    """Where the verdict goes, line by line: into a file of its own, for frameworks write to standard output.

    Without a folder it goes to standard output. Each line has the nonce of this run; what has not is not ours.
    """

    def __init__(self, settings):
        """Take the settings: ``out`` a folder, ``nonce``, ``device`` (cuda or cpu), and what a probe has of its own."""
        self.settings = settings
        self.rung = "import"
        self.began = time.monotonic()
        self.handle = 1
        if settings.get("out"):
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
            self.handle = os.open(os.path.join(settings["out"], "verdict"), flags, 0o644)

    def write(self, **line):
        """Write one line."""
        line["nonce"] = self.settings.get("nonce", "")
        os.write(self.handle, (json.dumps(line) + "\n").encode())

    def phase(self, name, rung):
        """Say that a phase (import, load, run) begins, and with which rung: each phase has a time limit of its own."""
        self.rung = rung
        self.began = time.monotonic()
        self.write(phase=name, rung=rung)

    def told(self, state, says, then=None, **facts):
        """Say how the rung that is being climbed went, and which one comes next."""
        now = time.monotonic()
        self.write(rung=self.rung, state=state, says=says, seconds=round(now - self.began, 4), facts=facts)
        self.began = now
        self.rung = then or self.rung


class Stop(Exception):  # noqa: N818 - the end of the ladder, not an error of the program
    """Nothing above this rung can be tried."""


def run(climb):
    """Climb with the settings of the command line; an exception is how the rung that was being climbed failed."""
    out = Out(json.loads(sys.argv[1]) if len(sys.argv) > 1 else {})
    try:
        climb(out)
    except Stop:
        pass
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is the result
        out.told("failed", (f"{type(error).__name__}: {error}")[:2000], error=type(error).__name__)
    try:
        with open("/proc/self/status") as status:
            peak = [line.split()[1] for line in status if line.startswith("VmHWM:")]
    except OSError:
        peak = []
    out.write(end=True, peak_kib=int(peak[0]) if peak else None)
    sys.stdout.flush()
    # What frameworks do when Python ends is no part of the test, and is known to crash and to hang.
    os._exit(0)


# ---------------------------------------------------------------------------------------------------------------------


TOLERANCE = 1e-2
"""Absolute, of values near 1: TensorFloat-32, which the CUDA provider uses by default, keeps ten bits."""
CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"


def number(value):
    """Return a protobuf varint."""
    out = b""
    while value > 127:
        out += bytes((value & 127 | 128,))
        value >>= 7
    return out + bytes((value,))


def field(tag, value):
    """Return a protobuf field: a number, text or bytes (a message is bytes too)."""
    if isinstance(value, int):
        return number(tag << 3) + number(value)
    data = value.encode() if isinstance(value, str) else value
    return number(tag << 3 | 2) + number(len(data)) + data


def tensor(name, shape, values):
    """Return a TensorProto of 32-bit floats."""
    import struct

    dims = b"".join(field(1, size) for size in shape)
    return dims + field(2, 1) + field(8, name) + field(9, struct.pack(f"<{len(values)}f", *values))


def value_info(name, shape):
    """Return a ValueInfoProto of 32-bit floats."""
    dims = b"".join(field(1, field(1, size)) for size in shape)
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, dims)))


def node(kind, inputs, output, attributes=b""):
    """Return a NodeProto."""
    words = b"".join(field(1, each) for each in inputs)
    return words + field(2, output) + field(3, output) + field(4, kind) + attributes


def weights(count, scale):
    """Return numbers between -scale and scale, the same at each run."""
    state, found = 12345, []
    for _ in range(count):
        state = (1103515245 * state + 12345) % 2147483648
        found.append((state / 1073741824.0 - 1.0) * scale)
    return found


def model():
    """Return a model as bytes: x[1,3,16,16] -> Conv -> Relu -> MatMul -> Add -> y[1,8,16,16]. No onnx package is needed."""
    pads = field(5, field(1, "pads") + b"".join(field(8, 1) for _ in range(4)) + field(20, 7))
    nodes = [
        node("Conv", ("x", "kernel"), "conv", pads),
        node("Relu", ("conv",), "relu"),
        node("MatMul", ("relu", "matrix"), "product"),
        node("Add", ("product", "bias"), "y"),
    ]
    graph = b"".join(field(1, each) for each in nodes) + field(2, "gpudoctor")
    graph += field(5, tensor("kernel", (8, 3, 3, 3), weights(216, 0.3)))
    graph += field(5, tensor("matrix", (16, 16), weights(256, 0.3)))
    graph += field(5, tensor("bias", (16,), weights(16, 0.1)))
    graph += field(11, value_info("x", (1, 3, 16, 16))) + field(12, value_info("y", (1, 8, 16, 16)))
    # IR version 7 and operator set 13: ONNX Runtime 1.8 and all later ones read it.
    return field(1, 7) + field(2, "gpudoctor") + field(7, graph) + field(8, field(2, 13))


def placement(events):
    """Return the provider that ran each node, by name, from the events of a profile: the only thing that does not flatter."""
    found = {}
    for event in events:
        arguments = event.get("args") or {}
        if event.get("cat") == "Node" and arguments.get("provider") and event.get("name", "").endswith("_kernel_time"):
            found[event["name"][: -len("_kernel_time")]] = arguments["provider"]
    return found


def needed(path):
    """Return the libraries that an ELF file names as needed (DT_NEEDED), without loading it."""
    import struct

    with open(path, "rb") as file:
        head = file.read(64)
        if head[:6] != b"\x7fELF\x02\x01":
            return []
        offset, size, count = struct.unpack_from("<Q", head, 32)[0], *struct.unpack_from("<HH", head, 54)
        file.seek(offset)
        table = file.read(size * count)
        parts = [struct.unpack_from("<IIQQQQ", table, at * size) for at in range(count)]
        dynamic = [part for part in parts if part[0] == 2]
        if not dynamic:
            return []
        file.seek(dynamic[0][2])
        data = file.read(dynamic[0][5])
        entries = [struct.unpack_from("<QQ", data, at) for at in range(0, len(data) - 15, 16)]
        strings = next((value for tag, value in entries if tag == 5), 0)
        start = next(
            (part[2] + strings - part[3] for part in parts if part[0] == 1 and part[3] <= strings < part[3] + part[5]), 0
        )
        found = []
        for tag, value in entries:
            if tag == 0:
                break
            if tag == 1:
                file.seek(start + value)
                found.append(file.read(256).split(b"\0")[0].decode())
    return found


def missing(path):
    """Return what of a library's needs the loader does not find here, as (library, what the loader says)."""
    import ctypes

    found = []
    for name in needed(path):
        # Its own helper beside it is found by the path of ONNX Runtime's own folder.
        if name.startswith("libonnxruntime"):
            continue
        try:
            ctypes.CDLL(name)
        except OSError as error:
            found.append((str(error).partition(":")[0], str(error)))
    return found


def pip_folders(names):
    """Return for each library the pip package's folder that has it, though the loader does not look there."""
    import glob

    found = {}
    for name in names:
        for top in sys.path:
            hits = sorted(glob.glob(os.path.join(glob.escape(top), "nvidia", "**", name), recursive=True))
            if hits and name not in found:
                found[name] = os.path.dirname(hits[0])
    return found


def other_majors(names):
    """Return for each missing library the versions of it that the loader's usual folders do have."""
    import glob

    folders = ["/usr/local/cuda*/lib64", "/usr/local/cuda*/targets/*/lib", "/usr/lib/*-linux-gnu", "/usr/lib64"]
    folders += [each for each in os.environ.get("LD_LIBRARY_PATH", "").split(":") if each]
    found = {}
    for name in names:
        stem = name.partition(".so")[0] + ".so."
        hits = {os.path.basename(hit) for folder in folders for hit in glob.glob(os.path.join(folder, stem + "*"))}
        others = sorted(hit for hit in hits if hit[len(stem) :].isdigit() and hit != name)
        if others:
            found[name] = others
    return found


def provider_library(ort):
    """Return what is the matter with the library of the CUDA provider: facts, all empty where nothing is."""
    folder = os.path.join(os.path.dirname(ort.__file__), "capi")
    path = os.path.join(folder, "libonnxruntime_providers_cuda.so")
    if not os.path.exists(path):
        return {"library": "", "missing": [], "loader": [], "pip": {}, "others": {}}
    absent = missing(path)
    names = list(dict.fromkeys(name for name, _ in absent))
    says = [words for _, words in absent]
    return {"library": path, "missing": names, "loader": says, "pip": pip_folders(names), "others": other_majors(names)}


def session(ort, device, folder):
    """Return a session that profiles itself; the provider is named, for without a name this package takes the CPU."""
    options = ort.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = os.path.join(folder, "profile")
    return ort.InferenceSession(model(), options, providers=[CUDA, CPU] if device == "cuda" else [CPU])


def failure(text):
    """Return what the CUDA runtime said as (number, words), from what the Python part prints before it takes the CPU instead."""
    words = text.partition("CUDA failure ")[2].partition(" ;")[0].strip()
    number, _, means = words.partition(":")
    return (int(number), means.strip()) if number.isdigit() else (0, "")


def climb(out):
    """Climb from the import to the placement of each node."""
    import shutil
    import tempfile

    device = out.settings.get("device", "cuda")
    out.phase("import", "import")
    import numpy
    import onnxruntime as ort

    built = getattr(ort, "cuda_version", "") or ""
    listed = list(ort.get_available_providers()) if hasattr(ort, "get_available_providers") else []
    if not hasattr(ort, "InferenceSession"):
        out.told("failed", "the package is empty: onnxruntime or onnxruntime-gpu was removed and took the other's files along")
        raise Stop
    facts = {"version": ort.__version__, "cuda": built, "listed": listed, "path": os.path.dirname(ort.__file__)}
    out.told("passed", "ONNX Runtime {}{}".format(ort.__version__, f", built for CUDA {built}" if built else ""), "sees", **facts)
    out.phase("load", "sees")
    folder = tempfile.mkdtemp(prefix="gpudoctor-ort-")
    try:
        _load_and_run(out, ort, numpy, device, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _quiet(function, *arguments):
    """Call a function and return what it returns and what Python printed meanwhile, which is printed all the same."""
    import contextlib
    import io

    heard = io.StringIO()
    try:
        with contextlib.redirect_stdout(heard):
            made = function(*arguments)
    finally:
        sys.stdout.write(heard.getvalue())
    return made, heard.getvalue()


def _load_and_run(out, ort, numpy, device, folder):
    wanted = CUDA if device == "cuda" else CPU
    if device == "cuda" and CUDA not in ort.get_available_providers():
        out.told("failed", "this package was built without the CUDA provider", listed=list(ort.get_available_providers()))
        raise Stop
    library = provider_library(ort) if device == "cuda" else {}
    made, printed = _quiet(session, ort, device, folder)
    got = list(made.get_providers())
    if wanted in got:
        out.told("passed", "the session has {}".format(", ".join(got)), "kernels", providers=got, **library)
        out.told("untold", "ONNX Runtime does not say which GPUs its kernels are for: the run shows it", "computes")
    else:
        code, means = failure(printed)
        if not library["library"]:
            why = "libonnxruntime_providers_cuda.so is not in the package"
        elif code:
            why = f"CUDA failure {code}: {means}"
            library["code"] = code
        else:
            why = "; ".join(library["loader"]) or "all that its library needs is here; what it printed may say why"
        out.told(
            "failed",
            "the session has {} and no exception was raised: {}".format(", ".join(got), why),
            "computes",
            providers=got,
            **library,
        )
    out.phase("run", "computes")
    # Whole numbers halved: the same bytes whatever the version of numpy.
    x = (numpy.arange(768, dtype=numpy.float32).reshape(1, 3, 16, 16) % 17 - 8) / 8
    y = made.run(None, {"x": x})[0]
    after = list(made.get_providers())
    again = ort.InferenceSession(model(), providers=[CPU]).run(None, {"x": x})[0]
    off = float(numpy.abs(y - again).max())
    says = f"Conv, Relu, MatMul, Add: off the CPU's result by at most {off:.1e} (allowed: {TOLERANCE:.0e})"
    good = off <= TOLERANCE and bool(numpy.isfinite(y).all())
    out.told("passed" if good else "failed", says, "placed", off=off, tolerance=TOLERANCE)
    with open(made.end_profiling()) as file:
        ran = placement(json.load(file))
    strays = sorted(name for name, provider in ran.items() if provider != wanted)
    by = ", ".join(sorted(set(ran.values()))) or "nothing that the profile names"
    facts = {"nodes": ran, "providers_after": after, "on": wanted if ran and not strays else by}
    if ran and not strays:
        out.told("passed", f"the profile: all {len(ran)} nodes ran by {wanted}", "freed", **facts)
    else:
        out.told("failed", f"the profile: nodes ran by {by}", "freed", **facts)
    del made
    out.told("untold", "ONNX Runtime has no figure for it; its process has ended, and the driver takes all of its memory back")


if __name__ == "__main__":
    run(climb)
