"""A stream that delivers by itself: nothing is lost or delivered twice, however many put at once."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

from local.simulators.firehose.service import FirehoseService
from local.simulators.firehose.settings import Settings
from tests.unit.local.firehose.world import DESTINATION, World, answer_all


def test_what_many_put_at_once_is_delivered_once_although_the_node_is_busy_and_delivery_is_paused() -> None:
    world = World()
    world.answers = [answer_all(429)] * 5
    service = FirehoseService(world, world, Settings(speed=1000, creating_seconds=0, bytes_per_second=None))
    destination = DESTINATION | {"RetryOptions": {"DurationInSeconds": 7200}}
    service.create_delivery_stream({"DeliveryStreamName": "s", "AmazonopensearchserviceDestinationConfiguration": destination})
    (delivery,) = service.deliveries("s")

    def put(writer: int) -> None:
        for call in range(20):
            delivery.pause(call % 2 == 0)
            service.put("s", [json.dumps({"n": writer * 1000 + call * 50 + n}).encode() for n in range(50)])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(8)))
    delivery.pause(False)

    assert delivery.wait_until_empty(30)
    service.close()
    rejected, accepted = world.requests[:5], world.requests[5:]
    delivered = [source["n"] for documents in accepted for _, source in documents]
    assert sorted(delivered) == list(range(8000))
    assert sum(map(len, rejected)) == service.states()[0]["retried"]
