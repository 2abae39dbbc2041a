"""CuPy: a product of matrices and a kernel compiled on the spot; the device that the arrays live on."""

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
"""Absolute, of outputs near 1."""


def climb(out):
    """Climb from the import to the memory that is given back. CuPy has nothing for the CPU."""
    out.phase("import", "import")
    if out.settings.get("device", "cuda") == "cpu":
        out.told("failed", "CuPy computes on GPUs alone: there is nothing to try on the CPU")
        raise Stop
    import cupy
    import numpy

    runtime = cupy.cuda.runtime
    built = runtime.runtimeGetVersion()
    cuda = f"{built // 1000}.{built % 1000 // 10}"
    says = f"CuPy {cupy.__version__} with CUDA {cuda}"
    out.told("passed", says, "sees", version=cupy.__version__, cuda=cuda, path=os.path.dirname(cupy.__file__))
    out.phase("load", "sees")
    count = runtime.getDeviceCount()
    name = runtime.getDeviceProperties(0)["name"].decode()
    out.told("passed", name, "kernels", gpus=count)
    out.told("untold", "CuPy compiles for the GPU that it meets: the run shows it", "computes")
    out.phase("run", "computes")
    pool = cupy.get_default_memory_pool()
    x = (numpy.arange(4096, dtype=numpy.float32).reshape(64, 64) % 17 - 8) / 64
    given = cupy.asarray(x)
    y = cupy.maximum(given @ given.T, 0) + given
    used = pool.used_bytes()
    off = float(numpy.abs(cupy.asnumpy(y) - (numpy.maximum(x @ x.T, 0) + x)).max())
    says = f"a product of matrices and compiled kernels: off numpy's result by at most {off:.1e} (allowed: {TOLERANCE:.0e})"
    out.told("passed" if off <= TOLERANCE else "failed", says, "placed", off=off, tolerance=TOLERANCE)
    # The pointer's own attributes, asked of the driver: type 2 is memory of a device.
    kind = runtime.pointerGetAttributes(y.data.ptr).type
    facts = {"device": int(y.device.id), "pointer": int(kind), "on": "cuda" if kind == 2 else f"memory of type {kind}"}
    says = f"the result's memory is of type {kind} on device {y.device.id} (2 is a GPU's own)"
    out.told("passed" if kind == 2 and used else "failed", says, "freed", **facts)
    del given, y
    pool.free_all_blocks()
    kept = pool.total_bytes()
    out.told(
        "passed" if kept <= 64 << 20 else "failed",
        f"{kept} bytes are still taken after the arrays are gone",
        kept=kept,
        peak=used,
    )


if __name__ == "__main__":
    run(climb)
