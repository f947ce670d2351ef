"""Lambda entry points: verify, translate, call one function."""
