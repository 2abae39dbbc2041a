"""The toolkit does not let containers use the CUDA compatibility libraries of their image.

Images of NVIDIA's carry newer driver libraries in /usr/local/cuda/compat, with which a CUDA newer than the
host's driver runs on data-center GPUs. Until 1.17.3 the toolkit mounted them over the host's; 1.17.4 stopped
that, for CVE-2025-23359, and put nothing in its place; from 1.17.5 on a hook makes the linker find them. With
1.17.4, or where that hook is switched off, a program says "the provided PTX was compiled with an unsupported
toolchain" or "CUDA driver version is insufficient", in an image that used to work.

How it is told from its look-alikes: the toolkit is 1.17.4, or config.toml switches the hook off. Any other
toolkit with these words is `wheels/ptx-unsupported-toolchain` or a driver that is too old. It is a warning
where a container is seen whose CUDA_VERSION is newer than the driver, and else a hint.

Cure: upgrade the toolkit to 1.17.8 or newer (1.17.5 to 1.17.7 have CVE-2025-23266 in this very hook); or
upgrade the driver, which makes the libraries needless. `features.allow-cuda-compat-libs-from-container =
true` brings the old way back, and with it the hole. The fix switches the hook on again where config.toml
switches it off, from 1.17.8 on.

Sources: NVIDIA container toolkit release notes of 1.17.4, 1.17.5 and 1.17.7; nvidia-container-toolkit issue
934.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor import tables
from gpudoctor.model import Cure, Edit, Evidence, Finding, NotApplicable, Refused, Rule, Where
from gpudoctor.rules import advice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.model import Steps, Wishes

_LEGACY = "nvidia-container-runtime.modes.legacy"
_HOOK_IS_SAFE = (1, 17, 8)


def check(facts: Facts) -> Iterator[Finding]:
    """Find a toolkit that does not lead to an image's compatibility libraries."""
    docker, toolkit = facts.docker, facts.toolkit
    if not docker.installed or docker.kind in {"snap", "desktop"}:
        raise NotApplicable("No Docker on this host uses the host's own toolkit.")
    if not toolkit.since("compat-mounts-off"):
        raise NotApplicable("The toolkit is older than 1.17.4, or not installed.")
    if not facts.gpus.present or facts.platform.jetson or facts.platform.wsl:
        raise NotApplicable("There is no GPU here that compatibility libraries would be for.")
    off = _off(facts)
    if off is None:
        return
    version = facts.driver.version or facts.driver.library_version
    newest = tables.newest_cuda_for(version or "")
    needy = [] if newest is None else _needy(facts, newest)
    evidence = [off]
    if needy:
        evidence.append(Evidence(Where(facts.driver.version_source), f"driver {version}: CUDA up to {newest}"))
        evidence.append(Evidence(Where("containers"), f"of images with a newer CUDA: {', '.join(needy)}"))
    yield Finding(
        "an image's CUDA compatibility libraries are not used",
        "The toolkit does not lead containers to the compatibility libraries of their image, so programs of a CUDA newer than "
        "this host's driver that count on them fail.",
        tuple(evidence),
        _cure(facts),
        severity="warning" if needy else "hint",
    )


def _off(facts: Facts) -> Evidence | None:
    """Return what keeps the image's libraries out, None where nothing does."""
    toolkit = facts.toolkit
    if toolkit.setting("features", "allow-cuda-compat-libs-from-container") is True:
        return None
    if not toolkit.since("compat-hook"):
        return Evidence(Where(toolkit.version_source), f"toolkit {toolkit.version}: it came with 1.17.5")
    if toolkit.setting("features", "disable-cuda-compat-lib-hook") is True:
        line = toolkit.line("features", "disable-cuda-compat-lib-hook")
        return Evidence(Where(toolkit.config_path, line), "disable-cuda-compat-lib-hook = true")
    if toolkit.since("cuda-compat-mode") and toolkit.hook_acts and toolkit.setting(_LEGACY, "cuda-compat-mode") == "disabled":
        return Evidence(Where(toolkit.config_path, toolkit.line(_LEGACY, "cuda-compat-mode")), 'cuda-compat-mode = "disabled"')
    return None


def _needy(facts: Facts, newest: str) -> list[str]:
    """Return the GPU containers whose image was made for a newer CUDA than the driver's newest."""
    found = []
    for container in facts.docker.known_containers:
        version = container.env.get("CUDA_VERSION", "")
        if container.wants_gpu and tables.version(version)[:2] > tables.version(newest):
            found.append(f"{container.name} (CUDA {version})")
    return sorted(found)


def _cure(facts: Facts) -> Cure:
    if not facts.toolkit.since("compat-hook"):
        summary = "Upgrade the toolkit to 1.17.8 or newer, then create the containers anew."
        return Cure("SHOWN", summary, advice.upgrade_toolkit(facts), advice.RESTART_RISK)
    return Cure(
        "SAFE",
        "Upgrade the driver to one that has the image's CUDA, or switch the hook on again and create the containers anew.",
        (f"sudoedit {facts.toolkit.config_path}",),
        "Before toolkit 1.17.8 the hook is what CVE-2025-23266 is about: leave it off there.",
    )


def fix(facts: Facts, wishes: Wishes) -> Steps:
    """Switch on again what keeps the image's libraries out, where that is safe."""
    from gpudoctor.formats.edit import toml as editor

    toolkit = facts.toolkit
    if not toolkit.since("compat-hook"):
        raise Refused("Toolkit 1.17.4 has no such hook: upgrade to 1.17.8 or newer.")
    if toolkit.version_numbers < _HOOK_IS_SAFE and not wishes.force:
        raise Refused("Before toolkit 1.17.8 the hook is what CVE-2025-23266 is about: upgrade the toolkit first.", forcible=True)
    data = toolkit.config.data
    if toolkit.setting("features", "disable-cuda-compat-lib-hook") is True:
        data = editor.set_value(data, "features.disable-cuda-compat-lib-hook", value=False)
    if toolkit.since("cuda-compat-mode") and toolkit.hook_acts and toolkit.setting(_LEGACY, "cuda-compat-mode") == "disabled":
        data = editor.set_value(data, f"{_LEGACY}.cuda-compat-mode", "ldconfig")
    yield Edit(toolkit.config_path, data)


RULE = Rule(
    "toolkit/cuda-compat-libs-no-longer-injected",
    112,
    "warning",
    "an image's CUDA compatibility libraries are not used",
    check,
    needs=("gpu", "driver", "libraries", "toolkit"),
    fix=fix,
    signs=(
        "ptx was compiled with an unsupported toolchain",
        "cuda_error_unsupported_ptx_version",
        "cudaerrorunsupportedptxversion",
        "~ 1.17.4",
    ),
)
