"""Your app, your function, the Stripe cache. Run `pip install stripe-cache[cdk]`, `cdk synth --app "python app.py"`."""

from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from stripe_cache_cdk import Bundle, StripeCache, Topology


class BillingStack(cdk.Stack):
    """A function of yours that reads from Stripe through the cache."""

    def __init__(self, scope: Construct, construct_id: str) -> None:
        super().__init__(scope, construct_id)
        function = lambda_.Function(
            self,
            "Billing",
            runtime=lambda_.Runtime.PYTHON_3_13,
            architecture=lambda_.Architecture.ARM_64,
            handler="billing.handler",
            # Any package with stripe-cache in it will do. This one is your folder beside the library, with byte code.
            code=Bundle(sources=(Path(__file__).parent / "billing",)).code(),
        )
        cache = StripeCache(self, "Cache", topology=Topology.PUBLIC_VALKEY)
        cache.attach(function)


app = cdk.App()
BillingStack(app, "Billing")
app.synth()
