"""The checks of a bundle's own order, each on a bundle that is otherwise sound."""

from __future__ import annotations

import os

import pytest

from gpudoctor.bundle import Bundle, Place, Said
from gpudoctor.bundle.checks import layout
from gpudoctor.bundle.files import Files
from gpudoctor.bundle.recognise import recognise
from tests.bundle import laid


def found(path, tmp_path):
    """Return the checks of a bundle's layout."""
    bundle, files, _ = recognise(str(path), str(tmp_path))
    return list(layout.check(bundle, files, None))


@pytest.mark.parametrize("make", [laid.bentoml_0_13, laid.mlflow, laid.triton])
def test_a_sound_bundle_has_nothing(tmp_path, make):
    """What the packers write is in order."""
    assert found(make(tmp_path / "b"), tmp_path) == []


@pytest.mark.parametrize(
    ("pip", "severity", "said"),
    [
        ("bentoml==0.13.1\n", None, ""),
        ("bentoml==0.12.1\n", "warning", "by luck"),
        ("x\nbentoml==1.4.39\n", "error", "another major release"),
        ("bentoml\n", "error", "installs BentoML 1.x today"),
        ("bentoml>=0.13\n", "error", "bentoml>=0.13 installs BentoML 1.x today"),
        ("bentoml>=0.13,<1\n", None, ""),
        ("bentoml~=0.13.0\n", None, ""),
        ("bentoml @ https://example.org/b.whl\n", None, ""),
    ],
)
def test_the_bentoml_that_is_installed_is_held_against_the_one_that_packed(tmp_path, pip, severity, said):
    """Another major release refuses the bundle, another minor one warns, an open requirement installs 1.x."""
    checks = found(laid.bentoml_0_13(tmp_path / "b", pip=pip), tmp_path)
    assert [(each.check, each.severity) for each in checks] == ([("format-version-mismatch", severity)] if severity else [])
    if severity:
        assert said in checks[0].text
        assert checks[0].where == Place("requirements.txt", pip.count("\n"))


def test_a_bundle_of_another_major_release_under_the_old_marker(tmp_path):
    """bentoml.yml that says 1.x packed it is a contradiction, at its line."""
    root = laid.bentoml_0_13(tmp_path / "b", yml=laid.BENTOML_YML.replace("version: 0.13.2", "version: 1.0.0"))
    (check,) = found(root, tmp_path)
    assert (check.check, check.severity, check.where) == ("format-version-mismatch", "error", Place("bentoml.yml", 1))


def test_a_copy_that_differs_and_a_key_that_stands_twice(tmp_path):
    """The inner bentoml.yml must be the same, and BentoML's reader refuses a key that stands twice."""
    root = laid.bentoml_0_13(tmp_path / "b")
    with open(root / "bentoml.yml", "a") as out:
        out.write("kind: BentoService\n")
    twice, differs = found(root, tmp_path)
    assert (twice.check, twice.where) == ("syntax-error", Place("bentoml.yml", 30))
    assert (differs.check, differs.severity, str(differs.where)) == (
        "format-version-mismatch",
        "warning",
        "Classifier/bentoml.yml",
    )


def test_links_that_leave_the_bundle_are_each_named(tmp_path):
    """A link out by dots, an absolute one, one through another link, and one in a circle; a link inside and a dangling one are not."""
    root = laid.bentoml_0_13(tmp_path / "b")
    (tmp_path / "weights").write_bytes(b"x")
    os.symlink("../weights", root / "out")
    os.symlink(str(tmp_path / "weights"), root / "absolute")
    os.symlink("out", root / "through")
    os.symlink("circle", root / "circle")
    os.symlink("README", root / "dangling")
    os.symlink("Classifier/bento_svc.py", root / "inside.py")
    checks = found(root, tmp_path)
    assert {(each.check, each.severity) for each in checks} == {("path-leaves-bundle", "error")}
    said = {str(each.where): each.text for each in checks}
    assert set(said) == {"out", "absolute", "through", "circle"}
    assert said["out"] == "out is a link to ../weights, outside the bundle."
    assert said["through"] == "through is a link to ../weights, outside the bundle, by way of out."
    assert "back to itself" in said["circle"]


def test_many_links_are_not_a_flood(tmp_path):
    """Beyond twenty, one sentence says that there are more."""
    root = laid.mlflow(tmp_path / "b")
    for at in range(30):
        os.symlink("/etc", root / f"link{at}")
    assert len(found(root, tmp_path)) == 21


@pytest.mark.parametrize("path", ["/models/m.onnx", "../m.onnx", "a/../../m.onnx"])
def test_a_model_that_is_said_to_be_elsewhere(tmp_path, path):
    """An absolute path, or one with two dots, in the bundle's own file is named at its line."""
    root = laid.mlflow(tmp_path / "b", laid.MLMODEL.replace("data: model.onnx", f"data: {path}"))
    (check,) = found(root, tmp_path)
    assert (check.check, check.severity, check.where) == ("path-leaves-bundle", "error", Place("MLmodel", 3))
    assert path in check.text


def test_a_folder_that_cannot_be_listed_is_told(tmp_path, monkeypatch):
    """What could not be looked at is unknown, never sound."""
    root = laid.mlflow(tmp_path / "b")
    bundle, files, _ = recognise(str(root), str(tmp_path))
    files = Files(str(root))
    whole = Files._list

    def refusing(self, folder, fd):
        if folder == "code":
            raise PermissionError(13, "Permission denied")
        return whole(self, folder, fd)

    monkeypatch.setattr(Files, "_list", refusing)
    (check,) = list(layout.check(bundle, files, None))
    assert (check.check, check.severity, str(check.where)) == ("folder-unreadable", "unknown", "code")


def test_no_apis(tmp_path):
    """A service without an API has nothing to call."""
    yml = laid.BENTOML_YML
    root = laid.bentoml_0_13(tmp_path / "b", yml=yml[: yml.index("apis:")] + "apis: []\n")
    (check,) = found(root, tmp_path)
    assert (check.check, check.severity, str(check.where)) == ("no-apis", "error", "bentoml.yml")


def test_a_setup_script_is_quoted_without_its_comments_and_secrets(tmp_path):
    """The lines that do something are shown, shortened, without a password, and the place is the first of them."""
    root = laid.bentoml_0_13(tmp_path / "b")
    lines = [
        "#!/bin/bash",
        "set -e",
        "",
        "pip install -i https://me:hunter2@example.org/simple torch",
        "apt-get update",
        "a",
        "b",
        "c",
        "d",
    ]
    laid.write(root, {"setup.sh": "\n".join(lines)})
    (check,) = found(root, tmp_path)
    assert (check.check, check.severity, check.where) == ("runs-setup-sh", "warning", Place("setup.sh", 4))
    assert "pip install -i https://***@example.org/simple torch; apt-get update; a; b and 2 more lines" in check.text
    assert "hunter2" not in check.text


def test_a_bento_s_spec_models_and_environment(tmp_path):
    """An unknown spec, a model that is nowhere, a command of the build, and a variable that hides every GPU."""
    yaml = (
        laid.BENTO_YAML.replace("spec: 2", "spec: 3")
        .replace("models: []", "models:\n- tag: mlp:abc\n  module: bentoml.onnx")
        .replace(
            "- name: A\n  value: b", "- name: CUDA_VISIBLE_DEVICES\n  value: ''\n- name: NVIDIA_VISIBLE_DEVICES\n  value: all"
        )
    )
    checks = found(laid.bento(tmp_path / "b", yaml), tmp_path)
    assert [(each.check, each.severity, each.where.line) for each in checks] == [
        ("format-version-mismatch", "warning", 45),
        ("artifact-missing", "error", 6),
        ("gpu-hidden-by-env", "error", 15),
        ("runs-setup-sh", "warning", 59),
    ]


def test_a_model_of_the_store_is_told(tmp_path):
    """A bento in its store is served with the store's model, which is said, and no fault."""
    yaml = laid.BENTO_YAML.replace("models: []", "models:\n- tag: mlp:abc")
    laid.bento(tmp_path / "bentos/scorer/abc", yaml)
    laid.write(tmp_path, {"models/mlp/abc/saved_model.onnx": laid.onnx()})
    checks = found(tmp_path / "bentos/scorer/abc", tmp_path)
    assert [(each.check, each.severity) for each in checks] == [("model-in-store", "hint"), ("runs-setup-sh", "warning")]


def test_a_configuration_of_triton_that_cannot_be_read(tmp_path):
    """The line is named, and the other models are still looked at."""
    root = laid.triton(tmp_path / "b")
    laid.write(root, {"broken/config.pbtxt": 'name: "x"\ninput [ {\n', "broken/1/model.onnx": laid.onnx()})
    (check,) = found(root, tmp_path)
    assert (check.check, check.severity, check.where) == ("syntax-error", "error", Place("broken/config.pbtxt", 2))


def test_texts_of_the_bundle_cannot_make_lines_of_their_own(tmp_path):
    """A name with a line end, and a command with one, stay on the line of the check."""
    bundle = Bundle("mlflow", "b", str(tmp_path), setup=(Said("echo\x1b[2J\rPASS gpu", Place("x", 3)),))
    os.symlink("/etc", tmp_path / "a\nPASS gpu")
    checks = list(layout.check(bundle, Files(str(tmp_path)), None))
    assert len(checks) == 2
    assert all(each.text.isprintable() for each in checks)


def test_a_model_that_a_service_needs_is_looked_for(tmp_path):
    """From BentoML 1.2 on a bento's models stand with its services; one of a hub is downloaded, and not looked for."""
    yaml = laid.BENTO_YAML.replace(
        "- name: Scorer\n  config:",
        "- name: Scorer\n  models:\n  - tag: mlp:abc\n  - registry: huggingface\n    model_id: a/b\n  config:",
    )
    checks = found(laid.bento(tmp_path / "b", yaml), tmp_path)
    assert [(each.check, each.where.line) for each in checks if each.severity == "error"] == [("artifact-missing", 9)]
    laid.write(tmp_path / "b", {"models/mlp/abc/saved_model.onnx": laid.onnx()})
    assert [each for each in found(tmp_path / "b", tmp_path) if each.severity == "error"] == []


def test_what_bentoml_build_left_out_is_named(tmp_path):
    """A file or folder that the packer asked to include and that is not there is told; patterns, and what is there, are not."""
    root = laid.bento(tmp_path / "b", laid.BENTO_YAML)
    file = "service: service:Scorer\ninclude:\n- service.py\n- '*.py'\n- weights/mlp.onnx\n- ./data/\n- lib/\n"
    laid.write(root, {"src/bentofile.yaml": file, "src/service.py": "", "src/app/lib/x.py": ""})
    checks = [each for each in found(root, tmp_path) if each.check == "artifact-missing"]
    assert [(each.severity, str(each.where)) for each in checks] == [
        ("error", "src/bentofile.yaml:5"),
        ("warning", "src/bentofile.yaml:6"),
    ]


@pytest.mark.parametrize(
    ("config", "lines"),
    [
        ('backend: "onnxruntime"\ninstance_group { kind: KIND_CPU }\n', [2]),
        ('backend: "onnxruntime"\ninstance_group [{ kind: KIND_CPU }, { kind: KIND_GPU }]\n', []),
        ('backend: "python"\ninstance_group { kind: KIND_CPU }\n', []),
        ('backend: "onnxruntime"\n', []),
    ],
)
def test_a_model_that_triton_is_told_to_run_on_the_cpu(tmp_path, config, lines):
    """All instances on the CPU are a warning with its line; Python's own code is right there."""
    root = laid.write(tmp_path / "b", {"m/config.pbtxt": config, "m/1/model.onnx": laid.onnx(), "m/1/model.py": ""})
    checks = [each for each in found(root, tmp_path) if each.check == "device-fixed-to-cpu"]
    assert [(each.severity, each.where.line) for each in checks] == [("warning", line) for line in lines]
