"""A virtual environment made from what the bundle itself asks for, kept for the next time.

pip is given the bundle's own files as they are, so their indexes, constraints and pins count; nothing is added and nothing relaxed.
Installing runs the build scripts of the packages that the bundle names, on this host, with the network. A set-up script of the bundle
is not run, and what it asks of conda is not installed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from gpudoctor.bundle import call

if TYPE_CHECKING:
    from collections.abc import Callable
    from subprocess import Popen

    from gpudoctor.bundle import Bundle
    from gpudoctor.bundle.files import Files

    Heard = Callable[[str, dict[str, Any]], None]

SILENCE = 900.0
"""Seconds that pip may say nothing: it says nothing while it downloads a large wheel or builds one."""
_STAMP = ".complete"
_LAST_LINES = 6
_VERSION = "import sys; print('%d.%d.%d %s' % (*sys.version_info[:3], sys.executable))"


def python(bundle: Bundle, files: Files, heard: Heard) -> str:
    """Return the Python of the bundle's environment, which is built where it is not there yet; raises Unusable where it cannot be.

    ``heard`` gets ("venv", {"says": line}) for each line of progress.
    """
    import fcntl
    import shutil

    wanted = _files(bundle, files)
    base, version = _base(bundle)
    folder = os.path.join(_cache(), _key(wanted, files, base, version))
    os.makedirs(os.path.dirname(folder), mode=0o700, exist_ok=True)
    found = os.path.join(folder, "bin", "python")
    with open(f"{folder}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.exists(os.path.join(folder, _STAMP)):
            heard("venv", {"says": f"{folder} is there already"})
            return found
        shutil.rmtree(folder, ignore_errors=True)
        heard("venv", {"says": f"Python {version}: {folder}"})
        try:
            _done([base, "-m", "venv", folder], f"--venv: {base} cannot make a virtual environment", heard)
            _done(
                [found, "-m", "pip", "install", "--no-input", "--disable-pip-version-check", *_words(bundle, wanted, files)],
                f"--venv: pip could not install what {' and '.join(wanted)} asks for",
                heard,
            )
            with open(os.path.join(folder, _STAMP), "w", encoding="ascii"):
                pass
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    return found


def remarks(bundle: Bundle) -> tuple[str, ...]:
    """Return what the environment lacks of what the bundle asks for, and what building it meant."""
    said = ["The environment was built from the bundle's requirements: that ran the build scripts of the packages it names."]
    conda = sorted(
        {each.name for each in bundle.requirements if each.installer == "conda" and each.name not in {"pip", "python"}}
    )
    if conda:
        said.append(f"It lacks what the bundle asks of conda: {', '.join(conda)}.")
    if bundle.setup:
        said.append(f"The bundle's own {bundle.setup[0].at} was not run.")
    return tuple(said)


def _files(bundle: Bundle, files: Files) -> tuple[str, ...]:
    """Return the requirements files that pip is given: of a lock and what it was made from the lock alone."""
    named = [path for path in bundle.installs if path.endswith((".txt", ".in")) and files.entry(path) is not None]
    locks = [path for path in named if path.endswith((".lock.txt", "requirements.txt"))]
    chosen = locks or named
    if not chosen:
        raise call.Unusable("--venv: the bundle does not say in a requirements file what it needs; give --python or --image")
    return tuple(dict.fromkeys(chosen))


def _words(bundle: Bundle, wanted: tuple[str, ...], files: Files) -> list[str]:
    """Return pip's arguments: the files as they are, and indexes that the bundle names elsewhere."""
    words = [word for path in wanted for word in ("--requirement", os.path.join(files.root, path))]
    for index in bundle.indexes:
        if index.at.path not in wanted:
            words += ["--extra-index-url", index.text]
    # Wheels that the packer put in: its own, or BentoML where that was installed from a checkout.
    folders = ("bundled_pip_dependencies/", "env/python/wheels/")
    carried = [entry.path for entry in files.entries() if entry.path.startswith(folders)]
    words += [os.path.join(files.root, path) for path in carried if path.endswith((".tar.gz", ".whl"))]
    return words


def _base(bundle: Bundle) -> tuple[str, str]:
    """Return the interpreter to build with and its version: of the bundle's own minor release, where it names one."""
    asked = bundle.python.text if bundle.python is not None else ""
    parts = asked.strip().lstrip("=v").split(".")
    minor = ".".join(parts[:2]) if len(parts) > 1 and all(part.isdigit() for part in parts[:2]) else ""
    for candidate in _candidates(minor):
        version, _, path = _told(candidate).partition(" ")
        if path and (not minor or version.startswith(f"{minor}.")):
            return path, version
    where = f" ({bundle.python.at})" if bundle.python is not None else ""
    raise call.Unusable(
        f"--venv: the bundle was packed with Python {minor or '3'}{where}, and there is none on the PATH or in pyenv: "
        f"install python{minor or '3'}, or give --python or --image"
    )


def _candidates(minor: str) -> list[str]:
    """Return the interpreters that may be of a minor release: those on the PATH, then pyenv's."""
    import glob
    import shutil

    found = [shutil.which(name) for name in (f"python{minor}", "python3", "python") if name]
    root = os.environ.get("PYENV_ROOT") or os.path.join(os.path.expanduser("~"), ".pyenv")
    found += sorted(glob.glob(os.path.join(glob.escape(root), "versions", f"{minor or '3'}.*", "bin", "python3")), reverse=True)
    return [path for path in dict.fromkeys(found) if path]


def _told(interpreter: str) -> str:
    """Return an interpreter's version and path as it says itself, "" where it does not run (a shim of pyenv without a version)."""
    import subprocess

    try:
        ran = subprocess.run(  # noqa: S603 - the user asked for exactly this; no shell
            [interpreter, "-I", "-c", _VERSION], stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return ran.stdout.decode("utf-8", "replace").strip() if ran.returncode == 0 else ""


def _cache() -> str:
    top = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(top, "gpudoctor", "venvs")


def _key(wanted: tuple[str, ...], files: Files, base: str, version: str) -> str:
    import hashlib

    state = hashlib.sha256(f"{base}\n{version}\n".encode())
    for path in wanted:
        data = files.read(path)
        state.update(f"{path} {len(data)}\n".encode() + data)
    return state.hexdigest()[:20]


def _done(argv: list[str], wrong: str, heard: Heard) -> None:
    """Run a step to its end, passing on its lines; raises Unusable with the last of them where it fails or falls silent."""
    import subprocess

    child = subprocess.Popen(  # noqa: S603 - the user asked for exactly this; no shell
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        last, silent = _passed_on(child, heard)
    finally:
        _end(child)
    if silent:
        raise call.Unusable(f"{wrong}: it said nothing for {SILENCE:g} s; its last words: {' | '.join(last)}")
    if child.returncode:
        raise call.Unusable(f"{wrong}: {' | '.join(last) or f'exit code {child.returncode}'}")


def _passed_on(child: Popen[bytes], heard: Heard) -> tuple[list[str], bool]:
    """Pass a child's lines on until it ends; return the last ones, and whether it fell silent."""
    import select

    assert child.stdout is not None  # noqa: S101 - it is a pipe, for the type checker
    last: list[str] = []
    data = b""
    while True:
        ready, _, _ = select.select([child.stdout], [], [], SILENCE)
        if not ready:
            return last, True
        part = os.read(child.stdout.fileno(), 65536)
        if not part:
            child.wait()
            return last, False
        *whole, data = (data + part[-65536:]).split(b"\n")
        for line in whole:
            text = line.decode("utf-8", "replace").strip()[:300]
            if text:
                last = [*last, text][-_LAST_LINES:]
                heard("venv", {"says": text})


def _end(child: Popen[bytes]) -> None:
    """Kill a step that still runs, with all of its group."""
    import contextlib
    import signal

    if child.stdout is not None:
        child.stdout.close()
    if child.poll() is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
