"""Known vulnerabilities and branches without fixes."""
