"""The machine itself: GPU, kernel module, driver libraries, device nodes."""
