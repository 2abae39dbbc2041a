"""What the commands do, without the options of the command line: one module a command that is more than a thin function."""
