"""Docker inside an LXC, LXD or Incus guest, and their hosts."""
