"""The roles by which GitHub Actions deploys one stage and compares pull requests with it: once per account, by hand.

cdk deploy --app "python examples/github_roles/app.py" -c stage=dev -c repository=octo-org/stripe-cache

Whoever may deploy one stage may deploy every other one that was bootstrapped under the same `qualifier` in the account:
approvals protect a stage that has an account, or at least a bootstrap, of its own (docs/deploy.md).
"""

import re
import sys

import aws_cdk as cdk
from aws_cdk import aws_iam as iam

# What separates the bootstraps of one account: a role that may deploy by one of them may not deploy by another.
QUALIFIER = re.compile(r"[a-z0-9]{1,10}")
ISSUER = "token.actions.githubusercontent.com"
# Repositories made (or renamed) since 2026-07-15 are named with their ids: octo-org@123456/stripe-cache@456789.
REPOSITORY = re.compile(r"[\w.-]+(@\d+)?/[\w.-]+(@\d+)?")
READS = ("cloudformation:DescribeStacks", "cloudformation:GetTemplate", "cloudformation:ListStackResources")


class GitHubRoles(cdk.Stack):
    """What AWS knows GitHub by, and two roles: each for one GitHub environment of one repository."""

    def __init__(self, app: cdk.App, *, stage: str, repository: str, provider: str, qualifier: str) -> None:
        super().__init__(
            app,
            f"stripe-cache-{stage}-github",
            description="Roles of GitHub Actions",
            synthesizer=cdk.DefaultStackSynthesizer(qualifier=qualifier),
        )
        if not provider:
            provider = iam.CfnOIDCProvider(
                self, "GitHub", url=f"https://{ISSUER}", client_id_list=["sts.amazonaws.com"]
            ).attr_arn
        deploy = self._role("Deploy", provider, f"repo:{repository}:environment:{stage}")
        roles = [f"role/cdk-{qualifier}-{name}-{self.account}-{self.region}" for name in DEPLOYING]
        deploy.add_to_policy(
            iam.PolicyStatement(
                actions=["sts:AssumeRole"], resources=[f"arn:{self.partition}:iam::{self.account}:{r}" for r in roles]
            )
        )
        # CDK's own role for look-ups may read every table of the account: a comparison of templates needs less.
        diff = self._role("Diff", provider, f"repo:{repository}:environment:{stage}-diff")
        stacks = self.format_arn(service="cloudformation", resource="stack", resource_name=f"stripe-cache-{stage}-*")
        diff.add_to_policy(iam.PolicyStatement(actions=list(READS), resources=[stacks]))

    def _role(self, name: str, provider: str, subject: str) -> iam.Role:
        conditions = {"StringEquals": {f"{ISSUER}:aud": "sts.amazonaws.com", f"{ISSUER}:sub": subject}}
        role = iam.Role(
            self,
            name,
            assumed_by=iam.WebIdentityPrincipal(provider, conditions),
            description=subject,
            max_session_duration=cdk.Duration.hours(1),
        )
        cdk.CfnOutput(self, f"{name}Role", value=role.role_arn, description=f"AWS_{name.upper()}_ROLE of {subject}")
        return role


DEPLOYING = ("deploy-role", "file-publishing-role", "lookup-role")

app = cdk.App()
given = {name: app.node.try_get_context(name) or "" for name in ("stage", "repository", "provider", "qualifier")}
given["qualifier"] = given["qualifier"] or cdk.DefaultStackSynthesizer.DEFAULT_QUALIFIER
if not given["stage"] or not REPOSITORY.fullmatch(given["repository"]):
    sys.exit("pass -c stage=dev -c repository=owner/name (or owner@id/name@id, see docs/deploy.md)")
if not QUALIFIER.fullmatch(given["qualifier"]):
    sys.exit("pass -c qualifier=... as to cdk bootstrap: at most 10 lower-case letters and digits")
GitHubRoles(app, **given)
app.synth()
