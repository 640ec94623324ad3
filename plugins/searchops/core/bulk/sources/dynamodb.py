"""Lines of a DynamoDB export in the format DYNAMODB_JSON.

A full export holds ``{"Item": {…}}``, an incremental one ``{"Metadata": …, "Keys": {…}, "NewImage": {…}, "OldImage": {…}}``, in
which a deleted item has no NewImage (developer guide, S3DataExport.Output). Attributes are typed: ``{"pk": {"S": "a"}}``.
"""

from __future__ import annotations

import orjson

from searchops.core.bulk.dynamodb_json import attributes, to_plain
from searchops.core.bulk.ids import Unfit
from searchops.core.bulk.model import Operation
from searchops.core.bulk.sources.lines import Parse
from searchops.core.bulk.sources.model import Make, Recipe


def export_parser(recipe: Recipe, make: Make) -> Parse:
    needed = recipe.needed

    def parse(line: bytes, position: int) -> Operation:
        record = orjson.loads(line)
        if type(record) is not dict:
            raise Unfit(f"expected a line of a DynamoDB export, found a {type(record).__name__}")
        image = record.get("Item") or record.get("NewImage")
        try:
            if image is not None:
                return make(attributes(image, needed), orjson.dumps(to_plain(image)), position)
            if "Keys" in record:
                last = record.get("OldImage")
                return recipe.deletion(attributes(record["Keys"], needed), attributes(last, needed) if last else None)
        except (AttributeError, TypeError, ValueError) as error:
            raise Unfit(f'expected attributes in DynamoDB JSON, such as {{"S": "a"}}: {error}') from None
        raise Unfit("expected a line of a DynamoDB export (Item, or Keys with NewImage or OldImage), found none of them")

    return parse
