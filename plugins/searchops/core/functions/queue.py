"""The SQS queue to which Lambda sends what a function failed on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from searchops.core.errors import DataError, SearchOpsError, classify_client_error, code_of
from searchops.core.functions.service import words_of

MOST_AT_ONCE = 10  # messages a call, ReceiveMessage and ChangeMessageVisibilityBatch
WAIT_SECONDS = 2  # any wait makes SQS ask all of its servers, so that an empty answer means an empty queue

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Message:
    """``sent_at``: when SQS got it, in seconds since the epoch, by its clock."""

    id: str
    body: str
    receipt: str
    sent_at: float


@dataclass(frozen=True, slots=True)
class Size:
    """Approximate: SQS counts up to a minute late."""

    visible: int
    held: int


class FailedEventQueue:
    """A queue by its ARN.

    :param client: boto3's ``sqs`` client, of the queue's Region
    """

    def __init__(self, client: Any, arn: str) -> None:
        self.arn = arn
        self._client = client
        self._known_url = ""

    def size(self) -> Size:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self._ask(lambda url: self._client.get_queue_attributes(QueueUrl=url, AttributeNames=names))["Attributes"]
        return Size(*(int(found[name]) for name in names))

    def receive(self, hold_seconds: int) -> list[Message]:
        """Up to ten messages, which nobody else gets for that long; none when the queue is empty."""
        found = self._ask(
            lambda url: self._client.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=MOST_AT_ONCE,
                VisibilityTimeout=hold_seconds,
                WaitTimeSeconds=WAIT_SECONDS,
                MessageSystemAttributeNames=["SentTimestamp"],
            )
        )
        return [
            Message(found["MessageId"], found["Body"], found["ReceiptHandle"], int(found["Attributes"]["SentTimestamp"]) / 1000)
            for found in found.get("Messages", ())
        ]

    def delete(self, message: Message) -> None:
        self._ask(lambda url: self._client.delete_message(QueueUrl=url, ReceiptHandle=message.receipt))

    def release(self, messages: Sequence[Message]) -> None:
        """Let others have them at once. Never raises: what is not released comes back when its time is over."""
        for start in range(0, len(messages), MOST_AT_ONCE):
            some = messages[start : start + MOST_AT_ONCE]
            entries = [
                {"Id": str(number), "ReceiptHandle": message.receipt, "VisibilityTimeout": 0}
                for number, message in enumerate(some)
            ]
            try:
                answer = self._client.change_message_visibility_batch(QueueUrl=self._url(), Entries=entries)
            except Exception as error:
                log.warning("%d messages of %s come back later: %s", len(some), self.arn, self._told(error))
                continue
            if failed := answer.get("Failed"):
                log.info("%d messages of %s come back later, or are back already", len(failed), self.arn)

    def _url(self) -> str:
        if not self._known_url:
            account, name = self.arn.split(":")[4:6]
            self._known_url = self._client.get_queue_url(QueueName=name, QueueOwnerAWSAccountId=account)["QueueUrl"]
        return self._known_url

    def _ask(self, call: Callable[[str], Any]) -> Any:
        try:
            return call(self._url())
        except Exception as error:
            raise self._told(error) from error

    def _told(self, error: Exception) -> SearchOpsError:
        if code_of(error) in ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"):
            return DataError(
                f"there is no queue {self.arn}: correct `on_failure` of the entry in include/searchops.yaml, or make the queue",
                reason=words_of(error),
            )
        return classify_client_error(error)
