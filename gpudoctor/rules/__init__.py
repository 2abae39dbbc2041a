"""The rules: ``rules/<area>/<slug>.py``, one file a failure mode. See CONTRIBUTING.md for how to add one."""
