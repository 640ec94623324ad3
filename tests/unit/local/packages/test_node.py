from __future__ import annotations

from local.processes import free_port
from local.simulators.packages.model import Domain
from local.simulators.packages.node import OpenSearchEffects, Shelf, Use, uses
from local.simulators.packages.service import PackageService


def test_only_filters_that_know_updateable_are_updateable():
    def component(type_, setting, updateable):
        return {"type": type_, setting: "analyzers/F1", "updateable": updateable}

    analysis = {
        "tokenizer": {"japanese": component("kuromoji_tokenizer", "user_dictionary", "true")},
        "filter": {
            "graph": component("synonym_graph", "synonyms_path", "true"),
            "flat": component("synonym", "synonyms_path", True),
            "fixed": component("synonym", "synonyms_path", "false"),
            "keywords": component("keyword_marker", "keywords_path", "true"),
            "stop": component("stop", "stopwords_path", "true"),
            "inline": {"type": "synonym", "synonyms": ["a, b"], "updateable": "true"},
        },
        "analyzer": {"searching": {"tokenizer": "japanese"}},
    }

    assert uses(analysis) == [
        Use("F1", "tokenizer", "japanese", False),
        Use("F1", "filter", "graph", True),
        Use("F1", "filter", "flat", True),
        Use("F1", "filter", "fixed", False),
        Use("F1", "filter", "keywords", True),
        Use("F1", "filter", "stop", False),
    ]


def test_the_shelf_knows_what_a_file_held_at_any_time(tmp_path, monkeypatch):
    (tmp_path / "F1").write_bytes(b"before")
    shelf = Shelf(tmp_path)
    for moment, content in ((10.0, b"first"), (20.0, b"second")):
        monkeypatch.setattr("local.simulators.packages.node.time.time", lambda now=moment: now)
        shelf.put("F1", content)
    monkeypatch.setattr("local.simulators.packages.node.time.time", lambda: 30.0)
    shelf.delete("F1")

    assert [shelf.at("F1", moment) for moment in (5, 10, 15, 20, 25, 30)] == [
        b"before",
        b"first",
        b"first",
        b"second",
        b"second",
        None,
    ]
    assert shelf.current("F1") is None
    assert not (tmp_path / "F1").exists()


def test_files_can_be_read_by_the_user_of_the_node(tmp_path):
    Shelf(tmp_path).put("F1", b"a, b\n")

    assert (tmp_path / "F1").stat().st_mode & 0o777 == 0o644
    assert [path.name for path in tmp_path.iterdir()] == ["F1"]


def test_an_association_with_a_node_that_is_down_fails_and_does_not_hang(world, tmp_path):
    node = OpenSearchEffects(f"http://127.0.0.1:{free_port()}", tmp_path)
    world.service = PackageService(world.bucket, node, clock=world.clock)
    world.service.put_domain(Domain("search", "127.0.0.1:1"))
    world.bucket.objects["object"] = b"a, b\n"
    source = {"S3BucketName": "bucket", "S3Key": "object"}
    world.service.create_package({"PackageName": "synonyms", "PackageType": "TXT-DICTIONARY", "PackageSource": source})
    world.pass_time(20)
    world.service.associate_package({"PackageID": "F100000001", "DomainName": "search"})
    world.pass_time(50)

    row = world.service.list_packages_for_domain({"DomainName": "search"})["DomainPackageDetailsList"][0]
    assert row["DomainPackageStatus"] == "ASSOCIATION_FAILED"
    assert row["ErrorDetails"]["ErrorType"] == "InternalError"
