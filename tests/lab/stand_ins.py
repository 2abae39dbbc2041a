"""Stand-ins for NVIDIA's programs, below ``programs/``: how they come onto the PATH of a fake host."""

from __future__ import annotations

import sys
from pathlib import Path

PROGRAMS = Path(__file__).parent / "programs"


def program(work: Path, source: str, name: str) -> dict[str, str]:
    """Return a stand-in as a file for ``live``, on the PATH of dockerd and of gpudoctor, run by this Python."""
    return {str(work / "bin" / name): f"#!{sys.executable}\n{(PROGRAMS / source).read_text()}"}
