"""Compose files and swarm stacks."""
