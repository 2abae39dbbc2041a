"""Make a GPU's nodes, driver files and PCI function in the guest, after a fixture host, and a toolkit older than cgroup v2."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, "/lab")
from machine import cover, make_nodes

from gpudoctor.host.hostfile import load

book = load("/lab/fixtures/device-args/one-gpu.host")
work = Path("/run/fake")
work.mkdir()
os.umask(0)
make_nodes(book)
cover(book, work)
