"""A vGPU guest has no licence configured.

The GPU of this machine is a slice that a hypervisor lends it (a model such as "NVIDIA A10-4Q"). The guest's
driver asks a licence server for leave through nvidia-gridd; without one it works in full at first, then slows
down, and after about a day CUDA is restricted. nvidia-smi -q says "License Status : Unlicensed".

How it is told from its look-alikes: neither a client token (*.tok) in the token folder nor a ServerAddress in
gridd.conf. Whether a token is valid and the server answers does not show in files: only nvidia-smi -q says
it. Guests of AWS, Azure and Google Cloud are licensed by the cloud, without either. A whole GPU passed
through needs no such licence.

Cure: put the token of the licence server into the folder (or the server's address into gridd.conf) and
restart nvidia-gridd. No container is touched.

Sources: NVIDIA vGPU client licensing user guide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts

_CONFIG = "/etc/nvidia/gridd.conf"
_TOKENS = "/etc/nvidia/ClientConfigToken"
_VENDOR = "/sys/class/dmi/id/sys_vendor"
_CLOUDS = ("Amazon", "Microsoft", "Google")
_UNIT = "nvidia-gridd.service"


def check(facts: Facts) -> Iterator[Finding]:
    """Find a vGPU without token and server."""
    slices = [gpu for gpu in facts.gpus.taken if _is_slice(gpu.model)]
    if not slices:
        raise NotApplicable("No GPU of this host is a vGPU.")
    vendor = (facts.host.text(_VENDOR) or "").strip()
    if vendor.startswith(_CLOUDS):
        raise NotApplicable(f"vGPUs of this cloud ({vendor}) are licensed by it.")
    text = facts.host.text(_CONFIG)
    settings = _settings(text or "")
    folder = settings.get("ClientConfigTokenPath") or _TOKENS
    if settings.get("ServerAddress") or any(name.endswith(".tok") for name in facts.host.names(folder)):
        return
    yield Finding(
        "the vGPU guest has no licence configured",
        "This vGPU has neither a licence token nor a licence server: it slows down after a while, and CUDA is restricted after "
        "about a day.",
        (
            *(Evidence(Where(gpu.path), f"Model: {gpu.model}, a vGPU") for gpu in slices),
            Evidence(Where(folder), "no token (*.tok) in this folder"),
            Evidence(Where(_CONFIG), "absent" if text is None else "no ServerAddress"),
        ),
        Cure(
            "SHOWN",
            f"Copy the client token of your licence server into {folder} and restart nvidia-gridd.",
            (
                f"sudo install -m 0744 client_configuration_token_*.tok {folder}/",
                f"sudo systemctl restart {_UNIT}",
                "nvidia-smi -q | grep -i license",
            ),
            "None: running programs keep the GPU.",
        ),
    )


def _is_slice(model: str) -> bool:
    """Say whether a model is a vGPU's: ``NVIDIA A10-4Q``, ``GRID T4-16C``, ``NVIDIA A100-1-5C``."""
    profile = model.rpartition(" ")[2]
    board, sign, size = profile.partition("-")
    numbers = size[:-1].removesuffix("ME").replace("-", "")
    return bool(board and sign) and size[-1:] in {"A", "B", "C", "Q"} and numbers.isdigit()


def _settings(text: str) -> dict[str, str]:
    """Return the settings of gridd.conf: ``Key=value`` lines, comments by ``#``."""
    pairs = (line.partition("=") for line in text.split("\n") if not line.lstrip().startswith("#"))
    return {key.strip(): value.strip() for key, sign, value in pairs if sign}


RULE = Rule(
    "host/vgpu-unlicensed",
    125,
    "warning",
    "the vGPU guest has no licence configured",
    check,
    needs=("gpu", "driver"),
    signs=(
        "license status: unlicensed",
        "unlicensed (unrestricted",
        "unlicensed (restricted",
        "nvidia-gridd*(failed to acquire|valid license|license)*(fail|error|unable)*",
    ),
)
