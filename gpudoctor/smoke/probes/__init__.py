"""What is piped to the target's own Python: one file a framework, nothing but the standard library and that framework.

These files are never imported by the program. Their first part, up to the line of dashes, is the same in each, and a test holds
them to it: a probe has to work alone, where no gpudoctor is installed, on Python 3.8 and newer.
"""
