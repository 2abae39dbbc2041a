"""Nothing keeps the driver initialised, so each container start sets up every GPU anew.

When the last user of a GPU goes, the driver shuts it down; the next one waits until all GPUs are initialised again,
one to three seconds each. With many GPUs this exceeds what the toolkit's hook will wait: "nvidia-container-cli:
initialization error: driver rpc error: timed out". nvidia-persistenced (or `nvidia-smi -pm 1`) keeps them ready.

How it is told from its look-alikes: it is a risk, not a fault seen: a warning from four GPUs on, a hint below. If
starting is slow *and* the kernel's log has an Xid 119, the GPU's own firmware does not answer (`gsp-rpc-timeout`).
Persistence mode that was set by `nvidia-smi -pm 1` leaves no file; it shows only where NVML may be asked.

Cure: enable and start nvidia-persistenced. Idle GPUs draw a little more power; nothing is restarted. `gpudoctor
fix` does so where it is installed.

Sources: NVIDIA driver persistence guide; NVIDIA/nvidia-container-toolkit#202, NVIDIA/nvidia-docker#628, #723.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.host import NoAnswer
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Refused, Rule, Then, Where
from gpudoctor.rules import advice, steps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.model import Steps, Wishes

_SOCKET = "/run/nvidia-persistenced/socket"
_PROGRAM = "/usr/bin/nvidia-persistenced"
_UNIT = "nvidia-persistenced.service"
_MANY = 4


def check(facts: Facts) -> Iterator[Finding]:
    """Find a loaded driver with neither nvidia-persistenced nor persistence mode."""
    if facts.platform.wsl or facts.platform.jetson:
        raise NotApplicable("WSL2 and Jetson do not have nvidia-persistenced.")
    if facts.driver.version is None:
        raise NotApplicable("The driver is not loaded.")
    count = facts.gpus.count
    if not count:
        raise NotApplicable("There is no NVIDIA GPU to keep ready.")
    if facts.host.exists(_SOCKET):
        return
    if facts.platform.container is not None:
        raise NotApplicable("Inside a container, keeping the GPUs ready is the host's business.")
    modes = _modes(facts)
    if modes and all(mode is True for mode in modes):
        return
    evidence = [
        Evidence(Where(_SOCKET), "absent: nvidia-persistenced does not run"),
        Evidence(Where(facts.driver.version_source), f"driver {facts.driver.version} with {count} GPU{'s' if count > 1 else ''}"),
    ]
    if False in modes:
        evidence.append(Evidence(Where("NVML"), f"persistence mode is off on {modes.count(False)} of {len(modes)}"))
    commands = ["sudo systemctl enable --now nvidia-persistenced"] if facts.platform.systemd else ["sudo nvidia-smi -pm 1"]
    lacking = facts.host.lstat(_PROGRAM) is None and facts.platform.os_id == "debian"
    if lacking:
        commands.insert(0, advice.install(facts, "nvidia-persistenced"))
    yield Finding(
        "nothing keeps the GPUs initialised",
        f"Each container start initialises {'all ' + str(count) + ' GPUs' if count > 1 else 'the GPU'} anew, which takes seconds"
        + (" and can exceed the hook's limit (driver rpc error: timed out)." if count >= _MANY else "."),
        tuple(evidence),
        Cure(
            "SHOWN" if lacking else "DISRUPTIVE",
            "Start nvidia-persistenced now and at each boot.",
            tuple(commands),
            "Idle GPUs draw a little more power.",
        ),
        severity="warning" if count >= _MANY else "hint",
    )


def _modes(facts: Facts) -> list[object]:
    """Return each GPU's persistence mode as NVML says it, none where NVML was not asked."""
    try:
        told = facts.driver.nvml
    except NoAnswer:
        return []
    gpus = told.get("gpus") if told is not None else None
    return [each.get("persistence") for each in gpus if isinstance(each, dict)] if isinstance(gpus, list) else []


def fix(facts: Facts, _: Wishes) -> Steps:
    """Enable and start nvidia-persistenced, where it is installed; without systemd switch persistence mode on."""
    if not facts.platform.systemd:
        off = ("nvidia-smi", "-pm", "0")
        yield Then(("nvidia-smi", "-pm", "1"), "SAFE", "It keeps the GPUs ready until the next boot.", off)
        return
    if facts.host.lstat(_PROGRAM) is None and facts.services.unit_file(_UNIT) is None:
        raise Refused(f"{_UNIT} is not installed: install the package that has it first.")
    yield steps.restart_unit(facts, _UNIT, "It keeps the GPUs ready, now and after each boot.")


RULE = Rule(
    "host/init-timeout-no-persistence",
    75,
    "warning",
    "nothing keeps the GPUs initialised",
    check,
    needs=("gpu", "module", "driver"),
    fix=fix,
    signs=(
        "driver rpc error: timed out",
        "driver error: timed out",
    ),
)
