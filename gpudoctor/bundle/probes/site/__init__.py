"""The folder that stands first in PYTHONPATH of a bundle's server."""
