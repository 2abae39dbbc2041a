"""A small host on disk and a plan for it, on which the writer is tried: one file edited, one made in a new folder, one removed."""

from __future__ import annotations

import os
from pathlib import Path

from gpudoctor.fix import apply
from gpudoctor.fix.apply import Hands
from gpudoctor.fix.journal import Journal
from gpudoctor.fix.write import Disk
from gpudoctor.host import Ran
from gpudoctor.model import Change, Plan, Then

OLD = {"/etc/a.conf": b"one\r\ntwo", "/etc/b/c.conf": None, "/etc/d.conf": b"gone soon\n"}
NEW = {"/etc/a.conf": b"one\r\nTWO", "/etc/b/c.conf": b"made\n", "/etc/d.conf": None}
TELL = Then(("tell", "new"), "SAFE", "The program reads its files anew.", ("tell", "old"))


def make_root(folder: Path) -> Path:
    """Write the old files below a fresh folder."""
    root = folder / "root"
    (root / "etc").mkdir(parents=True)
    for path, data in OLD.items():
        if data is not None:
            file = Path(f"{root}{path}")
            file.write_bytes(data)
            file.chmod(0o640)
    return root


def state(root: Path) -> dict[str, bytes | None]:
    """Return the files as they are."""
    files = {path: Path(f"{root}{path}") for path in OLD}
    return {path: file.read_bytes() if file.exists() else None for path, file in files.items()}


def leftovers(root: Path) -> list[str]:
    """Return what is there beside the files themselves and the journal."""
    found = [f"{folder}/{name}".removeprefix(str(root)) for folder, _, names in os.walk(root / "etc") for name in names]
    return [path for path in found if path not in OLD]


def hands(root: Path) -> Hands:
    """Return hands for the root, whose commands do nothing."""
    return Hands(Disk(str(root)), Journal(str(root)), lambda _: Ran(0, b"", b""))


def the_plan(*then: Then) -> Plan:
    """Return the plan from OLD to NEW."""
    changes = []
    for path, before in OLD.items():
        after = NEW[path]
        changes.append(Change(path, path, before, after, None if before is None else 0o640, None if after is None else 0o640))
    return Plan(tuple(changes), then, (), (), (), ())


def carry_out(root: Path, then: tuple[Then, ...] = (TELL,), run: apply.Run | None = None, **more: object) -> apply.Done:
    """Take the lock, recover what was interrupted, and carry out the plan."""
    using = hands(root)
    if run is not None:
        using = using._replace(run=run)
    using.journal.lock(wait=20)
    try:
        apply.recover(using)
        return apply.execute(using, the_plan(*then), ["area/rule"], allow_restart=False, **more)
    finally:
        using.journal.unlock()


def recover(root: Path) -> tuple[apply.Done, ...]:
    """Take back what was interrupted."""
    using = hands(root)
    using.journal.lock(wait=20)
    try:
        return apply.recover(using)
    finally:
        using.journal.unlock()
