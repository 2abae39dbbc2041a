"""The kernel refuses to load the NVIDIA module because of its signature.

With Secure Boot, `module.sig_enforce=1` or kernel lockdown, the kernel loads only modules signed by a key that it knows. A module built
by DKMS is signed by a key of this machine that must be enrolled once, at the console, during a boot; one installed by NVIDIA's .run
file is often not signed at all. modprobe then says "Key was rejected by service" or "Required key not available".

How it is told from its look-alikes: the module file for this kernel is there, it is not loaded, signatures are enforced, and the
kernel log says that a module was rejected (the line does not name it). Without the file it is
`host/driver-module-missing-for-kernel`. Where the log cannot be read, nothing is concluded: Secure Boot alone is healthy.

Cure: enrol the key (Ubuntu keeps it in /var/lib/shim-signed/mok, DKMS elsewhere in /var/lib/dkms): mokutil asks for a password, and
the next boot asks for it again before it starts the system, so somebody must be at the console. Or install the distribution's
ready-made signed modules. Switching Secure Boot off also helps, and protects less.

Sources: kernel documentation on module signing and lockdown; dkms(8); gpu-driver-container issue 44.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules import advice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts

_KEYS = ("/var/lib/shim-signed/mok/MOK.der", "/var/lib/dkms/mok.pub")
_SECURE_BOOT = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"


def check(facts: Facts) -> Iterator[Finding]:
    """Find a module that is there, not loaded, and was refused for its signature."""
    driver, boot = facts.driver, facts.boot
    if facts.platform.wsl or facts.platform.jetson:
        raise NotApplicable("WSL2 takes the driver from Windows, and a Jetson has it in its own kernel.")
    if not facts.gpus.functions:
        raise NotApplicable("There is no NVIDIA GPU on the PCI bus.")
    if driver.is_loaded:
        return
    if driver.module_file is None:
        raise NotApplicable("There is no module file for this kernel.")
    if not boot.signature_enforced:
        return
    line = driver.rejection
    if line is None:
        return
    evidence = [Evidence(Where("dmesg"), line)]
    if boot.secure_boot:
        evidence.append(Evidence(Where(_SECURE_BOOT), "Secure Boot is on"))
    elif boot.lockdown != "none":
        evidence.append(Evidence(Where("/sys/kernel/security/lockdown"), f"lockdown is {boot.lockdown}"))
    else:
        evidence.append(Evidence(Where("/proc/cmdline"), "module.sig_enforce is set"))
    evidence.append(Evidence(Where(driver.module_file), "is there, and not loaded"))
    yield Finding(
        "the kernel refuses the NVIDIA module's signature",
        "The kernel loads only modules signed by a key it knows, and it has rejected one; the NVIDIA module is installed and not loaded, "
        "so no container gets a GPU.",
        tuple(evidence),
        _cure(facts),
    )


def _cure(facts: Facts) -> Cure:
    key = next((path for path in _KEYS if facts.host.exists(path)), None)
    if key is not None and facts.boot.secure_boot:
        return Cure(
            "SHOWN",
            "Enrol this machine's own signing key, and confirm it at the console during the next boot.",
            (f"sudo mokutil --import {key}", "sudo reboot"),
            f"Somebody must be at the console to confirm the key. {advice.REBOOT_RISK}",
        )
    branch = facts.driver.branch
    if facts.platform.os_id in {"ubuntu", "pop", "linuxmint"} and branch is not None:
        flavour = facts.platform.kernel.rpartition("-")[2]
        server = "-server" if any("-server" in package for package in facts.driver.packages) else ""
        opened = "-open" if facts.driver.flavour == "open" else ""
        return Cure(
            "SHOWN",
            "Install the modules that the distribution has signed, in place of those built here.",
            (advice.install(facts, f"linux-modules-nvidia-{branch}{server}{opened}-{flavour}"), "sudo reboot"),
            f"Its version must be that of the installed libraries. {advice.REBOOT_RISK}",
        )
    return Cure(
        "SHOWN",
        "Sign the module with a key that the firmware or shim knows (enrol one with mokutil), or install the distribution's signed modules.",
        ("sudo mokutil --list-enrolled", "modinfo -F signer nvidia"),
        "Enrolling a key needs the console; switching Secure Boot off protects less.",
    )


RULE = Rule(
    "host/module-signature-rejected",
    52,
    "error",
    "the kernel refuses the NVIDIA module's signature",
    check,
    breaks=("module", "driver"),
    needs=("platform", "gpu"),
    signs=(
        "couldn't communicate with the nvidia driver",
        "key was rejected by service + nvidia",
        "required key not available + nvidia",
        "module with unavailable key is rejected + nvidia",
        "pkcs#7 signature not signed with a trusted key + nvidia",
        "unable to load the kernel module nvidia.ko",
        "unsigned module loading is restricted + nvidia",
        "loading of unsigned module is rejected + nvidia",
        "~ secure boot",
        "~ (mokutil|sig_enforce)",
    ),
)
