"""A BentoML 1.4 service that asks for one GPU."""

import os

import bentoml
import numpy as np
import torch
from bentoml.validators import DType, Shape
from typing import Annotated

Rows = Annotated[np.ndarray, DType("float32"), Shape((2, 4))]


@bentoml.service(resources={"gpu": 1}, traffic={"timeout": 30})
class TorchScorer:
    def __init__(self):
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        weights = os.path.join(os.path.dirname(__file__), "weights.pt")
        self.model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
        self.model.load_state_dict(torch.load(weights, map_location="cpu"))
        self.model.to(self.device).eval()

    @bentoml.api
    def score(self, rows: Rows) -> np.ndarray:
        with torch.no_grad():
            return self.model(torch.from_numpy(np.array(rows)).to(self.device)).cpu().numpy()
