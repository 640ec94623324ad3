"""Lambda's event source mappings of DynamoDB streams: reads DynamoDB Local's streams and calls functions with batches of records.

Sources: AWS Lambda developer guide, "Using AWS Lambda with Amazon DynamoDB" with its pages on polling and batching, parameters, partial
batch responses ("Configuring partial batch response") and discarded records ("Retain discarded records"), "Control which events Lambda
sends to your function"; DynamoDB developer guide, "Change data capture for DynamoDB Streams".

``mapping``       a mapping's settings, read from moto, where CreateEventSourceMapping and UpdateEventSourceMapping leave them
``records``       a stream record as a handler sees it; sequence numbers with AWS's 22 to 28 digits
``filters``       FilterCriteria
``batches``       what is to become of a batch after an invocation; no effects
``destinations``  what an on-failure destination gets
``progress``      which records of a shard are done, and the checkpoint that survives the process
``poller``        the threads: one reader a shard, as many lanes as the ParallelizationFactor
``effects``       the stream, the functions, SQS, SNS, S3 and CloudWatch
``orders``        the faults
``api``, ``control``  control routes, and a client for them

Delivery is at least once, as Lambda's: whoever kills the process gets the records behind the last checkpoint again, while handlers that
were called may still be at work.

What DynamoDB Local does otherwise than DynamoDB is made good here: sequence numbers of 21 digits with leading zeros; ``awsRegion`` (it
says ``ddblocal``); TTL deletes, which it calls UNKNOWN_TO_SDK_VERSION and gives no userIdentity. ApproximateCreationDateTime stays cut to
the minute, as it says; ages are counted from when a record was read, if that fits the minute.

Not simulated: tumbling windows, event source mappings of versions and aliases, Kafka as a destination, metrics of event source mappings,
throttling of functions, the up to a minute that changes of a mapping take.

``[unknown]``, that is, chosen by us:

- the waits between attempts: 1 s, doubling up to 30 s
- that the attempts of a batch go on being counted when a partial response has shortened it without BisectBatchOnFunctionError; that with
  it the shortened batch keeps the count it had; that a partial response which names the first record is a failed attempt and no bisection
- that an identifier which is no sequence number of the batch makes it a failure of the whole batch
- that a changed mapping begins at its checkpoint, with its count of attempts at zero
- with ParallelizationFactor: that one checkpoint a shard is kept, so that records behind it that are done come again after a restart
- what ``RecordAgeExceeded`` looks like for records that were never sent: without a responseContext
"""
