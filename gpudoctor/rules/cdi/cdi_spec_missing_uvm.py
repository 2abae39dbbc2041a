"""The CDI spec lacks /dev/nvidia-uvm, so CUDA fails in every container that gets its GPU by it.

The spec lists the device nodes that were there when it was written. At boot /dev/nvidia-uvm often comes later than
the others, because nothing asks for it before the first CUDA program; a spec written in between lacks it for good.
nvidia-smi needs only /dev/nvidiactl and /dev/nvidia0 and works in the container, while cuInit returns 999
(CUDA_ERROR_UNKNOWN). From Docker 29.2 on plain `--gpus all` goes through the spec as well.

How it is told from its look-alikes: the node does not stand in the spec at all; with the wrong major it is
`cdi/cdi-stale-uvm-major`. Where the host has no /dev/nvidia-uvm either and nothing will make it,
`host/uvm-device-missing` is found beside this. Where CUDA fails on the host too, it is
`host/uvm-broken-after-suspend` or `host/uvm-hmm-cuinit-3` (error 3).

Cure: make the nodes, write the spec anew, start the containers anew. Until then `--device /dev/nvidia-uvm --device
/dev/nvidia-uvm-tools` beside `--gpus` helps a container. Nothing that runs is touched. `gpudoctor fix` does the
first two, and refuses where the spec has names that nvidia-ctk does not give.

Sources: NVIDIA/nvidia-container-toolkit#1967, #1246, #1979, #1982 (mended after 1.20.0); moby#50228.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Then, Where
from gpudoctor.rules import steps
from gpudoctor.rules.cdi import _specs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.facts.cdi import SpecFile
    from gpudoctor.model import Steps, Wishes

_NODE = "/dev/nvidia-uvm"
_MAKE = "sudo nvidia-modprobe -u -c=0"


def check(facts: Facts) -> Iterator[Finding]:
    """Find specs in force that give GPUs without /dev/nvidia-uvm."""
    if facts.platform.wsl or facts.platform.jetson:
        raise NotApplicable("WSL2 and Jetson have no nvidia-uvm.")
    for spec, paths in _without(facts):
        there = facts.devices.nodes.get(_NODE)
        cure = _specs.write_anew(facts, spec)
        yield Finding(
            "the CDI spec lacks /dev/nvidia-uvm",
            f"{spec.path} was written before {_NODE} was there: nvidia-smi works in a container, and CUDA fails (cuInit returns 999).",
            (
                Evidence(Where(spec.path, spec.line("deviceNodes")), f"names {_specs.shortened(sorted(paths))}, not {_NODE}"),
                Evidence(
                    Where(_NODE),
                    f"there ({there.numbers})" if there is not None else "absent: the host has not made it since boot",
                ),
                _specs.reader(facts),
            ),
            Cure(
                "DISRUPTIVE",
                f"Make the nodes if they are missing. {cure.summary}",
                (_MAKE, *cure.commands),
                cure.risk,
            ),
            severity=_specs.severity(facts, spec),
        )


def _without(facts: Facts) -> Iterator[tuple[SpecFile, set[str]]]:
    """Yield the specs in force that give GPUs without the node, and the nodes they name."""
    for spec in _specs.judged(facts):
        paths = {node.path for node in spec.nodes}
        if _NODE not in paths and any(path.startswith("/dev/nvidia") for path in paths):
            yield spec, paths


def fix(facts: Facts, _: Wishes) -> Steps:
    """Make the nodes where they are missing, then have the specs written anew."""
    if not {_NODE, f"{_NODE}-tools"} <= facts.devices.nodes.keys():
        yield Then(steps.make_uvm(facts), "SAFE", "It loads nvidia-uvm and makes its device nodes.")
    for spec, _paths in _without(facts):
        yield from _specs.rewrite(facts, spec)


RULE = Rule(
    "cdi/cdi-spec-missing-uvm",
    46,
    "error",
    "the CDI spec lacks /dev/nvidia-uvm",
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
        "cudaerrorunknown",
        "cuda initialization failure with error: 999",
        "~ (cdi|docker 29|nvidia-cdi-refresh)",
        "~ nvidia-smi*(work|fine|ok)*",
    ),
)
