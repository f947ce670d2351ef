"""Faults on real servers under load: what the cache does to its callers while its dependencies are sick."""
