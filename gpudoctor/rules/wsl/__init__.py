"""WSL2, where the driver is Windows' own."""
