"""The dev stage, deployed by the real CDK CLI into a moto server: what is there afterwards, by boto3."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from local.deploy import DeployedFunction, deploy, deployed_functions
from local.lambda_rie import LambdaRuntime
from local.moto_server import MotoServer
from stripe_cache_cdk.config import Topology
from stripe_cache_cdk.constructs.runtime_function import HANDLERS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# The zip is built for the interpreter that runs the tests, so that it can run here.
HERE = {"python": f"3.{sys.version_info.minor}", "architecture": "x86_64"}


@dataclass(frozen=True)
class Deployment:
    topology: Topology
    server: MotoServer
    output: Path
    functions: dict[str, DeployedFunction]

    def templates(self) -> dict[str, dict[str, Any]]:
        return {path.name: json.loads(path.read_text()) for path in sorted(self.output.glob("stripe-*.template.json"))}

    def count(self, kind: str) -> int:
        return sum(
            resource["Type"] == kind for found in self.templates().values() for resource in found["Resources"].values()
        )


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("assembly")


@pytest.fixture(scope="module", params=[Topology.DYNAMODB_ONLY, Topology.VPC_VALKEY])
def deployment(request: pytest.FixtureRequest, output: Path) -> Iterator[Deployment]:
    with MotoServer(redis="127.0.0.1:7777") as server:
        deploy(server, output, stage="dev", topology=request.param, **HERE)
        yield Deployment(request.param, server, output, deployed_functions(server, output))


def test_all_stacks_are_complete_and_say_where_to_register(deployment: Deployment) -> None:
    stacks = deployment.server.client("cloudformation").describe_stacks()["Stacks"]
    assert {stack["StackName"]: stack["StackStatus"] for stack in stacks} == dict.fromkeys(
        ("CDKToolkit", "stripe-cache-dev-store", "stripe-cache-dev-service", "stripe-cache-dev-monitoring"),
        "CREATE_COMPLETE",
    )
    told = {output["OutputKey"]: output["OutputValue"] for stack in stacks for output in stack.get("Outputs", [])}
    assert told["WebhookUrl"].startswith("https://")
    assert told["WebhookUrl"].endswith("/stripe/events")
    secrets = deployment.server.client("secretsmanager").list_secrets()["SecretList"]
    assert {told["ApiKeySecret"], told["WebhookSecret"]} == {secret["ARN"] for secret in secrets}


def test_the_table_has_its_key_and_its_time_to_live(deployment: Deployment) -> None:
    client = deployment.server.client("dynamodb")
    (name,) = client.list_tables()["TableNames"]
    assert client.describe_table(TableName=name)["Table"]["KeySchema"] == [{"AttributeName": "pk", "KeyType": "HASH"}]
    lifetime = client.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    assert lifetime == {"TimeToLiveStatus": "ENABLED", "AttributeName": "exp"}
    assert {found.environment["STRIPE_CACHE_TABLE"] for found in deployment.functions.values()} == {name}


def test_every_handler_is_deployed_with_the_same_package(deployment: Deployment) -> None:
    assert set(deployment.functions) == set(HANDLERS.values())
    assert len({found.package for found in deployment.functions.values()}) == 1
    for found in deployment.functions.values():
        assert found.definition["Runtime"] == f"python{HERE['python']}"
        assert found.definition["Architectures"] == ["x86_64"]
        assert found.definition["TracingConfig"] == {"Mode": "Active"}
        in_vpc = bool(found.definition.get("VpcConfig", {}).get("SubnetIds"))
        assert in_vpc == (deployment.topology is Topology.VPC_VALKEY)


def test_the_environment_names_what_was_deployed(deployment: Deployment) -> None:
    webhook = deployment.functions[HANDLERS["webhook"]].environment
    secrets = deployment.server.client("secretsmanager")
    assert secrets.get_secret_value(SecretId=webhook["STRIPE_CACHE_WEBHOOK_SECRET"])["SecretString"]
    queue = webhook["STRIPE_CACHE_INVALIDATION_QUEUE_URL"]
    attributes = deployment.server.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])
    assert json.loads(attributes["Attributes"]["RedrivePolicy"])["maxReceiveCount"] == 10
    assert "aws:SecureTransport" in attributes["Attributes"]["Policy"]
    if deployment.topology is Topology.VPC_VALKEY:
        url = urlsplit(webhook["STRIPE_CACHE_REDIS_URL"])
        assert (url.scheme, url.hostname, url.port) == ("rediss+cluster", "127.0.0.1", 7777)
        (user,) = parse_qs(url.query)["iam_user"]
        (found,) = deployment.server.client("elasticache").describe_users(UserId=user)["Users"]
        assert found["Authentication"]["Type"] == "iam"
        assert found["UserName"] == user
    else:
        assert "STRIPE_CACHE_REDIS_URL" not in webhook


def test_the_queue_feeds_the_consumer_and_the_api_the_other_two(deployment: Deployment) -> None:
    (mapping,) = deployment.server.client("lambda").list_event_source_mappings()["EventSourceMappings"]
    consumer = deployment.functions[HANDLERS["invalidations"]]
    assert mapping["FunctionArn"].endswith(consumer.definition["FunctionName"])
    client = deployment.server.client("apigatewayv2")
    (api,) = client.get_apis()["Items"]
    integrations = {found["IntegrationId"]: found for found in client.get_integrations(ApiId=api["ApiId"])["Items"]}
    reached = {
        route["RouteKey"]: integrations[route["Target"].removeprefix("integrations/")]["IntegrationUri"]
        for route in client.get_routes(ApiId=api["ApiId"])["Items"]
    }
    assert reached == {
        "POST /stripe/events": deployment.functions[HANDLERS["webhook"]].definition["FunctionArn"],
        "GET /entitlements/{customer}": deployment.functions[HANDLERS["entitlements"]].definition["FunctionArn"],
    }


def test_every_alarm_is_there_and_rings_the_topic(deployment: Deployment) -> None:
    (topic,) = deployment.server.client("sns").list_topics()["Topics"]
    alarms = deployment.server.client("cloudwatch").describe_alarms(MaxRecords=100)["MetricAlarms"]
    assert len(alarms) == deployment.count("AWS::CloudWatch::Alarm")
    assert {action for alarm in alarms for action in alarm["AlarmActions"]} == {topic["TopicArn"]}


def test_the_deployed_zip_imports_in_lambdas_own_runtime(deployment: Deployment, tmp_path: Path) -> None:
    found = deployment.functions[HANDLERS["webhook"]]
    code = found.unpack(tmp_path)
    # Beside the package and not in it: this handler tells where the libraries came from.
    (tmp_path / "probe.py").write_text(
        "import hiredis, redis, stripe, stripe_cache, aws_lambda_powertools\n"
        "MODULES = (hiredis, redis, stripe, stripe_cache, aws_lambda_powertools)\n"
        "def handler(event, context):\n"
        "    return {'from': [module.__file__ for module in MODULES], 'cached': stripe.__cached__}\n"
    )
    with LambdaRuntime(code, "probe.handler", found.environment) as function:
        told = function.invoke({})
    assert all(path.startswith(str(code)) for path in told["from"])
    assert told["cached"].startswith(str(code))
