"""The one Lambda function of this house: how every function here is built, logged, traced and bounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs

from stripe_cache_cdk.checks import check_enum
from stripe_cache_cdk.config import PYTHONS, Architecture
from stripe_cache_cdk.constructs.bundling import Bundle
from stripe_cache_cdk.constructs.nag import acknowledge, acknowledge_finding
from stripe_cache_cdk.errors import ConstructError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from aws_cdk import aws_sqs as sqs
    from constructs import Construct

HANDLERS = {
    "webhook": "stripe_cache.handlers.webhook.handler",
    "entitlements": "stripe_cache.handlers.entitlements.handler",
    "invalidations": "stripe_cache.handlers.invalidations.handler",
    "reconcile": "stripe_cache.handlers.reconcile.handler",
}
PROCESSORS = {
    Architecture.ARM64: lambda_.Architecture.ARM_64,
    Architecture.X86_64: lambda_.Architecture.X86_64,
}


@dataclass(frozen=True, kw_only=True)
class FunctionOptions:
    """What all functions of one cache have in common: how they are built and how long their logs are kept."""

    python: str = "3.13"
    architecture: Architecture = Architecture.ARM64
    log_retention: logs.RetentionDays = logs.RetentionDays.ONE_MONTH
    snap_start: bool = False


class RuntimeFunction(lambda_.Function):
    """A function that carries the runtime, and the caller's `sources` folders beside it.

    Defaults: arm64, Python 3.13, 512 MB, 10 s, logs as JSON kept 30 days, traced by X-Ray, no reserved concurrency, no
    SnapStart. `requirements` is a lock file with hashes that replaces the runtime's own and must contain it. Event
    sources call `invoked`: the function itself, or with SnapStart the alias of its newest version. `vpc_placement` is
    passed on to `aws_lambda.Function` (`vpc`, `vpc_subnets`, `security_groups`).
    """

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
        dead_letter_queue: sqs.IQueue | None = None,
        options: FunctionOptions | None = None,
        **vpc_placement: Any,
    ) -> None:
        options = options or FunctionOptions()
        python = options.python
        if python not in PYTHONS:
            raise ConstructError(scope, f"{construct_id}: python={python!r}", f"choose one of {', '.join(PYTHONS)}")
        missing = [str(folder) for folder in sources if not folder.is_dir()]
        if missing:
            raise ConstructError(scope, f"{construct_id}: no folder {', '.join(missing)}", "pass existing sources")
        architecture = check_enum("architecture", options.architecture, Architecture)
        bundle = Bundle(
            python=python, architecture=architecture, requirements=requirements, sources=tuple(map(_resolved, sources))
        )
        log_group = logs.LogGroup(
            scope,
            f"{construct_id}Logs",
            retention=options.log_retention,
            removal_policy=cdk.RemovalPolicy.DESTROY,
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
            runtime=lambda_.Runtime(f"python{python}", lambda_.RuntimeFamily.PYTHON, supports_snap_start=True),
            architecture=PROCESSORS[architecture],
            memory_size=memory_mb,
            timeout=timeout or cdk.Duration.seconds(10),
            reserved_concurrent_executions=reserved_concurrency,
            environment=dict(environment or {}),
            dead_letter_queue=dead_letter_queue,
            log_group=log_group,
            role=role,
            logging_format=lambda_.LoggingFormat.JSON,
            tracing=lambda_.Tracing.ACTIVE,
            snap_start=lambda_.SnapStartConf.ON_PUBLISHED_VERSIONS if options.snap_start else None,
            **vpc_placement,
        )
        # Publishing is what makes the snapshot, so only a version can start from one.
        self.invoked: lambda_.IFunction = (
            lambda_.Alias(self, "Live", alias_name="live", version=self.current_version) if options.snap_start else self
        )
        if not bundle.compiles and cdk.Stack.of(self).bundling_required:
            cdk.Annotations.of(self).add_warning_v2(
                "stripe-cache:noByteCode",
                f"no Python {python} on PATH, in uv or in pyenv: bundled without byte code, cold starts take 3 times "
                f"as long. Install it, for example with `uv python install {python}`.",
            )
        self._explain_findings(has_dead_letters=dead_letter_queue is not None)

    def _explain_findings(self, *, has_dead_letters: bool) -> None:
        newest = "Byte code needs this very version where the zip is made; the default is one that is usually there."
        acknowledge(self, AwsSolutions_L1=newest, Serverless_LambdaLatestVersion=newest)
        if self.role:
            acknowledge_finding(
                self.role, "AwsSolutions-IAM5[Resource::*]", "X-Ray's actions name no resource: AWS defines none."
            )
        if not has_dead_letters:
            acknowledge(self, Serverless_LambdaDLQ="Called synchronously or by a queue, which keeps what fails.")


def _resolved(folder: Path) -> Path:
    return folder.resolve()
