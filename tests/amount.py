"""How much is tested: the quick suite has two minutes, `scripts/test --full` and `.ci/run` take what the real things need."""

from __future__ import annotations

import os

import pytest

FULL = bool(os.environ.get("GPUDOCTOR_FULL"))
"""Every round of what else is sampled (`scripts/test --full`)."""
REAL = FULL or bool(os.environ.get("GPUDOCTOR_REAL"))
"""With the real frameworks and BentoML, where scripts/frameworks has made their environments."""


def need_real(what: str) -> None:
    """Skip a test that starts something large, unless these were asked for."""
    if not REAL:
        pytest.skip(f"{what} takes longer than the quick suite has: GPUDOCTOR_REAL=1, as .ci/run has it")
