"""A GPU is there, but no NVIDIA driver is installed.

The container toolkit does not carry the driver: it lends the *host's* libraries (libcuda, libnvidia-ml) and device nodes to the
container. Without a driver on the host, nvidia-container-cli says "load library failed: libnvidia-ml.so.1" and frameworks say
"Found no NVIDIA driver on your system".

How it is told from its look-alikes: neither a loaded module, nor a module file for any kernel, nor a user library, nor a driver
package is there. With a module but no library it is `host/host-driver-libs-incomplete`; with a library but no module it is
`host/driver-not-loaded` or what keeps the module from loading. A Docker Desktop context or a snap may hide a host's good driver.

Cure: install the driver as this distribution does it, in the flavour that the GPU needs (Blackwell takes only the open kernel module,
GPUs before Turing only the proprietary one), from a branch that still supports the GPU. It builds or adds a kernel module, and
with Secure Boot its key has to be enrolled. We only show the commands.

Sources: NVIDIA driver installation guide; table of driver branches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor import tables
from gpudoctor.facts.driver import LIBRARY_FOLDERS, VERSION
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules import advice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


def check(facts: Facts) -> Iterator[Finding]:
    """Find a GPU on the bus and nothing of a driver."""
    if facts.platform.wsl or facts.platform.jetson:
        raise NotApplicable("WSL2 takes the driver from Windows, and a Jetson has it in its own kernel.")
    if not facts.gpus.functions:
        raise NotApplicable("There is no NVIDIA GPU on the PCI bus.")
    if facts.driver.installed:
        return
    gpu = facts.gpus.functions[0]
    first = (gpu.chip.first_branch if gpu.chip is not None else None) or 0
    branch = gpu.chip.last_branch if gpu.chip is not None and gpu.chip.last_branch is not None else max(580, first)
    open_module = not (gpu.architecture and tables.older(gpu.architecture, "Turing"))
    yield Finding(
        "no NVIDIA driver is installed",
        f"{gpu.name} is on the PCI bus, but this host has no NVIDIA driver: no kernel module and no libraries to lend to a container.",
        (
            Evidence(Where(f"{gpu.path}/vendor"), f"0x10de (device 0x{gpu.device_id}, bound to {gpu.driver or 'no driver'})"),
            Evidence(Where(VERSION), "absent: the module is not loaded"),
            Evidence(Where("/lib/modules"), "no nvidia module for any kernel"),
            Evidence(Where(LIBRARY_FOLDERS[0]), "no libcuda.so.1 or libnvidia-ml.so.1 here or in the other library folders"),
        ),
        Cure(
            "SHOWN",
            f"Install a driver (branch {branch}{' or newer' if branch >= 580 and open_module else ''}), then reboot.",
            (*advice.install_driver(facts, branch, open_module=open_module, oldest=first), "sudo reboot"),
            "A kernel module is added; with Secure Boot on, its signing key must be enrolled at the console.",
        ),
    )


RULE = Rule(
    "host/driver-not-installed",
    5,
    "error",
    "no NVIDIA driver is installed",
    check,
    breaks=("module", "driver", "libraries"),
    needs=("gpu",),
    signs=(
        "nvml shared library not found",
        "libnvidia-ml.so.1: cannot open shared object file",
        "found no nvidia driver on your system",
        "nvidia-smi: command not found",
        "nvidia-smi: not found",
        "command nvidia-smi not found, but can be installed with",
        "nvidia driver is not installed",
        "no nvidia driver (is installed|installed|found)",
    ),
)
