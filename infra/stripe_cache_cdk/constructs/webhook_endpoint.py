"""Stripe's way in over HTTPS: a throttled HTTP API in front of the function that verifies and applies events."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import aws_cdk as cdk
import jsii
from aws_cdk import aws_apigateway as rest_api
from aws_cdk import aws_apigatewayv2 as apigateway
from aws_cdk import aws_apigatewayv2_integrations as integrations
from aws_cdk import aws_logs as logs
from constructs import Construct

from stripe_cache_cdk.constructs.invalidation_queue import InvalidationConsumer
from stripe_cache_cdk.constructs.nag import acknowledge
from stripe_cache_cdk.constructs.runtime_function import HANDLERS, FunctionOptions, RuntimeFunction
from stripe_cache_cdk.errors import ConstructError

if TYPE_CHECKING:
    from stripe_cache_cdk.constructs.attaching import Attaches

PATH = "/stripe/events"
# Stripe gives up after 20 s and sends again; below that, a slow tier ends in the queue and not in a retry.
TIMEOUT = cdk.Duration.seconds(15)

LOGGED = (
    "requestId",
    "requestTime",
    "identity.sourceIp",
    "routeKey",
    "status",
    "responseLatency",
    "integrationErrorMessage",
)


class WebhookEndpoint(Construct):
    """POST /stripe/events of an HTTP API, its function, and the consumer of what that function had to queue.

    `rate` and `burst` are requests per second over all callers (default 50 and 100): a flood of forged events is
    refused before it starts functions; Stripe sends what was refused again. The signing secret is the cache's webhook
    secret. While it is rolled, either make its value a JSON list of both, or let AWSPREVIOUS hold the old one. `url` is
    what to register.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        cache: Attaches,
        rate: int = 50,
        burst: int = 100,
        reserved_concurrency: int | None = None,
        options: FunctionOptions | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        if rate < 1 or burst < rate:
            raise ConstructError(self, f"rate={rate}, burst={burst}", "pass rate >= 1 and burst >= rate, per second")
        options = options or FunctionOptions()
        self.function = RuntimeFunction(
            self,
            "Function",
            handler=HANDLERS["webhook"],
            description="Verifies Stripe's signature and voids what the event changed",
            timeout=TIMEOUT,
            reserved_concurrency=reserved_concurrency,
            options=options,
        )
        cache.attach(self.function, calls_stripe=False)
        cache.grant_webhook_secret(self.function)
        self.consumer = InvalidationConsumer(self, "Consumer", cache=cache, options=options)
        self.api = http_api(self, "Api", rate=rate, burst=burst, retention=options.log_retention)
        for route in self.api.add_routes(
            path=PATH,
            methods=[apigateway.HttpMethod.POST],
            integration=integrations.HttpLambdaIntegration("Webhook", self.function.invoked),
        ):
            acknowledge(route, AwsSolutions_APIG4="Stripe signs each request, and the function checks the signature.")
        self.url = f"{self.api.api_endpoint}{PATH}"


def http_api(
    scope: Construct, construct_id: str, *, rate: int, burst: int, retention: logs.RetentionDays
) -> apigateway.HttpApi:
    """Return an HTTP API whose every call is throttled, traced by id and logged as JSON."""
    log = logs.LogGroup(scope, f"{construct_id}Logs", retention=retention, removal_policy=cdk.RemovalPolicy.DESTROY)
    api = apigateway.HttpApi(scope, construct_id, create_default_stage=False)
    apigateway.HttpStage(
        api,
        "DefaultStage",
        http_api=api,
        auto_deploy=True,
        throttle=apigateway.ThrottleSettings(rate_limit=rate, burst_limit=burst),
        detailed_metrics_enabled=True,
        access_log_settings=_AccessLog(apigateway.LogGroupLogDestination(log)),
    )
    return api


@jsii.implements(apigateway.IAccessLogSettings)
class _AccessLog:
    """One JSON object per request, to the given destination."""

    def __init__(self, destination: apigateway.IAccessLogDestination) -> None:
        self._destination = destination

    @property
    def destination(self) -> apigateway.IAccessLogDestination:
        """Where entries go."""
        return self._destination

    @property
    def format(self) -> rest_api.AccessLogFormat:
        """What an entry says."""
        return rest_api.AccessLogFormat.custom(json.dumps({name: f"$context.{name}" for name in LOGGED}))
