"""A service that asks for ONNX Runtime's GPU package and never for its GPU; torch is imported and not required."""

import torch
from bentoml import BentoService, api, artifacts, env
from bentoml.adapters import JsonInput, JsonOutput
from bentoml.frameworks.onnx import OnnxModelArtifact
from bentoml.service.artifacts.pickle import PickleArtifact

device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")


def to_numpy(tensor):
    return tensor.detach().cpu().clone().numpy() if tensor.requires_grad else tensor.cpu().clone().numpy()


@env(infer_pip_packages=False, pip_packages=["onnxruntime-gpu"])
@artifacts([OnnxModelArtifact("model", backend="onnxruntime-gpu"), PickleArtifact("vocab")])
class OnnxService(BentoService):
    labels = ("World", "Sports", "Business", "Sci/Tec")

    def classify(self, sentence):
        words = [self.artifacts.vocab.get(word, 0) for word in sentence.split()]
        text = to_numpy(torch.tensor(words).to(device))
        session = self.artifacts.model
        return session.run([session.get_outputs()[0].name], {session.get_inputs()[0].name: text})[0].argmax(1).item()

    @api(input=JsonInput(), output=JsonOutput(), batch=False)
    def predict(self, parsed_json):
        return {"categories": self.labels[self.classify(parsed_json.get("text"))]}
