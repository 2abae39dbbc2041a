"""One real call of a bundle's APIs in a throw-away process of the bundle's own environment, and where it computed.

The collector (``probes/collector.py``) is run as every probe is (``smoke/run.py``): by the Python or in the image that was named. It
starts the program for the bundle's format, which loads the bundle, calls its APIs and tells what its frameworks did; the collector
adds what it sees of that process from outside. What the bundle prints is shown and never read for the verdict.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from gpudoctor.bundle import Call, Wanted
from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gpudoctor.bundle import Api, Artifact, Bundle, Check, Verdict
    from gpudoctor.bundle.files import Files
    from gpudoctor.facts import Facts
    from gpudoctor.smoke.run import Ended

    Heard = Callable[[str, dict[str, Any]], None]

PROBES = os.path.join(os.path.dirname(__file__), "probes")
_LAST_WORDS = 12
_NVML_WAIT = 10.0  # seconds that a process which has answered is kept for the driver's list of processes
_LONGEST_WORD = 64 * 1024
_DRIVER = "/proc/driver/nvidia/version"
_HTTP = {"bentoml-0.13": "bentoml0.py", "bentoml-1": "bentoml1.py"}
_PROGRAMS = {
    "onnx": "onnx_probe.py",
    "torchscript": "torchscript_probe.py",
    "torch-export": "torchscript_probe.py",
    "savedmodel": "savedmodel_probe.py",
}
_INSTEAD = {
    "safetensors": "it is weights alone: the program that makes the model of them has to be called",
    "state-dict": "it is weights alone: the program that makes the model of them has to be called",
    "torchserve": "unpack it and give the model file inside (TorchServe itself is retired)",
    "cog": "build its image (`cog build`) and call that: `cog predict`",
    "kserve": "give the model folder that its storageUri names",
}


class Called(NamedTuple):
    """What came of it: a ``Call`` for each API, the verdict and a sentence why, what was isolated, last words, the command."""

    calls: tuple[Call, ...]
    verdict: Verdict
    text: str
    isolation: tuple[str, ...] = ()
    quoted: tuple[str, ...] = ()
    command: str = ""


class Unusable(Exception):  # noqa: N818 - a wrong request, answered with a sentence
    """What was asked for cannot be tried: the text says what to ask for instead."""


class _Plan(NamedTuple):
    """What the worker is told: its program and settings, which calls are made, and those for which there is no input."""

    program: str
    settings: dict[str, Any]
    calls: tuple[dict[str, Any], ...]
    skipped: tuple[Call, ...]


class _Place(NamedTuple):
    """Where it runs: a Python of this host, or ``docker run``'s words for GPUs and image."""

    python: str
    container: Any = None
    remarks: tuple[str, ...] = ()


def call(facts: Facts, bundle: Bundle, files: Files, checks: Sequence[Check], want: Wanted, heard: Heard) -> Called:
    """Call what was asked for. ``heard`` gets a title and each line of the worker as it comes, or ``{"says": …}`` of a venv's building.

    Raises Unusable; Refused or NoAnswer of the device arguments where the image cannot be given the GPUs.
    """
    from gpudoctor.bundle import isolate
    from gpudoctor.smoke.climb import no_gpu

    _sensible(bundle, want)
    nothing = no_gpu(facts) if want.device == "cuda" else ""
    if nothing:
        text = f"{nothing}; --device cpu tries the bundle without one, which says nothing of a GPU"
        return Called((), "nothing-to-test", text)
    if bundle.format in _INSTEAD:
        return Called((), "nothing-to-test", f"a {bundle.format} bundle is not called: {_INSTEAD[bundle.format]}")
    why = isolate.refused(checks, trust=want.trust, container=bool(want.image))
    if why:
        return Called((), "refused", why)
    plans = _plans(bundle, files, want)
    skipped = tuple(each for plan in plans for each in plan.skipped)
    if not any(plan.calls for plan in plans):
        if not skipped:
            return Called((), "nothing-to-test", "the bundle has no API to call")
        return Called(skipped, "cannot-tell", skipped[0].text)
    place = _place(facts, bundle, files, want, heard)
    return _together([_run(facts, bundle, files, want, plan, place, heard) for plan in plans if plan.calls], skipped)


def _together(parts: Sequence[Called], skipped: tuple[Call, ...]) -> Called:
    """Put the parts of a call together: the verdict over all of it, and of the part that decided it its words and command."""
    from gpudoctor.bundle import verdict

    calls = (*(each for part in parts for each in part.calls), *skipped)
    how = verdict.verdict(calls)
    telling = next((part for part in parts if part.verdict == how), parts[0])
    failed = [each for each in calls if each.ok is False]
    first = (failed or [each for each in calls if each.ok is None] or list(calls))[0]
    text = first.text if len(calls) == 1 else f"{first.api}: {first.text}"
    return telling._replace(calls=calls, verdict=how, text=text)


def _sensible(bundle: Bundle, want: Wanted) -> None:
    """Raise Unusable for a request that contradicts itself."""
    if not (want.python or want.image or want.venv):
        raise Unusable("name the environment that the bundle is called in: --python EXE, --image IMAGE, or --venv")
    if want.isolate == "container" and not want.image:
        raise Unusable("--isolate container needs --image: an image that has the bundle's Python environment")
    if want.isolate == "host" and want.image:
        raise Unusable("--isolate host and --image exclude each other: an image is run in a container")
    names = [api.name for api in bundle.apis]
    unknown = [name for name in want.apis if name not in names]
    if unknown:
        raise Unusable(f"--api {unknown[0]}: the bundle has {', '.join(names) or 'no API'}")
    if want.body and len(want.apis or names) > 1:
        raise Unusable(f"--input is for one API; name it with --api: {', '.join(want.apis or names)}")
    if want.serve and bundle.format not in _HTTP:
        raise Unusable(f"--serve: a {bundle.format} bundle has no server of its own; without --serve the model itself is called")


# ---------------------------------------------------------------------------------------------------------------------
# What is called, and with what


def _plans(bundle: Bundle, files: Files, want: Wanted) -> tuple[_Plan, ...]:
    """Return what is run, a process each: one for all APIs of a service, one for each file of plain models."""
    from gpudoctor.bundle import inputs

    chosen = [api for api in bundle.apis if not want.apis or api.name in want.apis]
    if bundle.format not in _HTTP:
        return _models(bundle, chosen, want)
    calls, skipped = [], []
    for api in chosen:
        made = inputs.request(api, want.body)
        if made is None:
            skipped.append(_untried(api.name, inputs.ask(api, files, bundle)))
        else:
            calls.append({"api": api.name, "route": api.route or api.name, **made})
    program = "serve_probe.py" if want.serve else _HTTP[bundle.format]
    return (_Plan(program, {}, tuple(calls), tuple(skipped)),)


def _models(bundle: Bundle, apis: Sequence[Api], want: Wanted) -> tuple[_Plan, ...]:
    """Return how plain models are called: the newest file of each that its runtime can load, by that runtime."""
    from gpudoctor.bundle import Api, inputs

    plans: dict[Artifact, list[dict[str, Any]]] = {}
    skipped = []
    for api in apis or [Api(bundle.name or "model", "", "tensor")]:
        # In a repository of models the first part of an artifact's name is its model.
        several = bundle.format == "triton" and len(bundle.apis) > 1
        known = [each for each in bundle.artifacts if not several or each.name.partition("/")[0] == api.name]
        loadable = [each for each in known if each.kind in _PROGRAMS]
        if not loadable:
            kinds = ", ".join(sorted({f"{each.path} ({each.kind})" for each in known})) or "no model file"
            text = f"not called: it has {kinds}; only ONNX, TorchScript, torch.export and SavedModel are called without their own server"
            skipped.append(_untried(api.name, text))
            continue
        model = max(loadable, key=lambda each: (each.kind == "onnx", inputs.numbered(each.path)))
        body = want.body or api.example
        source = "given" if want.body else "example" if body else "built"
        declared = [list(each) for each in api.inputs]
        plans.setdefault(model, []).append({"api": api.name, "body": body, "source": source, "declared": declared})
    made = [
        _Plan(_PROGRAMS[model.kind], {"model": model.path, "kind": model.kind}, tuple(calls), ())
        for model, calls in plans.items()
    ]
    return (*made, *([_Plan("", {}, (), tuple(skipped))] if skipped else []))


def _untried(api: str, text: str) -> Call:
    return Call(api, None, "nowhere", {}, text)


# ---------------------------------------------------------------------------------------------------------------------
# Where


def _place(facts: Facts, bundle: Bundle, files: Files, want: Wanted, heard: Heard) -> _Place:
    import shutil

    if want.image:
        from gpudoctor.smoke import image

        _image_there(want.image)
        gpus, remarks = image.gpu_words(facts, want.gpus or ("all",)) if want.device == "cuda" else ((), ())
        return _Place("", image.Container(want.image, want.docker_args, gpus), remarks)
    if want.venv:
        from gpudoctor.bundle import venv

        return _Place(venv.python(bundle, files, heard), remarks=venv.remarks(bundle))
    found = shutil.which(want.python)
    if found is None:
        raise Unusable(f"--python {want.python}: there is no such program")
    return _Place(os.path.abspath(found))


def _image_there(name: str) -> None:
    """Raise Unusable where there is no such image: nothing is downloaded here."""
    from gpudoctor.host import Miss
    from gpudoctor.host.live import run_bounded

    try:
        ran = run_bounded(["docker", "image", "inspect", "--format", "{{.Id}}", name], "docker image inspect", 30)
    except Miss as missed:
        raise Unusable(f"--image: {missed}") from None
    if ran.rc:
        said = ran.err.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise Unusable(f"--image {name}: {said}" + (f"; docker pull {name}" if "No such image" in said else ""))


def _shown(facts: Facts, want: Wanted) -> dict[str, str]:
    """Return what says which GPUs may be used: those that were named, by UUID where it is known; none at all for the CPU."""
    if want.device == "cpu":
        return {"CUDA_VISIBLE_DEVICES": ""}
    if not want.gpus or want.image:
        return {}
    from gpudoctor import device_args
    from gpudoctor.device_args import select

    selection = select.select(facts, device_args.Request(want.gpus, ("compute",), "args", ""))
    names = []
    for gpu in selection.gpus:
        if not gpu.chosen:
            continue
        whole = gpu.uuid if gpu.uuid and "?" not in gpu.uuid else str(gpu.number)
        names += [each.uuid or f"MIG-{whole}/{each.gi}/{each.ci}" for each in gpu.instances if each.chosen] or [whole]
    return {"CUDA_VISIBLE_DEVICES": ",".join(names), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


# ---------------------------------------------------------------------------------------------------------------------
# The run


def _run(facts: Facts, bundle: Bundle, files: Files, want: Wanted, plan: _Plan, place: _Place, heard: Heard) -> Called:
    import json
    import shlex
    import shutil

    from gpudoctor.bundle import isolate
    from gpudoctor.smoke import run

    nonce, seal = os.urandom(8).hex(), os.urandom(16).hex()
    top = run.folder(nonce)
    name = f"gpudoctor-smoke-{nonce}"
    waits = _NVML_WAIT if want.device == "cuda" and os.path.exists(_DRIVER) else 0.0
    nvml = _Nvml(os.path.join(top, "out"), name if place.container is not None else "", asked=bool(waits))
    root = _root(bundle)
    inside = place.container is not None
    worker: dict[str, Any] = {
        **plan.settings,
        "bundle": isolate.BUNDLE if inside else root,
        "device": want.device,
        "calls": list(plan.calls),
    }
    settings: dict[str, Any] = {"program": plan.program, "worker": worker}
    try:
        code = _folders(top)
        models = _models_of_store(root)
        shown = _shown(facts, want)
        if want.serve:
            from gpudoctor.bundle import serve

            worker.update(serve.settings(bundle, want))
            settings["needs_network"] = serve.needs_namespace(bundle) and not inside
        if inside:
            settings.update(code=isolate.CODE)
            mounts = isolate.mounts(root, files.only)
            if models:
                # In the container BENTOML_HOME is empty as well.
                mounts = (*mounts, (models, isolate.MODELS))
            argv = isolate.words(place.container, name, top, mounts, {**isolate.everywhere(isolate.HOME), **shown})
            environment, out = dict(os.environ), isolate.FOLDER
        else:
            if models:
                os.mkdir(os.path.join(top, "home", "bentoml"))
                os.symlink(models, os.path.join(top, "home", "bentoml", "models"))
            settings.update(code=code, namespaces=True, protect=_protected(root, files, top), largest_file=isolate.LARGEST_FILE)
            settings["scratch"] = os.path.join(top, "scratch")
            argv = (place.python, "-")
            environment, out = {**isolate.environment(os.environ, os.path.join(top, "home")), **shown}, os.path.join(top, "out")
        if len(json.dumps(worker["calls"])) > _LONGEST_WORD:
            # The kernel takes no longer words than 128 KiB; programs find it beside themselves.
            with open(os.path.join(code, "calls.json"), "w", encoding="utf-8") as file:
                json.dump(worker["calls"], file)
            worker["calls"] = "calls.json"
        script = _script(top, seal)
        command = f"{shlex.join([*(['env', *(f'{k}={v}' for k, v in shown.items())] if shown and not inside else []), *_pasteable(argv)])}"
        paste = {**settings, "code": isolate.CODE if inside else PROBES}
        command += f" {shlex.quote(json.dumps(paste))} < {shlex.quote(os.path.join(PROBES, 'collector.py'))}"
        if isinstance(worker["calls"], str):
            # Its input is too long to be pasted, and the file of it is gone by then.
            command = ""
        settings.update(out=out, nonce=nonce, waits=waits)
        if not inside:
            settings["script"] = script
        job = run.Job((*argv, json.dumps(settings)), script, os.path.join(top, "out"), nonce, environment)
        if inside:
            job = job._replace(stop=("docker", "rm", "--force", name))

        def each(line: dict[str, Any]) -> None:
            if line.pop("seal", "") != seal:
                return
            line["sealed"] = True
            nvml.look(line)
            heard(bundle.name or os.path.basename(bundle.path), line)

        ended = run.run(job, want.timeout, each)
    finally:
        shutil.rmtree(top, ignore_errors=True)
    return _read(want, plan, place, ended, nvml, command)


def _models_of_store(root: str) -> str:
    """Return the folder of models that a bento in BentoML's own store refers to, "" where it has its models itself or is elsewhere."""
    above = os.path.dirname(os.path.dirname(os.path.dirname(root)))
    models = os.path.join(above, "models")
    in_store = os.path.basename(os.path.dirname(os.path.dirname(root))) == "bentos" and os.path.isfile(
        os.path.join(root, "bento.yaml")
    )
    return models if in_store and os.path.isdir(models) and not os.path.isdir(os.path.join(root, "models")) else ""


def _root(bundle: Bundle) -> str:
    return os.path.abspath(bundle.root)


def _protected(root: str, files: Files, top: str) -> str:
    """Return what cannot be changed: the bundle's folder, of a bundle that is one file that file; never what our own folder is in."""
    if files.only:
        return os.path.join(root, files.only[0])
    return root if not f"{os.path.realpath(top)}/".startswith(os.path.realpath(root).rstrip("/") + "/") else ""


def _folders(top: str) -> str:
    """Make the folders of one run, and return that of the programs, which are copied: a container is shown nothing else of ours."""
    import shutil

    code = os.path.join(top, "code")
    shutil.copytree(PROBES, code, ignore=shutil.ignore_patterns("__pycache__", "collector.py", "__init__.py"))
    for each, mode in (("out", 0o777), ("home", 0o700), ("scratch", 0o700)):
        os.mkdir(os.path.join(top, each))
        # In the first a container's user may write, whoever that is; the folder around it is ours alone.
        os.chmod(os.path.join(top, each), mode)
    # That user has to read them as well, whatever the mask was when they were installed.
    for folder, _, names in os.walk(code):
        os.chmod(folder, 0o755)  # noqa: S103
        for each in names:
            os.chmod(os.path.join(folder, each), 0o644)
    return code


def _script(top: str, seal: str) -> str:
    """Write the collector with its seal, and return its path."""
    with open(os.path.join(PROBES, "collector.py"), encoding="utf-8") as file:
        text = file.read()
    path = os.path.join(top, "collector.py")
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text.replace('SEAL = ""', f'SEAL = "{seal}"', 1))
    return path


def _pasteable(argv: Sequence[str]) -> list[str]:
    """Return the command without what lives in a folder that is gone: our programs are mounted from where they are installed."""
    from gpudoctor.bundle import isolate

    words = list(argv)
    if "--name" in words:
        at = words.index("--name")
        del words[at : at + 2]
    done: list[str] = []
    for word in words:
        if word.endswith(f":{isolate.FOLDER}"):
            done.pop()
        elif word.endswith(f":{isolate.CODE}:ro"):
            done.append(f"{PROBES}:{isolate.CODE}:ro")
        else:
            done.append(word)
    return done


class _Nvml:
    """Asks the driver, each time a call has been answered and its process still waits, which processes use a GPU."""

    def __init__(self, folder: str, container: str, *, asked: bool) -> None:
        self.folder = folder
        self.container = container
        self.asked = asked
        self.found: dict[int, list[dict[str, object]] | None] = {}

    def look(self, line: Mapping[str, Any]) -> None:
        """Ask, keep what concerns these processes, and let the process go on."""
        number = line.get("number")
        if not self.asked or not isinstance(number, int):
            return
        try:
            pids = {each.get("pid") for each in line.get("processes") or ()}
            self.found[number] = self._users(pids)
        finally:
            self._nod(number)

    def _nod(self, number: int) -> None:
        """Make the file for which the process waits. Its own code can write there too: a link or a FIFO of that name is left alone."""
        import contextlib

        with contextlib.suppress(FileExistsError):
            os.close(
                os.open(os.path.join(self.folder, f"seen-{number}"), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            )

    def _users(self, pids: set[object]) -> list[dict[str, object]] | None:
        from gpudoctor.facts import Facts
        from gpudoctor.host import Miss
        from gpudoctor.host.live import Live

        try:
            gpus = Facts(Live()).usage.gpus
        except Miss:
            return None
        found: list[dict[str, object]] = []
        for gpu in gpus:
            for user in gpu.users or ():
                ours = user.container == self.container if self.container else user.pid in pids
                if ours:
                    found.append({"gpu": gpu.number, "uuid": gpu.uuid, "pid": user.pid, "memory": user.memory})
        # Where NVML does not tell the users of a GPU, that none was found says nothing.
        return found if found or all(gpu.users is not None for gpu in gpus) else None


def _read(want: Wanted, plan: _Plan, place: _Place, ended: Ended, nvml: _Nvml, command: str) -> Called:
    """Turn how the collector ended into calls."""
    from gpudoctor.bundle import isolate, verdict

    lines = [line for line in ended.lines if line.get("sealed")]
    sources = {each["api"]: str(each.get("source") or "given") for each in plan.calls}
    calls = []
    failed = next((line for line in lines if line.get("failed")), None)
    answered = {str(line["answered"]): line for line in lines if "answered" in line}
    for api, source in sources.items():
        line = answered.get(api)
        if line is not None:
            processes = line.get("processes") or ()
            calls.append(verdict.called(line, want.device, processes, nvml.found.get(int(line.get("number") or 0)), source))
        elif failed is not None:
            doing = "served" if want.serve else "loaded"
            evidence: dict[str, object] = {"frameworks": verdict.plain(failed.get("seen") or {})}
            text = f"could not be {doing}: {verdict.failure(failed)}{_lacks(failed, place)}"
            calls.append(Call(api, ok=False, ran_on="nowhere", evidence=evidence, text=text))
        else:
            text = _broke_off(want, place, ended, lines, api)
            calls.append(Call(api, ok=False, ran_on="nowhere", evidence={}, text=text))
    told = next((line for line in lines if "isolation" in line), None)
    if place.container is not None:
        isolation = isolate.in_container(told.get("limits") or {} if told else None)
    else:
        isolation = isolate.on_host(told["isolation"] if told else None, root=bool(told and told.get("root")))
    isolation = (*isolation, *place.remarks)
    if ended.left:
        isolation = (*isolation, f"Processes {', '.join(map(str, ended.left))} cannot be killed: they wait for the driver.")
    return Called(tuple(calls), verdict.verdict(calls), "", isolation, _last_words(ended), command)


def _lacks(failed: Mapping[str, Any], place: _Place) -> str:
    """Return what to do where the environment lacks a module or its user may not read the bundle."""
    from gpudoctor.bundle import isolate

    if failed.get("error") == "PermissionError" and place.container is not None and isolate.BUNDLE in str(failed.get("text")):
        return "; the image's user may not read it: make it readable (chmod -R go+rX), or --docker-arg=--user=0"
    if failed.get("error") not in {"ModuleNotFoundError", "MissingDependencyException"}:
        return ""
    if place.container is not None:
        return "; the image lacks it (another Python of it: --docker-arg=--entrypoint=/path/to/python)"
    return f"; it is not installed for {place.python}"


def _last_words(ended: Ended) -> tuple[str, ...]:
    """Return the last lines that were printed, to be quoted."""
    lines = [line.rstrip()[:500] for text in (ended.out, ended.err) for line in text.splitlines()[-_LAST_WORDS:] if line.strip()]
    return tuple("".join(each if each.isprintable() or each == "\t" else "?" for each in line) for line in lines)


def _broke_off(want: Wanted, place: _Place, ended: Ended, lines: Sequence[Mapping[str, Any]], api: str) -> str:
    """Say how a process ended before it had answered."""
    import signal

    phases = [str(line["rung"]) for line in lines if line.get("phase")]
    at = phases[-1] if phases else "start"
    during = {"start": "before it began", "load": "while the bundle was loaded", "serve": "before the server answered"}.get(at)
    during = during or f"while {at} was called"
    if at not in {"start", "load", "serve", api}:
        return f"not called: the process ended {during}"
    if ended.late:
        return f"no answer within {want.timeout:g} s {during}: it was killed"
    if ended.rc is None:
        return ended.err
    code = next((line.get("code") for line in lines if line.get("ended")), None)
    last = next((line for line in reversed(ended.err.splitlines()) if line.strip()), "")[:300]
    if code is None and place.container is not None and not lines:
        if ended.rc == 0:
            return "it ended well and left no verdict: this Docker does not see the folder that it was given (a snap does so)"
        # What follows it names only the page of help.
        own = next((line for line in ended.err.splitlines() if line.startswith("docker: ")), f"docker: {last}")
        return f"docker run: {own.removeprefix('docker: ')[:300]}"
    number = -code if isinstance(code, int) else -ended.rc
    if number > 0:
        name = next((each.name for each in signal.Signals if each.value == number), "unknown")
        more = "; most often the kernel had no memory left" if number == signal.SIGKILL else ""
        return f"killed by signal {number} ({name}) {during}{more}"
    return f"it ended with exit code {-number} {during}" + (f": {last}" if last else "")
