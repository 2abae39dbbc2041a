"""Smoke: prove that inference really runs on the GPU, framework by framework, on the host and in a container.

``climb`` climbs the ladder: for each place (host, image), GPU and framework it has ``run`` start one of the ``probes`` in a process
of its own and reads the rungs (``ladder``) that the probe writes down; ``causes`` names the failure mode of the first rung that
failed, and its cure on this host; ``image`` says how a container is started. The verdict comes from where tensors and nodes were,
never from what a framework says it could do.

This is the one part of the program beside ``host`` that starts processes: the user's own Python and ``docker run``, because the
user asked for exactly that. It runs neither NVML nor nvidia-smi and makes no device node.
"""
