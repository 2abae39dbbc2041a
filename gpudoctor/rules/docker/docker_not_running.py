"""Docker is installed, but the daemon that `docker` talks to does not run.

Every command then says "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker
daemon running?". It was never enabled, was stopped, or stopped by itself; why, is in its journal. Where
DOCKER_HOST or the context names the socket of a rootless daemon, it is that one that has to run, whatever
else does.

How it is told from its look-alikes: a daemon.json that dockerd refuses (`docker/daemon-json-invalid`,
`docker/daemon-json-flag-conflict`) is the usual reason, and then explains this finding. A daemon that runs
and does not answer is `docker/docker-hangs`; one that refuses *you* is no fault of Docker's ("permission
denied": run with sudo). With `docker.socket` active, systemd starts the daemon at the first request: that
counts as ready.

Cure: read the journal, then start and enable the service. It starts the containers that have a restart
policy.

Sources: Docker documentation (troubleshooting the daemon), systemd.socket(5).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.host import Unseen
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Refused, Rule, Where
from gpudoctor.rules import steps
from gpudoctor.rules.docker import _daemon

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.model import Steps, Wishes


def check(facts: Facts) -> Iterator[Finding]:
    """Find an installed engine without the process that serves the docker client's socket."""
    docker = facts.docker
    if docker.kind == "desktop":
        raise NotApplicable("Docker Desktop's daemon runs in a machine of its own.")
    if docker.remote:
        raise NotApplicable(f"The docker client talks to another machine ({docker.address}).")
    if not docker.installed:
        raise NotApplicable("There is no Docker on this host.")
    rootless = "/run/user/" in docker.address
    if docker.daemon is not None or (docker.running and not rootless):
        return
    if not docker.processes_seen:
        raise Unseen("/proc", "the processes of this host do not show")
    units = () if rootless or docker.kind == "snap" else ("docker.service", "docker.socket")
    states = {unit: facts.services.active(unit) for unit in units if facts.services.unit_file(unit) is not None}
    if states.get("docker.socket") == "active" and states.get("docker.service") != "failed":
        return
    if states.get("docker.service") == "activating":
        return
    if rootless:
        start, journal = "systemctl --user enable --now docker", "journalctl --user -u docker -b --no-pager | tail -n 50"
    elif docker.kind == "snap":
        start, journal = "sudo snap start --enable docker", "sudo snap logs docker -n 50"
    elif facts.platform.systemd:
        start, journal = "sudo systemctl enable --now docker", "sudo journalctl -u docker -b --no-pager | tail -n 50"
    else:
        start, journal = "sudo service docker start", "sudo tail -n 50 /var/log/docker.log"
    yield Finding(
        "Docker does not run",
        f"Docker is installed, but no daemon serves {docker.address}, so no container can be started.",
        (
            *_daemon.seen(facts, None),
            *(
                Evidence(Where(f"{unit}"), f"systemctl is-active says {state}")
                for unit, state in states.items()
                if state != "unknown"
            ),
        )
        if not docker.daemons
        else tuple(
            Evidence(Where(f"/proc/{each.pid}"), f"this dockerd is {each.kind}, run by user {each.uid}")
            for each in docker.daemons
        ),
        Cure(
            "DISRUPTIVE",
            "Read in the journal why it stopped, then start it.",
            (journal, start),
            "Containers with a restart policy start with it.",
        ),
    )


def fix(facts: Facts, _: Wishes) -> Steps:
    """Start Docker by systemd, where it is the system's own and its daemon.json lets it start."""
    docker = facts.docker
    if docker.kind != "rootful" or not facts.platform.systemd or "/run/user/" in docker.address:
        raise Refused(
            "Only a Docker that systemd starts for the whole system is started here; the commands for this one are above."
        )
    steps.refuse_broken(facts, None)
    yield steps.then(
        "systemctl enable --now docker", "Docker starts now and at each boot; read in its journal why it had stopped."
    )


RULE = Rule(
    "docker/docker-not-running",
    24,
    "error",
    "Docker does not run",
    check,
    breaks=("daemon",),
    follows=("docker/daemon-json-invalid", "docker/daemon-json-flag-conflict", "docker/runtime-not-registered"),
    fix=fix,
)
