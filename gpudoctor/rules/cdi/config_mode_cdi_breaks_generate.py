"""Toolkit 1.18.0 with `mode = "cdi"` in config.toml cannot write a CDI spec.

`nvidia-ctk cdi generate` of 1.18.0 took the *runtime's* mode from config.toml for its own, where "cdi" means
nothing: `level=error msg="invalid discovery mode: cdi"`. nvidia-cdi-refresh runs the same command, fails, and
/var/run/cdi/nvidia.yaml is not written. The runtime in cdi mode in turn needs just that file.

How it is told from its look-alikes: it takes this one release and this one setting. Any other release with the
setting is well, and a service that fails with "Driver Not Loaded" is `cdi/cdi-refresh-before-driver`.

Cure: upgrade to 1.18.1 or newer; or set the mode back to auto, with which 1.18 makes a spec for each container
by itself (jit-cdi), and start the service again. `gpudoctor fix` does the second.

Sources: NVIDIA/nvidia-container-toolkit#1376; changelog of 1.18.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts.cdi import REFRESH
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules import advice, steps
from gpudoctor.rules.cdi import _specs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.model import Steps, Wishes

_BROKEN = (1, 18, 0)
_TABLE = "nvidia-container-runtime"


def check(facts: Facts) -> Iterator[Finding]:
    """Find toolkit 1.18.0 with the runtime's mode set to cdi."""
    toolkit, cdi = facts.toolkit, facts.cdi
    if toolkit.version_numbers[:3] != _BROKEN:
        raise NotApplicable("Only toolkit 1.18.0 takes the runtime's mode for the generator's.")
    if toolkit.mode != "cdi":
        return
    written = "there, written before" if facts.host.exists(cdi.refresh_output) else "absent"
    yield Finding(
        "this toolkit cannot write a CDI spec in cdi mode",
        'Toolkit 1.18.0 fails to write CDI specs while config.toml says mode = "cdi" (invalid discovery mode: cdi), so the spec is not kept up to date.',
        (
            Evidence(Where(toolkit.config_path, toolkit.line(_TABLE, "mode")), 'mode = "cdi"'),
            Evidence(Where(toolkit.version_source), f"toolkit {toolkit.version}"),
            Evidence(Where(cdi.refresh_output), written),
        ),
        Cure(
            "DISRUPTIVE",
            "Set the mode to auto and start nvidia-cdi-refresh again; or upgrade the toolkit to 1.18.1 or newer.",
            (advice.set_toolkit_config(facts, _TABLE, "mode", "auto"), f"sudo systemctl restart {REFRESH}"),
            "With mode auto this toolkit makes a spec for each container by itself (jit-cdi).",
        ),
        severity="warning" if cdi.in_force or not cdi.readers else _specs.severity(facts, resolves=False),
        breaks=() if cdi.in_force else ("cdi",),
    )


def fix(facts: Facts, _: Wishes) -> Steps:
    """Set the mode to auto, with which this toolkit writes specs, and have nvidia-cdi-refresh write its own."""
    yield steps.toolkit_setting(facts, f"{_TABLE}.mode", "auto")
    if facts.cdi.refresh_unit is not None and facts.driver.version is not None:
        yield from _specs.restart(facts)


RULE = Rule(
    "cdi/config-mode-cdi-breaks-generate",
    111,
    "error",
    "this toolkit cannot write a CDI spec in cdi mode",
    check,
    breaks=("cdi",),
    needs=("gpu",),
    fix=fix,
    signs=(
        "invalid discovery mode: cdi",
        "nvidia-cdi-refresh.service: (main process exited|failed with result)",
    ),
)
