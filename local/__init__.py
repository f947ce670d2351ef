"""Embedded servers and the demo: what demo, tests and benchmarks run on. Never ships."""
