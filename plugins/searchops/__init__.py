"""Operate Amazon OpenSearch Service from Apache Airflow."""
