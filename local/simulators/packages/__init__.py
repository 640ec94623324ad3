"""Amazon OpenSearch Service's package API on this machine, acting on a real node.

``model``    packages, associations and domains as values, and what time does to them
``service``  the operations, the settings, the clock's work
``faults``   what a test can order to go wrong
``node``     what an association does to the OpenSearch node
``objects``  the copy of the source object from S3
``api``      HTTP: botocore's own model in and out, the control routes
``control``  a client for the control routes

A rule names the document it comes from; ``[unknown]`` marks what AWS does not document: there the simulator had to choose.
"""
