"""A proxy before DynamoDB Local that passes everything on, adds latency, and fails when told to.

``faults``    the kinds, what a test can order, what is drawn from a seed, what has happened
``answers``   what a refused client is told
``proxy``     HTTP: what happens to a request, the control routes
``control``   ``DynamoDBProxy`` in a thread of a test, ``DynamoDBFaultControl`` for one that runs as a process

A request that is refused never reaches the engine; one whose answer is lost has taken effect. The streams' calls pass, too.
"""
