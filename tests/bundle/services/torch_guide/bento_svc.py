"""A service whose inputs go to the GPU and whose model does not."""

import torch
from bentoml import BentoService, api, artifacts, env
from bentoml.adapters import JsonInput, JsonOutput
from bentoml.frameworks.pytorch import PytorchModelArtifact
from bentoml.service.artifacts.pickle import PickleArtifact

device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")


@env(
    conda_dependencies=["pytorch", "torchtext", "cudatoolkit=11.1"],
    conda_channels=["pytorch", "nvidia"],
    infer_pip_packages=False,
)
@artifacts([PytorchModelArtifact("model"), PickleArtifact("vocab")])
class PytorchService(BentoService):
    labels = ("World", "Sports", "Business", "Sci/Tec")

    def classify(self, sentence):
        with torch.no_grad():
            words = [self.artifacts.vocab.get(word, 0) for word in sentence.split()]
            text = torch.tensor(words).to(device)
            offsets = torch.tensor([0]).to(device)
            return self.artifacts.model(text, offsets=offsets).argmax(1).item()

    @api(input=JsonInput(), output=JsonOutput(), batch=False)
    def predict(self, parsed_json):
        return {"categories": self.labels[self.classify(parsed_json.get("text"))]}
