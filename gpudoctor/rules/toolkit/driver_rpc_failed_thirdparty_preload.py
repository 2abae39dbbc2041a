"""Something on the host mixes itself into every program, nvidia-container-cli's helper included.

The helper that asks the driver then dies, and each GPU container fails with "nvidia-container-cli:
initialization error: driver rpc error: failed to process request" although nvidia-smi works on the host.
Citrix Workspace (package icaclient) on Ubuntu 22.04 is the known case: two people were helped by removing it.
A library in /etc/ld.so.preload can do the same.

How it is told from its look-alikes: with `host/init-timeout-no-persistence` the words are "driver rpc error:
timed out", and the GPUs are slow to wake. The same words also come from a driver that lacks libraries
(`host/host-driver-libs-incomplete`) and without persistence mode. That the package is there does not prove
that it is to blame, so this is a warning, and for ld.so.preload a hint.

Cure: remove icaclient if the error is met; for ld.so.preload, try with the line taken out. Only the hook's
helper is concerned: a container that gets its GPU by CDI is not.

Sources: nvidia-container-toolkit issues 236 and 556; ld.so(8).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules import advice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts

_PACKAGE = "icaclient"
_PRELOAD = "/etc/ld.so.preload"


def check(facts: Facts) -> Iterator[Finding]:
    """Find Citrix's client, or libraries that are loaded into every program, where the hook serves containers."""
    docker, toolkit = facts.docker, facts.toolkit
    if not docker.installed or docker.kind in {"snap", "desktop"} or not facts.gpus.present:
        raise NotApplicable("No Docker on this host gives a GPU to containers by the host's own toolkit.")
    if not toolkit.hook_acts:
        raise NotApplicable(f"No container goes through the hook here ({toolkit.summary}).")
    package = facts.packages.installed(_PACKAGE)
    if package is not None:
        yield Finding(
            "Citrix Workspace may break the toolkit's helper",
            "Citrix Workspace is known to make nvidia-container-cli fail (driver rpc error: failed to process request).",
            (Evidence(Where(facts.packages.source), f"{_PACKAGE} {package.version}"),),
            Cure(
                "SHOWN",
                "If GPU containers fail with this error, remove it.",
                (advice.remove(facts, _PACKAGE),),
                "Citrix Workspace is gone from this host.",
            ),
        )
    for number, line in enumerate((facts.host.text(_PRELOAD) or "").split("\n"), 1):
        libraries = line.partition("#")[0].strip()
        if libraries:
            yield Finding(
                "a library is loaded into every program",
                "The linker loads this library into every program, nvidia-container-cli's helper included; some such libraries make it "
                "fail (driver rpc error: failed to process request).",
                (Evidence(Where(_PRELOAD, number), libraries),),
                Cure(
                    "SHOWN",
                    "If GPU containers fail with this error, try with the line taken out.",
                    (f"sudoedit {_PRELOAD}",),
                    "Whatever the library is for no longer works.",
                ),
                severity="hint",
            )


RULE = Rule(
    "toolkit/driver-rpc-failed-thirdparty-preload",
    115,
    "warning",
    "something loads itself into the toolkit's helper",
    check,
    needs=("gpu", "driver", "libraries", "toolkit"),
    signs=(
        "driver rpc error: failed to process request",
        "driver error: failed to process request",
        "from /etc/ld.so.preload cannot be preloaded + nvidia",
        "~ icaclient",
        "~ ld.so.preload",
    ),
)
