"""The lab leaves the machine as it was: what is there before the first and after the last scenario of a file is compared."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from tests.lab import traces
from tests.lab.world import RUN

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Fail, with the list, where the scenarios of a file leave or change anything on this machine."""
    if os.environ.get("GPUDOCTOR_LAB") != "1" or os.geteuid() != 0:
        yield
        return
    before = traces.record(RUN)
    yield
    found = traces.left(before, traces.record(RUN))
    # The last process of a namespace may take a moment to be gone.
    for _ in range(20):
        if not found:
            return
        time.sleep(0.1)
        found = traces.left(before, traces.record(RUN))
    pytest.fail("left on this machine:\n" + "\n".join(found))
