"""A bundle as `aws_lambda.Function` takes it: built when the function is made, and checked against that function.

CDK asks for the code in the middle of the function's constructor and calls back for it. An error that crosses the
border between the two languages arrives as a RuntimeError whose text alone is ours, so it must say all there is to say;
what can wait is left as a note on the function, for whoever looks later on this side of the border.
"""

from __future__ import annotations

import functools
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import aws_cdk as cdk
import constructs
import jsii
from aws_cdk import aws_lambda as lambda_

from stripe_cache_cdk.errors import ConstructError, InfrastructureError

if TYPE_CHECKING:
    from collections.abc import Callable

    from stripe_cache_cdk.constructs.bundling import Bundle

Constructor = TypeVar("Constructor", bound="Callable[..., None]")

BUNDLED = "stripe-cache:bundled"  # The type of the note on a function that says what its package is for.
MEMBERS = {"arm64": "ARM_64", "x86_64": "X86_64"}  # Of aws_lambda.Architecture, as a remedy calls them.

_failed: list[InfrastructureError] = []


@dataclass(frozen=True)
class Package:
    """What a function's package holds: compiled wheels for one Python on one processor, maybe what sealing needs."""

    python: str
    architecture: str
    seals: bool


def package_of(function: constructs.IConstruct) -> Package | None:
    """Return what the function's package is for; None when no Bundle made it, so that nobody here knows."""
    return next((Package(**note.data) for note in function.node.metadata if note.type == BUNDLED), None)


def check_package(function: lambda_.Function) -> None:
    """Raise ConstructError when the function's package is for another Python or processor than the function runs on."""
    package = package_of(function)
    if package:
        misfit = _misfit(package, function.runtime.name, function.architecture.name)
        if misfit:
            raise ConstructError(function, *misfit)


def explains_bundling(make: Constructor) -> Constructor:
    """Wrap the constructor of a function: what stops its bundling is raised as what it is, no RuntimeError."""

    @functools.wraps(make)
    def wrapper(self: Any, scope: constructs.Construct, construct_id: str, **options: Any) -> None:
        _failed.clear()
        try:
            make(self, scope, construct_id, **options)
        except RuntimeError:
            if not _failed:
                raise
            raise _failed.pop() from None

    return cast("Constructor", wrapper)


class BundledCode(lambda_.Code):
    """The asset of a bundle; it is built at synthesis, unless a folder of the same digest is there."""

    def __init__(self, bundle: Bundle, *, folder: Path) -> None:
        super().__init__()
        self._package = Package(bundle.python, bundle.architecture.value, bundle.seals)
        self._asset = lambda_.Code.from_asset(
            str(folder),
            asset_hash=bundle.digest(),
            asset_hash_type=cdk.AssetHashType.CUSTOM,
            # An image is demanded, and never started: the local bundling below either succeeds or raises.
            bundling=cdk.BundlingOptions(image=cdk.DockerImage.from_registry("unused"), local=_LocalBundling(bundle)),
        )

    @property
    def is_inline(self) -> bool:
        """False: the code is a file."""
        return False

    def bind(self, scope: constructs.Construct) -> lambda_.CodeConfig:
        """Build, and leave a note on the function. Raises InfrastructureError with the function's path."""
        scope.node.add_metadata(BUNDLED, asdict(self._package))
        _failed.clear()
        try:
            return self._asset.bind(scope)
        except RuntimeError:
            if not _failed:
                raise
            error = InfrastructureError(f"{scope.node.path}: {_failed.pop()}")
            _failed.append(error)
            raise error from None

    def bind_to_resource(self, resource: cdk.CfnResource, *, resource_property: str | None = None) -> None:
        """Tell the asset; and stop synthesis, should nobody else, where the function cannot load these wheels."""
        self._asset.bind_to_resource(resource, resource_property=resource_property)
        if not isinstance(resource, lambda_.CfnFunction):
            return
        (processor,) = resource.architectures or [lambda_.Architecture.X86_64.name]
        misfit = _misfit(self._package, resource.runtime or "", processor)
        if misfit:
            resource.node.add_validation(_Refusal(": ".join(misfit)))


@jsii.implements(cdk.ILocalBundling)
class _LocalBundling:
    """The bundle behind the interface that CDK calls; the options it passes say nothing the bundle does not know."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle

    def try_bundle(self, output_dir: str, *_args: Any, **_kwargs: Any) -> bool:
        """Fill the folder that CDK made; never falls back to Docker."""
        try:
            self._bundle.build(Path(output_dir))
        except InfrastructureError as error:
            _failed.append(error)
            raise
        return True


@jsii.implements(constructs.IValidation)
class _Refusal:
    """What CDK lists, with the path, when the app is synthesized all the same."""

    def __init__(self, told: str) -> None:
        self._told = told

    def validate(self) -> list[str]:
        """Return what is wrong."""
        return [self._told]


def _misfit(package: Package, runtime: str, processor: str) -> tuple[str, str] | None:
    """Return problem and remedy; compiled wheels load on the Python and the processor they were made for, only."""
    if (f"python{package.python}", package.architecture) == (runtime, processor):
        return None
    needed = f"Python {package.python} on {package.architecture}"
    runtime_member = package.python.replace(".", "_")
    member = f"PYTHON_{runtime_member} and Architecture.{MEMBERS[package.architecture]}"
    return (
        f"its Bundle is for {needed}, and it runs {runtime} on {processor}, where importing the package fails",
        f"make it with Runtime.{member}, or the Bundle with the function's python and architecture",
    )
