"""The rungs below every framework: the device nodes open, libcuda loads, cuInit starts, the devices and their capability."""

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


ERRORS = {
    6: "ENXIO: the node is there, and no driver behind it",
    1: "EPERM: the device cgroup (or another security module) refuses it",
    13: "EACCES: its mode, owner or label refuses it",
    2: "ENOENT: there is no such node",
    19: "ENODEV: there is no such device",
    5: "EIO: the driver could not start the GPU",
}
NAMES = {
    1: "CUDA_ERROR_INVALID_VALUE",
    2: "CUDA_ERROR_OUT_OF_MEMORY",
    3: "CUDA_ERROR_NOT_INITIALIZED",
    34: "CUDA_ERROR_STUB_LIBRARY",
    46: "CUDA_ERROR_DEVICE_UNAVAILABLE",
    100: "CUDA_ERROR_NO_DEVICE",
    101: "CUDA_ERROR_INVALID_DEVICE",
    500: "CUDA_ERROR_NOT_FOUND",
    802: "CUDA_ERROR_SYSTEM_NOT_READY",
    803: "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
    804: "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE",
    999: "CUDA_ERROR_UNKNOWN",
}


def named(code):
    """Return a CUDA error as ``999 (CUDA_ERROR_UNKNOWN)``."""
    return f"{code} ({NAMES[code]})" if code in NAMES else str(code)


def open_nodes(out):
    """Open each device node as CUDA does, for reading and writing, and close it again; what is not there is not made."""
    paths = out.settings.get("nodes")
    if paths is None:
        paths = sorted("/dev/" + name for name in os.listdir("/dev") if name == "nvidiactl" or name[6:].isdigit())
        paths = [path for path in paths if path.startswith("/dev/nvidia")]
    failed = []
    for path in paths:
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY))
        except OSError as error:
            failed.append((path, error.errno, ERRORS.get(error.errno or 0, os.strerror(error.errno or 0))))
    if not paths:
        out.told("failed", "no NVIDIA device node is there", nodes=[])
        raise Stop
    if failed:
        says = "; ".join(f"{path}: {words}" for path, _, words in failed)
        out.told("failed", says, nodes=paths, errors={path: code for path, code, _ in failed})
        raise Stop
    out.told("passed", "{} open".format(", ".join(paths)), "libcuda", nodes=paths)


def load(out):
    """Load libcuda as every framework does, by its soname, and say which file that is."""
    import ctypes

    name = out.settings.get("libcuda", "libcuda.so.1")
    try:
        cuda = ctypes.CDLL(name)
    except OSError as error:
        out.told("failed", str(error))
        raise Stop from None
    path = name
    with open("/proc/self/maps") as maps:
        for line in maps:
            if "/libcuda.so" in line or "libcuda_" in line:
                path = line.split(None, 5)[5].strip()
                break
    out.told("passed", path, "cuinit", path=path)
    return cuda


def start(out, cuda):
    """Call cuInit: its number is the cause. It is not called where it would make device nodes."""
    if not out.settings.get("cuinit", True):
        out.told("failed", out.settings.get("why_not", "cuInit was not called, for it would make device nodes"))
        raise Stop
    code = cuda.cuInit(0)
    if code:
        out.told("failed", f"cuInit: error {named(code)}", code=code)
        raise Stop
    out.told("passed", "cuInit: 0", "devices", code=0)


def count(out, cuda):
    """Say the driver's CUDA version, and of each device its name, capability, UUID, memory, and which others it reaches."""
    import ctypes

    number = ctypes.c_int()

    def asked(function, *arguments):
        code = getattr(cuda, function)(*arguments)
        if code:
            out.told("failed", f"{function}: error {named(code)}", code=code)
            raise Stop
        return number.value

    version = asked("cuDriverGetVersion", ctypes.byref(number))
    devices = []
    for at in range(asked("cuDeviceGetCount", ctypes.byref(number))):
        device = asked("cuDeviceGet", ctypes.byref(number), at)
        name = ctypes.create_string_buffer(256)
        asked("cuDeviceGetName", name, 256, device)
        numbers = [asked("cuDeviceGetAttribute", ctypes.byref(number), which, device) for which in (75, 76, 20)]
        memory = ctypes.c_size_t()
        asked("cuDeviceTotalMem_v2", ctypes.byref(memory), device)
        devices.append(
            {
                "name": name.value.decode("utf-8", "replace"),
                "capability": f"{numbers[0]}.{numbers[1]}",
                "compute_mode": numbers[2],
                "uuid": _uuid(cuda, device, name.value),
                "memory_mib": memory.value >> 20,
            }
        )
    pairs = [(one, other) for one in range(len(devices)) for other in range(len(devices)) if one != other]
    peers = [pair for pair in pairs if not cuda.cuDeviceCanAccessPeer(ctypes.byref(number), *pair) and number.value]
    cuda_version = f"{version // 1000}.{version % 1000 // 10}"
    facts = {"cuda": cuda_version, "devices": devices, "peers": peers}
    if not devices:
        out.told("failed", f"CUDA {cuda_version} starts and counts no device", **facts)
        raise Stop
    shown = ", ".join("{} ({})".format(each["name"], each["capability"]) for each in devices)
    out.told("passed", f"the driver has CUDA {cuda_version}; devices: {shown}", **facts)


def _uuid(cuda, device, name):
    """Return a device's UUID as it stands in CUDA_VISIBLE_DEVICES, "" where this driver has no call for it."""
    import ctypes

    raw = ctypes.create_string_buffer(16)
    # The second version knows MIG devices (driver 470); the first one does for whole GPUs.
    function = getattr(cuda, "cuDeviceGetUuid_v2", None) or getattr(cuda, "cuDeviceGetUuid", None)
    if function is None or function(raw, device):
        return ""
    text = raw.raw.hex()
    kind = "MIG-" if b" MIG " in name else "GPU-"
    return kind + "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def climb(out):
    """Climb the rungs below every framework."""
    out.phase("load", "nodes")
    open_nodes(out)
    cuda = load(out)
    out.phase("run", "cuinit")
    start(out, cuda)
    count(out, cuda)


if __name__ == "__main__":
    run(climb)
