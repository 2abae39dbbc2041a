"""Climb the ladder in each place, with each framework, on each GPU, and say what failed first and why."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from gpudoctor.host import NoAnswer
from gpudoctor.smoke.ladder import ABOVE, BELOW, FRAMEWORKS, TITLES, Climb, Difference, Rung, Smoke, filled, verdict
from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpudoctor.device_args import Selection
    from gpudoctor.facts import Facts
    from gpudoctor.smoke.image import Container
    from gpudoctor.smoke.ladder import Cause
    from gpudoctor.smoke.run import Ended

    Heard = Callable[[str, dict[str, Any]], None]

_PROBES = os.path.join(os.path.dirname(__file__), "probes")
_LAST_WORDS = 12
_VISIBLE = "CUDA_VISIBLE_DEVICES"
_ABSENT = 2  # ENOENT


class Asked(NamedTuple):
    """What was asked for: ``gpus`` empty where none were named, ``python`` empty for the one on the PATH, ``image`` empty for none.

    ``every``: the frameworks were not named one by one, so one that is not installed is no failure.
    """

    frameworks: tuple[str, ...]
    every: bool = False
    python: str = ""
    image: str = ""
    docker_args: tuple[str, ...] = ()
    gpus: tuple[str, ...] = ()
    device: str = "cuda"
    timeout: float = 120.0
    daemon_reload: bool = False


class Unusable(Exception):  # noqa: N818 - a wrong request, answered with a sentence
    """What was asked for cannot be tried: the text says what to ask for instead."""


class _Place(NamedTuple):
    """Where a probe runs: on the host by a Python, or in containers of an image."""

    name: str
    python: str
    container: Container | None = None


class _Try(NamedTuple):
    """One probe to run: its file, what it is told, the rungs that it climbs, and the GPU that it is shown."""

    framework: str
    probe: str
    settings: dict[str, Any]
    names: tuple[str, ...]
    gpu: str = ""


def asked(words: list[str]) -> tuple[tuple[str, ...], bool]:
    """Return the frameworks named by words (commas separate too), and whether that was by `all`; Unusable for an unknown one."""
    names = list(dict.fromkeys(name for word in words for name in word.split(",") if name))
    if "all" in names:
        return FRAMEWORKS, True
    unknown = [name for name in names if name not in FRAMEWORKS]
    if unknown:
        raise Unusable(f"{unknown[0]}: no such framework; there are {', '.join(FRAMEWORKS)}, and all")
    return tuple(names), False


def smoke(facts: Facts, want: Asked, heard: Heard) -> Smoke:
    """Try all that was asked for. ``heard`` gets a ladder's title and each line of its verdict as it comes.

    Raises Unusable, and Refused or NoAnswer of the device arguments.
    """
    host = _Place("host", _python(want))
    if want.device == "cpu":
        names = tuple(name for name in want.frameworks if name != "cupy" or not want.every)
        places = [host, *([_Place("image", "", _container(want, (), ()))] if want.image else [])]
        climbs = [_framework(facts, want, place, framework, "", heard) for framework in names for place in places]
        return Smoke(want.device, (), tuple(climbs), _differences(climbs))
    nothing = no_gpu(facts)
    if nothing:
        return Smoke(want.device, want.gpus, (), (), nothing)
    from gpudoctor import device_args
    from gpudoctor.device_args import select

    wanted = want.gpus or ("all",)
    selection = select.select(facts, device_args.Request(wanted, ("compute",), "args", ""))
    gpus = _gpus(selection, want)
    below = _below(facts, want, host, selection, heard)
    climbs = [below]
    ready = [host] if below.verdict == "starts" else []
    if want.image and _starts_containers(below):
        from gpudoctor.smoke import image

        place = _Place("image", "", _container(want, *image.gpu_words(facts, wanted)))
        within = _below(facts, want, place, selection, heard)
        climbs.append(within)
        ready += [place] if within.verdict == "starts" else []
        if want.daemon_reload and within.verdict == "starts":
            climbs.append(_reload(facts, want, place, selection, heard))
    for framework in want.frameworks:
        for gpu in gpus:
            climbs += [_framework(facts, want, place, framework, gpu, heard) for place in ready]
        if not ready:
            climbs.append(Climb("host", framework, "", filled((), ABOVE), "not tried"))
        elif framework == "torch" and len(gpus) > 1:
            climbs += [_peers(facts, want, place, heard) for place in ready]
    return Smoke(want.device, gpus, tuple(climbs), _differences(climbs))


def _starts_containers(below: Climb) -> bool:
    """Say whether a container can be tried: Docker refuses to start one with a node that is missing."""
    failed = below.first_failed
    return failed is None or failed.name != "nodes" or _ABSENT not in (failed.facts.get("errors") or {"": _ABSENT}).values()


def no_gpu(facts: Facts) -> str:
    """Return why there is no GPU to test, "" where there is one."""
    try:
        if facts.gpus.present:
            return ""
        seen = "no NVIDIA GPU on the PCI bus"
    except NoAnswer as missed:
        seen = str(missed)
    return "" if facts.devices.nodes else f"no GPU to test: {seen}, and no /dev/nvidia* node"


def _python(want: Asked) -> str:
    """Return the Python that the host's ladder runs in."""
    import shutil
    import sys

    if not want.frameworks and not want.python:
        return sys.executable
    name = want.python or "python3"
    found = shutil.which(name)
    if found is None:
        raise Unusable(
            f"--python {name}: there is no such program" if want.python else "no python3 on the PATH; name one with --python"
        )
    return os.path.abspath(found)


def _container(want: Asked, gpus: tuple[str, ...], remarks: tuple[str, ...]) -> Container:
    """Return what the containers are started with; Unusable where there is no such image: nothing is downloaded here."""
    from gpudoctor.host.live import run_bounded
    from gpudoctor.smoke.image import Container

    try:
        ran = run_bounded(["docker", "image", "inspect", "--format", "{{.Id}}", want.image], "docker image inspect", 30)
    except NoAnswer as missed:
        raise Unusable(f"--image: {missed}") from None
    except Exception as missed:
        raise Unusable("--image: there is no docker on the PATH") from missed
    if ran.rc:
        said = ran.err.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise Unusable(f"--image {want.image}: {said}" + (f"; docker pull {want.image}" if "No such image" in said else ""))
    return Container(want.image, want.docker_args, gpus, remarks)


def _gpus(selection: Selection, want: Asked) -> tuple[str, ...]:
    """Return what CUDA_VISIBLE_DEVICES is set to, one after the other: a UUID where it is known; "" leaves it as it is."""
    if not want.gpus and _VISIBLE in os.environ:
        return ("",)
    names = []
    for gpu in selection.gpus:
        if not gpu.chosen:
            continue
        chosen = [each for each in gpu.instances if each.chosen]
        whole = gpu.uuid if gpu.uuid and "?" not in gpu.uuid else str(gpu.number)
        names += [each.uuid or f"MIG-{whole}/{each.gi}/{each.ci}" for each in chosen] or [whole]
    return tuple(names) if len(names) > 1 or want.gpus else ("",)


def _below(facts: Facts, want: Asked, place: _Place, selection: Selection, heard: Heard) -> Climb:
    """Climb the rungs below every framework."""
    if place.container is None and selection.missing:
        first = selection.missing[0]
        says = "; ".join(f"{each.what}: {each.why}" for each in selection.missing)
        rung = Rung("nodes", "failed", None, says, {"errors": dict.fromkeys((each.what for each in selection.missing), _ABSENT)})
        cause = _cause(facts, rung, "", place, "", None)
        if cause is None or not cause.commands:
            text = cause.text if cause is not None else first.why
            from gpudoctor.smoke.ladder import Cause

            cause = Cause(cause.slug if cause is not None else "", text, "Make what is missing.", (first.command,))
        return Climb(place.name, "", "", filled((rung,), BELOW), "failed", cause=cause)
    settings: dict[str, Any] = {"nodes": [node.path for node in selection.chosen]}
    if not _may_start_cuda(facts, selection):
        settings["cuinit"] = False
        settings["why_not"] = "cuInit was not called: no driver is loaded (/proc/driver/nvidia/version), and it would make nodes"
    return _climb(facts, want, place, _Try("", "device.py", settings, BELOW), heard)


def _may_start_cuda(facts: Facts, selection: Selection) -> bool:
    """Say whether cuInit leaves this host as it is: as root it makes nodes that are missing, by nvidia-modprobe.

    The nodes are there when it comes to that: the first rung opened them. On WSL2 and Jetsons nothing makes nodes.
    """
    return selection.kind in {"wsl", "jetson"} or facts.driver.loaded is not None


def _framework(facts: Facts, want: Asked, place: _Place, framework: str, gpu: str, heard: Heard) -> Climb:
    """Climb with one framework on one GPU."""
    job = _Try(framework, f"{framework}_probe.py", {"device": want.device}, ABOVE, gpu)
    done = _climb(facts, want, place, job, heard)
    first = done.first_failed
    if first is None or first.facts.get("error") != "ModuleNotFoundError" or f"'{framework}'" not in first.says:
        return done
    # The host's own Python is there to compare an image with; what it lacks is no failure unless it was named.
    if want.every or (want.image and not want.python and place.name == "host"):
        return done._replace(verdict="not installed", cause=None, words=())
    from gpudoctor.smoke.ladder import Cause

    which = f"the image {want.image}" if place.container is not None else place.python
    cure = "Install it there, or name the Python that has it: " + (
        "`--docker-arg=--entrypoint=/path/to/python`." if place.container is not None else "`--python /path/to/python`."
    )
    return done._replace(cause=Cause("", f"{TITLES[framework]} is not installed for {which}", cure))


def _peers(facts: Facts, want: Asked, place: _Place, heard: Heard) -> Climb:
    """Copy between the GPUs, all of them visible."""
    job = _Try("torch", "torch_probe.py", {"device": "cuda", "peers": True}, ("import", "peers"))
    return _climb(facts, want, place, job, heard)


def _climb(facts: Facts, want: Asked, place: _Place, job: _Try, heard: Heard) -> Climb:
    """Run one probe and read its rungs."""
    import shutil

    from gpudoctor.smoke import image, run

    nonce = os.urandom(8).hex()
    top = run.folder(nonce)
    try:
        # The outer folder is ours alone; in the inner one a container's user may write, whoever that is.
        folder = os.path.join(top, "out")
        os.mkdir(folder)
        probe = os.path.join(_PROBES, job.probe)
        shown = [f"{_VISIBLE}={job.gpu}", "CUDA_DEVICE_ORDER=PCI_BUS_ID"] if job.gpu else []
        name = f"gpudoctor-smoke-{nonce}"
        stop: tuple[str, ...] = ()
        if place.container is None:
            argv: tuple[str, ...] = (place.python, "-")
            environment = {**os.environ, **dict(each.split("=", 1) for each in shown)}
            out = folder
            shell = [*(["env", *shown] if shown else []), *argv]
        else:
            os.chmod(folder, 0o777)  # noqa: S103 - inside a folder of ours that nobody else enters
            argv = image.run_words(place.container, name, folder, shown)
            environment, out = dict(os.environ), image.FOLDER
            stop = ("docker", "rm", "--force", name)
            shell = list(argv)
        import json

        settings = json.dumps({"out": out, "nonce": nonce, **job.settings})
        command = image.pasteable(shell, json.dumps(job.settings), probe)
        title = Climb(place.name, job.framework, job.gpu, (), "").title
        ended = run.run(
            run.Job((*argv, settings), probe, folder, nonce, environment, stop),
            want.timeout,
            lambda line: heard(title, line),
        )
    finally:
        shutil.rmtree(top, ignore_errors=True)
    return _read(facts, want, place, job, ended, command)


def _read(facts: Facts, want: Asked, place: _Place, job: _Try, ended: Ended, command: str) -> Climb:
    """Turn how a probe ended into a ladder."""
    rungs = tuple(
        Rung(str(line["rung"]), str(line["state"]), line.get("seconds"), str(line.get("says", "")), line.get("facts") or {})
        for line in ended.lines
        if "state" in line and line.get("rung") in job.names
    )
    if not ended.ended:
        done = {rung.name for rung in rungs}
        at = ended.rung or next((name for name in job.names if name not in done), job.names[-1])
        rungs = (*(rung for rung in rungs if rung.name != at), Rung(at, "failed", None, *_ended(ended, place, want)))
    rungs = filled(rungs, job.names)
    printed = f"{ended.out}\n{ended.err}"
    how = verdict(rungs, job.framework, want.device)
    failed = next((rung for rung in rungs if rung.state == "failed"), None)
    cause = None
    if failed is not None and want.device == "cuda":
        cause = _cause(facts, failed, job.framework, place, printed, job.gpu or os.environ.get(_VISIBLE))
    told = [line.get("peak_kib") for line in ended.lines if line.get("end")]
    peak = max([kib for kib in (*told, ended.peak_kib) if kib], default=None)
    remarks = list(place.container.remarks if place.container is not None and not job.framework else ())
    if ended.left:
        remarks.append(f"processes {', '.join(map(str, ended.left))} cannot be killed: they wait for the driver")
    last = [line for line in printed.splitlines() if line.strip()][-_LAST_WORDS:] if failed is not None else []
    return Climb(place.name, job.framework, job.gpu, rungs, how, command, cause, peak, tuple(last), tuple(remarks))


def _ended(ended: Ended, place: _Place, want: Asked) -> tuple[str, dict[str, Any]]:
    """Say how a probe ended that did not come to its end, as a sentence and facts."""
    import signal

    during = f"during {ended.phase}"
    if ended.late:
        return f"no answer within {want.timeout:g} s {during}: it was killed", {"late": ended.phase}
    if ended.rc is None:
        return ended.err, {}
    last = next((line for line in reversed(ended.err.splitlines()) if line.strip()), "")
    number = -ended.rc
    if place.container is not None:
        if ended.rc in {125, 126, 127} and not ended.lines:
            return f"docker run: {last}", {"rc": ended.rc}
        if not ended.lines and ended.rc == 0:
            return "it ended well and left no verdict: this Docker does not see the folder that it was given (a snap does so)", {}
        # A container's exit code is 128 and the signal.
        number = ended.rc - 128
    if number > 0:
        name = next((each.name for each in signal.Signals if each.value == number), "")
        more = "; most often the kernel had no memory left" if number == signal.SIGKILL else ""
        return f"killed by signal {number} ({name or 'unknown'}) {during}{more}", {"signal": number, "phase": ended.phase}
    return f"it ended with exit code {ended.rc} {during}, without a verdict: {last}", {"rc": ended.rc}


def _cause(facts: Facts, rung: Rung, framework: str, place: _Place, printed: str, visible: str | None) -> Cause | None:
    from gpudoctor.smoke import causes

    return causes.cause(rung, framework, place.name, printed, facts, visible)


def _reload(facts: Facts, want: Asked, place: _Place, selection: Selection, heard: Heard) -> Climb:
    """Look whether a running container keeps its GPU over `systemctl daemon-reload`: open its nodes before and after."""
    import json
    import shutil

    from gpudoctor.host import Miss
    from gpudoctor.host.live import run_bounded
    from gpudoctor.smoke import image, run

    assert place.container is not None  # noqa: S101 - asked for with an image alone
    nonce = os.urandom(8).hex()
    top = run.folder(nonce)
    name = f"gpudoctor-smoke-{nonce}"
    probe = os.path.join(_PROBES, "device.py")
    own = {"nodes": [node.path for node in selection.chosen], "cuinit": False, "why_not": "only the nodes are looked at"}
    argv = ("docker", "exec", "--interactive", name, image.PYTHON, "-")
    seen: list[Rung] = []

    def done(argv: tuple[str, ...], seconds: float) -> None:
        ran = run_bounded(list(argv), " ".join(argv[:2]), seconds)
        if ran.rc:
            raise Unusable(f"{' '.join(argv[:2])}: {ran.err.decode('utf-8', 'replace').strip()}")

    try:
        done(image.start_words(place.container, name, top), want.timeout)
        for turn in ("before", "after"):
            if turn == "after":
                done(("systemctl", "daemon-reload"), 60)
            nonce = os.urandom(8).hex()
            os.chmod(top, 0o777)  # noqa: S103 - the container's user writes there; the nonce tells its lines
            settings = json.dumps({"out": image.FOLDER, "nonce": nonce, **own})
            ended = run.run(
                run.Job((*argv, settings), probe, top, nonce, dict(os.environ)),
                want.timeout,
                lambda line: heard("reload, image", line),
            )
            seen.append(_read(facts, want, place, _Try("", "device.py", {}, ("nodes",)), ended, "").rungs[0])
        before, after = seen
        lost = before.state == "passed" and after.state == "failed"
        says = after.says if lost else f"before: {before.says}; after: {after.says}"
        rung = Rung("reload", "failed" if lost or before.state != "passed" else "passed", after.seconds, says, after.facts)
    except (Miss, Unusable) as missed:
        rung = Rung("reload", "untold", None, str(missed))
    finally:
        run.stop(("docker", "rm", "--force", name))
        shutil.rmtree(top, ignore_errors=True)
    cause = _cause(facts, rung, "", place, "", None) if rung.state == "failed" else None
    how = "failed" if rung.state == "failed" else "starts"
    return Climb("image", "", "", (rung,), how, "systemctl daemon-reload", cause)


def _differences(climbs: list[Climb]) -> tuple[Difference, ...]:
    """Return the first rung that differs between host and image for each framework, and what that means."""
    found = []
    pairs: dict[tuple[str, str, int], dict[str, Climb]] = {}
    for each in climbs:
        if each.verdict not in {"not installed", "not tried"} and each.rungs[0].name != "reload":
            pairs.setdefault((each.framework, each.gpu, len(each.rungs)), {})[each.place] = each
    for (framework, _, _), both in pairs.items():
        if len(both) < 2:
            continue
        host, image = both["host"], both["image"]
        for one, other in zip(host.rungs, image.rungs, strict=False):
            if one.state == other.state == "failed":
                text = "Both fail there: the container is not the cause. Mend the host's driver or devices first."
            elif one.state == "passed" and other.state == "failed":
                text = "The host is fine and the container is not: " + _meant(one.name)
            elif one.state == "failed" and other.state == "passed":
                text = "The container is fine and the host is not: the host's own Python environment lacks what the image has."
            else:
                continue
            found.append(Difference(framework, one.name, one.state, other.state, text))
            break
    return tuple(found)


def _meant(rung: str) -> str:
    """Say whose fault it is that a rung fails in a container alone."""
    if rung in BELOW:
        return "what gives the GPU to containers (toolkit, runtime, CDI, device arguments) is at fault, not the driver."
    return "the image is at fault (its framework build, its CUDA libraries), not the driver and not the toolkit."
