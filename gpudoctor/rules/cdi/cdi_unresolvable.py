"""No CDI spec defines the device that is asked for.

`--device nvidia.com/gpu=all` looks the name up in the spec files of a few folders. Where no readable file has it,
podman and Docker say "unresolvable CDI devices nvidia.com/gpu=all". From 29.2 on Docker's --gpus asks for the same
names; where they are not found it falls back to the legacy hook, if that is installed.

How it is told from its look-alikes: the folders that this engine searches hold no spec for nvidia.com/gpu, or not
this name. A spec that is there but dropped is another finding: `cdi/cdi-spec-invalid`,
`cdi/cdi-spec-version-too-new`, `cdi/cdi-conflict`. An engine without CDI takes the name for a path ("not an
absolute path", "no such file or directory"): `cdi/engine-too-old-for-cdi`. Docker 29 with neither a spec nor the
hook is `docker/docker29-no-cdi-gpu-vendor`. On a host whose --gpus goes through the hook no spec is needed, and
none is missed, unless a container asks for such a name (an error) or daemon.json switches CDI on (a warning).

Cure: have the spec written: by nvidia-cdi-refresh (toolkit 1.18), which does so at each boot, else by nvidia-ctk
cdi generate. A spec that only root may read needs `chmod a+r` for a rootless engine. It adds a file and touches
nothing else. `gpudoctor fix` does the same; where Docker looks in a folder of its own, it tells
nvidia-cdi-refresh, unless another engine needs the spec where it is.

Sources: moby daemon/cdi.go and pull request 50228; NVIDIA/nvidia-container-toolkit#146; NixOS/nixpkgs#420638;
NVIDIA container toolkit guide, "Support for CDI".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts.cdi import GPU, REFRESH, REFRESH_ENV
from gpudoctor.host import Denied
from gpudoctor.model import Cure, Edit, Evidence, Finding, NotApplicable, Rule, Then, Where
from gpudoctor.rules import advice
from gpudoctor.rules.cdi import _specs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.facts.cdi import Reader, SpecFile
    from gpudoctor.model import Severity, Steps, Wishes

_OCI_HOOKS = ("/usr/share/containers/oci/hooks.d/oci-nvidia-hook.json", "/etc/containers/oci/hooks.d/oci-nvidia-hook.json")
_OUTPUT = "NVIDIA_CTK_CDI_OUTPUT_FILE_PATH"
_OTHERS = 0o004
_READ = 0o444


def check(facts: Facts) -> Iterator[Finding]:
    """Find engines that depend on a spec and have none, specs that a rootless engine may not read, and names that no spec has."""
    cdi = facts.cdi
    if not cdi.readers:
        raise NotApplicable("No engine on this host reads CDI specs.")
    if not facts.gpus.present:
        raise NotApplicable("There is no NVIDIA GPU on this host.")
    if not (facts.gpus.taken or facts.platform.wsl or facts.platform.jetson):
        raise NotApplicable("The driver has taken no GPU; a spec comes after that.")
    yield from _unknown_names(facts)
    for reader in cdi.readers:
        yield from _unreadable(facts, reader)
    lacking = _lacking(facts)
    if lacking is not None:
        yield _none(facts, lacking)


def _lacking(facts: Facts) -> Reader | None:
    """Return an engine that depends on a spec and has none, None where there is no such engine; raises Denied where that is hidden."""
    cdi = facts.cdi
    without: list[Reader] = []
    for reader in cdi.readers:
        seen = cdi.seen_by(reader)
        if any(each in cdi.gpu_specs for each in seen):
            continue
        if not (reader.sole or _asked_for(facts, reader)) or any(each.malformed is not None and each.for_nvidia for each in seen):
            continue
        refused = next((each for each in seen if each.refused), None)
        if refused is not None and not reader.falls_back:
            raise Denied(refused.path, refused.refused)
        if refused is None and not _other_way(facts, reader):
            without.append(reader)
    return min(without, key=lambda reader: reader.falls_back, default=None)


def _asked_for(facts: Facts, reader: Reader) -> tuple[Evidence, Severity] | None:
    """Return what shows that GPUs are asked for by name where there is another way too, and how bad it is that no name is known.

    A container that asks for one does not start; a daemon.json that switches CDI on shows only that somebody means to.
    """
    if reader.name != "docker run --device":
        return None
    for container in facts.docker.known_containers:
        name = next((each for each in container.device_ids if each.startswith(f"{GPU}=")), None)
        if name is not None:
            return Evidence(Where(container.path), f"container {container.name} asks for {name}"), "error"
    config = facts.docker.config
    features = config.value.get("features")
    if isinstance(features, dict) and features.get("cdi") is True:
        return Evidence(Where(config.path), "features.cdi: true"), "warning"
    return None


def _other_way(facts: Facts, reader: Reader) -> bool:
    """Say whether podman has its hook of old, or another rule speaks of Docker without spec and hook."""
    if reader.name == "podman":
        return any(facts.host.lstat(path) is not None for path in _OCI_HOOKS)
    return reader.name == "docker run --gpus" and facts.toolkit.hook is None and not facts.cdi.gpu_specs


def _none(facts: Facts, reader: Reader) -> Finding:
    """Return the finding for an engine in whose folders there is no spec at all."""
    cdi = facts.cdi
    elsewhere = next((each.path for each in cdi.gpu_specs), None)
    also = f"; {elsewhere} is in a folder that it does not search" if elsewhere is not None else ""
    evidence = [Evidence(Where(", ".join(reader.folders)), f"no spec for {GPU}, and {reader.name} looks here{also}")]
    podman = reader.name == "podman"
    if facts.toolkit.ctk is None:
        evidence.append(Evidence(Where("nvidia-ctk"), "not installed: nothing on this host can write a spec"))
        commands = advice.install_toolkit(facts)
        write = "sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"
        return Finding(
            "no CDI spec for the GPU",
            f"There is no CDI spec, so {reader.name} cannot give a GPU to a container.",
            tuple(evidence),
            Cure("SHOWN", "Install NVIDIA's container toolkit, which writes the spec.", (*commands[:-1], write), "None."),
            # A podman that came with a desktop is no sign that anybody wants a GPU in it.
            severity="hint" if podman else "error",
        )
    asked = _asked_for(facts, reader)
    if asked is not None:
        evidence.append(asked[0])
    if cdi.refresh_unit is not None:
        evidence.append(
            Evidence(
                Where(cdi.refresh_unit), f"should write {cdi.refresh_output}; systemd calls it {facts.services.active(REFRESH)}"
            )
        )
    if reader.falls_back:
        evidence.append(Evidence(Where(facts.toolkit.hook or "hook"), "the legacy hook, which Docker's --gpus falls back to"))
        text = f"No CDI spec defines {GPU}: --gpus falls back to the legacy hook, and --device {GPU}=all is refused (unresolvable CDI devices)."
        return Finding("no CDI spec for the GPU", text, tuple(evidence), _write(facts, reader), severity="hint", breaks=())
    text = f"No CDI spec defines {GPU}, so {reader.name} cannot give a GPU to a container (unresolvable CDI devices)."
    severity = asked[1] if asked is not None else "error"
    return Finding("no CDI spec for the GPU", text, tuple(evidence), _write(facts, reader), severity=severity)


def _write(facts: Facts, reader: Reader) -> Cure:
    cdi = facts.cdi
    path = _output(facts, reader)
    if cdi.refresh_unit is not None and path == cdi.refresh_output:
        return Cure(
            "DISRUPTIVE",
            "Have nvidia-cdi-refresh write the spec now.",
            (f"sudo systemctl enable {REFRESH}", f"sudo systemctl restart {REFRESH}"),
            "None.",
        )
    commands = (f"sudo mkdir -p {path.rpartition('/')[0]}", f"sudo nvidia-ctk cdi generate --output={path}")
    again = (
        f" Give nvidia-cdi-refresh the same path in {REFRESH_ENV}."
        if cdi.refresh_unit is not None
        else " Do so again after each driver upgrade."
    )
    return Cure("SAFE", f"Write a spec where {reader.name} looks.{again}", commands, "None.")


def _output(facts: Facts, reader: Reader) -> str:
    """Return where a spec has to be written for an engine to find it: where nvidia-cdi-refresh does so, if the engine looks there."""
    output = facts.cdi.refresh_output if facts.cdi.refresh_unit is not None else "/etc/cdi/nvidia.yaml"
    return output if output.rpartition("/")[0] in reader.folders else f"{reader.folders[-1]}/nvidia.yaml"


def _closed(facts: Facts, reader: Reader) -> list[SpecFile]:
    """Return the specs of an engine that is not root, where only root may read all of them."""
    specs = [each for each in facts.cdi.seen_by(reader) if each in facts.cdi.gpu_specs]
    if reader.name != "podman" and facts.docker.kind != "rootless":
        return []
    return [] if any(each.mode & _OTHERS for each in specs) else specs


def _unreadable(facts: Facts, reader: Reader) -> Iterator[Finding]:
    """Yield the finding for specs that only root may read, where the engine is not root."""
    closed = _closed(facts, reader)
    if not closed:
        return
    path = closed[0].path
    who = "rootless podman" if reader.name == "podman" else "rootless Docker"
    yield Finding(
        f"{who} may not read the CDI spec",
        f"Only root may read {path}, so the devices in it are unresolvable for {who}.",
        (Evidence(Where(path), f"mode {closed[0].mode:04o}"), _specs.reader(facts)),
        Cure("SAFE", "Let everybody read it: it holds no secret.", (f"sudo chmod a+r {path}",), "None."),
        severity="warning" if reader.name == "podman" else "error",
    )


def _unknown_names(facts: Facts) -> Iterator[Finding]:
    """Yield a finding for a container of Docker's that asks for a GPU by a name that no spec has."""
    cdi = facts.cdi
    if not cdi.in_force or not any(each.name.startswith("docker") for each in cdi.readers):
        return
    for container in facts.docker.known_containers:
        for name in container.device_ids:
            if not name.startswith(f"{GPU}=") or name in cdi.devices or name in cdi.clashes:
                continue
            known = _specs.shortened([each.partition("=")[2] for each in cdi.devices if each.startswith(f"{GPU}=")])
            yield Finding(
                f"container {container.name} asks for a device that no CDI spec has",
                f"Container {container.name} asks for {name}, which no CDI spec defines: it cannot start (unresolvable CDI devices).",
                (
                    Evidence(Where(container.path), f"asks for {name}"),
                    Evidence(Where(cdi.in_force[0].path), f"defines {known}"),
                ),
                Cure(
                    "SHOWN",
                    "Recreate the container with a name that is defined.",
                    ("nvidia-ctk cdi list",),
                    "The container is recreated.",
                ),
                breaks=(),
            )


def fix(facts: Facts, _: Wishes) -> Steps:
    """Open specs that only root may read, and have one written where an engine has none; a container's own wishes are left."""
    cdi = facts.cdi
    closed = {spec.path: spec for reader in cdi.readers for spec in _closed(facts, reader)}
    for path, spec in closed.items():
        yield Edit(path, spec.data, spec.mode | _READ)
    reader = _lacking(facts)
    if reader is None or facts.toolkit.ctk is None:
        return
    path = _output(facts, reader)
    if cdi.refresh_unit is None:
        yield from _generated(facts, path)
        return
    elsewhere = cdi.refresh_output.rpartition("/")[0]
    if path == cdi.refresh_output:
        if not facts.services.enabled(REFRESH):
            yield Then(
                ("systemctl", "enable", REFRESH), "SAFE", "It writes the spec at each boot.", ("systemctl", "disable", REFRESH)
            )
        yield from _specs.refresh(facts)
    elif any(elsewhere in each.folders for each in cdi.readers):
        # Another engine needs it where it is.
        yield from _generated(facts, path)
    else:
        why = f"specs where {reader.name} looks for them"
        yield Edit(REFRESH_ENV, _specs.with_variable(facts.host.bytes(REFRESH_ENV), _OUTPUT, path, why=why))
        yield from _specs.refresh(facts, path, changed=True)


def _generated(facts: Facts, path: str) -> Steps:
    folder = path.rpartition("/")[0]
    if not facts.host.exists(folder):
        yield Then(("mkdir", "-p", folder), "SAFE", "The spec's folder is not there yet.")
    yield from _specs.generate(facts, path)


RULE = Rule(
    "cdi/cdi-unresolvable",
    56,
    "error",
    "no CDI spec for the GPU",
    check,
    breaks=("cdi",),
    needs=("gpu", "module", "driver", "libraries"),
    follows=("cdi/config-mode-cdi-breaks-generate", "cdi/cdi-refresh-before-driver"),
    fix=fix,
    signs=(
        "unresolvable cdi devices",
        "unresolvable cdi devices nvidia.com/",
        "setting up cdi devices: unresolvable",
        "cdi device injection failed: unresolvable",
    ),
)
