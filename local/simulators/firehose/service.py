"""The operations on streams."""

from __future__ import annotations

import itertools
import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from typing import Any

from local.simulators.firehose.delivery import Bucket, Delivery, Node
from local.simulators.firehose.documents import Record, Target
from local.simulators.firehose.faults import CallFaults
from local.simulators.firehose.quota import Quota
from local.simulators.firehose.settings import Settings

ACCOUNT = "123456789012"
REGION = os.environ.get("AWS_REGION", "ap-northeast-1")
_DESTINATION = "AmazonopensearchserviceDestination"
# The ids that the service makes look like sequence numbers of Kinesis with a ".0" behind them [unknown].
_FIRST_ID = 496 * 10**53
_SLOW_DOWN = "Slow down."
_NO_FAULTS = CallFaults()

Parameters = Mapping[str, Any]
Answer = dict[str, Any]


class ServiceError(Exception):
    """An error of the API; ``status`` is the HTTP status."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


def slow_down() -> ServiceError:
    """HTTP 500, says the API reference."""
    return ServiceError("ServiceUnavailableException", _SLOW_DOWN, 500)


def _invalid(message: str) -> ServiceError:
    return ServiceError("InvalidArgumentException", message)


@dataclass(slots=True)
class _Stream:
    name: str
    created: float
    destination: Answer
    delivery: Delivery
    quota: Quota
    version: int = 1
    updated: float | None = None
    deleted: float | None = None
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def arn(self) -> str:
        return f"arn:aws:firehose:{REGION}:{ACCOUNT}:deliverystream/{self.name}"

    @property
    def destination_id(self) -> str:
        return "destinationId-000000000001"

    def status(self, now: float, settings: Settings) -> str:
        if self.deleted is not None:
            return "DELETING"
        return "CREATING" if now < self.created + settings.creating_seconds / settings.speed else "ACTIVE"


class FirehoseService:
    """One account and region. Each stream delivers in a thread of its own."""

    def __init__(
        self,
        node: Node,
        bucket: Bucket,
        settings: Settings | None = None,
        clock: Callable[[], float] = time.time,
        *,
        deliver: bool = True,
    ) -> None:
        self._node = node
        self._bucket = bucket
        self._clock = clock
        self._deliver = deliver
        self._initial = self.settings = settings or Settings()
        self._lock = threading.RLock()
        self._streams: dict[str, _Stream] = {}
        self._ids = itertools.count(_FIRST_ID + secrets.randbelow(10**50))

    # Streams

    def create_delivery_stream(self, parameters: Parameters) -> Answer:
        name = parameters["DeliveryStreamName"]
        if parameters.get("DeliveryStreamType", "DirectPut") != "DirectPut":
            raise _invalid("The simulator has streams of DeliveryStreamType DirectPut only")
        given = [key for key in parameters if key.endswith("DestinationConfiguration")]
        if given != [f"{_DESTINATION}Configuration"]:
            raise _invalid(
                f"Exactly one destination configuration is supported for a Firehose, and here it is {_DESTINATION}Configuration"
            )
        destination = _described(parameters[f"{_DESTINATION}Configuration"])
        tags = _tags(parameters.get("Tags", ()))
        with self._lock:
            if self._find(name):
                raise ServiceError("ResourceInUseException", f"Firehose {name} under accountId {ACCOUNT} already exists")
            now = self._clock()
            delivery = Delivery(Target.of(name, "1", destination), self._node, self._bucket, lambda: self.settings)
            stream = _Stream(name, now, destination, delivery, Quota(self.settings, now), tags=tags)
            self._streams[name] = stream
        if self._deliver:
            threading.Thread(target=delivery.run, name=f"firehose-{name}", daemon=True).start()
        return {"DeliveryStreamARN": stream.arn}

    def describe_delivery_stream(self, parameters: Parameters) -> Answer:
        with self._lock:
            stream = self._known(parameters)
            destination = {"DestinationId": stream.destination_id, f"{_DESTINATION}Description": deepcopy(stream.destination)}
            return {
                "DeliveryStreamDescription": {
                    "DeliveryStreamName": stream.name,
                    "DeliveryStreamARN": stream.arn,
                    "DeliveryStreamStatus": stream.status(self._clock(), self.settings),
                    "DeliveryStreamEncryptionConfiguration": {"Status": "DISABLED"},
                    "DeliveryStreamType": "DirectPut",
                    "VersionId": str(stream.version),
                    "CreateTimestamp": stream.created,
                    **({"LastUpdateTimestamp": stream.updated} if stream.updated else {}),
                    "Destinations": [destination],
                    "HasMoreDestinations": False,
                }
            }

    def list_delivery_streams(self, parameters: Parameters) -> Answer:
        after, limit = parameters.get("ExclusiveStartDeliveryStreamName", ""), parameters.get("Limit", 10)
        with self._lock:
            names = [name for name in sorted(self._streams) if self._find(name) and name > after]
        return {"DeliveryStreamNames": names[:limit], "HasMoreDeliveryStreams": len(names) > limit}

    def update_destination(self, parameters: Parameters) -> Answer:
        """Merge what is given into the destination; what the update does not name stays."""
        with self._lock:
            stream = self._known(parameters)
            if stream.status(self._clock(), self.settings) != "ACTIVE":
                raise ServiceError("ResourceInUseException", f"Firehose {stream.name} is not ACTIVE")
            if parameters["CurrentDeliveryStreamVersionId"] != str(stream.version):
                raise ServiceError(
                    "ConcurrentModificationException",
                    f"Cannot update firehose: {stream.name} since the current version id: {stream.version} and specified version id: "
                    f"{parameters['CurrentDeliveryStreamVersionId']} do not match",
                )
            if parameters["DestinationId"] != stream.destination_id:
                raise _invalid(f"Destination Id {parameters['DestinationId']} not found")
            given = [key for key in parameters if key.endswith("DestinationUpdate")]
            if given != [f"{_DESTINATION}Update"]:
                raise _invalid(f"Exactly one destination update is expected, and here it is {_DESTINATION}Update")
            stream.destination = _updated(stream.destination, parameters[f"{_DESTINATION}Update"])
            stream.version += 1
            stream.updated = self._clock()
            stream.delivery.aim(Target.of(stream.name, str(stream.version), stream.destination))
        return {}

    def delete_delivery_stream(self, parameters: Parameters) -> Answer:
        """What has not been delivered is lost with the stream."""
        with self._lock:
            stream = self._known(parameters)
            if stream.status(self._clock(), self.settings) == "CREATING":
                raise ServiceError("ResourceInUseException", f"Firehose {stream.name} is CREATING: it cannot be deleted")
            stream.deleted = self._clock() if stream.deleted is None else stream.deleted
            stream.delivery.stop()
        return {}

    # Tags

    def tag_delivery_stream(self, parameters: Parameters) -> Answer:
        with self._lock:
            tags = self._known(parameters).tags
            if len(tags | _tags(parameters["Tags"])) > 50:
                raise ServiceError("LimitExceededException", "A delivery stream cannot have more than 50 tags")
            tags |= _tags(parameters["Tags"])
        return {}

    def untag_delivery_stream(self, parameters: Parameters) -> Answer:
        with self._lock:
            tags = self._known(parameters).tags
            for key in parameters["TagKeys"]:
                tags.pop(key, None)
        return {}

    def list_tags_for_delivery_stream(self, parameters: Parameters) -> Answer:
        after, limit = parameters.get("ExclusiveStartTagKey", ""), parameters.get("Limit", 50)
        with self._lock:
            tags = sorted((key, value) for key, value in self._known(parameters).tags.items() if key > after)
        return {"Tags": [{"Key": key, "Value": value} for key, value in tags[:limit]], "HasMoreTags": len(tags) > limit}

    # Records

    def put(self, name: str, records: Sequence[bytes], faults: CallFaults = _NO_FAULTS) -> list[Answer]:
        """Take what the quota and the faults let pass; one response for each record, in their order.

        :raises ServiceError: the stream is not there or not ACTIVE, or the call as a whole is over the quota
        """
        now = self._clock()
        failing = faults.failing_records(len(records))
        copies = 1 if faults.find("twice") else 0
        with self._lock:
            stream = self._known({"DeliveryStreamName": name})
            if (status := stream.status(now, self.settings)) != "ACTIVE":
                raise ServiceError(
                    "ResourceNotFoundException", f"Firehose {name} under account {ACCOUNT} is {status}, not ACTIVE."
                )
            if not stream.quota.admit_request(now):
                raise slow_down()
            admitted = stream.quota.admit([len(data) for data in records], now)
            if not all(admitted) and self.settings.over_quota == "call":
                raise slow_down()
            ids = [f"{next(self._ids)}.0" for _ in records]
        told, taken = _responses(admitted, failing), []
        for position, data in enumerate(records):
            if admitted[position] and (position not in failing or failing[position].taken):
                taken.append(Record(ids[position], data, now, again=copies))
        stream.delivery.add(taken, refused=len(records) - len(taken))
        return told

    # Control

    def configure(self, values: Mapping[str, Any]) -> Settings:
        with self._lock:
            self.settings = self.settings.changed(values)
            for stream in self._streams.values():
                stream.quota = Quota(self.settings, self._clock())
                stream.delivery.wake()
            return self.settings

    def states(self) -> list[Answer]:
        now = self._clock()
        with self._lock:
            streams = [stream for name in sorted(self._streams) if (stream := self._find(name))]
            return [
                {"name": stream.name, "status": stream.status(now, self.settings)}
                | asdict(stream.delivery.counts)
                | stream.delivery.state(now)
                for stream in streams
            ]

    def deliveries(self, name: str | None) -> list[Delivery]:
        """The deliveries of a stream, or of all."""
        with self._lock:
            if name is not None:
                return [self._known({"DeliveryStreamName": name}).delivery]
            return [stream.delivery for stream in self._streams.values()]

    def reset(self) -> None:
        """Forget streams, what they hold, and the settings; what has been delivered stays where it is."""
        with self._lock:
            self.close()
            self._streams.clear()
            self.settings = self._initial

    def close(self) -> None:
        for delivery in self.deliveries(None):
            delivery.stop()

    def _known(self, parameters: Parameters) -> _Stream:
        name = parameters["DeliveryStreamName"]
        if stream := self._find(name):
            return stream
        raise ServiceError("ResourceNotFoundException", f"Firehose {name} under account {ACCOUNT} not found.")

    def _find(self, name: str) -> _Stream | None:
        """A stream that is there, or is being deleted; one whose time is over is forgotten."""
        stream = self._streams.get(name)
        over = self.settings.deleting_seconds / self.settings.speed
        if stream and stream.deleted is not None and self._clock() >= stream.deleted + over:
            del self._streams[name]
            return None
        return stream


def _responses(admitted: Sequence[bool], failing: Mapping[int, Any]) -> list[Answer]:
    token = secrets.token_urlsafe(120)
    told: list[Answer] = [{"RecordId": f"{token}{position:03}"} for position in range(len(admitted))]
    for position, within in enumerate(admitted):
        if not within:
            told[position] = {"ErrorCode": "ServiceUnavailableException", "ErrorMessage": _SLOW_DOWN}
        elif fault := failing.get(position):
            code = fault.code or "ServiceUnavailableException"
            message = _SLOW_DOWN if code == "ServiceUnavailableException" else "Internal service failure."
            told[position] = {"ErrorCode": code, "ErrorMessage": fault.message or message}
    return told


def _tags(given: Sequence[Mapping[str, str]]) -> dict[str, str]:
    tags = {tag["Key"]: tag.get("Value", "") for tag in given}
    for key, value in tags.items():
        if not 1 <= len(key) <= 128 or key.startswith("aws:") or len(value) > 256:
            raise _invalid(
                f"Tag {key!r}: expected a key of 1 to 128 characters that does not start with aws:, and a value of up to 256"
            )
    return tags


def _described(configuration: Parameters) -> Answer:
    """A destination as DescribeDeliveryStream shows it, with the defaults of what was not given."""
    given = dict(configuration)
    s3 = _described_s3(given.pop("S3Configuration"))
    destination = {
        "IndexRotationPeriod": "OneDay",
        "TypeName": "",
        "S3BackupMode": "FailedDocumentsOnly",
        "ProcessingConfiguration": {"Enabled": False, "Processors": []},
        "CloudWatchLoggingOptions": {"Enabled": False},
        "DocumentIdOptions": {"DefaultDocumentIdFormat": "FIREHOSE_DEFAULT"},
        **given,
        "BufferingHints": {"IntervalInSeconds": 300, "SizeInMBs": 5} | given.get("BufferingHints", {}),
        "RetryOptions": {"DurationInSeconds": 300} | given.get("RetryOptions", {}),
        "S3DestinationDescription": s3,
    }
    _check(destination)
    return destination


def _described_s3(given: Parameters) -> Answer:
    return {
        "CompressionFormat": "UNCOMPRESSED",
        "EncryptionConfiguration": {"NoEncryptionConfig": "NoEncryption"},
        "CloudWatchLoggingOptions": {"Enabled": False},
        **given,
        "BufferingHints": {"SizeInMBs": 5, "IntervalInSeconds": 300} | given.get("BufferingHints", {}),
    }


def _updated(before: Answer, update: Parameters) -> Answer:
    given = dict(update)
    s3 = _merged(before["S3DestinationDescription"], given.pop("S3Update", {}))
    for one, other in (("DomainARN", "ClusterEndpoint"), ("ClusterEndpoint", "DomainARN")):
        if one in given and other not in given:
            before = {key: value for key, value in before.items() if key != other}
    destination = _merged(before, given) | {"S3DestinationDescription": s3}
    _check(destination)
    return destination


def _merged(before: Parameters, given: Parameters) -> Answer:
    return {
        **before,
        **{
            key: _merged(before[key], value) if isinstance(value, dict) and isinstance(before.get(key), dict) else value
            for key, value in given.items()
        },
    }


def _check(destination: Parameters) -> None:
    if ("DomainARN" in destination) == ("ClusterEndpoint" in destination):
        raise _invalid("Exactly one of DomainARN and ClusterEndpoint must be specified")
    if destination["ProcessingConfiguration"].get("Enabled") or "VpcConfiguration" in destination:
        raise _invalid("The simulator neither processes records nor delivers into a VPC")
    compression = destination["S3DestinationDescription"]["CompressionFormat"]
    if compression not in ("UNCOMPRESSED", "GZIP"):
        raise _invalid(f"The simulator compresses as GZIP or not at all, not as {compression}")
