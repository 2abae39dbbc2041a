"""On WSL2, no-cgroups = true keeps containers from /dev/dxg.

On WSL2 the GPU is /dev/dxg. With `no-cgroups = true` the hook mounts Windows' driver into the container but does not open the
device cgroup for that node, so the first call is refused: "Failed to initialize NVML: GPU access blocked by the operating
system". It is the same fault as `toolkit/no-cgroups-true-rootful`, which prints "Unknown Error" on a Linux of its own.

How it is told from its look-alikes: nvidia-smi works in WSL itself and fails in containers only. Where it fails in WSL too,
with the same words, the driver's files (`wsl/wsl-driver-store-incomplete`), the Windows driver or Windows itself (Server
editions, cards in TCC mode) are to blame, which no file here shows. Rootless Docker has no device cgroup and needs the
setting. It acts only where the hook does: not where `--gpus` goes through CDI.

Cure: set it to false; nothing has to be restarted, the containers must be started anew.

Sources: nvidia-container-toolkit issue 85; Microsoft WSL issue 9962; nvidia-container-toolkit source (the hook is the key's
only reader).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts.wsl import DXG
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Refused, Rule, Where
from gpudoctor.rules import advice, steps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.model import Steps, Wishes

_HOOK_IGNORES_FILE = (1, 14, 0)


def check(facts: Facts) -> Iterator[Finding]:
    """Find no-cgroups = true on WSL2 where a rootful daemon's hook acts on it."""
    toolkit = facts.toolkit
    if facts.wsl.version in {None, 1}:
        raise NotApplicable("This is not WSL2.")
    if facts.docker.kind != "rootful":
        raise NotApplicable("There is no rootful Docker in this distribution.")
    if not toolkit.no_cgroups:
        return
    if not toolkit.hook_acts:
        raise NotApplicable(f"no-cgroups has no effect here: no container goes through the hook ({toolkit.summary}).")
    if toolkit.version_numbers[:3] == _HOOK_IGNORES_FILE:
        raise NotApplicable("The hook of toolkit 1.14.0 ignores config.toml.")
    yield Finding(
        "no-cgroups = true keeps containers from /dev/dxg",
        "The toolkit's hook is told not to open the device cgroup for /dev/dxg, so containers fail with NVML: GPU access blocked "
        "by the operating system, also where nvidia-smi works in WSL itself.",
        (
            Evidence(Where(toolkit.config_path, toolkit.line("nvidia-container-cli", "no-cgroups")), "no-cgroups = true"),
            Evidence(Where(DXG), f"is the GPU here; dockerd runs as root; {toolkit.summary}"),
        ),
        Cure(
            "SAFE",
            "Set no-cgroups = false, then start the containers anew.",
            (advice.set_no_cgroups(facts, "false"),),
            "None for rootful Docker; rootless Docker in the same distribution needs true.",
        ),
    )


def fix(facts: Facts, _: Wishes) -> Steps:
    """Set no-cgroups to false, unless a rootless daemon in the same distribution needs it to be true."""
    if any(daemon.kind == "rootless" for daemon in facts.docker.daemons):
        raise Refused("A rootless daemon in this distribution needs no-cgroups = true, and the two share one config.toml.")
    yield steps.toolkit_setting(facts, "nvidia-container-cli.no-cgroups", value=False)


RULE = Rule(
    "wsl/wsl-nvml-blocked",
    66,
    "error",
    "no-cgroups = true keeps containers from /dev/dxg",
    check,
    breaks=("container",),
    needs=("gpu", "driver", "toolkit"),
    fix=fix,
    signs=(
        "gpu access blocked by the operating system",
        "nvmlerror_operatingsystem",
        "nvml_error_operating_system",
        "~ wsl",
    ),
)
