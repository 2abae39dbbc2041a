"""What the tests of the smoke test share: the fake libcuda, the frameworks' own venvs, and one probe run as the program runs it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gpudoctor.smoke import climb, run
from tests.amount import need_real

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parent.parent.parent
PROBES = ROOT / "gpudoctor" / "smoke" / "probes"
FRAMEWORKS = ROOT / ".cache" / "frameworks"
"""Where scripts/frameworks makes a venv for each framework."""
NONCE = f"n0-{os.getpid()}-{os.urandom(4).hex()}"
"""One a test process: a probe's end kills whatever has its nonce, and other tests may run beside these."""


@pytest.fixture(scope="session")
def fake_libcuda(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the fake libcuda.so.1 and return its folder."""
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    folder = tmp_path_factory.mktemp("libcuda")
    library(folder, "libcuda.so.1", Path(__file__).with_name("fake_libcuda.c"))
    return folder


def library(folder: Path, soname: str, source: Path) -> None:
    """Compile a shared library whose symbols have its soname as their version, as those of CUDA do."""
    script = folder / "version"
    script.write_text(f"{soname} {{ global: *; }};\n")
    flags = ["-shared", "-fPIC", "-O1", "-w", f"-Wl,-soname,{soname}", f"-Wl,--version-script={script}"]
    ran = subprocess.run(["cc", *flags, "-o", folder / soname, source, "-ldl"], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


@pytest.fixture(scope="session")
def cuda_for_onnxruntime(fake_libcuda: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which the CUDA provider finds all that it needs: NVIDIA's CUDA runtime itself, and stand-ins for the rest."""
    python = venv("onnxruntime")
    site = next((python.parent.parent / "lib").glob("python3*/site-packages"))
    runtime = next(site.glob("nvidia/*/lib/libcudart.so.*"), None)
    if runtime is None or shutil.which("nm") is None:
        pytest.skip("needs the package nvidia-cuda-runtime beside ONNX Runtime, and nm")
    folder = tmp_path_factory.mktemp("cuda")
    shutil.copy(runtime, folder)
    shutil.copy(fake_libcuda / "libcuda.so.1", folder)
    provider = site / "onnxruntime" / "capi" / "libonnxruntime_providers_cuda.so"
    listed = subprocess.run(["nm", "-D", "--undefined-only", provider], capture_output=True, text=True, check=True).stdout
    words = [line.split()[-1].replace("@@", "@").partition("@") for line in listed.splitlines()]
    needed = subprocess.run(["readelf", "-d", provider], capture_output=True, text=True, check=True).stdout
    for line in needed.splitlines():
        soname = line.partition("[")[2].partition("]")[0]
        if "(NEEDED)" in line and soname.startswith(("libcublas", "libcurand", "libcufft", "libcudnn", "libnvrtc")):
            source = folder / "stand_in.c"
            names = [name for name, _, version in words if version == soname]
            source.write_text("".join(f"int {name}(void) {{ return 1; }}\n" for name in names) or "int nothing;\n")
            library(folder, soname, source)
    return folder


def venv(framework: str) -> Path:
    """Return the Python of a framework's venv, and skip with the reason where scripts/frameworks has not made it."""
    need_real(f"the real {framework}")
    python = FRAMEWORKS / framework / "bin" / "python"
    if not python.exists():
        pytest.skip(f"scripts/frameworks makes the venv of {framework}")
    return python


@pytest.fixture
def probe(tmp_path: Path) -> Callable[..., run.Ended]:
    """Return a function that runs a probe with a Python and settings, as the program does."""

    def ran(
        name: str | Path, settings: dict[str, Any], python: str | Path = sys.executable, timeout: float = 60.0, **environment: str
    ) -> run.Ended:
        folder = tmp_path / "out"
        folder.mkdir(exist_ok=True)
        words = json.dumps({"out": str(folder), "nonce": NONCE, **settings})
        job = run.Job((str(python), "-", words), str(PROBES / name), str(folder), NONCE, {**os.environ, **environment})
        return run.run(job, timeout, lambda _: None)

    return ran


def rungs(ended: run.Ended) -> dict[str, dict[str, Any]]:
    """Return the lines about rungs by name."""
    return {line["rung"]: line for line in ended.lines if "state" in line}


def host_place(python: str | Path = sys.executable) -> climb._Place:
    """Return the host as a place to climb, with a Python."""
    return climb._Place("host", str(python))
