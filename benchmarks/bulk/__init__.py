"""Benchmarks of bulk indexing, on JMdict and JMnedict.

``documents``   the input: real entries, as one NDJSON file
``client``      ours and what a user would take instead, each in a process of its own (`python -m benchmarks.bulk.client`)
``throughput``  documents a second, CPU a document, memory
``pressure``    a node that refuses writes: until everything is searchable (with ``foreign``, the load of somebody else)
``ends``        where a document can end, with each of them
``report``      tables and pictures in docs/
"""
