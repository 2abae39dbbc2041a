"""podman, also where it poses as docker."""
