"""Put user and synonym dictionaries live: parse, check, fingerprint, decide what must change, prove that it did."""
