"""The NVML child, against a small libnvidia-ml.so.1 written here: codes, values, MIG, and what is not supported."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from gpudoctor.host import nvml_child

if TYPE_CHECKING:
    from pathlib import Path

# Layouts from nvml.h: nvmlPciInfo_t is 68 bytes, nvmlProcessInfo_t 24 with a gap after pid; versioned structures carry their size.
MOCK = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
typedef void *dev;
typedef struct { char legacy[16]; unsigned domain, bus, device, id, sub; char bus_id[32]; } pci;
typedef struct { unsigned long long total, free, used; } memory;
typedef struct { unsigned pid; unsigned long long used; unsigned gi, ci; } process;
typedef struct { unsigned version; unsigned char cluster[16]; unsigned status, clique, state, health; } fabric;
static char gpus[3], mig;
static int set(const char *name) { const char *value = getenv(name); return value ? atoi(value) : 0; }
static int which(dev handle) { return (int)((char *)handle - gpus); }
int nvmlInitWithFlags(unsigned flags) {
    if (set("MOCK_HANG")) sleep(60);
    puts("libraries may print");
    return set("MOCK_INIT");
}
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int code) { return code == 18 ? "Driver/library version mismatch" : "Unknown Error"; }
int nvmlSystemGetDriverVersion(char *into, unsigned size) { snprintf(into, size, "550.163.01"); return 0; }
int nvmlSystemGetCudaDriverVersion_v2(int *into) { *into = 12040; return set("MOCK_OLD") ? 13 : 0; }
int nvmlDeviceGetCount_v2(unsigned *into) { *into = 3; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned at, dev *into) { *into = &gpus[at]; return at == 2 ? 15 : 0; }
int nvmlDeviceGetName(dev h, char *into, unsigned size) { snprintf(into, size, which(h) ? "GeForce" : "NVIDIA A100-SXM4-80GB"); return 0; }
int nvmlDeviceGetUUID(dev h, char *into, unsigned size) {
    snprintf(into, size, h == &mig ? "MIG-22222222-0000-0000-0000-000000000000" : "GPU-%d", which(h));
    return 0;
}
int nvmlDeviceGetPciInfo_v3(dev h, pci *into) {
    memset(into, 0, sizeof *into);
    snprintf(into->bus_id, 32, which(h) ? "00010002:C1:00.0" : "00000000:3B:00.0");
    return 0;
}
int nvmlDeviceGetMinorNumber(dev h, unsigned *into) { *into = 1 - which(h); return 0; }
int nvmlDeviceGetCudaComputeCapability(dev h, int *a, int *b) { *a = 8; *b = which(h) ? 6 : 0; return 0; }
int nvmlDeviceGetMigMode(dev h, unsigned *now, unsigned *then) { *now = *then = 1; return which(h) ? 3 : 0; }
int nvmlDeviceGetMaxMigDeviceCount(dev h, unsigned *into) { *into = 7; return 0; }
int nvmlDeviceGetMigDeviceHandleByIndex(dev h, unsigned at, dev *into) { *into = &mig; return at == 1 ? 0 : 6; }
int nvmlDeviceGetGpuInstanceId(dev h, unsigned *into) { *into = 9; return h == &mig ? 0 : 2; }
int nvmlDeviceGetComputeInstanceId(dev h, unsigned *into) { *into = 3; return h == &mig ? 0 : 2; }
int nvmlDeviceGetComputeMode(dev h, unsigned *into) { *into = which(h) ? 2 : 0; return 0; }
int nvmlDeviceGetPersistenceMode(dev h, unsigned *into) { *into = !which(h); return 0; }
int nvmlDeviceGetEccMode(dev h, unsigned *now, unsigned *then) { *now = 1; *then = 0; return which(h) ? 3 : 0; }
int nvmlDeviceGetTotalEccErrors(dev h, int type, int counter, unsigned long long *into) { *into = type == 1 && !counter ? 7 : 0; return which(h) ? 3 : 0; }
int nvmlDeviceGetRemappedRows(dev h, unsigned *a, unsigned *b, unsigned *pending, unsigned *failed) { *pending = 1; *failed = 0; return which(h) ? 3 : 0; }
int nvmlDeviceGetRetiredPagesPendingStatus(dev h, unsigned *into) { *into = 1; return set("MOCK_PASCAL") ? 0 : 3; }
int nvmlDeviceGetMemoryInfo(dev h, memory *into) { into->total = 85899345920ull; into->used = 2147483648ull; return 0; }
int nvmlDeviceGetGpuFabricInfoV(dev h, fabric *into) {
    if (into->version != (sizeof *into | 2 << 24)) return 25;
    into->state = which(h) ? 0 : 3;
    into->status = 0;
    return 0;
}
int nvmlDeviceGetComputeRunningProcesses_v3(dev h, unsigned *count, process *into) {
    unsigned room = *count;
    *count = which(h) ? 0 : 2;
    if (room < *count) return 7;
    if (*count) { into[0].pid = 4242; into[0].used = 1048576; into[1].pid = 4243; into[1].used = ~0ull; }
    return 0;
}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a mock libnvidia-ml.so.1."""
    pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler here to build the mock NVML")
    folder = tmp_path_factory.mktemp("nvml")
    (folder / "mock.c").write_text(MOCK)
    made = [compiler, "-shared", "-fPIC", "-w", "-o", str(folder / "libnvidia-ml.so.1"), str(folder / "mock.c")]
    subprocess.run(made, check=True, timeout=60)
    return folder


def _child(library: Path | None, **variables: str) -> dict[str, Any]:
    """Run the child as its parent does, and return what it printed; nothing else may be on its standard output."""
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", **variables}
    if library is not None:
        environment["LD_LIBRARY_PATH"] = str(library)
    ran = subprocess.run(
        [sys.executable, "-I", "-B", nvml_child.__file__],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count(b"\n") == 1
    value = json.loads(ran.stdout)
    assert isinstance(value, dict)
    return value


def test_everything_nvml_says(library: Path) -> None:
    """Every value of a data-centre GPU comes through: MIG, fabric, ECC, processes, the address as sysfs writes it."""
    found = _child(library)
    assert (found["init"], found["error"], found["driver"], found["cuda"]) == (0, "", "550.163.01", "12.4")
    assert found["gpus"][0] == {
        "index": 0,
        "minor": 1,
        "uuid": "GPU-0",
        "pci": "0000:3b:00.0",
        "name": "NVIDIA A100-SXM4-80GB",
        "capability": [8, 0],
        "mig": True,
        "mig_devices": ["MIG-22222222-0000-0000-0000-000000000000"],
        "mig_places": [[9, 3]],
        "compute_mode": "default",
        "persistence": True,
        "ecc": True,
        "ecc_uncorrected": 7,
        "retiring": True,
        "retiring_failed": False,
        "fabric": {"state": 3, "status": 0},
        "memory_total": 85899345920,
        "memory_used": 2147483648,
        "processes": [{"pid": 4242, "memory": 1048576}, {"pid": 4243, "memory": None}],
    }


def test_what_a_gpu_does_not_support_is_null(library: Path) -> None:
    """A consumer card has neither MIG nor ECC nor a fabric; a lost GPU has nothing but NVML's words."""
    geforce, lost = _child(library)["gpus"][1:]
    assert (geforce["mig"], geforce["mig_devices"], geforce["ecc"], geforce["fabric"]) == (None, [], None, None)
    assert (geforce["ecc_uncorrected"], geforce["retiring"], geforce["retiring_failed"]) == (None, None, None)
    assert (geforce["pci"], geforce["minor"], geforce["compute_mode"]) == ("10002:c1:00.0", 0, "prohibited")
    assert geforce["processes"] == []
    assert lost == {"index": 2, "error": "GPU is lost"}


def test_an_older_gpu_retires_pages_instead_of_rows(library: Path) -> None:
    """Before Ampere there are no rows to remap, and the retired pages are asked for."""
    pascal = _child(library, MOCK_PASCAL="1")["gpus"][1]
    assert (pascal["retiring"], pascal["retiring_failed"]) == (True, None)


def test_a_function_that_is_missing_is_null(library: Path) -> None:
    """An old library that lacks a function costs that value and no other."""
    found = _child(library, MOCK_OLD="1")
    assert found["cuda"] is None
    assert found["driver"] == "550.163.01"


@pytest.mark.parametrize("code", [4, 9, 15, 18, 999])
def test_init_codes(library: Path, code: int) -> None:
    """A refusal of nvmlInit is reported by its code: permissions, no driver, a lost GPU, a mismatch, unknown."""
    found = _child(library, MOCK_INIT=str(code))
    assert set(found) == {"init", "error"}
    assert found["init"] == code
    assert found["error"]


def test_no_library(tmp_path: Path) -> None:
    """A library that cannot be loaded is code 12, for whatever reason (here it is no library)."""
    pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
    (tmp_path / "libnvidia-ml.so.1").write_bytes(b"not a library")
    assert _child(tmp_path)["init"] == 12


def test_without_nvidia_ml_py(tmp_path: Path) -> None:
    """Without the package the child says so and ends well."""
    alone = tmp_path / "a" / "b" / "c" / "nvml_child.py"
    alone.parent.mkdir(parents=True)
    shutil.copy(nvml_child.__file__, alone)
    # -S leaves out site-packages, where nvidia-ml-py is.
    ran = subprocess.run([sys.executable, "-I", "-S", "-B", str(alone)], capture_output=True, timeout=30, check=False)
    assert ran.returncode == 0
    assert json.loads(ran.stdout) == {"init": None, "error": "nvidia-ml-py is not installed"}


def test_a_package_beside_gpudoctor_is_found(tmp_path: Path) -> None:
    """`pip install --user` puts both packages into one folder, which -I hides; the child looks beside gpudoctor itself."""
    alone = tmp_path / "gpudoctor" / "host" / "nvml_child.py"
    alone.parent.mkdir(parents=True)
    shutil.copy(nvml_child.__file__, alone)
    (tmp_path / "pynvml.py").write_text(
        "class NVMLError(Exception): value = 77\ndef nvmlInit(): raise NVMLError('found beside')\n"
    )
    ran = subprocess.run([sys.executable, "-I", "-S", "-B", str(alone)], capture_output=True, timeout=30, check=False)
    assert json.loads(ran.stdout) == {"init": 77, "error": "found beside"}


def test_a_broken_package_is_an_answer(tmp_path: Path) -> None:
    """Whatever nvidia-ml-py does wrong, the parent gets one JSON object."""
    alone = tmp_path / "gpudoctor" / "host" / "nvml_child.py"
    alone.parent.mkdir(parents=True)
    shutil.copy(nvml_child.__file__, alone)
    (tmp_path / "pynvml.py").write_text("raise RuntimeError('half installed')\n")
    ran = subprocess.run([sys.executable, "-I", "-S", "-B", str(alone)], capture_output=True, timeout=30, check=False)
    assert json.loads(ran.stdout) == {"init": None, "error": "RuntimeError: half installed"}


def test_the_parent_gives_up_on_a_driver_that_hangs(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked through the live host, a hanging nvmlInit is Slow, and a healthy one is an answer."""
    from gpudoctor.host import Slow
    from gpudoctor.host.live import Live

    monkeypatch.setenv("LD_LIBRARY_PATH", str(library))
    assert json.loads(Live().run("nvml").out)["init"] == 0
    monkeypatch.setenv("MOCK_HANG", "1")
    with pytest.raises(Slow):
        Live(deadline=1.0).run("nvml")
