"""Checks of a bundle as it lies there: one module a subject, each with `check(bundle, files, facts)`."""
