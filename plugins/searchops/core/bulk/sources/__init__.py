"""What a load reads: NDJSON, Parquet and DynamoDB exports, in S3 or on this machine, as operations that `BulkIndexer` takes.

    recipe = Recipe(IdRule(IdScheme.ATTRIBUTES, ("pk", "sk")), VersionScheme.ATTRIBUTE, "revision")
    for given in plan_inputs(s3, ["s3://bucket/products/"], recipe):
        counts = indexer.run(open_input(s3, given, recipe), input=given.name)

An input is read in order and holds in memory a block and a line (Parquet: a few MiB for each column). It can be entered at any
position; NDJSON is read from its beginning for that, Parquet from the row group. A line that is no document comes as `Unreadable`.
"""

from searchops.core.bulk.ids import IdRule, IdScheme
from searchops.core.bulk.sources.model import BadInput, Format, Input, Recipe, Start
from searchops.core.bulk.sources.plan import open_input, plan_inputs, share_out

__all__ = ["BadInput", "Format", "IdRule", "IdScheme", "Input", "Recipe", "Start", "open_input", "plan_inputs", "share_out"]
