"""NVML in a process of its own: prints what NVML says as one JSON object, and ends with 0.

It runs as ``python -I -B nvml_child.py``, because a hanging driver cannot be interrupted from within: the parent kills this process.
A value is null where NVML has none (error 3, NOT_SUPPORTED, as for MIG on a GeForce) or where the library or nvidia-ml-py is too old
to have the function. Codes: nvml.h, ``nvmlReturn_t``; nvidia-ml-py says 12 whenever the library cannot be loaded, for any reason.

``{"init": 0, "error": "", "driver": "550.163.01", "cuda": "12.4", "gpus": [...]}``; a GPU has ``index`` (NVML's, in PCI order),
``minor`` (of /dev/nvidiaN), ``uuid``, ``pci`` (as sysfs writes it), ``name``, ``capability``, ``mig``, ``mig_devices``
(UUIDs), ``mig_places`` (GPU and compute instance of each of these), ``compute_mode``, ``persistence``, ``ecc``, ``fabric``,
``ecc_uncorrected`` (memory errors since the driver took it or it was reset), ``retiring`` (a page or row of its memory waits for a reset
to be replaced) and ``retiring_failed`` (none is left to replace it with), ``memory_total`` and ``memory_used`` (bytes), ``processes`` (of CUDA; their memory in bytes), and ``error`` where it
did not answer.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

# nvmlComputeMode_t, by its numbers
_COMPUTE_MODES = ("default", "exclusive_thread", "prohibited", "exclusive_process")


def answer() -> dict[str, Any]:
    """Return what NVML says; ``init`` is None where it could not be asked at all."""
    # -I leaves out a user's own packages, and so nvidia-ml-py where gpudoctor was installed beside it with `pip install --user`.
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    try:
        import pynvml
    except ImportError:
        return {"init": None, "error": "nvidia-ml-py is not installed"}
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return {"init": _code(error), "error": str(error)}
    asked = _Asked(pynvml)
    cuda = asked("nvmlSystemGetCudaDriverVersion_v2")
    found: dict[str, Any] = {
        "init": 0,
        "error": "",
        "driver": _text(asked("nvmlSystemGetDriverVersion")),
        "cuda": f"{cuda // 1000}.{cuda % 1000 // 10}" if isinstance(cuda, int) else None,
        "gpus": [_gpu(asked, index) for index in range(asked("nvmlDeviceGetCount") or 0)],
    }
    asked("nvmlShutdown")
    return found


class _Asked:
    """Asks NVML by a function's name; None where it has no answer."""

    def __init__(self, pynvml: Any) -> None:
        self.pynvml = pynvml
        self.error: str | None = None

    def __call__(self, function: str, *arguments: Any) -> Any:
        asked: Callable[..., Any] | None = getattr(self.pynvml, function, None)
        self.error = None
        if asked is None:
            return None
        try:
            return asked(*arguments)
        except self.pynvml.NVMLError as error:
            self.error = str(error)
            return None


def _gpu(asked: _Asked, index: int) -> dict[str, Any]:
    handle = asked("nvmlDeviceGetHandleByIndex", index)
    if handle is None:
        return {"index": index, "error": asked.error}
    pci = asked("nvmlDeviceGetPciInfo", handle)
    mig = asked("nvmlDeviceGetMigMode", handle)
    mode = asked("nvmlDeviceGetComputeMode", handle)
    persistence = asked("nvmlDeviceGetPersistenceMode", handle)
    ecc = asked("nvmlDeviceGetEccMode", handle)
    memory = asked("nvmlDeviceGetMemoryInfo", handle)
    capability = asked("nvmlDeviceGetCudaComputeCapability", handle)
    processes = asked("nvmlDeviceGetComputeRunningProcesses", handle)
    # NVML_MEMORY_ERROR_TYPE_UNCORRECTED, NVML_VOLATILE_ECC
    uncorrected = asked("nvmlDeviceGetTotalEccErrors", handle, 1, 0)
    # From Ampere on rows are remapped (corrected, uncorrected, pending, failed), before it pages are retired.
    rows = asked("nvmlDeviceGetRemappedRows", handle)
    pages = asked("nvmlDeviceGetRetiredPagesPendingStatus", handle) if rows is None else None
    devices = _mig_devices(asked, handle) if mig is not None and mig[0] == 1 else []
    return {
        "index": index,
        "minor": asked("nvmlDeviceGetMinorNumber", handle),
        "uuid": _text(asked("nvmlDeviceGetUUID", handle)),
        "pci": None if pci is None else _pci(_text(pci.busId) or ""),
        "name": _text(asked("nvmlDeviceGetName", handle)),
        "capability": None if capability is None else list(capability),
        "mig": None if mig is None else mig[0] == 1,
        "mig_devices": [uuid for uuid, _ in devices],
        "mig_places": [place for _, place in devices],
        "compute_mode": _COMPUTE_MODES[mode] if isinstance(mode, int) and 0 <= mode < len(_COMPUTE_MODES) else None,
        "persistence": None if persistence is None else persistence == 1,
        "ecc": None if ecc is None else ecc[0] == 1,
        "ecc_uncorrected": uncorrected,
        "retiring": (None if pages is None else pages == 1) if rows is None else bool(rows[2]),
        "retiring_failed": None if rows is None else bool(rows[3]),
        "fabric": _fabric(asked, handle),
        "memory_total": None if memory is None else memory.total,
        "memory_used": None if memory is None else memory.used,
        "processes": None if processes is None else [{"pid": each.pid, "memory": each.usedGpuMemory} for each in processes],
    }


def _mig_devices(asked: _Asked, handle: Any) -> list[tuple[str, list[int | None]]]:
    """Return the UUID and the GPU and compute instance of each MIG device of a GPU; places without one answer NOT_FOUND."""
    found = []
    for place in range(asked("nvmlDeviceGetMaxMigDeviceCount", handle) or 0):
        device = asked("nvmlDeviceGetMigDeviceHandleByIndex", handle, place)
        uuid = _text(asked("nvmlDeviceGetUUID", device)) if device is not None else None
        if uuid:
            found.append((uuid, [asked("nvmlDeviceGetGpuInstanceId", device), asked("nvmlDeviceGetComputeInstanceId", device)]))
    return found


def _fabric(asked: _Asked, handle: Any) -> dict[str, int] | None:
    """Return the state of the NVLink fabric: ``state`` 3 is complete, ``status`` an NVML code (nvml.h, nvmlGpuFabricInfoV_t)."""
    kind = getattr(asked.pynvml, "c_nvmlGpuFabricInfoV_t", None)
    if kind is None:
        return None
    import ctypes

    info = kind()
    asked("nvmlDeviceGetGpuFabricInfoV", handle, ctypes.byref(info))
    # 0 is "not supported": a GPU without an NVSwitch.
    return {"state": info.state, "status": info.status} if asked.error is None and info.state else None


def _pci(bus_id: str) -> str:
    """Return ``0000:01:00.0`` for NVML's ``00000000:01:00.0``, whose domain has eight digits, in capitals."""
    domain, _, rest = bus_id.lower().partition(":")
    try:
        return f"{int(domain, 16):04x}:{rest}"
    except ValueError:
        return bus_id


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else None


def _code(error: Any) -> int:
    return int(error.value)


def main() -> None:
    """Print the answer; whatever libraries print themselves goes to standard error."""
    import json

    out = os.dup(1)
    os.dup2(2, 1)
    try:
        found = answer()
    except Exception as error:  # noqa: BLE001 - the parent wants an answer, whatever the library does
        found = {"init": None, "error": f"{type(error).__name__}: {error}"}
    with os.fdopen(out, "w") as stream:
        stream.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
