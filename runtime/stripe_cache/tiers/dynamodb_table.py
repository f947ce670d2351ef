"""The few calls the DynamoDB tier makes on its table, and what their errors mean. No control-plane call among them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from stripe_cache.core.errors import ConfigurationError, SettingError, TableError, TierError, TierThrottledError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PARTITION_KEY = "pk"
_OTHER_KEYS = ("does not match the schema", "required keys was not given", "conditions on the keys is invalid")
"""How DynamoDB says that a table has other keys: the service, then DynamoDB Local in two ways."""
_BATCH = 100
"""Keys that one BatchGetItem takes."""


_DAMAGED = ("document path", "incorrect data type", "operand type")
"""How DynamoDB says that an attribute is of another type than the update takes it for."""
_DENIED = frozenset(
    {
        "AccessDeniedException",
        "UnrecognizedClientException",
        "InvalidSignatureException",
        "IncompleteSignatureException",
        "MissingAuthenticationTokenException",
    }
)


_THROTTLED = frozenset({"ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded"})


class DamagedItemError(TierError):
    """An attribute of an item is of a type that this package never writes: somebody else did."""


class ItemTooLargeError(TierError):
    """The item with its other variants would pass DynamoDB's limit."""


class Table:
    """Strongly consistent reads and conditional updates by partition key. Thread-safe: botocore clients are.

    `connect` makes the client on first use. What goes wrong is raised as what it is:

    | DynamoDB says | raised | what comes of it |
    |---|---|---|
    | no such table, other keys | TableError | said once an outage, with the remedy |
    | no credentials, access denied, bad signature (or a clock far off) | SettingError | the same |
    | credentials expired | TierError | boto3 finds new ones by itself; until then misses |
    | throttled, over the limit, keys left unprocessed | TierThrottledError | no waiting; left alone a second at most |
    | 5xx | TierError | no waiting; the breaker decides |
    | no answer in time, a broken connection | TierError | the same |
    | anything else, or 200 without a request id: something else than DynamoDB answers | TierError | the same |
    | an attribute of another type | DamagedItemError | the item is reset, see dynamodb_items.py |
    | item too large | ItemTooLargeError | the other variants make room |
    """

    def __init__(self, connect: Callable[[], Any], name: str) -> None:
        self._connect = connect
        self._connected: Any = None
        self._name = name

    def get(self, pk: str, projection: str, names: dict[str, str]) -> dict[str, Any] | None:
        """Read one item; None if there is none."""
        extra = {"ExpressionAttributeNames": names} if names else {}
        with self._translated():
            answer = self._client().get_item(
                TableName=self._name,
                Key={PARTITION_KEY: {"S": pk}},
                ConsistentRead=True,
                ProjectionExpression=projection,
                **extra,
            )
            item: dict[str, Any] | None = genuine(answer).get("Item")
        return item

    def get_many(self, pks: Sequence[str], projection: str) -> dict[str, dict[str, Any]]:
        """Read many items, 100 a call, by partition key; raises TierError if the table leaves some unread."""
        wanted = sorted(set(pks))
        found: dict[str, dict[str, Any]] = {}
        for start in range(0, len(wanted), _BATCH):
            keys = [{PARTITION_KEY: {"S": pk}} for pk in wanted[start : start + _BATCH]]
            request = {self._name: {"Keys": keys, "ConsistentRead": True, "ProjectionExpression": projection}}
            with self._translated():
                answer = genuine(self._client().batch_get_item(RequestItems=request))
                if answer.get("UnprocessedKeys"):
                    # An unread generation must not pass for an absent one, and waiting is not a cache's business.
                    raise TierThrottledError("dynamodb: the table is throttled: BatchGetItem left keys unprocessed")
                found |= {item["pk"]["S"]: item for item in answer["Responses"].get(self._name, [])}
        return found

    def update(
        self,
        pk: str,
        update: str,
        values: dict[str, Any],
        *,
        names: dict[str, str] | None = None,
        condition: str = "",
    ) -> dict[str, Any] | None:
        """Write, and return the new item without its values; None if the condition did not hold."""
        extra: dict[str, Any] = {"ConditionExpression": condition} if condition else {}
        if names:
            extra["ExpressionAttributeNames"] = names
        with self._translated():
            client = self._client()
            try:
                answer = client.update_item(
                    TableName=self._name,
                    Key={PARTITION_KEY: {"S": pk}},
                    UpdateExpression=update,
                    ExpressionAttributeValues=values,
                    ReturnValues="NONE" if condition else "ALL_NEW",
                    **extra,
                )
            except client.exceptions.ConditionalCheckFailedException:
                return None
            item: dict[str, Any] = {} if condition else answer["Attributes"]
            genuine(answer)
        return item

    def _client(self) -> Any:
        # Two threads may both connect; either client serves, and the other is garbage.
        if self._connected is None:
            self._connected = self._connect()
        return self._connected

    @contextmanager
    def _translated(self) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

        try:
            yield
        except ClientError as error:
            raise self._translate(error) from error
        except NoCredentialsError as error:
            raise SettingError("DynamoDB: boto3 finds no AWS credentials: give the process a role") from error
        except BotoCoreError as error:
            raise TierError(f"dynamodb: {type(error).__name__}: {error}") from error
        except (TierError, ConfigurationError):
            raise
        except Exception as error:
            # An answer of another shape, over which botocore stumbles or we do. Its text may quote the answer.
            raise TierError(f"dynamodb: {type(error).__name__}") from error

    def _translate(self, error: Any) -> TierError | ConfigurationError:
        code, text = (str(error.response["Error"].get(part, "")) for part in ("Code", "Message"))
        if code == "ResourceNotFoundException":
            return TableError(
                f"DynamoDB has no table {self._name!r} here: deploy the store stack, or correct STRIPE_CACHE_TABLE"
            )
        if code == "ValidationException" and any(words in text.lower() for words in _OTHER_KEYS):
            return TableError(
                f"the keys of DynamoDB table {self._name!r} are not ours: it needs the partition key "
                f"{PARTITION_KEY!r} (String) and no sort key"
            )
        if code in _DENIED:
            # Not its message, which names the caller.
            return SettingError(
                f"DynamoDB refuses this process ({code}): grant its role GetItem, BatchGetItem and UpdateItem on the "
                f"table {self._name!r}, and see that its clock is right"
            )
        if code == "ValidationException" and any(words in text.lower() for words in _DAMAGED):
            return DamagedItemError(f"dynamodb: {text}")
        if code == "ValidationException" and "size" in text.lower():
            return ItemTooLargeError(f"dynamodb: {text}")
        return (TierThrottledError if code in _THROTTLED else TierError)(f"dynamodb: {code}: {text}")


def genuine(answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer of DynamoDB's, which always has a request id; raises TierError for another.

    What stands before it may answer 200 as well, and botocore makes of a page of HTML what it makes of `{}`: an item
    that is not there, or a conditional write that was made. A void that nobody made would be taken for one.
    """
    if not answer["ResponseMetadata"].get("RequestId"):
        raise TierError("dynamodb: an answer without a request id: something else than DynamoDB answers for it")
    return answer
