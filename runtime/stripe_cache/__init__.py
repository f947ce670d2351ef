"""A multi-tier read-through cache between Python Lambdas and the Stripe API."""
