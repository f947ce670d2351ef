"""Deploy a stage with the real CDK CLI into a moto server, and look at what is there: `make deploy-local`.

Proves that the templates are accepted and wired by more than a reader's eye: the CLI bootstraps, publishes the zip to a
bucket and executes change sets. It proves nothing about IAM or limits, which moto does not enforce.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local.moto_server import MotoServer
from local.moto_types import ACCOUNT, REGION

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class DeployedFunction:
    """A function as it was deployed: its definition by the Lambda API, and the zip in the bucket of the bootstrap."""

    definition: Mapping[str, Any]
    package: bytes

    @property
    def handler(self) -> str:
        """The handler, `module.function`."""
        return str(self.definition["Handler"])

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables of its definition."""
        return dict(self.definition.get("Environment", {}).get("Variables", {}))

    def unpack(self, folder: Path) -> Path:
        """Unpack the zip into the folder and return it."""
        with zipfile.ZipFile(io.BytesIO(self.package)) as archive:
            archive.extractall(folder)
        return folder


def deploy(server: MotoServer, output: Path, **context: str) -> None:
    """Bootstrap the account and deploy all stacks of a stage; raises CalledProcessError with the CLI's words.

    `context` is passed on as `-c name=value`; `output`, an existing folder, receives the cloud assembly; one
    that was used before spares bundling the same package again.
    """
    given = [part for name, value in context.items() for part in ("-c", f"{name}={value}")]
    # Where there is no cdk.json, bootstrapping does not synthesize the app first.
    _cdk(server, output, "bootstrap", f"aws://{ACCOUNT}/{REGION}")
    _cdk(server, ROOT, "deploy", "--all", "--require-approval", "never", *given, "--output", str(output))


def deployed_functions(server: MotoServer, output: Path) -> dict[str, DeployedFunction]:
    """Return the deployed functions by handler, each with the zip that its template names."""
    where: dict[str, str] = {}
    for path in output.glob("*.template.json"):
        for resource in json.loads(path.read_text()).get("Resources", {}).values():
            if resource["Type"] == "AWS::Lambda::Function":
                where[resource["Properties"]["Handler"]] = resource["Properties"]["Code"]["S3Key"]
    bucket = f"cdk-hnb659fds-assets-{ACCOUNT}-{REGION}"
    storage = server.client("s3")
    return {
        definition["Handler"]: DeployedFunction(
            definition, storage.get_object(Bucket=bucket, Key=where[definition["Handler"]])["Body"].read()
        )
        for definition in server.client("lambda").list_functions()["Functions"]
    }


def main(arguments: list[str] | None = None) -> int:
    """Deploy, print what there is, and leave nothing behind."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--stage", default="dev")
    parser.add_argument("--topology", default="dynamodb-only")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, MotoServer() as server:
        try:
            deploy(server, Path(folder), stage=options.stage, topology=options.topology)
        except subprocess.CalledProcessError as error:
            print(f"{error.stdout}\ndeploy-local: `cdk {error.cmd[1]}` failed with exit code {error.returncode}")
            return 1
        for stack in server.client("cloudformation").describe_stacks()["Stacks"]:
            print(f"{stack['StackName']:<32} {stack['StackStatus']}")
            for output in stack.get("Outputs", []):
                if output.get("Description"):
                    print(f"    {output['OutputKey']:<16} {output['OutputValue']}")
    return 0


def _cdk(server: MotoServer, folder: Path, *arguments: str) -> None:
    # The CLI starts `node` and `python3` by name.
    programs = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    subprocess.run(
        [ROOT / "node_modules" / ".bin" / "cdk", *arguments, "--no-notices", "--ci"],
        check=True,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **server.environment, "PATH": os.pathsep.join(programs)},
    )


if __name__ == "__main__":
    sys.exit(main())
