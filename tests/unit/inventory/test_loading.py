from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from searchops.inventory import Domain, Inventory, InventoryError, inventory, load

Read = Callable[[str], Inventory]

DEFAULTS = "defaults: {region: ap-northeast-1, bucket: example-bucket}\n"


def errors(read: Read, text: str) -> tuple[str, ...]:
    return read(DEFAULTS + text).errors


def test_a_domain_comes_with_defaults_packages_in_its_order_and_its_indexes(read: Read) -> None:
    found = read("""
        defaults: {region: ap-northeast-1, bucket: example-bucket, slack_conn_id: ops}
        packages:
          words: {package_id: F1, kind: kuromoji_user_dictionary, source: include/words.csv}
          synonyms: {kind: synonyms, source: "s3://upstream/synonyms.txt", on_drift: overwrite}
        domains:
          products: {opensearch_conn_id: products, deadline: 1h30m, packages: [synonyms, words]}
          other: {opensearch_conn_id: other, region: eu-west-1, bucket: example-bucket-eu, domain_name: the-other}
        indexes:
          items: {domain: products, body: include/items.json}
          elsewhere: {domain: other}
    """)

    domain = found.domains["products"]
    assert (domain.domain_name, domain.region, domain.bucket) == ("products", "ap-northeast-1", "example-bucket")
    assert (domain.aws_conn_id, domain.slack_conn_id, domain.timezone) == ("aws_default", "ops", "UTC")
    assert domain.deadline == timedelta(minutes=90)
    assert [package.key for package in domain.packages] == ["synonyms", "words"]
    assert [(package.package_id, package.name) for package in domain.packages] == [(None, "synonyms"), ("F1", None)]
    assert [package.source_path for package in domain.packages] == [None, found.root / "include/words.csv"]
    assert [(index.name, index.body_path) for index in domain.indexes] == [("items", found.root / "include/items.json")]
    other = found.domains["other"]
    assert (other.domain_name, other.region, other.bucket) == ("the-other", "eu-west-1", "example-bucket-eu")
    assert found.errors == ()


def test_a_domain_goes_through_json_and_back(read: Read) -> None:
    found = read(
        DEFAULTS
        + """
packages: {words: {kind: stopwords, source: include/words.txt}}
domains: {products: {opensearch_conn_id: x, deadline: 2h, packages: [words], preview: {max_changed_documents: 3, min_rbo: 0.5}}}
indexes:
  items:
    domain: products
    id: {scheme: position}
    version: {scheme: sequence}
    hand_over: {patience: 90s}
    probes: [{text: 東京, analyzer: ja, contains: [東京]}]
"""
    ).domains["products"]

    assert Domain.model_validate(found.model_dump(mode="json")) == found
    assert Domain.model_validate_json(found.model_dump_json()) == found
    assert found.indexes[0].deletes == "tombstone"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "packages: {synonyms: {package_id: G12, kind: synonyms, source: a.txt}}",
            'packages.synonyms.package_id: "G12" is an AWS-managed package; a custom package starts with F (line 2)',
        ),
        (
            "packages: {synonyms: {package_id: pkg-0a, kind: synonyms, source: a.txt}}",
            'packages.synonyms.package_id: "pkg-0a" is a plugin; a dictionary is a custom package, which starts with F (line 2)',
        ),
        (
            "packages: {synonyms: {package_id: F1, name: words, kind: synonyms, source: a.txt}}",
            "packages.synonyms: package_id and name are two ways to name one package; keep one of them (line 2)",
        ),
        (
            "packages: {Synonyms: {kind: synonyms, source: a.txt}}",
            'packages.Synonyms.name: "Synonyms" is not the name of a package: 3 to 32 of a-z, 0-9 and -, beginning with a letter (line 2)',
        ),
        (
            "packages:\n  words:\n    kind: synonym\n    source: a.txt",
            "packages.words.kind: expected 'synonyms', 'kuromoji_user_dictionary' or 'stopwords', found \"synonym\" (line 4)",
        ),
        ("packages: {words: {kind: synonyms}}", "packages.words.source: is missing (line 2)"),
        (
            "packages: {words: {kind: synonyms, source: s3://bucket}}",
            'packages.words.source: "s3://bucket" is not an object in S3: s3://bucket/key (line 2)',
        ),
        (
            "domains: {dom: {opensearch_conn_id: x, schedul: a}}",
            "domains.dom.schedul: unknown key; expected one of approval, aws_conn_id, bucket, deadline, domain_name, opensearch_conn_id, "
            'packages, preview, region, schedule, slack_conn_id, timezone, waits; did you mean "schedule"? (line 2)',
        ),
        (
            "domains: {dom: {opensearch_conn_id: x, preview: {max_changed_documents: 1, min_rb: 1, min_rbo: 1}}}",
            'domains.dom.preview.min_rb: unknown key; expected one of max_changed_documents, min_rbo; did you mean "min_rbo"? (line 2)',
        ),
        (
            "domains: {dom: {opensearch_conn_id: 5}}",
            "domains.dom.opensearch_conn_id: expected text, found 5; put it in quotes (line 2)",
        ),
        ("domains: {dom: [a]}", "domains.dom: expected a mapping, found a list (line 2)"),
        (
            "domains: {dom: {opensearch_conn_id: x, approval: 'yes'}}",
            'domains.dom.approval: expected a valid boolean, found "yes" (line 2)',
        ),
        (
            "packages: {words: {kind: stopwords, source: a.txt}}\ndomains:\n  dom:\n    opensearch_conn_id: x\n    packages: [wrds]",
            'domains.dom.packages[0]: there is no package "wrds"; expected one of words; did you mean "words"? (line 6)',
        ),
        (
            "packages: {words: {kind: stopwords, source: a.txt}}\ndomains: {dom: {opensearch_conn_id: x, packages: [words, words]}}",
            'domains.dom.packages[1]: "words" is listed twice (line 3)',
        ),
        (
            "domains: {Dom: {opensearch_conn_id: x}}",
            'domains.Dom.domain_name: "Dom" is not the name of a domain: 3 to 28 of a-z, 0-9 and -, beginning with a letter (line 2)',
        ),
        ("domains: {1: {opensearch_conn_id: x}}", "domains.1: expected text, found 1; put it in quotes (line 2)"),
        (
            "indexes: {items: {domain: dom}}",
            'indexes.items.domain: there is no domain "dom"; expected one of (there is none) (line 2)',
        ),
        (
            "indexes: {Items: {domain: dom}}",
            'indexes.Items: "Items" is not the name of an index or alias: no capitals, spaces or \\ / * ? " < > | , # :, '
            "not beginning with _ - + or . (line 2)",
        ),
        (
            "pipelines: {}",
            "pipelines: unknown section; expected one of defaults, domains, functions, indexes, packages, tables (line 2)",
        ),
        ("domains: [a]", "domains: expected a mapping, found a list (line 2)"),
    ],
)
def test_a_mistake_is_told_with_file_path_expectation_and_line(read: Read, text: str, message: str) -> None:
    assert errors(read, text) == (f"include/searchops.yaml: {message}",)


def test_all_mistakes_of_an_entry_are_told_at_once(read: Read) -> None:
    found = errors(read, "domains: {dom: {opensearch_conn_id: x, timezone: Asia/Tokio, deadline: 2, schedule: daily}}")

    assert [message.split(": ")[1] for message in found] == [
        "domains.dom.schedule",
        "domains.dom.timezone",
        "domains.dom.deadline",
    ]


def test_a_domain_is_broken_with_its_package_and_says_why(read: Read) -> None:
    found = read(
        DEFAULTS
        + """
packages:
  good: {kind: synonyms, source: a.txt}
  bad: {kind: synonyms, source: ../a.txt}
domains:
  one: {opensearch_conn_id: x, packages: [good]}
  two: {opensearch_conn_id: x, packages: [good, bad]}
"""
    )

    assert set(found.domains) == {"one"}
    assert set(found.packages) == {"good"}
    assert [(entry.section, entry.key) for entry in found.broken] == [("packages", "bad"), ("domains", "two")]
    assert found.broken[1].errors == (
        'include/searchops.yaml: domains.two.packages[1]: the package "bad" does not validate (line 8)',
        'include/searchops.yaml: packages.bad.source: "../a.txt" is not a path inside the project, '
        "relative to the folder above that of the inventory (line 5)",
    )
    assert found.problems == (), "the domain's own DAG shows it"


def test_a_broken_index_takes_its_domain_along_rather_than_count_as_one_that_nobody_named(read: Read) -> None:
    found = read(
        DEFAULTS
        + """
domains:
  one: {opensearch_conn_id: x}
  two: {opensearch_conn_id: x}
indexes:
  items: {domain: two, on_search_time_use: close}
"""
    )

    assert set(found.domains) == {"one"}
    assert any("on_search_time_use" in message for entry in found.broken if entry.key == "two" for message in entry.errors)


def test_what_no_domain_shows_is_a_problem_of_the_inventory(read: Read) -> None:
    found = read(
        DEFAULTS
        + """
packages: {unused: {kind: nothing, source: a.txt}}
domains: {one: {opensearch_conn_id: x}}
indexes: {lost: {domain: oen}}
domian: {}
"""
    )

    assert set(found.domains) == {"one"}
    assert [message.split(": ")[1] for message in found.problems] == ["domian", "packages.unused.kind", "indexes.lost.domain"]


def test_wrong_defaults_are_told_by_every_domain(read: Read) -> None:
    found = read("defaults: {region: tokyo}\ndomains: {one: {opensearch_conn_id: x}, two: {opensearch_conn_id: x}}")

    message = 'include/searchops.yaml: defaults.region: "tokyo" is not an AWS Region such as ap-northeast-1 (line 1)'
    assert [(entry.key, entry.errors) for entry in found.broken] == [("one", (message,)), ("two", (message,))]


def test_a_region_and_a_bucket_have_to_come_from_somewhere(read: Read) -> None:
    found = read("domains: {one: {opensearch_conn_id: x, region: eu-west-1}}")

    assert found.errors == ("include/searchops.yaml: domains.one.bucket: is missing; give it here or in defaults (line 1)",)


def test_two_entries_for_one_domain_or_one_package_would_undo_each_other_so_the_later_is_broken(read: Read) -> None:
    found = read(
        DEFAULTS
        + """
packages:
  words: {package_id: F7, kind: stopwords, source: a.txt}
  same-words: {package_id: F7, kind: stopwords, source: b.txt}
domains:
  one: {opensearch_conn_id: x, packages: [words]}
  again: {opensearch_conn_id: x, domain_name: one}
  two: {opensearch_conn_id: x, packages: [same-words]}
  abroad: {opensearch_conn_id: x, domain_name: one, region: eu-west-1, packages: [same-words]}
"""
    )

    assert set(found.domains) == {"one", "abroad"}
    assert found.errors == (
        'include/searchops.yaml: domains.again.domain_name: "one" is already the domain of domains.one (line 8)',
        'include/searchops.yaml: domains.two.packages[0]: "F7" already gets its content from packages.words (line 9)',
    )


def test_entries_yields_the_good_and_the_broken_ones(read: Read) -> None:
    found = read(DEFAULTS + "domains: {bad: {}, good: {opensearch_conn_id: x}}").entries("domains")

    assert {key: type(entry).__name__ for key, entry in found.items()} == {"good": "Domain", "bad": "BrokenEntry"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "is not YAML"),
        ("domains:\n\ta: 1", "is not YAML: found a tab before the text of line 2; YAML indents with spaces"),
        ("domains:\n  a:\n    b: 1\n  \tc: 1", "is not YAML: found a tab before the text of line 4; YAML indents with spaces"),
        ("domains:\n  a:\t@b", "is not YAML: found character that cannot start any token in line 2"),
        ("- a", "expected a mapping"),
        ("", "expected a mapping"),
        ("domains: {}\ndomains: {}", 'the key "domains" is given twice, in lines 1 and 2'),
    ],
)
def test_a_file_that_does_not_mean_one_thing_raises(read: Read, text: str, message: str) -> None:
    with pytest.raises(InventoryError, match=rf"^include/searchops\.yaml: {message}"):
        read(text)


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("packages: {aaa: {kind: stopwords, source: x.txt, source: y.txt}, bbb: {kind: stopwords, source: x.txt}}", ["aaa"]),
        (
            "packages: {aaa: {kind: stopwords, source: x.txt}, bbb: {kind: stopwords, source: x.txt}, aaa: {kind: stopwords, source: x.txt}}",
            ["aaa"],
        ),
        (
            "packages: {aaa: &a {kind: stopwords, source: x.txt, source: y.txt}, bbb: *a, ccc: {kind: stopwords, source: x.txt}}",
            ["aaa", "bbb"],
        ),
        ("packages: &a {aaa: *a}", ["aaa"]),
        ("domains: {aaa: {opensearch_conn_id: x, preview: {min_rbo: 0, min_rbo: 1}}}", ["aaa"]),
    ],
)
def test_a_key_given_twice_breaks_every_entry_that_holds_it_and_no_other(read: Read, text: str, broken: list[str]) -> None:
    found = read(DEFAULTS + text)

    assert [entry.key for entry in found.broken] == broken
    if "&a {aaa" not in text:
        assert all("is given twice, in lines" in entry.errors[0] for entry in found.broken)


def test_a_key_given_twice_in_the_defaults_breaks_what_relies_on_them(read: Read) -> None:
    found = read("defaults: {region: ap-northeast-1, region: eu-west-1}\ndomains: {one: {opensearch_conn_id: x}}")

    (entry,) = found.broken
    assert entry.errors == (
        'include/searchops.yaml: defaults: the key "region" is given twice, in lines 1 and 1; keep one of them (line 1)',
    )


def test_a_missing_file_raises_with_its_full_path(tmp_path: Path) -> None:
    with pytest.raises(InventoryError, match=f"^{tmp_path}/include/searchops.yaml: .*No such file"):
        load(tmp_path / "include/searchops.yaml")


def test_missing_local_files_are_found_without_being_a_mistake_of_the_parse(read: Read) -> None:
    found = read(DEFAULTS + "packages: {words: {kind: stopwords, source: include/words.txt}}")

    assert found.errors == ()
    assert found.missing_files() == [
        f'include/searchops.yaml: packages.words.source: there is no file "include/words.txt" in {found.root}'
    ]
    (found.root / "include/words.txt").touch()
    assert found.missing_files() == []


def test_the_installed_inventory_is_read_again_when_its_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "searchops.yaml"
    monkeypatch.setenv("SEARCHOPS_INVENTORY", str(path))
    path.write_text(DEFAULTS)
    first = inventory()
    assert inventory() is first

    path.write_text(DEFAULTS + "domains: {one: {opensearch_conn_id: x}}")
    os.utime(path, ns=(0, 0))

    assert set(inventory().domains) == {"one"}


def test_a_named_inventory_that_is_missing_raises_and_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEARCHOPS_INVENTORY", "/nowhere/searchops.yaml")

    with pytest.raises(InventoryError, match=r"^/nowhere/searchops.yaml: .*SEARCHOPS_INVENTORY"):
        inventory()
