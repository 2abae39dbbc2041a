"""gpudoctor: says why a container on this host does not get its NVIDIA GPU, and how we know."""

# A literal: asking importlib.metadata for it costs three bare Python starts.
__version__ = "0.1.0"
