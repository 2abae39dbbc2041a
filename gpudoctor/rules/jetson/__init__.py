"""Tegra systems on chip (Jetson)."""
