r"""/dev/dxg is there, but the Windows driver's files in /usr/lib/wsl are not complete.

In /usr/lib/wsl/lib are only loaders. Each opens the real library in a folder below /usr/lib/wsl/drivers, named after the
driver package of Windows (nv_dispi.inf_amd64_...). WSL mounts both; in a Linux guest of Hyper-V with GPU-PV they were copied
by hand, often in part, or from before an update of the Windows driver. NVML then says "GPU access blocked by the operating
system", in and out of containers.

How it is told from its look-alikes: a loader is missing, or no driver folder has libcuda.so.1.1, libnvidia-ml.so.1 and
libnvidia-ptxjitcompiler.so.1 together. That the copy is whole but of another version than Windows has now cannot be seen from
inside. With a whole copy and failing containers it is `wsl/wsl-nvml-blocked`; with nothing of NVIDIA's there at all
`wsl/wsl-no-adapter`.

Cure: in WSL restart it (`wsl --shutdown`) and install the Windows driver again; in a Hyper-V guest copy the driver's whole
folder from C:\Windows\System32\DriverStore\FileRepository to /usr/lib/wsl/drivers, and C:\Windows\System32\lxss\lib
and C:\Program Files\WSL\lib to /usr/lib/wsl/lib, after each update of the Windows driver. The guest is restarted.

Sources: libnvidia-container source (dxcore, driver store components); dxgkrnl-dkms issue 7; Microsoft's GPU
paravirtualization notes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts.wsl import LIBRARIES, STORE_FILES, STORES
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


def check(facts: Facts) -> Iterator[Finding]:
    """Find missing loaders, or no driver folder that has what they load."""
    wsl = facts.wsl
    if not wsl.device:
        raise NotApplicable("There is no /dev/dxg: the GPU does not come through Windows.")
    if not facts.host.exists(f"{LIBRARIES}/libcuda.so.1") and (wsl.version is not None or not wsl.stores):
        raise NotApplicable("Nothing of an NVIDIA driver of Windows is here.")
    evidence = [Evidence(Where(f"{LIBRARIES}/{name}"), "absent, here and in the linker's cache") for name in wsl.missing_loaders]
    if not wsl.stores:
        evidence.append(Evidence(Where(STORES), f"no folder of an NVIDIA display driver (one with {', '.join(STORE_FILES)})"))
    elif all(store.missing for store in wsl.stores):
        evidence += [Evidence(Where(store.path), f"lacks {', '.join(store.missing)}") for store in wsl.stores]
    if not evidence:
        return
    if wsl.version is not None:
        cure = Cure(
            "SHOWN",
            "In Windows: restart WSL; if the files are still missing, install the NVIDIA driver again.",
            ("wsl --update", "wsl --shutdown"),
            "All WSL distributions, and Docker Desktop, stop for it.",
        )
    else:
        cure = Cure(
            "SHOWN",
            "Copy the driver's whole folder from Windows (DriverStore\\FileRepository) to /usr/lib/wsl/drivers, and "
            "System32\\lxss\\lib and Program Files\\WSL\\lib to /usr/lib/wsl/lib, then reboot this guest.",
            ("sudo ldconfig", "sudo reboot"),
            "This guest is rebooted; the copy must be repeated after each update of the Windows driver.",
        )
    yield Finding(
        "the Windows driver's files are incomplete",
        "Files of the Windows driver that the libraries in /usr/lib/wsl/lib load are missing, so NVML and CUDA fail (GPU access "
        "blocked by the operating system).",
        tuple(evidence),
        cure,
    )


RULE = Rule(
    "wsl/wsl-driver-store-incomplete",
    124,
    "error",
    "the Windows driver's files are incomplete",
    check,
    breaks=("driver", "libraries"),
    needs=("gpu",),
    signs=(
        "stat failed: /usr/lib/wsl*: no such file or directory",
        "gpu access blocked by the operating system",
        "libdxcore.so: cannot open shared object file",
        "/usr/lib/wsl/drivers/*: no such file or directory",
        "~ (gpu-pv|hyper-v|dxgkrnl)",
        "~ (/usr/lib/wsl/drivers|driver store)",
    ),
)
