"""The Docker daemon: which one, its daemon.json, its cgroup driver."""
