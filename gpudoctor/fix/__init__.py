"""Plan, apply, undo: the only part of the product that writes on a host."""
