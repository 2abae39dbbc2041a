"""Firmware, PCI resources and the card."""
