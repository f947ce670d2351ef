"""An HTTP API as every one here is: throttled per route and over all of them, traced by id, logged as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import jsii
from aws_cdk import aws_apigateway as rest_api
from aws_cdk import aws_apigatewayv2 as apigateway

from stripe_cache_cdk.checks import check_range
from stripe_cache_cdk.constructs.key_access import encrypted_logs
from stripe_cache_cdk.errors import naming

if TYPE_CHECKING:
    from collections.abc import Sequence

    from constructs import Construct

    from stripe_cache_cdk.constructs.runtime_function import FunctionOptions

LOGGED = (
    "requestId",
    "requestTime",
    "identity.sourceIp",
    "routeKey",
    "status",
    "responseLatency",
    "integrationErrorMessage",
)


def http_api(
    scope: Construct, construct_id: str, *, rate: int, burst: int, options: FunctionOptions
) -> apigateway.HttpApi:
    """Return an HTTP API that admits `rate` requests per second over all callers, and `burst` at once.

    Its log of accesses is kept and encrypted as those of the functions. Raises ConstructError when these cannot be.
    """
    with naming(scope):
        check_range("rate", rate, 1, 10_000, "requests per second")
        check_range("burst", burst, rate, 20_000, "requests (rate or more)")
    log = encrypted_logs(scope, f"{construct_id}Logs", retention=options.log_retention, encryption_key=options.log_key)
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


def throttle_routes(
    api: apigateway.HttpApi, routes: Sequence[apigateway.HttpRoute], keys: Sequence[str], *, rate: int, burst: int
) -> None:
    """Give each route a limit of its own, so that routes added to the API later cannot be starved by a flood of it."""
    stage = api.node.find_child("DefaultStage").node.default_child
    if not isinstance(stage, apigateway.CfnStage):
        raise TypeError(api.node.path)
    for route, key in zip(routes, keys, strict=True):
        # API Gateway refuses settings of a route that is not there yet.
        stage.node.add_dependency(route)
        stage.add_property_override(
            f"RouteSettings.{key}",
            {"ThrottlingRateLimit": rate, "ThrottlingBurstLimit": burst, "DetailedMetricsEnabled": True},
        )


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
