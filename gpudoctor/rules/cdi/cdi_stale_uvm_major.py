"""The CDI spec gives /dev/nvidia-uvm a device major that the kernel has given to something else.

The majors of nvidia-uvm and nvidia-caps are dynamic: the kernel picks a free number when the module loads, and
another boot may pick another one. A spec that records the number and outlives the boot makes a node in the
container that leads to another driver or to none. cuInit returns 999 there, while nvidia-smi works, because the
GPU's own nodes have the fixed major 195.

How it is told from its look-alikes: the node stands in the spec, with a number that differs from /proc/devices.
Where it is not named at all it is `cdi/cdi-spec-missing-uvm`; a spec without numbers leaves them to the engine and
is right.

Cure: write the spec anew, and let nvidia-cdi-refresh do so at each boot (toolkit 1.18) in place of a file in
/etc/cdi. Containers must be started anew. `gpudoctor fix` has the spec written, and refuses where it has names
that nvidia-ctk does not give.

Sources: NVIDIA/nvidia-container-toolkit#1934; container-device-interface source (numbers in the spec are not
checked against the host).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules.cdi import _specs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.facts.cdi import SpecFile
    from gpudoctor.formats.cdi import Node
    from gpudoctor.model import Steps, Wishes

_NAMES = (("/dev/nvidia-uvm", "nvidia-uvm"), ("/dev/nvidia-uvm-tools", "nvidia-uvm"), ("/dev/nvidia-caps/", "nvidia-caps"))


def check(facts: Facts) -> Iterator[Finding]:
    """Find specs in force whose dynamic majors are not those of /proc/devices."""
    if facts.platform.wsl or facts.platform.jetson:
        raise NotApplicable("WSL2 and Jetson have no nvidia-uvm.")
    for spec, node, driver, major in _wrong(facts):
        yield Finding(
            "the CDI spec has an old device major",
            f"{spec.path} makes {node.path} with major {node.major}, but {driver} has major {major} since this boot: "
            "CUDA fails in the container (cuInit returns 999), and nvidia-smi works.",
            (
                Evidence(Where(spec.path, node.line), f"{node.path} with major: {node.major}"),
                Evidence(Where("/proc/devices", _line(facts, driver)), f"{major} {driver}"),
                _specs.reader(facts),
            ),
            _specs.write_anew(facts, spec),
            severity=_specs.severity(facts, spec),
        )


def _wrong(facts: Facts) -> Iterator[tuple[SpecFile, Node, str, int]]:
    """Yield each spec with a wrong major once: its first such node, the driver it is meant for and that driver's major today."""
    specs = _specs.judged(facts)
    numbered = [(spec, node) for spec in specs for node in spec.nodes if node.major is not None]
    if not numbered:
        return
    majors = facts.devices.majors
    told: set[str] = set()
    for spec, node in numbered:
        driver = next(
            (name for path, name in _NAMES if node.path == path or (path[-1] == "/" and node.path.startswith(path))), ""
        )
        major = majors.get(driver)
        if major is None or node.major == major or spec.path in told:
            continue
        told.add(spec.path)
        yield spec, node, driver, major


def fix(facts: Facts, _: Wishes) -> Steps:
    """Have the specs with a wrong major written anew."""
    for spec, _node, _driver, _major in _wrong(facts):
        yield from _specs.rewrite(facts, spec)


def _line(facts: Facts, driver: str) -> int | None:
    lines = (facts.host.text("/proc/devices") or "").split("\n")
    return next((number for number, line in enumerate(lines, 1) if line.split()[1:] == [driver]), None)


RULE = Rule(
    "cdi/cdi-stale-uvm-major",
    86,
    "error",
    "the CDI spec has an old device major",
    check,
    breaks=("cdi",),
    needs=("gpu", "module", "driver"),
    fix=fix,
    signs=(
        "cuda failure 999",
        "failed to initialize cuda: unknown error",
        "cuda error: unknown error",
        "(30): unknown error",
        "cuda_error_unknown",
        "cuinit*999",
        "cuda driver library init failure: 999",
        "failed to get device context 999",
        "error 999",
        "cuda unknown error - this may be due to an incorrectly set up environment",
        "initialization error: cuda error: unknown error",
        "nvidia-uvm*major:",
        "cudaerrorunknown",
        "cuda initialization failure with error: 999",
        "~ (major|mknod)",
        "~ /etc/cdi/nvidia.yaml",
    ),
)
