"""The machine has no NVIDIA GPU.

No function on the PCI bus has vendor 10de and a display class (0x0300 VGA, 0x0302 3D), so there is nothing that a driver, the
container toolkit or a container could use. `docker run --gpus all` then fails with words that blame the toolkit ("could not
select device driver", "no known GPU vendor found").

Look-alikes: `toolkit/toolkit-not-installed` prints the same text but the card is on the bus; `host/gpu-bound-to-vfio` has the card
but gives it to a virtual machine; on WSL2 and over Hyper-V's virtual bus there is never a 10de function (`wsl/wsl-no-adapter`), on a
Jetson neither; an accelerator of a vendor with a CUDA interface of its own is `host/non-nvidia-cuda-compatible-gpu`.

Cure: run the CPU image without `--gpus`, or give this machine (or this VM, by pass-through) a GPU. Nothing is changed by us.

Sources: kernel sysfs ABI; moby's device request errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts.gpu import PCI
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


def check(facts: Facts) -> Iterator[Finding]:
    """Find a machine without an NVIDIA display function."""
    if facts.platform.wsl or facts.platform.jetson:
        raise NotApplicable("The GPU of a WSL2 guest or a Jetson is not on the PCI bus.")
    if facts.gpus.count:
        return
    if facts.wsl.device and facts.wsl.stores:
        raise NotApplicable("A GPU comes from Windows, over Hyper-V's virtual bus.")
    others = ", ".join(f"{address} (vendor {vendor})" for address, vendor in facts.gpus.others)
    seen = f"no function with vendor 0x10de and class 0x0300 or 0x0302; other display functions: {others or 'none'}"
    yield Finding(
        "no NVIDIA GPU in this machine",
        "There is no NVIDIA GPU on this machine's PCI bus, so no container on it can compute on one.",
        (Evidence(Where(PCI), seen),),
        Cure(
            "SHOWN",
            "Use the CPU image without --gpus here, or add a GPU (for a virtual machine: pass one through to it)." + _next(facts),
        ),
    )


def _next(facts: Facts) -> str:
    """Return what a GPU alone would not yet mend, in the order to install it."""
    needed = (
        ("an NVIDIA driver", facts.driver.installed),
        ("Docker Engine or podman", facts.docker.installed or facts.podman.version is not None),
        ("the NVIDIA container toolkit", facts.toolkit.installed),
    )
    missing = [name for name, there in needed if not there]
    return f" A GPU would then need, in this order: {', '.join(missing)}." if missing else ""


RULE = Rule(
    "host/no-nvidia-gpu",
    29,
    "error",
    "no NVIDIA GPU in this machine",
    check,
    breaks=("gpu",),
    follows=("host/non-nvidia-cuda-compatible-gpu",),
    signs=(
        "could not select device driver",
        "wsl environment detected but no adapters were found",
        "no known gpu vendor found",
        "~ (mesa intel|iris xe|uhd graphics|hd graphics|radeon|no nvidia|intel arc|amd gpu|apple m1|macbook)",
        "~ (don't have*gpu|without a gpu|no gpu)",
    ),
)
