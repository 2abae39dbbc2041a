"""nvidia-uvm cannot set up heterogeneous memory management (HMM), and CUDA does not start.

HMM lets the GPU use ordinary memory. On some kernels (Enterprise Linux 9 and 10, 6.11 and later) with address
randomisation the open module finds no free range for it: the kernel log says "request_free_mem_region() err
-34", and cuInit returns 3 (not initialized) on the host and in every container, while nvidia-smi works.

How it is told from its look-alikes: nearly every healthy host has the open module with HMM on, so only the
line in the kernel log (or cuInit's 3, which a run of CUDA shows) tells. With `host/uvm-broken-after-suspend`
CUDA worked until the machine slept. Fabric manager says 802; a container that alone fails says 999.

Cure: switch HMM off by a module option and load nvidia-uvm anew, or reboot. Only programs that let the GPU
reach ordinary malloc memory need HMM. `gpudoctor fix` does so; without leave to interrupt anything it only
writes the option.

Sources: CUDA toolkit release notes (HMM and KASLR); NVIDIA/open-gpu-kernel-modules#797, #901, #947;
ollama/ollama#11593.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Then, Where
from gpudoctor.rules import steps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.model import Steps, Wishes

_SWITCH = "/sys/module/nvidia_uvm/parameters/uvm_disable_hmm"
_OWN_FILE = "/etc/modprobe.d/gpudoctor-uvm-hmm.conf"
_FILE = "/etc/modprobe.d/nvidia-uvm-hmm.conf"
_WORDS = "request_free_mem_region() err"


def check(facts: Facts) -> Iterator[Finding]:
    """Find the kernel's word that HMM could not be set up, where HMM is on."""
    driver = facts.driver
    if driver.loaded is None or not facts.gpus.count:
        raise NotApplicable("The NVIDIA driver is not loaded.")
    text = facts.host.text(_SWITCH)
    if text is None:
        raise NotApplicable("nvidia-uvm is not loaded, or knows no HMM.")
    if text.strip() == "Y" or not driver.loaded.open:
        return
    line = next((line for line in reversed(driver.log) if _WORDS in line), None)
    if line is None:
        return
    option = driver.option("nvidia_uvm", "uvm_disable_hmm")
    waiting: tuple[Evidence, ...] = ()
    write: tuple[str, ...] = (f"echo 'options nvidia_uvm uvm_disable_hmm=1' | sudo tee {_FILE}",)
    if option is not None and "uvm_disable_hmm=1" in option.rest:
        waiting = (Evidence(Where(option.path, option.line), f"{option.rest}: holds when the module is next loaded"),)
        write = ()
    yield Finding(
        "nvidia-uvm fails to set up HMM",
        "nvidia-uvm found no room for heterogeneous memory management, so CUDA does not start (cuInit returns 3) although "
        "nvidia-smi works.",
        (Evidence(Where("kernel log"), line), Evidence(Where(_SWITCH), f"{text.strip()}: HMM is on"), *waiting),
        Cure(
            "DISRUPTIVE",
            "Switch HMM off, stop what uses the GPU, and load nvidia-uvm anew; or reboot.",
            (*write, "sudo rmmod nvidia_uvm && sudo modprobe nvidia_uvm"),
            "rmmod fails while a program or container uses the GPU. Programs that rely on HMM no longer run.",
        ),
    )


def fix(facts: Facts, _: Wishes) -> Steps:
    """Switch HMM off by a module option, and load nvidia_uvm anew, which takes effect at once unless a program has the GPU."""
    yield steps.module_option(facts, "nvidia_uvm", "uvm_disable_hmm", "1", _OWN_FILE, "there is no room for HMM on this host")
    for argv in (("rmmod", "nvidia_uvm"), ("modprobe", "nvidia_uvm")):
        why = "nvidia_uvm is loaded anew with the option; it cannot be while a program uses the GPU."
        yield Then(argv, "DISRUPTIVE", why, argv)


RULE = Rule(
    "host/uvm-hmm-cuinit-3",
    21,
    "error",
    "nvidia-uvm fails to set up HMM",
    check,
    breaks=("uvm",),
    needs=("gpu", "module", "driver"),
    fix=fix,
    signs=(
        "cuda_error_not_initialized",
        "cuda driver library init failure: 3",
        "cuinit*returned 3",
        "uvm_disable_hmm",
        "cuda driver initialization failed, you might not have a cuda gpu",
        "(nvidia-open|open kernel module|open-source kernel module) + nvidia-smi + cuda*fail",
        "rmmod nvidia_uvm",
        "modprobe -r nvidia_uvm",
        "reload*nvidia_uvm",
        "cuinit*err=3",
    ),
)
