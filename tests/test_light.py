"""Light commands stay light: what they import is looked at, not how long they take."""

from __future__ import annotations

import subprocess
import sys

from tests.cases import FIXTURES

HEAVY = {
    "rich",
    "yaml",
    "ruamel",
    "tomlkit",
    "docker",
    "pydantic",
    "psutil",
    "pynvml",
    "importlib.metadata",
    "asyncio",
    "tarfile",
    "http",
}
HOST = str(FIXTURES / "hosts" / "ubuntu-22.04-a10g-hook.host")


def imported(*arguments: str) -> set[str]:
    """Run the program in one interpreter and return the modules that it had imported in the end."""
    code = (
        "import sys, os, atexit\n"
        "atexit.register(lambda: os.write(2, ' '.join(sys.modules).encode()))\n"
        f"sys.argv = ['gpudoctor', *{list(arguments)!r}]\n"
        "from gpudoctor.cli import main\nmain()\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=FIXTURES.parent, timeout=60, check=False)
    return set(ran.stderr.decode().split())


def test_version_and_explain_import_nothing_heavy():
    """--version imports no rule and no fact; explain imports just the one rule it prints."""
    version = imported("--version")
    assert "gpudoctor.cli" in version
    assert not HEAVY & version
    assert not [name for name in version if name.startswith(("gpudoctor.rules", "gpudoctor.facts", "gpudoctor.host"))]
    explain = imported("explain", "no-cgroups-true-rootful")
    assert not HEAVY & explain
    assert [name for name in explain if name.startswith("gpudoctor.rules.toolkit.")] == [
        "gpudoctor.rules.toolkit.no_cgroups_true_rootful"
    ]


def test_doctor_imports_no_yaml_without_a_cdi_spec_and_no_rich_without_a_terminal():
    """The doctor imports a parser only when there is something for it to read."""
    doctor = imported("doctor", "--json", "--host", HOST)
    assert "gpudoctor.facts.docker" in doctor
    assert not HEAVY & doctor
    with_spec = imported("doctor", "--json", "--host", str(FIXTURES / "hosts" / "ubuntu-24.04-l4-docker29-cdi.host"))
    assert not HEAVY & with_spec


def test_device_args_imports_only_what_it_asks():
    """It runs on every make: no rule, no engine, no YAML, not even to write it; without Docker's part, not Docker's facts either."""
    for form in ("args", "make-args", "make", "compose", "env"):
        modules = imported("device-args", "--host", HOST, "--format", form)
        assert "gpudoctor.device_args.emit" in modules
        assert not HEAVY & modules
        assert not [name for name in modules if name.startswith(("gpudoctor.rules", "gpudoctor.engine", "gpudoctor.report"))]
    for form in ("cdi-spec", "podman", "systemd", "nomad", "kubernetes"):
        modules = imported("device-args", "--host", HOST, "--format", form)
        assert not HEAVY & modules
        facts = {name for name in modules if name.startswith("gpudoctor.facts.")}
        assert facts == {f"gpudoctor.facts.{area}" for area in ("platform", "gpu", "devices")}
