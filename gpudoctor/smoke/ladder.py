"""The ladder: its rungs from the bottom to the top, how each can go, and the verdict over all of them."""

from __future__ import annotations

from typing import Any, Literal

from gpudoctor.values import NamedTuple

Name = Literal[
    "nodes", "libcuda", "cuinit", "devices", "import", "sees", "kernels", "computes", "placed", "freed", "peers", "reload"
]
"""What is tried. The first four are below every framework; ``peers`` and ``reload`` are ladders of one rung."""

WORDS: dict[str, str] = {
    "nodes": "device nodes open",
    "libcuda": "libcuda loads",
    "cuinit": "CUDA starts",
    "devices": "CUDA counts devices",
    "import": "framework imports",
    "sees": "sees the device",
    "kernels": "has kernels for it",
    "computes": "computes right",
    "placed": "ran where it should",
    "freed": "gives memory back",
    "peers": "GPU to GPU",
    "reload": "survives daemon-reload",
}
BELOW: tuple[str, ...] = ("nodes", "libcuda", "cuinit", "devices")
ABOVE: tuple[str, ...] = ("import", "sees", "kernels", "computes", "placed", "freed")

State = Literal["passed", "failed", "untold", "not tried"]
"""``untold``: it cannot be seen here, and whether the rungs above hold decides; ``not tried``: a rung below failed."""

Verdict = Literal["on the GPU", "on the CPU", "starts", "not on the GPU", "failed", "not installed", "not tried"]
"""``on the GPU``: proven; ``on the CPU``: as asked by --device cpu; ``starts``: the rungs below every framework hold and nothing
was computed; ``not on the GPU``: it computed, and not on the GPU; ``not installed``: the framework is not there, and was not named;
``not tried``: what it stands on failed."""

Device = Literal["cuda", "cpu"]
FRAMEWORKS = ("torch", "onnxruntime", "tensorflow", "jax", "cupy")
TITLES = {"torch": "PyTorch", "onnxruntime": "ONNX Runtime", "tensorflow": "TensorFlow", "jax": "JAX", "cupy": "CuPy"}


class Rung(NamedTuple):
    """How one rung went: seconds (None where it was not tried), a sentence, and the probe's facts."""

    name: str
    state: str
    seconds: float | None = None
    says: str = ""
    facts: dict[str, Any] = {}  # noqa: RUF012 - never written to


class Cause(NamedTuple):
    """What a failed rung means: a failure mode's slug ("" where none is known), a sentence, and the cure on this host.

    ``proof``: what of this host confirms it, where one of its rules found it.
    """

    slug: str
    text: str
    cure: str
    commands: tuple[str, ...] = ()
    proof: tuple[str, ...] = ()


class Climb(NamedTuple):
    """One ladder, climbed once: where, with which framework ("": the rungs below all of them), on which GPU ("": as it is).

    ``command`` is what was run, to be pasted; ``peak_kib`` the most memory that its processes held; ``words`` the last lines that
    it printed where it failed.
    """

    place: str
    framework: str
    gpu: str
    rungs: tuple[Rung, ...]
    verdict: str
    command: str = ""
    cause: Cause | None = None
    peak_kib: int | None = None
    words: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def first_failed(self) -> Rung | None:
        """The first rung that failed, None where none did."""
        return next((rung for rung in self.rungs if rung.state == "failed"), None)

    @property
    def title(self) -> str:
        """What to call it: ``PyTorch, host, GPU-…``."""
        return ", ".join(part for part in (TITLES.get(self.framework, "CUDA"), self.place, self.gpu) if part)


class Difference(NamedTuple):
    """What the same ladder on the host and in the image tells: the first rung that differs, and what that means."""

    framework: str
    rung: str
    host: str
    image: str
    text: str


class Smoke(NamedTuple):
    """All that was tried: every ladder in the order in which it was climbed."""

    device: str
    gpus: tuple[str, ...]
    climbs: tuple[Climb, ...]
    differences: tuple[Difference, ...] = ()
    nothing: str = ""
    """Why there is no GPU to test, "" where there is one."""

    @property
    def code(self) -> int:
        """The exit code: 3 no GPU to test, 1 something failed or ran elsewhere, 0 all ran where it should."""
        if self.nothing:
            return 3
        verdicts = [each.verdict for each in self.climbs]
        if {"failed", "not on the GPU"} & set(verdicts):
            return 1
        asked = [each.verdict for each in self.climbs if each.framework]
        # Frameworks were asked for and none was tried: that shows nothing.
        idle = {"not installed", "not tried"}
        return 1 if set(asked or verdicts) <= idle else 0


def verdict(rungs: tuple[Rung, ...], framework: str, device: str) -> str:
    """Return what the rungs of one ladder amount to. Only a placement that was proven is "on the GPU"."""
    states = {rung.name: rung.state for rung in rungs}
    if "failed" in states.values():
        elsewhere = states.get("computes") == "passed" and states.get("placed") == "failed"
        return "not on the GPU" if device == "cuda" and elsewhere else "failed"
    if not framework or "peers" in states:
        return "starts" if "not tried" not in states.values() else "failed"
    if states.get("computes") != "passed" or states.get("placed") != "passed":
        return "failed"
    return "on the GPU" if device == "cuda" else "on the CPU"


def filled(rungs: tuple[Rung, ...], names: tuple[str, ...]) -> tuple[Rung, ...]:
    """Return the rungs in the order of ``names``, those that were not reached as not tried."""
    done = {rung.name: rung for rung in rungs}
    return tuple(done.get(name) or Rung(name, "not tried") for name in names)
