"""The Firehose stream that takes an index's hand-overs to the landing index of its domain, with the role that it works as.

What a role needs: Firehose developer guide, "Grant Firehose access to a public OpenSearch Service destination"; for a domain with
fine-grained access control the role has to be mapped there as well, which IAM can not do.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from searchops.core.bulk.landing import LANDING_INDEX
from searchops.core.bulk.places import firehose_failed_prefix
from searchops.core.errors import DataError, SearchOpsError, TransientError, classify_client_error, code_of

RETRY_SECONDS = 7200
"""How long Firehose tries before a document goes to S3: the most it takes (API reference, RetryOptions)."""
POLICY_NAME = "searchops-hand-over"
MAX_ROLE_NAME = 64
LOG_STREAMS = {"destination": "DestinationDelivery", "backup": "BackupDelivery"}
"""As the console names them."""
_DESTINATION = "AmazonopensearchserviceDestination"
_WRITTEN = ("_bulk", LANDING_INDEX, f"{LANDING_INDEX}/_bulk", f"{LANDING_INDEX}/_doc/*")
"""Where a stream without rotation writes: documents, and nothing of another index's."""


@dataclass(frozen=True, slots=True)
class Stream:
    """
    :param name: of the stream
    :param index: whose hand-overs it takes, by the name that the inventory has
    :param buffer_mib: what it gathers before it delivers, 1 to 100
    :param buffer_seconds: it delivers after this time at the latest, up to 900
    """

    name: str
    index: str
    domain_arn: str
    bucket: str
    buffer_mib: int = 5
    buffer_seconds: int = 60

    @property
    def partition(self) -> str:
        return self.domain_arn.split(":")[1]

    @property
    def region(self) -> str:
        return self.domain_arn.split(":")[3]

    @property
    def account(self) -> str:
        return self.domain_arn.split(":")[4]

    @property
    def role_name(self) -> str:
        """Roles are the account's, streams a Region's."""
        name = f"searchops-{self.region}-{self.name}"
        return name if len(name) <= MAX_ROLE_NAME else f"{name[:55]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"

    @property
    def role_arn(self) -> str:
        return f"arn:{self.partition}:iam::{self.account}:role/{self.role_name}"

    @property
    def bucket_arn(self) -> str:
        return f"arn:{self.partition}:s3:::{self.bucket}"

    @property
    def log_group(self) -> str:
        return f"/aws/kinesisfirehose/{self.name}"


def trust_statement(account: str) -> dict[str, Any]:
    """
    :param account: of the stream. Firehose gives it as the external id (developer guide, "Allow Firehose to assume an IAM
        role": the policy there names the account), so that nobody's stream in another account works as this role
    """
    return {
        "Effect": "Allow",
        "Principal": {"Service": "firehose.amazonaws.com"},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"sts:ExternalId": account}},
    }


def is_trusted(document: Mapping[str, Any]) -> bool:
    """Whether Firehose may work as the role, under whatever conditions somebody has added."""
    for statement in _listed(document.get("Statement")):
        services = _listed((statement.get("Principal") or {}).get("Service") if statement.get("Principal") != "*" else None)
        allowed = statement.get("Effect") == "Allow" and "sts:AssumeRole" in _listed(statement.get("Action"))
        if allowed and "firehose.amazonaws.com" in services:
            return True
    return False


def policy_document(stream: Stream) -> dict[str, Any]:
    """What the role may do: write its own failures, send bulk requests to the domain, and look at what Firehose looks at there.

    The guide gives POST and PUT on the whole domain, which would include its settings, ``_delete_by_query`` and ``_close``. Bulk
    requests may still name any index: to keep them to ours takes fine-grained access control.
    """
    domain, bucket = stream.domain_arn, stream.bucket_arn
    prefix = firehose_failed_prefix(stream.index)
    looked_at = ("_all/_settings", "_cluster/stats", f"{LANDING_INDEX}*/_mapping/*", "_nodes", "_nodes/stats", "_nodes/*/stats")
    group = f"arn:{stream.partition}:logs:{stream.region}:{stream.account}:log-group:{stream.log_group}"
    return {
        "Version": "2012-10-17",
        "Statement": [
            _allow("KeepFailures", ("s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"), [f"{bucket}/{prefix}*"]),
            _allow("FindBucket", ("s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"), [bucket]),
            _allow("FindDomain", ("es:DescribeDomain", "es:DescribeDomainConfig", "es:DescribeDomains"), [domain, f"{domain}/*"]),
            _allow("WriteDomain", ("es:ESHttpPost", "es:ESHttpPut"), [f"{domain}/{place}" for place in _WRITTEN]),
            _allow(
                "LookAtDomain",
                ("es:ESHttpGet",),
                [f"{domain}/{place}" for place in (*looked_at, "_stats", f"{LANDING_INDEX}*/_stats", "")],
            ),
            _allow("LogErrors", ("logs:PutLogEvents",), [f"{group}:log-stream:{name}" for name in LOG_STREAMS.values()]),
        ],
    }


def _allow(sid: str, actions: tuple[str, ...], resources: list[str]) -> dict[str, Any]:
    return {"Sid": sid, "Effect": "Allow", "Action": list(actions), "Resource": resources}


def destination(stream: Stream, role_arn: str) -> dict[str, Any]:
    """The destination as CreateDeliveryStream takes it."""
    prefix = firehose_failed_prefix(stream.index)
    return {
        "RoleARN": role_arn,
        "DomainARN": stream.domain_arn,
        "IndexName": LANDING_INDEX,
        "IndexRotationPeriod": "NoRotation",
        "BufferingHints": {"IntervalInSeconds": stream.buffer_seconds, "SizeInMBs": stream.buffer_mib},
        "RetryOptions": {"DurationInSeconds": RETRY_SECONDS},
        "S3BackupMode": "FailedDocumentsOnly",
        "S3Configuration": {
            "RoleARN": role_arn,
            "BucketARN": stream.bucket_arn,
            # Failures come below one prefix, whichever of the two Firehose takes for them.
            "Prefix": prefix,
            "ErrorOutputPrefix": prefix,
            "BufferingHints": {"IntervalInSeconds": 60, "SizeInMBs": 5},
            "CompressionFormat": "UNCOMPRESSED",
            "CloudWatchLoggingOptions": _logging(stream, "backup"),
        },
        "CloudWatchLoggingOptions": _logging(stream, "destination"),
        "DocumentIdOptions": {"DefaultDocumentIdFormat": "FIREHOSE_DEFAULT"},
    }


def _logging(stream: Stream, what: str) -> dict[str, Any]:
    return {"Enabled": True, "LogGroupName": stream.log_group, "LogStreamName": LOG_STREAMS[what]}


def differences(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What of a destination is other than wanted, by setting: found, wanted. What is not wanted does not count."""
    described = {**found, "S3Configuration": found.get("S3DestinationDescription") or {}}
    return dict(_differences(wanted, described, ""))


def _differences(wanted: Mapping[str, Any], found: Mapping[str, Any], place: str) -> list[tuple[str, tuple[Any, Any]]]:
    rows: list[tuple[str, tuple[Any, Any]]] = []
    for name, value in wanted.items():
        if isinstance(value, Mapping):
            rows += _differences(value, found.get(name) or {}, f"{place}{name}.")
        elif found.get(name) != value:
            rows.append((f"{place}{name}", (found.get(name), value)))
    return rows


@dataclass(frozen=True, slots=True)
class DomainFacts:
    """What a stream has to know of its domain.

    :param explicit_index: a bulk request may name its indexes, as Firehose's do
    """

    arn: str
    in_vpc: bool
    explicit_index: bool

    def check(self, stream: str) -> None:
        """:raises DataError: Firehose can not write to this domain"""
        if not self.explicit_index:
            raise DataError(
                f"stream {stream}: the domain {self.arn} has rest.action.multi.allow_explicit_index false, so it refuses the bulk requests "
                "of Firehose: set that advanced option to true, or leave hand_over.firehose out to use the spool"
            )


def read_domain(service: Any, name: str) -> DomainFacts:
    """
    :param service: a boto3 ``opensearch`` client
    """
    try:
        status = service.describe_domain(DomainName=name)["DomainStatus"]
    except Exception as error:
        raise classify_client_error(error) from error
    options = status.get("AdvancedOptions") or {}
    explicit = str(options.get("rest.action.multi.allow_explicit_index", "true")).lower() != "false"
    return DomainFacts(status["ARN"], bool((status.get("VPCOptions") or {}).get("SubnetIds")), explicit)


class HandOverStream:
    """Makes and mends the stream of one index.

    :param firehose, iam, logs: boto3 clients
    """

    def __init__(
        self,
        stream: Stream,
        *,
        firehose: Any,
        iam: Any,
        logs: Any,
        in_vpc: bool = False,
    ) -> None:
        self.stream = stream
        self._firehose, self._iam, self._logs = firehose, iam, logs
        self._in_vpc = in_vpc

    def plan(self) -> tuple[str, ...]:
        """What is missing, in words. Changes nothing.

        :raises DataError: there is a stream of that name that can not be made into this one
        """
        role, described = self._role(), self._describe()
        changes = []
        if role is None:
            changes.append(f"make the role {self.stream.role_name}")
        elif not is_trusted(role["AssumeRolePolicyDocument"]):
            changes.append(f"let Firehose work as the role {self.stream.role_name}")
        if role and self._policy() != policy_document(self.stream):
            changes.append(f"bring the policy {POLICY_NAME} of the role {self.stream.role_name} up to date")
        if not self._has_log_streams():
            changes.append(f"make the log group {self.stream.log_group}")
        if described is None:
            self._check_can_be_made()
            changes.append(f"make the stream {self.stream.name} into {LANDING_INDEX}")
        else:
            arn = role["Arn"] if role else self.stream.role_arn
            changes += [f"{name}: {found!r} -> {value!r}" for name, (found, value) in self._drift(described, arn).items()]
        return tuple(changes)

    def install(self) -> tuple[str, ...]:
        """Make what is missing, and look once whether the stream is ACTIVE. Safe to repeat.

        :return: what was missing
        :raises TransientError: it is not ACTIVE yet, which takes a new stream about a minute, or IAM has not told Firehose of a new
            role yet: to be called again
        """
        changes = self.plan()
        role_arn = self._install_role()
        self._install_logs()
        described = self._describe()
        if described is None:
            self._create(role_arn)
        elif drift := self._drift(described, role_arn):
            self._update(described, role_arn, drift)
        self._require_active()
        if left := self.plan():
            raise TransientError(f"stream {self.stream.name}: changed by somebody else meanwhile: {'; '.join(left)}")
        return changes

    # Role

    def _role(self) -> Mapping[str, Any] | None:
        role: Mapping[str, Any] | None = self._maybe(
            lambda: self._iam.get_role(RoleName=self.stream.role_name)["Role"], "NoSuchEntity"
        )
        return role

    def _policy(self) -> Mapping[str, Any] | None:
        name = {"RoleName": self.stream.role_name, "PolicyName": POLICY_NAME}
        policy: Mapping[str, Any] | None = self._maybe(
            lambda: self._iam.get_role_policy(**name)["PolicyDocument"], "NoSuchEntity"
        )
        return policy

    def _install_role(self) -> str:
        """Policies of other names are left alone."""
        name, role = self.stream.role_name, self._role()
        if role is None:
            trust = {"Version": "2012-10-17", "Statement": [trust_statement(self.stream.account)]}
            description = f"searchops: what the Firehose stream {self.stream.name} may do"
            made = {"RoleName": name, "AssumeRolePolicyDocument": json.dumps(trust), "Description": description}
            role = self._ask(lambda: self._iam.create_role(**made)["Role"])
        elif not is_trusted(document := role["AssumeRolePolicyDocument"]):
            ours = trust_statement(self.stream.account)
            trust = {**document, "Statement": [*_listed(document.get("Statement")), ours]}
            self._ask(lambda: self._iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(trust)))
        wanted = policy_document(self.stream)
        if self._policy() != wanted:
            put = {"RoleName": name, "PolicyName": POLICY_NAME, "PolicyDocument": json.dumps(wanted)}
            self._ask(lambda: self._iam.put_role_policy(**put))
        return str(role["Arn"])

    # Log group

    def _has_log_streams(self) -> bool:
        group = {"logGroupName": self.stream.log_group}
        found = self._maybe(lambda: self._logs.describe_log_streams(**group)["logStreams"], "ResourceNotFoundException") or []
        return set(LOG_STREAMS.values()) <= {entry["logStreamName"] for entry in found}

    def _install_logs(self) -> None:
        if self._has_log_streams():
            return
        group, there = {"logGroupName": self.stream.log_group}, "ResourceAlreadyExistsException"
        self._maybe(lambda: self._logs.create_log_group(**group), there)
        for name in LOG_STREAMS.values():
            self._maybe(partial(self._logs.create_log_stream, **group, logStreamName=name), there)

    # Stream

    def _describe(self) -> Mapping[str, Any] | None:
        name = {"DeliveryStreamName": self.stream.name}
        found: Mapping[str, Any] | None = self._maybe(
            lambda: self._firehose.describe_delivery_stream(**name)["DeliveryStreamDescription"], "ResourceNotFoundException"
        )
        if found is not None:
            self._check_usable(found)
        return found

    def _check_usable(self, found: Mapping[str, Any]) -> None:
        name, status = self.stream.name, found["DeliveryStreamStatus"]
        if status == "DELETING":
            raise TransientError(f"stream {name}: it is being deleted: try again when it is gone")
        if status.endswith("_FAILED"):
            details = found.get("FailureDescription") or {}
            raise DataError(
                f"stream {name} is {status}: delete it, then run this again",
                reason=f"{details.get('Type')}: {details.get('Details')}",
            )
        kinds = [kind for entry in found["Destinations"] for kind in entry if kind.endswith("Description")]
        if found["DeliveryStreamType"] != "DirectPut" or f"{_DESTINATION}Description" not in kinds:
            raise DataError(
                f"stream {name}: expected one of type DirectPut into Amazon OpenSearch Service, found {found['DeliveryStreamType']} into "
                f"{', '.join(kinds)}: give hand_over.firehose another name in the inventory"
            )

    def _drift(self, described: Mapping[str, Any], role_arn: str) -> dict[str, tuple[Any, Any]]:
        found = described["Destinations"][0][f"{_DESTINATION}Description"]
        drift = differences(destination(self.stream, role_arn), found)
        if "S3BackupMode" in drift:
            raise DataError(
                f"stream {self.stream.name}: S3BackupMode is {found.get('S3BackupMode')}, expected FailedDocumentsOnly; Firehose does not "
                "change it: wait until the stream has delivered, delete it and run this again"
            )
        return drift

    def _check_can_be_made(self) -> None:
        if self._in_vpc:
            raise DataError(
                f"stream {self.stream.name}: its domain is in a VPC, and the subnets and security groups of a stream are chosen once and for "
                f"ever: make the stream by hand (Direct PUT, index {LANDING_INDEX}, no rotation, backup of failed documents only), then run "
                "this again: it corrects the rest and keeps the VPC; or leave hand_over.firehose out to use the spool"
            )

    def _create(self, role_arn: str) -> None:
        self._check_can_be_made()
        made = {
            "DeliveryStreamName": self.stream.name,
            "DeliveryStreamType": "DirectPut",
            f"{_DESTINATION}Configuration": destination(self.stream, role_arn),
        }
        self._maybe(lambda: self._firehose.create_delivery_stream(**made), "ResourceInUseException")

    def _update(self, described: Mapping[str, Any], role_arn: str, drift: Mapping[str, Any]) -> None:
        wanted = destination(self.stream, role_arn)
        names = {name.partition(".")[0] for name in drift}
        update = {name: value for name, value in wanted.items() if name in names and name != "S3Configuration"}
        if "S3Configuration" in names:
            update["S3Update"] = wanted["S3Configuration"]
        given = {
            "DeliveryStreamName": self.stream.name,
            "CurrentDeliveryStreamVersionId": described["VersionId"],
            "DestinationId": described["Destinations"][0]["DestinationId"],
            f"{_DESTINATION}Update": update,
        }
        self._ask(lambda: self._firehose.update_destination(**given))

    def _require_active(self) -> None:
        described = self._describe()
        status = described["DeliveryStreamStatus"] if described else "not to be seen"
        if status != "ACTIVE":
            raise TransientError(f"stream {self.stream.name}: expected it to be ACTIVE, it is {status}: look again in a minute")

    def _ask(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as error:
            raise _classified(error) from error

    def _maybe(self, call: Callable[[], Any], expected: str) -> Any:
        """None where AWS answers the expected code."""
        try:
            return call()
        except Exception as error:
            if code_of(error) == expected:
                return None
            raise _classified(error) from error


def _classified(error: Exception) -> SearchOpsError:
    words = str((getattr(error, "response", None) or {}).get("Error", {}).get("Message", ""))
    if code_of(error) == "InvalidArgumentException" and "assume role" in words:
        return TransientError("Firehose can not work as the role yet; IAM takes some seconds to tell of a new one", reason=words)
    if code_of(error) in ("ResourceInUseException", "ConcurrentModificationException", "ConcurrentModification"):
        return TransientError("the stream or its role is being changed by somebody else", reason=words)
    return classify_client_error(error)


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
