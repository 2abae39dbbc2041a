"""What a path is taken for, what is read of it, and what is said where it is no bundle."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
import time
import zipfile

import pytest

from gpudoctor.bundle import Artifact, NotABundle, Place, Required, Said, Tensor
from gpudoctor.bundle.layouts import pbtxt, yml
from gpudoctor.bundle.recognise import recognise
from gpudoctor.formats import Malformed
from tests.bundle import laid


def seen(path, tmp_path):
    """Recognise a path, and return the bundle and its files."""
    into = tmp_path / "unpacked"
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir()
    bundle, files, _ = recognise(str(path), str(into))
    return bundle, files


def refused(path, tmp_path):
    """Return the check that says why a path is no bundle."""
    with pytest.raises(NotABundle) as raised:
        seen(path, tmp_path)
    return raised.value.check


def test_bentoml_0_13_is_read_whole(tmp_path):
    """Name, versions, code, artifacts, APIs with their example, requirements of pip and conda, and the image are read with their lines."""
    bundle, _ = seen(laid.bentoml_0_13(tmp_path / "b"), tmp_path)
    assert bundle[:1] == ("bentoml-0.13",)
    assert (bundle.name, bundle.version, bundle.packed_by) == ("Classifier", "1.2.3", "0.13.2")
    assert bundle.python == Said("3.8.18", Place("bentoml.yml", 12))
    assert bundle.service == Said("bento_svc:Classifier", Place("bentoml.yml", 7))
    assert bundle.artifacts == (Artifact("model", "onnx", "Classifier/artifacts/model.onnx", Place("bentoml.yml", 27)),)
    assert bundle.sources == ("Classifier/bento_svc.py", "Classifier/helper/inner.py")
    assert bundle.import_roots == ("Classifier", "")
    predict, frame = bundle.apis
    assert (predict.name, predict.route, predict.takes, json.loads(predict.example)) == (
        "predict",
        "/predict",
        "JsonInput",
        {"text": "hi"},
    )
    assert (frame.route, frame.inputs, frame.example) == ("/v1/frame", (Tensor("a", "float64", (None,)),), "")
    assert bundle.requirements == (
        Required("bentoml", "==0.13.2", "", "pip", Place("requirements.txt", 1)),
        Required("onnxruntime-gpu", "==1.16.3", "python_version < '3.12'", "pip", Place("requirements.txt", 2)),
        Required("pytorch", "==1.9.0", "", "conda", Place("environment.yml", 3)),
        Required("cudatoolkit", "11.1", "", "conda", Place("environment.yml", 4)),
        Required("six", "", "", "pip", Place("environment.yml", 6)),
    )
    assert bundle.base_image == Said("nvidia/cuda:11.8.0-runtime-ubuntu22.04", Place("Dockerfile", 2))


@pytest.mark.parametrize(
    ("artifact_type", "there", "expected"),
    [
        ("PytorchModelArtifact", (), {"model.pt": "torch-pickle"}),
        ("PytorchLightningModelArtifact", (), {"model.pt": "torchscript"}),
        ("TensorflowSavedModelArtifact", (), {"model_saved_model": "savedmodel"}),
        ("KerasModelArtifact", (), {"model.h5": "keras-h5"}),
        (
            "KerasModelArtifact",
            ("model.h5", "model_custom_objects.pkl"),
            {"model.h5": "keras-h5", "model_custom_objects.pkl": "pickle"},
        ),
        ("KerasModelArtifact", ("model_json.json",), {"model_json.json": "json", "model_weights.hdf5": "keras-h5"}),
        ("PickleArtifact", (), {"model.pkl": "pickle"}),
        ("TextFileArtifact", (), {"model.txt": "text"}),
        ("TransformersModelArtifact", (), {"model": "unknown"}),
        ("MyOwnArtifact", ("model.onnx", "model.yml"), {"model.onnx": "onnx"}),
        ("MyOwnArtifact", (), {"model": "unknown"}),
    ],
)
def test_bentoml_0_13_artifacts_are_where_their_type_puts_them(tmp_path, artifact_type, there, expected):
    """Each type's files are named whether they are there or not; a type that is not known has what lies under its name."""
    root = laid.bentoml_0_13(tmp_path / "b", yml=laid.BENTOML_YML.replace("OnnxModelArtifact", artifact_type))
    os.unlink(root / "Classifier/artifacts/model.onnx")
    laid.write(root / "Classifier/artifacts", dict.fromkeys(there, b"x"))
    bundle, _ = seen(root, tmp_path)
    assert {each.path.removeprefix("Classifier/artifacts/"): each.kind for each in bundle.artifacts} == expected


def test_the_inner_folder_of_bentoml_0_13_is_taken_with_its_outer_one(tmp_path):
    """Given inside the outer folder it is that; alone it is a bundle without requirements but for those in bentoml.yml."""
    root = laid.bentoml_0_13(tmp_path / "b")
    bundle, files = seen(root / "Classifier", tmp_path)
    assert bundle.root == files.root == str(root)
    assert bundle.path == str(root / "Classifier")
    shutil.move(root / "Classifier", tmp_path / "alone")
    bundle, files = seen(tmp_path / "alone", tmp_path)
    assert bundle.root == files.root == str(tmp_path / "alone")
    assert bundle.artifacts[0].path == "artifacts/model.onnx"
    assert bundle.sources == ("bento_svc.py", "helper/inner.py")
    assert bundle.requirements == (Required("bentoml", "==0.13.2", "", "pip", Place("bentoml.yml", 11)),)


def test_a_bento_is_read_whole(tmp_path):
    """Service, image, GPUs, commands, model files, and of each API the shapes and an example built of its schema's."""
    bundle, _ = seen(laid.bento(tmp_path / "b"), tmp_path)
    assert (bundle.format, bundle.name, bundle.version, bundle.spec, bundle.packed_by) == (
        "bentoml-1",
        "scorer",
        "abc",
        "2",
        "1.4.39",
    )
    assert bundle.python == Said("3.11", Place("bento.yaml", 44))
    assert bundle.gpus == (Said("2", Place("bento.yaml", 10)),)
    assert bundle.base_image == Said("python:3.11-slim", Place("bento.yaml", 43))
    assert bundle.setup == (Said("pip uninstall -y torch", Place("bento.yaml", 55)),)
    assert bundle.artifacts == (Artifact("mlp.onnx", "onnx", "src/mlp.onnx", Place("src/mlp.onnx")),)
    assert bundle.requirements == (
        Required("onnxruntime-gpu", "==1.23.2", "", "pip", Place("bento.yaml", 49), ("cuda",)),
        Required("bentoml", "==1.4.39", "", "pip", Place("bento.yaml", 51)),
    )
    assert bundle.indexes == (Said("--extra-index-url https://example.org/simple", Place("bento.yaml", 47)),)
    predict, bare = bundle.apis
    assert predict.inputs == (Tensor("x", "float32", (None, 4)), Tensor("n", "int64", ()))
    assert json.loads(predict.example) == {"x": [[1.5, 2]], "n": 3}
    assert (bare.route, bare.inputs, bare.example) == ("/v2/bare", (Tensor("x", "", None),), "")


def test_a_bento_s_lock_counts_before_what_was_asked_for(tmp_path):
    """What the image installs is read from env/python, and conda's part beside it."""
    more = {
        "env/python/requirements.txt": "torch\n",
        "env/python/requirements.lock.txt": "torch==2.14.1\n",
        "env/conda/environment.yml": "dependencies:\n- numpy=1.26\n",
        "env/docker/Dockerfile": "FROM nvidia/cuda:12.1.1-cudnn8-runtime-ubuntu22.04 as base-container\n",
        "env/docker/setup_script": "echo hi\n",
    }
    yaml = laid.BENTO_YAML.replace("spec: 2", "spec: 1\ndocker:\n  cuda_version: 12.1.1\n  setup_script: ./x.sh")
    bundle, _ = seen(laid.bento(tmp_path / "b", yaml, more), tmp_path)
    assert [(each.name, each.spec, each.installer) for each in bundle.requirements] == [
        ("torch", "==2.14.1", "pip"),
        ("numpy", "=1.26", "conda"),
    ]
    assert bundle.base_image.text == "nvidia/cuda:12.1.1-cudnn8-runtime-ubuntu22.04"
    assert bundle.cuda.text == "12.1.1"
    assert bundle.setup[0] == Said("echo hi\n", Place("env/docker/setup_script"))


OLD = """\
service: service:svc
name: old
version: v1
bentoml_version: 1.1.11
models:
- tag: mlp:abc
  module: bentoml.onnx
runners:
- name: mlp
  models:
  - mlp:abc
  resource_config:
    nvidia.com/gpu: [0, 2]
apis:
- name: predict
  input_type: NumpyNdarray
"""
OPENAPI = """\
paths:
  /v1/predict:
    post:
      x-bentoml-name: predict
      requestBody:
        content:
          application/json:
            example:
            - - 1.0
        x-bentoml-io-descriptor:
          args: {dtype: float32, shape: [1, 4]}
"""


def test_a_store_s_folder_is_its_latest_bento_with_its_models(tmp_path):
    """NAME/latest names the version; models of the store are seen in the bundle, and 1.1's runners and OpenAPI are read."""
    home = tmp_path / "home"
    laid.bento(home / "bentos/old/v1", OLD, {"apis/openapi.yaml": OPENAPI})
    laid.write(home, {"bentos/old/latest": "v1", "models/mlp/abc/saved_model.onnx": laid.onnx(), "models/mlp/abc/model.yaml": ""})
    bundle, files = seen(home / "bentos/old", tmp_path)
    assert bundle.root == files.root == str(home / "bentos/old/v1")
    assert Artifact("mlp:abc", "onnx", "models/mlp/abc/saved_model.onnx", Place("bento.yaml", 6)) in bundle.artifacts
    assert files.read("models/mlp/abc/saved_model.onnx") == laid.onnx()
    assert bundle.gpus == (Said("[0, 2]", Place("bento.yaml", 13)),)
    (api,) = bundle.apis
    assert (api.route, api.takes, api.inputs, api.example) == (
        "/v1/predict",
        "NumpyNdarray",
        (Tensor("", "float32", (1, 4)),),
        "[[1.0]]",
    )


def test_an_onnx_file_is_a_bundle_under_any_name(tmp_path):
    """Its inputs are the model's, the folder around it is not listed, and a link to it is followed."""
    laid.write(tmp_path / "d", {"m.onnx": laid.onnx(), "blob": laid.onnx(), "other": "x"})
    os.symlink("blob", tmp_path / "d" / "link.onnx")
    for name in ("m.onnx", "blob", "link.onnx"):
        bundle, files = seen(tmp_path / "d" / name, tmp_path)
        assert bundle.format == "onnx"
        assert [each.path for each in files.entries()] == [bundle.artifacts[0].path] == [name]
        assert bundle.apis[0].inputs == (Tensor("x", "float32", ("N", 4)),)


def test_an_mlflow_model_is_read_whole(tmp_path):
    """Flavors, providers, signature, code, requirements once, and the example wrapped as the server wants it."""
    bundle, _ = seen(laid.mlflow(tmp_path / "m"), tmp_path)
    assert (bundle.format, bundle.packed_by, bundle.import_roots, bundle.sources) == (
        "mlflow",
        "3.17.2",
        ("code",),
        ("code/mine.py",),
    )
    assert bundle.artifacts == (Artifact("onnx", "onnx", "model.onnx", Place("MLmodel", 3)),)
    assert [(each.text, each.at.line) for each in bundle.providers] == [("CUDAExecutionProvider", 5), ("CPUExecutionProvider", 6)]
    assert [(each.name, each.installer) for each in bundle.requirements] == [
        ("mlflow", "pip"),
        ("onnxruntime", "pip"),
        ("python", "conda"),
    ]
    (api,) = bundle.apis
    assert api.inputs == (Tensor("x", "float32", (None, 4)),)
    assert json.loads(api.example) == {"inputs": [[1.0, 2.0, 3.0, 4.0]]}
    laid.write(tmp_path / "m", {"serving_input_example.json": '{"inputs": [[9.0]]}'})
    assert seen(tmp_path / "m", tmp_path)[0].apis[0].example == '{"inputs": [[9.0]]}'


def test_mlflow_s_torch_data_are_the_files_in_its_folder(tmp_path):
    """A flavor that names a folder has the models in it: a pickled module or an exported program."""
    yaml = "flavors:\n  pytorch:\n    model_data: data\n  python_function:\n    loader_module: mlflow.pytorch\n"
    laid.write(tmp_path / "m", {"MLmodel": yaml, "data/model.pth": b"x", "data/pickle_module_info.txt": "mlflow"})
    assert [(each.kind, each.path) for each in seen(tmp_path / "m", tmp_path)[0].artifacts] == [
        ("torch-pickle", "data/model.pth")
    ]


def test_a_triton_repository_is_read_whole(tmp_path):
    """Each version's model, the inputs with their batch, the GPUs by index, and the accelerator."""
    bundle, _ = seen(laid.triton(tmp_path / "r"), tmp_path)
    assert bundle.format == "triton"
    assert [each.path for each in bundle.artifacts] == ["densenet/1/model.onnx", "densenet/10/model.onnx"]
    assert bundle.artifacts[0].declared == Place("densenet/config.pbtxt", 3)
    (api,) = bundle.apis
    assert api.route == "/v2/models/densenet/infer"
    assert api.inputs == (Tensor("data_0", "float32", (None, 3, None, 224)), Tensor("ids", "int64", (None, 1)))
    assert bundle.gpus == (Said("[0, 3]", Place("densenet/config.pbtxt", 10)),)
    assert bundle.providers == (Said("tensorrt", Place("densenet/config.pbtxt", 11)),)


@pytest.mark.parametrize("config", [None, 'name: "unclosed\n'], ids=["absent", "damaged"])
def test_triton_without_a_configuration_has_the_model_s_own_inputs(tmp_path, config):
    """Triton completes an absent configuration from the model; one model's folder alone is taken too."""
    root = laid.triton(tmp_path / "r", config)
    for path in (root, root / "densenet"):
        bundle, _ = seen(path, tmp_path)
        assert bundle.format == "triton"
        assert bundle.apis[0].name == "densenet"
        assert bundle.apis[0].inputs == (Tensor("x", "float32", ("N", 4)),)


@pytest.mark.parametrize(
    ("name", "members", "format_"),
    [
        ("m.pt", ("m/data.pkl", "m/code/__torch__.py", "m/constants.pkl", "m/version"), "torchscript"),
        ("m.bin", ("m/data.pkl", "m/code/__torch__.py", "m/constants.pkl"), "torchscript"),
        ("m.pt2", ("m/archive_format", "m/models/model.json"), "torch-export"),
        ("m.pt", ("version", "serialized_exported_program.json"), "torch-export"),
        ("m.pt", ("m/data.pkl", "m/data/0", "m/version"), "state-dict"),
        ("m.mar", ("MAR-INF/MANIFEST.json", "model.pt"), "torchserve"),
    ],
)
def test_torch_s_zips_are_told_apart_by_their_members(tmp_path, name, members, format_):
    """TorchScript, an exported program, torch.save's and TorchServe's archives, whatever the file is called."""
    assert seen(laid.zipped(tmp_path / name, *members), tmp_path)[0].format == format_


def test_an_exported_program_s_inputs_are_read(tmp_path):
    """Parameters are left out, types have numpy's names, and a dimension that may vary has its example's size."""
    sizes = [{"as_expr": {"expr_str": "Symbol('s77')", "hint": {"as_int": 2}}}, {"as_int": 4}]
    graph = {"tensor_values": {"w": {"dtype": 7, "sizes": [{"as_int": 4}]}, "x": {"dtype": 5, "sizes": sizes}}}
    specs = [{"parameter": {"arg": {"name": "w"}}}, {"user_input": {"arg": {"as_tensor": {"name": "x"}}}}, {"user_input": 1}]
    program = json.dumps({"graph_module": {"graph": graph, "signature": {"input_specs": specs}}})
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(tmp_path / "m.pt2", "w", method) as out:
            out.writestr("m/archive_format", "pt2")
            out.writestr("m/models/model.json", program)
        (api,) = seen(tmp_path / "m.pt2", tmp_path)[0].apis
        assert api.inputs == (Tensor("x", "int64", (2, 4)),)


def test_weights_and_other_servers_say_what_to_do_instead(tmp_path):
    """Safetensors, a state dict, .mar, Cog and KServe are named by a check that says what cannot be called, and why."""
    laid.write(tmp_path, {"w/model.safetensors": laid.safetensors(), "w/config.json": "{}", "one": laid.safetensors()})
    laid.write(tmp_path, {"cog/cog.yaml": "build:\n  gpu: true\n  cuda: '12.1'\npredict: predict.py:P\n", "cog/predict.py": ""})
    manifest = "apiVersion: v1\nkind: Secret\n---\napiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata: {name: iris}\n"
    laid.write(tmp_path, {"k/isvc.yaml": manifest})
    laid.zipped(tmp_path / "m.mar", "MAR-INF/MANIFEST.json")
    laid.zipped(tmp_path / "w.pt", "w/data.pkl")
    expected = {
        "w": ("safetensors", "weights-only", "model.safetensors"),
        "one": ("safetensors", "weights-only", "one"),
        "w.pt": ("state-dict", "weights-only", "w.pt"),
        "m.mar": ("torchserve", "other-server", "m.mar"),
        "cog": ("cog", "other-server", "cog.yaml:1"),
        "k": ("kserve", "other-server", "isvc.yaml:5"),
        "k/isvc.yaml": ("kserve", "other-server", "isvc.yaml:5"),
    }
    for name, (format_, check, where) in expected.items():
        bundle, _, (found,) = recognise(str(tmp_path / name), str(tmp_path))
        assert (bundle.format, found.check, found.severity, str(found.where)) == (format_, check, "error", where)
        assert found.cure
    assert seen(tmp_path / "cog", tmp_path)[0].gpus == (Said("1", Place("cog.yaml", 2)),)


def test_a_savedmodel_and_marker_files_themselves_are_taken(tmp_path):
    """A SavedModel's folder is known by its file, and a marker file stands for its folder."""
    laid.write(tmp_path / "s", {"saved_model.pb": b"\x08\x01", "variables/variables.index": b""})
    assert seen(tmp_path / "s", tmp_path)[0].artifacts[0][1:3] == ("savedmodel", "")
    assert seen(tmp_path / "s" / "saved_model.pb", tmp_path)[0].format == "savedmodel"
    assert seen(laid.bento(tmp_path / "b") / "bento.yaml", tmp_path)[0].format == "bentoml-1"


def archive(path, folder, name):
    """Write a tar.gz of a folder under a name in it."""
    with tarfile.open(path, "w:gz") as out:
        out.add(folder, name)
    return path


@pytest.mark.parametrize("name", [".", "Classifier_1.2.3", "a/b"])
def test_archives_are_unpacked_and_the_bundle_in_them_found(tmp_path, name):
    """At the top or in a folder of its own, and the path that was given is the one that is told."""
    path = archive(tmp_path / "b.tar.gz", laid.bentoml_0_13(tmp_path / "b"), name)
    bundle, files = seen(path, tmp_path)
    assert (bundle.format, bundle.path) == ("bentoml-0.13", str(path))
    assert files.root.startswith(str(tmp_path / "unpacked"))


def test_archives_with_several_bundles_a_repository_or_an_archive(tmp_path):
    """Several are listed, a repository of one model stays a repository, and an archive in the archive is not unpacked."""
    laid.mlflow(tmp_path / "two/a")
    laid.mlflow(tmp_path / "two/b")
    check = refused(archive(tmp_path / "two.tgz", tmp_path / "two", "two"), tmp_path)
    assert "has 2 of them in it: a, b" in check.text
    for config in (laid.CONFIG, None):
        shutil.rmtree(tmp_path / "repository", ignore_errors=True)
        path = archive(tmp_path / "r.tgz", laid.triton(tmp_path / "repository", config), "repository")
        assert seen(path, tmp_path)[0].apis[0].name == "densenet"
    laid.write(tmp_path / "n", {"x.bento": (tmp_path / "r.tgz").read_bytes()})
    assert "x.bento" in refused(archive(tmp_path / "n.tgz", tmp_path / "n", "n"), tmp_path).text


def test_an_archive_with_one_onnx_file_is_that_file(tmp_path):
    """A model alone in an archive is found in it."""
    laid.write(tmp_path / "d", {"m.onnx": laid.onnx(), "README": "x"})
    bundle, files = seen(archive(tmp_path / "m.tar.gz", tmp_path / "d", "d"), tmp_path)
    assert (bundle.format, files.only) == ("onnx", ("m.onnx",))


@pytest.mark.parametrize(
    ("files", "where", "said"),
    [
        ({"bentoml.yml": "version: 1\nkind: Other\n"}, "bentoml.yml:2", "kind Other"),
        ({"bentoml.yml": "version: 1\n"}, "bentoml.yml:1", "no kind"),
        ({"bentoml.yml": "kind: BentoService\nmetadata:\n  x: 1\n"}, "bentoml.yml:2", "names no service"),
        ({"bentoml.yml": "a: b\nc: [d\n"}, "bentoml.yml:3", "no YAML"),
        ({"bentoml.yml": "- a\n- b\n"}, "bentoml.yml:1", "a list"),
        ({"bentoml.yml": "just words\n"}, "bentoml.yml:1", "a text"),
        ({"bentoml.yml": ""}, "bentoml.yml:1", "nothing"),
        ({"bentoml.yml": b"a: b\nc: \xff\xfe\n"}, "bentoml.yml:2", "UTF-8"),
        ({"bentoml.yml": b"\x00\x01\x02" * 99}, "bentoml.yml:1", "character"),
        ({"bentoml.yml": "a: &x [*x]\n"}, "bentoml.yml:1", "alias of itself"),
        ({"bentoml.yml": "a: " + "[" * 500}, "bentoml.yml:1", "levels"),
        ({"bentoml.yml": "a: " + "[" * 5000}, "bentoml.yml:1", "nesting"),
        ({"bentoml.yml": "kind: BentoService\n" + "x: y\n" * (1 << 20)}, "bentoml.yml", "larger than 4 MiB"),
        ({"bentoml.yml": "- a\n" * 400_000}, "bentoml.yml:", "values"),
        ({"bento.yaml": "name: x\n"}, "bento.yaml:1", "names no service"),
        ({"MLmodel": "a: b\n"}, "MLmodel:1", "no flavor"),
        ({"cog.yaml": "a: [\n"}, "cog.yaml:", "no YAML"),
    ],
)
def test_what_is_wrong_in_the_marker_file_is_told_with_its_line(tmp_path, files, where, said):
    """A marker of another kind, damaged, of another encoding or without its main key is no bundle, at file and line, in little time."""
    root = laid.write(tmp_path / "b", files)
    began = time.monotonic()
    check = refused(root, tmp_path)
    assert time.monotonic() - began < 2
    assert check.check == "not-a-bundle"
    assert check.text.startswith("not a bundle: ")
    assert said in check.text
    assert str(check.where).startswith(where)


@pytest.mark.parametrize(
    ("files", "given", "said", "cure"),
    [
        ({}, "nothing", "no such file", "Check the path"),
        ({"bentofile.yaml": "service: x\n", "m.onnx": b"x"}, "", "how a bento is built", "bentoml build"),
        ({"sub/dir/bentoml.yml": laid.BENTOML_YML}, "", "sub/dir in it is", "sub/dir"),
        ({"a/MLmodel": "x", "b/bento.yaml": "x"}, "", "2 are in it", "b/b, "),
        ({"onnx/model.onnx": b"x", "model.safetensors": "{}"}, "", "onnx/model.onnx in it is", "onnx/model.onnx"),
        ({"x/model.pt": "x"}, "", "x/model.pt in it is", "x/model.pt"),
        ({"train.py": "x", "data.csv": "x"}, "", "data.csv, train.py", "A bundle is"),
        ({"m.pkl": b"\x80\x04."}, "m.pkl", "a pickle by itself", "BentoML or MLflow"),
        ({"m.h5": b"\x89HDF\r\n\x1a\n"}, "m.h5", "a Keras model", "SavedModel"),
        ({"m.keras": b"PK\x03\x04"}, "m.keras", "a Keras model", "SavedModel"),
        ({"m.plan": b"x"}, "m.plan", "TensorRT", "Triton"),
        ({"m.gguf": b"GGUF"}, "m.gguf", "llama.cpp", "gpudoctor smoke"),
        ({"empty": b""}, "empty", "is empty", "A bundle is"),
        ({"a.txt": "words"}, "a.txt", "no kind that is known", "A bundle is"),
        ({"service.py": "import bentoml"}, "service.py", "Python source", "bentoml build"),
    ],
)
def test_what_is_no_bundle_is_told_with_what_to_give(tmp_path, files, given, said, cure):
    """A path that is missing, the source of a bento, a bundle one level below, and files of other kinds each get their own sentence."""
    root = laid.write(tmp_path / "b", files)
    root.mkdir(exist_ok=True)
    check = refused(root / given if given else root, tmp_path)
    assert check.check == "not-a-bundle"
    assert said in check.text
    assert cure.replace("b/b, ", str(root / "b")) in check.cure


def test_an_empty_folder_and_a_fifo_are_no_bundles(tmp_path):
    """Neither is waited for or taken for anything."""
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "fifo")
    assert "empty folder" in refused(tmp_path / "empty", tmp_path).text
    assert "neither a folder nor a regular file" in refused(tmp_path / "fifo", tmp_path).text


def test_a_pointer_of_git_lfs_is_told(tmp_path):
    """The pointer that stands for a file in a clone without git-lfs is named as such."""
    laid.write(tmp_path, {"bundle.tar.gz": "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 5\n"})
    assert "neither a tar nor a zip" in refused(tmp_path / "bundle.tar.gz", tmp_path).text
    laid.write(tmp_path, {"bundle": "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 5\n"})
    assert refused(tmp_path / "bundle", tmp_path).check == "git-lfs-pointer"


def test_a_marker_that_is_a_link_out_is_not_followed(tmp_path):
    """A bentoml.yml that is a link to another place is refused with the link's target."""
    laid.write(tmp_path, {"elsewhere.yml": laid.BENTOML_YML})
    (tmp_path / "b").mkdir()
    os.symlink("../elsewhere.yml", tmp_path / "b" / "bentoml.yml")
    check = refused(tmp_path / "b", tmp_path)
    assert "../elsewhere.yml" in check.text


LAYOUTS = {
    "bentoml.yml": laid.bentoml_0_13,
    "bento.yaml": laid.bento,
    "MLmodel": laid.mlflow,
    "densenet/config.pbtxt": laid.triton,
}


@pytest.mark.parametrize("marker", LAYOUTS)
def test_a_damaged_marker_never_breaks_the_reader(tmp_path, marker):
    """Cut at every fiftieth, or with a byte turned, or with a value of another kind, it is read or refused, and nothing else happens."""
    root = LAYOUTS[marker](tmp_path / "b")
    whole = (root / marker).read_bytes()
    damaged = [whole[:at] for at in range(0, len(whole), max(len(whole) // 50, 1))]
    damaged += [bytes((*whole[:at], whole[at] ^ 0x24, *whole[at + 1 :])) for at in range(0, len(whole), max(len(whole) // 50, 1))]
    lines = whole.decode().split("\n")
    for value in ("[1, {a: [b]}]", "{a: {b: [c]}}", "null", "1e999", "!!binary x", "'\\n'", "../../../etc", "-1", "\U0001f600"):
        for at, line in enumerate(lines):
            key, colon, _ = line.partition(": ")
            if colon:
                damaged.append("\n".join((*lines[:at], f"{key}: {value}", *lines[at + 1 :])).encode())
    read = 0
    for data in damaged:
        (root / marker).write_bytes(data)
        try:
            seen(root, tmp_path)
            read += 1
        except NotABundle:
            continue
    assert 0 < read <= len(damaged)


def test_aliases_of_aliases_cost_nothing(tmp_path):
    """Forty levels of lists of aliases stand in the key that the example is built from: the example is left out, at once."""
    bomb = "a0: &a0 [1, 2]\n" + "".join(f"a{at}: &a{at} [*a{at - 1}, *a{at - 1}, *a{at - 1}]\n" for at in range(1, 40))
    root = laid.bento(tmp_path / "b", bomb + laid.BENTO_YAML.replace("default: 3", "default: *a39"))
    began = time.monotonic()
    bundle, _ = seen(root, tmp_path)
    assert time.monotonic() - began < 1
    assert [each.example for each in bundle.apis] == ["", ""]


def test_yaml_keeps_lines_merges_and_keys_that_stand_twice():
    """The line of a key, what a merge brings, the last of two equal keys, and numbers as JSON has them."""
    tree = yml.parse(b"a: &m {x: 1, y: 0x10}\nb:\n  <<: *m\n  y: .inf\na: 2\n")
    assert (tree.word("a"), tree.get("a").line, tree.twice) == ("2", 5, (("a", 5),))
    assert yml.plain(tree.get("b")) == {"x": 1, "y": float("inf")}
    assert tree.get("no", "such").word("key") == ""
    assert not tree.get("no")


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ('a: "x\n', 1, "closing quote"),
        ("a {\n b: 1\n", 2, "expected"),
        ("a: [1,\n 2\n", 2, "expected"),
        ("a\n", 1, "no value"),
        ("a: 1\n}\n", 2, "field's name"),
        ("a 1\n", 1, "colon"),
        ("a {" * 100, 1, "levels"),
    ],
)
def test_protobuf_s_text_says_where_it_is_wrong(text, line, reason):
    """Each fault has its line and a plain reason."""
    with pytest.raises(Malformed) as raised:
        pbtxt.parse(text.encode())
    assert raised.value.line == line
    assert reason in raised.value.reason


def test_protobuf_s_text_has_lists_repeats_and_joined_texts():
    """A field that stands twice, a list, texts beside each other, comments, and both kinds of brackets."""
    tree = pbtxt.parse(b"d: [1, 2] # two\nd: 3\nm < n: 'a' \"b\\n\" >\nm { n: x; }\n")
    assert [each.text for each in tree.get("d").items] == ["1", "2", "3"]
    assert [pbtxt.first(each, "n").text for each in tree.get("m").items] == ["ab\n", "x"]
    assert pbtxt.first(tree, "m", "n").line == 4


def test_names_with_line_ends_stay_on_one_line(tmp_path):
    """What is said of a folder whose files have odd names has no line end of theirs."""
    root = laid.write(tmp_path / "b\nPASS", {"x\nPASS gpu": "x"})
    check = refused(root, tmp_path)
    assert "\n" not in check.text + check.cure


def test_a_docker_archive_is_told_from_a_bundle(tmp_path):
    """An image that was saved to a tar is named, with the command that takes it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive_:
        for name in ("manifest.json", "oci-layout", "index.json"):
            archive_.addfile(tarfile.TarInfo(name))
    laid.write(tmp_path, {"image.tar": out.getvalue()})
    check = refused(tmp_path / "image.tar", tmp_path)
    assert "container image" in check.text
    assert "docker load" in check.cure


def test_a_bento_s_objects_and_defaults_make_a_body(tmp_path):
    """An argument that must be given is put together from its parts' examples and defaults; where all may be left out, nothing is sent."""
    schema = """
  - name: nested
    route: /nested
    input:
      $defs:
        Inner: {type: object, properties: {k: {type: integer, default: 3}, w: {type: number}}, required: [k]}
      properties:
        query:
          type: object
          properties:
            text: {type: string, examples: [hello]}
            inner: {$ref: '#/$defs/Inner'}
          required: [text, inner]
      required: [query]
  - name: untold
    route: /untold
    input:
      properties:
        query: {type: object, properties: {text: {type: string}}, required: [text]}
      required: [query]
  - name: optional
    route: /optional
    input:
      properties:
        x: {type: array, default: [1.0]}
"""
    head, _, rest = laid.BENTO_YAML.partition("spec: 2")
    bundle, _ = seen(laid.bento(tmp_path / "b", f"{head}{schema.lstrip(chr(10))}spec: 2{rest}"), tmp_path)
    assert [json.loads(api.example) if api.example else None for api in bundle.apis[2:]] == [
        {"query": {"text": "hello", "inner": {"k": 3}}},
        None,
        {},
    ]
