"""What a failed rung means: the failure mode by what was seen, and the cure on this host.

What is seen (an errno, cuInit's number, a library, a build's targets, words that the framework printed) leads to a few rules. Those
that look at a host are put to it: the one that finds something there is the cause, with its own cure. Where none does, the first
one is named with its page's cure, and the others beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpudoctor.smoke.ladder import TITLES, Cause

if TYPE_CHECKING:
    from gpudoctor.facts import Facts
    from gpudoctor.smoke.ladder import Rung

_HOST_NODES: dict[int, tuple[str, ...]] = {
    1: ("lxc-needs-no-cgroups", "device-permissions-mode"),
    2: ("uvm-device-missing", "driver-not-loaded"),
    5: ("xid79-fallen-off-bus", "gsp-rpc-timeout"),
    6: ("driver-not-loaded", "xid79-fallen-off-bus"),
    13: ("device-permissions-group", "device-permissions-mode", "selinux-label"),
}
_IMAGE_NODES: dict[int, tuple[str, ...]] = {
    **_HOST_NODES,
    1: ("no-cgroups-true-rootful", "rootless-needs-no-cgroups", "lxc-needs-no-cgroups"),
    2: ("container-started-without-gpu", "cdi-spec-missing-uvm"),
}
_CODES: dict[int, tuple[tuple[str, ...], tuple[str, ...], str]] = {
    # on the host, in an image, what it means
    3: (("uvm-hmm-cuinit-3",), ("uvm-hmm-cuinit-3",), "nvidia-uvm could not be set up; the host itself has it too"),
    34: (("cuda-stub-on-loader-path",), ("cuda-stub-on-loader-path",), "a stub of libcuda, made for linking alone, was loaded"),
    46: (("compute-mode-exclusive",), ("compute-mode-exclusive",), "the GPU admits one process, and has one"),
    100: (
        ("mig-no-instances", "driver-not-loaded", "uvm-device-missing"),
        ("container-started-without-gpu", "cuda-visible-devices-wrong", "mig-no-instances"),
        "CUDA starts and sees no GPU",
    ),
    101: (("mig-no-instances",), ("mig-uuid-format",), "the device that was named is none"),
    802: (
        ("fabricmanager-not-running", "fabricmanager-version-mismatch"),
        ("fabricmanager-not-running", "fabricmanager-version-mismatch"),
        "the fabric of NVSwitches is not set up, or the GPU is still starting",
    ),
    803: (
        ("driver-library-mismatch", "driver-cuda-userspace-803"),
        ("compat-lib-shadows-driver-803", "image-ships-driver-libs", "driver-library-mismatch", "driver-cuda-userspace-803"),
        "libcuda and the kernel's module are of different driver versions",
    ),
    804: (
        ("driver-library-mismatch", "forward-compat-804"),
        ("forward-compat-804", "driver-library-mismatch"),
        "a newer libcuda was loaded (forward compatibility), and this GPU does not take it",
    ),
    999: (
        ("uvm-broken-after-suspend", "uvm-device-missing", "xid79-fallen-off-bus"),
        (
            "cdi-spec-missing-uvm",
            "cdi-stale-uvm-major",
            "uvm-device-missing",
            "uvm-broken-after-suspend",
            "no-cgroups-true-rootful",
        ),
        "most often nvidia-uvm: its node cannot be used, or it has lost its state",
    ),
}
_NOT_FOUND = 500
_TOO_OLD = 35  # of the CUDA runtime: insufficient driver
_CUDNN = ("libcudnn",)
_CPU_BUILDS = {"torch": "torch-cpu-wheel", "tensorflow": "cpu-build-in-image", "jax": "cpu-build-in-image"}


def cause(rung: Rung, framework: str, place: str, printed: str, facts: Facts, visible: str | None) -> Cause:
    """Return what a failed rung means.

    ``place``: host or image; ``printed``: what the probe printed; ``visible``: CUDA_VISIBLE_DEVICES as it was given, None if it was not.
    """
    slugs, means = _candidates(rung, framework, place, printed, facts, visible)
    if not slugs and not means:
        slugs = _by_words(f"{rung.says}\n{printed}")
    found = _decided(slugs, facts, means)
    if found is not None:
        return found
    cure = "`gpudoctor doctor` examines the host; `gpudoctor explain` looks the words up that were printed."
    return Cause("", means or "no failure mode is known for this", cure)


def _candidates(
    rung: Rung, framework: str, place: str, printed: str, facts: Facts, visible: str | None
) -> tuple[tuple[str, ...], str]:
    """Return slugs, the likeliest first, and what is meant."""
    seen = rung.facts
    image = place == "image"
    if rung.name == "nodes":
        return _nodes(seen, facts, image=image), ""
    if rung.name == "libcuda":
        if image:
            slugs = ("host-driver-libs-incomplete", "toolkit-not-installed", "container-started-without-gpu")
            return slugs, "the driver's libraries were not brought into the container"
        return ("host-driver-libs-incomplete", "ldconfig-nonstandard-lib-path", "driver-not-installed"), ""
    if rung.name in {"cuinit", "devices"}:
        return _cuda(int(seen.get("code", 100)), facts, visible, image=image)
    if rung.name == "reload":
        return ("daemon-reload-loses-gpu",), ""
    if (
        rung.name == "import"
        and seen.get("signal") is None
        and framework == "onnxruntime"
        and "the package is empty" in rung.says
    ):
        return ("ort-cpu-package-shadows-gpu",), ""
    if rung.name == "sees":
        return _unseen(seen, framework, printed, facts, visible, image=image)
    if rung.name == "kernels":
        return _kernels(seen)
    if rung.name == "placed" and framework == "onnxruntime":
        return ("ort-silent-cpu",), ""
    return (), ""


def _nodes(seen: dict[str, Any], facts: Facts, *, image: bool) -> tuple[str, ...]:
    errors = seen.get("errors") or {}
    number = next(iter(errors.values()), 2)
    if image:
        return _IMAGE_NODES.get(number, ())
    if not facts.driver.is_loaded:
        return ("driver-not-loaded", "driver-module-missing-for-kernel", "driver-not-installed", "nouveau-owns-gpu")
    return _HOST_NODES.get(number, ())


def _cuda(code: int, facts: Facts, visible: str | None, *, image: bool) -> tuple[tuple[str, ...], str]:
    if code == 100 and visible is not None:
        return ("cuda-visible-devices-wrong",), f"CUDA_VISIBLE_DEVICES={visible} names no GPU that is here"
    if code == _NOT_FOUND:
        if facts.platform.wsl:
            return ("docker-desktop-outdated-wsl",), "the driver of Windows is newer than what stands between"
        return (), "libcuda asks the kernel's module for something that it does not have: both must be of one driver version"
    on_host, in_image, means = _CODES.get(code, ((), (), ""))
    return (in_image if image else on_host), means


def _unseen(
    seen: dict[str, Any], framework: str, printed: str, facts: Facts, visible: str | None, *, image: bool
) -> tuple[tuple[str, ...], str]:
    """Return why a framework does not see a GPU that CUDA counts."""
    name = TITLES.get(framework, framework)
    if framework == "onnxruntime":
        return _onnxruntime(seen, facts, visible, image=image)
    if seen.get("cuda") == "" and framework in _CPU_BUILDS:
        return (_CPU_BUILDS[framework],), f"this build of {name} has no CUDA"
    if "driver on your system is too old" in f"{seen}{printed}" or "insufficient" in printed:
        newest = facts.driver.version or "an unknown version"
        return (
            "torch-cuda13-wheel-driver-12",
            "driver-too-old-runtime",
        ), f"driver {newest} is older than the CUDA of this {name}"
    if framework == "tensorflow":
        return ("tf-missing-cuda-libs",), "TensorFlow does not find CUDA's libraries"
    return (), ""


def _onnxruntime(seen: dict[str, Any], facts: Facts, visible: str | None, *, image: bool) -> tuple[tuple[str, ...], str]:
    """Tell apart the ways in which ONNX Runtime goes on without the GPU."""
    absent = seen.get("missing") or []
    if seen.get("listed") is not None:
        return ("ort-cpu-package-shadows-gpu",), "the package `onnxruntime` is in use, which is for the CPU"
    if seen.get("library") == "":
        return ("ort-provider-libs-not-shipped",), "the CUDA provider's library was left out"
    if absent:
        return _missing_libraries(seen, absent, image=image)
    code = int(seen.get("code", 0))
    if code == _TOO_OLD:
        return ("driver-too-old-runtime",), "the driver is older than the CUDA that ONNX Runtime was built for"
    if code:
        return _cuda(code, facts, visible, image=image)
    return ("ort-silent-cpu",), ""


def _missing_libraries(seen: dict[str, Any], absent: list[str], *, image: bool) -> tuple[tuple[str, ...], str]:
    names = ", ".join(absent)
    if "libcuda.so.1" in absent and len(absent) == 1:
        slugs = ("container-started-without-gpu", "host-driver-libs-incomplete") if image else ("host-driver-libs-incomplete",)
        return slugs, "libcuda.so.1 is the driver's own library: it was not injected"
    pip = seen.get("pip") or {}
    others = seen.get("others") or {}
    first = absent[0]
    if first in pip:
        folder = pip[first]
        return ("ort-missing-cuda-libs",), (
            f"{names}: pip's packages have {first} ({folder}), where the loader does not look: call onnxruntime.preload_dlls() "
            "before the first session"
        )
    major = first.rpartition(".so.")[2]
    if first.startswith(_CUDNN):
        means = f"{names} not found: {first} is cuDNN {major}"
        return (("ort-cudnn-mismatch",) if first in others else ("ort-cudnn-mismatch", "ort-missing-cuda-libs")), means
    if first in others:
        return (
            "ort-cuda-major-mismatch",
        ), f"{first} is not here and {', '.join(others[first])} is: this package wants another CUDA"
    wants = next((each for each in absent if each.startswith(("libcublasLt.so.", "libcublas.so.", "libcudart.so."))), "")
    means = f"{names} not found"
    if wants:
        means += f": {wants} is CUDA {wants.rpartition('.so.')[2]}"
    return ("ort-missing-cuda-libs", "ort-cuda-major-mismatch"), means


def _kernels(seen: dict[str, Any]) -> tuple[tuple[str, ...], str]:
    """Tell a GPU that is too old for a build from one that is too new."""
    capability = tuple(int(part) for part in str(seen.get("capability", "0.0")).split("."))
    known = []
    for target in seen.get("targets") or []:
        digits = str(target).partition("_")[2].rstrip("af")
        if digits.isdigit():
            known.append((int(digits[:-1]), int(digits[-1])))
    if known and capability < min(known):
        return ("gpu-too-old-for-wheel",), ""
    return ("gpu-too-new-for-wheel",), ""


def _by_words(text: str) -> tuple[str, ...]:
    """Return the failure modes whose signs the printed words have, best first."""
    import io

    from gpudoctor import engine
    from gpudoctor.explain import clean, match

    rules = engine.every_rule()
    found = match.seen(clean.windows(io.BytesIO(text.encode())), (sign for rule in rules for sign in rule.signs))
    return tuple(each.rule.slug for each in match.matches(found, rules)[:3])


def _decided(slugs: tuple[str, ...], facts: Facts, means: str) -> Cause | None:
    """Return the cause that a rule confirms on this host, else the first one with its page's cure; None where no rule is named."""
    from gpudoctor import engine
    from gpudoctor.explain import decide

    rules = [rule for slug in slugs if (rule := engine.named(slug)) is not None]
    if not rules:
        return None
    diagnosis = engine.diagnose(facts, [rule for rule in rules if not rule.needs_input])
    for finding in diagnosis.findings:
        if finding.severity != "hint":
            slug = finding.rule.partition("/")[2]
            return Cause(slug, finding.text, finding.cure.summary, finding.cure.commands, tuple(map(str, finding.evidence)))
    refuted = {*diagnosis.passed, *(note.rule for note in diagnosis.not_applicable)}
    left = [rule for rule in rules if rule.name not in refuted] or rules
    cure = decide.paragraph(left[0], "Cure").rstrip() or f"`gpudoctor explain {left[0].slug}` has its page."
    text = means or left[0].title
    if len(left) > 1:
        text += f" (or: {', '.join(rule.slug for rule in left[1:])})"
    return Cause(left[0].slug, text, cure)
