"""The Docker daemon runs, but does not answer.

`docker info` did not come back within the time limit. Then nothing can be started or stopped, and what the
daemon knows (runtimes, cgroup driver) cannot be asked. A daemon hangs on a lock of its own, on a disk or
network volume that does not answer, on a container that it cannot stop, or on a hook that waits for a hung
GPU driver; from outside these look alike.

How it is told from its look-alikes: a stopped daemon (`docker/docker-not-running`) refuses at once, and so
does a socket that you have no right to. A hung driver hangs nvidia-smi on the host too
(`host/nvidia-smi-hangs`): mend that first, since Docker may only wait for it.

Cure: look in the journal, have the daemon write its stacks there (signal USR1, for a report), and restart it.
Processes in state D cannot be killed; then only a reboot helps. The fix does the last two, and refuses where
nvidia-smi hangs too.

Sources: Docker documentation (troubleshooting the daemon: force a stack trace).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts.docker import INFO
from gpudoctor.host import NoAnswer, Slow
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Refused, Rule, Then, Where
from gpudoctor.rules import advice, steps
from gpudoctor.rules.docker import _daemon

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.model import Steps, Wishes


def check(facts: Facts) -> Iterator[Finding]:
    """Find a daemon that runs and does not answer in time."""
    docker = facts.docker
    if docker.remote:
        raise NotApplicable(f"The docker client talks to another machine ({docker.address}).")
    if not docker.installed:
        raise NotApplicable("There is no Docker on this host.")
    if not docker.daemons:
        raise NotApplicable("No Docker daemon runs here.")
    try:
        docker.info  # noqa: B018 - whether it comes back is the question
    except Slow:
        pass
    else:
        return
    daemon = docker.daemon
    pid = daemon.pid if daemon is not None else docker.daemons[0].pid
    yield Finding(
        "Docker does not answer",
        "The Docker daemon runs but does not answer, so no container can be started or stopped.",
        (Evidence(Where(" ".join(INFO[:2])), "no answer within the time limit"), *_daemon.seen(facts, daemon)),
        Cure(
            "DISRUPTIVE",
            "Have it write its stacks to the journal, then restart it.",
            (
                f"sudo kill -USR1 {pid}",
                "sudo journalctl -u docker -b --no-pager | tail -n 100",
                _daemon.restart(facts, daemon),
            ),
            advice.RESTART_RISK,
        ),
    )


def fix(facts: Facts, _: Wishes) -> Steps:
    """Have the daemon write its stacks and restart it, unless it may only be waiting for a driver that hangs."""
    try:
        facts.driver.smi_run  # noqa: B018 - whether it comes back is the question
    except Slow:
        raise Refused("nvidia-smi hangs as well, and Docker may only wait for the driver: mend that first.") from None
    except NoAnswer:
        pass
    daemon = facts.docker.daemon or facts.docker.daemons[0]
    restart = steps.restart_docker(facts, daemon)
    yield Then(
        ("kill", "-USR1", str(daemon.pid)), "SAFE", "Docker writes its stacks to the journal, for a report; nothing stops."
    )
    yield restart._replace(undo=None)


RULE = Rule(
    "docker/docker-hangs",
    25,
    "error",
    "Docker does not answer",
    check,
    breaks=("daemon",),
    fix=fix,
    follows=("host/nvidia-smi-hangs", "host/nvml-hangs"),
)
