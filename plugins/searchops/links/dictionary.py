"""Where the AWS console shows packages and domains."""

from __future__ import annotations

from airflow.providers.amazon.aws.links.base_aws import BASE_AWS_CONSOLE_LINK, BaseAwsLink


class OpenSearchPackageLink(BaseAwsLink):
    """The page of a package."""

    name = "OpenSearch package"
    key = "opensearch_package"
    format_str = BASE_AWS_CONSOLE_LINK + "/aos/home?region={region_name}#opensearch/packages/{package_id}"


class OpenSearchDomainPackagesLink(BaseAwsLink):
    """The packages of a domain."""

    name = "Packages of the domain"
    key = "opensearch_domain_packages"
    format_str = BASE_AWS_CONSOLE_LINK + "/aos/home?region={region_name}#opensearch/domains/{domain_name}?tabId=packages"
