"""What a reviewer would otherwise have to check by eye."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

import gpudoctor
from gpudoctor import engine

ROOT = Path(gpudoctor.__file__).parent.parent
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))
READERS = sorted(
    path
    for folder in ("facts", "rules", "formats", "report", "device_args", "explain")
    for path in (ROOT / "gpudoctor" / folder).rglob("*.py")
)


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name)
def test_each_test_has_one_sentence(path):
    """Each test says in one docstring line what it shows, and ends it as a sentence."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            words = ast.get_docstring(node)
            assert words, f"{path.name}:{node.lineno} {node.name}"
            assert "\n\n" not in words
            assert words.endswith("."), f"{path.name}:{node.lineno}"


@pytest.mark.parametrize("path", READERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_host_door_reads_a_machine(path):
    """Facts, rules, formats and reports open no file, run nothing and look at no environment of this process."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"open", "exec", "eval", "compile", "__import__"}, f"{path}:{node.lineno}"
        if isinstance(node, ast.Import):
            assert not {alias.name for alias in node.names} & {"os", "subprocess", "shutil", "pathlib", "socket"}, (
                f"{path}:{node.lineno}"
            )


def test_version_is_one_literal():
    """The version stands once, in the package, and the build reads it there."""
    tomllib = pytest.importorskip("tomllib", reason="tomllib comes with Python 3.11")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["hatch"]["version"]["path"] == "gpudoctor/__init__.py"
    assert "version" in project["project"]["dynamic"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", gpudoctor.__version__)


def test_each_rule_lives_in_a_file_of_its_name_and_slugs_are_unique():
    """`explain SLUG` is unambiguous: no two areas have a rule of the same slug."""
    slugs = [rule.slug for rule in engine.every_rule()]
    assert len(slugs) == len(set(slugs)) >= 157


def test_readme_states_the_number_of_rules_and_real_output():
    """README's number of rules is right, and its screen is what the program prints of that host today."""
    import subprocess
    import sys

    readme = (ROOT / "README.md").read_text()
    assert f"The [{len(engine.every_rule())} rules](docs/rules/README.md)" in readme
    host = "fixtures/hosts/debian-12-a100-guide-of-2021.host"
    ran = subprocess.run(
        [sys.executable, "-m", "gpudoctor", "doctor", "--host", host], capture_output=True, cwd=ROOT, check=False
    )
    assert ran.stdout.decode().rstrip() in readme


def test_the_commands_list_is_the_documented_one():
    """The list of commands has no shell and no command that changes a host."""
    listed = json.loads((ROOT / "docs" / "schema" / "commands.json").read_text())["commands"]
    assert len(listed) >= 15
    changing = {
        "sh",
        "bash",
        "sudo",
        "modprobe",
        "nvidia-modprobe",
        "rmmod",
        "kill",
        "restart",
        "start",
        "stop",
        "generate",
        "install",
    }
    assert not changing & {word for argv in listed for word in argv}
