"""How a bundle's own server is started for ``--serve``: its words, where it says that it is ready, what it needs of the network.

BentoML 0.13's servers listen on every address and cannot be told otherwise: they are started only where the network is a namespace of
their own, or in a container without one. That of 1.x is told to listen on the loopback alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpudoctor.bundle import Bundle, Wanted

# {port} and {bundle} are filled in where it is started. One worker: each loads a model of its own.
_ARGV = {
    "bentoml-0.13": ["-m", "bentoml", "serve-gunicorn", "--port", "{port}", "--workers", "1", "{bundle}"],
    "bentoml-1": ["-m", "bentoml", "serve", "--host", "127.0.0.1", "--port", "{port}", "{bundle}"],
}
_READY = {"bentoml-0.13": "/healthz", "bentoml-1": "/readyz"}


def settings(bundle: Bundle, want: Wanted) -> dict[str, Any]:
    """Return what the program that starts the server is told; its own limit ends a little before the phase's, to say why."""
    return {"argv": _ARGV[bundle.format], "ready": _READY[bundle.format], "timeout": max(want.timeout - 2.0, want.timeout / 2)}


def needs_namespace(bundle: Bundle) -> bool:
    """Say whether the server would be reachable from other machines if the network were this host's."""
    return bundle.format == "bentoml-0.13"
