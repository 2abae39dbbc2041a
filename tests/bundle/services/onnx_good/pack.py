"""Pack the service: python pack.py FOLDER."""

import os
import sys
import tempfile

import torch
from bento_svc import OnnxService


class Scores(torch.nn.Module):
    """Embeddings of words, added up, and a line."""

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(100, 8)
        self.fc = torch.nn.Linear(8, 4)

    def forward(self, text):
        return self.fc(self.embedding(text).sum(0, keepdim=True))


torch.manual_seed(0)
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "model.onnx")
    torch.onnx.export(
        Scores().eval(),
        torch.tensor([1, 2, 3]),
        path,
        opset_version=11,
        input_names=["input"],
        output_names=["output"],
        dynamic_axes={"input": {0: "words"}},
    )
    service = OnnxService()
    service.pack("model", path)
    service.pack("vocab", {"gpu": 1, "stocks": 2, "match": 3})
    service.save_to_dir(sys.argv[1])
