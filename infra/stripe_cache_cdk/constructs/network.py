"""The VPC of topology vpc-valkey: functions in private subnets, the cache in isolated ones, a way out to Stripe."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_logs as logs
from constructs import Construct

from stripe_cache_cdk.checks import check_cidr, check_enum, check_range
from stripe_cache_cdk.choices import check_services
from stripe_cache_cdk.config import Nat, Topology
from stripe_cache_cdk.constructs.key_access import let_logs_use
from stripe_cache_cdk.constructs.nag import acknowledge
from stripe_cache_cdk.constructs.props import checked
from stripe_cache_cdk.constructs.subnets import FEWEST_ZONES, MOST_ZONES, for_cache, for_functions
from stripe_cache_cdk.errors import ConstructError, naming

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aws_cdk import aws_kms as kms

DEFAULT_CIDR = "10.20.0.0/20"
# Most accounts see two zones there; asking the account would make synthesis depend on it.
REGIONS_OF_TWO_ZONES = ("us-west-1",)
PUBLIC_PREFIX = 28  # NAT gateways only.
ISOLATED_PREFIX = 27  # The cache's endpoints only.


class CacheNetwork(Construct):
    """A VPC of 2 or 3 availability zones, or the parts of one you have; any number of caches may share one.

    `cidr` is the VPC's range (default 10.20.0.0/20), private and /16 to /22; `azs` the number of zones (default 2).
    `nat` says how private subnets reach the internet: gateways (default; `nat_gateways` of them, 0 for one per zone),
    t4g.nano instances, or not at all. Instances start from `nat_image`; the default is Amazon's newest at the time of
    each deployment, which replaces them when there is a newer one.

    `vpc` takes an existing VPC instead of all that; nothing is added to it unless asked for. The cache is put into its
    isolated subnets, or private ones without: one for each of two or three zones. `gateway_endpoints` to
    DynamoDB and S3, which are free, are therefore made in a new VPC only: a second one on the same route tables fails
    to deploy. Pass True for an existing VPC that has none, or its functions pay for NAT on every call of the table.
    `interface_endpoints` are services such as `secretsmanager`, each about 7.30 USD a month and zone. `flow_logs`
    record what was rejected in a new VPC, encrypted with `encryption_key` where given. Nothing here admits traffic from
    the internet. In a stack whose account and region are given, CDK looks its zones up as for any new VPC, and keeps
    them in cdk.context.json; a stack that overrides `availability_zones`, as StageStack does, asks nobody.
    """

    @checked
    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        vpc: ec2.IVpc | None = None,
        cidr: str | None = None,
        azs: int | None = None,
        nat: Nat | None = None,
        nat_gateways: int | None = None,
        nat_image: ec2.IMachineImage | None = None,
        gateway_endpoints: bool | None = None,
        interface_endpoints: Sequence[str] = (),
        flow_logs: bool = True,
        log_retention: logs.RetentionDays = logs.RetentionDays.ONE_MONTH,
        encryption_key: kms.IKey | None = None,
        removal_policy: cdk.RemovalPolicy = cdk.RemovalPolicy.DESTROY,
    ) -> None:
        super().__init__(scope, construct_id)
        with naming(self):
            check_services(interface_endpoints)
        of_new = {"cidr": cidr, "azs": azs, "nat": nat, "nat_gateways": nat_gateways, "nat_image": nat_image}
        if vpc is None:
            with naming(self):
                way_out = check_enum("nat", nat or Nat.GATEWAY, Nat)
                check_cidr(DEFAULT_CIDR if cidr is None else cidr)
                zones = FEWEST_ZONES if azs is None else azs
                check_range("azs", zones, FEWEST_ZONES, MOST_ZONES, "availability zones")
                check_range("nat_gateways", nat_gateways or 0, 0, zones, "(0 means one per availability zone)")
            self.can_reach_stripe = way_out is not Nat.NONE
            self.vpc: ec2.IVpc = self._make_vpc(
                DEFAULT_CIDR if cidr is None else cidr, zones, way_out, nat_gateways or 0, nat_image
            )
            self.function_subnets = self.vpc.select_subnets(subnet_group_name="Private").subnets
            self.cache_subnets = self.vpc.select_subnets(subnet_group_name="Isolated").subnets
            if flow_logs:
                self._log_flows(log_retention, encryption_key, removal_policy)
        else:
            given = [name for name, value in of_new.items() if value is not None]
            if given:
                raise ConstructError(
                    self, f"{', '.join(given)} with vpc: that VPC is as it is", "pass one or the other"
                )
            self.vpc, self.can_reach_stripe = vpc, True
            self.function_subnets = for_functions(self, vpc)
            self.cache_subnets = for_cache(self, vpc)
        if gateway_endpoints or (gateway_endpoints is None and vpc is None):
            self._add_gateway_endpoints()
        for service in interface_endpoints:
            self._add_interface_endpoint(service)

    @checked
    def security_group(
        self, scope: Construct, construct_id: str, *, description: str, open_outbound: bool
    ) -> ec2.SecurityGroup:
        """Make a group of the scope's in this VPC that admits nothing; `open_outbound` lets its members call out."""
        return ec2.SecurityGroup(
            scope, construct_id, vpc=self.vpc, description=description, allow_all_outbound=open_outbound
        )

    def _make_vpc(
        self, cidr: str, azs: int, nat: Nat, nat_gateways: int, nat_image: ec2.IMachineImage | None
    ) -> ec2.Vpc:
        network = check_cidr(cidr)
        region = cdk.Stack.of(self).region
        if azs > FEWEST_ZONES and region in REGIONS_OF_TWO_ZONES:
            raise ConstructError(self, f"azs={azs}: region {region} has two zones for most accounts", "pass azs=2")
        if nat_image and nat is not Nat.INSTANCE:
            raise ConstructError(self, f"nat_image: nat={nat} starts no instance", "pass nat=Nat.INSTANCE")
        private = ec2.SubnetType.PRIVATE_WITH_EGRESS if nat is not Nat.NONE else ec2.SubnetType.PRIVATE_ISOLATED
        subnets = [
            # Largest first: each block then starts where its size allows, with no gaps between.
            ec2.SubnetConfiguration(name="Private", subnet_type=private, cidr_mask=network.prefixlen + 2),
            ec2.SubnetConfiguration(
                name="Isolated", subnet_type=ec2.SubnetType.PRIVATE_ISOLATED, cidr_mask=ISOLATED_PREFIX
            ),
        ]
        if nat is not Nat.NONE:
            subnets.append(
                ec2.SubnetConfiguration(
                    name="Public",
                    subnet_type=ec2.SubnetType.PUBLIC,
                    cidr_mask=PUBLIC_PREFIX,
                    map_public_ip_on_launch=False,
                )
            )
        instances = ec2.NatProvider.instance_v2(
            instance_type=ec2.InstanceType("t4g.nano"),
            # Found by CloudFormation through a public parameter: synthesis asks nobody.
            machine_image=nat_image or ec2.MachineImage.latest_amazon_linux2023(cpu_type=ec2.AmazonLinuxCpuType.ARM_64),
            default_allowed_traffic=ec2.NatTrafficDirection.OUTBOUND_ONLY,
            associate_public_ip_address=True,
        )
        made = ec2.Vpc(
            self,
            "Vpc",
            ip_addresses=ec2.IpAddresses.cidr(cidr),
            # Asking the stack for zones would make synthesis ask AWS: these are chosen at deployment.
            availability_zones=[cdk.Fn.select(zone, cdk.Fn.get_azs()) for zone in range(azs)],
            # A third zone must not move the subnets of two: the new ones would overlap with the old, and be refused.
            reserved_azs=MOST_ZONES - azs,
            subnet_configuration=subnets,
            nat_gateways=0 if nat is Nat.NONE else nat_gateways or azs,
            nat_gateway_provider=instances if nat is Nat.INSTANCE else None,
            create_internet_gateway=nat is not Nat.NONE,
            # Emptying the default security group takes a custom resource with a function of its own. Nothing uses it.
            restrict_default_security_group=False,
        )
        if nat is Nat.INSTANCE:
            instances.connections.allow_from(ec2.Peer.ipv4(cidr), ec2.Port.HTTPS, "Functions on their way to Stripe")
            for part in made.node.find_all():
                if isinstance(part, ec2.CfnInstance):
                    encrypted = ec2.CfnInstance.EbsProperty(encrypted=True, volume_size=8, volume_type="gp3")
                    part.block_device_mappings = [
                        ec2.CfnInstance.BlockDeviceMappingProperty(device_name="/dev/xvda", ebs=encrypted)
                    ]
            acknowledge(
                made,
                AwsSolutions_EC28="A NAT instance is replaced by hand; minute metrics would cost more than it does.",
                AwsSolutions_EC29="A NAT instance keeps no state: deleting it loses nothing.",
            )
        return made

    def _log_flows(
        self, retention: logs.RetentionDays, key: kms.IKey | None, removal_policy: cdk.RemovalPolicy
    ) -> None:
        group = logs.LogGroup(self, "FlowLogs", retention=retention, encryption_key=key, removal_policy=removal_policy)
        if key:
            let_logs_use(key, group)
        self.vpc.add_flow_log(
            "Flows",
            destination=ec2.FlowLogDestination.to_cloud_watch_logs(group),
            traffic_type=ec2.FlowLogTrafficType.REJECT,
        )

    def _scope_of_endpoints(self) -> Construct:
        # An existing VPC may be shared with other stacks: what is added to it belongs to this construct.
        return self.vpc if isinstance(self.vpc, ec2.Vpc) and self.vpc.node.scope is self else self

    def _add_gateway_endpoints(self) -> None:
        free = ec2.GatewayVpcEndpointAwsService
        for name, service in (("DynamoDb", free.DYNAMODB), ("S3", free.S3)):
            with self._said_by_cdk("private_subnet_route_table_ids", "gateway_endpoints"):
                ec2.GatewayVpcEndpoint(self._scope_of_endpoints(), f"{name}Endpoint", vpc=self.vpc, service=service)

    def _add_interface_endpoint(self, service: str) -> None:
        # Their private names resolve for the whole VPC, so only one of each can exist in it.
        with self._said_by_cdk("vpc_cidr_block", "interface_endpoints"):
            endpoint = ec2.InterfaceVpcEndpoint(
                self._scope_of_endpoints(),
                f"{service.title().replace('-', '').replace('.', '')}Endpoint",
                vpc=self.vpc,
                service=ec2.InterfaceVpcEndpointAwsService(service),
                subnets=ec2.SubnetSelection(subnets=list(self.function_subnets)),
                private_dns_enabled=True,
            )
        acknowledge(endpoint, AwsSolutions_EC23="It admits the VPC's own range, which is known at deployment only.")

    @contextmanager
    def _said_by_cdk(self, attribute: str, prop: str) -> Iterator[None]:
        """Turn CDK's refusal of a VPC that was imported without an attribute into an error of ours."""
        try:
            yield
        except RuntimeError as error:
            said = str(error).partition("\n")[0]
            raise ConstructError(
                self, f"the VPC cannot take the endpoints ({said})", f"import it with {attribute}, or leave {prop} out"
            ) from error


def network_for(
    scope: Construct, topology: Topology, network: CacheNetwork | None, vpc: ec2.IVpc | None
) -> CacheNetwork | None:
    """Return the network of a cache in this topology, made if none was given; raises ConstructError if it cannot be."""
    if topology is not Topology.VPC_VALKEY:
        if network or vpc:
            raise ConstructError(scope, f"topology {topology} uses no VPC", "use vpc-valkey, or pass none")
        return None
    if network and vpc:
        raise ConstructError(scope, "both network and vpc were given", "pass one of them")
    network = network or CacheNetwork(scope, "Network", vpc=vpc)
    if not network.can_reach_stripe:
        raise ConstructError(
            scope,
            f"functions in {network.node.path} cannot reach Stripe, which has IPv4 addresses only",
            "make the network with nat=gateway or nat=instance",
        )
    return network
