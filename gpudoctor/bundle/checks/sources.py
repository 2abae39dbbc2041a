"""What a bundle's own code does with the GPU: sessions without a provider, models that stay on the CPU, frameworks that it does not require.

The code is read (``bundle/sources.py``), never run. An error is said only of what was followed from end to end; a value that could not
be followed gives "cannot tell" where it decides, and nothing where it may well be right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from gpudoctor import tables
from gpudoctor.bundle import Check, Place
from gpudoctor.bundle.checks import environment
from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.bundle import Artifact, Bundle
    from gpudoctor.bundle.files import Files
    from gpudoctor.bundle.sources import Model, Session, Sources
    from gpudoctor.facts import Facts

    How = Literal["error", "warning", "hint"]

_NAMED = "providers=['CUDAExecutionProvider', 'CPUExecutionProvider']"
_TORCH_KINDS = frozenset({"torch-pickle", "torchscript", "torch-export"})
_GPU_KINDS = _TORCH_KINDS | {"onnx", "keras-h5", "savedmodel", "safetensors", "plan"}
_WITH_REQUIREMENTS = frozenset({"bentoml-0.13", "bentoml-1", "mlflow"})
"""Formats that say what is to be installed: of the others a missing package says nothing."""


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


class Family(NamedTuple):
    """A framework: what it is called, the packages of pip that bring it, of conda, and what to ask for where it is missing."""

    name: str
    pip: frozenset[str]
    conda: frozenset[str]
    ask: str


def _family(name: str, pip: str, conda: str = "", ask: str = "") -> Family:
    names = pip.split()
    return Family(name, frozenset(names), frozenset(conda.split() or names), ask or names[0])


_BRING_TORCH = (
    "torchvision torchaudio torchtext pytorch-lightning lightning fastai sentence-transformers timm ultralytics accelerate peft vllm "
    "openai-whisper xformers kornia torchmetrics easyocr bitsandbytes flair stanza monai segmentation-models-pytorch facenet-pytorch "
    "deepspeed optimum gpytorch botorch pytorch-forecasting flash-attn trl open-clip-torch speechbrain transformer-engine sglang "
    "lmdeploy efficientnet-pytorch simpletransformers allennlp pyannote-audio spacy-transformers torch-tensorrt pytorch-transformers"
)
"""Packages of pip that require torch."""
_FAMILIES = {
    "torch": _family(
        "PyTorch", f"torch {_BRING_TORCH}", "pytorch pytorch-gpu pytorch-cpu torchvision torchtext torchaudio", "torch"
    ),
    "torchvision": _family(
        "torchvision", "torchvision timm ultralytics easyocr fastai facenet-pytorch segmentation-models-pytorch"
    ),
    "torchaudio": _family("torchaudio", "torchaudio pyannote-audio speechbrain"),
    "torchtext": _family("torchtext", "torchtext"),
    "tensorflow": _family(
        "TensorFlow",
        "tensorflow tensorflow-gpu tensorflow-cpu intel-tensorflow tf-nightly tensorflow-rocm tensorflow-macos tensorflow-text tf-keras "
        "tensorflow-addons ktrain",
        "tensorflow tensorflow-gpu tensorflow-cpu tensorflow-mkl",
    ),
    "keras": _family(
        "Keras",
        "keras tensorflow tensorflow-gpu tensorflow-cpu intel-tensorflow tf-nightly keras-nightly",
        "keras tensorflow tensorflow-gpu",
    ),
    "onnxruntime": _family(
        "ONNX Runtime",
        "onnxruntime-gpu onnxruntime onnxruntime-directml onnxruntime-openvino onnxruntime-training ort-nightly ort-nightly-gpu "
        "rembg fastembed insightface chromadb rapidocr-onnxruntime faster-whisper piper-tts magika",
        "onnxruntime onnxruntime-gpu",
    ),
    "jax": _family("JAX", "jax flax optax dm-haiku equinox chex brax"),
    "cupy": _family(
        "CuPy", "cupy cupy-cuda13x cupy-cuda12x cupy-cuda11x cupy-cuda118 cupy-cuda117 cupy-cuda116 cupy-cuda113 cupy-cuda102"
    ),
    "transformers": _family(
        "transformers", "transformers sentence-transformers peft optimum vllm trl spacy-transformers simpletransformers"
    ),
    "xgboost": _family("XGBoost", "xgboost xgboost-cpu", "xgboost py-xgboost py-xgboost-gpu"),
    "lightgbm": _family("LightGBM", "lightgbm"),
    "catboost": _family("CatBoost", "catboost"),
}
"""By the name that is imported."""
_NEEDED_BY = {
    "onnx": "onnxruntime",
    "torch-pickle": "torch",
    "torchscript": "torch",
    "torch-export": "torch",
    "keras-h5": "tensorflow",
    "savedmodel": "tensorflow",
}
"""What loads an artifact."""
_CAN_USE_GPU = _set(
    "cudf cuml cugraph cuspatial cucim pylibraft rmm faiss-gpu pycuda tensorrt numba mxnet paddlepaddle paddlepaddle-gpu "
    "ctranslate2 llama-cpp-python spacy diffusers faiss-cpu faiss triton nvidia-dali dgl gpustat tensorrt-llm cutlass "
    "warp-lang thinc h2o pytorch-cuda cudatoolkit pytorch-gpu jaxlib detectron2 keras-nightly gluonnlp cntk theano tinygrad "
    "mlx candle py-xgboost"
) | frozenset(name for each in _FAMILIES.values() for name in (*each.pip, *each.conda))
_ON_CPU = _set(
    "bentoml numpy scipy pandas scikit-learn scikit-image statsmodels joblib cloudpickle pyyaml requests flask fastapi "
    "pydantic pillow opencv-python opencv-python-headless nltk gensim matplotlib seaborn tqdm protobuf python pip "
    "setuptools wheel mlflow mlflow-skinny imbalanced-learn category-encoders pyarrow polars psutil aiohttp httpx uvicorn "
    "starlette gunicorn boto3 sqlalchemy click jinja2 typing-extensions packaging attrs six certifi urllib3 idna "
    "charset-normalizer prometheus-client python-dateutil pytz tzdata threadpoolctl patsy shap prophet pmdarima sktime "
    "textblob regex ujson orjson msgpack cffi onnx"
)
"""Common packages that compute on the CPU alone, or not at all, and bring none of the frameworks."""
_FRAMEWORK_IMAGES = {"pytorch/pytorch": "torch", "tensorflow/tensorflow": "tensorflow"}


def check(bundle: Bundle, files: Files, facts: Facts) -> Iterator[Check]:
    """Find what the bundle's own code does that keeps it from the GPU, or from running at all."""
    del facts
    from gpudoctor.bundle import sources

    seen = sources.read(bundle, files)
    yield from seen.problems
    yield from _sessions(bundle, seen)
    yield from _flavour(bundle)
    yield from _preload(bundle, seen)
    yield from _models(bundle, files, seen)
    yield from _hidden(seen)
    yield from _undefined(seen)
    yield from _service(bundle, seen)
    yield from _lacking(bundle, seen)
    yield from _opened(bundle, files, seen)
    yield from _not_required(bundle, seen)
    yield from _no_framework(bundle, seen)


def _onnxruntime(bundle: Bundle) -> environment.Framework | None:
    return next((each for each in environment.frameworks(bundle)[0] if each.package == "onnxruntime-gpu"), None)


def _consequence(bundle: Bundle) -> str:
    """Return what ONNX Runtime does where no provider is named; "" where this release takes the GPU by itself."""
    wheel = _onnxruntime(bundle)
    release = tables.version(wheel.release)[:2] if wheel is not None else ()
    if wheel is None or not release:
        return "onnxruntime-gpu 1.9 to 1.15 refuses that (ValueError), later releases run on the CPU and say nothing"
    if release < (1, 9):
        return ""
    if release < (1, 16):
        return f"{wheel.words} refuses that: ValueError, providers must be set explicitly"
    return f"{wheel.words} then runs on the CPU, without an exception or a line in the log"


def _sessions(bundle: Bundle, seen: Sources) -> Iterator[Check]:
    from gpudoctor.bundle import sources

    for each in seen.sessions:
        if each.providers is None:
            text = f"Cannot tell whether {each.how} at {each.at} names a provider for the GPU: the code that chooses it cannot be followed."
            yield Check("providers-not-named", "unknown", text, each.at, f"Pass {_NAMED}.")
        elif not any(name in sources.NVIDIA for name in each.providers):
            yield from _unnamed(bundle, each)


def _unnamed(bundle: Bundle, session: Session) -> Iterator[Check]:
    cure = f"Pass {_NAMED}."
    if session.providers:
        names = ", ".join(session.providers)
        text = f"{session.how} at {session.at} names {names} alone: the model runs on the CPU whatever is installed."
    elif session.how == "bentoml.onnx.load_model" or session.how.endswith("from_pretrained"):
        text = f"{session.how} at {session.at} names no provider, and takes CPUExecutionProvider then: the model runs on the CPU."
        cure = "Pass provider='CUDAExecutionProvider'." if session.how.endswith("from_pretrained") else cure
    else:
        consequence = _consequence(bundle)
        if not consequence:
            return
        text = f"{session.how} at {session.at} names no provider: {consequence}."
        if session.how == "OnnxModelArtifact" and tables.version(bundle.packed_by) < (0, 13, 2):
            cure = f"Pack with BentoML 0.13.2, the first whose OnnxModelArtifact takes providers, and pass {_NAMED}."
    yield Check("providers-not-named", "error", text, session.at, cure)


def _flavour(bundle: Bundle) -> Iterator[Check]:
    """Look at the providers that an MLmodel names for its ONNX flavour."""
    from gpudoctor.bundle import sources

    if (
        bundle.format == "mlflow"
        and bundle.providers
        and not any(name in each.text for each in bundle.providers for name in sources.NVIDIA)
    ):
        first = bundle.providers[0]
        names = ", ".join(each.text for each in bundle.providers)
        text = f"{first.at} names {names} alone: MLflow runs the model on the CPU."
        cure = "Log the model with onnx_execution_providers=['CUDAExecutionProvider', 'CPUExecutionProvider']."
        yield Check("providers-not-named", "error", text, first.at, cure)


def _preload(bundle: Bundle, seen: Sources) -> Iterator[Check]:
    """Look at whether ONNX Runtime finds the CUDA libraries that pip installs: it does once torch is imported, or preload_dlls called."""
    wheel, base = _onnxruntime(bundle), environment.image(bundle)
    if wheel is None or not seen.sessions or (base is not None and base.libraries != "no"):
        return
    if not wheel.brings and wheel.major not in environment.pip_majors(bundle):
        return
    if seen.preloads or any(each.package == "torch" for each in seen.imports):
        return
    at = seen.sessions[0].at
    yield Check(
        "cuda-not-preloaded",
        "warning",
        f"{wheel.words} gets CUDA's libraries from pip here, and does not look for them there by itself: the session at {at} runs on the CPU "
        "unless LD_LIBRARY_PATH names their folders.",
        at,
        "Call onnxruntime.preload_dlls() before the session is made (releases from 1.21 on have it).",
    )


# Models of torch.


def _models(bundle: Bundle, files: Files, seen: Sources) -> Iterator[Check]:
    by_name = {each.name: each for each in bundle.artifacts if each.kind in _TORCH_KINDS}
    by_name |= {each.path.rpartition("/")[2]: each for each in bundle.artifacts if each.kind in _TORCH_KINDS}
    fell_back = False
    for each in seen.models:
        own = by_name.get(each.artifact)
        if each.label.startswith("the artifact ") and own is None:
            continue  # an artifact of another framework
        fell_back = True
        if each.sure:
            yield from _model(each, own, files, inside=seen.moves_inside)
    fell_back = fell_back or any(each.package == "torch" for each in seen.imports)
    if seen.fallbacks and fell_back:
        at = seen.fallbacks[0]
        text = f"{at} asks whether CUDA is available: where it is not, the service answers from the CPU and says nothing."
        yield Check("cpu-fallback", "hint", text, at, "Let it stop there, or log it, if it is meant for the GPU.")


def _model(model: Model, own: Artifact | None, files: Files, *, inside: bool) -> Iterator[Check]:
    """Say where a model stays; ``inside``: a torch module of the bundle moves itself or its inputs, which is not followed."""
    moved = [devices for devices, _ in model.moved]
    on_cuda = [place for devices, place in model.inputs if "cuda" in devices]
    on_cpu = [place for devices, place in model.inputs if devices == {"cpu"}]
    if any(not devices or "other" in devices for devices in moved) or model.born == "unknown":
        return  # it is moved, and where to cannot be told
    if model.born == "cuda" or any("cuda" in devices for devices in moved):
        if on_cpu and not on_cuda and not inside:
            at = on_cpu[0]
            text = f"{model.label[:1].upper()}{model.label[1:]} is moved to the GPU, and is called at {at} with a tensor that stays on the CPU: torch refuses that."
            yield Check("inputs-not-moved", "error", text, at, "Move the inputs too: x = x.to(device).")
        return
    if moved:
        at = model.moved[0][1]
        text = f"{at} moves {model.label} to the CPU, and nothing moves it to the GPU."
        yield Check("device-fixed-to-cpu", "error", text, at, "Choose the device by torch.cuda.is_available().")
        return
    for each in _never_moved(model, own, files, on_cuda, on_cpu):
        if not inside:
            yield each
        elif each.check == "saved-on-cpu-never-moved":
            yield each._replace(severity="warning", text=f"{each.text[:-1]}, unless a torch module's own code moves it.")


def _never_moved(model: Model, own: Artifact | None, files: Files, on_cuda: list[Place], on_cpu: list[Place]) -> Iterator[Check]:
    saved = (_saved_on(own, files) if own is not None else "") if model.born == "as saved" else "cpu"
    label = f"{model.label[:1].upper()}{model.label[1:]}"
    if saved == "cuda":
        if on_cpu and not on_cuda:
            text = f"{label} was saved on the GPU and is loaded onto it, and is called at {on_cpu[0]} with a tensor that stays on the CPU."
            yield Check("inputs-not-moved", "error", text, on_cpu[0], "Move the inputs too: x = x.to(device).")
        return
    how = (
        "was saved on the CPU"
        if saved == "cpu" and model.born == "as saved"
        else "is made on the CPU"
        if saved
        else "is loaded to where it was saved"
    )
    at = on_cuda[0] if on_cuda else model.called
    if on_cuda:
        then = f"its inputs are moved to the GPU (the call at {at})" + (
            ": torch refuses tensors on two devices"
            if saved
            else ": unless it was saved on the GPU, torch refuses tensors on two devices"
        )
    else:
        then = f"the call at {at} is answered from the CPU" + ("" if saved else ", unless it was saved on the GPU")
    where = f" ({own.path})" if own is not None else ""
    yield Check(
        "saved-on-cpu-never-moved",
        "error" if saved else "warning",
        f"{label}{where} {how}, and nothing in the code moves it; {then}.",
        at,
        "Move it once where it is loaded: model = model.to(device).eval()."
        if not model.artifact
        else f"Move it before it is used: self.artifacts.{model.artifact}.to(device)."
        if model.label.startswith("the artifact ")
        else "Pass map_location=device where it is loaded.",
    )


def _saved_on(artifact: Artifact, files: Files) -> str:
    """Return ``cuda`` or ``cpu`` for where a model's tensors were saved, "" where its file does not tell."""
    from gpudoctor.bundle import contents

    found = contents.of(files, artifact.path, artifact.kind)
    inside = [each.pickle for each in found.zip.pickles] if found.zip is not None else []
    names = [
        device.name for each in (found.pickle, *inside) if each is not None for device in each.devices if device.how == "tensor"
    ]
    if any(name.startswith("cuda") for name in names):
        return "cuda"
    return "cpu" if found.state == "whole" and "cpu" in names else ""


def _hidden(seen: Sources) -> Iterator[Check]:
    for each in seen.hidden:
        who = {"tensorflow": "TensorFlow", "jax": "JAX"}.get(each.framework, "every framework")
        if each.words.startswith("tf.device"):
            then = "" if each.sure else ", which is right for what only prepares inputs"
            text = f"{each.at} has {each.words}: what stands below it is computed on the CPU{then}."
            yield Check("device-fixed-to-cpu", "error" if each.sure else "hint", text, each.at, "Take the line out.")
        elif each.sure:
            text = f"{each.at} has {each.words}: the GPU is hidden from {who}."
            yield Check("gpu-hidden", "error", text, each.at, "Take the line out.")
        else:
            text = f"{each.at} has {each.words} on a condition: where it holds, the GPU is hidden from {who}."
            yield Check("gpu-hidden", "hint", text, each.at, "See that it does not hold where the bundle is served.")


def _undefined(seen: Sources) -> Iterator[Check]:
    for name, at in seen.undefined:
        text = f"{at} uses {name}, which nothing in that file defines or imports: NameError when the line runs."
        severity: How = "error" if at.path == seen.service else "warning"
        yield Check("name-not-defined", severity, text, at, "Define or import it, and pack the bundle again.")


# What is not there.


def _service(bundle: Bundle, seen: Sources) -> Iterator[Check]:
    """Find a service whose file is not in the bundle."""
    if bundle.service is None or seen.service or any(root.endswith((".zip", ".whl", ".egg")) for root in bundle.import_roots):
        return
    if bundle.format not in {"bentoml-0.13", "bentoml-1"}:
        return
    module = bundle.service.text.partition(":")[0]
    root = next((each for each in bundle.import_roots if each), "")
    path = f"{root}/{module.removesuffix('.py').replace('.', '/')}.py".lstrip("/")
    text = f"{bundle.service.at} says that the service is in {module}, and {path} is not there: the bundle cannot be loaded."
    yield Check("module-not-bundled", "error", text, bundle.service.at, "Pack the bundle again, and copy all of it.")


_GONE_FROM_PYTHON = _set(
    "distutils imp asynchat asyncore smtpd cgi cgitb crypt imghdr mailcap msilib nntplib pipes sndhdr spwd sunau telnetlib uu xdrlib "
    "aifc audioop chunk nis ossaudiodev lib2to3 parser symbol formatter binhex pkg_resources _bentoml_sdk _bentoml_impl"
)


def _lacking(bundle: Bundle, seen: Sources) -> Iterator[Check]:
    """Find imports of modules that the bundle's own packages lack, or that neither the bundle nor its requirements are known to have."""
    import sys

    if bundle.format not in {"bentoml-0.13", "bentoml-1"}:
        return
    from gpudoctor.bundle.checks import pickles

    named: set[str] = set()
    for each in seen.lacking:
        if each.name in named or each.package in pickles.DISTRIBUTIONS or each.package in sys.stdlib_module_names:
            continue
        named.add(each.name)
        severity: How = "error" if each.sure else "hint"
        text = f"{each.at} imports {each.name}, which the bundle's own package {each.package} does not have: No module named '{each.name}'."
        yield Check("module-not-bundled", severity, text, each.at, "Pack the bundle again with that module among its files.")
    if not bundle.installs:
        return
    asked = [each.name.replace("-", "") for each in bundle.requirements]
    known = pickles.DISTRIBUTIONS.keys() | _FAMILIES.keys() | _IMPORTED | _GONE_FROM_PYTHON | sys.stdlib_module_names
    brought = {each.replace("-", "") for each in pickles.OTHERS_KNOWN}
    for each in seen.imports:
        plain = each.package.lower().replace("_", "")
        if not each.sure or each.package in named or each.package in known or plain in brought:
            continue
        if any(plain in one or one in plain for one in asked):
            continue
        named.add(each.package)
        text = (
            f"{each.at} imports {each.name}, and {each.package} is neither among the bundle's own files nor required by that name: "
            f"No module named '{each.package}', unless one of its requirements brings it."
        )
        cure = "Pack the module with the service (BentoML 1: name it under include), or require the package that has it."
        yield Check("module-not-bundled", "warning", text, each.at, cure)


def _opened(bundle: Bundle, files: Files, seen: Sources) -> Iterator[Check]:
    """Find a model that the code loads by its path, and that is nowhere in the bundle under that name."""
    if not bundle.format.startswith("bentoml-") or not seen.opened:
        return
    there = {each.path.rpartition("/")[2] for each in files.entries()}
    for path, at in seen.opened:
        name = path.rstrip("/").rpartition("/")[2]
        if "." not in name or name in there:
            continue
        text = f"{at} loads {path}, and the bundle has no file of that name: it fails there, unless the file is put there by something else."
        cure = "Pack the file with the service (BentoML 1: name it under include in bentofile.yaml), and see that it is there when it is packed."
        yield Check("artifact-missing", "warning", text, at, cure)


# What is installed.


def _not_required(bundle: Bundle, seen: Sources) -> Iterator[Check]:
    if bundle.format not in _WITH_REQUIREMENTS or not bundle.installs:
        return
    needed: dict[str, tuple[str, Place]] = {}
    for each in seen.imports:
        if each.package in _FAMILIES and each.sure:
            needed.setdefault(each.package, (f"{each.at} imports {each.name}", each.at))
    for artifact in bundle.artifacts:
        what = _NEEDED_BY.get(artifact.kind, "")
        if what and not (artifact.kind == "torch-pickle" and bundle.format == "bentoml-1"):
            needed.setdefault(
                what,
                (f"{artifact.declared} has the artifact {artifact.name}, which {_FAMILIES[what].name} loads", artifact.declared),
            )
    for package, (words, at) in needed.items():
        yield from _missing(bundle, _FAMILIES[package], package, words, at)


def _missing(bundle: Bundle, family: Family, package: str, words: str, at: Place) -> Iterator[Check]:
    if environment.asked(bundle, *family.pip) is not None or _by_extra(bundle, package):
        return
    by_conda = environment.conda(bundle, *family.conda)
    listed = next((each for each in bundle.installs if "requirements" in each), bundle.installs[0])
    if by_conda is not None:
        text = (
            f"{words}, and {by_conda.at} has conda install {family.name}, pip nothing: the image gets it where it has conda, "
            f"an environment made from {listed} does not."
        )
        yield Check(
            "framework-not-required",
            "warning",
            text,
            at,
            f"Ask for {family.ask} in pip's requirements too, or use an image that has conda.",
        )
        return
    base = environment.image(bundle)
    unknown = sorted(
        {
            each.name
            for each in bundle.requirements
            if each.name not in _ON_CPU | _CAN_USE_GPU and not each.name.startswith("nvidia-")
        }
    )
    hedges = []
    if unknown and not _locked(bundle):
        hedges.append(f"{', '.join(unknown[:3])}{' or another' if len(unknown) > 3 else ''} requires it")
    if base is not None and base.libraries == "unknown":
        from gpudoctor.facts.image import reference

        if _FRAMEWORK_IMAGES.get(reference(base.name).repository) == package:
            return
        hedges.append(f"{base.name} has it")
    if bundle.setup:
        hedges.append(f"{bundle.setup[0].at} installs it")
    severity: How = "warning" if hedges else "error"
    hedge = f", unless {' or '.join(hedges)}" if hedges else ""
    text = f"{words}, and no requirement brings {family.name}: No module named '{package}'{hedge}."
    yield Check(
        "framework-not-required", severity, text, at, f"Ask for {family.ask} in the requirements ({listed}), and pack again."
    )


def _by_extra(bundle: Bundle, package: str) -> bool:
    """Say whether an extra of another package brings a framework: ``transformers[torch]``, ``optimum[onnxruntime-gpu]``."""
    names = {
        "torch": ("torch",),
        "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
        "tensorflow": ("tf", "tensorflow"),
        "jax": ("flax", "jax"),
    }
    wanted = names.get(package, ())
    return any(extra in wanted for each in bundle.requirements for extra in each.extras)


def _locked(bundle: Bundle) -> bool:
    """Say whether the requirements are a lock, which has everything: BentoML 1.4 writes one, and the question beside it."""
    pip = [each for each in bundle.requirements if each.installer == "pip"]
    return bundle.format == "bentoml-1" and len(pip) > 8 and all(each.spec.startswith("==") for each in pip)


def _no_framework(bundle: Bundle, seen: Sources) -> Iterator[Check]:
    """Find a bundle in which nothing can use a GPU; say that it cannot be told where a package is not known here."""
    if bundle.format not in _WITH_REQUIREMENTS or any(each.kind in _GPU_KINDS for each in bundle.artifacts):
        return
    names = {each.name for each in bundle.requirements}
    imported = {each.package for each in seen.imports}
    if names & _CAN_USE_GPU or imported & (_FAMILIES.keys() | _IMPORTED) or any(name.startswith(_PREFIXES) for name in names):
        yield from _told_to(names, seen)
        return
    if not names and not imported:
        return
    at = next((Place(each) for each in bundle.installs), Place(""))
    unknown = sorted(names - _ON_CPU)
    if unknown:
        some = ", ".join(unknown[:4]) + (" …" if len(unknown) > 4 else "")
        text = f"Cannot tell whether anything in this bundle can use a GPU: no known GPU framework is required or imported, and {some} is not known here."
        yield Check("no-gpu-framework", "unknown", text, at)
        return
    known = sorted(names - {"python", "pip", "setuptools", "wheel"})
    text = (
        f"Nothing in this bundle can use a GPU: of what it requires ({', '.join(known[:6]) or 'nothing'}) nothing computes there."
    )
    yield Check("no-gpu-framework", "error", text, at, "Serve it without a GPU, or move the model to a framework that uses one.")


_IMPORTED = _set("numba cudf cuml spacy mxnet paddle tensorrt pycuda faiss diffusers sentence_transformers vllm")
_PREFIXES = (
    "nvidia-",
    "cupy",
    "cudf",
    "cuml",
    "mxnet",
    "faiss",
    "jax",
    "tensorrt",
    "torch",
    "tensorflow",
    "keras",
    "spacy",
    "paddle",
)
_BY_DEFAULT_ON_CPU = {"xgboost": ("cuda", "gpu_hist", "gpu"), "lightgbm": ("gpu", "cuda"), "catboost": ("GPU",)}


def _told_to(names: set[str], seen: Sources) -> Iterator[Check]:
    """Say of gradient boosting, where it is all there is, that it uses the GPU only where it is told to."""
    boosting = sorted(names & _BY_DEFAULT_ON_CPU.keys())
    others = names & _CAN_USE_GPU - _BY_DEFAULT_ON_CPU.keys() - {"numba"} or any(name.startswith(_PREFIXES) for name in names)
    if (
        not boosting
        or others
        or not seen.read
        or any(word in seen.words for each in boosting for word in _BY_DEFAULT_ON_CPU[each])
    ):
        return
    text = (
        f"{boosting[0]} uses the GPU only where it is told to (device, task_type or tree_method), and the bundle's code does not."
    )
    yield Check(
        "cpu-by-default",
        "hint",
        text,
        Place(seen.read[0]),
        "Set the device on the model after it is loaded, unless it was saved with it.",
    )
