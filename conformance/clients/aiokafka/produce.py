"""Codecs, headers, keys, nulls, large messages, idempotence, batches, and what is refused."""
import asyncio
import os

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

BOOTSTRAP, PREFIX = os.environ['BOOTSTRAP'], os.environ['PREFIX']


async def read(topic, count):
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=BOOTSTRAP, auto_offset_reset='earliest',
                                max_partition_fetch_bytes=10 << 20)
    await consumer.start()
    try:
        return [await asyncio.wait_for(consumer.getone(), 20) for _ in range(count)]
    finally:
        await consumer.stop()


async def codecs():
    for codec in [None, 'gzip', 'snappy', 'lz4', 'zstd']:
        for idempotent in [False, True]:
            topic = f'{PREFIX}-{codec}-{idempotent}'
            producer = AIOKafkaProducer(bootstrap_servers=BOOTSTRAP, compression_type=codec, acks='all',
                                        enable_idempotence=idempotent, linger_ms=10)
            await producer.start()
            futures = [await producer.send(topic, key=b'k%d' % i if i % 2 else None,
                                           value=b'value %d ' % i * 20 if i % 4 != 1 else None,
                                           headers=[('h', b'%d' % i)], timestamp_ms=1000 + i) for i in range(100)]
            offsets = [(await f).offset for f in futures]
            assert offsets == list(range(100)), offsets
            await producer.stop()
            for i, m in enumerate(await read(topic, 100)):
                assert (m.offset, m.timestamp, m.key) == (i, 1000 + i, b'k%d' % i if i % 2 else None), m
                assert m.value == (b'value %d ' % i * 20 if i % 4 != 1 else None), m
                assert m.headers == (('h', b'%d' % i),), m


async def limits():
    topic = f'{PREFIX}-large'
    producer = AIOKafkaProducer(bootstrap_servers=BOOTSTRAP, max_request_size=5 << 20, acks='all')
    await producer.start()
    large = os.urandom(1048588 - 200)
    await producer.send_and_wait(topic, large)
    try:
        await producer.send_and_wait(topic, os.urandom(1048588))
        raise AssertionError('a message beyond the limit was taken')
    except MessageSizeTooLargeError:
        pass
    batch = producer.create_batch()
    for i in range(10):
        assert batch.append(key=None, value=b'%d' % i, timestamp=None) is not None
    batch.close()
    placed = await (await producer.send_batch(batch, topic, partition=0))
    assert placed.offset == 1, placed
    await producer.stop()
    got = await read(topic, 11)
    assert got[0].value == large and [m.value for m in got[1:]] == [b'%d' % i for i in range(10)]


async def refused():
    producer = AIOKafkaProducer(bootstrap_servers=BOOTSTRAP, request_timeout_ms=5000)
    await producer.start()
    try:
        await asyncio.wait_for(producer.send_and_wait('not/a/topic', b'x'), 10)
        raise AssertionError('a bad topic name was taken')
    except (KafkaError, asyncio.TimeoutError):
        pass
    finally:
        await producer.stop()


async def main():
    await codecs()
    await limits()
    await refused()

asyncio.run(main())
