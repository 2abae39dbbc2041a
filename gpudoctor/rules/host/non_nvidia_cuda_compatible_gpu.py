"""The accelerator here is another vendor's, whose own software speaks the CUDA interface.

Iluvatar CoreX, Moore Threads, MetaX and others sell accelerators with builds of PyTorch and of other programs that answer to
torch.cuda and print CUDA's messages ("Error 803: system has unsupported display driver / cuda driver combination"). Whoever looks
such a message up finds NVIDIA's remedies, and none of them applies: there is no NVIDIA driver to install, and the NVIDIA container
toolkit cannot give such a card to a container.

How it is told from its look-alikes: no PCI function is NVIDIA's (10de), and one is such a vendor's, or its software is installed. With
an NVIDIA GPU the same message is `host/driver-cuda-userspace-803`, or a cuda-compat library in the image. A machine with neither is
`host/no-nvidia-gpu`.

Cure: the vendor's own driver, container runtime and image, in versions that belong together. Nothing is changed by us.

Sources: the PCI id database (vendors 1e3e, 1ed5, 9999); the vendors' public repositories.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts.gpu import PCI
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts

_VENDORS = {"0x1e3e": "Iluvatar CoreX", "0x1ed5": "Moore Threads", "0x9999": "MetaX"}
_FOLDERS = {"/usr/local/corex": "Iluvatar CoreX", "/usr/local/musa": "Moore Threads", "/opt/maca": "MetaX"}


def check(facts: Facts) -> Iterator[Finding]:
    """Find an accelerator, or the software, of a vendor with a CUDA interface of its own, where there is no NVIDIA GPU."""
    if facts.platform.wsl or facts.platform.jetson:
        raise NotApplicable("The GPU of a WSL2 guest or a Jetson is not on the PCI bus.")
    if facts.gpus.count:
        raise NotApplicable("This machine has an NVIDIA GPU.")
    evidence = [
        Evidence(Where(f"{PCI}/{address}/vendor"), f"{vendor} ({_VENDORS[vendor]})")
        for address, vendor in facts.gpus.others
        if vendor in _VENDORS
    ]
    evidence += [
        Evidence(Where(path), f"{name}'s software is here") for path, name in _FOLDERS.items() if facts.host.exists(path)
    ]
    if not evidence:
        return
    name = next(name for name in (*_VENDORS.values(), *_FOLDERS.values()) if any(name in each.says for each in evidence))
    yield Finding(
        f"the accelerator is {name}'s, not NVIDIA's",
        f"There is no NVIDIA GPU here, but {name}'s accelerator or its software, which prints CUDA's messages; NVIDIA's driver, toolkit "
        "and images do nothing for it.",
        tuple(evidence),
        Cure(
            "SHOWN",
            f"Use {name}'s own driver, container runtime and images, in versions that belong together; do without --gpus.",
        ),
    )


RULE = Rule(
    "host/non-nvidia-cuda-compatible-gpu",
    140,
    "error",
    "the accelerator is another vendor's, not NVIDIA's",
    check,
    breaks=("gpu",),
    needs=("platform",),
    signs=(
        "cuda failure 803",
        "unsupported display driver / cuda driver combination",
        "error 803",
        "cuda_error_system_driver_mismatch",
        "cudaerrorsystemdrivermismatch",
        "~ (corex|iluvatar|moore threads|mthreads|metax|musa)",
    ),
)
