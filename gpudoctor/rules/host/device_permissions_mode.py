"""The GPU's device nodes have a mode that nobody can have meant.

NVreg_DeviceFileMode is a number, and the kernel reads `666` as decimal: that is 01232 in octal, write without read.
nvidia-modprobe then gives every node this mode, again and again; nvidia-smi says "Failed to initialize NVML: Insufficient
Permissions" to everybody but root, and nvidia-container-cli "initialization error: nvml error: insufficient permissions". A leading zero
makes it octal: `0666`.

How it is told from its look-alikes: with `host/device-permissions-group` the mode is a sane 0660. In
/proc/driver/nvidia/params the value is always printed in decimal, where 438 is the right one (0666). A wrong line in
modprobe.d that is not in force yet is a warning: it strikes when the module is loaded next.

Cure: write the mode that was meant with its leading zero (NVreg_DeviceFileMode=0666, or 0660 for a 660) and load the
module anew (a reboot); `chmod` helps until nvidia-modprobe comes by. `gpudoctor fix` does both and announces the
reboot; nodes that were changed by hand it only gives their mode again.

Sources: NVIDIA driver README (device files); kernel module parameters are read with base 0;
vowstar/vowstar-overlay#6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts.driver import PARAMS
from gpudoctor.model import REBOOT, Cure, Evidence, Finding, NotApplicable, Rule, Then, Where
from gpudoctor.rules import advice, steps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.facts.driver import Directive
    from gpudoctor.model import Steps, Wishes

_NAME = "NVreg_DeviceFileMode"
_FILE = "/etc/modprobe.d/gpudoctor-device-mode.conf"
_OPEN = "0666"
_BOTH = 0o6  # read and write
_DIGITS = 10  # a longer number is no mode


def check(facts: Facts) -> Iterator[Finding]:
    """Find a mode, of the nodes, in force or configured, that lets somebody only read or only write."""
    if facts.platform.wsl or facts.platform.jetson:
        raise NotApplicable("WSL2 and Jetson have device nodes of their own.")
    evidence = [
        Evidence(Where(node.path), f"mode 0{node.stat.mode:o}") for node in facts.devices.cuda_nodes if not _sane(node.stat.mode)
    ]
    hurts = bool(evidence)
    told = _told(facts)
    if told is not None:
        evidence.append(Evidence(Where(PARAMS), f"DeviceFileMode: {told} (decimal; 0{told:o} in octal, 438 would be 0666)"))
    option = _option(facts)
    if option is not None and not _sane(_configured(option)):
        evidence.append(Evidence(Where(option.path, option.line), option.rest))
    if not evidence:
        if not facts.devices.cuda_nodes and option is None:
            raise NotApplicable("There are no NVIDIA device nodes and no option that gives them a mode.")
        return
    yield Finding(
        "the GPU's device nodes have an impossible mode",
        "The mode of the GPU's device nodes lets somebody read but not write, or the other way round, so opening them is refused "
        "(NVML: insufficient permissions)."
        if hurts
        else f"{_NAME} stands for a mode that nobody can use; the device nodes get it when the module or a node is made next.",
        tuple(evidence),
        _cure(facts, option, hurts=hurts, by_option=not evidence[-1].where.path.startswith("/dev/")),
        severity="error" if hurts else "warning",
    )


def _cure(facts: Facts, option: Directive | None, *, hurts: bool, by_option: bool) -> Cure:
    """Return what mends the mode: an option where an option is at fault, else only the nodes themselves."""
    mode = _meant(option)
    nodes = (f"sudo chmod {mode} /dev/nvidia[0-9]* /dev/nvidiactl /dev/nvidia-uvm",) if hurts else ()
    if not by_option:
        return Cure(
            "SAFE",
            f"Give the nodes mode {mode} again.",
            nodes,
            "Every local user may use the GPU, as is NVIDIA's default." if mode == _OPEN else "None.",
        )
    if option is not None:
        edit = f"sudo sed -i 's/{_NAME}=[0-9A-Za-z]*/{_NAME}={mode}/' {option.path}"
    else:
        edit = f"echo 'options nvidia {_NAME}={mode}' | sudo tee /etc/modprobe.d/nvidia-device-mode.conf"
    return Cure(
        "DISRUPTIVE",
        f"Write {_NAME}={mode}, with the leading zero, and load the module anew.",
        (edit, advice.rebuild_initramfs(facts), *nodes, "sudo reboot"),
        (
            advice.REBOOT_RISK
            if mode != _OPEN
            else f"Every local user may use the GPU, as is NVIDIA's default. {advice.REBOOT_RISK}"
        ),
    )


def _told(facts: Facts) -> int | None:
    """Return the mode that the loaded module gives its nodes, where that is an impossible one."""
    params = facts.driver.params
    told = params.get("DeviceFileMode", "")
    if not told.isdigit() or len(told) >= _DIGITS or params.get("ModifyDeviceFiles") == "0" or _sane(int(told)):
        return None
    return int(told)


def _option(facts: Facts) -> Directive | None:
    return facts.driver.option("nvidia", _NAME) or facts.driver.option("nvidia_current", _NAME)


def _meant(option: Directive | None) -> str:
    """Return the mode that was meant: 0660 for a 660 without its leading zero, else NVIDIA's default."""
    value = "" if option is None else _value(option)
    octal = value.isdigit() and not value.strip("01234567") and len(value) < _DIGITS
    return f"0{int(value, 8):o}" if octal and _sane(int(value, 8)) else _OPEN


def _sane(mode: int) -> bool:
    """Say whether a mode lets its owner read and write, and group and others both or neither, with no special bit."""
    owner, group, others = mode >> 6 & _BOTH, mode >> 3 & _BOTH, mode & _BOTH
    return mode & 0o7000 == 0 and owner == _BOTH and group in {0, _BOTH} and others in {0, _BOTH}


def _configured(option: Directive) -> int:
    """Return the number that the kernel makes of the option, 0 where it would refuse it."""
    value = _value(option)
    octal = value.startswith("0")
    if not value.isdigit() or len(value) > _DIGITS or (octal and value.strip("01234567")):
        return 0
    return int(value, 8 if octal else 10)


def _value(option: Directive) -> str:
    return f" {option.rest}".rpartition(f" {_NAME}=")[2].split(" ", 1)[0].strip('"')


def fix(facts: Facts, _: Wishes) -> Steps:
    """Write the mode that was meant into the module's option, and give it to the nodes at once."""
    option = _option(facts)
    mode = _meant(option)
    if _told(facts) is not None or (option is not None and not _sane(_configured(option))):
        module = "nvidia" if option is None else option.module
        yield steps.module_option(facts, module, _NAME, mode, _FILE, "the mode of the GPU's nodes, with its leading zero")
        yield steps.rebuild_initramfs(facts)
        yield REBOOT
    nodes = [node.path for node in facts.devices.cuda_nodes if not _sane(node.stat.mode)]
    if nodes:
        yield Then(
            ("chmod", mode, *nodes), "SAFE", "The nodes have the wrong mode now; it holds until the driver makes them anew."
        )


RULE = Rule(
    "host/device-permissions-mode",
    113,
    "error",
    "the GPU's device nodes have an impossible mode",
    check,
    breaks=("nodes",),
    needs=("gpu", "module", "driver"),
    fix=fix,
    signs=(
        "nvmlerror_nopermission",
        "failed to initialize nvml: insufficient permissions",
        "nvml error: insufficient permissions",
        "nvreg_devicefilemode",
        "/dev/nvidia?: permission denied",
        "~ devicefilemode",
    ),
)
