"""Docs page."""


def policy() -> str:
    """Nothing."""
    return ""
