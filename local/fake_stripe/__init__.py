"""A stand-in for Stripe's API as its own process: state, latency, limits, faults, events and signed webhooks."""
