"""Waits that cost no worker."""
