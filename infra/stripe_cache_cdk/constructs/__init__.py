"""Reusable constructs, each usable alone."""
