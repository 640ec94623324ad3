"""Clients of AWS and of a domain, made from Airflow connections."""
