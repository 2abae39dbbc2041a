"""A BentoML 1.4 service that runs an ONNX model on the GPU."""

import os
from typing import Annotated

import bentoml
import numpy as np
import onnxruntime
from bentoml.validators import DType, Shape
from pydantic import Field

Rows = Annotated[np.ndarray, DType("float32"), Shape((2, 4)), Field(examples=[[[1, 2, 3, 4], [5, 6, 7, 8]]])]


@bentoml.service(resources={"gpu": 1})
class OnnxScorer:
    def __init__(self):
        path = os.path.join(os.path.dirname(__file__), "mlp.onnx")
        self.session = onnxruntime.InferenceSession(path, providers=["CUDAExecutionProvider", "CPUExecutionProvider"])

    @bentoml.api
    def score(self, rows: Rows) -> np.ndarray:
        return self.session.run(None, {self.session.get_inputs()[0].name: np.asarray(rows, dtype=np.float32)})[0]
