"""Edited Compose files put to both generations of Compose: each takes what it took before, and sees what was asked and nothing else."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.edits import cases
from tests.formats.edit.test_compose import asked
from tests.lab.test_programs import OLD, compose

if TYPE_CHECKING:
    from pathlib import Path

CASES = [case for case in cases("compose") if not case.values[2].startswith((b"malformed", b"refused", b"unchanged"))]


def config(program: str, data: bytes, folder: Path) -> tuple[dict[str, Any] | None, str]:
    """Return a file as Compose understands it, with its profiles on; None and why where it refuses it."""
    folder.mkdir()
    (folder / "docker-compose.yml").write_bytes(data)
    (folder / "base.yml").write_text("services:\n  web:\n    image: x\n")
    argv = [
        program,
        "--project-name",
        "lab",
        "-f",
        "docker-compose.yml",
        *(["--profile", "gpu"] if program != OLD else []),
        "config",
    ]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "TAG": "1"}
    ran = subprocess.run(
        argv, capture_output=True, text=True, timeout=60, check=False, cwd=folder, env=environment, stdin=subprocess.DEVNULL
    )
    if ran.returncode:
        return None, ran.stderr
    found = yaml.safe_load(ran.stdout)
    assert isinstance(found, dict)
    return json.loads(json.dumps(found).replace(str(folder), "FOLDER")), ""


def kept(old: Any, new: Any, where: str = "") -> list[str]:
    """Assert that a value has all that it had before; return what it has beside that."""
    if isinstance(old, dict) and isinstance(new, dict):
        assert set(old) <= set(new), where
        return [place for name, each in new.items() for place in kept(old.get(name), each, f"{where}.{name}")]
    if isinstance(old, list) and isinstance(new, list):
        # Compose gives devices and variables in the order of the file.
        return [place for at, each in enumerate(new) for place in kept(old[at] if at < len(old) else None, each, f"{where}[]")]
    if where.endswith("[].count") and old == -1 != new:
        # So Compose 5 gives a request without count and ids: all GPUs.
        old = None
    assert old is None or old == new, where
    if old is None and isinstance(new, (dict, list)) and new:
        below = new.items() if isinstance(new, dict) else ((None, each) for each in new)
        return [place for name, each in below for place in kept(None, each, f"{where}[]" if name is None else f"{where}.{name}")]
    return [] if old == new else [f"{where}={new}"]


def allowed(words: list[str]) -> tuple[str, ...]:
    """Return the beginnings of the places that an ask may fill."""
    request = ("driver=nvidia", "count=", "device_ids[]=", "capabilities[]=")
    reserved = tuple(f".deploy.resources.reservations.devices[].{each}" for each in request)
    listed = tuple(f".gpus[].{each}" for each in request)
    if words[0] == "put":
        return tuple(f".{name}" for name in json.loads(" ".join(words[2:])))
    return {"reservation": reserved, "gpus": (".gpus=all", *listed)}.get(words[2], (".devices[]",))


@pytest.mark.parametrize("major", ["1", "5"])
def test_compose_sees_what_was_asked_and_nothing_else(tmp_path: Path, major: str) -> None:
    """What Compose took before it takes after; no other service differs, and the asked one by the asked keys alone."""
    program = compose(major)
    taken = cured = 0
    for number, case in enumerate(CASES):
        path, words, _ = case.values
        data = path.read_bytes()
        before, _ = config(program, data, tmp_path / f"{number}-before")
        after, refusal = config(program, asked(data, words), tmp_path / f"{number}-after")
        if before is None:
            # What an edit cures: a list or a map without value, a request without capabilities.
            cured += after is not None
            continue
        if major == "1" and "gpus" in words:
            # 1.29 knows no `gpus:`.
            assert "'gpus'" in refusal, path.name
            continue
        assert after is not None, f"{path.name}: {refusal}"
        service = words[1]
        old, new = before["services"].pop(service), after["services"].pop(service)
        assert after == before, path.name
        filled = kept(old, new)
        # A missing count is all to Compose 5 anyway.
        assert filled or (major == "5" and "-without-count" in path.name), path.name
        assert all(place.startswith(allowed(words)) for place in filled), (path.name, filled)
        taken += 1
    assert taken >= (60 if major == "1" else 80)
    assert cured >= 5


@pytest.mark.parametrize("major", ["1", "5"])
def test_what_is_malformed_is_refused_by_compose(tmp_path: Path, major: str) -> None:
    """What the reader refuses, Compose refuses too, but for what the reader says itself: docker-compose 1 lets a key stand twice."""
    program = compose(major)
    lenient = ("stands twice",) if major == "1" else ("a second document", "a tab, where")
    refused = 0
    for number, case in enumerate(each for each in cases("compose") if each.values[2].startswith(b"malformed")):
        path, _, expected = case.values
        found, _ = config(program, path.read_bytes(), tmp_path / str(number))
        assert found is None or any(sign in expected.decode() for sign in lenient), path.name
        refused += found is None
    assert refused >= 10
