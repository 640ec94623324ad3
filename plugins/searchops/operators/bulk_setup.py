"""The tasks that make what an index needs before it is written: scheme, landing index, filter of the alias, Firehose stream.

Each looks, makes what is missing and looks again; one that is to look only says what it would make.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from searchops.hooks.bulk import IndexClients, scheme_of
from searchops.inventory import WrittenIndex
from searchops.operators.arguments import is_false, is_true
from searchops.reporting import report_done, reporting
from searchops.retries import RETRY_DELAY, RETRY_POLICY

if TYPE_CHECKING:
    from airflow.sdk import Context

    from searchops.core.bulk.stream import HandOverStream

STREAM_RETRIES = 5
"""With a first wait of 30 s about 12 minutes: a new stream is ACTIVE after one, a new role known everywhere a little sooner."""


class IndexSetUpOperator(BaseOperator):
    """A task on one index that is written; what it has to say is kept in ``reports/``.

    :param index: a written index of the inventory, as JSON
    :param notice: bucket, aws_conn_id and region of the reports, where the DAG is not the index's own
    :param selected: False skips the index (templated)
    :param only_plan: show what is missing, make nothing; only what is clearly false makes (templated)
    :return: index, changes (what was missing), made; and what the task found
    """

    ui_color = "#eef5ea"
    template_fields: Sequence[str] = ("selected", "only_plan")

    def __init__(
        self,
        *,
        index: Mapping[str, Any],
        notice: Mapping[str, Any] | None = None,
        selected: bool | str = True,
        only_plan: bool | str = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"retries": 3, "retry_delay": RETRY_DELAY, "retry_policy": RETRY_POLICY, **kwargs})
        self.index = dict(index)
        self.notice = dict(notice or {})
        self.selected = selected
        self.only_plan = only_plan

    @cached_property
    def clients(self) -> IndexClients:
        return IndexClients(WrittenIndex.model_validate(self.index))

    def execute(self, context: Context) -> dict[str, Any]:
        if not is_true(self.selected):
            raise AirflowSkipException(f"{self.clients.index.name} was not chosen for this run")
        make = is_false(self.only_plan)
        with self.reporting(context):
            changes, found = self.make() if make else self.look()
            self.tell(context, changes, found, made=make and bool(changes))
        return {"index": self.clients.index.name, "changes": list(changes), "made": make and bool(changes), **found}

    def look(self) -> tuple[Sequence[str], dict[str, Any]]:
        """What is missing, and what else there is to tell."""
        raise NotImplementedError

    def make(self) -> tuple[Sequence[str], dict[str, Any]]:
        """Make it; the same answer."""
        raise NotImplementedError

    def reporting(self, context: Context) -> AbstractContextManager[None]:
        return reporting(context, self.s3, self.bucket, facts=self.clients.facts)

    def tell(self, context: Context, changes: Sequence[str], found: Mapping[str, Any], *, made: bool) -> None:
        name = f"{self.clients.index.name}, {self.task_id.rpartition('.')[2]}"
        title = f"{name}: {'made' if made else 'missing'}: {'; '.join(changes)}" if changes else f"{name}: nothing is missing"
        self.log.info("%s", title)
        for fact in found.items():
            self.log.info("%s: %s", *fact)
        report_done(context, self.s3, self.bucket, title, found)

    @property
    def bucket(self) -> str:
        return str(self.notice.get("bucket") or self.clients.index.bucket)

    def s3(self) -> Any:
        from searchops.hooks.functions import client

        return client("s3", self.notice["aws_conn_id"], self.notice.get("region")) if self.notice else self.clients.s3


class OpenSearchIndexSchemeOperator(IndexSetUpOperator):
    """Write into the mapping's ``_meta`` how versions, ids and deletes of an index are made, after comparing its documents.

    Nobody may write the index meanwhile who does it another way. An index that an Ingestion pipeline will make is left for later.

    :return: also checked: how many documents were compared, and what with
    :raises DataError: there is no such index, it has another scheme, or documents contradict the one of the inventory
    """

    def look(self) -> tuple[Sequence[str], dict[str, Any]]:
        from searchops.core.bulk.scheme_setup import compare_documents, plan_scheme

        self.skip_without_index()
        plan = plan_scheme(self.clients.node, self.clients.index.name, scheme_of(self.clients.index))
        checked = (
            compare_documents(self.clients.node, plan.target.concrete, scheme_of(self.clients.index)) if plan.scheme else None
        )
        return plan.changes, {"checked": str(checked)} if checked else {}

    def make(self) -> tuple[Sequence[str], dict[str, Any]]:
        from searchops.core.bulk.scheme_setup import plan_scheme, write_scheme

        self.skip_without_index()
        name, scheme = self.clients.index.name, scheme_of(self.clients.index)
        changes = plan_scheme(self.clients.node, name, scheme).changes
        checked = write_scheme(self.clients.node, name, scheme)
        return changes, {"checked": str(checked)} if checked else {}

    def skip_without_index(self) -> None:
        from searchops.core.bulk.target import NoIndex, read_target

        if self.clients.index.version.scheme == "ingestion":
            try:
                read_target(self.clients.node, self.clients.index.name)
            except NoIndex as missing:
                raise AirflowSkipException("there is no index yet; run this again when the pipeline has made it") from missing


class OpenSearchLandingIndexOperator(IndexSetUpOperator):
    """Install the landing index of a domain with the pipeline that leads to an index, and prove on the domain that it works.

    :param siblings: the other indexes of the domain that Firehose hands over to: of two tasks at once each installs all
    :param prove: write through it into a probe index, which is removed afterwards; not with ``only_plan`` (templated)
    :return: also proved; left, if documents stand in the landing index, which came while it had no pipeline
    :raises DataError: the index is missing, the pipeline is somebody else's, or the domain does not do what it has to
    """

    template_fields: Sequence[str] = (*IndexSetUpOperator.template_fields, "prove")

    def __init__(self, *, siblings: Sequence[str] = (), prove: bool | str = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.siblings = list(siblings)
        self.prove = prove

    def look(self) -> tuple[Sequence[str], dict[str, Any]]:
        from searchops.core.bulk.landing import plan_landing

        plan = plan_landing(self.clients.node, self.clients.index.name, self.siblings)
        return plan.changes, _left(plan.left)

    def make(self) -> tuple[Sequence[str], dict[str, Any]]:
        from searchops.core.bulk.landing import install_landing
        from searchops.core.bulk.landing_proof import prove_landing

        plan = install_landing(self.clients.node, self.clients.index.name, self.siblings)
        proved = prove_landing(self.clients.node) if is_true(self.prove) else ()
        return plan.changes, {**_left(plan.left), "proved": list(proved)}


def _left(documents: int) -> dict[str, Any]:
    return {"left": f"{documents} documents stand in the landing index; they came while it had no pipeline"} if documents else {}


class OpenSearchAliasFilterOperator(IndexSetUpOperator):
    """Give the alias of an index the filter that hides tombstones from search and count; what the alias has stays.

    :raises DataError: the name is that of an index, which can have no filter
    """

    def look(self) -> tuple[Sequence[str], dict[str, Any]]:
        from searchops.core.bulk.alias import plan_alias_filter

        return plan_alias_filter(self.clients.node, self.clients.index.name).changes, {}

    def make(self) -> tuple[Sequence[str], dict[str, Any]]:
        from searchops.core.bulk.alias import set_alias_filter

        return set_alias_filter(self.clients.node, self.clients.index.name).changes, {}


class FirehoseHandOverStreamOperator(IndexSetUpOperator):
    """Make or correct the Firehose stream that an index's hand-overs take, with its role.

    A new stream is not ACTIVE for about a minute: the try that made it fails as transient, and a later one finds it. A domain with
    fine-grained access control has to know the role as well: the return value names it.

    :return: also stream, role
    :raises DataError: there is a stream of that name that can not be made into this one, or the domain is in a VPC and there is none
    :raises TransientError: it is not ACTIVE yet
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"retries": STREAM_RETRIES, **kwargs})

    def look(self) -> tuple[Sequence[str], dict[str, Any]]:
        stream = self.stream()
        return stream.plan(), _named(stream)

    def make(self) -> tuple[Sequence[str], dict[str, Any]]:
        stream = self.stream()
        return stream.install(), _named(stream)

    def stream(self) -> HandOverStream:
        return self.clients.hand_over_stream()


def _named(stream: HandOverStream) -> dict[str, Any]:
    return {"stream": stream.stream.name, "role": stream.stream.role_arn}
