"""Hold callers to the types of a construct's props, with an error that names the prop, the value and the remedy.

What is written as a type is what is checked: a prop that nobody checks cannot be added. Without this, a wrong type is
found somewhere inside CDK, which knows neither the prop nor the construct. Types are looked up as they are written,
since most of them are imported for the type checker only; one that is not in the table stops the import.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import aws_cdk as cdk
from aws_cdk import aws_logs as logs
from constructs import Construct

from stripe_cache_cdk.errors import StageError, naming

Made = TypeVar("Made", bound="Callable[..., Any]")
PLACE = ("self", "scope", "construct_id")


@dataclasses.dataclass(frozen=True)
class Kind:
    """Whether a value is of a type, and what completes the sentence `give ...` where it is not."""

    fits: Callable[[Any], bool]
    remedy: str


def checked(make: Made) -> Made:
    """Wrap a method of a construct: ConstructError, with the construct's path, for an argument of another type.

    In a constructor the construct is not there yet, and is named by where it would be.
    """
    signature = inspect.signature(make)
    kinds = {
        name: kinds_of(parameter.annotation)
        for name, parameter in signature.parameters.items()
        if name not in PLACE and parameter.kind is not inspect.Parameter.VAR_KEYWORD
    }

    @functools.wraps(make)
    def wrapper(self: Any, *args: Any, **options: Any) -> Any:
        given = signature.bind_partial(self, *args, **options).arguments
        wrong = [name for name in kinds if name in given and not _fits(given[name], kinds[name])]
        if wrong:
            with naming(given.get("scope", self), given.get("construct_id", "")):
                raise _refusal(wrong[0], given[wrong[0]], kinds[wrong[0]])
        return make(self, *args, **options)

    return cast("Made", wrapper)


def check_fields(value: Any) -> None:
    """Raise StageError for the first field of a dataclass that is of another type than it says."""
    for field in dataclasses.fields(value):
        check_kind(field.name, getattr(value, field.name), str(field.type))


def check_kind(name: str, value: object, annotation: str) -> None:
    """Raise StageError for a value of another type than the annotation says."""
    kinds = kinds_of(annotation)
    if not _fits(value, kinds):
        raise _refusal(name, value, kinds)


def kinds_of(annotation: str) -> tuple[Kind, ...]:
    """Return what an annotation admits; raises KeyError for one that is not in the table."""
    return tuple(KINDS[part] for part in annotation.split(" | "))


def said(value: Any) -> str:
    """Return what an error calls a value by: a construct by its path, anything else by its first 80 characters.

    Of a mapping the names alone, since environments have secrets in them.
    """
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if _construct(value):
        return f"{value.node.path} ({type(value).__name__ if isinstance(value, Construct) else 'imported'})"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{name!r}: ...' for name in value)}}}"[:80]
    return repr(value)[:80]


def _fits(value: object, kinds: tuple[Kind, ...]) -> bool:
    return any(kind.fits(value) for kind in kinds)


def _refusal(name: str, value: object, kinds: tuple[Kind, ...]) -> StageError:
    # Whoever passes the secret itself shall not find it in the log of a build.
    told = f"a {type(value).__name__} (not shown)" if name.endswith("_secret") else said(value)
    return StageError(f"{name}={told}: give {' or '.join(kind.remedy for kind in kinds if kind.remedy)}")


def _one_of(*kinds: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kinds)


def _having(attribute: str) -> Callable[[Any], bool]:
    # The class first: asking an object takes a call of the kernel, and some properties raise where there is nothing.
    # A class given in place of an object has the attribute, too.
    return lambda value: not isinstance(value, type) and (hasattr(type(value), attribute) or hasattr(value, attribute))


def _named(name: str) -> Callable[[Any], bool]:
    """Recognise classes of this package by name: they import this module, and it cannot import them."""
    return lambda value: any(parent.__name__ == name for parent in type(value).__mro__)


def _many(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: (
        isinstance(value, Sequence) and not isinstance(value, str | bytes) and all(fits(one) for one in value)
    )


def _mapping(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: (
        isinstance(value, Mapping) and all(isinstance(name, str) and fits(one) for name, one in value.items())
    )


def _anything(_: object) -> bool:
    return True


def _whole(value: object) -> bool:
    if isinstance(value, float):
        # A number that is known at deployment only is a float to Python.
        return math.isfinite(value) and cdk.Token.is_unresolved(value)
    # True is an int to Python.
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _key(value: object) -> bool:
    # A policy that names an alias permits nothing, and CDK writes none for an imported alias.
    return _having("key_arn")(value) and not hasattr(value, "alias_name")


_text = _one_of(str)
_path = _one_of(Path)
_construct = _having("node")
# Values of an enumeration of ours may be given as text: whoever uses one checks which.
_ENUMERATIONS = ("Architecture", "Events", "Nat", "RedisKind", "Rights", "Topology")

KINDS: dict[str, Kind] = {
    "None": Kind(lambda value: value is None, ""),
    "str": Kind(_text, "text"),
    "int": Kind(_whole, "a whole number"),
    "float": Kind(_number, "a number"),
    "bool": Kind(_one_of(bool), "True or False"),
    "Path": Kind(_path, "a pathlib.Path"),
    "Literal['off']": Kind(lambda value: bool(value == "off"), "'off'"),
    "Sequence[str]": Kind(_many(_text), "a list of texts"),
    "tuple[str, ...]": Kind(_many(_text), "a tuple of texts"),
    "Sequence[Path]": Kind(_many(_path), "a list of pathlib.Path"),
    "tuple[Path, ...]": Kind(_many(_path), "a tuple of pathlib.Path"),
    "Mapping[str, str]": Kind(_mapping(_text), "a mapping of texts to texts"),
    "Mapping[str, object]": Kind(_mapping(_anything), "a mapping of names to values"),
    "Mapping[str, Any]": Kind(_mapping(_anything), "a mapping of names to values"),
    "Mapping[str, lambda_.Function]": Kind(_mapping(_having("function_arn")), "a mapping of names to functions"),
    "Mapping[str, sqs.IQueue]": Kind(_mapping(_having("queue_arn")), "a mapping of names to queues"),
    **{name: Kind(_anything, "") for name in _ENUMERATIONS},
    **{
        name: Kind(_named(name), f"{name}(...)")
        for name in ("FunctionOptions", "RuntimeOptions", "Thresholds", "UsageCaps")
    },
    **{name: Kind(_named(name), f"a {name}") for name in ("CacheNetwork", "RuntimeFunction", "StripeCache")},
    "InvalidationQueue": Kind(_named("InvalidationQueue"), "an InvalidationQueue such as cache.invalidation_queue"),
    "Attaches": Kind(_having("attach"), "a StripeCache"),
    "Construct": Kind(_construct, "a construct"),
    "cdk.Duration": Kind(_one_of(cdk.Duration), "a duration such as cdk.Duration.minutes(5)"),
    "cdk.RemovalPolicy": Kind(_one_of(cdk.RemovalPolicy), "a policy such as cdk.RemovalPolicy.RETAIN"),
    "ec2.IConnectable": Kind(_having("connections"), "what has security groups, such as a function in a VPC"),
    "ec2.IMachineImage": Kind(_having("get_image"), "an image such as ec2.MachineImage.generic_linux({...})"),
    "ec2.IVpc": Kind(_having("private_subnets"), "a VPC such as ec2.Vpc.from_lookup(...)"),
    "ec2.SubnetSelection": Kind(_having("subnet_type"), "subnets such as ec2.SubnetSelection(subnet_type=...)"),
    "Sequence[ec2.ISecurityGroup]": Kind(_many(_having("security_group_id")), "a list of security groups"),
    "iam.IGrantable": Kind(_having("grant_principal"), "a function or a role"),
    "kms.IKey": Kind(_key, "a key such as kms.Key.from_key_arn(...), and no alias"),
    "lambda_.Function": Kind(_having("add_environment"), "an aws_lambda.Function"),
    "lambda_.IFunction": Kind(_having("function_arn"), "an aws_lambda.Function"),
    "logs.RetentionDays": Kind(_one_of(logs.RetentionDays), "a member of logs.RetentionDays such as ONE_MONTH"),
    "secretsmanager.ISecret": Kind(_having("secret_arn"), "a secret such as Secret.from_secret_complete_arn(...)"),
}
