"""What `attach` refuses, mends or warns of: functions that are somewhere, or somebody's, already."""

from __future__ import annotations

from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import assertions
from aws_cdk import aws_cloudfront as cloudfront
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from functions import actions_of, plain
from synthesis import make_app, of_function, render, resources

from stripe_cache_cdk import ConstructError, Events, StripeCache, Topology
from stripe_cache_cdk.constructs import environment as env


def subnets_of(kind: ec2.SubnetType) -> ec2.SubnetSelection:
    return ec2.SubnetSelection(subnet_type=kind)


def their_vpc(stack: cdk.Stack, **props: Any) -> ec2.Vpc:
    kinds = {
        "Public": ec2.SubnetType.PUBLIC,
        "Private": ec2.SubnetType.PRIVATE_WITH_EGRESS,
        "Isolated": ec2.SubnetType.PRIVATE_ISOLATED,
    }
    return ec2.Vpc(
        stack,
        "Theirs",
        restrict_default_security_group=False,
        subnet_configuration=[ec2.SubnetConfiguration(name=name, subnet_type=kind) for name, kind in kinds.items()],
        **props,
    )


def warnings_of(stack: cdk.Stack) -> list[str]:
    found = assertions.Annotations.from_stack(stack).find_warning("*", assertions.Match.any_value())
    return [str(one.entry.data) for one in found]


@pytest.mark.parametrize("topology", Topology)
def test_a_function_in_private_subnets_is_attached_in_every_topology(stack: cdk.Stack, topology: Topology) -> None:
    vpc = their_vpc(stack)
    cache = StripeCache(
        stack, "Cache", topology=topology, vpc=vpc if topology is Topology.VPC_VALKEY else None, events=Events.NONE
    )
    cache.attach(plain(stack, vpc=vpc))
    assert env.TABLE in of_function(render(stack), "Mine")["Environment"]["Variables"]
    assert warnings_of(stack) == []


@pytest.mark.parametrize("kind", [ec2.SubnetType.PRIVATE_ISOLATED, ec2.SubnetType.PUBLIC])
@pytest.mark.parametrize(
    ("topology", "calls_stripe", "beyond"),
    [
        (Topology.DYNAMODB_ONLY, True, "Stripe, and there is no gateway endpoint for DynamoDB either"),
        (Topology.PUBLIC_VALKEY, True, "Stripe and the cache's public endpoint"),
        (Topology.PUBLIC_VALKEY, False, "the cache's public endpoint"),
        (Topology.VPC_VALKEY, True, "Stripe"),
    ],
)
def test_a_function_without_the_internet_is_refused_where_it_needs_it(
    stack: cdk.Stack, kind: ec2.SubnetType, topology: Topology, beyond: str, *, calls_stripe: bool
) -> None:
    vpc = their_vpc(stack)
    mine = plain(stack, vpc=vpc, vpc_subnets=subnets_of(kind), allow_public_subnet=True)
    cache = StripeCache(stack, "Cache", topology=topology, vpc=vpc if topology is Topology.VPC_VALKEY else None)
    told = rf"^Test/Mine: it is in subnets from which Lambda cannot reach {beyond}.*: put it into private subnets"
    with pytest.raises(ConstructError, match=told):
        cache.attach(mine, calls_stripe=calls_stripe)


def test_a_function_that_only_voids_needs_no_more_than_the_tables_endpoint(stack: cdk.Stack) -> None:
    vpc = their_vpc(stack)
    voider = plain(stack, vpc=vpc, vpc_subnets=subnets_of(ec2.SubnetType.PRIVATE_ISOLATED))
    cache = StripeCache(stack, "Cache")
    with pytest.raises(ConstructError, match=r"^Test/Mine: .*no gateway endpoint for DynamoDB.*: vpc\.add_gateway_end"):
        cache.attach(voider, calls_stripe=False)
    vpc.add_gateway_endpoint("Table", service=ec2.GatewayVpcEndpointAwsService.DYNAMODB)
    cache.attach(voider, calls_stripe=False)
    assert [told for told in warnings_of(stack) if "without an endpoint for SQS" in told]


def test_subnets_that_nothing_here_knows_are_warned_of(stack: cdk.Stack) -> None:
    vpc = ec2.Vpc.from_vpc_attributes(stack, "Theirs", vpc_id="vpc-00000001", availability_zones=["a"])
    subnet = ec2.Subnet.from_subnet_id(stack, "Sub", "subnet-00000001")
    group = ec2.SecurityGroup(stack, "Group", vpc=vpc)
    inside = plain(stack, "Inside", vpc=vpc, vpc_subnets=ec2.SubnetSelection(subnets=[subnet]), security_groups=[group])
    StripeCache(stack, "Cache").attach(inside)
    assert [told for told in warnings_of(stack) if "subnet-00000001 lead: they must route to a NAT" in told]


def test_a_function_in_one_zone_works_and_is_warned_of(stack: cdk.Stack) -> None:
    vpc = their_vpc(stack)
    mine = plain(stack, vpc=vpc, vpc_subnets=ec2.SubnetSelection(subnets=[vpc.private_subnets[0]]))
    StripeCache(stack, "Cache").attach(mine)
    assert [told for told in warnings_of(stack) if "all its subnets are in one availability zone" in told]


@pytest.mark.parametrize(
    ("topology", "ports"),
    [
        (Topology.DYNAMODB_ONLY, [443]),
        (Topology.PUBLIC_VALKEY, [443, 6379, 6380]),
        (Topology.VPC_VALKEY, [443]),
    ],
)
def test_a_security_group_that_lets_nothing_out_is_opened_for_what_is_needed(
    stack: cdk.Stack, topology: Topology, ports: list[int]
) -> None:
    vpc = their_vpc(stack)
    closed = ec2.SecurityGroup(stack, "Closed", vpc=vpc, allow_all_outbound=False)
    cache = StripeCache(stack, "Cache", topology=topology, vpc=vpc if topology is Topology.VPC_VALKEY else None)
    cache.attach(plain(stack, vpc=vpc, security_groups=[closed]))
    template = render(stack)
    (group,) = (found for name, found in resources(template, "AWS::EC2::SecurityGroup").items() if "Closed" in name)
    outward = [rule for rule in group["Properties"]["SecurityGroupEgress"] if rule["CidrIp"] == "0.0.0.0/0"]
    assert sorted(rule["FromPort"] for rule in outward) == ports
    to_cache = resources(template, "AWS::EC2::SecurityGroupEgress").values()
    assert sorted(rule["Properties"]["FromPort"] for rule in to_cache) == (
        [6379, 6380] if topology is Topology.VPC_VALKEY else []
    )


def test_an_imported_group_is_opened_where_it_may_be_changed_and_refused_where_not(stack: cdk.Stack) -> None:
    vpc, imported = their_vpc(stack), ec2.SecurityGroup.from_security_group_id
    ours = imported(stack, "Ours", "sg-00000001", allow_all_outbound=False)
    fixed = imported(stack, "Fixed", "sg-00000002", allow_all_outbound=False, mutable=False)
    cache = StripeCache(stack, "Cache")
    cache.attach(plain(stack, "First", vpc=vpc, security_groups=[fixed, ours]))
    with pytest.raises(ConstructError, match=r"^Test/Second: its security groups \(Test/Fixed\) let nothing out"):
        cache.attach(plain(stack, "Second", vpc=vpc, security_groups=[fixed]))
    (rule,) = resources(render(stack), "AWS::EC2::SecurityGroupEgress").values()
    assert (rule["Properties"]["GroupId"], rule["Properties"]["FromPort"]) == ("sg-00000001", 443)


def test_subnets_of_the_same_logical_id_in_two_stacks_are_told_apart() -> None:
    app = make_app()
    one, other = cdk.Stack(app, "One"), cdk.Stack(app, "Other")
    cache = StripeCache(one, "Cache", topology=Topology.VPC_VALKEY, vpc=their_vpc(one))
    told = r"^Other/Mine: it is in another VPC than the cache at One/Cache/Redis \(in Other/Theirs\): put it into"
    with pytest.raises(ConstructError, match=told):
        cache.attach(plain(other, vpc=their_vpc(other)))


def test_a_second_cache_is_refused(stack: cdk.Stack) -> None:
    mine = plain(stack)
    StripeCache(stack, "Cache").attach(mine)
    with pytest.raises(ConstructError, match=r"^Test/Mine: it is attached to the cache at Test/Cache: attach each"):
        StripeCache(stack, "Second").attach(mine)


def test_variables_that_say_otherwise_are_not_overwritten(stack: cdk.Stack) -> None:
    mine = plain(stack, environment={env.STAGE: "qa", "OTHER": "x"})
    with pytest.raises(ConstructError, match=rf"^Test/Mine: its environment has another {env.STAGE} already \('qa'\)"):
        StripeCache(stack, "Cache").attach(mine)
    assert not actions_of(render(stack), "MineServiceRole")


def test_variables_that_say_the_same_or_are_none_of_ours_stay(stack: cdk.Stack) -> None:
    given = {env.STAGE: "dev", env.MEMORY_MAX_BYTES: "0", "OTHER": "x"}
    StripeCache(stack, "Cache").attach(plain(stack, environment=given))
    variables = of_function(render(stack), "Mine")["Environment"]["Variables"]
    assert given.items() <= variables.items()
    assert env.TABLE in variables


@pytest.mark.parametrize(
    ("theirs", "told"),
    [
        ({"account": "123456789012", "region": "eu-west-1"}, "in region eu-west-1 and the cache at Ours/Cache in us-e"),
        ({"account": "999999999999", "region": "us-east-1"}, "in account 999999999999 and the cache .* 123456789012"),
        (
            {},
            r"in account \(none given\) and the cache at Ours/Cache in 123456789012: give both stacks the same account",
        ),
    ],
)
def test_a_function_of_another_account_or_region_is_refused(theirs: dict[str, str], told: str) -> None:
    app = make_app()
    ours = cdk.Stack(app, "Ours", env=cdk.Environment(account="123456789012", region="us-east-1"))
    other = cdk.Stack(app, "Other", env=cdk.Environment(**theirs))
    with pytest.raises(ConstructError, match=rf"^Other/Mine: its stack is {told}"):
        StripeCache(ours, "Cache").attach(plain(other))


def test_a_function_of_another_app_or_stage_of_the_app_is_refused(stack: cdk.Stack) -> None:
    cache = StripeCache(stack, "Cache")
    with pytest.raises(ConstructError, match=r"^Else/Mine: it is in another app than the cache at Test/Cache"):
        cache.attach(plain(cdk.Stack(make_app(), "Else")))
    inner = cdk.Stack(cdk.Stage(stack.node.root, "Blue"), "Else")
    with pytest.raises(ConstructError, match=r"^Blue/Else/Mine: it is in another stage of the app"):
        cache.attach(plain(inner))


def test_an_image_is_attached_whatever_is_in_it(stack: cdk.Stack) -> None:
    repository = ecr.Repository(stack, "Repository")
    mine = lambda_.DockerImageFunction(stack, "Mine", code=lambda_.DockerImageCode.from_ecr(repository))
    StripeCache(stack, "Cache").attach(mine)
    assert env.TABLE in of_function(render(stack), "Mine")["Environment"]["Variables"]


@pytest.mark.parametrize("nothing", [None, "arn:aws:lambda:us-east-1:123456789012:function:mine"])
def test_what_is_no_function_is_refused(stack: cdk.Stack, nothing: Any) -> None:
    with pytest.raises(ConstructError, match=r"^Test/Cache: function=.*: give an aws_lambda\.Function$"):
        StripeCache(stack, "Cache").attach(nothing)


@pytest.mark.parametrize(("mutable", "warned"), [(True, 0), (False, 1)])
def test_a_role_that_takes_no_permissions_is_warned_of(stack: cdk.Stack, warned: int, *, mutable: bool) -> None:
    role = iam.Role.from_role_arn(stack, "Theirs", "arn:aws:iam::123456789012:role/theirs", mutable=mutable)
    StripeCache(stack, "Cache").attach(plain(stack, role=role))
    assert len([told for told in warnings_of(stack) if "attaching gives it no permissions" in told]) == warned
    assert bool(actions_of(render(stack), "Theirs")) == mutable


def test_functions_that_keep_their_environment_to_themselves_are_told_apart() -> None:
    stack = cdk.Stack(make_app(), "Test", env=cdk.Environment(account="123456789012", region="us-east-1"))
    cache = StripeCache(stack, "Cache", events=Events.NONE, monitoring=False)
    common: Any = {
        "runtime": lambda_.Runtime.PYTHON_3_13,
        "handler": "index.handler",
        "code": lambda_.Code.from_inline("def handler(event, context): ..."),
    }
    mine = plain(stack)
    for function, told in (
        (
            lambda_.SingletonFunction(stack, "Single", uuid="one", **common),
            "SingletonFunction keeps .*: make one aws_la",
        ),
        (cloudfront.experimental.EdgeFunction(stack, "Edge", **common), "Lambda@Edge takes no environment.*CloudFront"),
        (mine.current_version, "an imported function, a version or an alias .*: attach the aws_lambda.Function it"),
    ):
        with pytest.raises(ConstructError, match=rf"^{function.node.path}: .*{told}"):
            cache.attach(function)


@pytest.mark.parametrize(("length", "refused", "warned"), [(3_950, True, 0), (3_500, False, 1), (2_000, False, 0)])
def test_an_environment_beyond_lambdas_quota_is_refused(
    stack: cdk.Stack, length: int, warned: int, *, refused: bool
) -> None:
    cache = StripeCache(stack, "Cache", topology=Topology.PUBLIC_VALKEY, monitoring=False)
    mine = plain(stack, environment={"LONG": "x" * length})
    if refused:
        told = (
            rf"^Test/Mine: its environment will hold some 4\d+ bytes, {length + 4} of them its own, and .* takes 4096:"
        )
        with pytest.raises(ConstructError, match=told):
            cache.attach(mine)
        return
    cache.attach(mine)
    assert (
        len([told for told in warnings_of(stack) if "Lambda takes 4096: keep long values elsewhere" in told]) == warned
    )


@pytest.mark.parametrize(("given", "told"), [(None, 1), ("main", 0), ("acct_1", 0)])
def test_who_names_no_account_is_told_how_to(stack: cdk.Stack, given: str | None, told: int) -> None:
    StripeCache(stack, "Cache", namespace=given, events=Events.NONE, monitoring=False)
    found = assertions.Annotations.from_stack(stack).find_info("/Test/Cache", assertions.Match.any_value())
    assert len([one for one in found if "pass namespace='acct_...'" in str(one.entry.data)]) == told
