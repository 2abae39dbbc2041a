"""Formats that need no daemon, read by the programs they are for: both Composes, systemd, podman's quadlet, a parser of Nomad's language."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml
from referencing import Registry
from referencing.jsonschema import DRAFT7

from gpudoctor.device_args import Refused
from gpudoctor.host import NoAnswer
from tests.device_args.hosts import HOSTS, answer
from tests.lab.world import CDI_SCHEMA, QUADLET, needs_only

OLD = "/usr/bin/docker-compose"
NEW = str(Path(sys.prefix) / "bin" / "docker-compose")
TWO = ["/dev/nvidia3", "/dev/nvidia1", "/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools"]


def config(folder: Path, program: str, fragment: str) -> subprocess.CompletedProcess[str]:
    """Let Compose read a file whose one service has the fragment, and print what it understood."""
    service = "".join(f"    {line}\n" for line in fragment.splitlines())
    file = folder / "docker-compose.yml"
    file.write_text(f"services:\n  gpu:\n    image: some/image\n{service}")
    argv = [program, "--project-name", "lab", "-f", str(file), "config"]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder)}
    return subprocess.run(
        argv, capture_output=True, text=True, env=environment, timeout=60, check=False, stdin=subprocess.DEVNULL
    )


def understood(folder: Path, program: str, form: tuple[str, str], fixture: str, gpus: str) -> dict[str, object]:
    """Return the service as Compose understood it."""
    ran = config(folder, program, answer(fixture, form[0], gpus, style=form[1]).text)
    assert ran.returncode == 0, ran.stderr
    found = yaml.safe_load(ran.stdout)["services"]["gpu"]
    assert isinstance(found, dict)
    return found


def compose(major: str) -> str:
    """Return docker-compose 1 or 5; skip where it is not here or is another one."""
    program = OLD if major == "1" else NEW
    needs_only(program)
    ran = subprocess.run([program, "version"], capture_output=True, text=True, timeout=60, check=False)
    told = ran.stdout.partition("ersion")[2].strip(" :v\n")
    if not told.startswith(f"{major}."):
        pytest.skip(f"needs Compose {major}; {program} is {told.split()[0] if told else 'none'}")
    print(f"Compose {told.split()[0]}")
    return program


@pytest.mark.parametrize("major", ["1", "5"])
def test_devices_in_both_composes(tmp_path: Path, major: str):
    """docker-compose 1.29 and Compose 5 read the list of devices, each as source and target."""
    found = understood(tmp_path, compose(major), ("compose", "devices"), "eight-gpus-shuffled-minors", "0,2")
    paths = [each["source"] if isinstance(each, dict) else each.partition(":")[0] for each in found["devices"]]
    assert paths == TWO


@pytest.mark.parametrize("major", ["1", "5"])
@pytest.mark.parametrize(("gpus", "wanted"), [("all", {"count"}), ("0,2", {"device_ids"}), ("0", {"device_ids"})])
def test_reservation_in_both_composes(tmp_path: Path, major: str, gpus: str, wanted: set[str]):
    """A reservation has capabilities and either a count or ids, which both take; the ids stay text."""
    found = understood(tmp_path, compose(major), ("compose", "reservation"), "eight-gpus-shuffled-minors", gpus)
    (device,) = found["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]
    assert {"count", "device_ids"} & set(device) == wanted
    assert device.get("device_ids", gpus.split(",")) == gpus.split(",")


@pytest.mark.parametrize("gpus", ["all", "0,2"])
def test_gpus_in_compose_5_only(tmp_path: Path, gpus: str):
    """`gpus:` is Compose 2.30's: version 5 reads it, and 1.29 refuses it, which is why it is not the default."""
    found = understood(tmp_path, compose("5"), ("compose", "gpus"), "eight-gpus-shuffled-minors", gpus)
    (device,) = found["gpus"]
    assert device.get("device_ids") == (None if gpus == "all" else ["0", "2"])
    old = config(tmp_path, compose("1"), answer("eight-gpus-shuffled-minors", "compose", gpus, style="gpus").text)
    assert old.returncode != 0


def test_cdi_names_in_compose_5(tmp_path: Path):
    """CDI names under devices are what Compose 5 hands on."""
    found = understood(tmp_path, compose("5"), ("compose", "cdi"), "cdi", "0")
    assert "nvidia.com/gpu=0" in json.dumps(found["devices"])


@pytest.mark.parametrize("major", ["1", "5"])
@pytest.mark.parametrize("fixture", ["wsl2-no-toolkit", "jetson"])
def test_mounts_runtime_and_environment_in_both_composes(tmp_path: Path, major: str, fixture: str):
    """What WSL2 and a Jetson need beside devices is understood too."""
    found = understood(tmp_path, compose(major), ("compose", "devices"), fixture, "all")
    assert found["environment"]
    assert found.get("volumes") if fixture == "wsl2-no-toolkit" else found["runtime"] == "nvidia"


def test_systemd_takes_the_drop_in(tmp_path: Path):
    """systemd-analyze finds nothing to complain about in a service with the printed lines, and complains about a wrong one."""
    needs_only("systemd-analyze")
    text = answer("eight-gpus-shuffled-minors", "systemd", "0,2").text
    # As root it notes in /run/systemd when it read the units.
    private = ["unshare", "-m", "--propagation", "private", "sh", "-c", 'mount -t tmpfs none /run && exec "$@"', "sh"]
    verify = [*(private if os.geteuid() == 0 else ()), "systemd-analyze", "verify"]
    for name, fragment, fine in (("good", text, True), ("bad", text.replace("DeviceAllow", "DeviceAllows"), False)):
        unit = tmp_path / f"{name}.service"
        unit.write_text(f"[Unit]\nDescription=lab\n{fragment}ExecStart=/bin/true\n")
        ran = subprocess.run([*verify, str(unit)], capture_output=True, text=True, timeout=60, check=False)
        said = [line for line in ran.stderr.split("\n") if f"{name}.service" in line]
        assert (said == []) is fine, ran.stderr


def test_nomad_fragment_is_hcl():
    """A parser of HCL reads the devices, each with its path on the host and in the container."""
    needs_only()
    hcl2 = pytest.importorskip("hcl2", reason="python-hcl2 is not installed")
    (config_,) = hcl2.loads(answer("eight-gpus-shuffled-minors", "nomad", "0,2").text)["config"]
    assert [each["host_path"].strip('"') for each in config_["devices"]] == TWO
    assert [each["container_path"].strip('"') for each in config_["devices"]] == TWO


def test_nomad_fragment_of_wsl_has_the_libraries_too():
    """What stands in for the toolkit on WSL2 is a volume of the task's config and a block of its environment."""
    needs_only()
    hcl2 = pytest.importorskip("hcl2", reason="python-hcl2 is not installed")
    told = hcl2.loads(answer("wsl2-no-toolkit", "nomad").text)
    assert [each.strip('"') for each in told["config"][0]["volumes"]] == ["/usr/lib/wsl:/usr/lib/wsl:ro"]
    assert told["env"][0]["LD_LIBRARY_PATH"].strip('"') == "/usr/lib/wsl/lib"


def quadlet(folder: Path, fragment: str) -> subprocess.CompletedProcess[str]:
    """Let podman's generator print the service that it makes of a unit with the fragment and an image."""
    (folder / "gpu.container").write_text(f"{fragment}Image=localhost/probe\n")
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "QUADLET_UNIT_DIRS": str(folder)}
    return subprocess.run(
        [str(QUADLET), "--dryrun"],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_quadlet_makes_a_service_of_the_lines(tmp_path: Path):
    """Podman's own generator turns AddDevice= into --device of podman run, in the same order, and refuses a key it does not know."""
    needs_only()
    if not QUADLET.exists():
        pytest.skip("no podman with quadlet here (scripts/lab fetches Debian 13's where it can)")
    text = answer("eight-gpus-shuffled-minors", "systemd", "0,2", style="quadlet").text
    ran = quadlet(tmp_path, text)
    assert ran.returncode == 0, ran.stderr
    start = next(line for line in ran.stdout.split("\n") if line.startswith("ExecStart="))
    words = start.split()
    assert [words[at + 1] for at, word in enumerate(words) if word == "--device"] == TWO
    wsl = quadlet(tmp_path, answer("wsl2-no-toolkit", "systemd", style="quadlet").text)
    assert wsl.returncode == 0, wsl.stderr
    for word in ("--device /dev/dxg", "-v /usr/lib/wsl:/usr/lib/wsl:ro", "--env LD_LIBRARY_PATH=/usr/lib/wsl/lib"):
        assert word in wsl.stdout
    assert quadlet(tmp_path, text.replace("AddDevice", "AddDevices")).returncode != 0


def test_cdi_spec_keeps_to_the_schema_of_the_cdi_project():
    """On every fixture host the printed spec is valid by container-device-interface's own JSON schema, which refuses a damaged one."""
    needs_only()
    if not CDI_SCHEMA.exists():
        pytest.skip("no schema of the CDI project here (scripts/lab fetches Debian 13's package of it where it can)")
    definitions = DRAFT7.create_resource(json.loads((CDI_SCHEMA / "defs.json").read_text()))
    registry = Registry().with_resource("defs.json", definitions)
    schema = json.loads((CDI_SCHEMA / "schema.json").read_text())
    reader = jsonschema.Draft7Validator(schema, registry=registry)
    specs = []
    for path in sorted(HOSTS.glob("*.host")):
        for purposes in ("compute", "compute,graphics,video,display"):
            try:
                specs.append(yaml.safe_load(answer(path.stem, "cdi-spec", purposes=purposes).text))
            except (Refused, NoAnswer):
                continue
    given = [spec for spec in specs if spec is not None]
    assert len(given) > 40
    for spec in given:
        reader.validate(spec)
    for damaged in ({"path": 5}, {"hostPath": "/dev/nvidia0"}, {"path": "/dev/nvidia0", "major": "195"}):
        given[0]["devices"][0]["containerEdits"]["deviceNodes"] = [damaged]
        assert not reader.is_valid(given[0])
