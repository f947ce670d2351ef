"""Derives what stripe-cache knows about Stripe from the source of the installed stripe SDK."""
