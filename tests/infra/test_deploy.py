"""The dev stage, deployed by the real CDK CLI into a moto server: what is there afterwards, by boto3."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
from dashboards import Read, metrics_emitted, metrics_read
from deployed import API_KEY, SIGNING, Deployment, Service
from synthesis import ROOT

from local.deploy import deploy, deployed_functions
from local.fake_stripe.client import FakeStripe
from local.lambda_rie import LambdaRuntime
from local.moto_server import MotoServer
from stripe_cache_cdk.config import DEFAULT_PYTHON, Topology
from stripe_cache_cdk.constructs.interpreters import find_python
from stripe_cache_cdk.constructs.runtime_function import HANDLERS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from local.dynamodb import DynamoDB
    from local.valkey import Valkey

# What functions run by default, where there is an interpreter of it (`make setup` fetches one if it can); else what
# runs the tests. The processor is this machine's, so that the zip can run here.
PYTHON = DEFAULT_PYTHON if find_python(DEFAULT_PYTHON) else f"3.{sys.version_info.minor}"
HERE = {"python": PYTHON, "architecture": "arm64" if platform.machine() in {"aarch64", "arm64"} else "x86_64"}


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("assembly")


@pytest.fixture(scope="module", params=list(Topology))
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
        assert found.definition["Architectures"] == [HERE["architecture"]]
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
    if deployment.topology is not Topology.DYNAMODB_ONLY:
        url = urlsplit(webhook["STRIPE_CACHE_REDIS_URL"])
        assert (url.scheme, url.hostname, url.port) == ("rediss+cluster", "127.0.0.1", 7777)
        (user,) = parse_qs(url.query)["iam_user"]
        (found,) = deployment.server.client("elasticache").describe_users(UserId=user)["Users"]
        assert found["Authentication"]["Type"] == "iam"
        assert found["UserName"] == user
    else:
        assert "STRIPE_CACHE_REDIS_URL" not in webhook


def test_the_queues_feed_their_consumers_and_each_api_its_function(deployment: Deployment) -> None:
    mappings = deployment.server.client("lambda").list_event_source_mappings()["EventSourceMappings"]
    fed = {mapping["FunctionArn"].rpartition(":")[2] for mapping in mappings}
    consumers = [deployment.functions[HANDLERS[name]] for name in ("invalidations", "refresh")]
    assert fed == {consumer.definition["FunctionName"] for consumer in consumers}
    client = deployment.server.client("apigatewayv2")
    reached = {}
    for api in client.get_apis()["Items"]:
        integrations = {found["IntegrationId"]: found for found in client.get_integrations(ApiId=api["ApiId"])["Items"]}
        (route,) = client.get_routes(ApiId=api["ApiId"])["Items"]
        target = integrations[route["Target"].removeprefix("integrations/")]
        reached[route["RouteKey"]] = target["IntegrationUri"]
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
        "import sys\n"
        "def handler(event, context):\n"
        "    files = [getattr(module, '__file__', None) or '' for module in sys.modules.values()]\n"
        "    elsewhere = [name for name in files if 'site-packages' in name]\n"
        "    return {'from': [m.__file__ for m in MODULES], 'python': sys.version_info[:2], 'elsewhere': elsewhere}\n"
    )
    with LambdaRuntime(code, "probe.handler", found.environment, python=find_python(PYTHON)) as function:
        told = function.invoke({})
    assert all(path.startswith(str(code)) for path in told["from"])
    assert told["python"] == [int(part) for part in PYTHON.split(".")]
    if f"3.{sys.version_info.minor}" != PYTHON:
        assert told["elsewhere"] == [], "nothing came from what is installed here"


def test_the_deployed_zip_starts_without_compiling_anything(deployment: Deployment, tmp_path: Path) -> None:
    """No source can be compiled, so the sandbox that answers runs the byte code of the zip."""
    found = deployment.functions[HANDLERS["webhook"]]
    code = found.unpack(tmp_path)
    for source in code.rglob("*.py"):
        source.write_text("raise SystemExit('compiled here')\n")
    environment = found.environment | deployment.server.environment
    with LambdaRuntime(code, found.handler, environment, python=find_python(PYTHON)) as function:
        answer = function.invoke({"headers": {}, "body": "{}", "isBase64Encoded": False})
    assert answer["statusCode"] == 400, answer


def test_comparing_with_what_was_deployed_finds_what_changed_and_nothing_else(deployment: Deployment) -> None:
    if deployment.topology is not Topology.DYNAMODB_ONLY:
        pytest.skip("one topology shows that the command works")
    given = {**HERE, "topology": deployment.topology, "alarm_email": "you@example.com"}
    arguments = " ".join(f"-c {name}={value}" for name, value in given.items())
    command = ["make", "diff", "STAGE=dev", f"CDK_ARGS={arguments}"]
    ended = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **deployment.server.environment, "CI": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "Unknown option" not in ended.stdout + ended.stderr
    assert "Number of stacks with differences: 1" in ended.stdout
    assert ended.stdout.count("There were no differences") == 2
    (changed,) = [line for line in ended.stdout.splitlines() if line.startswith("[")]
    assert changed.startswith("[+] AWS::SNS::Subscription")


@pytest.fixture(scope="module")
def stripe() -> Iterator[FakeStripe]:
    with FakeStripe(seed=11) as server:
        yield server


@pytest.fixture
def service(
    deployment: Deployment, valkey: Valkey, dynamodb: DynamoDB, stripe: FakeStripe, tmp_path: Path
) -> Iterator[Service]:
    """Run the deployed zip under the deployed environment; only where servers are is told differently."""
    found = {name: deployment.functions[handler] for name, handler in HANDLERS.items()}
    secrets = deployment.server.client("secretsmanager")
    webhook, reader = found["webhook"].environment, found["entitlements"].environment
    secrets.put_secret_value(SecretId=webhook["STRIPE_CACHE_WEBHOOK_SECRET"], SecretString=SIGNING)
    secrets.put_secret_value(SecretId=reader["STRIPE_CACHE_API_KEY_SECRET"], SecretString=API_KEY)
    if webhook["STRIPE_CACHE_TABLE"] not in dynamodb.client(timeout=10).list_tables()["TableNames"]:
        dynamodb.create_table(webhook["STRIPE_CACHE_TABLE"])
    stripe.reset(state=True)
    elsewhere = {
        **deployment.server.environment,
        "AWS_ENDPOINT_URL_DYNAMODB": dynamodb.endpoint,
        "STRIPE_CACHE_API_BASE": stripe.url,
        # Each test is an account of its own, and no sandbox may lag behind another while it is watched.
        "STRIPE_CACHE_NAMESPACE": f"acct_{time.time_ns()}",
        "STRIPE_CACHE_MEMORY_MAX_LAG": "0",
        "STRIPE_CACHE_REDIS_TIMEOUT": "2",
        "STRIPE_CACHE_DYNAMODB_TIMEOUT": "5",
    }
    if "STRIPE_CACHE_REDIS_URL" in webhook:
        elsewhere["STRIPE_CACHE_REDIS_URL"] = valkey.url
    code = found["webhook"].unpack(tmp_path)
    sandboxes = {
        name: LambdaRuntime(code, one.handler, one.environment | elsewhere, python=find_python(PYTHON))
        for name, one in found.items()
    }
    with sandboxes["webhook"] as first, sandboxes["entitlements"] as second, sandboxes["invalidations"] as third:
        yield Service(first, second, third, stripe)


def test_the_deployed_service_answers_from_the_cache_until_stripe_says_otherwise(service: Service) -> None:
    customer = service.stripe.seed(customers=2)["customers"][0]
    before, first = service.name_of(customer)
    calls = service.stripe.counters()
    assert "fwd=uri-miss" in first
    assert "fwd" not in service.name_of(customer)[1]
    assert service.stripe.counters() == calls
    service.stripe.mutate(f"/v1/customers/{customer}", name="Changed")
    assert service.name_of(customer)[0] == before
    event = service.last_event()
    assert service.deliver(event, signing="whsec_forged") == 400
    assert service.name_of(customer)[0] == before
    assert service.deliver(event) == 200
    assert service.name_of(customer)[0] == "Changed"


def test_the_deployed_consumer_reports_the_message_that_failed_and_applies_the_other(service: Service) -> None:
    customer = service.stripe.seed(customers=2)["customers"][0]
    service.name_of(customer)
    service.stripe.mutate(f"/v1/customers/{customer}", name="Changed")
    good = {"records": [customer], "account": None, "livemode": False}
    bodies = {"good": json.dumps(good), "bad": "no JSON"}
    batch = {"Records": [{"messageId": name, "body": body} for name, body in bodies.items()]}
    assert service.consumer.invoke(batch) == {"batchItemFailures": [{"itemIdentifier": "bad"}]}
    assert service.name_of(customer)[0] == "Changed"


def test_the_deployed_service_emits_what_the_dashboard_and_the_alarms_read(
    deployment: Deployment, service: Service
) -> None:
    customer = service.stripe.seed(customers=2)["customers"][0]
    for _ in range(3):
        service.name_of(customer)
    service.stripe.mutate(f"/v1/customers/{customer}", name="Changed")
    service.deliver(service.last_event(), signing="whsec_forged")
    service.deliver(service.last_event())
    emitted = metrics_emitted(service.webhook.output() + service.entitlements.output())
    read = metrics_read(deployment.templates()["stripe-cache-dev-monitoring.template.json"], "StripeCache")
    happened = {
        *("Hit", "Miss", "OriginCall", "OriginLatency", "ReadLatency"),
        *("Invalidation", "WebhookAccepted", "WebhookRejected", "WebhookLag"),
    }

    def of_what_happened(metrics: set[Read]) -> set[Read]:
        # Only customers, subscriptions and prices were read, and every read was answered by the first tier or Stripe.
        seen = {value for _, _, dimensions in emitted for _, value in dimensions}
        return {
            (space, name, dimensions)
            for space, name, dimensions in metrics
            if name in happened and {value for _, value in dimensions} <= seen
        }

    assert {name for _, name, _ in of_what_happened(read)} == happened
    kinds = {(name, frozenset(key for key, _ in dimensions)) for _, name, dimensions in emitted}
    assert {(name, frozenset(key for key, _ in dimensions)) for _, name, dimensions in of_what_happened(read)} <= kinds
