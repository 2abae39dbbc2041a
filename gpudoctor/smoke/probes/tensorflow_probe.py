"""TensorFlow: a convolution and a product of matrices; the device that each tensor names."""

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
"""Absolute, of outputs near 1: TensorFloat-32, which TensorFlow uses by default, keeps ten bits."""


def covers(targets, capability):
    """Say whether code for one of these targets runs on a capability (major, minor), and by which.

    A cubin sm_XY runs on X.Z with Z >= Y; one for sm_XYa on X.Y alone; PTX compute_XY is compiled for every one from X.Y on.
    """
    for target in targets:
        kind, _, digits = target.partition("_")
        exact = digits.endswith("a")
        digits = digits.rstrip("af")
        if kind not in ("sm", "compute") or not digits.isdigit():
            continue
        major, minor = int(digits[:-1]), int(digits[-1])
        if exact:
            fits = (major, minor) == capability
        elif kind == "sm":
            fits = major == capability[0] and minor <= capability[1]
        else:
            fits = (major, minor) <= capability
        if fits:
            return target
    return ""


def kernels(out, targets, capability, name):
    """Climb the rung of the kernels: whether this build has code for a GPU of this capability."""
    shown = f"{capability[0]}.{capability[1]}"
    facts = {"targets": targets, "capability": shown}
    if not targets:
        out.told("untold", f"{name} does not say which GPUs its kernels are for: the run shows it", "computes", **facts)
        return
    fit = covers(targets, capability)
    if not fit:
        out.told("failed", "compiled for {}, and the GPU has capability {}".format(" ".join(targets), shown), **facts)
        raise Stop
    out.told("passed", f"{fit} serves capability {shown}", "computes", by=fit, **facts)


def compute(tf, where):
    """Return the result of a convolution, a rectifier and a product of matrices on one device, and the device each tensor names."""
    with tf.device(where):
        x = tf.reshape(tf.cast(tf.range(768) % 17 - 8, tf.float32) / 8.0, (1, 16, 16, 3))
        kernel = tf.Variable(tf.reshape(tf.cast(tf.range(216) % 13 - 6, tf.float32) / 30.0, (3, 3, 3, 8)))
        matrix = tf.Variable(tf.reshape(tf.cast(tf.range(64) % 11 - 5, tf.float32) / 20.0, (8, 8)))
        hidden = tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "SAME"))
        y = tf.matmul(tf.reshape(hidden, (256, 8)), matrix)
    return y.numpy(), {"kernel": kernel.device, "matrix": matrix.device, "hidden": hidden.device, "output": y.device}


def capability(tf, gpu):
    """Return a GPU's capability as (major, minor), None where this release does not say."""
    details = tf.config.experimental.get_device_details(gpu)
    found = details.get("compute_capability")
    return tuple(found) if found else None


def climb(out):
    """Climb from the import to the memory that is given back."""
    device = out.settings.get("device", "cuda")
    # It has to be known before the first operation, or TensorFlow takes all memory of the GPU.
    os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
    out.phase("import", "import")
    import tensorflow as tf

    build = dict(tf.sysconfig.get_build_info())
    built = build.get("cuda_version", "") if build.get("is_cuda_build") else ""
    says = "TensorFlow {}, built {}".format(tf.__version__, f"for CUDA {built}" if built else "without CUDA")
    out.told("passed", says, "sees", version=tf.__version__, cuda=built, path=os.path.dirname(tf.__file__))
    out.phase("load", "sees")
    if device == "cuda":
        gpus = tf.config.list_physical_devices("GPU")
        if not gpus:
            why = "standard error says why" if built else "this build has no CUDA"
            out.told("failed", f"list_physical_devices('GPU') is empty: {why}", cuda=built)
            raise Stop
        for each in gpus:
            tf.config.experimental.set_memory_growth(each, enable=True)
        name = tf.config.experimental.get_device_details(gpus[0]).get("device_name", gpus[0].name)
        out.told("passed", name, "kernels", gpus=len(gpus))
        found = capability(tf, gpus[0])
        targets = list(build.get("cuda_compute_capabilities", ()))
        if found is None:
            targets, found = [], (0, 0)
        kernels(out, targets, found, "TensorFlow")
    else:
        tf.config.set_visible_devices([], "GPU")
        out.told("passed", "the CPU", "kernels")
        out.told("passed", "those for the CPU", "computes")
    # With soft placement an operation that asks for a GPU would go to the CPU without a word.
    tf.config.set_soft_device_placement(enabled=False)
    out.phase("run", "computes")
    where = "/GPU:0" if device == "cuda" else "/CPU:0"
    y, devices = compute(tf, where)
    again, _ = compute(tf, "/CPU:0")
    off = float(abs(y - again).max())
    says = f"a convolution and a product of matrices: off the CPU's result by at most {off:.1e} (allowed: {TOLERANCE:.0e})"
    out.told("passed" if off <= TOLERANCE else "failed", says, "placed", off=off, tolerance=TOLERANCE)
    wanted = f"device:{where[1:]}"
    strays = [name for name, place in devices.items() if not place.endswith(wanted)]
    facts = {"devices": devices, "on": where[1:] if not strays else f"not all on {where[1:]}"}
    if strays:
        out.told("failed", f"{strays[0]} is on {devices[strays[0]]}", "freed", **facts)
    else:
        out.told("passed", "each tensor and variable names {}".format(devices["output"]), "freed", **facts)
    if device == "cpu":
        out.told("untold", "a matter of GPU memory")
        return
    import gc

    gc.collect()
    told = tf.config.experimental.get_memory_info("GPU:0")
    says = f"{told['current'] >> 10} KiB are still in use after the tensors are gone; the peak was {told['peak'] >> 10} KiB"
    out.told("passed" if told["current"] <= 64 << 20 else "failed", says, kept=told["current"], peak=told["peak"])


if __name__ == "__main__":
    run(climb)
