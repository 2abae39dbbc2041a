"""The CDI spec is written in a newer version of the format than the engine reads, so the engine drops the whole file.

Toolkit 1.19.1 writes cdiVersion 0.7.0 where it can (it gives device nodes their groups). podman before 5.1 and
Docker before 26.1 know at most 0.6.0 and skip such a file without a word; the names in it are then "unresolvable
CDI devices nvidia.com/gpu=0".

How it is told from its look-alikes: the file is there, readable and right, only its cdiVersion is above what this
engine reads. Where no file defines the name it is `cdi/cdi-unresolvable`; where the file itself is wrong,
`cdi/cdi-spec-invalid`.

Cure: have the spec written in the older format, by leaving the groups out; also in nvidia-cdi-refresh's
environment file, or the next boot writes the new format again. Programs in the container that do not run as root
may lose a group they need for /dev/dri. A newer engine is the lasting cure. `gpudoctor fix` adds the flag to those
that are set in that file, and has the spec written.

Sources: NVIDIA container toolkit release notes 1.19.1 (known issues: docker 26.1, podman 5.1, containerd 1.7.16,
cri-o 1.30); NVIDIA/nvidia-container-toolkit#1940, #1853; moby vendor.mod.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor import tables
from gpudoctor.facts.cdi import REFRESH, REFRESH_ENV
from gpudoctor.host import Denied
from gpudoctor.model import Cure, Edit, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules.cdi import _specs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.facts.cdi import Reader, SpecFile
    from gpudoctor.model import Steps, Wishes

_FLAGS = "NVIDIA_CTK_CDI_GENERATE_FEATURE_FLAGS"
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
        limit = _limit(facts, reader)
        new = _dropped(facts, reader)
        if limit is None or not new:
            continue
        # Another spec that it does read may serve all the same.
        served = any(_version(spec) <= limit for spec in facts.cdi.seen_by(reader) if spec in specs)
        yield _finding(facts, new[0], docker=docker, limit=limit, bad=reader.sole and not served)


def _dropped(facts: Facts, reader: Reader) -> list[SpecFile]:
    """Return the specs in a reader's folders that it drops for their version."""
    limit = _limit(facts, reader)
    seen = facts.cdi.seen_by(reader)
    return [] if limit is None else [spec for spec in facts.cdi.gpu_specs if spec in seen and _version(spec) > limit]


def _version(spec: SpecFile) -> tuple[int, ...]:
    return tables.version(spec.spec.version) if spec.spec is not None else ()


def _limit(facts: Facts, reader: Reader) -> tuple[int, ...] | None:
    """Return the newest cdiVersion that an engine reads, None where it is not known to be below what the toolkit writes."""
    if reader.name.startswith("docker"):
        return tables.docker_cdi_version_max(facts.docker.version_numbers)
    if reader.name != "podman":
        return None
    return (0, 6, 0) if tables.version(facts.podman.version or "") < _PODMAN_0_7 else None


def _finding(facts: Facts, spec: SpecFile, *, docker: bool, limit: tuple[int, ...], bad: bool) -> Finding:
    engine = f"Docker {facts.docker.version}" if docker else f"podman {facts.podman.version}"
    version = spec.spec.version if spec.spec is not None else ""
    refreshed = facts.cdi.refreshed(spec.path)
    write = f"sudo nvidia-ctk cdi generate --feature-flag {_FLAG} --output={spec.path}"
    keep = (
        f"echo {_FLAGS}={_FLAG} | sudo tee -a {REFRESH_ENV}",
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


def fix(facts: Facts, _: Wishes) -> Steps:
    """Have the specs written without the groups of device nodes, by nvidia-cdi-refresh at each boot as well."""
    dropped = {spec.path: spec for reader in facts.cdi.readers for spec in _dropped(facts, reader)}
    for path, spec in dropped.items():
        _specs.refuse_own_names(spec)
        if not facts.cdi.refreshed(path):
            yield from _specs.generate(facts, path, "--feature-flag", _FLAG)
            continue
        why = "specs in the older format, which this host's engine reads"
        yield Edit(REFRESH_ENV, _specs.with_variable(facts.host.bytes(REFRESH_ENV), _FLAGS, _FLAG, why=why, add=True))
        yield from _specs.refresh(facts, changed=True)


RULE = Rule(
    "cdi/cdi-spec-version-too-new",
    47,
    "error",
    "the CDI spec is too new for the engine",
    check,
    breaks=("cdi",),
    needs=("gpu", "driver"),
    fix=fix,
    signs=(
        "unresolvable cdi devices",
        "unresolvable cdi devices nvidia.com/",
        "unresolvable cdi devices + cdiversion: 0.7.0",
        "the spec version must be at least",
        "invalid version + /cdi/nvidia*",
        "~ (0.7.0|cdiversion|1.19.1)",
    ),
)
