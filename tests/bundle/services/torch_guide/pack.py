"""Pack the service: python pack.py FOLDER. What of it is in the bundle is up to the service: only what that imports comes along."""

import sys

import torch
from bento_svc import PytorchService
from text_model import TextClassificationModel

torch.manual_seed(0)
service = PytorchService()
service.pack("model", TextClassificationModel(100, 8, 4).eval())
service.pack("vocab", {"gpu": 1, "stocks": 2, "match": 3})
service.save_to_dir(sys.argv[1])
