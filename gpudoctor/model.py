"""The values that everybody passes: what a rule is, what it finds, and what mends it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gpudoctor.facts import Facts

    Steps = Iterator["Edit | Then"]

Severity = Literal["error", "warning", "hint"]
"""error: a GPU container cannot work, or is unsafe; warning: works by luck or will break; hint: worth knowing."""

Safety = Literal["SAFE", "DISRUPTIVE", "SHOWN"]
"""SAFE: files only; DISRUPTIVE: restarts a service or needs a reboot; SHOWN: never applied by us, only printed."""

Layer = Literal[
    "platform",
    "gpu",
    "module",
    "driver",
    "libraries",
    "nodes",
    "uvm",
    "fabric",
    "daemon",
    "toolkit",
    "runtime",
    "cdi",
    "container",
]
"""What a GPU container stands on, from the bottom to the top. A finding may take a layer away (``breaks``) or presuppose one
(``needs``): a finding that needs what another one breaks merely follows from it and is folded under it."""

LAYERS: tuple[Layer, ...] = get_args(Layer)

Input = Literal["", "text", "compose", "container", "image"]
"""What a rule has to be given to find anything: nothing but a host, or an error text, a Compose file, a container, an image."""


class Where(NamedTuple):
    """A place on the host: a path, a command or a variable, and a 1-based line where there is one."""

    path: str
    line: int | None = None

    def __str__(self) -> str:
        """Return ``path`` or ``path:line``."""
        return self.path if self.line is None else f"{self.path}:{self.line}"


class Evidence(NamedTuple):
    """How we know: the place that was looked at, and what it says."""

    where: Where
    says: str

    def __str__(self) -> str:
        """Return ``path:line: what it says``."""
        return f"{self.where}: {self.says}"


class Cure(NamedTuple):
    """What mends a finding on this host: one sentence, the exact commands for this distribution, and what they risk."""

    safety: Safety
    summary: str
    commands: tuple[str, ...] = ()
    risk: str = ""


class Finding(NamedTuple):
    """Something wrong, and how we know.

    A rule gives ``title`` (a few words), ``text`` (one or two sentences: what is wrong and why it hurts), the ``evidence`` and the
    ``cure``; ``severity``, ``breaks`` and ``needs`` only where they differ from the rule's own. The engine fills in the rest.
    """

    title: str
    text: str
    evidence: tuple[Evidence, ...]
    cure: Cure
    severity: Severity | None = None
    breaks: tuple[Layer, ...] | None = None
    needs: tuple[Layer, ...] | None = None
    rule: str = ""
    because_of: str | None = None
    fixable: bool = False
    """Whether ``gpudoctor fix`` has a cure of its own for it."""

    @property
    def where(self) -> Where:
        """The place to look at first: that of the first evidence."""
        return self.evidence[0].where


class Edit(NamedTuple):
    """One file of the host as it shall be: ``after`` None removes it; ``mode`` None keeps the mode (0644 for a new file).

    ``path`` is the host's own path; a link there is kept, and what it leads to is changed.
    """

    path: str
    after: bytes | None
    mode: int | None = None


class Then(NamedTuple):
    """A command that puts the edits into force, in the order given.

    ``undo`` is the command that takes it back once the files are restored (often the same one), None where nothing has to be.
    ``SHOWN`` ones are never run, ``DISRUPTIVE`` ones only where the user allows restarts.
    """

    argv: tuple[str, ...]
    safety: Safety
    why: str
    undo: tuple[str, ...] | None = None


REBOOT = Then(("reboot",), "SHOWN", "The change takes effect at the next boot.")
"""The reboot that a fix waits for: announced, never done."""


class Wishes(NamedTuple):
    """How the user wants a fix to be made: ``force`` for what is known to be harmful, ``grub_main`` to edit GRUB's main file."""

    force: bool = False
    grub_main: bool = False


class Refused(Exception):  # noqa: N818 - a result, not an error
    """Raised by a fix that would be wrong, or cannot be made safely, on this host: its text says why, in one sentence.

    ``forcible`` where the user may insist with ``--force``.
    """

    def __init__(self, why: str, *, forcible: bool = False) -> None:
        """Keep the reason."""
        super().__init__(why)
        self.forcible = forcible


class NotApplicable(Exception):  # noqa: N818 - a result, not an error
    """Raised by a rule that does not apply to this host; its text says why, in one sentence."""


class Rule(NamedTuple):
    """One failure mode. ``name`` is ``area/slug``; ``rank`` orders findings of the same layer (1 is the commonest)."""

    name: str
    rank: int
    severity: Severity
    title: str
    check: Callable[[Facts], Iterator[Finding]]
    breaks: tuple[Layer, ...] = ()
    needs: tuple[Layer, ...] = ()
    follows: tuple[str, ...] = ()
    """Names of rules whose finding explains one of this rule, where layers do not say it."""
    fix: Callable[[Facts, Wishes], Steps] | None = None
    """Yields the edits, and the commands after them, that cure what ``check`` finds; raises Refused where they would be wrong."""
    signs: tuple[str, ...] = ()
    """How the failure looks in an error text or a log, in the little language of ``gpudoctor.explain.match``."""
    needs_input: Input = ""

    @property
    def slug(self) -> str:
        """The failure mode's own name, without its area."""
        return self.name.partition("/")[2]

    @property
    def area(self) -> str:
        """The layer of the host it belongs to."""
        return self.name.partition("/")[0]


class Untold(NamedTuple):
    """A rule that could not tell: what it asked, and why there was no answer."""

    rule: str
    reason: Literal["denied", "slow", "unseen"]
    text: str
    severity: Severity


class Note(NamedTuple):
    """A rule and one sentence about it: why it does not apply, or how it crashed."""

    rule: str
    text: str


class Change(NamedTuple):
    """One file before and after a plan: None is no file. ``target`` is the file itself where ``path`` is or passes a link."""

    path: str
    target: str
    before: bytes | None
    after: bytes | None
    mode_before: int | None
    mode_after: int | None


Expected = Literal["cured", "restart", "reboot", "later", "refused", "forcible", "untold", "shown", "remains"]
"""What a plan makes of a finding: ``cured`` by its files and safe commands; ``restart``: cured once Docker restarts; ``reboot``: cured
at the next boot, ``later``: expected once its commands ran, which files alone cannot show; ``refused`` or ``forcible`` (with --force):
the cure is wrong here; ``untold``: cannot tell; ``shown``: never ours to do; ``remains``: the cure would not help or would harm."""


class Outcome(NamedTuple):
    """What a plan makes of one finding, and one sentence why."""

    finding: Finding
    expected: Expected
    text: str = ""


class Plan(NamedTuple):
    """What `fix` would do: the changed files, the commands after them, what becomes of each finding, whom a restart hits.

    ``found`` are the rules that find something on the host as it is, ``new`` what comes to light.
    """

    changes: tuple[Change, ...]
    then: tuple[Then, ...]
    outcomes: tuple[Outcome, ...]
    hits: tuple[str, ...]
    notes: tuple[str, ...]
    new: tuple[Finding, ...]
    found: frozenset[str] = frozenset()


class Diagnosis(NamedTuple):
    """What came of putting rules to one host; findings are in the order to mend them."""

    findings: tuple[Finding, ...]
    untold: tuple[Untold, ...]
    not_applicable: tuple[Note, ...]
    crashed: tuple[Note, ...]
    passed: tuple[str, ...]

    @property
    def unseen(self) -> int:
        """How many rules this kind of host (a mounted root, an older snapshot) could not answer at all."""
        return sum(each.reason == "unseen" for each in self.untold)

    @property
    def saw_little(self) -> bool:
        """Whether no more was looked at than not, so that finding nothing means nothing.

        A disk without its /proc and /sys lets the few rules pass that look at files alone; that is no look at the host. A rule that
        does not apply was looked at, but does not outweigh one that could not be.
        """
        if self.findings:
            return False
        looked = len(self.passed) if self.unseen else len(self.passed) + len(self.not_applicable)
        return looked <= self.unseen
