"""A vGPU guest without a licence: it is throttled after a while.

A guest with a vGPU (GRID) driver gets its licence from a server by a client token; without one, clocks and CUDA are restricted after a grace period.

How it is told from its look-alikes: gridd.conf or the nvidia-gridd unit shows a guest driver; a token file or a ServerAddress is the licence's way. Whether the
server really granted it only `nvidia-smi -q` says ("License Status").

Cure: put the client configuration token in place and restart nvidia-gridd.

Sources: NVIDIA vGPU client licensing guide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


_CONF = "/etc/nvidia/gridd.conf"
_TOKENS = "/etc/nvidia/ClientConfigToken"


def check(facts: Facts) -> Iterator[Finding]:
    """Find a guest driver without a token and without a licence server."""
    if facts.services.unit_file("nvidia-gridd.service") is None or not facts.gpus.present:
        raise NotApplicable("This is no vGPU guest.")
    if any(name.endswith(".tok") for name in facts.host.names(_TOKENS)):
        return
    text = facts.host.text(_CONF) or ""
    server = any(line.strip().startswith("ServerAddress=") and line.strip() != "ServerAddress=" for line in text.split("\n"))
    if server:
        return
    yield Finding(
        "no licence is configured for the vGPU",
        "This vGPU guest has neither a client token nor a licence server: its GPU is slowed down and CUDA restricted after a grace period.",
        (
            Evidence(Where(_TOKENS), "no token (*.tok)"),
            Evidence(Where(_CONF), "no ServerAddress"),
        ),
        Cure(
            "DISRUPTIVE",
            "Copy the client configuration token of your licence server into place, then restart nvidia-gridd.",
            (f"sudo install -m 744 client_configuration_token.tok {_TOKENS}/", "sudo systemctl restart nvidia-gridd"),
            "None for running containers.",
        ),
    )


RULE = Rule(
    "host/vgpu-unlicensed",
    125,
    "warning",
    "no licence is configured for the vGPU",
    check,
    needs=("gpu", "driver"),
)
