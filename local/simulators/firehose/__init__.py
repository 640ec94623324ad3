"""Amazon Data Firehose: Direct PUT streams that deliver into a real node, and into S3 what the node does not take.

Sources: the service's model in botocore (shapes, limits, texts); developer guide, "Understand data delivery", "Handle data delivery
failures" (retries, format and folder of what failed), "Quota", "Custom prefixes for Amazon S3 objects". Words of errors from reports:
osquery#3568 and cernan#210 (sizes), boto3#2804 ("Slow down.").

Not simulated: other sources and destinations, transformation, encryption, VPC, the checks of roles and buckets at creation, the loss of
data after 24 hours, compressions other than GZIP.

``[unknown]``, that is, chosen by us; what has a name is a setting (see ``settings.Settings``):

- how long a stream is CREATING and DELETING, and that a put then gets ResourceNotFoundException
- whether the 4 MiB of a call are counted before or behind base64: behind it, the stricter way (``call_limit_counts``)
- the burst above a quota (``burst_seconds``); that records over it fail one by one while too many requests fail as a whole (``over_quota``)
- the waits between attempts (``retry_first_seconds``, ``retry_max_seconds``), that later records do not wait for them, that only what
  failed is sent again, and that a bulk request has at most 5 MiB
- that an item's 409 is a failure at once (``conflict``), as every other 4xx; that a whole request is repeated whatever its status
- the folder of what failed, for which Amazon's texts have three names (``failure_folder``); that an object is written with each attempt,
  whatever the buffer of the S3 configuration; errorCode and errorMessage of what is no JSON object, and of a node that does not answer
- the looks of the documents' ids
"""
