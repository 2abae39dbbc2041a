"""What a fix would do, computed on an overlay of the host: nothing is written here.

Findings are taken in the order to mend them. Each fix sees the host as the fixes before it would leave it, and is only kept where the
rules, asked again on that overlay, say that it cures what it is for and breaks nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor import engine
from gpudoctor.facts import Facts
from gpudoctor.fix.forecast import forecast
from gpudoctor.formats import Malformed
from gpudoctor.formats.edit import Unsafe
from gpudoctor.host import NoAnswer
from gpudoctor.host.book import Overlay
from gpudoctor.model import REBOOT, Change, Edit, Outcome, Plan, Refused, Then
from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpudoctor.host import Host
    from gpudoctor.model import Diagnosis, Expected, Finding, Rule, Wishes

_NEW_MODE = 0o644
_HELPS = frozenset({"cured", "restart", "reboot", "later", "forcible"})
_RANK = {"error": 0, "warning": 1, "hint": 2, None: 0}


class Draft(NamedTuple):
    """The edits so far, by path, and the commands after them."""

    edits: dict[str, Edit]
    then: tuple[Then, ...]

    def overlay(self, host: Host) -> Overlay:
        """Return the host with the edits made, commands not yet run."""
        files: dict[str, bytes | None] = {}
        modes: dict[str, int] = {}
        for path, edit in self.edits.items():
            for each in {path, target_of(host, path)}:
                files[each] = edit.after
                if edit.mode is not None:
                    modes[each] = edit.mode
        return Overlay(host, files, modes)

    def with_steps(self, steps: Sequence[Edit | Then]) -> Draft:
        """Return the draft with one more fix: its edits replace earlier ones of the same file, a command is run once, at the end."""
        edits = dict(self.edits)
        for step in steps:
            if isinstance(step, Edit):
                known = edits.get(step.path)
                keep = known is not None and step.mode is None
                edits[step.path] = step._replace(mode=known.mode) if keep and known is not None else step
        argvs = {step.argv for step in steps if isinstance(step, Then)}
        then = [each for each in self.then if each.argv not in argvs]
        return Draft(edits, (*then, *(step for step in steps if isinstance(step, Then))))


def make(host: Host, rules: Sequence[Rule], wishes: Wishes, *, named: bool = False) -> Plan:
    """Return the plan that cures what ``rules`` find on this host, as far as their fixes can; other rules guard it.

    Only where the rules were ``named`` one by one are hints mended, second-best cures tried, and rules without a finding answered.
    """
    everything = engine.all_rules()
    known = {rule.name: rule for rule in everything}
    wanted = {rule.name for rule in rules}
    facts = Facts(host)
    before = engine.diagnose(facts, everything)
    draft = Draft({}, ())
    now = before
    outcomes: list[Outcome] = []
    handled: set[str] = set()
    # A cure may bring a lesser finding to light, which is mended in its turn.
    while (finding := _next(before, now, wanted - handled, named=named)) is not None:
        handled.add(finding.rule)
        if finding.cure.safety == "SHOWN" and known[finding.rule].fix is not None and not named:
            tried = _mend(facts, known[finding.rule], finding, draft, now, wishes)[0].expected
            other = f" (gpudoctor fix {finding.rule} plans another cure, which is not the best one.)" if tried in _HELPS else ""
            outcomes.append(Outcome(finding, "shown", f"{finding.cure.summary}{other}"))
            continue
        outcome, draft, now = _mend(facts, known[finding.rule], finding, draft, now, wishes)
        outcomes.append(outcome)
    plan = _plan(facts, before, now, draft, outcomes)
    return plan._replace(notes=(*(_answers(before, wanted) if named else _unlooked(before, wanted)), *plan.notes))


def _next(before: Diagnosis, now: Diagnosis, wanted: set[str], *, named: bool) -> Finding | None:
    """Return the next finding to mend: those that were there first, then those that came to light; hints only where named."""
    for each in (*before.findings, *now.findings):
        if each.rule in wanted and (named or each.severity != "hint"):
            return each
    return None


def compose(path: str, before: bytes, after: bytes) -> Plan:
    """Return the plan that changes one Compose file, which no rule of the host is about."""
    changes = () if before == after else (Change(path, path, before, after, None, None),)
    return Plan(changes, (), (), (), (), ())


def _mend(
    facts: Facts, rule: Rule, finding: Finding, draft: Draft, now: Diagnosis, wishes: Wishes
) -> tuple[Outcome, Draft, Diagnosis]:
    """Try one rule's fix on top of the draft; return what becomes of the finding, the draft, and the findings after it."""
    if rule.fix is None:
        return Outcome(finding, "shown"), draft, now
    if rule.name not in {each.rule for each in now.findings}:
        return Outcome(finding, "cured", "A change made for another finding cures it as well."), draft, now
    try:
        steps = tuple(rule.fix(Facts(_next_host(facts, draft)), wishes))
    except Refused as refused:
        return Outcome(finding, "forcible" if refused.forcible else "refused", str(refused)), draft, now
    except NoAnswer as missed:
        return Outcome(finding, "untold", f"Cannot tell: {missed}."), draft, now
    except (Malformed, Unsafe) as refusal:
        return Outcome(finding, "refused", f"{getattr(refusal, 'path', '') or 'The file'} is not edited: {refusal}."), draft, now
    except Exception as error:  # noqa: BLE001 - a broken fix is a result, not a dead program
        return Outcome(finding, "remains", f"The fix crashed, please report it: {type(error).__name__}: {error}."), draft, now
    if not steps:
        return Outcome(finding, "shown"), draft, now
    linked = next((path for path in _removed(steps) if _is_link(facts.host, path)), None)
    if linked is not None:
        return Outcome(finding, "refused", f"{linked} is a link, which is not for a program to remove."), draft, now
    trial = draft.with_steps(steps)
    then = engine.diagnose(Facts(_next_host(facts, trial)), engine.all_rules())
    found = {each.rule for each in then.findings}
    already = {each.rule for each in now.findings}
    # What was hidden behind an error may come to light as a warning, and is announced; as bad a finding as the cured one is harm.
    harm = [
        each
        for each in then.findings
        if each.rule not in already and _RANK[each.severity] <= _RANK[finding.severity] and not _announces(each, trial)
    ]
    if harm and not wishes.force:
        return Outcome(finding, "remains", f"The cure would cause another finding: {harm[0].title} [{harm[0].rule}]."), draft, now
    outcome = _expected(rule.name, found, steps)
    if outcome is None:
        return Outcome(finding, "remains", "Tried on a copy of this host, the cure does not help."), draft, now
    return Outcome(finding, outcome), trial, then


def _expected(rule: str, found: set[str], steps: Sequence[Edit | Then]) -> Expected | None:
    """Say when a fix that was tried helps; None where it does not."""
    commands = [step for step in steps if isinstance(step, Then)]
    if rule not in found:
        if REBOOT in commands:
            return "reboot"
        return "restart" if any(step.safety == "DISRUPTIVE" for step in commands) else "cured"
    # What only a command brings about (a node made, a module loaded, a unit started) does not show on a copy of the files.
    if REBOOT in commands:
        return "reboot"
    return "later" if commands else None


def _announces(finding: Finding, draft: Draft) -> bool:
    """Say whether a new finding is only the reboot that the draft announces."""
    return finding.rule == "host/waits-for-reboot" and REBOOT in draft.then


def _next_host(facts: Facts, draft: Draft) -> Host:
    return forecast(facts, draft.overlay(facts.host), draft.then) if draft.edits or draft.then else facts.host


def _removed(steps: Sequence[Edit | Then]) -> list[str]:
    return [step.path for step in steps if isinstance(step, Edit) and step.after is None]


def _is_link(host: Host, path: str) -> bool:
    stat = host.lstat(path)
    return stat is not None and stat.kind == "link"


def target_of(host: Host, path: str) -> str:
    """Return the file that an edit of ``path`` changes: links in its folders and at its end are followed, dangling ones too.

    Raises Refused where links lead in a circle.
    """
    stat = host.lstat(path)
    for _ in range(40):
        folder, _, name = path.rpartition("/")
        at = folder
        rest: list[str] = []
        # The deepest folder that is there decides; what is below it is to be made.
        while at and not host.exists(at):
            at, _, missing = at.rpartition("/")
            rest.insert(0, missing)
        real = host.real(at) if at else ""
        path = "/".join(["" if real == "/" else real, *rest, name])
        stat = host.lstat(path)
        if stat is None or stat.kind != "link" or stat.target is None:
            return path
        path = stat.target if stat.target.startswith("/") else f"{path.rpartition('/')[0]}/{stat.target}"
    raise Refused(f"{path} is a link that leads in a circle.")


def _answers(before: Diagnosis, wanted: set[str]) -> tuple[str, ...]:
    """Say of each rule that was asked for and found nothing why that is so."""
    notes = {note.rule: note.text for note in (*before.not_applicable, *before.crashed)}
    notes |= {each.rule: f"{each.text}." for each in before.untold}
    notes |= dict.fromkeys(before.passed, "This host does not have it.")
    return tuple(f"{rule}: {notes[rule]}" for rule in sorted(wanted & notes.keys()))


def _plan(facts: Facts, before: Diagnosis, after: Diagnosis, draft: Draft, outcomes: list[Outcome]) -> Plan:
    host = facts.host
    changes = []
    for path, edit in sorted(draft.edits.items()):
        target = target_of(host, path)
        stat = host.lstat(target)
        data = host.bytes(target) if stat is not None else None
        mode = stat.mode if stat is not None else None
        wanted = None if edit.after is None else edit.mode if edit.mode is not None else mode if mode is not None else _NEW_MODE
        if data != edit.after or (edit.mode is not None and edit.mode != mode):
            changes.append(Change(path, target, data, edit.after, mode, wanted))
    ordered = [*(each for each in draft.then if each != REBOOT), *(each for each in draft.then if each == REBOOT)]
    already = {each.rule for each in before.findings}
    new = tuple(each for each in after.findings if each.rule not in already and each.severity != "hint")
    return Plan(
        tuple(changes), tuple(ordered), tuple(outcomes), _hits(facts, draft), _notes(facts, changes), new, frozenset(already)
    )


def _unlooked(before: Diagnosis, wanted: set[str]) -> tuple[str, ...]:
    """Say what could not be looked at, so that an empty plan is not taken for a healthy host."""
    notes = []
    unseen = sum(each.reason == "unseen" and each.rule in wanted for each in before.untold)
    if unseen:
        notes.append(f"{unseen} rules could not be examined: this kind of host does not answer what they ask.")
    untold = [each for each in before.untold if each.reason != "unseen" and each.rule in wanted]
    if untold:
        way = "; run this with sudo" if any(each.reason == "denied" for each in untold) else ""
        notes.append(f"{len(untold)} rules could not tell, the first of them: {untold[0].text}{way}.")
    return tuple(notes)


def _hits(facts: Facts, draft: Draft) -> tuple[str, ...]:
    """Return the names of running containers that a restart of Docker in this draft would stop."""
    if not any(each.safety == "DISRUPTIVE" and "docker" in each.argv for each in draft.then):
        return ()
    docker = facts.docker
    try:
        if docker.config.value.get("live-restore") is True:
            return ()
        names = sorted(each.name for each in docker.known_containers if each.running)
        running = int((docker.info or {}).get("ContainersRunning") or 0)
    except NoAnswer as missed:
        return (f"all that run (which they are cannot be told: {missed})",)
    unnamed = running - len(names)
    return (*names, f"{unnamed} that could not be named") if unnamed > 0 else tuple(names)


def _notes(facts: Facts, changes: Sequence[Change]) -> tuple[str, ...]:
    """Say of each changed file what its owner, the package manager, will make of it."""
    notes = []
    if changes and facts.host.exists("/var/lib/dpkg/status"):
        try:
            status = facts.host.bytes("/var/lib/dpkg/status") or b""
            diversions = (facts.host.text("/var/lib/dpkg/diversions") or "").split("\n")
        except NoAnswer:
            return ()
        for change in changes:
            if f"\n {change.path} ".encode() in status:
                notes.append(
                    f"{change.path} is a conffile: at the next upgrade dpkg asks whether to keep it; answer with N to keep."
                )
            if change.path in diversions:
                notes.append(f"{change.path} is diverted (dpkg-divert): a package puts its own version elsewhere.")
    return tuple(notes)
