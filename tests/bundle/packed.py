"""Bundles packed at test time by the real BentoML, below .cache/bundles: nothing that it generates is committed.

The services are in ``services/``: those that end in ``_1`` are BentoML 1's, the others 0.13's. ``scripts/frameworks`` makes the
environments; where one is absent, the tests that need it skip.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.amount import need_real

ROOT = Path(__file__).parent.parent.parent
SERVICES = Path(__file__).with_name("services")
_FRAMEWORKS = ROOT / ".cache" / "frameworks"
_CACHE = ROOT / ".cache" / "bundles"


def python(generation: str) -> str:
    """Return the Python that has BentoML ``0.13`` or ``1``; skips where there is none, and in the quick suite, whose time they would take."""
    need_real("the real BentoML")
    venv = _FRAMEWORKS / f"bentoml-{generation}"
    if not (venv / ".made-for").is_file():
        pytest.skip(f"needs BentoML {generation}: scripts/frameworks makes its environment")
    return str(venv / "bin" / "python")


def generation(service: str) -> str:
    """Return which BentoML a service is for."""
    return "1" if service.endswith("_1") else "0.13"


def bundle(service: str, into: Path) -> Path:
    """Pack a service, or take it from the cache, and return a copy below ``into`` that a test may break."""
    exe = python(generation(service))
    # A sound service is the guide's with another bento_svc.py.
    sources = [SERVICES / each for each in dict.fromkeys((service.replace("_good", "_guide"), service))]
    key = hashlib.sha256()
    for path in sorted(path for source in sources for path in source.iterdir() if path.suffix in {".py", ".yaml"}):
        key.update(path.name.encode() + path.read_bytes())
    kept = _CACHE / f"{service}-{key.hexdigest()[:12]}"
    if not kept.is_dir():
        _pack(exe, sources, kept)
    made = into / service
    shutil.copytree(kept, made, symlinks=True)
    return made


def _pack(exe: str, sources: list[Path], kept: Path) -> None:
    """Run a service's packer in a copy of its folder; the result takes its place in one step, since tests run beside each other."""
    work = kept.with_name(f"{kept.name}.{os.getpid()}")
    for source in sources:
        shutil.copytree(source, work / "source", dirs_exist_ok=True)
    (work / "bundle").mkdir()
    environment = {
        "PATH": f"{Path(exe).parent}:{os.environ['PATH']}",
        "HOME": str(work),
        "BENTOML_HOME": str(work / "home"),
        "BENTOML_DO_NOT_TRACK": "True",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    ran = subprocess.run(
        [exe, "pack.py", str(work / "bundle")],
        cwd=work / "source",
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    try:
        (work / "bundle").rename(kept)
    except OSError:
        assert kept.is_dir(), "another process did not pack it either"
    shutil.rmtree(work)
