"""The real tools judge an edited file before it is put into place; where a tool is not there, our own parse has to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.host import Miss
from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpudoctor.host import Ran

    Run = Callable[[tuple[str, ...]], Ran]

_YAML = (".yml", ".yaml")


class Judgement(NamedTuple):
    """What a tool said of a file: ``tool`` is "" where none could be asked, ``problem`` "" where it took the file."""

    tool: str = ""
    problem: str = ""


def judge(path: str, staged: str, run: Run, *, existed: bool = True) -> Judgement:
    """Ask the tool that reads the file at ``path`` for a judgement of its new form, which is at ``staged``.

    A file that the tool refuses in its old form already is not blamed on the edit; one that ``existed`` not has no old form.
    """
    for argv in _tools(path, staged):
        said = _ask(argv, run)
        if said is None:
            continue
        if said and existed:
            before = _ask(tuple(path if word == staged else word for word in argv), run)
            if before:
                return Judgement()
        return Judgement(argv[0], said)
    return Judgement()


def _tools(path: str, staged: str) -> tuple[tuple[str, ...], ...]:
    """Return the commands that judge a file, the best first."""
    folder, _, name = path.rpartition("/")
    if name == "daemon.json":
        # From Docker 23.0 on; before, the flag is unknown.
        return (("dockerd", "--validate", "--config-file", staged),)
    if path == "/etc/default/grub" or folder == "/etc/default/grub.d":
        return (("sh", "-n", staged),)
    if name.endswith(_YAML) and folder not in {"/etc/cdi", "/var/run/cdi", "/run/cdi"}:
        rest = ("-f", staged, "--project-directory", folder or "/", "config", "-q")
        return (("docker", "compose", *rest), ("docker-compose", *rest))
    return ()


def _ask(argv: tuple[str, ...], run: Run) -> str | None:
    """Return what a tool finds wrong, "" for nothing, None where it is not there or cannot judge."""
    try:
        ran = run(argv)
    except Miss:
        return None
    if not ran.rc:
        return ""
    said = (ran.err or ran.out).decode("utf-8", "replace")
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    words = " ".join(lines[-1:]) or f"exit code {ran.rc}"
    if any(sign in said for sign in ("unknown flag", "unknown shorthand flag", "is not a docker command", "unknown command")):
        return None
    return words[:300]
