"""The driver's libraries are in a folder where the toolkit does not look.

The toolkit finds libcuda and libnvidia-ml through the linker's cache (/etc/ld.so.cache) and in the usual
folders. Container-Optimized OS (/var/lib/nvidia/lib64), NixOS (/run/opengl-driver/lib) and hand-made
installations below /opt or /usr/local keep them elsewhere: then nvidia-container-cli says "load library
failed: libnvidia-ml.so.1", and `nvidia-ctk cdi generate` "failed to locate libcuda.so".

How it is told from its look-alikes: the library is there, but not in the cache. If it is nowhere,
`host/host-driver-libs-incomplete` or `host/driver-not-installed` is meant. Nothing is wrong where somebody
has told the toolkit: by nvidia-container-cli.root or .ldcache in config.toml, by LD_LIBRARY_PATH in its
environment list, or by a CDI spec that names the libraries where they are.

Cure: let the linker know the folder (a file in /etc/ld.so.conf.d and ldconfig), or write a CDI spec with
--library-search-path. NixOS does the latter by hardware.nvidia-container-toolkit.enable. A folder in the
linker's path serves every program of the host.

Sources: nvidia-container-toolkit issues 82 and 735; k8s-device-plugin issue 621; ld.so(8); NixOS options.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts.driver import LIBRARY_FOLDERS, ODD_LIBRARY_FOLDERS
from gpudoctor.model import Cure, Edit, Evidence, Finding, NotApplicable, Refused, Rule, Where
from gpudoctor.rules import steps
from gpudoctor.rules.cdi import _specs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.model import Steps, Wishes

_CUDA = "libcuda.so.1"
_TABLE = "nvidia-container-cli"


def check(facts: Facts) -> Iterator[Finding]:
    """Find libcuda in an odd folder only, and nobody who told the toolkit so."""
    if facts.platform.wsl or facts.platform.jetson:
        raise NotApplicable("WSL2 and a Jetson have folders of their own, which the toolkit knows.")
    if not facts.gpus.present:
        raise NotApplicable("There is no NVIDIA GPU.")
    if _CUDA in facts.driver.libraries:
        return
    folder = next((each for each in ODD_LIBRARY_FOLDERS if facts.host.exists(f"{each}/{_CUDA}")), None)
    if folder is None:
        raise NotApplicable("libcuda is in no folder that is known to be used for it.")
    if not facts.toolkit.installed:
        raise NotApplicable("The NVIDIA container toolkit is not installed.")
    if _told(facts):
        return
    yield Finding(
        "the driver's libraries are where the toolkit does not look",
        f"The driver's libraries are in {folder}, which is neither in the linker's cache nor a folder that the toolkit searches, so no "
        "GPU container can start.",
        (
            Evidence(Where(f"{folder}/{_CUDA}"), "is there"),
            Evidence(Where("ldconfig -p"), f"no {_CUDA}, nor in {LIBRARY_FOLDERS[0]} and the other library folders"),
        ),
        _cure(facts, folder),
    )


def _told(facts: Facts) -> bool:
    toolkit = facts.toolkit
    root, cache, environment = (toolkit.setting(_TABLE, key) for key in ("root", "ldcache", "environment"))
    if isinstance(root, str) and root.rstrip("/"):
        return True
    if isinstance(cache, str) and cache not in {"", "/etc/ld.so.cache"}:
        return True
    if isinstance(environment, list) and any(str(entry).startswith("LD_LIBRARY_PATH=") for entry in environment):
        return True
    return facts.cdi.used and any("/libcuda.so" in path for spec in facts.cdi.gpu_specs for path in spec.mounts)


def _cure(facts: Facts, folder: str) -> Cure:
    if facts.platform.os_id == "nixos":
        edit = "sudoedit /etc/nixos/configuration.nix  # hardware.nvidia-container-toolkit.enable = true;"
        return Cure(
            "SHOWN", "Let NixOS write a CDI spec, then use --device nvidia.com/gpu=all.", (edit, "sudo nixos-rebuild switch")
        )
    if facts.platform.os_id == "cos":
        command = f"sudo nvidia-ctk cdi generate --library-search-path={folder} --output=/etc/cdi/nvidia.yaml"
        return Cure("SAFE", "Write a CDI spec that names the folder, then use --device nvidia.com/gpu=all.", (command,), "None.")
    return Cure(
        "SAFE",
        "Make the folder known to the linker; containers must be started anew.",
        (f"echo {folder} | sudo tee /etc/ld.so.conf.d/nvidia.conf", "sudo ldconfig"),
        "Every program of this host then finds these libraries first, whatever else is in the folder.",
    )


def fix(facts: Facts, _: Wishes) -> Steps:
    """Make the libraries' folder known to the linker, or write a CDI spec that names it where the system is read-only."""
    folder = next((each for each in ODD_LIBRARY_FOLDERS if facts.host.exists(f"{each}/{_CUDA}")), None)
    if folder is None or facts.platform.os_id == "nixos":
        raise Refused("How this system lays out its libraries is its own: the cure is shown.")
    if facts.platform.os_id == "cos":
        yield from _specs.generate(facts, "/etc/cdi/nvidia.yaml", f"--library-search-path={folder}")
        return
    yield Edit(
        "/etc/ld.so.conf.d/gpudoctor-nvidia.conf",
        f"# Written by gpudoctor fix: where the driver's libraries are.\n{folder}\n".encode(),
    )
    yield steps.then("ldconfig", "It writes the linker's cache anew.", undo="ldconfig")


RULE = Rule(
    "toolkit/ldconfig-nonstandard-lib-path",
    102,
    "error",
    "the driver's libraries are where the toolkit does not look",
    check,
    breaks=("libraries",),
    needs=("gpu", "toolkit"),
    fix=fix,
    signs=(
        "failed to locate libcuda.so",
        "pattern libcuda.so* not found",
        "failed to get libraries for driver version",
        "~ --library-search-path",
        "~ /var/lib/nvidia/lib64",
    ),
)
