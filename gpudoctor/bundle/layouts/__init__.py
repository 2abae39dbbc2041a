"""What bundles look like on disk: one module a format, each with ``found(files, path)``, which gives a Bundle or None.

``yml`` and ``parts`` are what the formats have in common. A layout reads what the bundle says of itself and judges nothing.
"""
