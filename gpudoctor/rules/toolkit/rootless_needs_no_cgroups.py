"""Docker is rootless, and the toolkit's hook is told to open the device cgroup, which only root may.

Each container with --gpus then fails: "nvidia-container-cli: mount error: failed to add device rules: ...
bpf_prog_query(BPF_CGROUP_DEVICE) failed: operation not permitted", or on cgroup v1 "open failed:
/sys/fs/cgroup/devices/user.slice/devices.allow: permission denied".

How it is told from its look-alikes: the daemon runs as an ordinary user. The same words inside an LXC guest
are `lxc/lxc-needs-no-cgroups`; a rootful daemon with no-cgroups = true is the opposite fault
(`toolkit/no-cgroups-true-rootful`). Where the rootless daemon takes CDI names and a spec is there, a GPU can
be had all the same and only --gpus is lost: that is a hint, unless a container is seen that asks by --gpus.

Cure: no-cgroups = true in config.toml, as NVIDIA's guide for rootless Docker has it. The file is one for the
whole host: a rootful Docker beside it would lose its GPU, and there CDI (--device nvidia.com/gpu=all) is the
way for the rootless one, which is why the fix refuses there.

Sources: NVIDIA container toolkit installation guide (rootless mode); moby issue 38729; nvidia-docker issue
1155; nvidia-container-toolkit issue 139.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Refused, Rule, Where
from gpudoctor.rules import advice, steps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.model import Steps, Wishes

_TABLE, _KEY = "nvidia-container-cli", "no-cgroups"


def check(facts: Facts) -> Iterator[Finding]:
    """Find a rootless daemon whose hook would touch the device cgroup."""
    docker, toolkit = facts.docker, facts.toolkit
    if docker.kind != "rootless":
        raise NotApplicable("Docker is not rootless here.")
    if facts.platform.lxc:
        raise NotApplicable("In an LXC guest no-cgroups is judged by lxc/lxc-needs-no-cgroups.")
    if not facts.gpus.present or not toolkit.installed:
        raise NotApplicable("There is no GPU, or no toolkit to give it to a container.")
    if toolkit.no_cgroups:
        return
    if not toolkit.hook_acts:
        raise NotApplicable(f"No container goes through the hook here ({toolkit.summary}).")
    askers = [each.name for each in docker.known_containers if any(driver != "cdi" for driver in each.drivers)]
    by_cdi = docker.cdi_enabled and bool(facts.cdi.gpu_specs)
    line = toolkit.line(_TABLE, _KEY)
    told = "no-cgroups = false" if line is not None else "no-cgroups is not set, which means false"
    evidence = [Evidence(Where(toolkit.config_path, line), told), _who(facts)]
    if askers:
        evidence.append(Evidence(Where("containers"), f"made with --gpus: {', '.join(sorted(askers))}"))
    yield Finding(
        "rootless Docker without no-cgroups = true",
        "The toolkit's hook tries to open the device cgroup, which a rootless daemon may not, so every container with --gpus fails"
        + (" (one with --device nvidia.com/gpu=all works: CDI is set up)." if by_cdi else " (failed to add device rules)."),
        tuple(evidence),
        _cure(facts, by_cdi=by_cdi),
        severity="hint" if by_cdi and not askers else "error",
        breaks=() if by_cdi else None,
    )


def _who(facts: Facts) -> Evidence:
    daemon = facts.docker.daemon
    if daemon is None:
        return Evidence(Where("docker info"), "the daemon is rootless")
    return Evidence(Where(f"/proc/{daemon.pid}"), f"dockerd runs as user {daemon.uid}")


def _rootful(facts: Facts) -> bool:
    """Say whether a rootful daemon runs here too, or would at the next boot or request: it reads the same config.toml."""
    units = ("docker.service", "docker.socket")
    return any(daemon.kind == "rootful" for daemon in facts.docker.daemons) or any(
        facts.services.enabled(unit) or facts.services.active(unit) == "active" for unit in units
    )


def _cure(facts: Facts, *, by_cdi: bool) -> Cure:
    rootful = _rootful(facts)
    if not by_cdi and not rootful:
        summary = "Set no-cgroups = true, then start the containers anew."
        risk = "The setting is one for the whole host: a rootful Docker on it would lose its GPU."
        return Cure("SAFE", summary, (advice.set_no_cgroups(facts, "true"),), risk)
    commands = ["docker run --rm --device nvidia.com/gpu=all ubuntu nvidia-smi"]
    if not facts.cdi.gpu_specs:
        commands.insert(0, "sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml")
    reason = ", since a rootful Docker on this host needs no-cgroups = false" if rootful else ""
    return Cure("SAFE", f"Ask for the GPU by CDI instead of --gpus{reason}.", tuple(commands), "None.")


def fix(facts: Facts, _: Wishes) -> Steps:
    """Set no-cgroups to true, unless a rootful daemon shares the file or CDI serves the GPU already."""
    if _rootful(facts):
        raise Refused(
            "A rootful Docker on this host needs no-cgroups = false, and the two share one config.toml: give the rootless one its GPU by "
            "CDI (--device nvidia.com/gpu=all)."
        )
    if facts.docker.cdi_enabled and facts.cdi.gpu_specs:
        raise Refused(
            "CDI is set up here, which needs no setting: ask for the GPU by --device nvidia.com/gpu=all instead of --gpus."
        )
    yield steps.toolkit_setting(facts, f"{_TABLE}.{_KEY}", value=True)


RULE = Rule(
    "toolkit/rootless-needs-no-cgroups",
    41,
    "error",
    "rootless Docker without no-cgroups = true",
    check,
    breaks=("container",),
    needs=("gpu", "driver", "toolkit"),
    fix=fix,
    signs=(
        "device filters attached to the cgroup: bpf_prog_query(bpf_cgroup_device) failed",
        "failed to add device rules",
        "devices.allow: operation not permitted + nvidia",
        "devices.allow: permission denied + nvidia",
        "~ bpf_prog_query(bpf_cgroup_device)",
        "~ rootless",
        "~ /run/user/",
        "~ .local/share/docker",
    ),
)
