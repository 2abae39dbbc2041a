"""A service with a Keras model."""

import numpy
from bentoml import BentoService, api, artifacts, env
from bentoml.adapters import JsonInput, JsonOutput
from bentoml.frameworks.keras import KerasModelArtifact


@env(
    infer_pip_packages=False,
    pip_packages=["tensorflow==2.11.1", "numpy<2"],
    docker_base_image="bentoml/model-server:0.13.0-py38-gpu",
)
@artifacts([KerasModelArtifact("model")])
class TensorflowService(BentoService):
    @api(input=JsonInput(), output=JsonOutput(), batch=False)
    def predict(self, parsed_json):
        return {"scores": self.artifacts.model.predict(numpy.array([parsed_json["row"]], dtype="float32")).tolist()}
