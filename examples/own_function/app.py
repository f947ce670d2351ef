"""Your app, your function, the Stripe cache. Run `pip install stripe-cache[cdk]`, `cdk synth --app "python app.py"`."""

from pathlib import Path

import aws_cdk as cdk
from constructs import Construct

from stripe_cache_cdk import RuntimeFunction, StripeCache, Topology


class BillingStack(cdk.Stack):
    """A function of yours that reads from Stripe through the cache."""

    def __init__(self, scope: Construct, construct_id: str) -> None:
        super().__init__(scope, construct_id)
        cache = StripeCache(self, "Cache", topology=Topology.PUBLIC_VALKEY)
        # Any aws_lambda.Function whose package has stripe-cache in it will do. This one packs it for you.
        function = RuntimeFunction(
            self, "Billing", handler="billing.handler", sources=[Path(__file__).parent / "billing"]
        )
        cache.attach(function)


app = cdk.App()
BillingStack(app, "Billing")
app.synth()
