"""A moto server on which this project's stacks deploy with the real CDK CLI, on loopback.

moto skips the CloudFormation types it does not know, with a warning that nobody sees, and fails whatever refers to
them. Here each skipped type that the stacks use is made through moto's own API of that service, so that boto3 shows
afterwards what was deployed. What moto has no service for (serverless caches, user groups) only answers references.

Run it by itself with `python -m local.moto_server`, or inside `with MotoServer() as server:`. Limits: no update of
these types in place, and `cdk destroy` leaves them behind; stop the server instead.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import logging
import os
import signal
import subprocess
import sys
import traceback
from typing import TYPE_CHECKING, Any

from local.moto_types import REGION, TYPES, Made, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType
    from typing import Self

# The bootstrap stack has a bucket policy, which nothing here depends on.
IGNORED = ("AWS::S3::BucketPolicy",)
ANYBODY = "testing"  # moto lets any credentials in.


class MotoServer:
    """The server as a process of its own, ready when entered, ended when left.

    `redis` is the host and port that serverless caches claim to be at. Clients must use `url` as it is: moto finds
    CloudFormation templates in its S3 only when the host is called localhost.
    """

    def __init__(self, *, redis: str = "127.0.0.1:6379") -> None:
        self._redis = redis
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    @property
    def environment(self) -> dict[str, str]:
        """What a program must be told to talk to this server instead of AWS."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": ANYBODY,
            "AWS_SECRET_ACCESS_KEY": ANYBODY,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
        }

    def client(self, service: str) -> Any:
        """Return a boto3 client of this server."""
        return _client(service, self.url)

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __spec__.name if __spec__ else __name__, "--redis", self._redis],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        self.url = self._process.stdout.readline().strip() if self._process.stdout else ""
        if not self.url:
            self.__exit__()
            raise RuntimeError("the moto server ended before it was ready; its errors are above")
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait(20)
            if self._process.stdout:
                self._process.stdout.close()


def main(arguments: list[str] | None = None) -> int:
    """Serve until terminated; print the URL when ready."""
    parser = argparse.ArgumentParser(description="AWS, as far as deploying this project needs it, on loopback")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--redis", default="127.0.0.1:6379", help="where serverless caches claim to be")
    options = parser.parse_args(arguments)
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=options.port, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    _teach_moto(f"http://127.0.0.1:{port}", options.redis)
    with _until_terminated():
        print(f"http://localhost:{port}", flush=True)
        signal.pause()
    server.stop()
    return 0


def _teach_moto(url: str, redis: str) -> None:
    """Add the types, the intrinsic function of weak cross-stack references, and two properties that moto drops."""
    from moto.awslambda.models import LambdaFunction
    from moto.cloudformation import parsing
    from moto.cloudformation.exceptions import ValidationError
    from moto.cloudformation.models import ChangeSet
    from moto.core.common_models import CloudFormationModel
    from moto.kms.models import Key

    for name, (service, make) in TYPES.items():
        _model(CloudFormationModel, name, service, functools.partial(_make, make, url, redis))
    parsing.get_model_list.cache_clear()
    parsing.get_model_map.cache_clear()
    parsing.get_name_type_map.cache_clear()

    moto_clean_json, moto_class, moto_apply = parsing.clean_json, parsing.resource_class_from_type, ChangeSet.apply

    def clean_json(value: Any, resources: Any) -> Any:
        if isinstance(value, dict) and "Fn::GetStackOutput" in value:
            return _stack_output(url, **value["Fn::GetStackOutput"])
        return moto_clean_json(value, resources)

    def known_class(kind: str) -> Any:
        found = moto_class(kind)
        if found is None and kind not in (*parsing.NULL_MODELS, *IGNORED):
            raise NotImplementedError(f"neither moto nor local/moto_types.py makes {kind}")
        return found

    def apply(self: Any) -> None:
        try:
            moto_apply(self)
        except Exception as error:
            traceback.print_exc()
            # Anything else becomes a 500, which the CDK CLI repeats, and the second time moto finds nothing left to do.
            raise ValidationError(self.stack_name, message=f"{type(error).__name__}: {error}") from error
        self.stack.template = self.template
        self.stack._parse_template()  # noqa: SLF001  # moto does both for updates, and for change sets neither.
        self.stack.output_map = self.stack._create_output_map()  # noqa: SLF001  # As above.

    patched: Any = parsing
    patched.clean_json, patched.resource_class_from_type = clean_json, known_class
    change_set: Any = ChangeSet
    change_set.apply = apply

    def keep_what_moto_drops(function: Any, properties: dict[str, Any]) -> None:
        function.architectures = properties.get("Architectures", ["x86_64"])
        function.tracing_config = properties.get("TracingConfig", {"Mode": "PassThrough"})

    def say_tags_as_kms_does(properties: dict[str, Any]) -> None:
        tags = properties.get("Tags", [])
        properties["Tags"] = [{"TagKey": tag["Key"], "TagValue": tag["Value"]} for tag in tags]

    _adjust(LambdaFunction, after=keep_what_moto_drops)
    _adjust(Key, before=say_tags_as_kms_does)


def _adjust(
    model: Any,
    *,
    before: Callable[[dict[str, Any]], None] = lambda _properties: None,
    after: Callable[[Any, dict[str, Any]], None] = lambda _made, _properties: None,
) -> None:
    """Wrap how moto makes a type that it knows."""
    moto_create = model.create_from_cloudformation_json.__func__

    def create(cls: Any, name: str, template: dict[str, Any], *where: Any, **more: Any) -> Any:
        before(template["Properties"])
        made = moto_create(cls, name, template, *where, **more)
        after(made, template["Properties"])
        return made

    model.create_from_cloudformation_json = classmethod(create)


def _model(base: type, kind: str, service: str, make: Callable[[str, dict[str, Any]], Made]) -> type:
    """Return a class by which moto knows a type; moto finds it among the subclasses of the base."""

    def create(_cls: type, name: str, template: dict[str, Any], *_where: Any, **_more: Any) -> Any:
        made = make(name, template.get("Properties", {}))
        resource = model()
        resource.made = made
        return resource

    members = {
        # moto keeps its records by the second word of the module.
        "__module__": f"moto.{service}.models",
        "cloudformation_name_type": staticmethod(lambda: ""),
        "cloudformation_type": staticmethod(lambda: kind),
        "has_cfn_attr": classmethod(lambda _cls, _attribute: True),
        "create_from_cloudformation_json": classmethod(create),
        "physical_resource_id": property(lambda self: self.made.ref),
        "get_cfn_attribute": lambda self, attribute: self.made.attributes[attribute],
        "is_created": lambda _self: True,
    }
    model = type(kind.replace("::", ""), (base,), members)
    return model


def _make(make: Callable[[Request], Made], url: str, redis: str, name: str, properties: dict[str, Any]) -> Made:
    return make(Request(name, properties, functools.partial(_client, url=url), redis))


def _stack_output(url: str, *, StackName: str, OutputName: str, **_where: Any) -> str:  # noqa: N803  # CloudFormation's.
    (stack,) = _client("cloudformation", url).describe_stacks(StackName=StackName)["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    value: str = outputs[OutputName]
    return value


@functools.cache
def _client(service: str, url: str) -> Any:
    import boto3

    return boto3.client(
        service, endpoint_url=url, region_name=REGION, aws_access_key_id=ANYBODY, aws_secret_access_key=ANYBODY
    )


@contextlib.contextmanager
def _until_terminated() -> Iterator[None]:
    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    with contextlib.suppress(KeyboardInterrupt):
        yield


if __name__ == "__main__":
    sys.exit(main())
