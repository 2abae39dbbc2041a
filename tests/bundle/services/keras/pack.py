"""Pack the service: python pack.py FOLDER."""

import sys

import tensorflow
from bento_svc import TensorflowService

tensorflow.random.set_seed(0)
model = tensorflow.keras.Sequential([tensorflow.keras.layers.Input((4,)), tensorflow.keras.layers.Dense(3, activation="softmax")])
service = TensorflowService()
service.pack("model", model)
service.save_to_dir(sys.argv[1])
