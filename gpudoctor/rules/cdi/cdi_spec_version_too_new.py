"""The CDI spec is written in a newer version of the format than the engine reads, so the engine drops the whole file.

Toolkit 1.19.1 writes cdiVersion 0.7.0 where it can (it gives device nodes their groups). podman before 5.1 and
Docker before 26.1 know at most 0.6.0 and skip such a file without a word; the names in it are then "unresolvable
CDI devices nvidia.com/gpu=0".

How it is told from its look-alikes: the file is there, readable and right, only its cdiVersion is above what this
engine reads. Where no file defines the name it is `cdi/cdi-unresolvable`; where the file itself is wrong,
`cdi/cdi-spec-invalid`.

Cure: have the spec written in the older format, by leaving the groups out; also in nvidia-cdi-refresh's environment
file, or the next boot writes the new format again. Programs in the container that do not run as root may lose a
group they need for /dev/dri. A newer engine is the lasting cure.

Sources: NVIDIA container toolkit release notes 1.19.1 (known issues: docker 26.1, podman 5.1, containerd 1.7.16,
cri-o 1.30); NVIDIA/nvidia-container-toolkit#1940, #1853; moby vendor.mod.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor import tables
from gpudoctor.facts.cdi import REFRESH, REFRESH_ENV
from gpudoctor.host import Denied
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.facts.cdi import SpecFile

_FLAG = "no-additional-gids-for-device-nodes"
_PODMAN_0_7 = (5, 1)


def check(facts: Facts) -> Iterator[Finding]:
    """Find specs of NVIDIA's that Docker or podman drops for their cdiVersion."""
    readers = facts.cdi.readers
    if not readers:
        raise NotApplicable("No engine on this host reads CDI specs.")
    if not facts.gpus.present:
        raise NotApplicable("There is no NVIDIA GPU on this host.")
    specs = facts.cdi.gpu_specs
    if not specs:
        for each in facts.cdi.files:
            if each.refused:
                raise Denied(each.path, each.refused)
        raise NotApplicable("There is no CDI spec for nvidia.com/gpu on this host.")
    for reader in readers:
        docker = reader.name.startswith("docker")
        if not docker and reader.name != "podman":
            continue
        limit = _limit(facts, docker=docker)
        if limit is None:
            continue
        seen = {spec.path for spec in facts.cdi.seen_by(reader)}
        new = [spec for spec in specs if spec.path in seen and _version(spec) > limit]
        if not new:
            continue
        # Another spec that it does read may serve all the same.
        served = any(spec.path in seen and _version(spec) <= limit for spec in specs)
        yield _finding(facts, new[0], docker=docker, limit=limit, bad=reader.sole and not served)


def _version(spec: SpecFile) -> tuple[int, ...]:
    return tables.version(spec.spec.version) if spec.spec is not None else ()


def _limit(facts: Facts, *, docker: bool) -> tuple[int, ...] | None:
    """Return the newest cdiVersion that an engine reads, None where it is not known to be below what the toolkit writes."""
    if docker:
        return tables.docker_cdi_version_max(facts.docker.version_numbers)
    return (0, 6, 0) if tables.version(facts.podman.version or "") < _PODMAN_0_7 else None


def _finding(facts: Facts, spec: SpecFile, *, docker: bool, limit: tuple[int, ...], bad: bool) -> Finding:
    engine = f"Docker {facts.docker.version}" if docker else f"podman {facts.podman.version}"
    version = spec.spec.version if spec.spec is not None else ""
    refreshed = facts.cdi.refreshed(spec.path)
    write = f"sudo nvidia-ctk cdi generate --feature-flag {_FLAG} --output={spec.path}"
    keep = (
        f"echo NVIDIA_CTK_CDI_GENERATE_FEATURE_FLAGS={_FLAG} | sudo tee -a {REFRESH_ENV}",
        f"sudo systemctl restart {REFRESH}",
    )
    return Finding(
        f"the CDI spec is too new for {engine}",
        f"{engine} does not know version {version} of the CDI format and drops {spec.path} whole: the devices in it are unresolvable.",
        (
            Evidence(Where(spec.path, spec.line("cdiVersion")), f"cdiVersion {version}"),
            Evidence(
                Where(facts.docker.version_source if docker else facts.packages.source),
                f"{engine}, which reads no newer version than {'.'.join(map(str, limit))}",
            ),
        ),
        Cure(
            "DISRUPTIVE" if refreshed else "SAFE",
            f"Have the spec written without the device nodes' groups, in the older format; or upgrade to {'Docker 26.1' if docker else 'podman 5.1'}.",
            keep if refreshed else (write,),
            "Programs in a container that do not run as root may lose access to /dev/dri.",
        ),
        severity="error" if bad else "warning",
    )


RULE = Rule(
    "cdi/cdi-spec-version-too-new",
    47,
    "error",
    "the CDI spec is too new for the engine",
    check,
    breaks=("cdi",),
    needs=("gpu", "driver"),
    signs=(
        "unresolvable cdi devices",
        "unresolvable cdi devices + cdiversion: 0.7.0",
        "~ (0.7.0|cdiversion|1.19.1)",
    ),
)
