"""JAX: a compiled convolution and product of matrices; the device that the result lives on."""

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


TOLERANCE = 2e-2
"""Absolute, of outputs near 1: on a GPU JAX multiplies 32-bit floats in TensorFloat-32 or less unless it is told otherwise."""


def compute(jax, device):
    """Return the result of a compiled convolution and product of matrices on one device, and where it is."""
    import jax.numpy as jnp

    def model(x, kernel, matrix):
        hidden = jax.nn.relu(jax.lax.conv(x, kernel, (1, 1), "SAME"))
        return hidden @ matrix

    with jax.default_device(device):
        x = (jnp.arange(768, dtype=jnp.float32).reshape(1, 3, 16, 16) % 17 - 8) / 8
        kernel = (jnp.arange(216, dtype=jnp.float32).reshape(8, 3, 3, 3) % 13 - 6) / 30
        matrix = (jnp.arange(256, dtype=jnp.float32).reshape(16, 16) % 11 - 5) / 30
        y = jax.jit(model)(x, kernel, matrix).block_until_ready()
    return y, sorted({each.platform for part in (x, kernel, matrix, y) for each in part.devices()})


def climb(out):
    """Climb from the import to the memory that is given back."""
    device = out.settings.get("device", "cuda")
    # It takes three quarters of the GPU's memory at its first operation otherwise.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    out.phase("import", "import")
    import jax
    import numpy

    out.told("passed", f"JAX {jax.__version__}", "sees", version=jax.__version__, path=os.path.dirname(jax.__file__))
    out.phase("load", "sees")
    wanted = "gpu" if device == "cuda" else "cpu"
    try:
        found = jax.devices(wanted)
    except RuntimeError as error:
        out.told("failed", f"jax.devices('gpu'): {error}", backend=jax.default_backend())
        raise Stop from None
    out.told("passed", "jax.devices(): {}".format(", ".join(map(str, found))), "kernels", gpus=len(found))
    out.told("untold", "XLA compiles for the GPU that it meets: the run shows it", "computes")
    out.phase("run", "computes")
    y, platforms = compute(jax, found[0])
    again, _ = compute(jax, jax.devices("cpu")[0])
    off = float(numpy.abs(numpy.asarray(y) - numpy.asarray(again)).max())
    says = f"a convolution and a product of matrices: off the CPU's result by at most {off:.1e} (allowed: {TOLERANCE:.0e})"
    out.told("passed" if off <= TOLERANCE else "failed", says, "placed", off=off, tolerance=TOLERANCE)
    facts = {"platforms": platforms, "on": ", ".join(platforms)}
    if platforms not in ([wanted], ["cuda" if device == "cuda" else wanted]):
        out.told("failed", "inputs and result are on {}".format(", ".join(platforms)), "freed", **facts)
    else:
        out.told("passed", "inputs and result are on {}".format(", ".join(map(str, y.devices()))), "freed", **facts)
    if device == "cpu":
        out.told("untold", "a matter of GPU memory")
        return
    del y, again
    told = found[0].memory_stats() or {}
    kept = told.get("bytes_in_use")
    if kept is None:
        out.told("untold", "this release has no figure for it")
        return
    peak = told.get("peak_bytes_in_use", 0)
    says = f"{kept >> 10} KiB are still in use after the arrays are gone; the peak was {peak >> 10} KiB"
    out.told("passed" if kept <= 64 << 20 else "failed", says, kept=kept, peak=told.get("peak_bytes_in_use"))


if __name__ == "__main__":
    run(climb)
