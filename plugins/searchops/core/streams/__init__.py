"""Index the records of a DynamoDB stream, batch by batch as Lambda hands them to a function, so that no bad record blocks its shard.

``records``       an event of Lambda as stream records
``writes``        the write that a record means for an index, and which write of a document in a batch is the one that remains
``consumer``      bring a batch to its end: each record has one, or the batch is to come again from the first that has none
``dead_letters``  records that can not be indexed, kept with the reason
"""
