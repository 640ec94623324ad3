"""A proxy before an OpenSearch node that passes everything on and fails when told to.

``faults``    the kinds, what a test can order, what is drawn from a seed, what has happened
``bulk``      a bulk request taken apart, its answer put together again
``answers``   what a refused client is told, word for word
``upstream``  the connection to the node
``proxy``     HTTP: what happens to a request, the control routes
``control``   ``FaultProxy`` in a thread of a test, ``FaultControl`` for one that runs as a process

Items that are refused never reach the node, the others do, so that the index tells the truth about every fault.
"""
