"""What this machine is, in a few facts: GPUs with capability, driver, Docker, toolkit, injection path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from gpudoctor.host import NoAnswer

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpudoctor.facts import Facts

_T = TypeVar("_T")


def summarize(facts: Facts) -> dict[str, Any]:
    """Return the host as plain values for the JSON report; null where something is not there or could not be told."""
    platform, driver, docker, toolkit = facts.platform, facts.driver, facts.docker, facts.toolkit
    host = {
        "os": _told(lambda: platform.os_name),
        "kernel": _told(lambda: platform.kernel) or None,
        "machine": _told(lambda: platform.machine) or None,
        "kind": _told(lambda: _kind(facts)),
        "cgroup": _told(lambda: facts.cgroup.mode),
        "gpus": _told(lambda: _gpus(facts)),
        "gpu_present": _told(lambda: facts.gpus.present),
        "driver": _told(lambda: driver.version or driver.disk_version or driver.library_version),
        "kernel_module": _told(lambda: driver.flavour),
        "docker": _told(lambda: docker.version),
        "docker_kind": _told(lambda: docker.kind),
        "cgroup_driver": _told(lambda: docker.cgroup_driver if docker.installed else None),
        "podman": _told(lambda: facts.podman.version),
        "toolkit": _told(lambda: toolkit.version),
        "gpus_path": _told(lambda: toolkit.gpus_path if docker.installed else None),
        "runtime_path": _told(lambda: toolkit.runtime_path if docker.installed else None),
    }
    if facts.given.has("container"):
        host["containers"] = _told(lambda: _containers(facts))
    return host


def headline(host: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return (label, words) for the screen's header."""
    machine = " ".join(word for word in (host["kernel"] and f"kernel {host['kernel']}", host["machine"]) if word)
    kind = host["kind"] or "machine"
    where = {"wsl": "WSL guest", "jetson": "Jetson", "machine": ""}.get(kind, f"in a {kind} container")
    gpus = host["gpus"]
    cards: dict[str, int] = {}
    for gpu in gpus or ():
        name = gpu["name"].partition(" / ")[0]
        words = f"{name} ({gpu['capability']} {gpu['architecture']})" if gpu["capability"] else name
        cards[words] = cards.get(words, 0) + 1
    shown = ", ".join(f"{number} x {words}" if number > 1 else words for words, number in cards.items())
    if not shown and host["gpu_present"]:
        shown = {"wsl": "Windows' own, over /dev/dxg", "jetson": "Tegra's own"}.get(kind, "there, but not on the PCI bus")
    flavour = f" ({host['kernel_module']} module)" if host["kernel_module"] else ""
    engine = [str(host["docker_kind"])] if host["docker_kind"] else []
    engine += [f"cgroup {host['cgroup']}"] if host["cgroup"] else []
    engine += [f"{host['cgroup_driver']} driver"] if host["cgroup_driver"] else []
    docker = f"{host['docker'] or 'version not known'} ({', '.join(engine)})" if host["docker_kind"] else "none"
    if host["podman"]:
        docker += f"; podman {host['podman']}"
    paths = {"hook": "--gpus: legacy hook", "cdi": "--gpus: CDI", "none": "--gpus: nothing serves it"}
    ways = [paths[host["gpus_path"]]] if host["gpus_path"] in paths else []
    ways += [f"--runtime=nvidia: {host['runtime_path']}"] if host["runtime_path"] else []
    toolkit = (host["toolkit"] or "none") + (f" ({'; '.join(ways)})" if ways else "")
    return (
        ("host", ", ".join(word for word in (host["os"] or "cannot tell", machine, where) if word)),
        ("GPU", shown or ("cannot tell" if gpus is None else "none")),
        (
            "driver",
            f"{host['driver']}{flavour}"
            if host["driver"]
            else "Windows' own"
            if kind == "wsl" and host["gpu_present"]
            else "none found",
        ),
        ("Docker", docker),
        ("toolkit", toolkit),
        *(("container", _container(each)) for each in host.get("containers") or ()),
    )


def _told(ask: Callable[[], _T]) -> _T | None:
    """Return a fact, None where there is no answer or the fact itself fails: the header must not end the program."""
    try:
        return ask()
    except NoAnswer:
        return None
    except Exception:  # noqa: BLE001 - the rule that needs this fact reports the crash
        return None


def _kind(facts: Facts) -> str:
    if facts.platform.wsl:
        return "wsl"
    if facts.platform.jetson:
        return "jetson"
    return facts.platform.container or "machine"


def _containers(facts: Facts) -> list[dict[str, Any]]:
    return [
        {
            "name": each.name,
            "image": each.image,
            "running": each.running,
            "gpus": [{"by": way.how, "which": list(way.which)} for way in each.ways],
            "visible_devices": each.env.get("NVIDIA_VISIBLE_DEVICES"),
            "driver_capabilities": each.env.get("NVIDIA_DRIVER_CAPABILITIES"),
            "cuda_visible_devices": each.env.get("CUDA_VISIBLE_DEVICES"),
            "shm_bytes": each.shm,
            "privileged": each.privileged,
        }
        for each in facts.containers.all
    ]


def _container(each: dict[str, Any]) -> str:
    """Return one container in a line: which GPUs it was given by what, and what else decides."""
    by = {"gpus": "--gpus", "cdi": "CDI", "runtime": "the nvidia runtime", "devices": "device nodes"}
    ways = [f"{', '.join(way['which'])} by {by[way['by']]}" for way in each["gpus"]]
    words = [f"GPU {' and '.join(ways)}" if ways else "no GPU"]
    if each["driver_capabilities"]:
        words.append(f"driver capabilities {each['driver_capabilities']}")
    if each["cuda_visible_devices"] is not None:
        words.append(f"CUDA_VISIBLE_DEVICES={each['cuda_visible_devices']}")
    words += ["privileged"] if each["privileged"] else []
    words += [] if each["running"] else ["not running"]
    return f"{each['name']}: {'; '.join(words)}"


def _gpus(facts: Facts) -> list[dict[str, Any]]:
    models = {gpu.address: gpu.model for gpu in facts.gpus.taken}
    found = [
        {
            "address": function.address,
            "id": function.device_id,
            "name": models.get(function.address) or function.name,
            "capability": ".".join(map(str, function.capability)) if function.capability else None,
            "architecture": function.architecture or None,
            "probable": function.probable,
            "driver": function.driver,
        }
        for function in facts.gpus.functions
    ]
    if found:
        return found
    return [
        {
            "address": gpu.address,
            "id": None,
            "name": gpu.model or "NVIDIA GPU",
            "capability": None,
            "architecture": None,
            "probable": False,
            "driver": "nvidia",
        }
        for gpu in facts.gpus.taken
    ]
