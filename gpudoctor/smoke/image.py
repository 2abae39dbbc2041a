"""How a probe runs in a container: `docker run` with this host's device arguments, as it would be typed.

The container gets what `gpudoctor device-args` prints, a folder of its own for the verdict, no network, and its Python the probe on
standard input. Its entry point is replaced: many images start a server or print a banner there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpudoctor.facts import Facts

FOLDER = "/gpudoctor-smoke"
PYTHON = "python3"


class Container(NamedTuple):
    """What is known before the first container starts: the image, the user's own words, those for the GPUs, and remarks on these."""

    image: str
    extra: tuple[str, ...]
    gpus: tuple[str, ...]
    remarks: tuple[str, ...] = ()


def gpu_words(facts: Facts, gpus: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the words of `docker run` for the GPUs, and what has to be said beside them.

    Raises Refused or NoAnswer where this host's Docker cannot be given them.
    """
    from gpudoctor import device_args

    answer = device_args.answer(facts, device_args.request(",".join(gpus), "compute", "args", None), "live")
    if answer.missing:
        raise device_args.Refused(
            f"{answer.missing[0].what} is missing: {answer.missing[0].why}; run: {answer.missing[0].command}"
        )
    # As in `docker run $(gpudoctor device-args)`: no word has a blank in it.
    return tuple(answer.text.split()), answer.remarks


def run_words(container: Container, name: str, folder: str, environment: Sequence[str]) -> tuple[str, ...]:
    """Return the words that start a container in which Python reads the probe from standard input."""
    words = ["docker", "run", "--rm", "--interactive", "--name", name, "--network", "none"]
    # Z: on SELinux the folder gets the container's own label; elsewhere Docker passes it over.
    words += ["--volume", f"{folder}:{FOLDER}:Z"]
    for each in environment:
        words += ["--env", each]
    # The user's words come last and win: `--docker-arg=--entrypoint=/opt/venv/bin/python` names another Python.
    return (*words, *container.gpus, "--entrypoint", PYTHON, *container.extra, container.image, "-")


def start_words(container: Container, name: str, folder: str) -> tuple[str, ...]:
    """Return the words that start a container which stays for ten minutes, to be looked at twice."""
    words = ("docker", "run", "--rm", "--detach", "--name", name, "--network", "none", "--volume", f"{folder}:{FOLDER}:Z")
    return (
        *words,
        *container.gpus,
        "--entrypoint",
        PYTHON,
        *container.extra,
        container.image,
        "-c",
        "import time; time.sleep(600)",
    )


def pasteable(argv: Sequence[str], settings: str, probe: str) -> str:
    """Return the command as one line for a shell; the verdict of one that is pasted goes to standard output, so no folder is named."""
    import shlex

    words = list(argv)
    for option in ("--volume", "--name"):
        at = words.index(option) if option in words else None
        if at is not None and (option == "--name" or FOLDER in words[at + 1]):
            del words[at : at + 2]
    return f"{shlex.join([*words, settings])} < {shlex.quote(probe)}"
