"""Groups whose members come and go; committed offsets; replay; admin."""
import asyncio
import os
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

BOOTSTRAP, PREFIX = os.environ['BOOTSTRAP'], os.environ['PREFIX']
TOPIC, GROUP = f'{PREFIX}-groups', f'{PREFIX}-group'


async def until(check, what, limit=40):
    deadline = time.time() + limit
    while not check():
        assert time.time() < deadline, what
        await asyncio.sleep(0.05)


class Member:
    def __init__(self, name, seen):
        self.consumer = AIOKafkaConsumer(TOPIC, bootstrap_servers=BOOTSTRAP, group_id=GROUP, client_id=name,
                                         auto_offset_reset='earliest', enable_auto_commit=False,
                                         session_timeout_ms=10000, heartbeat_interval_ms=500, rebalance_timeout_ms=5000)
        self.seen, self.task = seen, None

    async def start(self):
        await self.consumer.start()
        self.task = asyncio.create_task(self.read())

    async def read(self):
        while True:
            for records in (await self.consumer.getmany(timeout_ms=200)).values():
                self.seen.extend(int(r.value) for r in records)

    @property
    def assigned(self):
        return {p.partition for p in self.consumer.assignment()}

    async def stop(self):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.consumer.commit()
        await self.consumer.stop()


async def main():
    admin = AIOKafkaAdminClient(bootstrap_servers=BOOTSTRAP)
    await admin.start()
    await admin.create_topics([NewTopic(TOPIC, 4, 1)])
    producer = AIOKafkaProducer(bootstrap_servers=BOOTSTRAP, enable_idempotence=True)
    await producer.start()

    async def fill(start, stop):
        for i in range(start, stop):
            await producer.send_and_wait(TOPIC, b'%d' % i, partition=i % 4, timestamp_ms=10_000 + i)

    await fill(0, 40)
    seen = []
    a, b = Member('a', seen), Member('b', seen)
    await a.start()
    await until(lambda: set(seen) == set(range(40)), 'the first member reads all')
    await b.start()
    await until(lambda: len(a.assigned) == 2 and len(b.assigned) == 2 and not a.assigned & b.assigned, 'two share')
    await fill(40, 80)
    await until(lambda: set(seen) >= set(range(80)), 'two read all')
    await b.stop()
    await until(lambda: len(a.assigned) == 4, 'one has all')
    await fill(80, 120)
    await until(lambda: set(seen) >= set(range(120)), 'one reads all')
    await a.stop()

    c = AIOKafkaConsumer(bootstrap_servers=BOOTSTRAP, group_id=GROUP, enable_auto_commit=False)
    await c.start()
    parts = [TopicPartition(TOPIC, p) for p in range(4)]
    c.assign(parts)
    assert [await c.committed(p) for p in parts] == [30] * 4
    assert await c.end_offsets(parts) == {p: 30 for p in parts}
    assert await c.beginning_offsets(parts) == {p: 0 for p in parts}
    times = await c.offsets_for_times({p: 10_040 for p in parts})
    assert {t.offset for t in times.values()} == {10}, times
    c.assign(parts[:1])
    c.seek(parts[0], 5)
    assert int((await asyncio.wait_for(c.getone(), 20)).value) == 20
    await c.seek_to_beginning(parts[0])
    assert int((await asyncio.wait_for(c.getone(), 20)).value) == 0
    await c.commit({parts[0]: (7, 'note')})
    assert await c.committed(parts[0]) == 7
    await c.stop()
    await producer.stop()

    assert TOPIC in await admin.list_topics()
    assert GROUP in [g[0] for g in await admin.list_consumer_groups()]
    described = await admin.describe_topics([TOPIC])
    assert len(described[0]['partitions']) == 4
    await admin.delete_topics([TOPIC])
    await admin.close()

asyncio.run(main())
