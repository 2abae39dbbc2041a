"""Device arguments: the device nodes that a container needs for its GPUs on this host, in the form that each tool wants.

``select`` says which nodes (facts and a request give a ``Selection``), ``inject`` says what brings the driver's libraries in
beside them, ``emit`` writes both down. A GPU's index is NVML's: its place in PCI order. It is neither the minor of its node nor
Docker's ``--gpus 2``, which is a count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from gpudoctor.host import NoAnswer
from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from gpudoctor.facts import Facts

FORMATS = (
    "args",
    "make",
    "make-args",
    "compose",
    "cdi",
    "cdi-spec",
    "env",
    "json",
    "podman",
    "systemd",
    "nomad",
    "kubernetes",
)
STYLES = {"compose": ("devices", "reservation", "gpus", "cdi"), "systemd": ("service", "quadlet")}
"""The styles of the formats that have some; the first is the default."""
PURPOSES = ("compute", "graphics", "video", "display")
"""What a container may do with a GPU, by the names of NVIDIA_DRIVER_CAPABILITIES."""

_FOR_DOCKER = frozenset({"args", "make", "make-args", "env", "json", "compose"})

Kind = Literal["machine", "guest", "wsl", "jetson"]


class Refused(Exception):  # noqa: N818 - an answer: what was asked for cannot be had here
    """What was asked for cannot be had on this host; the text is one sentence."""


class Request(NamedTuple):
    """What is wanted: ``gpus`` as they were named, ``purposes`` in the order of PURPOSES, ``style`` empty where there is none."""

    gpus: tuple[str, ...]
    purposes: tuple[str, ...]
    format: str
    style: str


class Instance(NamedTuple):
    """A MIG device: its name (``0:1``), GPU and compute instance, the paths of its two nodes; ``uuid`` only where NVML was asked."""

    name: str
    gi: int
    ci: int
    nodes: tuple[str, ...]
    chosen: bool = False
    uuid: str = ""


class Gpu(NamedTuple):
    """A GPU: its index (NVML's), PCI address, minor of its node; ``chosen`` where it or a MIG device of it was asked for."""

    number: int
    address: str
    uuid: str
    minor: int | None
    model: str
    node: str
    instances: tuple[Instance, ...] = ()
    chosen: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """What of it is given, as the toolkit names it: its index, or its chosen MIG devices (``0:1``)."""
        if self.instances:
            return tuple(each.name for each in self.instances if each.chosen)
        return (str(self.number),) if self.chosen else ()


class Node(NamedTuple):
    """A device node that is there: its numbers, whether the container gets it, and why or why not; ``gpu``: the index of whose it is."""

    path: str
    major: int | None
    minor: int | None
    chosen: bool
    why: str
    mode: int = 0o666
    gpu: int | None = None


class Missing(NamedTuple):
    """Something the container needs that is not there: what, why it is needed, and the command that makes it."""

    what: str
    why: str
    command: str


class Selection(NamedTuple):
    """What a container needs on this host. ``everything``: every GPU of it was asked for.

    ``mounts`` and ``env`` are what stands in for the toolkit where nothing injects the libraries (WSL2 alone needs so little).
    """

    kind: Kind
    gpus: tuple[Gpu, ...]
    nodes: tuple[Node, ...]
    missing: tuple[Missing, ...]
    everything: bool
    remarks: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()
    env: tuple[str, ...] = ()

    @property
    def chosen(self) -> tuple[Node, ...]:
        """The nodes that the container gets, in a stable order."""
        return tuple(node for node in self.nodes if node.chosen)

    @property
    def names(self) -> tuple[str, ...]:
        """The chosen GPUs and MIG devices as the toolkit names them."""
        return tuple(name for gpu in self.gpus for name in gpu.names)


class Answer(NamedTuple):
    """What to print, what is missing, and what has to be said beside it."""

    text: str
    missing: tuple[Missing, ...]
    remarks: tuple[str, ...]


def request(gpus: str, purposes: str, form: str, style: str | None) -> Request:
    """Return what was asked for on the command line; ValueError says what of it is wrong."""
    names = tuple(dict.fromkeys(name for word in gpus.split(",") if (name := word.strip())))
    if not names:
        raise ValueError("--gpus is empty; name GPUs, or `all`")
    wanted = {word.strip() for word in purposes.split(",") if word.strip()}
    unknown = sorted(wanted - set(PURPOSES))
    if unknown or not wanted:
        raise ValueError(f"--with {','.join(unknown) or 'is empty'}: one or more of {', '.join(PURPOSES)}")
    if form not in FORMATS:
        raise ValueError(f"--format {form}: one of {', '.join(FORMATS)}")
    styles = STYLES.get(form, ())
    if style is not None and style not in styles:
        raise ValueError(f"--style {style}: " + (f"one of {', '.join(styles)}" if styles else f"--format {form} has no styles"))
    chosen = style if style is not None else (styles[0] if styles else "")
    return Request(names, tuple(each for each in PURPOSES if each in wanted), form, chosen)


def answer(facts: Facts, wanted: Request, source: str) -> Answer:
    """Return what to print for this host; raises Refused, and NoAnswer where the host does not say enough.

    ``source`` is where the host is from, for the JSON.
    """
    from gpudoctor.device_args import emit, inject, select

    selection = select.select(facts, wanted)
    names_only = wanted.format == "cdi" or (wanted.format, wanted.style) == ("compose", "cdi")
    if names_only:
        names, missing, remarks = inject.cdi_names(facts, selection)
        text = emit.cdi_names(names, wanted) if names else ""
        return Answer(text, (*selection.missing, *missing), (*selection.remarks, *remarks, *emit.cdi_remarks(wanted)))
    injection = inject.NOTHING
    if wanted.format in _FOR_DOCKER and selection.gpus:
        try:
            injection = inject.injection(facts, selection, wanted)
        except (Refused, NoAnswer) as reason:
            # The nodes are what they are, whatever daemon `docker` reaches.
            if wanted.format != "json":
                raise
            injection = inject.NOTHING._replace(remarks=(str(reason),))
    told = (*selection.remarks, *injection.remarks, *emit.remarks(selection, injection, wanted))
    missing = (*selection.missing, *injection.missing)
    return Answer(emit.emit(selection, injection, wanted, (source, missing, told)), missing, told)


def survey(facts: Facts) -> None:
    """Ask all that any answer may need and drop the answers: for a snapshot, which has what was asked and nothing else."""
    for form in ("json", "cdi"):
        try:
            answer(facts, Request(("all",), PURPOSES, form, ""), "")
        except (Refused, NoAnswer):
            continue
