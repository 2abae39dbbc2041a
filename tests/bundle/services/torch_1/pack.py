"""Pack the service: python pack.py FOLDER."""

import shutil
import sys

import bentoml
import torch

torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
torch.save(model.state_dict(), "weights.pt")
bento = bentoml.bentos.build_bentofile("bentofile.yaml", build_ctx=".")
shutil.copytree(bento.path, sys.argv[1], dirs_exist_ok=True)
