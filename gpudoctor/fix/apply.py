"""A plan carried out, and taken back: the originals into the journal, the files into place, the commands, and the host asked again.

Whatever fails on the way takes everything back in reverse order. Killed at any instant, each file is the old or the new one and the
journal has an open entry, which ``recover`` takes back the next time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.fix.journal import Entry, Journal, Written, in_force
from gpudoctor.fix.validate import judge
from gpudoctor.fix.write import Disk, Found, NotWritten
from gpudoctor.host import Absent, Miss
from gpudoctor.model import Change, Plan, Then
from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gpudoctor.host import Ran

    Run = Callable[[tuple[str, ...]], Ran]

COMMAND_DEADLINE = 300.0  # seconds; an initramfs for several kernels takes minutes


class Hands(NamedTuple):
    """What changes a host: its disk, its journal, and what runs a command on it (None on a mounted root, where nothing is run)."""

    disk: Disk
    journal: Journal
    run: Run | None


class Done(NamedTuple):
    """What came of it. ``problem`` is "" where all went well, else one sentence; then ``restored`` and ``conflicts`` name files.

    ``judged`` are the tools that accepted the new files, ``ran`` the commands that ran, ``left`` those that are for the user.
    """

    id: str = ""
    problem: str = ""
    written: tuple[str, ...] = ()
    ran: tuple[Then, ...] = ()
    left: tuple[Then, ...] = ()
    judged: tuple[str, ...] = ()
    restored: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    step: str = ""
    unwritten: bool = False


class Diverged(NamedTuple):
    """A file that is no longer what a fix left: what it was before the fix, after it, and is now."""

    path: str
    before: bytes | None
    after: bytes | None
    now: bytes | None


class _FailedError(Exception):
    """A step of a transaction that did not work out: which, and one phrase why."""

    def __init__(self, step: str, why: str) -> None:
        super().__init__(step, why)
        self.step = step
        self.why = why


def execute(
    hands: Hands,
    plan: Plan,
    rules: Sequence[str],
    *,
    allow_restart: bool,
    verify: Callable[[tuple[Then, ...]], str] = lambda _: "",
    undoes: str = "",
) -> Done:
    """Carry a plan out. The journal's lock is held by the caller; ``verify`` gets the commands that ran, and says what is wrong after.

    A plan of which all is left to the user has no entry in the journal. Raises NotWritten where not even the journal could be written;
    then nothing was changed.
    """
    stale = _stale(hands.disk, plan.changes)
    if stale is not None:
        return Done(
            problem=f"Nothing was changed: {stale} is no longer what the plan saw; run the command again.", step="compare"
        )
    wanted, left = _commands(hands, plan.then, allow_restart=allow_restart)
    if not (plan.changes or wanted or undoes):
        # All is left to the user (a reboot): an entry would offer to take back what was never done, in place of the fix before it.
        return Done(left=left)
    entry = _entry(hands, plan, rules, wanted, left, undoes)
    journal = hands.journal
    with _uninterrupted() as interruption:
        journal.save(entry)
        try:
            judged = _place(hands, entry, interruption)
            entry = _command(hands, entry, interruption)
            interruption()
            _confirm(verify(entry.then))
            journal.save(entry._replace(state="done"))
        except (_FailedError, NotWritten) as failure:
            return _take_back(hands, entry.id, failure, left)
        journal.prune()
    return Done(entry.id, "", tuple(each.change.path for each in entry.written), entry.then, left, judged)


def recover(hands: Hands) -> tuple[Done, ...]:
    """Take back every entry that was interrupted; the journal's lock is held by the caller."""
    return tuple(_revert(hands, entry) for entry in hands.journal.entries() if entry.state == "open")


def diverged(hands: Hands, entry: Entry) -> tuple[Diverged, ...]:
    """Return the files of an entry that are no longer what it left."""
    apart = []
    for each in entry.written:
        change = each.change
        now = hands.disk.look(change.target)
        if _state(now) != (change.after, change.mode_after if change.after is not None else None):
            apart.append(Diverged(change.path, change.before, change.after, None if now is None else now.data))
    return tuple(apart)


def backwards(entry: Entry) -> Plan:
    """Return the plan that takes an entry back: each file as it was, then the commands that take the old state into force."""
    changes = tuple(
        Change(each.path, each.target, each.after, each.before, each.mode_after, each.mode_before)
        for each in (written.change for written in entry.written)
    )
    then = tuple(
        Then(step.undo, step.safety, step.why, step.argv) for step in (*entry.then, *entry.left) if step.undo is not None
    )
    return Plan(changes, then, (), (), (), ())


def latest(journal: Journal) -> Entry | None:
    """Return the newest fix that is in force, None where there is none."""
    entries = journal.entries()
    force = in_force(entries)
    return next((each for each in reversed(entries) if each.id in force and not each.undoes), None)


def _state(found: Found | None) -> tuple[bytes | None, int | None]:
    return (None, None) if found is None else (found.data, found.mode)


def _stale(disk: Disk, changes: Sequence[Change]) -> str | None:
    """Return the first file that is not what the plan saw."""
    for change in changes:
        now = _state(disk.look(change.target))
        # A plan for a Compose file does not know the mode.
        if now != (change.before, change.mode_before if change.mode_before is not None else now[1]):
            return change.path
    return None


def _commands(hands: Hands, then: Sequence[Then], *, allow_restart: bool) -> tuple[tuple[Then, ...], tuple[Then, ...]]:
    allowed = {"SAFE", "DISRUPTIVE"} if allow_restart else {"SAFE"}
    run = tuple(step for step in then if hands.run is not None and step.safety in allowed)
    return run, tuple(step for step in then if step not in run)


def _entry(hands: Hands, plan: Plan, rules: Sequence[str], then: tuple[Then, ...], left: tuple[Then, ...], undoes: str) -> Entry:
    import time

    name = hands.journal.new_id()
    written: list[Written] = []
    folders: list[str] = []
    for change in plan.changes:
        now = hands.disk.look(change.target)
        mode = change.mode_before if change.mode_before is not None or now is None else now.mode
        known = change._replace(mode_before=mode, mode_after=_wanted_mode(change, mode))
        temporary = f".{change.target.rpartition('/')[2]}.gpudoctor-{name}"
        written.append(Written(known, temporary, None if now is None else (now.uid, now.gid)))
        if change.after is not None:
            folders += [each for each in hands.disk.missing_folders(change.target) if each not in folders]
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return Entry(name, when, "open", tuple(rules), tuple(written), tuple(folders), then, 0, undoes, left)


def _wanted_mode(change: Change, mode: int | None) -> int | None:
    if change.after is None:
        return None
    return change.mode_after if change.mode_after is not None else mode


def _place(hands: Hands, entry: Entry, interruption: Callable[[], None]) -> tuple[str, ...]:
    """Write all files beside the old ones, let the tools judge them, then put each into place; return the tools that judged."""
    disk = hands.disk
    disk.make_folders(entry.folders)
    for each in entry.written:
        interruption()
        if each.change.after is not None:
            disk.stage(each.change.target, each.temporary, each.change.after, each.change.mode_after or 0o644, each.owner)
    judged = []
    for each in entry.written:
        interruption()
        if each.change.after is None or hands.run is None or entry.undoes:
            continue
        folder = each.change.target.rpartition("/")[0]
        said = judge(each.change.target, f"{folder}/{each.temporary}", hands.run, existed=each.change.before is not None)
        if said.problem:
            raise _FailedError(f"{said.tool} on the new {each.change.path}", said.problem)
        if said.tool and said.tool not in judged:
            judged.append(said.tool)
    for each in entry.written:
        interruption()
        disk.commit(each.change.target, None if each.change.after is None else each.temporary, each.change.before)
    return tuple(judged)


def _command(hands: Hands, entry: Entry, interruption: Callable[[], None]) -> Entry:
    for number, step in enumerate(entry.then, 1):
        interruption()
        entry = entry._replace(begun=number)
        hands.journal.save(entry)
        problem = _ran(hands, step.argv)
        if problem:
            raise _FailedError(" ".join(step.argv), problem)
    return entry


def _confirm(wrong: str) -> None:
    if wrong:
        raise _FailedError("asking the host again", wrong)


def _ran(hands: Hands, argv: tuple[str, ...]) -> str:
    """Run one command and return what is wrong, "" for nothing."""
    if hands.run is None:
        return "no command is run on a mounted root"
    try:
        ran = hands.run(argv)
    except Absent:
        return f"{argv[0]} is not installed"
    except Miss as missed:
        return str(missed)
    if ran.rc == 0:
        return ""
    words = [line for line in (ran.err or ran.out).decode("utf-8", "replace").splitlines() if line.strip()]
    return f"exit code {ran.rc}{': ' if words else ''}{' '.join(words[-1:])[:300]}"


def _take_back(hands: Hands, name: str, failure: _FailedError | NotWritten, left: tuple[Then, ...]) -> Done:
    """Revert an entry after a failure, as far as the journal says that it got, and say what was restored."""
    step, why = (failure.step, failure.why) if isinstance(failure, _FailedError) else (f"writing {failure.path}", failure.why)
    unwritten = isinstance(failure, NotWritten) and not failure.changed
    try:
        known = sorted((each for each in hands.journal.entries() if each.id == name), key=lambda each: each.state != "open")
        back = _revert(hands, known[0])
    except NotWritten as second:
        return Done(
            problem=f"{why}; taking it back failed as well ({second}); `gpudoctor undo` tries again.", step=step, unwritten=True
        )
    return back._replace(problem=f"{why}.", step=step, unwritten=unwritten, left=left if not back.conflicts else ())


def _revert(hands: Hands, entry: Entry) -> Done:
    """Put the originals of an open entry back, where nobody else changed the file since, and close the entry."""
    disk = hands.disk
    restored, conflicts = [], []
    for each in reversed(entry.written):
        change = each.change
        disk.discard(change.target, each.temporary)
        now = disk.look(change.target)
        if _state(now) == (change.before, change.mode_before):
            continue
        if _state(now) != (change.after, change.mode_after):
            conflicts.append(change.path)
            continue
        if change.before is not None:
            disk.stage(change.target, each.temporary, change.before, change.mode_before or 0o644, each.owner)
        disk.commit(change.target, None if change.before is None else each.temporary, change.after)
        restored.append(change.path)
    disk.remove_folders(entry.folders)
    failed = []
    for step in reversed(entry.then[: entry.begun]):
        problem = _ran(hands, step.undo) if step.undo is not None else ""
        if problem and step.undo is not None:
            failed.append(f"{' '.join(step.undo)} ({problem})")
    hands.journal.save(entry._replace(state="conflict" if conflicts else "reverted"))
    return Done(entry.id, restored=tuple(restored), conflicts=(*conflicts, *failed))


class _uninterrupted:  # noqa: N801 - used as a statement
    """Signals that would end the process wait for a place where everything can be taken back: the value is called at such places."""

    def __init__(self) -> None:
        self._came = 0
        self._old: dict[int, object] = {}

    def __enter__(self) -> Callable[[], None]:
        import signal

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._old[number] = signal.signal(number, self._note)
        return self._check

    def __exit__(self, *_: object) -> None:
        import signal

        for number, handler in self._old.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, _: object) -> None:
        self._came = number

    def _check(self) -> None:
        if self._came:
            import signal

            raise _FailedError("waiting", f"interrupted by {signal.Signals(self._came).name}")
