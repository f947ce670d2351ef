"""What every other part stands on: keys, entries, policy, the invalidation protocol. Standard library only."""
