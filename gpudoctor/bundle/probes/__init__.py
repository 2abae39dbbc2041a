"""What runs beside a bundle's code, in the bundle's own Python: nothing but the standard library and what the bundle itself brings.

These files are never imported by the program; they are copied into a folder of one run. ``collector.py`` is piped to the Python that
was named and starts one of the others below itself; ``gpudoctor_evidence.py`` is what these share, and in ``site/`` is what puts it into
the processes of a server. Python 3.7 and newer.
"""
