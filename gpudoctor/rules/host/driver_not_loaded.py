"""The NVIDIA driver is installed, and its kernel module is not loaded.

Without the module, nvidia-container-cli says "nvml error: driver not loaded", nvidia-smi "couldn't communicate with the NVIDIA driver".
On a healthy host udev loads the module at boot because of the card's PCI id, so something has kept it out: a `blacklist nvidia`
left from a laptop's power saving, a kernel argument, a refusal by the module itself, or somebody unloaded it.

How it is told from its look-alikes: this is what remains when no narrower rule says why. Without a module file for this kernel it is
`host/driver-module-missing-for-kernel` or `host/dkms-build-failed`; refused for its signature, `host/module-signature-rejected`; with the
card in the hands of nouveau, nova or vfio, the rules of these; a GPU that the branch has dropped makes the module load and leave
again ("NVRM: No NVIDIA GPU found", `host/gpu-dropped-by-driver-branch`).

Cure: load it, and read what modprobe and the kernel log say if it refuses. Where a line of modprobe.d or a kernel
argument keeps it out, take that away first and write the initramfs anew. `gpudoctor fix` takes such lines out of
/etc/modprobe.d and loads the module; files of packages (prime-select) and kernel arguments it leaves to you.

Sources: modprobe.d(5); kernel parameters (module_blacklist, modprobe.blacklist); nvidia-container-toolkit issue 1269.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.formats import cmdline
from gpudoctor.host import NoAnswer
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Then, Where
from gpudoctor.rules import advice, steps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.facts.driver import Directive
    from gpudoctor.model import Steps, Wishes

_NOTHING = ("/bin/false", "/usr/bin/false", "/bin/true", "/usr/bin/true", ":")
_ARGUMENTS = ("modprobe.blacklist", "module_blacklist", "rd.driver.blacklist")


def check(facts: Facts) -> Iterator[Finding]:
    """Find an installed driver whose module is not loaded, where no narrower rule knows the reason for sure."""
    platform, driver = facts.platform, facts.driver
    if platform.wsl or platform.jetson:
        raise NotApplicable("WSL2 takes the driver from Windows, and a Jetson has it in its own kernel.")
    if not facts.gpus.functions:
        raise NotApplicable("There is no NVIDIA GPU on the PCI bus.")
    if driver.is_loaded:
        return
    if platform.container is not None:
        yield _outside(facts)
        return
    if not driver.installed:
        raise NotApplicable("No driver is installed at all.")
    if driver.module_file is None:
        raise NotApplicable("There is no module for this kernel; other rules say why.")
    if all(function.driver not in {None, "nvidia"} for function in facts.gpus.functions):
        raise NotApplicable("Another driver holds every GPU; the rules about that driver say so.")
    if _refused(facts):
        raise NotApplicable("The module's signature was refused: host/module-signature-rejected.")
    try:
        line = next(iter(_kept_out(facts)), None)
    except NoAnswer:
        line = None
    argument = _argument(facts)
    evidence = [
        Evidence(Where("/proc/modules"), "no nvidia"),
        Evidence(Where(driver.module_file), "is there"),
    ]
    if line is not None:
        evidence.insert(0, Evidence(Where(line.path, line.line), f"{line.verb} {line.module} {line.rest}".rstrip()))
    if argument is not None:
        evidence.insert(0, Evidence(Where("/proc/cmdline"), argument))
    said = driver.logged("NVRM")
    if said is not None:
        evidence.append(Evidence(Where("dmesg"), said))
    kept = line is not None or argument is not None
    yield Finding(
        "the NVIDIA module is not loaded",
        "The driver is installed for this kernel, but its module is not loaded"
        + (", because this host is told not to load it" if kept else ", and no module option or kernel argument keeps it out")
        + ": no container gets a GPU.",
        tuple(evidence),
        _cure(facts, line, argument),
    )


def _refused(facts: Facts) -> bool:
    """Say whether the log shows for sure that a signature was refused; without a log it is not sure."""
    try:
        return facts.boot.signature_enforced and facts.driver.rejection is not None
    except NoAnswer:
        return False


def _kept_out(facts: Facts) -> Iterator[Directive]:
    """Yield the modprobe.d lines that keep the module out; raises NoAnswer where the files may not be read."""
    for each in facts.driver.modprobe:
        if each.module != "nvidia":
            continue
        # Debian's own packages have `install nvidia modprobe -i nvidia-current`: that is how the module is loaded there.
        nothing = each.verb == "install" and each.rest.partition(" ")[0] in _NOTHING
        if each.verb == "blacklist" or nothing or (each.verb == "alias" and each.rest == "off"):
            yield each


def _argument(facts: Facts) -> str | None:
    """Return the kernel argument that keeps the module out."""
    for name in _ARGUMENTS:
        for value in cmdline.values(facts.boot.args, name):
            if value is not None and "nvidia" in value.split(","):
                return f"{name}={value}"
    return None


def _cure(facts: Facts, line: Directive | None, argument: str | None) -> Cure:
    if argument is not None:
        return Cure(
            "SHOWN",
            f"Take nvidia out of `{argument}` in the boot loader's configuration, then reboot.",
            ("sudo reboot",),
            advice.REBOOT_RISK,
        )
    if line is not None:
        return Cure(
            "DISRUPTIVE",
            f"Delete line {line.line} of {line.path}, then load the module.",
            (
                f"sudo sed -i.bak '{line.line}d' {line.path}",
                advice.rebuild_initramfs(facts),
                "sudo modprobe -a nvidia nvidia_uvm",
            ),
            "A laptop may keep the module out on purpose, to save power.",
        )
    return Cure(
        "DISRUPTIVE",
        "Load the module; if modprobe refuses, its words and the kernel log's say why.",
        ("sudo modprobe -a nvidia nvidia_uvm", "sudo dmesg | grep -E 'NVRM|nvidia' | tail"),
        "None for what runs now.",
    )


def _outside(facts: Facts) -> Finding:
    return Finding(
        "the NVIDIA module is not loaded",
        f"This is a {facts.platform.container} guest, and the machine outside has not loaded the NVIDIA module: nothing in here can use its GPU.",
        (Evidence(Where("/proc/modules"), "no nvidia"),),
        Cure("SHOWN", "Examine the machine outside: the driver has to be loaded there.", (), "None in here."),
    )


def fix(facts: Facts, _: Wishes) -> Steps:
    """Take the lines that keep the module out from modprobe.d, and load it; kernel arguments and guests are not ours."""
    if facts.platform.container is not None or _argument(facts) is not None:
        return
    lines = tuple(_kept_out(facts))
    if lines:
        yield from steps.without_directives(facts, lines)
        yield steps.rebuild_initramfs(facts)
    yield Then(("modprobe", "-a", "nvidia", "nvidia_uvm"), "SAFE", "It loads the driver, as a boot would do now.")


RULE = Rule(
    "host/driver-not-loaded",
    58,
    "error",
    "the NVIDIA module is not loaded",
    check,
    breaks=("module", "driver"),
    needs=("platform", "gpu", "module"),
    follows=("host/gpu-not-supported-by-driver",),
    fix=fix,
    signs=(
        "nvmlerror_drivernotloaded",
        "nvml error: driver not loaded",
        "failed to initialize nvml: driver not loaded",
        "couldn't communicate with the nvidia driver",
        "stat failed: /dev/nvidiactl: no such file",
        "/proc/driver/nvidia/version: no such file or directory",
        "/proc/driver/nvidia/version does not exist",
        "kernel driver does not appear to be running on this host",
    ),
)
