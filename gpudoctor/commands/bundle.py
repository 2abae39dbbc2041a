"""The command ``smoke --bundle``: what was asked for in; the static pass, the calls and the verdict out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpudoctor.bundle import NotABundle, Result, Wanted
from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gpudoctor.bundle import Bundle, Check, Verdict
    from gpudoctor.bundle.files import Files
    from gpudoctor.facts import Facts
    from gpudoctor.report.text import Line

_CODES: dict[Verdict, int] = {"pass": 0, "fail": 1, "refused": 1, "nothing-to-test": 3, "cannot-tell": 3}
_FINE, _USAGE = 0, 2

_WHAT_TO_GIVE = (
    "Nothing of the bundle was run. To call it: --python EXE (an environment that has what it requires), --venv (one is built from "
    "its requirements), or --image IMAGE (its own image)."
)


class Asked(NamedTuple):
    """What was asked for: a bundle's path, how to call it, and whether it is not to be called at all."""

    path: str
    call: Wanted
    static: bool

    @property
    def environment(self) -> bool:
        """Whether it was said what to call the bundle with."""
        return bool(self.call.python or self.call.image or self.call.venv)


def asked(
    path: str,
    *,
    apis: Sequence[str],
    body: str | None,
    python: str,
    image: str,
    venv: bool,
    docker_args: Sequence[str],
    gpus: str | None,
    device: str,
    serve: bool,
    trust: bool,
    isolate: str,
    timeout: float,
    static: bool,
    recorded: bool,
) -> Asked:
    """Return what was asked for; ValueError says what of it is wrong."""
    if device not in {"cuda", "cpu"}:
        raise ValueError(f"--device {device}: cuda or cpu")
    if isolate not in {"auto", "host", "container"}:
        raise ValueError(f"--isolate {isolate}: auto, host or container")
    if not 0 < timeout <= 86400:
        raise ValueError(f"--timeout {timeout:g}: seconds, more than 0 and at most a day")
    if bool(python) + bool(image) + venv > 1:
        raise ValueError("--python, --image and --venv exclude each other")
    if isolate == "container" and not image and not static:
        raise ValueError("--isolate container needs --image: a container is made from an image that has what the bundle requires")
    if isolate == "host" and image:
        raise ValueError("--isolate host and --image exclude each other")
    if docker_args and not image:
        raise ValueError("--docker-arg needs --image")
    if static and (python or image or venv or serve or apis or body is not None):
        raise ValueError("--static calls nothing, so it takes none of --python, --image, --venv, --serve, --api and --input")
    if recorded and not static:
        raise ValueError("--host needs --static: a recorded host calls nothing")
    if device == "cpu" and gpus is not None:
        raise ValueError("--device cpu excludes --gpus")
    chosen = tuple(dict.fromkeys(word.strip() for word in (gpus or "").split(",") if word.strip()))
    if gpus is not None and not chosen:
        raise ValueError("--gpus is empty; name GPUs, or `all`")
    wanted = Wanted(
        tuple(dict.fromkeys(apis)),
        "" if body is None else _body(body),
        python,
        image,
        venv,
        tuple(docker_args),
        chosen,
        device,
        serve,
        trust,
        isolate,
        timeout,
    )
    return Asked(path, wanted, static)


def _body(given: str) -> str:
    """Return the body that an API is sent: JSON, written on the command line or in a file that is named by @FILE."""
    import json

    text = given
    if given.startswith("@"):
        from gpudoctor.commands.given import Unreadable, read_named

        try:
            text = read_named(given[1:]).decode()
        except Unreadable as unreadable:
            raise ValueError(f"--input @{unreadable}") from None
        except UnicodeDecodeError:
            raise ValueError(f"--input {given}: it is not UTF-8") from None
    try:
        json.loads(text)
    except (ValueError, RecursionError) as wrong:
        raise ValueError(f"--input: not JSON: {wrong}") from None
    return text


def run(facts: Facts, want: Asked, heard: Callable[[str, dict[str, Any]], None]) -> Result:
    """Examine a bundle and, where an environment was named, call it. ``heard`` gets what the call says as it goes.

    Raises ValueError where what was asked for cannot be tried, and LookupError where the host does not say enough.
    """
    import os
    import shutil
    import signal

    from gpudoctor.bundle.recognise import recognise
    from gpudoctor.bundle.static import examine
    from gpudoctor.smoke.run import folder

    def ended(number: int, _: object) -> None:
        # As an exception, so that what was started is ended and what was unpacked is removed first.
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, ended)
    into = folder(os.urandom(8).hex())
    try:
        try:
            bundle, files, found = recognise(want.path, into)
        except NotABundle as no:
            return _no_bundle(want, no.check)
        static = examine(bundle, files, facts, found)
        return _judged(facts, want, bundle, files, static, heard)
    finally:
        shutil.rmtree(into, ignore_errors=True)


def _no_bundle(want: Asked, check: Check) -> Result:
    """Return the answer for what is no bundle, or an archive that must not or cannot be unpacked."""
    verdict: Verdict = "refused" if check.check == "archive-unsafe" else "nothing-to-test"
    return Result(want.path, None, (check,), (), verdict, check.text, _USAGE if verdict == "nothing-to-test" else _CODES[verdict])


def _judged(
    facts: Facts,
    want: Asked,
    bundle: Bundle,
    files: Files,
    static: tuple[Check, ...],
    heard: Callable[[str, dict[str, Any]], None],
) -> Result:
    errors = [each for each in static if each.severity == "error"]
    first = f"{_counted(len(errors))} by the static pass" if errors else ""
    if any(each.check in {"weights-only", "other-server"} for each in static):
        return _result(want, bundle, static, "nothing-to-test", "There is nothing in it that can be called.")
    if not want.environment:
        from gpudoctor.bundle import isolate

        why = isolate.refused(static, trust=want.call.trust, container=False)
        if why:
            return _result(want, bundle, static, "refused", why)
        if errors:
            return _result(want, bundle, static, "fail", f"{first}. {'' if want.static else _WHAT_TO_GIVE}".rstrip())
        untold = any(each.severity == "unknown" for each in static)
        text = "The static pass found no error; whether it runs on the GPU, only a call shows."
        if not want.static:
            text = f"{text} {_WHAT_TO_GIVE}"
        # What was asked for with --static was done, and found nothing wrong.
        code = _FINE if want.static and not untold else _CODES["cannot-tell"]
        return _result(want, bundle, static, "cannot-tell", text)._replace(code=code)
    from gpudoctor.bundle import call
    from gpudoctor.device_args import Refused
    from gpudoctor.host import NoAnswer

    try:
        done = call.call(facts, bundle, files, static, want.call, heard)
    except (call.Unusable, Refused) as wrong:
        raise ValueError(str(wrong)) from None
    except NoAnswer as missed:
        raise LookupError(str(missed)) from None
    verdict, text = done.verdict, done.text
    if verdict == "pass" and errors and want.call.device == "cuda":
        # It ran with what it was given; as it is packed it would not.
        verdict, text = "fail", f"{text} As it is packed it has {first}."
    return _result(want, bundle, static, verdict, text)._replace(
        calls=done.calls, remarks=done.isolation, printed=done.quoted, command=done.command
    )


def _result(want: Asked, bundle: Bundle, static: tuple[Check, ...], verdict: Verdict, text: str) -> Result:
    return Result(want.path, bundle, static, (), verdict, text, _CODES[verdict])


def _counted(errors: int) -> str:
    return f"{errors} error{'s' if errors > 1 else ''} found"


def shown(done: Result, marks: dict[str, str], render: Callable[[Iterator[Line]], str], *, as_json: bool) -> str:
    """Return the report, for a person or as JSON."""
    from gpudoctor.report import bundle as report

    return report.as_json(done) + "\n" if as_json else render(report.lines(done, marks))
