"""podman before 5.0 takes `--gpus` and does nothing.

The option is there so that Docker's command lines do not fail; until 5.0 it was ignored without a word, so the
container starts without a GPU: "executable file `nvidia-smi` not found in $PATH". From 5.0 on it asks for
nvidia.com/gpu devices by CDI. With podman-docker the `docker` command is podman ("Emulate Docker CLI using
podman."), and every guide's `docker run --gpus all` ends here.

How it is told from its look-alikes: there is no error about a device. "unresolvable CDI devices" is
`cdi/cdi-unresolvable`: there podman did ask. A compose file's device request is ignored by podman's
Docker-compatible API in newer versions too.

Cure: `--device nvidia.com/gpu=all` in place of `--gpus all` (podman 4.1, with a CDI spec). Nothing on the host
changes.

Sources: podman#19330, #21156, pull request #21180 (5.0); NVIDIA/nvidia-container-runtime#190.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor import tables
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts

_WORKS = (5, 0)


def check(facts: Facts) -> Iterator[Finding]:
    """Find a podman before 5.0 that poses as docker, or is the only engine, on a host with a GPU."""
    podman = facts.podman
    if podman.version is None:
        raise NotApplicable("podman is not installed.")
    if not facts.gpus.present:
        raise NotApplicable("There is no NVIDIA GPU on this host.")
    poses = podman.poses_as_docker
    if poses is None and facts.docker.installed:
        raise NotApplicable("docker is Docker here, and podman stands beside it.")
    numbers = tables.version(podman.version)
    if not numbers or numbers >= _WORKS:
        return
    evidence = [Evidence(Where(facts.packages.source), f"podman {podman.version}")]
    if poses is not None:
        path, _, package = poses.partition(" ")
        evidence.append(Evidence(Where(path), f"docker is podman {package}".strip()))
    yield Finding(
        f"podman {podman.version} ignores --gpus",
        f"{'docker on this host is podman, and podman' if poses is not None else 'podman'} {podman.version} ignores --gpus without a word: "
        "the container starts without a GPU.",
        tuple(evidence),
        Cure(
            "SHOWN",
            "Use --device nvidia.com/gpu=all in place of --gpus all.",
            ("podman run --rm --device nvidia.com/gpu=all --security-opt=label=disable ubuntu nvidia-smi",),
            "None: it needs a CDI spec, and label=disable only under SELinux.",
        ),
        severity="warning" if poses is not None else "hint",
    )


RULE = Rule(
    "podman/podman-gpus-noop",
    63,
    "warning",
    "podman ignores --gpus",
    check,
    needs=("gpu", "driver"),
    signs=(
        "executable file nvidia-smi not found in $path",
        "emulate docker cli using podman + --gpus",
        "podman run*--gpus",
        "~ (podman|crun)",
    ),
)
