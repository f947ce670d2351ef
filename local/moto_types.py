"""What makes the CloudFormation types that moto skips, through moto's own API of each service."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

ACCOUNT = "123456789012"
REGION = "us-east-1"


@dataclass(frozen=True)
class Made:
    """What a reference to a resource answers: `Ref`, and `Fn::GetAtt` by attribute name."""

    ref: str
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """One resource to make: its generated name, its resolved properties, and clients of the server itself."""

    name: str
    properties: dict[str, Any]
    client: Callable[[str], Any]
    redis: str

    def given(self, *names: str) -> dict[str, Any]:
        """Return those of the properties that the template has."""
        return {name: self.properties[name] for name in names if name in self.properties}


def _global_table(request: Request) -> Made:
    client = request.client("dynamodb")
    made = client.create_table(
        TableName=request.name,
        **request.given("KeySchema", "AttributeDefinitions", "BillingMode"),
        DeletionProtectionEnabled=request.properties["Replicas"][0].get("DeletionProtectionEnabled", False),
    )
    client.update_time_to_live(
        TableName=request.name, TimeToLiveSpecification=request.properties["TimeToLiveSpecification"]
    )
    return Made(request.name, {"Arn": made["TableDescription"]["TableArn"]})


def _user(request: Request) -> Made:
    wanted = request.given("UserId", "UserName", "Engine", "AccessString", "AuthenticationMode")
    # The service's API names the kind of authentication in lower case under the same key.
    made = request.client("elasticache").create_user(**wanted)
    return Made(request.properties["UserId"], {"Arn": made["ARN"]})


def _user_group(request: Request) -> Made:
    name = request.properties["UserGroupId"]
    return Made(name, {"Arn": f"arn:aws:elasticache:{REGION}:{ACCOUNT}:usergroup:{name}"})


def _serverless_cache(request: Request) -> Made:
    name = request.properties["ServerlessCacheName"]
    host, _, port = request.redis.partition(":")
    arn = f"arn:aws:elasticache:{REGION}:{ACCOUNT}:serverlesscache:{name}"
    return Made(name, {"ARN": arn, "Endpoint.Address": host, "Endpoint.Port": port})


def _secret(request: Request) -> Made:
    made = request.client("secretsmanager").create_secret(Name=request.name, SecretString=secrets.token_urlsafe(24))
    return Made(made["ARN"])


def _alarm(request: Request) -> Made:
    wanted = {name: value for name, value in request.properties.items() if name != "Tags"}
    request.client("cloudwatch").put_metric_alarm(AlarmName=request.name, **wanted)
    return Made(request.name, {"Arn": f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{request.name}"})


def _topic_policy(request: Request) -> Made:
    for topic in request.properties["Topics"]:
        request.client("sns").set_topic_attributes(
            TopicArn=topic, AttributeName="Policy", AttributeValue=json.dumps(request.properties["PolicyDocument"])
        )
    return Made(request.name)


def _queue_policy(request: Request) -> Made:
    for queue in request.properties["Queues"]:
        request.client("sqs").set_queue_attributes(
            QueueUrl=queue, Attributes={"Policy": json.dumps(request.properties["PolicyDocument"])}
        )
    return Made(request.name)


def _oidc_provider(request: Request) -> Made:
    wanted = {"Url": request.properties["Url"], "ClientIDList": request.properties["ClientIdList"]}
    arn = request.client("iam").create_open_id_connect_provider(ThumbprintList=["0" * 40], **wanted)
    return Made(arn["OpenIDConnectProviderArn"], {"Arn": arn["OpenIDConnectProviderArn"]})


def _api(request: Request) -> Made:
    made = request.client("apigatewayv2").create_api(**request.given("Name", "ProtocolType"))
    return Made(made["ApiId"], {"ApiId": made["ApiId"], "ApiEndpoint": made["ApiEndpoint"]})


def _integration(request: Request) -> Made:
    wanted = request.given("ApiId", "IntegrationType", "IntegrationUri", "PayloadFormatVersion")
    return Made(request.client("apigatewayv2").create_integration(**wanted)["IntegrationId"])


def _route(request: Request) -> Made:
    wanted = request.given("ApiId", "RouteKey", "Target", "AuthorizationType")
    return Made(request.client("apigatewayv2").create_route(**wanted)["RouteId"])


def _stage(request: Request) -> Made:
    wanted = request.given("ApiId", "StageName", "AutoDeploy", "DefaultRouteSettings")
    return Made(request.client("apigatewayv2").create_stage(**wanted)["StageName"])


def _event_invoke_config(request: Request) -> Made:
    wanted = request.given("FunctionName", "MaximumRetryAttempts", "DestinationConfig")
    # moto keeps the settings of a function as a whole.
    request.client("lambda").put_function_event_invoke_config(
        **wanted, MaximumEventAgeInSeconds=request.properties["MaximumEventAgeInSeconds"]
    )
    return Made(request.name)


# By type: the service of moto that it belongs to, and what makes it.
TYPES: dict[str, tuple[str, Callable[[Request], Made]]] = {
    "AWS::ApiGatewayV2::Api": ("apigatewayv2", _api),
    "AWS::ApiGatewayV2::Integration": ("apigatewayv2", _integration),
    "AWS::ApiGatewayV2::Route": ("apigatewayv2", _route),
    "AWS::ApiGatewayV2::Stage": ("apigatewayv2", _stage),
    "AWS::CloudWatch::Alarm": ("cloudwatch", _alarm),
    "AWS::DynamoDB::GlobalTable": ("dynamodb", _global_table),
    "AWS::ElastiCache::ServerlessCache": ("elasticache", _serverless_cache),
    "AWS::ElastiCache::User": ("elasticache", _user),
    "AWS::ElastiCache::UserGroup": ("elasticache", _user_group),
    "AWS::IAM::OIDCProvider": ("iam", _oidc_provider),
    "AWS::Lambda::EventInvokeConfig": ("lambda", _event_invoke_config),
    "AWS::SNS::TopicPolicy": ("sns", _topic_policy),
    "AWS::SQS::QueuePolicy": ("sqs", _queue_policy),
    "AWS::SecretsManager::Secret": ("secretsmanager", _secret),
}
