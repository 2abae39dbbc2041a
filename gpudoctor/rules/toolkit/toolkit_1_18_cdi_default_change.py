"""A container here is of a kind that worked in legacy mode and finds no libcuda since toolkit 1.18.

From 1.18.0 on the nvidia runtime makes a CDI spec for each container by itself (jit-cdi) instead of calling
the legacy hook, and the driver's libraries then keep the path that they have on the host. glibc programs find
them through the linker's cache. Programs with the musl C library do not read that cache: before 1.18.2 they
find nothing in an Alpine image, and Plex's transcoder, which brings a musl of its own and searches a few
folders only, finds nothing on a host like Debian, whose driver is in /usr/lib/*/nvidia/current. Nothing says
so: nvidia-smi works in the container, and the program falls back to the CPU.

How it is told from its look-alikes: a container with the nvidia runtime is seen whose image is known to be of
that kind; without such a container nothing is said, since the new default is right for nearly everything.
With `docker/daemon-reload-loses-gpu` the GPU worked and was lost. A spec file without nvidia-uvm gives cuInit
999 in every image.

Cure: for Alpine images upgrade the toolkit to 1.18.2 or newer. For the rest set the runtime's mode back to
legacy, which puts the libraries into the container's usual folder; it is deprecated, and brings back the loss
of GPUs at systemctl daemon-reload. The fix does that only where no newer toolkit would help.

Sources: nvidia-container-toolkit issues 1456 and 1526; plexinc/pms-docker pull request 172; toolkit release
notes of 1.18.0 and 1.18.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Refused, Rule, Where
from gpudoctor.rules import advice, steps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.model import Steps, Wishes

_MUSL_FIXED = (1, 18, 2)


def check(facts: Facts) -> Iterator[Finding]:
    """Find containers with the nvidia runtime in jit-cdi mode whose image cannot find the libraries there."""
    docker, toolkit = facts.docker, facts.toolkit
    if not docker.installed or docker.kind in {"snap", "desktop"}:
        raise NotApplicable("No Docker on this host uses the host's own toolkit.")
    if not toolkit.since("jit-cdi-default"):
        raise NotApplicable("The toolkit is older than 1.18, or not installed.")
    if toolkit.runtime_path != "jit-cdi":
        raise NotApplicable("The nvidia runtime does not make CDI specs by itself here.")
    musl, plex = _askers(facts)
    if not musl and not plex:
        return
    cuda = facts.driver.libraries.get("libcuda.so.1")
    mode = toolkit.line("nvidia-container-runtime", "mode")
    told = f'mode = "{toolkit.mode}"' if mode is not None else "mode is not set"
    evidence = [
        Evidence(Where(toolkit.version_source), f"toolkit {toolkit.version}"),
        Evidence(Where(toolkit.config_path, mode), f"{told}: that is jit-cdi from 1.18.0 on"),
        Evidence(Where("containers"), f"with the nvidia runtime: {', '.join(sorted(musl + plex))}"),
    ]
    if plex and cuda is not None:
        evidence.append(Evidence(Where(cuda.real or cuda.path), "a folder that only glibc's cache leads to"))
    yield Finding(
        "a container finds no libcuda since toolkit 1.18",
        "The nvidia runtime leaves the driver's libraries where only glibc's linker cache finds them, and these containers run programs "
        "with the musl C library, which does not read it: they find no libcuda, and many go on without the GPU and do not say so.",
        tuple(evidence),
        _cure(facts, musl=bool(musl)),
    )


def _askers(facts: Facts) -> tuple[list[str], list[str]]:
    """Return the containers of musl images, which 1.18.2 helps, and those of Plex, which it does not."""
    cuda = facts.driver.libraries.get("libcuda.so.1")
    nested = cuda is not None and "/nvidia/current/" in f"{cuda.path} {cuda.real}"
    old = facts.toolkit.version_numbers < _MUSL_FIXED
    musl: list[str] = []
    plex: list[str] = []
    if not old and not nested:
        return musl, plex
    for container in facts.docker.containers:
        if container.runtime != "nvidia":
            continue
        image = container.image.lower()
        if old and ("alpine" in image or "musl" in image):
            musl.append(f"{container.name} ({container.image})")
        elif nested and "plex" in image:
            plex.append(f"{container.name} ({container.image})")
    return musl, plex


def _cure(facts: Facts, *, musl: bool) -> Cure:
    if musl:
        summary = "Upgrade the toolkit to 1.18.2 or newer, then create the containers anew."
        return Cure("SHOWN", summary, advice.upgrade_toolkit(facts), advice.RESTART_RISK)
    return Cure(
        "SAFE",
        "Set the runtime's mode back to legacy, then create the containers anew.",
        (advice.set_toolkit_config(facts, "nvidia-container-runtime", "mode", "legacy"),),
        "Legacy mode is deprecated, and with the systemd cgroup driver containers lose the GPU at systemctl daemon-reload.",
    )


def fix(facts: Facts, _: Wishes) -> Steps:
    """Set the runtime's mode back to legacy, where no newer toolkit cures it."""
    if _askers(facts)[0]:
        raise Refused("Toolkit 1.18.2 cures this; legacy mode would only hide it, and is deprecated.")
    yield steps.toolkit_setting(facts, "nvidia-container-runtime.mode", "legacy")


RULE = Rule(
    "toolkit/toolkit-1.18-cdi-default-change",
    106,
    "warning",
    "a container finds no libcuda since toolkit 1.18",
    check,
    needs=("gpu", "driver", "libraries", "toolkit", "runtime"),
    fix=fix,
    signs=(
        "nvidia-container-(toolkit|runtime)*1.18 + legacy",
        "nvidia-container-(toolkit|runtime)*1.18 + (jit-cdi|just-in-time cdi)",
    ),
)
