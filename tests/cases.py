"""Fixture hosts and what they say of themselves in their first lines.

Before its first marker a fixture has prose (who this machine is) and these lines, each ``word: value``:

``finds``      every rule that finds something on this host, comma-separated and complete (empty: healthy)
``says``       words that the report of the fixture's own rule must contain; may stand several times
``untold``     rules that cannot tell here (complete for an ``untold-`` case's own rule; others are not checked)
``lookalike``  on a ``good-`` case: which failure this resembles, and why it is not it
``given``      what is judged on this host: ``image NAME``, ``dockerfile PATH`` below fixtures/, ``container NAME``,
               ``all-containers``, ``compose PATH`` below fixtures/ (several lie over each other)
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gpudoctor import engine
from gpudoctor.commands.given import composed, requirements_beside
from gpudoctor.facts import NOTHING, Facts, File, Given
from gpudoctor.host import hostfile

if TYPE_CHECKING:
    from gpudoctor.model import Diagnosis, Finding

FIXTURES = Path(__file__).parent.parent / "fixtures"
FOLDERS = ("hosts", "rules")
"""Where the cases are; the other folders of fixtures/ belong to the tests of one command."""
WORDS = ("finds", "says", "untold", "lookalike", "given")


class Case(NamedTuple):
    """One fixture and its expectations; ``rule`` is None for a whole machine."""

    path: Path
    rule: str | None
    kind: str
    prose: str
    finds: tuple[str, ...]
    says: tuple[str, ...]
    untold: tuple[str, ...]
    lookalike: str
    given: Given = NOTHING

    @property
    def name(self) -> str:
        """The path below fixtures/, for test ids."""
        return str(self.path.relative_to(FIXTURES))


def read(path: Path) -> Case:
    """Read a fixture's first lines."""
    told: dict[str, list[str]] = {word: [] for word in WORDS}
    prose = []
    for line in path.read_bytes().split(b"\n-- ")[0].decode().split("\n"):
        word, sign, value = line.partition(":")
        if sign and word in told:
            told[word].append(value.strip())
        else:
            prose.append(line)
    parts = path.relative_to(FIXTURES).parts
    rule = None
    if parts[0] == "rules":
        loaded = engine.load(parts[1], parts[2])
        rule = loaded.name
    assert rule or told["finds"], f"{path}: no `finds:` line"
    return Case(
        path,
        rule,
        path.name.partition("-")[0],
        "\n".join(prose).strip(),
        tuple(sorted(name.strip() for value in told["finds"] for name in value.split(",") if name.strip())),
        tuple(told["says"]),
        tuple(name.strip() for value in told["untold"] for name in value.split(",") if name.strip()),
        " ".join(told["lookalike"]),
        _given(told["given"]),
    )


def _given(lines: list[str]) -> Given:
    """Return what the lines ``given: WHAT VALUE`` say."""
    given = NOTHING
    for line in lines:
        what, _, value = line.partition(" ")
        if what == "dockerfile":
            path = FIXTURES / value
            beside = requirements_beside(File(str(path), path.read_bytes()))
            given = given._replace(dockerfile=File(value.rpartition("/")[2], path.read_bytes()), beside=beside)
        elif what == "container":
            given = given._replace(containers=(*given.containers, value))
        elif what == "compose":
            given = composed_below_fixtures([*(each.path for each in given.compose), *value.split()])
        elif what == "all-containers":
            given = given._replace(all_containers=True)
        else:
            assert what == "image", line
            given = given._replace(image=value)
    return given


def composed_below_fixtures(paths: list[str]) -> Given:
    """Return Compose files and what they name, all by their paths below fixtures/."""
    given = composed([str(FIXTURES / path) for path in paths])
    prefix = f"{FIXTURES}/"

    def shorter(files: tuple[File, ...]) -> tuple[File, ...]:
        return tuple(File(each.path.removeprefix(prefix), each.data) for each in files)

    return given._replace(compose=shorter(given.compose), compose_beside=shorter(given.compose_beside))


def all_cases() -> list[Case]:
    """Return every fixture host, sorted by path."""
    return [read(path) for path in all_paths()]


def all_paths() -> list[Path]:
    """Return the paths of all cases, sorted."""
    return sorted(path for folder in FOLDERS for path in (FIXTURES / folder).rglob("*.host"))


def diagnose(path: Path) -> Diagnosis:
    """Put every rule to one fixture host, with what is given beside it."""
    given = read(path).given
    rules = engine.all_rules() + (engine.rules_for(given) if given is not NOTHING else ())
    return engine.diagnose(Facts(hostfile.load(str(path)), given), rules)


def words(finding: Finding) -> str:
    """Return all that a finding says, as one text."""
    cure = finding.cure
    return "\n".join([finding.title, finding.text, *map(str, finding.evidence), cure.summary, *cure.commands, cure.risk])
