"""Edited Compose files put to both generations of Compose: each takes what it took before, and sees the asked service alone changed."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from gpudoctor.formats.edit.compose import give
from tests import edits
from tests.formats.edit.test_compose import KEYS
from tests.lab.test_programs import compose

if TYPE_CHECKING:
    from pathlib import Path

CASES = [case for case in edits.cases("compose") if not case.values[2].startswith((b"malformed", b"refused", b"unchanged"))]


def config(program: str, data: bytes, folder: Path) -> dict[str, Any] | None:
    """Return a file as Compose understands it, None where it refuses it."""
    folder.mkdir(parents=True)
    (folder / "docker-compose.yml").write_bytes(data)
    (folder / "base.yml").write_text("services:\n  web:\n    image: x\n")
    words = [
        program,
        "-f",
        str(folder / "docker-compose.yml"),
        "--project-directory",
        str(folder),
        *(["--profile", "gpu"] if "venv" in program else []),
    ]
    ran = subprocess.run(
        [*words, "config"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "TAG": "1"},
    )
    if ran.returncode:
        return None
    found = yaml.safe_load(ran.stdout)
    assert isinstance(found, dict)
    return json.loads(json.dumps(found).replace(str(folder), "FOLDER"))


@pytest.mark.parametrize("major", ["1", "5"])
def test_compose_sees_the_asked_service_alone_changed(tmp_path: Path, major: str) -> None:
    """Over all sound fixtures: what Compose took before it takes after, and only the asked service differs, by the asked keys."""
    program = compose(major)
    taken = 0
    for number, case in enumerate(CASES):
        path, (service, style), _ = case.values
        if major == "1" and style in {"gpus", "cdi"}:
            # 1.29 knows neither.
            continue
        data = path.read_bytes()
        before = config(program, data, tmp_path / f"{number}-before" / "project")
        if before is None:
            continue
        after = config(program, give(data, service, KEYS[style]), tmp_path / f"{number}-after" / "project")
        assert after is not None, path.name
        old, new = before["services"].pop(service), after["services"].pop(service)
        assert after == before, path.name
        differing = {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
        # A request without a count means all of them to Compose 5 anyway.
        assert differing <= set(KEYS[style]), path.name
        taken += 1
    # 1.29 refuses files without a version beside keys of version 3, and 5 those that lack an image.
    assert taken >= (5 if major == "1" else 30), taken
