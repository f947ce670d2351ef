"""The one Lambda function of this house: how every function here is built, logged, traced and bounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs

from stripe_cache_cdk.checks import check_enum, check_range
from stripe_cache_cdk.config import DEFAULT_PYTHON, PYTHONS, Architecture
from stripe_cache_cdk.constructs.bundled_code import explains_bundling
from stripe_cache_cdk.constructs.bundling import Bundle
from stripe_cache_cdk.constructs.dead_letters import dead_letter_queue
from stripe_cache_cdk.constructs.key_access import encrypted_logs
from stripe_cache_cdk.constructs.nag import acknowledge, acknowledge_finding
from stripe_cache_cdk.constructs.network_interfaces import allow_interfaces
from stripe_cache_cdk.constructs.props import check_fields, check_kind, checked
from stripe_cache_cdk.constructs.snap_start import check_snap_start
from stripe_cache_cdk.constructs.stack_order import refers
from stripe_cache_cdk.constructs.wheels import EXTRAS
from stripe_cache_cdk.errors import StageError, naming

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from aws_cdk import aws_kms as kms
    from aws_cdk import aws_sqs as sqs
    from constructs import Construct

LIVE = "live"
"""The alias that event sources call when a function starts from a snapshot."""
HANDLERS = {
    "webhook": "stripe_cache.handlers.webhook.handler",
    "entitlements": "stripe_cache.handlers.entitlements.handler",
    "invalidations": "stripe_cache.handlers.invalidations.handler",
    "reconcile": "stripe_cache.handlers.reconcile.handler",
    "refresh": "stripe_cache.handlers.refresh.handler",
}
PROCESSORS = {
    Architecture.ARM64: lambda_.Architecture.ARM_64,
    Architecture.X86_64: lambda_.Architecture.X86_64,
}
PLACEMENT = {
    "vpc": "ec2.IVpc | None",
    "vpc_subnets": "ec2.SubnetSelection | None",
    "security_groups": "Sequence[ec2.ISecurityGroup] | None",
}
"""What is passed on to `aws_lambda.Function`, and of which type it must be."""


@dataclass(frozen=True, kw_only=True)
class FunctionOptions:
    """What all functions of one cache have in common: how they are built and how long their logs are kept.

    `extras` of the package stripe-cache go into the zip: `encryption` brings what sealing entries with a KMS key needs.
    `log_key` encrypts the logs of functions and APIs in place of CloudWatch's own key, which no other key given to a
    cache does; the policy of an imported one must let CloudWatch Logs use it already, and synthesis says what it must
    say. Raises StageError for what cannot be.
    """

    python: str = DEFAULT_PYTHON
    architecture: Architecture = Architecture.ARM64
    log_retention: logs.RetentionDays = logs.RetentionDays.ONE_MONTH
    snap_start: bool = False
    extras: tuple[str, ...] = ()
    log_key: kms.IKey | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        check_enum("architecture", self.architecture, Architecture)
        for name, given, known in (("python", (self.python,), PYTHONS), ("extras", self.extras, EXTRAS)):
            for one in given:
                if one not in known:
                    raise StageError(f"{name}={one!r} is unknown: choose of {', '.join(known)}")


class RuntimeFunction(lambda_.Function):
    """A function that carries the runtime, and the caller's `sources` folders beside it.

    Defaults: arm64, Python 3.13, 512 MB, 10 s, logs as JSON kept 30 days, traced by X-Ray, no reserved concurrency, no
    SnapStart. A `vital` function is one whose failure breaks a promise of the cache: monitoring rings at its first
    error, and not at a share of errors. `requirements` is a lock file with hashes that replaces the runtime's own and
    must contain it. Event sources call `invoked`: the function itself, or with SnapStart the alias of its newest
    version. `vpc_placement` is passed on to `aws_lambda.Function` (`vpc`, `vpc_subnets`, `security_groups`).
    """

    @explains_bundling
    @checked
    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        handler: str,
        description: str = "",
        memory_mb: int = 512,
        timeout: cdk.Duration | None = None,
        reserved_concurrency: int | None = None,
        environment: Mapping[str, str] | None = None,
        sources: Sequence[Path] = (),
        requirements: Path | None = None,
        vital: bool = False,
        options: FunctionOptions | None = None,
        **vpc_placement: Any,
    ) -> None:
        options = options or FunctionOptions()
        timeout = timeout or cdk.Duration.seconds(10)
        with naming(scope, construct_id):
            for name in PLACEMENT.keys() & vpc_placement:
                check_kind(name, vpc_placement[name], PLACEMENT[name])
            _check_bounds("memory_mb", memory_mb, 128, 10_240, "MB")
            _check_bounds("reserved_concurrency", reserved_concurrency or 0, 0, 1_000_000, "sandboxes")
            if not timeout.is_unresolved():
                _check_bounds("timeout", timeout.to_seconds(integral=False), 1, 900, "seconds")
            for folder in sources:
                if not folder.is_dir():
                    raise StageError(f"sources={str(folder)!r} is no folder: give existing ones")
            if requirements and not requirements.is_file():
                raise StageError(f"requirements={str(requirements)!r} is no file: give a lock file with hashes")
            if options.snap_start:
                check_snap_start(options.python, vpc_placement)
        bundle = Bundle(
            python=options.python,
            architecture=options.architecture,
            requirements=requirements,
            extras=options.extras,
            sources=tuple(map(_resolved, sources)),
        )
        log_group = encrypted_logs(
            scope, f"{construct_id}Logs", retention=options.log_retention, encryption_key=options.log_key
        )
        # The role that CDK would make may write to every log group of the account; this one to its own.
        role = iam.Role(
            scope,
            f"{construct_id}Role",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            description=description,
        )
        log_group.grant_write(role)
        super().__init__(
            scope,
            construct_id,
            code=bundle.code(),
            handler=handler,
            description=description or None,
            runtime=lambda_.Runtime(f"python{options.python}", lambda_.RuntimeFamily.PYTHON, supports_snap_start=True),
            architecture=PROCESSORS[options.architecture],
            memory_size=memory_mb,
            timeout=timeout,
            reserved_concurrent_executions=reserved_concurrency,
            environment=dict(environment or {}),
            log_group=log_group,
            role=role,
            logging_format=lambda_.LoggingFormat.JSON,
            tracing=lambda_.Tracing.ACTIVE,
            snap_start=lambda_.SnapStartConf.ON_PUBLISHED_VERSIONS if options.snap_start else None,
            **vpc_placement,
        )
        refers(self, log_key=options.log_key)
        if self.is_bound_to_vpc:
            allow_interfaces(self)
        self.vital = vital
        self.failed_calls: sqs.Queue | None = None
        # Publishing is what makes the snapshot, so only a version can start from one.
        self.invoked: lambda_.IFunction = (
            lambda_.Alias(self, "Live", alias_name=LIVE, version=self.current_version) if options.snap_start else self
        )
        if options.snap_start:
            # CDK warns of every such function, because it cannot know whether one without a version is called.
            cdk.Annotations.of(self).acknowledge_warning(
                "@aws-cdk/aws-lambda:snapStartRequirePublish", "Event sources call `invoked`, an alias of a version."
            )
        if not bundle.compiles and cdk.Stack.of(self).bundling_required:
            cdk.Annotations.of(self).add_warning_v2(
                "stripe-cache:noByteCode",
                f"no Python {options.python} on PATH, in uv or in pyenv: bundled without byte code, cold starts take 3 "
                f"times as long. Install it, for example with `uv python install {options.python}`.",
            )
        self._explain_findings()

    def keep_failed_calls(self, *, retries: int, oldest: cdk.Duration) -> sqs.Queue:
        """Return the encrypted queue that keeps what failed of the calls nobody waits for, with Lambda's reason.

        SQS's own key encrypts it, whatever key the cache has: it holds the payload of a schedule and no data of Stripe.
        Lambda tries `retries` times more (0 to 2) while the call is younger than `oldest` (1 minute to 6 hours). A
        function has one such queue: the first caller says how often and how long.
        """
        if self.failed_calls is not None:
            return self.failed_calls
        queue = self.failed_calls = dead_letter_queue(self, "FailedCalls")
        granted = iam.Grant.add_to_principal(grantee=self, actions=["sqs:SendMessage"], resource_arns=[queue.queue_arn])
        invoked = lambda_.CfnEventInvokeConfig(
            self,
            "Asynchronous",
            function_name=self.function_name,
            qualifier="$LATEST" if self.invoked is self else LIVE,
            maximum_retry_attempts=retries,
            maximum_event_age_in_seconds=oldest.to_seconds(),
            destination_config=lambda_.CfnEventInvokeConfig.DestinationConfigProperty(
                on_failure=lambda_.CfnEventInvokeConfig.OnFailureProperty(destination=queue.queue_arn)
            ),
        )
        # Lambda refuses a destination that the role may not send to yet, and a qualifier that is not there yet.
        granted.apply_before(invoked)
        if self.invoked is not self:
            invoked.node.add_dependency(self.invoked)
        return queue

    def _explain_findings(self) -> None:
        newest = "Byte code needs this very version where the zip is made; the default is one that is usually there."
        acknowledge(self, AwsSolutions_L1=newest, Serverless_LambdaLatestVersion=newest)
        if self.role:
            acknowledge_finding(
                self.role, "AwsSolutions-IAM5[Resource::*]", "X-Ray's actions name no resource: AWS defines none."
            )
        acknowledge(
            self,
            Serverless_LambdaDLQ="A caller waits for its answer, or the queue it reads keeps what fails. A schedule "
            "gives it an on-failure destination, which unlike a dead-letter queue is told the reason.",
        )


def _check_bounds(name: str, value: float, low: int, high: int, unit: str) -> None:
    # What is known at deployment only, CloudFormation or Lambda refuses then.
    if not cdk.Token.is_unresolved(value):
        check_range(name, value, low, high, unit)


def _resolved(folder: Path) -> Path:
    return folder.resolve()
