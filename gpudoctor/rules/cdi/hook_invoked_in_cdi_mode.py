"""config.toml forces a CDI mode, but `--gpus` calls the legacy hook, which refuses.

`docker run --gpus` makes dockerd (before 29.2, or without nvidia-cdi-hook) call nvidia-container-runtime-hook
itself. That hook reads the runtime's `mode` and, where it is set to anything but auto or legacy, gives up:
"invoking the NVIDIA Container Runtime Hook directly (e.g. specifying the docker --gpus flag) is not supported.
Please use the NVIDIA Container Runtime (e.g. specify the --runtime=nvidia flag) instead."

How it is told from its look-alikes: the words are unmistakable. With `--runtime=nvidia` (or nvidia as the default
runtime) the runtime takes the hook's place and all is well; a host that uses only that is healthy, so this is a
warning unless a container of this daemon is seen to ask by `--gpus`.

Cure: ask with `--runtime=nvidia` or `--device nvidia.com/gpu=all`; or set mode = "auto". config.toml is read at
each start of a container: no restart is needed, and what runs is not touched. `gpudoctor fix` does the last.

Sources: nvidia-container-toolkit source (cmd/nvidia-container-runtime-hook); dstackai/dstack#2306.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules import advice, steps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.facts.docker import Container
    from gpudoctor.model import Steps, Wishes

_TABLE = "nvidia-container-runtime"


def check(facts: Facts) -> Iterator[Finding]:
    """Find a forced mode that the hook refuses, where the hook serves --gpus."""
    docker, toolkit = facts.docker, facts.toolkit
    if not docker.installed or docker.kind in {"snap", "desktop"}:
        raise NotApplicable("There is no Docker on this host that uses the host's toolkit.")
    if facts.platform.jetson:
        raise NotApplicable("On a Jetson the hook refuses in any mode: jetson/jetson-csv-mode.")
    if toolkit.gpus_path != "hook":
        raise NotApplicable(f"--gpus does not go through the hook here ({toolkit.summary}).")
    if docker.default_runtime == "nvidia":
        raise NotApplicable("nvidia is the default runtime, and takes the hook's place.")
    if toolkit.mode in {"auto", "legacy"} or toolkit.setting("nvidia-container-runtime-hook", "skip-mode-detection") is True:
        return
    asking = next((each for each in docker.known_containers if _by_gpus(each)), None)
    evidence = [
        Evidence(Where(toolkit.config_path, toolkit.line(_TABLE, "mode")), f'mode = "{toolkit.mode}"'),
        Evidence(Where(toolkit.hook or "hook"), f"serves --gpus with Docker {docker.version or 'of an unknown version'}"),
    ]
    if asking is not None:
        evidence.append(
            Evidence(Where(asking.path), f"container {asking.name} was made with --gpus and runtime {asking.runtime or 'runc'}")
        )
    yield Finding(
        f"--gpus is refused while mode is {toolkit.mode}",
        f'The hook behind docker run --gpus refuses to work while config.toml says mode = "{toolkit.mode}"; only --runtime=nvidia gives a GPU.',
        tuple(evidence),
        Cure(
            "SAFE",
            'Set mode = "auto"; or leave it, and start containers with --runtime=nvidia in place of --gpus.',
            (advice.set_toolkit_config(facts, _TABLE, "mode", "auto"),),
            "--runtime=nvidia then chooses its way by itself.",
        ),
        severity="error" if asking is not None else "warning",
    )


def _by_gpus(container: Container) -> bool:
    """Say whether a container asked for GPUs of the hook: a device request that names no CDI device, without the nvidia runtime."""
    cdi = any("=" in name for name in container.device_ids)
    return bool(container.drivers) and "cdi" not in container.drivers and not cdi and container.runtime != "nvidia"


def fix(facts: Facts, _: Wishes) -> Steps:
    """Set the mode to auto, in which the hook works; the file is read at each start of a container."""
    yield steps.toolkit_setting(facts, f"{_TABLE}.mode", "auto")


RULE = Rule(
    "cdi/hook-invoked-in-cdi-mode",
    100,
    "error",
    "--gpus is refused in a CDI mode",
    check,
    breaks=("container",),
    needs=("gpu", "driver", "toolkit"),
    fix=fix,
    signs=(
        "invoking the nvidia container runtime hook directly",
        "please use the nvidia container runtime*instead",
        "specifying the docker --gpus flag) is not supported",
    ),
)
