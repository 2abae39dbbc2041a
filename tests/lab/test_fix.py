"""`fix --apply` on a live machine: real files, a real dockerd that is really restarted, and the symptom before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.lab.world import live, needs

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


def test_the_default_runtime_is_taken_out_docker_restarted_and_all_taken_back(tmp_path: Path):
    """Broken for real, planned, applied with a real restart, cured for real, undone byte for byte, broken again."""
    needs("dockerd", "unshare", "busybox")
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
    assert said[5].endswith("rc=0\n")
    assert "it runs" in said[6]
    assert said[7].endswith("rc=0\n")
    assert "Nothing to do." in said[8]
    assert "ran: service docker restart" in said[9]
    assert said[10].endswith("rc=0\n")
    assert "it runs" not in said[11]
    assert said[12].count("undone") == 2
