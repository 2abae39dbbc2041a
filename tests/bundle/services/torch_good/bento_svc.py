"""A service that moves its model to the GPU as well as its inputs."""

import text_model  # noqa: F401 - so that the model's class comes along
import torch
from bentoml import BentoService, api, artifacts, env
from bentoml.adapters import JsonInput, JsonOutput
from bentoml.frameworks.pytorch import PytorchModelArtifact
from bentoml.service.artifacts.pickle import PickleArtifact

device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")


@env(
    infer_pip_packages=False,
    pip_packages=["torch==1.13.1", "numpy<2"],
    docker_base_image="nvidia/cuda:11.7.1-cudnn8-runtime-ubuntu22.04",
)
@artifacts([PytorchModelArtifact("model"), PickleArtifact("vocab")])
class PytorchService(BentoService):
    labels = ("World", "Sports", "Business", "Sci/Tec")

    @api(input=JsonInput(http_input_example={"text": "gpu stocks"}), output=JsonOutput(), batch=False)
    def predict(self, parsed_json):
        model = self.artifacts.model.to(device)
        with torch.no_grad():
            words = [self.artifacts.vocab.get(word, 0) for word in parsed_json["text"].split()]
            scores = model(torch.tensor(words).to(device), offsets=torch.tensor([0]).to(device))
        return {"categories": self.labels[scores.argmax(1).item()]}
