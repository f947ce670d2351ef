"""Stacks: compose constructs, pass objects, grant."""
