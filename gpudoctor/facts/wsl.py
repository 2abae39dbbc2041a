"""The GPU through Microsoft's virtual bus: WSL2, and Linux guests of Hyper-V that imitate it (GPU-PV).

There is no NVIDIA module, no /dev/nvidia* and no NVIDIA function on the PCI bus: the node is /dev/dxg, and the driver is the
one of Windows. Small loaders lie in /usr/lib/wsl/lib; the libraries that they load lie in a folder below /usr/lib/wsl/drivers
that is named after the Windows driver package. WSL mounts both; in a guest of Hyper-V they were copied by hand.
"""

from __future__ import annotations

from typing import Literal

from gpudoctor.facts import Area, fact
from gpudoctor.values import NamedTuple

DXG = "/dev/dxg"
LIBRARIES = "/usr/lib/wsl/lib"
STORES = "/usr/lib/wsl/drivers"
STORE_FILES = ("libcuda.so.1.1", "libnvidia-ml.so.1", "libnvidia-ptxjitcompiler.so.1")
"""What every driver with WSL support has in its folder; newer ones add files of which older ones know nothing."""
LOADER_FILES = ("libcuda.so.1", "libnvidia-ml.so.1", "libdxcore.so")


class Store(NamedTuple):
    """One folder of an NVIDIA display driver, and which of STORE_FILES are not in it."""

    path: str
    missing: tuple[str, ...]


class Wsl(Area):
    """WSL's version, its GPU device, and the driver's files."""

    @fact
    def version(self) -> Literal[1, 2] | None:
        """Return 1 or 2, None outside WSL: version 1 calls its kernel ``...-Microsoft``, version 2 ``...-microsoft-standard``."""
        if not self.facts.platform.wsl:
            return None
        return 1 if self.facts.platform.kernel.endswith("-Microsoft") else 2

    @fact
    def device(self) -> bool:
        """Say whether /dev/dxg is there; another vendor's GPU has it too."""
        return self.host.exists(DXG)

    @fact
    def missing_loaders(self) -> tuple[str, ...]:
        """Return which of LOADER_FILES no folder has in which the linker looks."""
        return tuple(name for name in LOADER_FILES if self.facts.driver.library(name) is None)

    @fact
    def stores(self) -> tuple[Store, ...]:
        """Return the folders of NVIDIA display drivers; those of its audio and other functions hold none of the files."""
        found = []
        for name in self.host.names(STORES):
            if not name.startswith("nv"):
                continue
            there = set(self.host.names(f"{STORES}/{name}"))
            missing = tuple(each for each in STORE_FILES if each not in there)
            if missing != STORE_FILES or "libcuda_loader.so" in there:
                found.append(Store(f"{STORES}/{name}", missing))
        return tuple(found)
