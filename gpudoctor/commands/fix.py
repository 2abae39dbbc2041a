"""The commands `fix`, `undo` and `history`, without the command line's options: what they do, show and return."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gpudoctor.facts import Facts
    from gpudoctor.fix.apply import Done, Hands
    from gpudoctor.fix.journal import Entry
    from gpudoctor.host import Host
    from gpudoctor.model import Plan, Rule, Wishes
    from gpudoctor.report.text import Line

# Exit codes of fix and undo (docs/design.md).
DONE, STAYS, USAGE, NOT_ALLOWED, UNWRITTEN = range(5)


class Asked(NamedTuple):
    """What the user asked for: the rules (``named`` one by one, or all), the wishes, and ``again``, the command that applies it."""

    rules: Sequence[Rule]
    wishes: Wishes
    named: bool
    allow_restart: bool
    again: str


class Screen(NamedTuple):
    """How to reach the user: standard output, standard error, how lines are rendered, and who can be asked (None: nobody)."""

    write: Callable[[str], None]
    complain: Callable[[str], None]
    render: Callable[[Iterator[Line]], str]
    ask: Callable[[str], bool] | None
    as_json: bool


def planned(host: Host, asked: Asked) -> Plan:
    """Return the plan for a host. Hints are only mended where they are asked for by name."""
    from gpudoctor.fix import plan

    return plan.make(host, asked.rules, asked.wishes, named=asked.named)


def shown(plan: Plan, asked: Asked, source: str, *, as_json: bool, render: Callable[[Iterator[Line]], str]) -> str:
    """Return a plan as it is printed."""
    from gpudoctor.report import plan as report

    if as_json:
        return report.as_json(source, plan, None) + "\n"
    return render(report.lines(plan, apply_with=asked.again))


def code(plan: Plan) -> int:
    """Return the exit code of a plan that is only shown: whether there is something to do, or left undone."""
    from gpudoctor.report import plan as report

    return STAYS if plan.changes or plan.then or report.stays(plan) else DONE


def apply(reopen: Callable[[], Host], root: str | None, asked: Asked, screen: Screen) -> int:
    """Plan under the host's lock, ask for consent, carry out, and say what came of it; returns the exit code."""
    from gpudoctor.fix import session

    using = session.hands(root)
    # Where there is nothing to do, not even a journal is made.
    if not using.journal.exists() and not _to_do(plan := planned(reopen(), asked)):
        return _nothing(plan, root, asked, screen)
    return _alone(using, screen, lambda _: _apply(reopen, root, asked, screen, using))


def _alone(using: Hands, screen: Screen, work: Callable[[bool], int]) -> int:
    """Do something under the host's lock and return its exit code; ``work`` is told whether an interrupted fix was taken back first."""
    from gpudoctor.fix import session
    from gpudoctor.fix.journal import Locked
    from gpudoctor.fix.write import NotWritten
    from gpudoctor.report import plan as report

    try:
        with session.locked(using) as interrupted:
            for done in interrupted:
                screen.complain(report.recovered(done))
            return work(bool(interrupted))
    except Locked as locked:
        screen.complain(str(locked))
        return NOT_ALLOWED
    except NotWritten as refused:
        screen.complain(f"nothing was changed: {refused}")
        return NOT_ALLOWED if refused.needs_root else UNWRITTEN


def _apply(reopen: Callable[[], Host], root: str | None, asked: Asked, screen: Screen, using: Hands) -> int:
    from gpudoctor.fix import session
    from gpudoctor.report import plan as report

    plan = planned(reopen(), asked)
    if not _to_do(plan):
        return _nothing(plan, root, asked, screen)
    if not screen.as_json:
        screen.write(screen.render(report.lines(plan, apply_with="")))
    if not _consent(screen, "Apply this?"):
        return NOT_ALLOWED
    done = session.carry_out(using, reopen, plan, allow_restart=asked.allow_restart)
    if screen.as_json:
        screen.write(report.as_json(root or "live", plan, done) + "\n")
    else:
        screen.write(screen.render(report.result(done, mounted=root is not None)))
    if done.problem:
        return _failed(done)
    if root is None and any(step.safety == "DISRUPTIVE" for step in done.left):
        return NOT_ALLOWED
    return _left_over(plan, asked)


def _to_do(plan: Plan) -> bool:
    return bool(plan.changes or plan.then)


def _nothing(plan: Plan, root: str | None, asked: Asked, screen: Screen) -> int:
    screen.write(shown(plan, asked, root or "live", as_json=screen.as_json, render=screen.render))
    return _left_over(plan, asked)


def _left_over(plan: Plan, asked: Asked) -> int:
    from gpudoctor.report import plan as report

    if any(each.expected == "forcible" for each in plan.outcomes) and not asked.wishes.force:
        return NOT_ALLOWED
    return STAYS if report.stays(plan) else DONE


def _failed(done: Done) -> int:
    return UNWRITTEN if done.unwritten else STAYS


def undo(name: str | None, root: str | None, screen: Screen, *, allow_restart: bool) -> int:
    """Take back one entry of the journal, the last fix where ``name`` is None; returns the exit code."""
    from gpudoctor.fix import session

    using = session.hands(root)
    if not using.journal.exists():
        screen.complain("nothing was ever changed here by gpudoctor fix")
        return USAGE if name is not None else DONE
    return _alone(
        using,
        screen,
        lambda interrupted: _undo(name, root, screen, using, interrupted=interrupted, allow_restart=allow_restart),
    )


def _undo(name: str | None, root: str | None, screen: Screen, using: Hands, *, interrupted: bool, allow_restart: bool) -> int:
    from gpudoctor.fix import apply as work
    from gpudoctor.fix import session
    from gpudoctor.report import plan as report

    if interrupted and name is None:
        return DONE
    entry = _entry(name, using, screen)
    if entry is None:
        return USAGE if name is not None else DONE
    apart = work.diverged(using, entry)
    if apart:
        screen.write(screen.render(report.apart(entry, apart)))
        return STAYS
    screen.write(screen.render(report.lines(work.backwards(entry), apply_with="")))
    if not _consent(screen, f"Take back {entry.id}?"):
        return NOT_ALLOWED
    done = session.take_back(using, entry, allow_restart=allow_restart)
    screen.write(screen.render(report.result(done, mounted=root is not None, undone=entry.id)))
    if done.problem:
        return _failed(done)
    return NOT_ALLOWED if root is None and any(step.safety == "DISRUPTIVE" for step in done.left) else DONE


def _entry(name: str | None, using: Hands, screen: Screen) -> Entry | None:
    from gpudoctor.fix import apply as work
    from gpudoctor.fix.journal import in_force

    if name is None:
        entry = work.latest(using.journal)
        if entry is None:
            screen.complain("there is no fix in force that could be taken back")
        return entry
    entries = using.journal.entries()
    entry = next((each for each in entries if each.id == name), None)
    if entry is None:
        screen.complain(f"no entry is called {name}; `gpudoctor history` lists them")
    elif name not in in_force(entries):
        screen.complain(f"{name} is not in force: it is {'taken back already' if entry.state == 'done' else entry.state}")
        return None
    return entry


class Composed(NamedTuple):
    """A Compose file to be changed: its path as given, the services (all of its services where there is one), the style or ``auto``."""

    path: str
    services: tuple[str, ...]
    style: str
    again: str


COMPOSE_STYLES = ("auto", "devices", "reservation", "gpus", "cdi")


def compose_plan(facts: Facts, asked: Composed) -> tuple[Plan, tuple[str, ...]]:
    """Return the plan that gives services of a Compose file their GPU, and what has to be said beside it.

    Raises ValueError with one sentence where the file or a service is not there, or the GPU cannot be had in this style on this host;
    Unreadable, Malformed and Unsafe where the file cannot be read or edited; NoAnswer where the host does not say enough.
    """
    import os

    from gpudoctor.commands.given import read_named
    from gpudoctor.fix import plan
    from gpudoctor.formats.edit import compose as editor

    path = os.path.realpath(asked.path)
    before = read_named(path)
    known = editor.services(before)
    services = asked.services or known
    if len(services) > 1 and not asked.services:
        raise ValueError(f"{asked.path} has several services: say by --service which of them wants a GPU ({', '.join(known)})")
    keys, remarks = _compose_keys(facts, asked.style)
    after = before
    for service in services:
        after = editor.give(after, service, keys)
    return plan.compose(path, before, after), remarks


def _compose_keys(facts: Facts, style: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the keys of a service that give it this host's GPUs, and remarks; the first style that this host serves for ``auto``."""
    import yaml

    from gpudoctor import device_args

    refusals = []
    for each in ("reservation", "cdi", "devices") if style == "auto" else (style,):
        try:
            answer = device_args.answer(facts, device_args.request("all", "compute", "compose", each), "live")
        except device_args.Refused as refused:
            refusals.append(str(refused))
            continue
        if answer.missing:
            refusals += [f"{missing.what} is missing: {missing.why}; run: {missing.command}" for missing in answer.missing]
            continue
        keys = yaml.safe_load(answer.text)
        return keys, answer.remarks
    raise ValueError(refusals[0])


def compose(reopen: Callable[[], Host], asked: Composed, screen: Screen, *, do_it: bool, source: str) -> int:
    """Plan, and with ``do_it`` make, the change of a Compose file; returns the exit code."""
    from gpudoctor.commands.given import Unreadable
    from gpudoctor.facts import Facts
    from gpudoctor.fix import session
    from gpudoctor.formats import Malformed
    from gpudoctor.formats.edit import Unsafe
    from gpudoctor.host import NoAnswer
    from gpudoctor.report import plan as report

    try:
        plan, remarks = compose_plan(Facts(reopen()), asked)
    except Unreadable as unreadable:
        screen.complain(str(unreadable))
        return USAGE
    except Malformed as malformed:
        screen.complain(f"{asked.path} is not edited: {malformed}")
        return USAGE
    except Unsafe as unsafe:
        screen.complain(f"{asked.path} is not edited: {unsafe}")
        return STAYS
    except ValueError as wrong:
        screen.complain(str(wrong))
        return STAYS
    except NoAnswer as missed:
        screen.complain(f"cannot tell: {missed}")
        return NOT_ALLOWED
    for remark in remarks:
        screen.complain(remark)
    if not do_it or not plan.changes:
        screen.write(
            report.as_json(source, plan, None) + "\n"
            if screen.as_json
            else screen.render(report.lines(plan, apply_with="" if do_it else asked.again))
        )
        return STAYS if plan.changes else DONE
    if not screen.as_json:
        screen.write(screen.render(report.lines(plan, apply_with="")))
    if not _consent(screen, "Apply this?"):
        return NOT_ALLOWED
    using = session.hands(None)

    def work(_: bool) -> int:  # noqa: FBT001 - as every work under the lock is called
        done = session.compose(using, plan)
        if screen.as_json:
            screen.write(report.as_json(source, plan, done) + "\n")
        else:
            screen.write(screen.render(report.result(done, mounted=False)))
        return _failed(done) if done.problem else DONE

    return _alone(using, screen, work)


def history(root: str | None, screen: Screen) -> int:
    """Print the journal; returns the exit code."""
    from gpudoctor.fix import session
    from gpudoctor.fix.write import NotWritten
    from gpudoctor.report import plan as report

    journal = session.hands(root).journal
    try:
        entries, damaged = journal.entries(), journal.damaged()
    except NotWritten as refused:
        screen.complain(f"cannot be read: {refused}")
        return NOT_ALLOWED
    screen.write(report.history_json(entries) + "\n" if screen.as_json else screen.render(report.history(entries, damaged)))
    return DONE


def _consent(screen: Screen, question: str) -> bool:
    if screen.ask is None:
        screen.complain("nobody can be asked here; add --yes to do it")
        return False
    if screen.ask(question):
        return True
    screen.complain("nothing was changed")
    return False
