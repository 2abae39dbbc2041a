"""The command ``smoke``: what was asked for in, the ladders out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gpudoctor.host import Host
    from gpudoctor.report.text import Line
    from gpudoctor.smoke.climb import Asked
    from gpudoctor.smoke.ladder import Smoke


def asked(
    frameworks: list[str],
    gpus: str | None,
    device: str,
    timeout: float,
    python: str,
    image: str,
    docker_args: list[str],
    *,
    daemon_reload: bool,
) -> Asked:
    """Return what was asked for; ValueError says what of it is wrong."""
    from gpudoctor.smoke import climb

    if device not in {"cuda", "cpu"}:
        raise ValueError(f"--device {device}: cuda or cpu")
    if not 0 < timeout <= 86400:
        raise ValueError(f"--timeout {timeout:g}: seconds, more than 0 and at most a day")
    if (docker_args or daemon_reload) and not image:
        raise ValueError("--docker-arg and --daemon-reload need --image")
    if device == "cpu" and (gpus is not None or daemon_reload):
        raise ValueError("--device cpu excludes --gpus and --daemon-reload")
    try:
        names, every = climb.asked(frameworks)
    except climb.Unusable as wrong:
        raise ValueError(str(wrong)) from None
    if device == "cpu" and not names:
        raise ValueError("--device cpu needs a framework, or all")
    chosen = tuple(dict.fromkeys(word.strip() for word in (gpus or "").split(",") if word.strip()))
    if gpus is not None and not chosen:
        raise ValueError("--gpus is empty; name GPUs, or `all`")
    return climb.Asked(names, every, python, image, tuple(docker_args), chosen, device, timeout, daemon_reload)


def run(host: Host | None, want: Asked, marks: dict[str, str], *, as_json: bool) -> Smoke:
    """Climb; ValueError where it was asked for what is not here, LookupError where the host does not say enough.

    On a terminal the ladder is shown as it climbs.
    """
    import signal
    import sys
    from contextlib import nullcontext

    from gpudoctor.device_args import Refused
    from gpudoctor.facts import Facts
    from gpudoctor.host import NoAnswer
    from gpudoctor.smoke import climb

    def ended(number: int, _: object) -> None:
        # As an exception, so that what was started is ended first.
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, ended)
    assert host is not None  # noqa: S101 - this machine is always to be had
    if not as_json and sys.stderr.isatty():
        from gpudoctor.report.smoke import Screen

        screen: Screen | nullcontext[Callable[..., None]] = Screen(marks)
    else:
        screen = nullcontext(lambda *_: None)
    try:
        with screen as heard:
            return climb.smoke(Facts(host), want, heard)
    except (climb.Unusable, Refused) as wrong:
        raise ValueError(str(wrong)) from None
    except NoAnswer as missed:
        raise LookupError(str(missed)) from None


def shown(done: Smoke, marks: dict[str, str], render: Callable[[Iterator[Line]], str], *, as_json: bool) -> str:
    """Return the report, for a person or as JSON."""
    from gpudoctor.report import smoke as report

    return report.as_json(done) + "\n" if as_json else render(report.lines(done, marks))
