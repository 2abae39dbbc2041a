"""No NVIDIA adapter of Windows reaches this WSL distribution.

WSL has no NVIDIA module and no /dev/nvidia*: Windows lends its GPU through /dev/dxg and puts its driver's libraries into
/usr/lib/wsl/lib. Where one of them is missing, nothing in the distribution, in a container or not, has a GPU:
"nvidia-container-cli: initialization error: WSL environment detected but no adapters were found".

How it is told from its look-alikes, by three facts. The kernel's name ends in -Microsoft: this is WSL 1, which has no GPU at
all. No /dev/dxg: Windows lends no GPU to WSL (Windows or WSL too old, `gpuSupport=false` in .wslconfig, or WSL inside a
virtual machine). /dev/dxg without libcuda.so.1: a GPU is lent, but not with an NVIDIA driver for WSL; whether the PC has no
NVIDIA card or Windows an old driver cannot be seen from inside. On a Linux of its own the finding is `host/no-nvidia-gpu`;
with all of this in place and "GPU access blocked" it is `wsl/wsl-nvml-blocked` or `wsl/wsl-driver-store-incomplete`.

Cure, in Windows: convert the distribution to WSL 2; `wsl --update`; install the NVIDIA driver for Windows; then `wsl
--shutdown`. Never install a Linux driver inside WSL. All WSL distributions and Docker Desktop stop for it.

Sources: NVIDIA CUDA on WSL user guide; Microsoft WSL documentation; libnvidia-container source (dxcore).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts.wsl import DXG, LIBRARIES, STORES
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts

_KERNEL = "/proc/sys/kernel/osrelease"
_RISK = "All WSL distributions, and Docker Desktop, stop for it."


def check(facts: Facts) -> Iterator[Finding]:
    """Find WSL 1, a missing /dev/dxg, or a missing libcuda of Windows' driver."""
    if facts.wsl.version is None:
        raise NotApplicable("This is not WSL.")
    kernel = Evidence(Where(_KERNEL), facts.platform.kernel)
    if facts.wsl.version == 1:
        yield Finding(
            "this is WSL 1, which has no GPU",
            "WSL 1 has no Linux kernel of its own and lends no GPU: neither CUDA nor containers can use one here.",
            (kernel,),
            Cure(
                "SHOWN",
                "Convert this distribution to WSL 2 (in Windows, PowerShell).",
                ("wsl --list --verbose", "wsl --set-version DISTRIBUTION 2"),
                "The distribution stops and is copied, which takes some minutes; keep a backup (wsl --export).",
            ),
        )
        return
    if not facts.wsl.device:
        yield Finding(
            "Windows lends no GPU to WSL",
            "/dev/dxg is missing: Windows lends no GPU to WSL. Windows or WSL may be too old, gpuSupport=false may stand in "
            ".wslconfig, or Windows itself runs in a virtual machine without a GPU.",
            (Evidence(Where(DXG), "absent"), kernel),
            Cure(
                "SHOWN",
                "In Windows: update WSL, look at gpuSupport in .wslconfig, install the NVIDIA driver, then restart WSL.",
                ("wsl --update", "type %UserProfile%\\.wslconfig", "wsl --shutdown"),
                _RISK,
            ),
        )
        return
    if facts.host.exists(f"{LIBRARIES}/libcuda.so.1"):
        return
    stores = facts.wsl.stores
    found = f"driver folder {stores[0].path}" if stores else "no folder of an NVIDIA display driver"
    yield Finding(
        "no NVIDIA driver of Windows reaches WSL",
        "Windows lends a GPU to WSL, but without NVIDIA's libraries: the PC has no NVIDIA GPU, or Windows has no NVIDIA driver "
        "that supports WSL. Which of them cannot be seen from inside.",
        (Evidence(Where(f"{LIBRARIES}/libcuda.so.1"), "absent"), Evidence(Where(STORES), found), kernel),
        Cure(
            "SHOWN",
            "In Windows: look whether nvidia-smi.exe lists the GPU, update the NVIDIA driver and WSL, then restart WSL; without "
            "an NVIDIA GPU use the CPU image.",
            ("nvidia-smi.exe -L", "wsl --update", "wsl --shutdown"),
            f"{_RISK} Never install a Linux driver inside WSL.",
        ),
    )


RULE = Rule(
    "wsl/wsl-no-adapter",
    10,
    "error",
    "no NVIDIA adapter of Windows reaches WSL",
    check,
    breaks=("gpu", "driver", "libraries"),
    signs=("wsl environment detected but no adapters were found",),
)
