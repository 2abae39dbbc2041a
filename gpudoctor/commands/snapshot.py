"""`snapshot`: everything that the doctor, device-args and what was named beside them ask, redacted and packed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpudoctor.facts import Given
    from gpudoctor.host import Host


class Taken(NamedTuple):
    """A packed snapshot, what was taken out of it (one phrase each), and the names that images go by in it where they were changed."""

    packed: bytes
    redacted: tuple[str, ...]
    renamed: tuple[tuple[str, str], ...]
    remarks: tuple[str, ...]


def wanted(
    images: Sequence[str], dockerfile: str | None, containers: Sequence[str], *, all_containers: bool
) -> tuple[Given, ...]:
    """Return what is to be judged later, one each; raises ValueError with one sentence as ``given.read`` does."""
    from gpudoctor.commands import given

    found = [given.read(image, None) for image in dict.fromkeys(images)]
    if dockerfile is not None:
        found.append(given.read(None, dockerfile))
    # Each is asked for by name: `docker ps` may not list one that has stopped.
    if containers:
        found.append(given.read(None, None, containers))
    if all_containers:
        found.append(given.read(None, None, all_containers=True))
    return tuple(found)


def take(host: Host, judged: Sequence[Given]) -> Taken:
    """Ask a host all there is to ask; raises ValueError where the answers are too large for one snapshot.

    A Dockerfile itself is not in the snapshot: what it makes rules ask of the host is. Names of images that say where a registry is
    are changed; ``renamed`` tells how.
    """
    from contextlib import suppress

    from gpudoctor import device_args, engine
    from gpudoctor.commands import given, ps
    from gpudoctor.facts import Facts
    from gpudoctor.host import NoAnswer
    from gpudoctor.host import snapshot as tar
    from gpudoctor.host.book import Recorder
    from gpudoctor.host.redact import redact, renamed_images
    from gpudoctor.report.summary import summarize

    recorder = Recorder(host)
    facts = Facts(recorder)
    engine.diagnose(facts, engine.all_rules())
    summarize(facts)
    remarks: list[str] = []
    for each in judged:
        own = Facts(recorder, each)
        engine.diagnose(own, engine.rules_for(each))
        remarks.extend(given.remarks(own))
        if each.has("container"):
            ps.ask(own)
    device_args.survey(facts)
    with suppress(NoAnswer):
        # Which Compose there is matters to `doctor --compose` alone.
        _ = facts.composed.program
    answers, redacted = redact(recorder.answers)
    packed = tar.save(answers, {"taken": facts.platform.today or "unknown"})
    names = tuple(each.image for each in judged if each.image)
    return Taken(packed, redacted, renamed_images(recorder.answers, answers, names), tuple(remarks))
