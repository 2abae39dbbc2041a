"""Bundles written by hand for tests that look at one question: a folder of files, and what a layout would have said of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.bundle import Artifact, Bundle, Place, Required, Said
from gpudoctor.bundle.files import Files
from gpudoctor.formats import pip_requirements

if TYPE_CHECKING:
    from pathlib import Path

    from gpudoctor.bundle import ArtifactKind, Check


def files(root: Path, **sources: str) -> Files:
    """Write sources, ``service="import torch"`` is service.py, and return the folder."""
    for name, text in sources.items():
        path = root / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return Files(str(root))


def bundle(
    root: Path,
    *,
    format_: str = "bentoml-0.13",
    python: str = "3.8.18",
    packed_by: str = "0.13.2",
    pip: str = "",
    conda: str = "",
    artifacts: tuple[tuple[str, ArtifactKind], ...] = (),
    image: str = "",
    indexes: tuple[str, ...] = (),
    **more: object,
) -> Bundle:
    """Return a bundle of what is in the folder; ``pip`` and ``conda`` are lines, ``image`` is what its Dockerfile begins with."""
    asked = pip_requirements.parse(pip).requirements
    found = [
        Required(
            each.name,
            each.spec or (f"@ {each.url}" if each.url else ""),
            each.marker,
            "pip",
            Place("requirements.txt", each.line),
            each.extras,
        )
        for each in asked
    ]
    for line, words in enumerate(conda.split(), start=1):
        name, sign, spec = words.partition("=")
        found.append(Required(name, f"{sign}{spec}", "", "conda", Place("environment.yml", line)))
    sources = tuple(sorted(str(path.relative_to(root)) for path in root.rglob("*.py")))
    values: dict[str, object] = {
        "packed_by": packed_by,
        "python": Said(python, Place("python_version", 1)) if python else None,
        "service": Said("service:Service", Place("bentoml.yml", 3)),
        "artifacts": tuple(Artifact(name, kind, f"artifacts/{name}.bin", Place("bentoml.yml", 9)) for name, kind in artifacts),
        "sources": sources,
        "import_roots": ("",),
        "requirements": tuple(found),
        "indexes": tuple(Said(each, Place("requirements.txt", 1)) for each in indexes),
        "installs": ("requirements.txt",),
        "base_image": Said(image, Place("Dockerfile", 1)) if image else None,
    }
    return Bundle(format_, str(root), str(root), **{**values, **more})  # type: ignore[arg-type]


def named(found: tuple[Check, ...] | list[Check]) -> list[tuple[str, str]]:
    """Return the checks and how bad they are, sorted."""
    return sorted((each.check, each.severity) for each in found)
