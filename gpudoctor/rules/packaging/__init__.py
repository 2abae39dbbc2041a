"""Package repositories, keys and lists."""
