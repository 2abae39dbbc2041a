"""A packed model bundle: what it is (recognise, layouts), what is wrong with it as it lies there (checks), and one real call (call).

This module has the values that the parts pass to each other. A path in them is relative to the bundle's root, with `/`; "" is the root.
"""

from __future__ import annotations

from typing import Literal

from gpudoctor.values import NamedTuple

Severity = Literal["error", "warning", "hint", "unknown"]
"""``error``: it cannot run, or not on the GPU; ``warning``: it will by luck; ``unknown``: the check could not tell."""


class Place(NamedTuple):
    """Where something stands in the bundle; ``line`` is 0 where a file has none to name."""

    path: str
    line: int = 0

    def __str__(self) -> str:
        """Return ``path:line``."""
        return f"{self.path}:{self.line}" if self.line else self.path or "."


class Check(NamedTuple):
    """One thing that the static pass found: which check, how bad, a sentence, where, and what to do about it."""

    check: str
    severity: Severity
    text: str
    where: Place
    cure: str = ""


class Said(NamedTuple):
    """A text of the bundle's own, and where it says so."""

    text: str
    at: Place


class Tensor(NamedTuple):
    """An input or output: its name, numpy's name of its type ("" where unknown), its shape, None where that is unknown as a whole.

    A dimension is a number, a symbol's name, or None where it is free.
    """

    name: str
    dtype: str
    shape: tuple[int | str | None, ...] | None


class Api(NamedTuple):
    """One thing that can be called: ``takes`` is the input's type in the format's own word (``JsonInput``, ``ndarray``, ``tensor``).

    ``example`` is a body that the bundle itself carries, as JSON text; "" where it carries none.
    """

    name: str
    route: str
    takes: str
    inputs: tuple[Tensor, ...] = ()
    example: str = ""
    at: Place = Place("")


ArtifactKind = Literal[
    "onnx",
    "torchscript",
    "torch-pickle",
    "torch-export",
    "pickle",
    "keras-h5",
    "savedmodel",
    "safetensors",
    "json",
    "text",
    "plan",
    "unknown",
]
"""``torch-pickle``: any pickle of torch, torch.save's zip or a plain one; what it really is, is read from its bytes."""


class Artifact(NamedTuple):
    """A model file or folder that the bundle declares or is: where it should be, and where that is said."""

    name: str
    kind: ArtifactKind
    path: str
    declared: Place


class Required(NamedTuple):
    """A package that the bundle asks for: its normalised name (PEP 503), the specifier ("==1.2"), the marker, and whom it is asked of.

    ``extras``: what stands in brackets behind the name (``onnxruntime-gpu[cuda,cudnn]``), normalised.
    """

    name: str
    spec: str
    marker: str
    installer: Literal["pip", "conda"]
    at: Place
    extras: tuple[str, ...] = ()


class Bundle(NamedTuple):
    """What the bundle says of itself; nothing here has been judged yet.

    ``format``: ``bentoml-0.13``, ``bentoml-1``, ``onnx``, ``mlflow``, ``triton``, ``torchscript``, ``torch-export``, ``savedmodel``;
    weights alone or another server's: ``safetensors``, ``state-dict``, ``torchserve``, ``cog``, ``kserve``.
    ``packed_by``: version of the program that packed it; ``python``: the version it was packed with or asks for.
    ``service``: what is to be imported (``bento_svc:Classifier``), ``sources``: the bundle's own Python files, ``import_roots``: the
    folders that are on sys.path when it is loaded. ``gpus``: how many it asks for (a number, or a list of indices as text).
    ``setup``: scripts that run when its image is built. ``installs``: files that say what is installed (requirements, locks, MLmodel).
    """

    format: str
    path: str
    root: str
    name: str = ""
    version: str = ""
    spec: str = ""
    packed_by: str = ""
    python: Said | None = None
    service: Said | None = None
    artifacts: tuple[Artifact, ...] = ()
    apis: tuple[Api, ...] = ()
    sources: tuple[str, ...] = ()
    import_roots: tuple[str, ...] = ()
    requirements: tuple[Required, ...] = ()
    indexes: tuple[Said, ...] = ()
    installs: tuple[str, ...] = ()
    base_image: Said | None = None
    cuda: Said | None = None
    gpus: tuple[Said, ...] = ()
    providers: tuple[Said, ...] = ()
    setup: tuple[Said, ...] = ()


class NotABundle(Exception):  # noqa: N818 - an answer, not a failure of ours
    """What was given cannot be examined further: the check that says so."""

    def __init__(self, check: Check) -> None:
        """Take the check, such as ``not-a-bundle``, ``archive-unreadable``, ``archive-unsafe``."""
        super().__init__(check.text)
        self.check = check


class Wanted(NamedTuple):
    """What was asked for. ``apis`` empty: all; ``body`` is JSON text, "" for none; of ``python``, ``image``, ``venv`` one is given."""

    apis: tuple[str, ...] = ()
    body: str = ""
    python: str = ""
    image: str = ""
    venv: bool = False
    docker_args: tuple[str, ...] = ()
    gpus: tuple[str, ...] = ()
    device: str = "cuda"
    serve: bool = False
    trust: bool = False
    isolate: str = "auto"
    timeout: float = 120.0


class Call(NamedTuple):
    """One real call of an API. ``ok``: it answered, the answer is sound; None: it could not be tried.

    ``ran_on``: where the evidence says that the computing was; ``evidence`` has it, plain values that JSON can hold.
    """

    api: str
    ok: bool | None
    ran_on: Literal["gpu", "cpu", "mixed", "unknown", "nowhere"]
    evidence: dict[str, object]
    text: str


Verdict = Literal["pass", "fail", "refused", "nothing-to-test", "cannot-tell"]


class Result(NamedTuple):
    """All that was found out about a bundle: the static pass, the calls, the verdict, and one sentence that says why it is that.

    ``remarks``: what was isolated from it and what could not be. ``printed``: the bundle's own last words, quoted and never judged.
    ``command``: the call, to be pasted. ``code``: the exit code.
    """

    path: str
    bundle: Bundle | None
    static: tuple[Check, ...]
    calls: tuple[Call, ...]
    verdict: Verdict
    text: str
    code: int
    remarks: tuple[str, ...] = ()
    printed: tuple[str, ...] = ()
    command: str = ""
