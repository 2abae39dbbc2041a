"""A service that names the GPU to ONNX Runtime."""

import numpy
from bentoml import BentoService, api, artifacts, env
from bentoml.adapters import JsonInput, JsonOutput
from bentoml.frameworks.onnx import OnnxModelArtifact
from bentoml.service.artifacts.pickle import PickleArtifact

providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]


@env(
    infer_pip_packages=False,
    pip_packages=["onnxruntime-gpu==1.16.3", "numpy<2"],
    docker_base_image="nvidia/cuda:11.8.0-cudnn8-runtime-ubuntu22.04",
)
@artifacts([OnnxModelArtifact("model", backend="onnxruntime-gpu", providers=providers), PickleArtifact("vocab")])
class OnnxService(BentoService):
    labels = ("World", "Sports", "Business", "Sci/Tec")

    @api(input=JsonInput(http_input_example={"text": "gpu stocks"}), output=JsonOutput(), batch=False)
    def predict(self, parsed_json):
        words = [self.artifacts.vocab.get(word, 0) for word in parsed_json["text"].split()]
        session = self.artifacts.model
        scores = session.run(None, {session.get_inputs()[0].name: numpy.array(words, dtype=numpy.int64)})[0]
        return {"categories": self.labels[int(scores.argmax(1)[0])]}
