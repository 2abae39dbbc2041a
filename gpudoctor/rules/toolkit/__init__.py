"""The NVIDIA container toolkit: packages, hook, runtime, config.toml."""
