"""What a single value of the inventory may look like: names, places, times."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import PurePosixPath
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    PlainSerializer,
    Strict,
    StringConstraints,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, core_schema

Text = Annotated[str, StringConstraints(strict=True, min_length=1)]
Flag = Annotated[bool, Strict()]
"""Only true or false: "yes" in quotes is text."""


@dataclass(frozen=True, slots=True)
class Matching:
    """Text of one form. A value of another form is refused with the words that describe the form.

    :param form: regular expression for the whole text, in the syntax that JSON schema shares with Python
    :param expected: the form in words
    """

    form: str
    expected: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(
            self.check, core_schema.str_schema(strict=True), metadata={"pydantic_js_updates": {"pattern": f"^(?:{self.form})$"}}
        )

    def check(self, value: str) -> str:
        if re.fullmatch(self.form, value) is None:
            raise ValueError(f'"{value}" is not {self.expected}')
        return value


# The forms and lengths of names are those of botocore's service models (opensearch 2021-01-01, s3, dynamodb, firehose, lambda).
DomainName = Annotated[
    str, Matching(r"[a-z][a-z0-9-]{2,27}", "the name of a domain: 3 to 28 of a-z, 0-9 and -, beginning with a letter")
]
PackageName = Annotated[
    # The API allows 256 characters, Terraform's resource 32: a longer name could not be taken over there.
    str, Matching(r"[a-z][a-z0-9-]{2,31}", "the name of a package: 3 to 32 of a-z, 0-9 and -, beginning with a letter")
]
Region = Annotated[str, Matching(r"[a-z]{2,4}(-[a-z]+)+-[0-9]+", "an AWS Region such as ap-northeast-1")]
Bucket = Annotated[str, Matching(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", "the name of an S3 bucket")]
TableName = Annotated[str, Matching(r"[A-Za-z0-9_.-]{3,255}", "the name of a DynamoDB table")]
TableIndexName = Annotated[str, Matching(r"[A-Za-z0-9_.-]{3,255}", "the name of an index of a DynamoDB table")]
# Part of a document, too, where a dot would make an object of it and a first "_" is OpenSearch's own.
Marker = Annotated[
    str, Matching(r"[A-Za-z][A-Za-z0-9_-]{0,63}", "the name of a marker: 1 to 64 of A-Z, a-z, 0-9, _ -, the first a letter")
]
PipelineName = Annotated[
    str,
    Matching(r"[a-z][a-z0-9-]{2,27}", "the name of an Ingestion pipeline: 3 to 28 of a-z, 0-9 and -, beginning with a letter"),
]
SubPipelineName = Annotated[
    str, Matching(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", "the key of a pipeline within its body: 1 to 64 of A-Z, a-z, 0-9, _ -")
]
DeliveryStream = Annotated[str, Matching(r"[A-Za-z0-9_.-]{1,64}", "the name of a Firehose stream")]
FunctionName = Annotated[str, Matching(r"[A-Za-z0-9_-]{1,64}", "the name of a Lambda function")]
Qualifier = Annotated[str, Matching(r"[A-Za-z0-9_-]{1,128}", "the alias or version of a Lambda function")]
EventSource = Annotated[
    str, Matching(r"arn:aws[a-z-]*:(dynamodb|kinesis|sqs):[a-z0-9-]+:[0-9]{12}:.{1,1024}", "the ARN of a stream or an SQS queue")
]
Destination = Annotated[
    str,
    Matching(
        r"arn:aws[a-z-]*:(sqs|sns|lambda|events|s3):[a-z0-9-]*:([0-9]{12})?:.{1,300}",
        "the ARN of a destination: an SQS queue, an SNS topic, a function, an event bus or a bucket",
    ),
]
ConnectionId = Annotated[str, Matching(r"[A-Za-z0-9_.:/-]{1,200}", "the id of an Airflow connection")]
# Part of DAG ids (at most 250 characters, letters, digits, "_", "." and "-"), of pool names and of S3 keys.
Key = Annotated[
    str, Matching(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", "a key: 1 to 100 of A-Z, a-z, 0-9, _ . -, the first a letter or a digit")
]
IndexName = Annotated[
    str,
    Matching(
        r"[^A-Z\s\\/*?\"<>|,#:_+.-][^A-Z\s\\/*?\"<>|,#:]{0,79}",
        'the name of an index or alias: no capitals, spaces or \\ / * ? " < > | , # :, not beginning with _ - + or .',
    ),
]


def _custom_package(value: str) -> str:
    if re.fullmatch(r"F[0-9]+", value):
        return value
    if re.fullmatch(r"G[0-9]+", value):
        raise ValueError(f'"{value}" is an AWS-managed package; a custom package starts with F')
    if value.startswith("pkg-"):
        raise ValueError(f'"{value}" is a plugin; a dictionary is a custom package, which starts with F')
    raise ValueError(f'"{value}" is not the id of a custom package such as F123456789')


PackageId = Annotated[Text, AfterValidator(_custom_package), Field(json_schema_extra={"pattern": "^F[0-9]+$"})]


def _inside_project(value: str) -> str:
    path = PurePosixPath(value)
    if "://" in value or "\\" in value or path.is_absolute() or ".." in path.parts or not path.parts:
        raise ValueError(f'"{value}" is not a path inside the project, relative to the folder above that of the inventory')
    return value


def _source(value: str) -> str:
    if not value.startswith("s3://"):
        return _inside_project(value)
    if re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/.{1,1024}", value) is None:
        raise ValueError(f'"{value}" is not an object in S3: s3://bucket/key')
    return value


ProjectPath = Annotated[Text, AfterValidator(_inside_project)]
Source = Annotated[Text, AfterValidator(_source)]

_DURATION = re.compile(r"(?:([0-9]{1,4})d)?(?:([0-9]{1,5})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,7})s)?")


def parse_duration(value: Any) -> timedelta:
    """Read ``2h``, ``1h30m`` or ``45s``; units are d, h, m and s, in this order."""
    if isinstance(value, timedelta):
        return value
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    parts = [int(part or 0) for part in found.groups()] if found else []
    if not any(parts):
        raise ValueError(f"expected a duration such as 2h, 30m or 1h30m, found {value!r}")
    days, hours, minutes, seconds = parts
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def format_duration(value: timedelta) -> str:
    """Write a duration as :func:`parse_duration` reads it; fractions of a second are dropped."""
    minutes, seconds = divmod(value.days * 86_400 + value.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = zip((days, hours, minutes, seconds), "dhms", strict=True)
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": f"^{_DURATION.pattern}$", "examples": ["2h", "1h30m"]}),
]


def _cron(value: str) -> str:
    from croniter import croniter

    try:
        cron = croniter(value, datetime(2024, 1, 1))  # noqa: DTZ001 - any moment will do, the zone plays no part
        cron.get_next(datetime)
    except (ValueError, KeyError, OverflowError) as error:
        raise ValueError(f'"{value}" is not a cron expression such as "0 3 * * *" that comes true: {error}') from error
    if len(cron.expanded) != 5:
        # Airflow leaves out seconds and years too: airflow.timetables._cron.CronMixin.
        raise ValueError(f'"{value}" has {len(cron.expanded)} fields; expected five: minute, hour, day, month, day of the week')
    return value


def _timezone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f'"{value}" is not a time zone such as Asia/Tokyo or UTC') from error
    return value


_DIRECTIVES = "Y y m d j %"
_DATES = (date(2024, 2, 29), date(2026, 1, 2), date(2026, 11, 21), date(2026, 12, 31))


def _date_format(value: str) -> str:
    """Only directives that mean the same in every locale, and that can be read back: the day has to be found again in an item."""
    foreign = [found for found in re.findall(r"%(.?)", value, re.DOTALL) if found not in _DIRECTIVES.split()]
    if foreign:
        known = ", ".join(f"%{name}" for name in _DIRECTIVES.split())
        raise ValueError(f'"{value}" holds "%{foreign[0]}"; expected a date of {known}, such as "%Y%m%d" or "%Y-%m-%d"')
    for day in _DATES:
        try:
            read = datetime.strptime(day.strftime(value), value).date()  # noqa: DTZ007 - a date has no zone
        except ValueError:
            read = None
        if read != day:
            raise ValueError(f'"{value}" does not tell one day from another; expected year, month and day, such as "%Y%m%d"')
    return value


Cron = Annotated[Text, AfterValidator(_cron)]
DateFormat = Annotated[Text, AfterValidator(_date_format)]
TimeZone = Annotated[Text, AfterValidator(_timezone)]
