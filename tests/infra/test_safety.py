"""Rules that hold for every stack of every stage in every topology: cdk-nag's, cfn-lint's and the house's own."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path

import aws_cdk as cdk
import cdk_nag
import pytest
from aws_cdk import assertions
from aws_cdk import aws_sqs as sqs
from dashboards import alarms_by_function
from synthesis import COMBINATIONS, CONTEXT, PARTS, make_app, merged, resources, template_of, text_of

from stripe_cache_cdk.config import Topology, stage_config
from stripe_cache_cdk.stacks.stage import build_stage

EVERYWHERE = pytest.mark.parametrize(("stage", "topology"), COMBINATIONS)


def findings(app: cdk.App, folder: Path) -> set[tuple[str, str]]:
    """Return (rule, construct) of each unacknowledged finding of both packs."""
    cdk.Validations.of(app).add_plugins(cdk_nag.AwsSolutionsChecks(app), cdk_nag.ServerlessChecks(app))
    refused = None
    try:
        app.synth()
    except RuntimeError as error:
        refused = error
    report = json.loads((folder / "validation-report.json").read_text())
    found = {
        (violation["ruleName"], construct["constructPath"])
        for plugin in report["pluginReports"]
        for violation in plugin.get("violations", [])
        for construct in violation["violatingConstructs"]
    }
    assert bool(found) or refused is None, refused
    return found


def nag_app(folder: Path) -> cdk.App:
    return cdk.App(analytics_reporting=False, outdir=str(folder), context=CONTEXT | {"aws:cdk:bundling-stacks": []})


@EVERYWHERE
def test_cdk_nag_finds_nothing_that_was_not_answered(stage: str, topology: Topology, tmp_path: Path) -> None:
    app = nag_app(tmp_path)
    build_stage(app, stage_config(stage, topology=topology, stripe_event_bus="aws.partner/stripe.com/ed_1"))
    assert findings(app, tmp_path) == set()


def test_cdk_nag_would_find_something(tmp_path: Path) -> None:
    app = nag_app(tmp_path)
    sqs.Queue(cdk.Stack(app, "Bad"), "Plain")
    found = {rule for rule, _ in findings(app, tmp_path)}
    assert found >= {"AwsSolutions-SQS3", "AwsSolutions-SQS4", "Serverless-SQSRedrivePolicy"}


def test_every_acknowledgement_gives_a_reason(tmp_path: Path) -> None:
    app = nag_app(tmp_path)
    build_stage(app, stage_config("dev", topology=Topology.VPC_VALKEY))
    told = [
        reason
        for construct in app.node.find_all()
        for entry in construct.node.metadata
        if entry.type == cdk.Validations.ACKNOWLEDGED_RULES_METADATA_KEY
        for rule, reason in entry.data.items()
        # CDK answers some of its own rules in the same way.
        if rule.removeprefix("Annotation::").startswith(("AwsSolutions-", "Serverless-"))
    ]
    assert told
    assert all(len(reason) > 20 and reason.endswith(".") for reason in told)


@EVERYWHERE
def test_a_serverless_cache_is_capped_encrypted_and_for_iam_users_only(stage: str, topology: Topology) -> None:
    found = resources(template_of(stage, topology, "store"), "AWS::ElastiCache::ServerlessCache")
    assert len(found) == (0 if topology is Topology.DYNAMODB_ONLY else 1)
    for cache in found.values():
        properties = cache["Properties"]
        assert properties["Engine"] == "valkey"
        assert properties["CacheUsageLimits"]["DataStorage"]["Maximum"] >= 1
        assert properties["CacheUsageLimits"]["ECPUPerSecond"]["Maximum"] >= 1_000
        assert "UserGroupId" in properties
        public = properties.get("ConnectionType") == "public"
        assert public == (topology is Topology.PUBLIC_VALKEY)
        assert public != bool(properties.get("SubnetIds"))
        assert public != bool(properties.get("SecurityGroupIds"))
    for user in resources(template_of(stage, topology, "store"), "AWS::ElastiCache::User").values():
        assert user["Properties"]["AuthenticationMode"] == {"Type": "iam"}
        assert "NoPasswordRequired" not in user["Properties"]
        assert "~sc1:*" in user["Properties"]["AccessString"].split()


@EVERYWHERE
def test_the_table_expires_entries_and_has_the_keys_of_the_runtime(stage: str, topology: Topology) -> None:
    (table,) = resources(template_of(stage, topology, "store"), "AWS::DynamoDB::GlobalTable").values()
    properties = table["Properties"]
    assert properties["KeySchema"] == [{"AttributeName": "pk", "KeyType": "HASH"}]
    assert properties["TimeToLiveSpecification"] == {"AttributeName": "exp", "Enabled": True}
    assert properties["BillingMode"] == "PAY_PER_REQUEST"
    assert "TableName" not in properties
    (replica,) = properties["Replicas"]
    assert replica["DeletionProtectionEnabled"] is (stage == "prod")
    assert table["DeletionPolicy"] == ("Retain" if stage == "prod" else "Delete")


@EVERYWHERE
def test_nothing_admits_the_whole_internet(stage: str, topology: Topology) -> None:
    template = merged(stage, topology)
    for group in resources(template, "AWS::EC2::SecurityGroup").values():
        for rule in group["Properties"].get("SecurityGroupIngress", []):
            assert rule.get("CidrIp") != "0.0.0.0/0"
            assert rule.get("CidrIpv6") != "::/0"
    for rule in resources(template, "AWS::EC2::SecurityGroupIngress").values():
        assert "CidrIp" not in rule["Properties"]
    assert not resources(template, "AWS::Lambda::Url")


@EVERYWHERE
def test_permissions_name_actions_and_resources(stage: str, topology: Topology) -> None:
    statements = [
        statement
        for policy in resources(merged(stage, topology), "AWS::IAM::Policy").values()
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
    ]
    assert statements
    for statement in statements:
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        assert not [action for action in actions if "*" in action]
        if "*" in text_of(statement["Resource"]):
            assert set(actions) == {"xray:PutTelemetryRecords", "xray:PutTraceSegments"}


@EVERYWHERE
def test_every_log_group_forgets(stage: str, topology: Topology) -> None:
    groups = resources(merged(stage, topology), "AWS::Logs::LogGroup")
    assert groups
    assert {group["Properties"].get("RetentionInDays") for group in groups.values()} == {
        {"dev": 7, "staging": 30, "prod": 365}[stage]
    }


@EVERYWHERE
def test_every_queue_is_encrypted_and_has_dead_letters_or_is_them(stage: str, topology: Topology) -> None:
    template = merged(stage, topology)
    queues = resources(template, "AWS::SQS::Queue")
    rules = resources(template, "AWS::Events::Rule")
    calls = resources(template, "AWS::Lambda::EventInvokeConfig")
    # What a queue gives up, what a rule could not deliver, and what failed with nobody waiting for it.
    targets = text_of([queue["Properties"].get("RedrivePolicy") for queue in queues.values()])
    targets += text_of(
        [target.get("DeadLetterConfig") for rule in rules.values() for target in rule["Properties"]["Targets"]]
    )
    targets += text_of([call["Properties"]["DestinationConfig"] for call in calls.values()])
    assert queues
    for name, queue in queues.items():
        assert queue["Properties"]["SqsManagedSseEnabled"] is True
        assert "RedrivePolicy" in queue["Properties"] or name.split(".")[1] in targets


@EVERYWHERE
def test_no_function_is_called_without_a_place_for_what_fails(stage: str, topology: Topology) -> None:
    """EventBridge calls functions asynchronously: without a destination Lambda forgets what failed three times."""
    template = template_of(stage, topology, "service")
    kept = {
        config["Properties"]["FunctionName"]["Ref"]: config["Properties"]
        for config in resources(template, "AWS::Lambda::EventInvokeConfig").values()
    }
    called = {
        target["Arn"]["Fn::GetAtt"][0]
        for rule in resources(template, "AWS::Events::Rule").values()
        for target in rule["Properties"]["Targets"]
    }
    assert called
    assert set(kept) == called
    for config in kept.values():
        assert config["DestinationConfig"]["OnFailure"]["Destination"]
        assert config["MaximumRetryAttempts"] == 2
        assert 60 <= config["MaximumEventAgeInSeconds"] <= 21_600


@EVERYWHERE
def test_every_function_is_bounded_traced_and_watched(stage: str, topology: Topology) -> None:
    functions = resources(template_of(stage, topology, "service"), "AWS::Lambda::Function")
    assert len(functions) == 5
    watching = template_of(stage, topology, "monitoring")
    watched = {
        metric: alarms_by_function(watching, metric) for metric in ("Errors", "Throttles", "Duration", "Invocations")
    }
    for name, function in functions.items():
        properties = function["Properties"]
        assert properties["Architectures"] == ["arm64"]
        assert properties["Runtime"] == "python3.13"
        assert properties["MemorySize"]
        assert properties["Timeout"] <= (120 if "reconcile" in properties["Handler"] else 60)
        assert properties["TracingConfig"] == {"Mode": "Active"}
        assert properties["LoggingConfig"]["LogFormat"] == "JSON"
        assert ("VpcConfig" in properties) == (topology is Topology.VPC_VALKEY)
        for metric, found in watched.items():
            assert sum(name in one for one in found) == 1, f"no alarm on the {metric} of {name}"


@EVERYWHERE
def test_nothing_has_a_physical_name_but_what_must(stage: str, topology: Topology) -> None:
    named = {
        "AWS::CloudWatch::Alarm": "AlarmName",
        "AWS::CloudWatch::Dashboard": "DashboardName",
        "AWS::DynamoDB::GlobalTable": "TableName",
        "AWS::Events::Rule": "Name",
        "AWS::IAM::Role": "RoleName",
        "AWS::Lambda::Function": "FunctionName",
        "AWS::Logs::LogGroup": "LogGroupName",
        "AWS::SNS::Topic": "TopicName",
        "AWS::SQS::Queue": "QueueName",
        "AWS::SecretsManager::Secret": "Name",
    }
    checked = resources(merged(stage, topology), *named)
    assert checked
    assert [name for name, found in checked.items() if named[found["Type"]] in found["Properties"]] == []


@EVERYWHERE
def test_stacks_refer_to_each_other_in_a_way_that_can_be_undone(stage: str, topology: Topology) -> None:
    for part in PARTS:
        template = template_of(stage, topology, part)
        assert "Fn::ImportValue" not in text_of(template)
        assert not [output for output in template.get("Outputs", {}).values() if "Export" in output]
    assert "Fn::GetStackOutput" in text_of(template_of(stage, topology, "service"))


@EVERYWHERE
def test_every_resource_that_can_carry_tags_says_its_stage(stage: str, topology: Topology) -> None:
    tagged = [
        resource["Properties"]["Tags"]
        for resource in resources(merged(stage, topology), "AWS::Lambda::Function", "AWS::SQS::Queue").values()
    ]
    assert tagged
    for tags in tagged:
        assert {"Key": "stage", "Value": stage} in tags
        assert {"Key": "application", "Value": "stripe-cache"} in tags


def lint(folder: Path) -> list[tuple[str, str]]:
    linted = subprocess.run(
        [
            *(Path(sys.executable).with_name("cfn-lint"), "--format", "json", "--regions", "us-east-1"),
            # W3005: CDK makes every function wait for its role, which the role's ARN in it says already.
            *("--ignore-checks", "W3005", "--", *map(str, sorted(folder.glob("*.json")))),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert not linted.stderr
    return [(item["Rule"]["Id"], item["Message"]) for item in json.loads(linted.stdout or "[]")]


def test_cfn_lint_has_nothing_to_say(tmp_path: Path) -> None:
    for stage, topology in COMBINATIONS:
        for part in PARTS:
            path = tmp_path / f"{stage}-{topology}-{part}.template.json"
            path.write_text(json.dumps(template_of(stage, topology, part)))
    # What no stage has by default, and what differs then: versions, aliases, keys, and one more function.
    app = make_app()
    config = stage_config("prod", snap_start="true", customer_key="true", encrypt_entries="true", purge="true")
    stacks = build_stage(app, config)
    for part in PARTS:
        template = assertions.Template.from_stack(getattr(stacks, part)).to_json()
        (tmp_path / f"snap-start-{part}.template.json").write_text(json.dumps(template))
    assert lint(tmp_path) == []


def test_cfn_lint_would_have_something_to_say(tmp_path: Path) -> None:
    template = copy.deepcopy(template_of("dev", Topology.DYNAMODB_ONLY, "store"))
    (table,) = resources(template, "AWS::DynamoDB::GlobalTable").values()
    table["Properties"]["BillingMode"] = "GENEROUS"
    (tmp_path / "bad.template.json").write_text(json.dumps(template))
    assert [rule for rule, _ in lint(tmp_path)] == ["E3030"]
