"""The commands fix, undo and history as a user runs them, on fixture hosts and on a mounted root."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from gpudoctor.host import hostfile
from tests.cases import FIXTURES

BAD = FIXTURES / "rules/docker/default_runtime_nvidia_without_gpu/bad-card-taken-out.host"
RULE = "docker/default-runtime-nvidia-without-gpu"
DAEMON_JSON = b'{\n    "default-runtime": "nvidia",\n    "runtimes": {"nvidia": {"path": "nvidia-container-runtime"}}\n}\n'


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run gpudoctor in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "gpudoctor", *arguments],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        cwd=FIXTURES.parent,
        timeout=60,
        check=False,
    )


def make_root(host: Path, root: Path) -> Path:
    """Write a fixture host's files, links and folders below a folder; nodes of devices only where root may make them."""
    for path, node in sorted(hostfile.load(str(host)).nodes.items()):
        if node.stat_miss is not None:
            continue
        there = Path(f"{root}{path}")
        there.parent.mkdir(parents=True, exist_ok=True)
        if node.kind == "file":
            there.write_bytes(node.body)
            there.chmod(node.mode or 0o644)
        elif node.kind == "dir":
            there.mkdir(exist_ok=True)
        elif node.kind == "link":
            there.symlink_to(node.target or "")
    return root


@pytest.fixture
def root(tmp_path):
    """Make a mounted root of a host whose Docker has the wrong default runtime."""
    return make_root(BAD, tmp_path / "root")


def test_fix_alone_plans_and_changes_nothing(root):
    """The plan shows the diff, the restart and the command that does it; no file changes and no journal is made."""
    before = sorted((path, path.read_bytes()) for path in root.rglob("*") if path.is_file())
    ran = run("fix", RULE, "--root", str(root))
    assert ran.returncode == 1
    assert '-    "default-runtime": "nvidia",' in ran.stdout
    assert "systemctl restart docker" in ran.stdout
    assert f"sudo gpudoctor fix {RULE} --apply --root {root}" in ran.stdout
    assert sorted((path, path.read_bytes()) for path in root.rglob("*") if path.is_file()) == before


def test_apply_again_undo_and_undo_of_the_undo_on_a_mounted_root(root):
    """The whole round: applied, nothing to do the second time, taken back byte for byte, and in force again."""
    file = root / "etc/docker/daemon.json"
    first = run("fix", RULE, "--root", str(root), "--apply", "--yes")
    assert first.returncode == 0, first.stderr
    assert "written: /etc/docker/daemon.json" in first.stdout
    assert "left to you on the host itself: systemctl restart docker" in first.stdout
    assert "default-runtime" not in file.read_text()
    second = run("fix", RULE, "--root", str(root), "--apply", "--yes")
    assert (second.returncode, "Nothing to do." in second.stdout) == (0, True)
    entries = json.loads(run("history", "--root", str(root), "--json").stdout)["entries"]
    assert [each["state"] for each in entries] == ["done"]
    assert run("undo", "--root", str(root), "--yes").returncode == 0
    assert file.read_bytes() == DAEMON_JSON
    entries = json.loads(run("history", "--root", str(root), "--json").stdout)["entries"]
    assert [each["in_force"] for each in entries] == [False, True]
    assert run("undo", entries[-1]["id"], "--root", str(root), "--yes").returncode == 0
    assert "default-runtime" not in file.read_text()


def test_undo_does_not_touch_what_was_changed_since(root):
    """A file changed by hand after the fix is left alone; both changes are shown."""
    run("fix", RULE, "--root", str(root), "--apply", "--yes")
    file = root / "etc/docker/daemon.json"
    file.write_text('{"by": "hand"}\n')
    ran = run("undo", "--root", str(root), "--yes")
    assert ran.returncode == 1
    assert "no longer what fix" in ran.stdout
    assert '+{"by": "hand"}' in ran.stdout
    assert file.read_text() == '{"by": "hand"}\n'


def test_apply_asks_and_without_a_terminal_wants_yes(root):
    """Nobody to ask means nothing is changed: exit code 3."""
    ran = run("fix", RULE, "--root", str(root), "--apply")
    assert ran.returncode == 3
    assert "--yes" in ran.stderr
    assert (root / "etc/docker/daemon.json").read_bytes() == DAEMON_JSON


def test_apply_on_a_recorded_host_is_wrong_usage():
    """A recorded host cannot be changed."""
    ran = run("fix", "--host", str(BAD), "--apply", "--yes")
    assert ran.returncode == 2
    assert "--apply" in ran.stderr


def test_json_is_as_its_schema_says(root):
    """What is planned, done and failed agrees with docs/schema/fix.schema.json."""
    schema = json.loads((FIXTURES.parent / "docs/schema/fix.schema.json").read_text())
    planned = json.loads(run("fix", RULE, "--root", str(root), "--json").stdout)
    jsonschema.validate(planned, schema)
    assert planned["done"] is None
    assert planned["changes"][0]["diff"].startswith("--- a/etc/docker/daemon.json")
    assert planned["outcomes"][0]["expected"] == "restart"
    done = json.loads(run("fix", RULE, "--root", str(root), "--apply", "--yes", "--json").stdout)
    jsonschema.validate(done, schema)
    assert done["done"]["written"] == ["/etc/docker/daemon.json"]
    os.link(root / "etc/docker/daemon.json", root / "second")
    (root / "etc/docker/daemon.json").write_bytes(DAEMON_JSON)
    failed = json.loads(run("fix", RULE, "--root", str(root), "--apply", "--yes", "--json").stdout)
    jsonschema.validate(failed, schema)
    assert "hard links" in failed["done"]["problem"]


def test_unknown_rules_and_styles_are_wrong_usage(root):
    """A name that is no rule, and a style that is none, are told."""
    assert run("fix", "no-such-rule", "--host", str(BAD)).returncode == 2
    assert run("fix", "--grub-style", "middle", "--host", str(BAD)).returncode == 2
    assert run("undo", "20200101-000000-00000", "--root", str(root), "--yes").returncode == 2


def test_a_rule_without_a_finding_is_answered_with_the_reason():
    """Asked for a cure that this host does not need, the plan says why not and changes nothing."""
    ran = run("fix", "toolkit/no-cgroups-true-rootful", "--host", str(FIXTURES / "hosts/ubuntu-22.04-a10g-hook.host"))
    assert ran.returncode == 0
    assert "toolkit/no-cgroups-true-rootful: This host does not have it." in ran.stdout


def die_after_a_file(root, *words):
    """Run a command that is gone, as by SIGKILL, when it has put its first file into place."""
    code = (
        "import os, sys\nfrom gpudoctor.fix.write import Disk\n"
        "real = Disk.commit\n"
        "def commit(self, *args):\n    real(self, *args)\n    os._exit(9)\n"
        "Disk.commit = commit\n"
        f"sys.argv = ['gpudoctor', *{list(words)!r}, '--root', sys.argv[1], '--yes']\n"
        "from gpudoctor.cli import main\nmain()\n"
    )
    died = subprocess.run(
        [sys.executable, "-c", code, str(root)], cwd=FIXTURES.parent, capture_output=True, timeout=60, check=False
    )
    assert died.returncode == 9


def test_an_interrupted_undo_is_taken_back_and_no_other_fix_with_it(root):
    """After an undo that was killed, `undo` restores what the fix had made, and goes no further without a name."""
    assert run("fix", RULE, "--root", str(root), "--apply", "--yes").returncode == 0
    die_after_a_file(root, "undo")
    assert (root / "etc/docker/daemon.json").read_bytes() == DAEMON_JSON
    ran = run("undo", "--root", str(root), "--yes")
    assert ran.returncode == 0
    assert "was interrupted and is taken back" in ran.stderr
    assert b"default-runtime" not in (root / "etc/docker/daemon.json").read_bytes()


def test_an_interrupted_fix_is_taken_back_by_the_next(root):
    """An open entry of the journal is reverted first, and that is said."""
    die_after_a_file(root, "fix", RULE, "--apply")
    assert b"default-runtime" not in (root / "etc/docker/daemon.json").read_bytes()
    ran = run("undo", "--root", str(root), "--yes")
    assert ran.returncode == 0
    assert "was interrupted and is taken back; restored: /etc/docker/daemon.json" in ran.stderr
    assert (root / "etc/docker/daemon.json").read_bytes() == DAEMON_JSON


@pytest.mark.skipif(os.geteuid() != 0, reason="another user is needed, whom only root can become")
def test_without_root_nothing_is_changed_and_it_says_so(root):
    """A user who may not write gets exit code 3 and a sentence with sudo."""
    for folder in (root, *root.parents):
        if str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    code = (
        "import os, sys, json, base64, difflib, signal\n"
        "from gpudoctor import engine\nfrom gpudoctor.cli import main\nfrom gpudoctor.commands import fix\n"
        "from gpudoctor.fix import session\nfrom gpudoctor.report import plan\nfrom gpudoctor.host import tree\n"
        "from gpudoctor.formats.edit import daemon_json\nengine.all_rules()\n"
        "os.setgid(65534)\nos.setuid(65534)\n"
        f"sys.argv = ['gpudoctor', 'fix', '{RULE}', '--root', sys.argv[1], '--apply', '--yes']\nmain()\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(root)], cwd=FIXTURES.parent, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 3, ran.stderr
    assert "sudo" in ran.stderr
    assert (root / "etc/docker/daemon.json").read_bytes() == DAEMON_JSON


COMPOSE = b"services:\n  web:\n    image: example/model:1   # pinned\n"
HOOK = str(FIXTURES / "hosts/ubuntu-22.04-a10g-hook.host")


@pytest.mark.parametrize(
    ("style", "words"),
    [
        ("auto", "capabilities: [gpu]"),
        ("reservation", "count: all"),
        ("gpus", "gpus: all"),
        ("devices", "/dev/nvidia-uvm:/dev/nvidia-uvm"),
    ],
)
def test_a_compose_file_is_given_the_gpu(tmp_path, style, words):
    """Planned for a recorded host: the diff has what this host serves, and the file stays as it is."""
    file = tmp_path / "compose.yml"
    file.write_bytes(COMPOSE)
    ran = run("fix", "--compose", str(file), "--style", style, "--host", HOOK)
    assert ran.returncode == 1, ran.stderr
    assert words in ran.stdout
    assert file.read_bytes() == COMPOSE
    jsonschema.validate(
        json.loads(run("fix", "--compose", str(file), "--style", style, "--host", HOOK, "--json").stdout),
        json.loads((FIXTURES.parent / "docs/schema/fix.schema.json").read_text()),
    )


def test_a_compose_file_that_is_no_file_does_not_block(tmp_path):
    """A FIFO is refused at once, as a folder is."""
    os.mkfifo(tmp_path / "compose.yml")
    ran = run("fix", "--compose", str(tmp_path / "compose.yml"), "--host", HOOK)
    assert (ran.returncode, "not a regular file" in ran.stderr) == (2, True)
    assert run("fix", "--compose", str(tmp_path), "--host", HOOK).returncode == 2


def test_what_a_host_does_not_serve_is_not_written_into_a_compose_file(tmp_path):
    """A CDI name without a CDI spec is refused with the command that makes one; several services want a name; a bad file a line."""
    file = tmp_path / "compose.yml"
    file.write_bytes(COMPOSE)
    ran = run("fix", "--compose", str(file), "--style", "cdi", "--host", HOOK)
    assert ran.returncode == 1
    assert "nvidia-ctk cdi generate" in ran.stderr
    file.write_bytes(COMPOSE + b"  db:\n    image: y\n")
    ran = run("fix", "--compose", str(file), "--host", HOOK)
    assert "--service" in ran.stderr
    assert run("fix", "--compose", str(file), "--host", HOOK, "--service", "web").returncode == 1
    file.write_bytes(b"services:\n\tweb:\n")
    ran = run("fix", "--compose", str(file), "--host", HOOK)
    assert ran.returncode == 2
    assert "line 2" in ran.stderr
    assert run("fix", "--compose", str(tmp_path / "none.yml"), "--host", HOOK).returncode == 2
    assert run("fix", "--service", "web", "--host", HOOK).returncode == 2
    assert run("fix", "--compose", str(file), "--style", "other").returncode == 2
