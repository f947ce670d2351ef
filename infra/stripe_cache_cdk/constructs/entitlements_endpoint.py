"""The sample of a service that reads through the cache: what is a customer entitled to?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import aws_apigatewayv2 as apigateway
from aws_cdk import aws_apigatewayv2_authorizers as authorizers
from aws_cdk import aws_apigatewayv2_integrations as integrations
from constructs import Construct

from stripe_cache_cdk.constructs.http_api import http_api, throttle_routes
from stripe_cache_cdk.constructs.props import checked
from stripe_cache_cdk.constructs.runtime_function import HANDLERS, FunctionOptions, RuntimeFunction

if TYPE_CHECKING:
    from stripe_cache_cdk.constructs.attaching import Attaches

PATH = "/entitlements/{customer}"


class EntitlementsEndpoint(Construct):
    """GET /entitlements/{customer} of an HTTP API of its own, for callers who sign with IAM.

    A sample: replace it by your own service. `rate` and `burst` are requests per second over all callers.
    """

    @checked
    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        cache: Attaches,
        rate: int = 50,
        burst: int = 100,
        options: FunctionOptions | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        options = options or FunctionOptions()
        self.api = http_api(self, "Api", rate=rate, burst=burst, options=options)
        self.function = RuntimeFunction(
            self,
            "Function",
            handler=HANDLERS["entitlements"],
            description="Sample: what a customer is entitled to, read through the cache",
            options=options,
        )
        cache.attach(self.function)
        routes = self.api.add_routes(
            path=PATH,
            methods=[apigateway.HttpMethod.GET],
            integration=integrations.HttpLambdaIntegration("Entitlements", self.function.invoked),
            authorizer=authorizers.HttpIamAuthorizer(),
        )
        throttle_routes(self.api, routes, [f"GET {PATH}"], rate=rate, burst=burst)
        self.url = f"{self.api.api_endpoint}{PATH}"
        cache.watched.add(self)
