"""One use of `fix --apply` or `undo` on this machine or a mounted root: the lock, what was interrupted, the plan, and the check after."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from gpudoctor import engine
from gpudoctor.facts import Facts
from gpudoctor.fix import apply
from gpudoctor.fix.apply import COMMAND_DEADLINE, Done, Hands
from gpudoctor.fix.journal import Journal
from gpudoctor.fix.write import Disk
from gpudoctor.host.live import run_here

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gpudoctor.fix.journal import Entry
    from gpudoctor.host import Host, Ran
    from gpudoctor.model import Plan, Then

    OpenHost = Callable[[], Host]


def hands(root: str | None) -> Hands:
    """Return what changes this machine, or a host mounted at ``root``, on which no command is run."""
    return Hands(Disk(root or ""), Journal(root or ""), None if root is not None else _run)


def _run(argv: tuple[str, ...]) -> Ran:
    return run_here(argv, COMMAND_DEADLINE)


@contextmanager
def locked(using: Hands) -> Iterator[tuple[Done, ...]]:
    """Hold the host's lock; the value says what was taken back first, of a fix that was interrupted.

    Raises Locked where another gpudoctor has it, NotWritten where the journal's folder cannot be made.
    """
    using.journal.lock()
    try:
        yield apply.recover(using)
    finally:
        using.journal.unlock()


def carry_out(using: Hands, reopen: OpenHost, wanted: Plan, *, allow_restart: bool) -> Done:
    """Carry out a plan, and ask the host again (``reopen`` gives it anew) whether it helped and broke nothing."""
    names = tuple(each.finding.rule for each in wanted.outcomes if each.expected in {"cured", "restart", "reboot", "later"})

    def verify(ran: tuple[Then, ...]) -> str:
        return still_wrong(reopen(), wanted, ran)

    return apply.execute(using, wanted, names, allow_restart=allow_restart, verify=verify)


def still_wrong(host: Host, wanted: Plan, ran: tuple[Then, ...]) -> str:
    """Say what a plan promised and the host does not show, or what it broke; "" where all is as promised."""
    findings = {each.rule: each for each in engine.diagnose(Facts(host), engine.all_rules()).findings}
    everything = all(step in ran for step in wanted.then if step.safety != "SHOWN")
    due = {"cured", "restart", "later"} if everything else {"cured"}
    for outcome in wanted.outcomes:
        rule = outcome.finding.rule
        if outcome.expected in due and rule in findings:
            return f"{rule} is still found: {findings[rule].title} ({findings[rule].evidence[0]})"
    # The journal's own entry is still open while this is asked.
    announced = {each.rule for each in wanted.new} | {
        "host/waits-for-reboot",
        "docker/docker-not-restarted",
        "host/fix-interrupted",
    }
    for rule, finding in findings.items():
        if rule not in wanted.found and rule not in announced and finding.severity != "hint":
            return f"{rule} is found, which was not before: {finding.title} ({finding.evidence[0]})"
    return ""


def compose(using: Hands, wanted: Plan) -> Done:
    """Carry out the plan of a Compose file, which no rule of the host is about."""
    return apply.execute(using, wanted, (), allow_restart=False)


def take_back(using: Hands, entry: Entry, *, allow_restart: bool) -> Done:
    """Undo an entry whose files are all still what it left; its commands' own undo runs after."""
    back = apply.backwards(entry)
    return apply.execute(using, back, entry.rules, allow_restart=allow_restart, undoes=entry.id)
