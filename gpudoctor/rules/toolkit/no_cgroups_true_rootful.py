"""config.toml says `no-cgroups = true`, but Docker runs as root.

With `no-cgroups = true` the hook gives the container the driver's libraries and device nodes but does not open the device cgroup for
them, so the very first call fails: "Failed to initialize NVML: Unknown Error". The setting is right for rootless Docker and inside
an LXC guest only; on a rootful host it is left over from instructions for those, or from guides of 2021 that recommended it against
the cgroup v2 breakage which toolkit 1.8.0 cured.

How it is told from its look-alikes: here the GPU never worked, not even right after the start; with
`docker/daemon-reload-loses-gpu` it worked and was lost, and no-cgroups is false. On WSL2 the words are "GPU access blocked by the
operating system" (`wsl/wsl-nvml-blocked`). The setting acts only where the hook does: not where `--gpus` goes through CDI (Docker 29.2
with nvidia-cdi-hook) and the nvidia runtime is in a CDI mode; toolkit 1.14.0's hook ignored the file. Containers that are given the
nodes by `--device` work all the same.

Cure: set it to false (the file is the hook's alone, no restart is needed; containers must be started anew). It would break rootless
Docker on the same host, whose own daemon needs true: use CDI there.

Sources: nvidia-container-toolkit source (the hook is the key's only reader) and release notes of 1.8.0, 1.14.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Refused, Rule, Where
from gpudoctor.rules import advice, steps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.model import Steps, Wishes

_TABLE = "nvidia-container-cli"


def check(facts: Facts) -> Iterator[Finding]:
    """Find no-cgroups = true where a rootful daemon's hook acts on it."""
    docker, toolkit = facts.docker, facts.toolkit
    if docker.kind != "rootful":
        raise NotApplicable("There is no rootful Docker on this host.")
    if facts.platform.wsl or facts.platform.lxc:
        raise NotApplicable("In a WSL2 or LXC guest no-cgroups is judged by other rules.")
    if not toolkit.no_cgroups:
        return
    if not toolkit.hook_acts:
        raise NotApplicable(f"no-cgroups has no effect here: no container goes through the hook ({toolkit.summary}).")
    if toolkit.version_numbers[:3] == (1, 14, 0):
        raise NotApplicable("The hook of toolkit 1.14.0 ignores config.toml.")
    rootless = [daemon for daemon in docker.daemons if daemon.kind == "rootless"]
    both = " A rootless daemon runs on this host as well and needs the opposite: give it the GPU by CDI." if rootless else ""
    yield Finding(
        "no-cgroups = true with rootful Docker",
        "The toolkit's hook is told not to open the device cgroup, so every container started with --gpus is refused its GPU "
        f"(NVML: Unknown Error).{both}",
        (
            Evidence(Where(toolkit.config_path, toolkit.line(_TABLE, "no-cgroups")), "no-cgroups = true"),
            Evidence(Where("dockerd"), f"runs as root; {toolkit.summary}"),
        ),
        Cure(
            "SAFE",
            "Set no-cgroups = false, then start the containers anew.",
            (advice.set_no_cgroups(facts, "false"),),
            "Rootless Docker on the same host would lose its GPU." if rootless else "None for rootful Docker.",
        ),
    )


def fix(facts: Facts, _: Wishes) -> Steps:
    """Set no-cgroups to false, unless a rootless daemon on the same host needs it to be true."""
    if any(daemon.kind == "rootless" for daemon in facts.docker.daemons):
        raise Refused(
            "A rootless daemon on this host needs no-cgroups = true, and the two share one config.toml: give the rootless one its GPU "
            "by CDI (--device nvidia.com/gpu=all), then set this to false."
        )
    yield steps.toolkit_setting(facts, f"{_TABLE}.no-cgroups", value=False)


RULE = Rule(
    "toolkit/no-cgroups-true-rootful",
    9,
    "error",
    "no-cgroups = true with rootful Docker",
    check,
    breaks=("container",),
    needs=("gpu", "driver", "toolkit"),
    fix=fix,
    signs=(
        "nvmlerror_unknown",
        "can't initialize nvml",
        "failed to initialize nvml: unknown error",
        "/dev/nvidia?operation not permitted",
        "because nvml doesn't exist on this system",
        "gpu access blocked by the operating system",
        "~ no-cgroups = true",
        "~ config.toml",
        "~ docker run",
        "~ 1.14.1",
    ),
)
