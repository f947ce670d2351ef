"""The stripe-cache command."""
