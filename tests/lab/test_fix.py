"""`fix --apply` on a live machine: real files, a real dockerd that is really restarted, and the symptom before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lab.world import NEWER_DOCKER, ROOT, live, needs

if TYPE_CHECKING:
    from pathlib import Path

WRONG_RUNTIME = {
    "default-runtime": "nvidia",
    "runtimes": {"nvidia": {"path": "/opt/gone/nvidia-container-runtime", "runtimeArgs": []}},
}
RULE = "docker/default-runtime-nvidia-without-gpu"
PROBE = "docker run --rm --network none probe sh -c 'echo it runs' 2>&1"


def steps(*commands: str) -> str:
    """Return a shell script that runs each command and prints a line before its output and its exit code after."""
    return "\n".join(f"echo '== {number}'; {{ {command}; }} 2>&1; echo \"rc=$?\"" for number, command in enumerate(commands))


def parts(out: str) -> list[str]:
    """Return what each command of ``steps`` printed."""
    return out.split("== ")[1:]


@pytest.mark.parametrize("engine", ["20.10", "newer"])
def test_the_default_runtime_is_taken_out_docker_restarted_and_all_taken_back(tmp_path: Path, engine: str):
    """Broken for real, planned, applied with a real restart, cured for real, undone byte for byte, broken again."""
    needs("dockerd", "unshare", "busybox")
    programs = "/usr/sbin:/usr/bin"
    if engine == "newer":
        if not NEWER_DOCKER.is_dir():
            pytest.skip("no Docker with CDI was fetched")
        programs = f"{NEWER_DOCKER}/sbin:{NEWER_DOCKER}/bin"
    ask = f"$PYTHON -m gpudoctor fix {RULE}"
    found = live(
        tmp_path,
        "no-gpu",
        steps(
            "cp daemon.json before.json",
            PROBE,
            ask,
            f"{ask} --apply --yes",
            "$PYTHON -m gpudoctor undo --yes; cmp daemon.json before.json",
            f"{ask} --apply --yes --allow-restart",
            PROBE,
            f"$PYTHON -m gpudoctor doctor --only {RULE}",
            f"{ask} --apply --yes --allow-restart",
            "$PYTHON -m gpudoctor undo --yes --allow-restart",
            "cmp daemon.json before.json",
            PROBE,
            "$PYTHON -m gpudoctor history",
        ),
        daemon_json=WRONG_RUNTIME,
        programs=programs,
    )
    said = parts(found["out"])
    assert "it runs" not in said[1]
    assert "nvidia-container-runtime" in said[1]
    assert '-{"default-runtime": "nvidia"' in said[2]
    assert said[2].endswith("rc=1\n")
    assert "left to you: service docker restart" in said[3]
    assert said[3].endswith("rc=3\n")
    assert "written:" in said[4]
    assert said[4].endswith("rc=0\n")
    assert "ran: service docker restart" in said[5]
    # From 23.0 on dockerd itself judges the new file before it is put into place.
    assert ("accepted by: dockerd" in said[5]) is (engine == "newer")
    assert said[5].endswith("rc=0\n")
    assert "it runs" in said[6]
    assert said[7].endswith("rc=0\n")
    assert "Nothing to do." in said[8]
    assert "ran: service docker restart" in said[9]
    assert said[10].endswith("rc=0\n")
    assert "it runs" not in said[11]
    assert said[12].count("undone") == 2


CONFIG_TOML = """\
#accept-nvidia-visible-devices-as-volume-mounts = false
disable-require = false
supported-driver-capabilities = "compat32,compute,display,graphics,ngx,utility,video"

[nvidia-container-cli]
#debug = "/var/log/nvidia-container-toolkit.log"
environment = []
# 2021: "NVML: Unknown Error", from the forum
no-cgroups = true
#user = "root:video"

[nvidia-container-runtime]
mode = "auto"
runtimes = ["runc", "crun"]
"""
SESSION = (
    "gpudoctor doctor --only toolkit",
    "gpudoctor fix no-cgroups-true-rootful",
    "gpudoctor fix no-cgroups-true-rootful --apply --yes",
    "gpudoctor doctor --only toolkit",
    "gpudoctor undo --yes",
)


def test_the_session_of_the_readme(tmp_path: Path):
    """The session that README shows, run live: doctor, fix, fix --apply, doctor, undo; the file is the same bytes in the end."""
    needs("dockerd", "unshare", "busybox")
    found = live(
        tmp_path,
        "one-gpu",
        steps(
            "mkdir -p /etc/nvidia-container-runtime; cp config.toml /etc/nvidia-container-runtime/config.toml",
            *(command.replace("gpudoctor", "$PYTHON -m gpudoctor", 1) for command in SESSION),
            "cmp config.toml /etc/nvidia-container-runtime/config.toml",
        ),
        hook=True,
        files={str(tmp_path / "config.toml"): CONFIG_TOML},
    )
    said = parts(found["out"])
    codes = [part.rpartition("rc=")[2].strip() for part in said]
    screens = [part.partition("\n")[2].rpartition("rc=")[0] for part in said]
    assert codes == ["0", "1", "1", "0", "0", "0", "0"], found["out"]
    shown = "\n".join(f"$ sudo {command}\n{screen}" for command, screen in zip(SESSION, screens[1:-1], strict=True))
    readme = (ROOT / "README.md").read_text().partition("<!-- session -->\n```\n")[2].partition("```\n<!-- /session -->")[0]
    assert comparable(shown) == comparable(readme), shown


def comparable(session: str) -> list[str]:
    """Return a session's lines without what differs between two machines: the host's own headline, names of entries, counts."""
    lines = []
    for line in session.strip().split("\n"):
        if line.startswith(("host  ", "GPU  ", "driver  ", "Docker  ", "toolkit  ")):
            continue
        words = ["ID" if each.count("-") == 2 and each[:2] == "20" else each for each in line.split()]
        lines.append(" ".join("N" if each.isdigit() else each for each in words))
    return [line for line in lines if line and "checks passed" not in line]
