"""What was given: which format of bundle, or why it is none, with the file and the line that say so.

A folder is known by its marker file, a single file by its bytes, an archive by what is in it once it is unpacked.
"""

from __future__ import annotations

import os
import stat as st
from typing import TYPE_CHECKING, NoReturn

from gpudoctor.bundle import Place
from gpudoctor.bundle.files import Files
from gpudoctor.bundle.layouts import parts

if TYPE_CHECKING:
    from gpudoctor.bundle import Bundle, Check

MARKERS = ("bentoml.yml", "bento.yaml", "MLmodel", "saved_model.pb", "saved_model.pbtxt", "cog.yaml", "config.pbtxt")
"""Files that a folder is known by; given themselves, their folder is meant."""
_LEVELS = 4
"""How far below a folder that is no bundle one is looked for, to say which path to give."""
_MOST_FOLDERS = 2_000
_SUPPORTED = (
    "A bundle is a folder saved by BentoML 0.13 (bentoml.yml) or built by BentoML 1.x (bento.yaml), an MLflow model (MLmodel), a Triton "
    "repository (MODEL/config.pbtxt), a TensorFlow SavedModel, an .onnx, TorchScript or .pt2 file, or an archive of one of them."
)


def recognise(path: str, into: str) -> tuple[Bundle, Files, tuple[Check, ...]]:
    """Return what is at a path: the bundle, its files, and what recognising it has shown already (weights alone, another server's).

    ``into`` is a fresh folder of the caller's, for an archive. Raises NotABundle with the one check that says why it is none.
    """
    try:
        about = os.stat(path)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "no such path"
        parts.refuse(f"not a bundle: {_name(path)} cannot be looked at: {why.lower()}", Place(path), "Check the path.")
    if st.S_ISDIR(about.st_mode):
        return _folder(path, path)
    if not st.S_ISREG(about.st_mode):
        parts.refuse(f"not a bundle: {_name(path)} is neither a folder nor a regular file", Place(path), _SUPPORTED)
    folder, name = os.path.split(path)
    if name in MARKERS:
        return _folder(folder or ".", path)
    return _file(path, folder or ".", name, into)


def _name(path: str) -> str:
    """Return a path so that it stays on one line."""
    return "".join(sign if sign.isprintable() else "?" for sign in path)


def _folder(root: str, path: str) -> tuple[Bundle, Files, tuple[Check, ...]]:
    """Return the bundle that a folder is."""
    files = Files(root)
    bundle, files = _known(files, path)
    if bundle is None:
        _no_bundle(files, path)
    return bundle, files, _first_checks(bundle)


def _known(files: Files, path: str) -> tuple[Bundle | None, Files]:
    """Put a folder to each layout, those with a marker of their own first; returns the files of the bundle itself."""
    names = {each.path for each in files.children("")}
    bundle = None
    if "bentoml.yml" in names:
        from gpudoctor.bundle.layouts import bentoml_0_13

        files = bentoml_0_13.opened(files)
        return bentoml_0_13.found(files, path), files
    if "bento.yaml" in names or "latest" in names:
        from gpudoctor.bundle.layouts import bentoml_1

        inner = bentoml_1.opened(files)
        bundle = bentoml_1.found(inner, path)
        files = files if bundle is None else inner
    if bundle is None and "MLmodel" in names:
        from gpudoctor.bundle.layouts import mlflow

        bundle = mlflow.found(files, path)
    if bundle is None and not names.isdisjoint({"saved_model.pb", "saved_model.pbtxt"}):
        from gpudoctor.bundle.layouts import savedmodel

        bundle = savedmodel.found(files, path)
    if bundle is None:
        from gpudoctor.bundle.layouts import others, single, triton

        for look in (others.cog, triton.found, others.kserve, single.weights):
            bundle = bundle or look(files, path)
    return bundle, files


def _first_checks(bundle: Bundle) -> tuple[Check, ...]:
    from gpudoctor.bundle.layouts import others

    return others.cannot_be_called(bundle)


def _file(path: str, folder: str, name: str, into: str) -> tuple[Bundle, Files, tuple[Check, ...]]:
    """Return the bundle that a single file is, or that an archive has in it."""
    from gpudoctor.bundle.layouts import onnx, others, single

    files = Files(folder, only=(name,))
    bundle = onnx.found(files, path) or single.found(files, path) or others.kserve(files, path)
    if bundle is not None:
        return bundle, files, _first_checks(bundle)
    from gpudoctor.bundle import unpack

    # Keras' own file is a zip too.
    if name.lower().endswith(".keras") or not unpack.is_archive(files, name):
        single.refuse_file(files, path, _SUPPORTED)
    # The caller's folder is his alone, and a container's user has to read what is in it.
    within = os.path.join(into, "bundle")
    os.mkdir(within)
    os.chmod(within, 0o755)  # noqa: S103
    return _inside(Files(_top(unpack.unpacked(path, within))), path)


def _top(root: str) -> str:
    """Return the folder that an archive has everything in, of those in each other the innermost; the root where there is none."""
    for _ in range(_LEVELS):
        there = Files(root).children("")
        if len(there) != 1 or there[0].kind != "dir":
            break
        # A repository of Triton's is a folder, and may have one model in it.
        names = [each.path.rpartition("/")[2] for each in Files(root).children(there[0].path)]
        if "config.pbtxt" in names or any(name.isdigit() for name in names):
            break
        root = os.path.join(root, there[0].path)
    return root


def _inside(files: Files, path: str) -> tuple[Bundle, Files, tuple[Check, ...]]:
    """Return the bundle that an unpacked archive has in it; archives in it are not followed."""
    from gpudoctor.bundle.layouts import onnx, single

    bundle, known = _known(files, path)
    if bundle is not None:
        return bundle, known, _first_checks(bundle)
    inside = _below(files)
    name = _name(os.path.basename(path))
    if len(inside) == 1:
        where = os.path.join(files.root, inside[0])
        if not files.has(inside[0]):
            return _folder(where, path)
        one = Files(os.path.dirname(where), only=(os.path.basename(where),))
        bundle = onnx.found(one, path) or single.found(one, path)
        if bundle is not None:
            return bundle, one, _first_checks(bundle)
    if inside:
        text = f"not a bundle: {name} has {len(inside)} of them in it: {', '.join(_name(each) for each in inside[:5])}"
        parts.refuse(text, Place(path), "Unpack it, and give one of them.")
    there = {each.path for each in files.children("")}
    if "manifest.json" in there and not there.isdisjoint({"repositories", "oci-layout"}):
        cure = "Load it (docker load -i FILE) and give the image: gpudoctor smoke IMAGE."
        parts.refuse(f"not a bundle: {name} is an archive of a container image", Place(path), cure)
    return _no_bundle(files, path)


def _no_bundle(files: Files, path: str) -> NoReturn:
    """Raise NotABundle for a folder, with the path that was perhaps meant."""
    there = files.children("")
    if not there:
        if not os.access(files.root, os.R_OK | os.X_OK):
            parts.refuse(f"not a bundle: {_name(path)} cannot be listed", Place(path), "Run as a user who may read it.")
        parts.refuse(f"not a bundle: {_name(path)} is an empty folder", Place(path), _SUPPORTED)
    names = {each.path for each in there}
    inside = _below(files)
    if "bentofile.yaml" in names:
        cure = "Build it (bentoml build) and give the folder that this prints: BENTOML_HOME/bentos/NAME/VERSION."
        parts.refuse(
            "not a bundle: bentofile.yaml says how a bento is built, and none is built here", Place("bentofile.yaml", 1), cure
        )
    if len(inside) == 1:
        meant = os.path.join(path, inside[0])
        parts.refuse(
            f"not a bundle: the folder itself is none, but {_name(inside[0])} in it is", Place(path), f"Give {_name(meant)}."
        )
    if inside:
        listed = ", ".join(_name(os.path.join(path, each)) for each in inside[:5])
        more = f" and {len(inside) - 5} more" if len(inside) > 5 else ""
        text = f"not a bundle: the folder itself is none, and {len(inside)} are in it"
        parts.refuse(text, Place(path), f"Give one of them: {listed}{more}.")
    shown = ", ".join(_name(each) for each in sorted(names)[:5])
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    parts.refuse(f"not a bundle: {_name(path)} has no file that a bundle is known by, but {shown}{more}", Place(path), _SUPPORTED)


def _below(files: Files) -> list[str]:
    """Return the folders and files below the root that are bundles by their names, not those inside one that was found."""
    found: list[str] = []
    others: list[str] = []
    todo = [("", 0)]
    seen = 0
    while todo and seen < _MOST_FOLDERS:
        folder, level = todo.pop()
        seen += 1
        there = files.children(folder)
        names = {each.path.rpartition("/")[2]: each for each in there}
        if folder and not names.keys().isdisjoint(MARKERS):
            # Triton's marker lies in the model's folder, and the repository is the one above.
            found.append(folder if "config.pbtxt" not in names or "/" not in folder else folder.rpartition("/")[0])
            continue
        for name, each in names.items():
            if each.kind == "file" and name.lower().endswith((".onnx", ".pt2", ".torchscript", ".bento")):
                found.append(each.path)
            elif each.kind == "dir" and level < _LEVELS and not name.startswith("."):
                todo.append((each.path, level + 1))
            elif each.kind == "file" and name.lower().endswith((".pt", ".pth", ".safetensors")):
                others.append(each.path)
    return sorted(set(found or others))
