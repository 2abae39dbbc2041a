"""A CDI spec names files or devices that are not there any more, or those of another driver.

A spec is a list made once: each library with the driver's version in its name, each device node, the MIG instances
of that day. After a driver upgrade, a GPU swapped, DRM nodes numbered anew or MIG instances made anew, the list is
wrong, and the runtime says "error stat'ing file /lib/x86_64-linux-gnu/libEGL_nvidia.so.535.161.07: No such file or
directory" or "failed to stat CDI host device "/dev/dri/renderD129"". Where the old files are still there, the
container gets libraries that the loaded module refuses.

How it is told from its look-alikes: each path of the spec is looked up on the host. Two files that define the same
device are `cdi/cdi-conflict`; a spec without /dev/nvidia-uvm is `cdi/cdi-spec-missing-uvm`, one with the wrong
major is `cdi/cdi-stale-uvm-major`. Where module and libraries of the host itself differ, the spec can only be right
for one of them: that is `host/driver-library-mismatch`, and comes first. Nodes that nothing has made since boot are
`host/uvm-device-missing`.

Cure: write the spec anew. From toolkit 1.18 on nvidia-cdi-refresh does so at boot and after upgrades, into
/var/run/cdi; a file made by hand in /etc/cdi only gets old and should be set aside. Containers must be started
anew; nothing else is touched. `gpudoctor fix` has it written where it stands, unless nvidia-cdi-refresh has one
already; it refuses where the spec has names that nvidia-ctk does not give, and while module and libraries differ.

Sources: Igalia/webkit-container-sdk#23; podman#23935; NVIDIA/nvidia-container-toolkit#885; moby#51942, #52704;
NVIDIA container toolkit guide, "Support for CDI".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.host import NoAnswer
from gpudoctor.model import Evidence, Finding, Rule, Where
from gpudoctor.rules.cdi import _specs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.facts.cdi import SpecFile
    from gpudoctor.model import Steps, Wishes

_MADE_ON_DEMAND = ("/dev/nvidia-uvm", "/dev/nvidia-uvm-tools")
_CAPS = "/dev/nvidia-caps/nvidia-cap"


def check(facts: Facts) -> Iterator[Finding]:
    """Find specs in force that do not fit the host of today."""
    for spec in _specs.judged(facts):
        files, nodes = _missing_files(facts, spec), _missing_nodes(facts, spec)
        driver, mig, lacking = _other_driver(facts, spec), _gone_mig(facts, spec), _lacking(facts, spec)
        if not (files or nodes or driver or mig or lacking):
            continue
        # Docker's --gpus notices a device node that is gone, and falls back; of a file that is gone only runc learns, too late.
        severity = _specs.severity(facts, spec, resolves=bool(files or driver))
        if files or nodes or driver or mig:
            text = (
                "was written for an earlier state of this host: containers that get their GPU by it fail to start, or CUDA fails."
            )
        else:
            text = "was written before all of today's GPUs or MIG instances were there: containers cannot get these."
            severity = "warning" if severity == "error" else severity
        yield Finding(
            "a CDI spec is out of date",
            f"{spec.path} {text}",
            (*_paths(spec, files + nodes), *driver, *mig, *lacking, _specs.reader(facts)),
            _specs.write_anew(facts, spec),
            severity=severity,
        )


def _missing_files(facts: Facts, spec: SpecFile) -> list[str]:
    """Return the files that the spec mounts or runs and that do not exist."""
    return [path for path in dict.fromkeys((*spec.mounts, *spec.hooks)) if not facts.host.exists(path)]


def _missing_nodes(facts: Facts, spec: SpecFile) -> list[str]:
    """Return the device nodes that the engine looks up and does not find: one with its numbers in the spec is not looked up."""
    named = (node.host_path for node in spec.nodes if node.major is None and node.host_path not in _MADE_ON_DEMAND)
    return [path for path in dict.fromkeys(named) if not facts.host.exists(path)]


def _paths(spec: SpecFile, missing: list[str]) -> list[Evidence]:
    found = [Evidence(Where(spec.path, spec.line(path)), f"names {path}, which does not exist") for path in missing[:2]]
    rest = len(missing) - len(found)
    if rest:
        found.append(Evidence(Where(spec.path), f"names {rest} more that {'do' if rest > 1 else 'does'} not exist"))
    return found


def _other_driver(facts: Facts, spec: SpecFile) -> list[Evidence]:
    """Return what shows that the spec's libraries are neither the loaded module's nor the host's own."""
    loaded = facts.driver.version
    if spec.driver is None or loaded is None or spec.driver[0] in {loaded, facts.driver.library_version}:
        return []
    version, path = spec.driver
    return [Evidence(Where(spec.path, spec.line(path)), f"is of driver {version}; {facts.driver.version_source} says {loaded}")]


def _gone_mig(facts: Facts, spec: SpecFile) -> list[Evidence]:
    """Return the MIG instances that the spec names and the driver does not have."""
    found = []
    today = facts.gpus.mig_minors if any(node.path.startswith(_CAPS) for node in spec.nodes) else {}
    for device in spec.devices:
        minors = [node.path.removeprefix(_CAPS) for node in device.nodes if node.path.startswith(_CAPS)]
        # Not "all": an instance that one of the others lacks is lacking there too.
        if device.name != "all" and any(minor.isdigit() and int(minor) not in today for minor in minors):
            found.append(device.name)
    uuids = [device.name for device in spec.devices if device.name.startswith("MIG-")]
    if uuids and not found:
        smi = _smi(facts)
        found = [name for name in uuids if smi and name not in smi]
    if not found:
        return []
    return [Evidence(Where(spec.path, spec.line(found[0])), f"MIG device {_specs.shortened(found)}: no such instance today")]


def _smi(facts: Facts) -> str | None:
    """Return nvidia-smi's list, None where it cannot be had: the minors of the instances have been compared already."""
    try:
        return facts.driver.smi
    except NoAnswer:
        return None


def _lacking(facts: Facts, spec: SpecFile) -> list[Evidence]:
    """Return the GPUs and MIG instances of today that the spec does not know."""
    paths = {node.host_path for node in spec.nodes}
    found = []
    if any(path.removeprefix("/dev/nvidia").isdigit() for path in paths):
        there = [(f"/dev/nvidia{gpu.minor}", gpu.path) for gpu in facts.gpus.taken]
        # A guest that was given some of its host's GPUs sees the others in /proc, but has no nodes for them.
        unknown = [(node, path) for node, path in there if node not in paths and node in facts.devices.nodes]
        found += [Evidence(Where(path), f"is {node}, which {spec.path} does not name") for node, path in unknown[:1]]
    minors = facts.gpus.mig_minors if facts.platform.container is None else {}
    unnamed = [name for minor, name in minors.items() if f"{_CAPS}{minor}" not in paths]
    if unnamed:
        found.append(
            Evidence(Where("/proc/driver/nvidia/capabilities"), f"MIG instance {_specs.shortened(unnamed)}: not in {spec.path}")
        )
    return found


def fix(facts: Facts, _: Wishes) -> Steps:
    """Have the specs that do not fit the host written anew."""
    for spec in _specs.judged(facts):
        if any(look(facts, spec) for look in (_missing_files, _missing_nodes, _other_driver, _gone_mig, _lacking)):
            yield from _specs.rewrite(facts, spec)


RULE = Rule(
    "cdi/cdi-spec-stale",
    30,
    "error",
    "a CDI spec is out of date",
    check,
    breaks=("cdi",),
    needs=("gpu", "module", "driver", "libraries"),
    follows=("cdi/config-mode-cdi-breaks-generate",),
    fix=fix,
    signs=(
        "error stat'ing file*(nvidia|libcuda|libnvcuvid)*no such file or directory",
        "failed to stat cdi host device",
        "failed to fulfil mount request: open*(nvidia|libcuda|libnvcuvid)*no such file or directory",
        "error mounting*(nvidia|libcuda|libnvcuvid)*.so.*no such file or directory",
        "libnvidia-*not found + (podman|crun|cdi)",
        "cdi spec*stale",
        "(error stating file|failed to stat cdi host device)*no such file or directory",
        "cannot stat */lib*(nvidia|libcuda|libnvcuvid)*no such file or directory",
        "cannot stat */nvidia-persistenced/socket*no such file or directory",
        "statfs /usr/lib*nvidia*no such file or directory",
    ),
)
