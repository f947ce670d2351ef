"""The stacks of a stage: what is slow to replace, what runs, what is watched."""
