"""What gpudoctor makes of Compose files, one alone and several over each other, held against what Compose itself prints of them."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from gpudoctor.commands.given import composed as read
from gpudoctor.facts import Facts
from gpudoctor.host.hostfile import parse
from tests.cases import FIXTURES
from tests.lab.test_programs import OLD, compose

if TYPE_CHECKING:
    from pathlib import Path

    from gpudoctor.facts.composed import Request, Service

SINGLE = sorted([*(FIXTURES / "compose").rglob("*.y*ml"), *(FIXTURES / "edits" / "compose").glob("*.y*ml")])
LOWER = """services:
  web:
    image: x:${TAG:-1}
    runtime: nvidia
    environment: {A: "1", NVIDIA_VISIBLE_DEVICES: all}
    devices: ["/dev/nvidia0:/dev/nvidia0", "/dev/nvidia1:/dev/nvidia1"]
    profiles: [a]
    shm_size: 1g
    deploy: {resources: {reservations: {devices: [{driver: nvidia, count: 1, capabilities: [gpu]}]}}}
  two: {image: y, ipc: host, environment: [B=2, C]}
"""
UPPER = (
    'runtime: ""',
    "runtime:",
    "runtime: other",
    "image: null",
    "image: z",
    'environment: ["B=2", "NVIDIA_VISIBLE_DEVICES=0"]',
    "environment: {A: null, D: 4}",
    "environment: {}",
    'devices: ["/dev/nvidia1:/dev/nvidia1:r", "/dev/nvidia2:/dev/nvidia2"]',
    "devices: []",
    "profiles: [b, a]",
    "ipc: host",
    "privileged: true",
    "shm_size: 2g",
    "deploy: {resources: {reservations: {devices: []}}}",
    "deploy: {resources: {reservations: {memory: 1g}}}",
    'deploy: {resources: {reservations: {devices: [{driver: nvidia, device_ids: ["1"], capabilities: [gpu, utility]}]}}}',
)
ONLY_NEW = (
    "gpus: all",
    "gpus: [{count: 2}]",
    "runtime: !reset null",
    "deploy: !reset {}",
    "deploy: {resources: {reservations: {devices: !override []}}}",
    "deploy: {resources: {reservations: {devices: !override [{driver: nvidia, count: 2, capabilities: [gpu]}]}}}",
    'environment: !override {C: "3"}',
    "environment: {A: !reset null}",
    "devices: !reset []",
    "extends: {file: other.yml, service: base}",
    "extends: {file: other.yml, service: over}",
)
OTHER = """services:
  base: {image: o, runtime: nvidia, environment: {A: "o", O: "1"}, devices: ["/dev/nvidia7:/dev/nvidia7"]}
  over: {extends: base, environment: {O: "2"}, shm_size: 3g}
"""


def told(program: str, files: list[Path]) -> dict[str, Any] | None:
    """Return the services as Compose prints them, with every profile on; None where it refuses the files."""
    profiles = ["--profile", "*"] if program != OLD else []
    argv = [program, "--project-name", "lab", *profiles, *(word for file in files for word in ("-f", str(file))), "config"]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(files[0].parent), "TAG": "9"}
    ran = subprocess.run(
        argv,
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
        cwd=files[0].parent,
    )
    return yaml.safe_load(ran.stdout)["services"] if ran.returncode == 0 else None


def as_printed(service: dict[str, Any]) -> dict[str, Any]:
    """Return of a service that Compose printed what gpudoctor looks at."""
    environment = service.get("environment") or {}
    if isinstance(environment, list):
        environment = {name: value if sign else None for name, sign, value in (each.partition("=") for each in environment)}
    devices = [
        (each["source"], each["target"]) if isinstance(each, dict) else tuple((each + ":" + each).split(":")[:2])
        for each in service.get("devices") or ()
    ]
    reserved = (((service.get("deploy") or {}).get("resources") or {}).get("reservations") or {}).get("devices") or ()
    return {
        "image": service.get("image"),
        "runtime": service.get("runtime") or None,
        "ipc": service.get("ipc") or None,
        "privileged": bool(service.get("privileged")),
        "shm": bool(service.get("shm_size")),
        # A dollar is printed twice, to be read again.
        "environment": {name: None if value is None else str(value).replace("$$", "$") for name, value in environment.items()},
        "devices": sorted(source for source, _ in devices),
        "profiles": sorted(service.get("profiles") or ()),
        "reserved": [asked(each) for each in reserved],
        "gpus": [asked(each) for each in service.get("gpus") or ()],
    }


def asked(request: dict[str, Any]) -> tuple[str, str, tuple[str, ...], tuple[str, ...]]:
    """Return a request as Compose printed it: a count of 0 is left out, and all is -1."""
    number = request.get("count", 0)
    ids = tuple(str(each) for each in request.get("device_ids") or ())
    return (str(request.get("driver") or ""), str(number), ids, tuple(request.get("capabilities") or ()))


def as_seen(service: Service, *, fills: bool) -> dict[str, Any]:
    """Return the same of a service as gpudoctor sees it; ``fills`` where Compose puts in a missing count."""
    value = service.value

    def text(name: str) -> str | None:
        found = value.get(name)
        return found.text or None if found is not None else None

    own = value.pairs.get("environment")
    environment = {name: each.text for name, each in service.environment.items() if name}
    for name, each in (own.pairs if own is not None else {}).items():
        if each.empty:
            # Printed without a value where the shell has none.
            environment[name] = service.environment[name].text if not service.environment[name].unset else None  # type: ignore[assignment]
    return {
        "image": text("image"),
        "runtime": text("runtime"),
        "ipc": text("ipc"),
        "privileged": text("privileged") == "true",
        "shm": text("shm_size") is not None,
        "environment": environment,
        "devices": sorted(each.source for each in service.devices),
        "profiles": sorted({each.text for each in value.all("profiles")}),
        "reserved": [_seen(each, fills=fills) for each in service.requests if each.by == "reservation"],
        "gpus": [_seen(each, fills=fills) for each in service.requests if each.by == "gpus"],
    }


def _seen(request: Request, *, fills: bool) -> tuple[str, str, tuple[str, ...], tuple[str, ...]]:
    number = request.number.text if request.number is not None else "-1" if fills and request.ids is None else "0"
    return (
        request.driver.text if request.driver is not None else "",
        "-1" if number == "all" else number,
        tuple(each.text for each in request.ids or ()),
        tuple(each.text for each in request.capabilities or ()),
    )


def seen(files: list[Path]) -> dict[str, Service]:
    """Return the services as gpudoctor sees them, with the variables that Compose is run with."""
    facts = Facts(parse(b"-- env TAG -- 9\n"), read([str(file) for file in files]))
    return {each.name: each for each in facts.composed.services}


def _tops(file: Path) -> bool:
    """Say whether a file has `services`; raises ValueError for what is no Compose file."""
    facts = Facts(parse(b""), read([str(file)]))
    return "services" in facts.composed.merged.layers[0].pairs


def compare(program: str, files: list[Path]) -> bool:
    """Hold both views of files against each other; False where Compose refuses the files."""
    printed = told(program, files)
    if printed is None:
        return False
    ours = seen(files)
    assert sorted(ours) == sorted(printed), files
    for name, service in printed.items():
        wanted, found = as_printed(service), as_seen(ours[name], fills=program != OLD)
        if program == OLD:
            # 1.29 prints `all` where 5 prints -1, and requests in any order.
            wanted["reserved"] = sorted(
                (driver, {"all": "-1"}.get(number, number), *rest) for driver, number, *rest in wanted["reserved"]
            )
            found["reserved"] = sorted(found["reserved"])
        assert found == wanted, (files, name)
    return True


@pytest.mark.parametrize("major", ["1", "5"])
def test_one_file_is_seen_as_compose_sees_it(tmp_path: Path, major: str) -> None:
    """Of every fixture that Compose takes, each service has the same image, runtime, variables, devices and requests."""
    program = compose(major)
    taken = 0
    for number, path in enumerate(SINGLE):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "base.yml").write_text("services:\n  web:\n    image: x\n")
        (folder / "job.env").write_bytes((FIXTURES / "compose" / "job.env").read_bytes())
        (folder / "docker-compose.yml").write_bytes(path.read_bytes())
        try:
            of_2014 = not _tops(folder / "docker-compose.yml")
        except ValueError:
            # What the reader refuses is held against Compose by the tests of edited files.
            continue
        if of_2014:
            # The first form of these files has no `services`; doctor says so and judges nothing.
            continue
        taken += compare(program, [folder / "docker-compose.yml"])
    assert taken >= 60


@pytest.mark.parametrize("major", ["1", "5"])
def test_files_over_each_other_are_seen_as_compose_sees_them(tmp_path: Path, major: str) -> None:
    """Each key of an upper file does to the lower one what Compose says, alone and with another one over both."""
    program = compose(major)
    uppers = UPPER if major == "1" else UPPER + ONLY_NEW
    taken = 0
    for number, upper in enumerate(uppers):
        folder = tmp_path / str(number)
        folder.mkdir()
        files = [folder / name for name in ("docker-compose.yml", "upper.yml", "third.yml")]
        files[0].write_text(LOWER)
        files[1].write_text(f"services:\n  web:\n    {upper}\n")
        files[2].write_text(f"services:\n  two:\n    {uppers[number - 1]}\n")
        (folder / "other.yml").write_text(OTHER)
        taken += compare(program, files[:2])
        taken += compare(program, files)
    assert taken >= 25


def test_included_files_are_seen_as_compose_sees_them() -> None:
    """What a file includes is a project of its own, with its own folder, .env and env_file: as Compose 5 prints it."""
    assert compare(compose("5"), [FIXTURES / "compose" / "include" / "compose.yml"])
