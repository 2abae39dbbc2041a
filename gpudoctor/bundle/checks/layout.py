"""The bundle's own order: paths that leave it, versions that do not fit, APIs that are missing, scripts that run when it is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.bundle import Check, Place
from gpudoctor.bundle.files import MOST_ENTRIES, Leaves
from gpudoctor.bundle.layouts import parts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.bundle import Bundle, Said, Severity
    from gpudoctor.bundle.files import Files
    from gpudoctor.facts import Facts

_SPECS = frozenset({"1", "2"})
_MOST_LINKS = 20
_QUOTED_LINES = 4
_QUOTED = 100
_CALLED = frozenset({"bentoml-0.13", "bentoml-1", "triton"})
"""Formats whose own file lists what can be called."""
_NO_GPU = frozenset({"", "-1", "none", "void", "NoDevFiles"})


def check(bundle: Bundle, files: Files, facts: Facts) -> Iterator[Check]:
    """Yield what is wrong with the bundle's layout; it is the same on every host, so ``facts`` is not asked."""
    del facts
    yield from _leaving(bundle, files)
    yield from _unseen(files)
    if bundle.format == "bentoml-0.13":
        yield from _bentoml_0(bundle, files)
    elif bundle.format == "bentoml-1":
        yield from _bentoml_1(bundle, files)
    elif bundle.format == "triton":
        yield from _triton(files)
    if bundle.format in _CALLED and not bundle.apis:
        marker = {"bentoml-0.13": "bentoml.yml", "bentoml-1": "bento.yaml"}.get(bundle.format, "")
        cure = "Pack the service again with at least one method under @bentoml.api, or the API of its release."
        yield Check(
            "no-apis", "error", f"{marker or 'The bundle'} lists no API, so there is nothing to call.", Place(marker), cure
        )
    for said in bundle.setup:
        yield _script(said)


def _leaving(bundle: Bundle, files: Files) -> Iterator[Check]:
    """Yield links out of the bundle, and paths that the bundle's own files name outside of it."""
    cure = "Put the file itself into the bundle: in an image or on another host the link leads nowhere, or to something else."
    count = 0
    for entry in files.entries():
        if entry.kind != "link":
            continue
        found = files.entry(entry.path)
        if found is None or found.kind != "link":
            continue
        count += 1
        if count > _MOST_LINKS:
            text = f"More than {_MOST_LINKS} links lead out of the bundle; the others are not listed."
            yield Check("path-leaves-bundle", "error", text, Place(""), cure)
            return
        yield Check(
            "path-leaves-bundle",
            "error",
            f"{_line(entry.path)} {_leads(files, entry.path, entry.target)}.",
            Place(entry.path),
            cure,
        )
    for artifact in bundle.artifacts:
        if artifact.path.startswith("/") or ".." in artifact.path.split("/"):
            text = f"The model {_line(artifact.name)} is said to be at {_line(artifact.path)}, which is outside the bundle."
            yield Check(
                "path-leaves-bundle", "error", text, artifact.declared, "Put the file into the bundle, and pack it again."
            )


def _leads(files: Files, path: str, target: str) -> str:
    try:
        files.open(path).close()
    except Leaves as error:
        through = f", by way of {_line(target)}" if error.target not in {target, path} else ""
        return f"is a link to {_line(error.target if through else target)}, outside the bundle{through}"
    except OSError:
        pass
    return f"is a link to {_line(target)}, which leads back to itself"


def _unseen(files: Files) -> Iterator[Check]:
    files.entries()
    if not files.whole:
        text = f"Cannot tell whether other links leave the bundle: it has more than {MOST_ENTRIES} files, or folders too deep to follow."
        yield Check("path-leaves-bundle", "unknown", text, Place(""), "Give the bundle's own folder, not one above it.")
    if files.unread:
        text = f"Cannot tell what is in {_line(files.unread[0])}, nor in {len(files.unread) - 1} other folders: they cannot be listed."
        if len(files.unread) == 1:
            text = f"Cannot tell what is in {_line(files.unread[0])}: the folder cannot be listed."
        yield Check("folder-unreadable", "unknown", text, Place(files.unread[0]), "Run as a user who may read it.")


def _bentoml_0(bundle: Bundle, files: Files) -> Iterator[Check]:
    from gpudoctor.bundle.layouts.bentoml_0_13 import MARKER

    tree = parts.quiet_tree(files, MARKER)
    for name, line in tree.twice:
        text = f"{MARKER} has the key {name} twice, which the YAML reader of BentoML 0.x refuses."
        yield Check("syntax-error", "error", text, Place(MARKER, line), "Delete one of the two.")
    copy = f"{bundle.name}/{MARKER}"
    mine, inner = parts.content(files, MARKER, 1 << 20), parts.content(files, copy, 1 << 20)
    if mine is not None and inner is not None and mine != inner:
        text = f"{copy} differs from {MARKER}, of which it is a copy: one of them was changed after packing."
        yield Check("format-version-mismatch", "warning", text, Place(copy), "Pack the bundle again.")
    packed = _version(bundle.packed_by)
    at = Place(MARKER, tree.get("version").line)
    if packed and packed[0] != 0:
        text = f"{MARKER} says that BentoML {_line(bundle.packed_by)} packed it, but only 0.x packs bundles of this layout."
        yield Check("format-version-mismatch", "error", text, at, "Pack it again with the BentoML that is to serve it.")
        return
    yield from _pins(bundle, packed)


def _pins(bundle: Bundle, packed: tuple[int, ...]) -> Iterator[Check]:
    """Yield where the BentoML that is installed is not the one that packed: another major refuses it, another minor only warns."""
    for each in bundle.requirements:
        if each.name != "bentoml" or not packed:
            continue
        pinned = (
            _version(each.spec.removeprefix("===").removeprefix("=="))
            if each.spec.startswith("==") and "," not in each.spec
            else ()
        )
        cure = f"Require bentoml=={_line(bundle.packed_by)}, which packed it."
        if (
            not pinned
            and packed[0] == 0
            and not each.spec.startswith("@")
            and not any(sign in each.spec for sign in ("<", "~=", "=="))
        ):
            asked = f"bentoml{each.spec}"
            text = f"{_line(asked)} installs BentoML 1.x today, which cannot load a bundle of BentoML {_line(bundle.packed_by)}."
            yield Check("format-version-mismatch", "error", text, each.at, cure)
        elif pinned and pinned[0] != packed[0]:
            text = f"BentoML {_line(each.spec[2:])} is installed, but {_line(bundle.packed_by)} packed the bundle, and another major release refuses it."
            yield Check("format-version-mismatch", "error", text, each.at, cure)
        elif pinned and pinned[:2] != packed[:2]:
            text = f"BentoML {_line(each.spec[2:])} is installed, but {_line(bundle.packed_by)} packed the bundle: it warns, and loads it by luck."
            yield Check("format-version-mismatch", "warning", text, each.at, cure)


def _bentoml_1(bundle: Bundle, files: Files) -> Iterator[Check]:
    from gpudoctor.bundle.layouts.bentoml_1 import MARKER, models

    tree = parts.quiet_tree(files, MARKER)
    if bundle.spec not in _SPECS:
        text = f"{MARKER} has spec {_line(bundle.spec)}, and only 1 and 2 are known here: what follows may be incomplete."
        yield Check("format-version-mismatch", "warning", text, Place(MARKER, tree.get("spec").line), "Update gpudoctor.")
    yield from _pins(bundle, _version(bundle.packed_by))
    for tag, line in models(tree):
        folder = f"models/{tag.replace(':', '/')}"
        if any(path == folder for path, _ in files.beside):
            text = f"The model {_line(tag)} is not in the bundle, but in the store that it lies in, and is looked at there."
            yield Check(
                "model-in-store", "hint", text, Place(MARKER, line), "Move the bento with bentoml export, which takes it along."
            )
        if files.entry(folder) is not None:
            continue
        text = f"The model {_line(tag)} is neither in the bundle ({folder}) nor in a store around it."
        yield Check(
            "artifact-missing",
            "error",
            text,
            Place(MARKER, line),
            "Export the bento again: bentoml export NAME:VERSION /path/FILE.bento.",
        )
    yield from _not_included(files)
    for item in tree.get("envs").items:
        yield from _hidden(item.word("name"), item.get("value").text, Place(MARKER, item.get("value").line))
    for name, value in tree.get("docker", "env").keys.items():
        yield from _hidden(name, value.text, Place(MARKER, value.line))


def _not_included(files: Files) -> Iterator[Check]:
    """Yield what the packer asked to include and the bento has not: bentoml build says nothing of a pattern that matches nothing."""
    path = "src/bentofile.yaml"
    there = [each.path.removeprefix("src/") for each in files.entries() if each.path.startswith("src/")]
    for item in parts.quiet_tree(files, path).get("include").items:
        wanted = item.text.removeprefix("./").strip("/")
        if not wanted or wanted == "." or any(sign in wanted for sign in "*?[!\\"):
            continue
        if any(
            each == wanted or each.startswith(f"{wanted}/") or each.endswith(f"/{wanted}") or f"/{wanted}/" in each
            for each in there
        ):
            continue
        text = f"{path}:{item.line} asks to include {_line(item.text)}, and nothing of that name is in the bundle: bentoml build does not say so."
        severity: Severity = "warning" if parts.kind(wanted) == "unknown" else "error"
        yield Check(
            "artifact-missing", severity, text, Place(path, item.line), "Put it beside the service, and build the bento again."
        )


def _hidden(name: str, value: str, at: Place) -> Iterator[Check]:
    """Yield a variable that takes every GPU away from the service."""
    if (name == "CUDA_VISIBLE_DEVICES" and value in _NO_GPU) or (name == "NVIDIA_VISIBLE_DEVICES" and value in {"none", "void"}):
        text = f'The bundle sets {name} to "{value}", which hides every GPU from its service.'
        yield Check("gpu-hidden-by-env", "error", text, at, f"Take {name} out of the bundle's environment, and build it again.")


def _triton(files: Files) -> Iterator[Check]:
    from gpudoctor.bundle.layouts import triton

    for folder in triton.models(files):
        error = triton.problem(files, folder)
        if error is not None:
            path = f"{folder}/{triton.CONFIG}" if folder else triton.CONFIG
            text = f"{_line(path)} cannot be read, so Triton does not load the model: {error.reason}."
            yield Check("syntax-error", "error", text, Place(path, error.line), "Correct the line.")
        for at in triton.on_cpu(files, folder):
            text = f"{at} has the model run on the CPU (KIND_CPU), GPU or not."
            yield Check(
                "device-fixed-to-cpu", "warning", text, at, "Say KIND_GPU, or leave the kind out: Triton then takes the GPU."
            )


def _script(said: Said) -> Check:
    """Return the check of one script or command that runs when the image is built, with its first lines that do something."""
    rows = [(number, row.strip()) for number, row in enumerate(said.text.split("\n"), 1)]
    does = [(number, row) for number, row in rows if row and not row.startswith("#") and not row.startswith("set -")]
    quoted = "; ".join(_masked(row) for _, row in does[:_QUOTED_LINES])
    more = f" and {len(does) - _QUOTED_LINES} more lines" if len(does) > _QUOTED_LINES else ""
    line = said.at.line or (does[0][0] if does else 0)
    what = (
        f"{said.at.path} runs as root when the image is built"
        if not said.at.line
        else "A command of the bundle runs when the image is built"
    )
    cure = "Read it before you build the image; what it installs is missing wherever the bundle runs without that image."
    return Check(
        "runs-setup-sh", "warning", f"{what}: {quoted or 'nothing but comments'}{more}.", Place(said.at.path, line), cure
    )


def _masked(row: str) -> str:
    """Return a line so that it can be shown: shortened, without the password of an address."""
    shown = row
    at = shown.find("://")
    while at >= 0:
        end = next((each for each in range(at + 3, len(shown)) if shown[each] in " /\"'"), len(shown))
        name, sign, host = shown[at + 3 : end].rpartition("@")
        if sign and name:
            shown = f"{shown[: at + 3]}***@{host}{shown[end:]}"
        at = shown.find("://", at + 3)
    return _line(shown if len(shown) <= _QUOTED else f"{shown[:_QUOTED]} ...")


def _line(text: str) -> str:
    """Return a text of the bundle's so that it stays on one line."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def _version(text: str) -> tuple[int, ...]:
    """Return the numbers at the beginning of a version, up to three; none where it does not begin with one."""
    numbers = []
    for part in text.split(".")[:3]:
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits or len(digits) > 9:
            break
        numbers.append(int(digits))
    return tuple(numbers)
