"""The environment that is built from a bundle's own requirements: of its own Python, kept, and a failure with pip's own last words."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from gpudoctor.bundle import Bundle, Place, Required, Said, call, venv
from gpudoctor.bundle.files import Files

built = pytest.mark.skipif(not os.environ.get("GPUDOCTOR_REAL"), reason="takes 20 s: run with GPUDOCTOR_REAL=1, as .ci/run does")
MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Return a function that makes a bundle with requirements and asks for its Python; also what was heard."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def asked(requirements: str | None = "# nothing\n", python: str = f"{MINOR}.99", **more) -> tuple[str, list[str]]:
        root = tmp_path / "bundle"
        root.mkdir(exist_ok=True)
        if requirements is not None:
            (root / "requirements.txt").write_text(requirements)
        bundle = Bundle(
            "bentoml-0.13",
            str(root),
            str(root),
            python=Said(python, Place("python_version", 1)),
            installs=("requirements.txt",),
            **more,
        )
        heard: list[str] = []
        return venv.python(bundle, Files(str(root)), lambda _, line: heard.append(line["says"])), heard

    return asked


@built
def test_it_is_built_once(made, tmp_path):
    """It has the bundle's Python, is found again for the same requirements, and is another one for others."""
    first, heard = made()
    assert first.startswith(str(tmp_path / "cache" / "gpudoctor" / "venvs"))
    assert Path(first).exists()
    assert venv._told(first).startswith(f"{MINOR}.")
    assert heard[0].startswith(f"Python {MINOR}.")
    again, heard = made()
    assert again == first
    assert heard == [f"{Path(first).parent.parent} is there already"]
    files = Files(str(tmp_path / "bundle"))
    before = venv._key(("requirements.txt",), files, "python", MINOR)
    (tmp_path / "bundle" / "requirements.txt").write_text("# other\n")
    assert venv._key(("requirements.txt",), files, "python", MINOR) != before


def test_one_that_was_not_finished_is_built_anew(made, monkeypatch):
    """A folder without its stamp is what an interrupted build leaves: it is made again, and what was in it is gone."""
    steps = []

    def step(argv, wrong, heard):
        steps.append(argv[1:4])
        Path(folder).mkdir(exist_ok=True)

    monkeypatch.setattr(venv, "_done", step)
    folder = ""
    monkeypatch.setattr(venv, "_key", lambda *_: "key")
    folder = f"{venv._cache()}/key"
    Path(folder, "half").mkdir(parents=True)
    first, _ = made()
    assert not Path(folder, "half").exists()
    assert first == f"{folder}/bin/python"
    assert steps == [["-m", "venv", folder], ["-m", "pip", "install"]]
    assert made()[0] == first
    assert len(steps) == 2


@built
def test_what_pip_says_is_told(made, tmp_path):
    """A requirement that is not to be had is a sentence with pip's last words, and nothing half built stays."""
    with pytest.raises(call.Unusable, match=r"pip could not install what requirements.txt asks for: .*not-to-be-had"):
        made("--no-index\nnot-to-be-had==1.0\n")
    assert not [each for each in (tmp_path / "cache" / "gpudoctor" / "venvs").iterdir() if each.is_dir()]


def test_a_python_that_is_not_here_is_named(made):
    """The bundle's minor release is what counts; where there is none of it, the sentence says what to install."""
    with pytest.raises(call.Unusable, match=r"packed with Python 3\.99 \(python_version:1\).*install python3\.99"):
        made(python="3.99.1")


def test_without_requirements_there_is_nothing_to_build(made):
    """A bundle that does not say what it needs cannot have an environment built for it."""
    with pytest.raises(call.Unusable, match="does not say in a requirements file"):
        made(None)


def test_indexes_that_are_named_elsewhere_are_given_to_pip(tmp_path):
    """The files are read by pip as they are; an index that stands in another file of the bundle is named to it."""
    (tmp_path / "requirements.txt").write_text("--extra-index-url https://one.example/simple\nx\n")
    indexes = (
        Said("https://one.example/simple", Place("requirements.txt", 1)),
        Said("https://two.example/simple", Place("bento.yaml", 9)),
    )
    bundle = Bundle("bentoml-1", str(tmp_path), str(tmp_path), indexes=indexes)
    words = venv._words(bundle, ("requirements.txt",), Files(str(tmp_path)))
    assert words == ["--requirement", str(tmp_path / "requirements.txt"), "--extra-index-url", "https://two.example/simple"]


def test_what_is_lacking_is_said(tmp_path):
    """What conda would have installed, and a script that was not run, are told beside the result."""
    bundle = Bundle(
        "bentoml-0.13",
        str(tmp_path),
        str(tmp_path),
        requirements=(Required("pytorch", "", "", "conda", Place("environment.yml", 3)),),
        setup=(Said("setup.sh", Place("setup.sh")),),
    )
    said = " ".join(venv.remarks(bundle))
    assert "lacks what the bundle asks of conda: pytorch" in said
    assert "setup.sh was not run" in said
