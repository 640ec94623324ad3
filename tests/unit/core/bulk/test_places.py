from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchops.core.bulk import places
from searchops.core.bulk.places import Place, place_of

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
RUN = "manual__2026-11-21T10:00:00+09:00"


@given(NAMES, NAMES, NAMES)
def test_what_a_key_was_made_of_can_be_read_from_it(index, run, name):
    assert place_of(places.manifest_key(index, run, name, 3, "ab")) == Place(index, run, name)
    assert place_of(places.rejected_key(index, run, name, 3)) == Place(index, run, name)
    assert place_of(places.spool_key(index, run, "ab")) == Place(index, run)
    assert place_of(places.ledger_key(index, run)) == Place(index, run)


@given(NAMES, NAMES, NAMES)
def test_keys_hold_only_what_s3_calls_safe(index, run, name):
    for key in (places.manifest_key(index, run, name, 3, "ab"), places.checkpoint_key(index, run, name)):
        assert re.fullmatch(r"[A-Za-z0-9!_.~/-]+", key)


def test_no_index_has_a_prefix_that_holds_the_objects_of_another():
    assert places.spool_prefix("products") == "spool/products/"
    assert places.spool_prefix("products", "r") == "spool/products/r/"
    assert not places.spool_key("products-2", "r", "ab").startswith(places.spool_prefix("products"))
    assert not places.spool_key("products", "r2", "ab").startswith(places.spool_prefix("products", "r"))


def test_keys_look_as_the_documentation_has_them():
    assert places.ledger_key("products", RUN) == "ledger/products/manual__2026-11-21T10!3A00!3A00!2B09!3A00.json"
    assert places.checkpoint_key("products", "r", "0a1b") == "checkpoints/products/r/0a1b.json"
    assert places.rejected_key("products", "r", "0a1b", 12) == "rejected/products/r/0a1b/00000012.ndjson.gz"
    assert places.manifest_key("products", "r", "0a1b", 12, "cd") == "manifests/products/r/0a1b/00000012-cd.json.gz"


@pytest.mark.parametrize("key", ["", "spool", "spool/products", "spool//r/x", "spool/products/"])
def test_a_key_of_others_is_refused(key):
    with pytest.raises(ValueError, match="expected <kind>/<index>/<run>"):
        place_of(key)


def test_an_input_is_named_by_its_file_and_the_part_of_it():
    names = {places.input_name("s3://a/b"), places.input_name("s3://a/b", "0-3"), places.input_name("s3://a/b0", "-3")}

    assert len(names) == 3
    assert all(re.fullmatch("[0-9a-f]{16}", name) for name in names)
