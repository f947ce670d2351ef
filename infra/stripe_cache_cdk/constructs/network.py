"""The VPC of topology vpc-valkey: functions in private subnets, the cache in isolated ones, a way out to Stripe."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_logs as logs
from constructs import Construct

from stripe_cache_cdk.checks import check_cidr
from stripe_cache_cdk.config import Nat
from stripe_cache_cdk.constructs.nag import acknowledge
from stripe_cache_cdk.errors import ConstructError, StageError

if TYPE_CHECKING:
    from collections.abc import Sequence

LARGEST_VPC_AZS = 3
PUBLIC_PREFIX = 28  # NAT gateways only.
ISOLATED_PREFIX = 27  # The cache's endpoints only.


class CacheNetwork(Construct):
    """A VPC of 2 or 3 availability zones, or the parts of one you have.

    `cidr` is the VPC's range, /16 to /22. `nat` says how private subnets reach the internet: gateways (`nat_gateways`
    of them, 0 for one per zone), t4g.nano instances, or not at all; the default is gateways. `vpc` takes an existing
    VPC instead of all that. `interface_endpoints` are services such as `secretsmanager`, each about 7.30 USD a month
    and zone. DynamoDB and S3 are always reached through gateway endpoints, which are free. Nothing here admits traffic
    from the internet.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        vpc: ec2.IVpc | None = None,
        cidr: str = "10.20.0.0/20",
        azs: int = 2,
        nat: Nat = Nat.GATEWAY,
        nat_gateways: int = 0,
        interface_endpoints: Sequence[str] = (),
        flow_logs: bool = True,
        log_retention: logs.RetentionDays = logs.RetentionDays.ONE_MONTH,
    ) -> None:
        super().__init__(scope, construct_id)
        self.can_reach_stripe = vpc is not None or nat is not Nat.NONE
        if vpc is None:
            self.vpc: ec2.IVpc = self._make_vpc(cidr, azs, nat, nat_gateways)
            free = ec2.GatewayVpcEndpointAwsService
            for name, gateway in (("DynamoDb", free.DYNAMODB), ("S3", free.S3)):
                self.vpc.add_gateway_endpoint(f"{name}Endpoint", service=gateway)
            if flow_logs:
                self._log_flows(log_retention)
            self.function_subnets = self.vpc.select_subnets(subnet_group_name="Private").subnets
            self.cache_subnets = self.vpc.select_subnets(subnet_group_name="Isolated").subnets
        else:
            self.vpc = vpc
            self.function_subnets = self._private_subnets()
            self.cache_subnets = vpc.isolated_subnets or self.function_subnets
        for service in interface_endpoints:
            self._add_interface_endpoint(service)

    def security_group(self, construct_id: str, *, description: str, open_outbound: bool) -> ec2.SecurityGroup:
        """Make a group in this VPC that admits nothing; `open_outbound` lets its members call out."""
        return ec2.SecurityGroup(
            self, construct_id, vpc=self.vpc, description=description, allow_all_outbound=open_outbound
        )

    def _make_vpc(self, cidr: str, azs: int, nat: Nat, nat_gateways: int) -> ec2.Vpc:
        try:
            network = check_cidr(cidr)
        except StageError as error:
            raise ConstructError(self, str(error), "pass another cidr") from error
        if not 1 < azs <= LARGEST_VPC_AZS:
            raise ConstructError(
                self, f"azs={azs} is neither 2 nor 3", "a cache needs two zones and gains none from four"
            )
        if not 0 <= nat_gateways <= azs:
            raise ConstructError(self, f"nat_gateways={nat_gateways} of {azs} zones", f"pass 0 (one each) to {azs}")
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
            machine_image=ec2.MachineImage.latest_amazon_linux2023(cpu_type=ec2.AmazonLinuxCpuType.ARM_64),
            default_allowed_traffic=ec2.NatTrafficDirection.OUTBOUND_ONLY,
            associate_public_ip_address=True,
        )
        made = ec2.Vpc(
            self,
            "Vpc",
            ip_addresses=ec2.IpAddresses.cidr(cidr),
            # Asking the stack for zones would make synthesis ask AWS: these are chosen at deployment.
            availability_zones=[cdk.Fn.select(zone, cdk.Fn.get_azs()) for zone in range(azs)],
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

    def _log_flows(self, retention: logs.RetentionDays) -> None:
        group = logs.LogGroup(self, "FlowLogs", retention=retention, removal_policy=cdk.RemovalPolicy.DESTROY)
        self.vpc.add_flow_log(
            "Flows",
            destination=ec2.FlowLogDestination.to_cloud_watch_logs(group),
            traffic_type=ec2.FlowLogTrafficType.REJECT,
        )

    def _private_subnets(self) -> list[ec2.ISubnet]:
        if self.vpc.private_subnets:
            return self.vpc.private_subnets
        raise ConstructError(
            self,
            "the VPC has no private subnet with a way out, and Stripe is reached over the internet",
            "pass a VPC whose private subnets route to a NAT, or use topology public-valkey or dynamodb-only",
        )

    def _add_interface_endpoint(self, service: str) -> None:
        self.vpc.add_interface_endpoint(
            f"{service.title().replace('-', '').replace('.', '')}Endpoint",
            service=ec2.InterfaceVpcEndpointAwsService(service),
            subnets=ec2.SubnetSelection(subnets=list(self.function_subnets)),
            private_dns_enabled=True,
        )
