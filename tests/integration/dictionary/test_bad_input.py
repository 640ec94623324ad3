"""What people get wrong: the run is red with the reason, and the domain goes on with what it has."""

from __future__ import annotations

import threading

import pytest

from local.simulators.http import Application, Request, Response, Server
from tests.integration.dictionary.company import Company, fingerprint, synonyms_index, text_of, until

OLD, NEW, OTHER = ("sofa, couch",), ("sofa, couch", "laptop, notebook"), ("sofa, settee",)


@pytest.fixture
def shop(company: Company) -> Company:
    """A domain with synonyms and an index that the service reloads; new words wait."""
    package_id = company.package("synonyms", OLD, ours=True)
    company.domain("shop", "synonyms", waits={"publish": "5s", "associate": "5s", "reload": "2s"})
    company.index("shop-1", synonyms_index(str(package_id)))
    company.deploy("synonyms", *NEW)
    return company


def nothing_was_published(company: Company) -> bool:
    return len(company.versions("synonyms")) == 1 and sorted(company.tokens("shop-1", "sofa")) == ["couch", "sofa"]


def test_a_source_file_that_is_missing_is_named(shop: Company) -> None:
    shop.file("synonyms").unlink()

    run = shop.run()

    assert run.failed == ["synonyms.plan"]
    assert "include/dictionaries/synonyms.txt: expected a dictionary file" in run.error("synonyms.plan")
    assert run.tries["synonyms.plan"] == 1
    assert nothing_was_published(shop)


@pytest.mark.parametrize("source", ["s3://{bucket}/upstream/none.txt", "s3://no-such-bucket/synonyms.txt"])
def test_a_source_object_that_is_missing_is_named(shop: Company, source: str) -> None:
    shop.packages["synonyms"]["source"] = source = source.format(bucket=shop.bucket)

    run = shop.run()

    assert run.failed == ["synonyms.plan"]
    assert f"{source}: expected an object, found none" in run.error("synonyms.plan")
    assert nothing_was_published(shop)


def test_a_dictionary_that_the_engine_refuses_is_not_published(shop: Company) -> None:
    shop.deploy("synonyms", *NEW, "tv, television", "sofa => couch => settee", "lamp, light")

    run = shop.run()

    assert run.failed == ["synonyms.plan"]
    assert "analyzer searching of index shop-1 does not build" in run.error("synonyms.plan")
    assert "refused from this entry on: 'sofa => couch => settee'" in run.error("synonyms.plan")
    assert nothing_was_published(shop)
    assert "does not build" in shop.report("synonyms.plan")


def test_an_object_that_vanishes_before_it_is_published_is_named(shop: Company) -> None:
    key = f"dictionaries/synonyms/{fingerprint(*NEW)}"

    run = shop.run(before={"synonyms.publish": lambda: shop.s3.delete_object(Bucket=shop.bucket, Key=key)})

    assert run.failed == ["synonyms.publish"]
    assert f"s3://{shop.bucket}/{key}: expected an object, found none" in run.error("synonyms.publish")
    assert nothing_was_published(shop)


def test_an_object_that_somebody_overwrites_is_not_published(shop: Company) -> None:
    key = f"dictionaries/synonyms/{fingerprint(*NEW)}"
    overwrite = {"synonyms.publish": lambda: shop.s3.put_object(Bucket=shop.bucket, Key=key, Body=text_of(OTHER))}

    run = shop.run(before=overwrite)

    assert run.failed == ["synonyms.publish"]
    assert "somebody changed the object" in run.error("synonyms.publish")
    assert nothing_was_published(shop)


def test_a_source_that_changes_after_it_was_read_is_published_as_it_was_read(shop: Company) -> None:
    shop.packages["synonyms"]["source"] = f"s3://{shop.bucket}/upstream.txt"

    def upstream(*lines: str) -> None:
        shop.s3.put_object(Bucket=shop.bucket, Key="upstream.txt", Body=text_of(lines))

    upstream(*NEW)

    run = shop.run(before={"synonyms.publish": lambda: upstream(*OTHER)})

    assert run.green, run
    assert shop.applied("shop-1", "synonyms") == fingerprint(*NEW)
    assert sorted(shop.tokens("shop-1", "laptop")) == ["laptop", "notebook"]


def test_bytes_that_are_swapped_while_the_service_copies_them_are_never_green(shop: Company) -> None:
    key = f"dictionaries/synonyms/{fingerprint(*NEW)}"
    shop.simulator.durations(update_visible=300)  # a second in which the object can be swapped

    def swap() -> None:
        until(lambda: shop.sent("UpdatePackage"), "the package is updated")
        shop.s3.put_object(Bucket=shop.bucket, Key=key, Body=text_of(OTHER))

    swapping = threading.Thread(target=swap)
    swapping.start()
    run = shop.run()
    swapping.join()

    assert shop.association("synonyms")["PackageVersion"] == "v2"
    assert not run.green
    assert shop.applied("shop-1", "synonyms") is None


def test_an_object_under_a_kms_key_fails_with_the_words_of_aws(shop: Company) -> None:
    key = f"dictionaries/synonyms/{fingerprint(*NEW)}"
    encrypted = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "alias/theirs"}
    encrypt = {"synonyms.publish": lambda: shop.s3.put_object(Bucket=shop.bucket, Key=key, Body=text_of(NEW), **encrypted)}

    run = shop.run(before=encrypt)

    assert run.failed == ["synonyms.publish"]
    assert "COPY_FAILED" in run.error("synonyms.publish")
    assert "encrypted with an AWS KMS key" in run.error("synonyms.publish")
    assert nothing_was_published(shop)


def test_a_bucket_that_encrypts_by_kms_does_not_matter(shop: Company) -> None:
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "alias/theirs"}}
    shop.s3.put_bucket_encryption(Bucket=shop.bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})

    assert shop.run().green
    assert shop.applied("shop-1", "synonyms") == fingerprint(*NEW)


@pytest.mark.parametrize("answer", ["not_found", "validation", "empty"])
def test_an_unknown_package_id_is_named_whichever_way_aws_says_it(shop: Company, answer: str) -> None:
    shop.simulator.settings(unknown_package=answer)
    del shop.packages["synonyms"]["name"]
    shop.packages["synonyms"]["package_id"] = "F999999999"

    run = shop.run()

    assert run.failed == ["synonyms.plan"]
    assert "package F999999999 does not exist" in run.error("synonyms.plan")
    assert run.tries["synonyms.plan"] == 1


def test_a_package_of_aws_is_refused_by_the_inventory(shop: Company) -> None:
    del shop.packages["synonyms"]["name"]
    shop.packages["synonyms"]["package_id"] = "G123456789"

    run = shop.run()

    assert run.failed == ["config_error"]
    assert "G123456789" in run.error("config_error")
    assert "managed" in run.error("config_error")


def test_an_unknown_domain_is_found_before_anything_is_published(shop: Company) -> None:
    shop.domains["shop"]["domain_name"] = "shop-of-nobody"

    run = shop.run()

    assert run.failed == ["synonyms.plan"]
    assert "domain shop-of-nobody does not exist" in run.error("synonyms.plan")
    assert nothing_was_published(shop)


@pytest.mark.parametrize("host", [True, False])
def test_credentials_that_aws_does_not_accept_are_one_error_that_names_the_connection(shop: Company, host: bool) -> None:
    shop.hosts["shop"] = host
    shop.simulator.fault("access_denied", code="UnrecognizedClientException", message="The security token is invalid")

    run = shop.run()

    assert "synonyms.plan" in run.failed
    assert "AWS does not accept the credentials" in run.error("synonyms.plan")
    assert '"aws_default"' in shop.report("synonyms.plan")
    assert run.tries["synonyms.plan"] == 1


@pytest.mark.parametrize("operation", ["UpdatePackage", "AssociatePackage"])
def test_a_permission_that_is_missing_is_one_error_that_names_call_and_connection(shop: Company, operation: str) -> None:
    shop.simulator.fault("access_denied", operation)

    run = shop.run()

    (failed,) = run.failed
    assert f"{operation}: not allowed" in run.error(failed)
    assert '"aws_default"' in shop.report(failed)
    assert run.tries[failed] == 1
    assert shop.applied("shop-1", "synonyms") is None


@pytest.mark.parametrize("status", [401, 403])
def test_a_domain_that_refuses_our_credentials_is_one_error_that_names_the_connection(shop: Company, status: int) -> None:
    refusing = Application("refusing")

    def refuse(_: Request) -> Response:
        return Response(status, b'{"error": "security_exception"}', {"Content-Type": "application/json"})

    for method in ("GET", "POST", "PUT"):
        refusing.route(method, "/{path+}", refuse)
    with Server(refusing) as server:
        shop.install()
        port = server.url.rpartition(":")[2]
        connection = f'{{"conn_type": "opensearch", "host": "127.0.0.1", "port": {port}, "extra": {{"use_ssl": false}}}}'
        shop.domains["shop"]["opensearch_conn_id"] = "shop_node"
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AIRFLOW_CONN_SHOP_NODE", connection)
            run = shop.run()

    assert "synonyms.plan" in run.failed
    assert f"the domain refused our credentials ({status})" in run.error("synonyms.plan")
    assert "shop_node" in shop.report("synonyms.plan")
    assert run.tries["synonyms.plan"] == 1
    assert nothing_was_published(shop)


def test_a_version_that_somebody_published_by_hand_is_drift(shop: Company) -> None:
    shop.publish_by_hand("synonyms", *OTHER)

    run = shop.run()

    assert run.failed == ["synonyms.drift"]
    assert "v2 was not published by searchops" in run.error("synonyms.drift")
    assert len(shop.versions("synonyms")) == 2
    assert shop.association("synonyms")["PackageVersion"] == "v1"


@pytest.mark.parametrize("way", ["on_drift", "force"])
def test_drift_is_published_over_where_that_is_wanted(shop: Company, way: str) -> None:
    shop.publish_by_hand("synonyms", *OTHER)
    if way == "on_drift":
        shop.packages["synonyms"]["on_drift"] = "overwrite"

    run = shop.run(force=way == "force")

    assert run.green, run
    assert len(shop.versions("synonyms")) == 3
    assert shop.applied("shop-1", "synonyms") == fingerprint(*NEW)


def test_drift_between_plan_and_publish_is_not_published_over(shop: Company) -> None:
    run = shop.run(before={"synonyms.publish": lambda: shop.publish_by_hand("synonyms", *OTHER)})

    assert run.failed == ["synonyms.publish"]
    assert len(shop.versions("synonyms")) == 2


def test_drift_after_the_publication_is_never_green(shop: Company) -> None:
    run = shop.run(before={"synonyms.associate": lambda: shop.publish_by_hand("synonyms", *OTHER)})

    assert not run.green
    assert "overtaken" in run.error("synonyms.associate")
    assert shop.applied("shop-1", "synonyms") is None
