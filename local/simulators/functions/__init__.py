"""AWS Lambda's invocations, in real processes: what moto, which keeps the functions and their settings, does only with Docker.

Source: AWS Lambda developer guide, "Invoking a Lambda function asynchronously", "How Lambda handles errors and retries with asynchronous
invocation", "Capturing records of Lambda asynchronous invocations", "Using Lambda with Amazon SQS"; API reference, Invoke.

A function runs from its unzipped code in a process without Airflow, one event at a time; more at once are more processes. A process that
has ended an invocation takes the next one, as Lambda's execution environments do. An invocation longer than the function's Timeout is
killed.

Asynchronous invocations follow the function's event-invoke configuration in moto: retries after one and two minutes (divided by the
speed), a maximum age, an SQS queue as the on-failure destination. Not simulated: throttling and the retries of 429 and 5xx for hours,
on-success and other destinations, dead-letter queues, versions and aliases, layers. [unknown] the exact moment at which an event
that is too old is given up; here it is when its age is reached, between two attempts.
"""
