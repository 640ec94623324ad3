"""What to do about a kind of failure, in words for whoever looks at the groups of a redrive."""

from __future__ import annotations

from searchops.core.bulk.undelivered import SPOOLED, UNREADABLE

_BY_SIGN: tuple[tuple[tuple[str, ...], str], ...] = (
    ((SPOOLED,), "nothing is wrong with them: they wait in the spool; run the redrive"),
    ((UNREADABLE,), "no line of Firehose's or of the spool: the redrive moves them to rejected/, look there at what wrote them"),
    (
        ("version_conflict_engine_exception", "409"),
        "nothing to do: the index already holds this write or a newer one; the redrive ends them as superseded or indexed",
    ),
    (
        ("cluster_block_exception",),
        "the index takes no writes (a full disk, or read-only): remove the cause and the block, then run the redrive",
    ),
    (("index_closed_exception",), "the index was closed: open it, then run the redrive"),
    (("index_not_found_exception", "404"), "the index was missing: make it, run the DAG searchops_setup, then the redrive"),
    (
        ("rejected_execution_exception", "circuit_breaking_exception", "429"),
        "the cluster was busy for longer than Firehose tries: run the redrive when its write queue is short; if that comes often, the "
        "domain is too small for its writes",
    ),
    (
        ("mapper_parsing_exception", "document_parsing_exception", "strict_dynamic_mapping_exception", "mapping"),
        "the document does not fit the mapping: correct the mapping (or the document at its source), then run the redrive; what still "
        "does not fit is kept under rejected/",
    ),
    (
        ("ES.MalformedData", "Malformed"),
        "Firehose took them for malformed: the redrive sends them itself, which has no such limit",
    ),
    (
        ("security_exception", "401", "403"),
        "the role of the stream may not write: map it in the domain (fine-grained access control), then run the redrive",
    ),
    (
        ("413", "too_large"),
        "too large for the cluster's request limit: the redrive sends them alone; what is still too large is rejected",
    ),
    (
        ("script_exception", "illegal_argument_exception", "ingest_processor_exception", "pipeline"),
        "the pipeline of the landing index, or the index's own, refused them: run the DAG searchops_setup, which installs and proves it; "
        "the redrive writes to the index itself",
    ),
    (
        ("ES.ServiceException", "500", "502", "503", "504"),
        "the domain did not answer for longer than Firehose tries: run the redrive when it is well",
    ),
)
OTHER = "look at the message of one of them; the redrive tries them again, and keeps under rejected/ what the cluster refuses"


def remedy(kind: str) -> str:
    """
    :param kind: as `undelivered.kind_of` names it
    """
    for signs, words in _BY_SIGN:
        if any(sign in kind for sign in signs):
            return words
    return OTHER
