"""Unprivileged containers are not allowed to ask for a GPU by NVIDIA_VISIBLE_DEVICES.

`accept-nvidia-visible-devices-envvar-when-unprivileged = false` is hardening, usual on Kubernetes nodes: any
image can set that variable and so take GPUs. A container that asks so is refused: "insufficient privileges to
read device list from NVIDIA_VISIBLE_DEVICES envvar". It hits images of NVIDIA's that set the variable by
themselves, and also `docker run --gpus` where the legacy hook serves it: dockerd hands the request to the
hook in that same variable.

How it is told from its look-alikes: the key is false and a container is seen that asks by the variable or by
--gpus, without CAP_SYS_ADMIN and without the device list as mounts. Where none is seen it is a hint: the
setting is there on purpose. With `toolkit/no-cgroups-true-rootful` the container starts and NVML fails.

Cure: ask by CDI (--device nvidia.com/gpu=all), or, with accept-nvidia-visible-devices-as-volume-mounts =
true, by a mount below /var/run/nvidia-container-devices; or unset the variable in a container that needs no
GPU. Do not flip the key without whoever set it.

Sources: k8s-device-plugin issue 203; NVIDIA container toolkit source (the hook's getDevices); moby source
(daemon/nvidia_linux.go).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Refused, Rule, Where
from gpudoctor.rules import steps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.facts.docker import Container
    from gpudoctor.model import Steps, Wishes

_KEY = "accept-nvidia-visible-devices-envvar-when-unprivileged"
_VARIABLE = "NVIDIA_VISIBLE_DEVICES"
_MOUNTS = "/var/run/nvidia-container-devices"


def check(facts: Facts) -> Iterator[Finding]:
    """Find the key set to false, and the containers that it refuses."""
    docker, toolkit = facts.docker, facts.toolkit
    if not docker.installed or docker.kind in {"snap", "desktop"} or not toolkit.installed:
        raise NotApplicable("No Docker on this host uses the host's own toolkit.")
    if toolkit.setting("", _KEY) is not False:
        return
    if not facts.gpus.present:
        raise NotApplicable("There is no NVIDIA GPU to ask for.")
    if toolkit.gpus_path != "hook" and toolkit.runtime_path is None:
        raise NotApplicable(f"Nothing here gives a GPU by the variable ({toolkit.summary}).")
    refused = sorted(container.name for container in docker.containers if _is_refused(facts, container))
    evidence = [Evidence(Where(toolkit.config_path, toolkit.line("", _KEY)), f"{_KEY} = false")]
    if refused:
        evidence.append(Evidence(Where("containers"), f"ask by {_VARIABLE} without being privileged: {', '.join(refused)}"))
    by_flag = (
        ""
        if toolkit.gpus_path == "cdi"
        else f" docker run --gpus is refused as well: Docker hands it to the hook by {_VARIABLE}."
    )
    yield Finding(
        "unprivileged containers may not ask for a GPU by variable",
        f"The toolkit does not take {_VARIABLE} from unprivileged containers, so those that ask in this way get no GPU or do not start.{by_flag}",
        tuple(evidence),
        Cure(
            "SAFE",
            "Ask for the GPU by CDI, or unset the variable in a container that needs none.",
            ("docker run --device nvidia.com/gpu=all ...", f"docker run -e {_VARIABLE}=void ..."),
            "None; flipping the key would let any image take every GPU, which somebody ruled out on purpose.",
        ),
        severity="error" if refused else "hint",
        breaks=None if refused else (),
    )


def _is_refused(facts: Facts, container: Container) -> bool:
    if container.privileged or any(path.startswith(_MOUNTS) for path in container.mounts):
        return False
    if facts.toolkit.gpus_path == "hook" and any(driver != "cdi" for driver in container.drivers):
        return True
    asked = container.env.get(_VARIABLE, "")
    return container.runtime.startswith("nvidia") and asked not in {"", "void", "none"} and "/" not in asked


def fix(facts: Facts, wishes: Wishes) -> Steps:
    """Take the key back to its default, only where the user insists: somebody ruled it out on purpose."""
    if not wishes.force:
        raise Refused(
            "With the key set back, any image could take every GPU, which somebody ruled out on purpose: ask for the GPU by CDI "
            "(--device nvidia.com/gpu=all) instead.",
            forcible=True,
        )
    yield steps.toolkit_setting(facts, _KEY, value=True)


RULE = Rule(
    "toolkit/nvidia-visible-devices-unprivileged-refused",
    103,
    "error",
    "unprivileged containers may not ask for a GPU by variable",
    check,
    breaks=("container",),
    needs=("gpu", "driver", "toolkit"),
    fix=fix,
    signs=(
        "insufficient privileges to read device list from nvidia_visible_devices",
        "insufficient privileges to read device list",
        "accept-nvidia-visible-devices-envvar-when-unprivileged",
    ),
)
