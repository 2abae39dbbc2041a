"""The machine has slept since nvidia-uvm was loaded, and the driver does not keep the GPU's memory over that.

Over suspend and hibernation nvidia_uvm loses its state: nvidia-smi works, but CUDA says 999 (unknown error),
and programs such as ollama quietly fall back to the processor. It is a matter of laptops and desktops. Unless
told otherwise (PreserveVideoMemoryAllocations = 1 with the nvidia-suspend and nvidia-resume services) the
driver saves only part of the GPU's memory.

How it is told from its look-alikes: the kernel log has a "suspend exit" after nvidia-uvm was last loaded.
Whether CUDA really broke does not show in files, so this is a warning. With `host/uvm-hmm-cuinit-3` CUDA
fails right from boot, with 3. A module that was loaded anew since, or memory that is preserved, is fine.

Cure: stop GPU programs and load nvidia_uvm anew; against the next time, let the driver preserve the memory
and enable its sleep services (it is then written to disk, so that suspending takes longer and needs room in
/var/tmp). `gpudoctor fix` does the latter, which the next boot brings into force together with a fresh
nvidia_uvm; it refuses where the sleep services are not there, for then the machine could not sleep any more.

Sources: NVIDIA driver README (power management); ollama/ollama#2934, #4726, #5464, #10053;
NVIDIA/nvidia-container-toolkit#1155.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts.driver import PARAMS
from gpudoctor.model import REBOOT, Cure, Evidence, Finding, NotApplicable, Refused, Rule, Then, Where
from gpudoctor.rules import advice, steps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.model import Steps, Wishes

_WAKING = ("PM: suspend exit", "PM: hibernation: hibernation exit", "PM: hibernation exit")
_LOADED = "Loaded the UVM driver"
_PRESERVE = "PreserveVideoMemoryAllocations"
_OWN_FILE = "/etc/modprobe.d/gpudoctor-suspend.conf"
_UNITS = ("nvidia-suspend.service", "nvidia-hibernate.service", "nvidia-resume.service")
_FILE = "/etc/modprobe.d/nvidia-power-management.conf"


def check(facts: Facts) -> Iterator[Finding]:
    """Find a wake-up after nvidia-uvm was loaded, without preserved memory."""
    driver = facts.driver
    if facts.platform.wsl or facts.platform.jetson or not facts.gpus.count:
        raise NotApplicable("There is no GPU here that nvidia-uvm serves.")
    if "nvidia_uvm" not in driver.modules:
        raise NotApplicable("nvidia-uvm is not loaded.")
    preserve = driver.params.get(_PRESERVE)
    if preserve is None:
        raise NotApplicable("This driver does not say whether it preserves the GPU's memory.")
    if preserve != "0":
        return
    woken = None
    for line in driver.log:
        if _LOADED in line:
            woken = None
        elif any(words in line for words in _WAKING):
            woken = line
    if woken is None:
        return
    yield Finding(
        "the machine has slept since nvidia-uvm was loaded",
        "nvidia-uvm may have lost its state when the machine slept: nvidia-smi works, but CUDA then fails with 999 and "
        "programs fall back to "
        "the processor.",
        (Evidence(Where("kernel log"), woken), Evidence(Where(PARAMS), f"{_PRESERVE}: 0")),
        Cure(
            "DISRUPTIVE",
            "If CUDA fails: stop GPU programs and load nvidia_uvm anew; then let the driver preserve the GPU's memory "
            "from the next boot on.",
            (
                "sudo rmmod nvidia_uvm && sudo modprobe nvidia_uvm",
                f"echo 'options nvidia NVreg_{_PRESERVE}=1 NVreg_TemporaryFilePath=/var/tmp' | sudo tee {_FILE}",
                f"sudo systemctl enable {' '.join(_UNITS)}",
                advice.rebuild_initramfs(facts),
            ),
            "rmmod fails while a program or container uses the GPU. Preserving needs as much room in /var/tmp as the "
            "GPU has memory.",
        ),
    )


def fix(facts: Facts, _: Wishes) -> Steps:
    """Let the driver preserve the GPU's memory from the next boot on, which loads nvidia_uvm anew as well."""
    lacking = [unit for unit in _UNITS if facts.services.unit_file(unit) is None]
    if not facts.platform.systemd or lacking:
        raise Refused(
            f"{lacking[0] if lacking else 'systemd'} is not on this host: told to preserve its memory without it, the driver does not "
            "let the machine sleep any more."
        )
    option = f"NVreg_{_PRESERVE}"
    if facts.driver.option("nvidia", option) is None:
        data = f"options nvidia {option}=1 NVreg_TemporaryFilePath=/var/tmp\n".encode()
        yield steps.own_file(_OWN_FILE, "the GPU's memory outlasts the machine's sleep", data)
    else:
        yield steps.module_option(facts, "nvidia", option, "1", _OWN_FILE, "")
    why = "They save the GPU's memory before the machine sleeps."
    yield Then(("systemctl", "enable", *_UNITS), "SAFE", why, ("systemctl", "disable", *_UNITS))
    yield steps.rebuild_initramfs(facts)
    yield REBOOT


RULE = Rule(
    "host/uvm-broken-after-suspend",
    20,
    "warning",
    "the machine has slept since nvidia-uvm was loaded",
    check,
    needs=("gpu", "module", "driver", "uvm"),
    fix=fix,
    signs=(
        "cuda failure 999",
        "failed to initialize cuda: unknown error",
        "cuda error: unknown error",
        "(30): unknown error",
        "cuda_error_unknown",
        "cuinit*999",
        "cuda driver library init failure: 999",
        "failed to get device context 999",
        "error 999",
        "cuda unknown error - this may be due to an incorrectly set up environment",
        "initialization error: cuda error: unknown error",
        "(after|following|upon|once)?(suspend|resum|hibernat|sleep|wake|waking)* + (nvidia gpu|nvidia-smi|cuda|ollama|nvidia_uvm|pytorch)",
        "rmmod nvidia_uvm",
        "modprobe -r nvidia_uvm",
        "reload*nvidia_uvm",
        "cudaerrorunknown",
        "cuda initialization failure with error: 999",
        "~ *(suspend|resum|hibernat|sleep mode)*",
    ),
)
