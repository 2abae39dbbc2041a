"""Containers: what they were started with."""
