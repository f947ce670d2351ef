"""The example that makes the roles of GitHub Actions: whom they trust, and what they may do."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from synthesis import ROOT, resources

from local.moto_server import MotoServer

if TYPE_CHECKING:
    from pathlib import Path


def roles(folder: Path, **context: str) -> dict[str, Any]:
    ended = subprocess.run(
        [sys.executable, ROOT / "examples" / "github_roles" / "app.py"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "CDK_OUTDIR": str(folder), "CDK_CONTEXT_JSON": json.dumps(context)},
    )
    assert ended.returncode == 0, ended.stderr[-500:]
    (path,) = folder.glob("*.template.json")
    template: dict[str, Any] = json.loads(path.read_text())
    return template


def test_the_roles_are_for_one_environment_of_one_repository(tmp_path: Path) -> None:
    template = roles(tmp_path, stage="dev", repository="octo-org@12/stripe-cache@34")
    made = resources(template, "AWS::IAM::Role")
    trusted = {}
    for name, role in made.items():
        (statement,) = role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
        (operator,) = statement["Condition"]
        assert operator == "StringEquals"
        trusted[name.rstrip("0123456789ABCDEF")] = statement["Condition"][operator]
    issuer = "token.actions.githubusercontent.com"
    assert trusted == {
        name: {
            f"{issuer}:aud": "sts.amazonaws.com",
            f"{issuer}:sub": f"repo:octo-org@12/stripe-cache@34:environment:{environment}",
        }
        for name, environment in (("Deploy", "dev"), ("Diff", "dev-diff"))
    }
    actions = {
        name.partition("DefaultPolicy")[0]: statement["Action"]
        for name, policy in resources(template, "AWS::IAM::Policy").items()
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if statement["Resource"] != "*"
    }
    assert actions["Deploy"] == "sts:AssumeRole"
    assert {one.split(":")[1][:4] for one in actions["Diff"]} == {"Desc", "GetT", "List"}
    assert not [role for role in made.values() if "ManagedPolicyArns" in role["Properties"]]


def test_the_command_of_the_documents_makes_them(tmp_path: Path) -> None:
    document = (ROOT / "docs" / "deploy.md").read_text()
    command = 'cdk deploy --app "python examples/github_roles/app.py" -c stage=dev -c repository=octo-org/stripe-cache'
    assert f"\n{command}\n" in document
    with MotoServer() as server:
        programs = [ROOT / ".venv" / "bin", ROOT / "node_modules" / ".bin"]
        env = {
            **os.environ,
            **server.environment,
            "PATH": f"{os.pathsep.join(map(str, programs))}:{os.environ['PATH']}",
        }
        for line in ("cdk bootstrap aws://123456789012/us-east-1", f"{command} --require-approval never"):
            ended = subprocess.run(
                [*shlex.split(line), "--output", str(tmp_path), "--ci"],
                cwd=tmp_path if "bootstrap" in line else ROOT,
                env=env,
                capture_output=True,
                text=True,
                check=False,
            )
            assert ended.returncode == 0, ended.stdout[-2_000:]
        client = server.client("iam")
        (provider,) = client.list_open_id_connect_providers()["OpenIDConnectProviderList"]
        assert provider["Arn"].endswith("/token.actions.githubusercontent.com")
        names = [role["RoleName"] for role in client.list_roles()["Roles"]]
        assert len([name for name in names if name.startswith("stripe-cache-dev-github-")]) == 2


def test_a_bootstrap_of_the_stages_own_is_the_only_one_it_may_deploy_by(tmp_path: Path) -> None:
    template = roles(tmp_path, stage="prod", repository="octo-org/stripe-cache", qualifier="stripeprod")
    (assumed,) = [
        statement["Resource"]
        for policy in resources(template, "AWS::IAM::Policy").values()
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if statement["Action"] == "sts:AssumeRole"
    ]
    assert len(assumed) == 3
    assert all("role/cdk-stripeprod-" in json.dumps(role) for role in assumed)


@pytest.mark.parametrize("qualifier", ["Prod", "*", "stripe-cache", "a" * 11])
def test_a_qualifier_that_cdk_would_not_take_is_refused(qualifier: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="pass -c qualifier="):
        roles(tmp_path, stage="dev", repository="octo-org/stripe-cache", qualifier=qualifier)


def test_an_account_that_knows_github_already_keeps_its_provider(tmp_path: Path) -> None:
    known = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"
    template = roles(tmp_path, stage="dev", repository="octo-org/stripe-cache", provider=known)
    assert not resources(template, "AWS::IAM::OIDCProvider")
    assert json.dumps(template).count(known) == 2


@pytest.mark.parametrize("repository", ["", "stripe-cache", "octo-org/*", "octo-org/a:environment:prod"])
def test_a_repository_that_is_none_is_refused(repository: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="pass -c stage=dev -c repository=owner/name"):
        roles(tmp_path, stage="dev", repository=repository)
