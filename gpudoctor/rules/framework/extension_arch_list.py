"""A CUDA extension in the image was compiled for other GPUs than this one.

Extensions are compiled for the architectures in TORCH_CUDA_ARCH_LIST, or of the GPU that was there when the image was built. On
another GPU they fail with "no kernel image is available for execution on the device", while torch itself works.

How it is told from its look-alikes: a plain torch operation on the GPU succeeds. Where that fails too, see
`framework/gpu-too-old-for-wheel` and `framework/gpu-too-new-for-wheel`.

Whether anything is compiled shows in a Dockerfile (setup.py, a checkout, --no-build-isolation); where that is not seen, it is a
warning.

Cure: build the image again with the GPU's compute capability in TORCH_CUDA_ARCH_LIST (and +PTX for newer ones).

Sources: PyTorch (torch/utils/cpp_extension.py); mmdetection issue 2108.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.host import Unseen
from gpudoctor.model import Cure, Evidence, Finding, Rule, Where
from gpudoctor.rules import images
from gpudoctor.tables import wheels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


_NAMED = {
    "kepler": ("3.5",),
    "maxwell": ("5.0", "5.2"),
    "pascal": ("6.0", "6.1"),
    "volta": ("7.0",),
    "turing": ("7.5",),
    "ampere": ("8.0", "8.6"),
    "ada": ("8.9",),
    "hopper": ("9.0",),
}


def check(facts: Facts) -> Iterator[Finding]:
    """Find a TORCH_CUDA_ARCH_LIST that leaves out a GPU of this host."""
    told = facts.image.env.get("TORCH_CUDA_ARCH_LIST")
    if told is None or not told.value.strip():
        return
    targets = _targets(told.value)
    if targets is None:
        raise Unseen(facts.image.path, f"TORCH_CUDA_ARCH_LIST={told.value} is not a list that we can read")
    gpus = images.gpus(facts)
    left = [gpu for gpu in gpus if gpu.capability is not None and not targets.serve(gpu.capability)]
    if not left:
        return
    builds = any(_builds(each.argv) for each in facts.image.commands if each.sure) if facts.image.of_file else False
    capability = ".".join(map(str, left[0].capability or ()))
    yield Finding(
        "a CUDA extension was compiled for other GPUs",
        f"TORCH_CUDA_ARCH_LIST leaves out compute capability {capability} of the {left[0].name}: extensions that the image compiles have no code for it.",
        (
            images.evidence(told),
            Evidence(Where(f"{left[0].path}/device"), f"0x{left[0].device_id} ({left[0].name}, {capability})"),
        ),
        Cure("SHOWN", f"Add {capability} to the list, or +PTX to its last entry, and build the image anew."),
        severity=None if builds and len(left) == len(gpus) else "warning",
    )


def _targets(value: str) -> wheels.Targets | None:
    code: list[tuple[int, int]] = []
    ptx: tuple[int, int] | None = None
    for word in value.replace(";", " ").replace(",", " ").split():
        name, plus, _ = word.lower().partition("+ptx")
        for number in _NAMED.get(name, (name,)):
            major, _, minor = number.removesuffix("a").removesuffix("f").partition(".")
            if not (major.isdigit() and minor.isdigit()):
                return None
            code.append((int(major), int(minor)))
            ptx = code[-1] if plus else ptx
    return wheels.Targets(tuple(code), ptx) if code else None


def _builds(argv: tuple[str, ...]) -> bool:
    """Say whether a command compiles an extension: setup.py, a checkout, or a package that is built without isolation."""
    words = set(argv)
    own = "install" in words and bool(words & {".", "./", "-e", "--no-build-isolation"})
    return "setup.py" in words or own or any(word.startswith("git+") for word in argv)


RULE = Rule(
    "framework/extension-arch-list",
    79,
    "error",
    "a CUDA extension was compiled for other GPUs",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="image",
    signs=(
        "no kernel image is available for execution on the device",
        "error in *_cuda: no kernel image is available",
        "cuda_error_no_binary_for_gpu",
        "cudaerrornokernelimagefordevice",
        "cuda kernel failed*no kernel image",
        "unknown cuda arch (",
        "nvcc fatal: unsupported gpu architecture",
        "~ (torch_cuda_arch_list|-gencode|cuda_architectures)",
        "~ (extension|compiled op|dockerfile|setup.py)",
    ),
)
