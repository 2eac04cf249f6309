"""Codecs, headers, keys, nulls, large messages, and what is refused."""
import os

from kafka import KafkaConsumer, KafkaProducer
from kafka.errors import KafkaError, MessageSizeTooLargeError

BOOTSTRAP, PREFIX = os.environ['BOOTSTRAP'], os.environ['PREFIX']
NEW = not os.environ['CLIENT_VERSION'].startswith('2.0.')


def read(topic, count):
    consumer = KafkaConsumer(topic, bootstrap_servers=BOOTSTRAP, auto_offset_reset='earliest',
                             consumer_timeout_ms=20000, fetch_max_bytes=50 << 20,
                             max_partition_fetch_bytes=10 << 20)
    got = []
    for m in consumer:
        got.append(m)
        if len(got) == count:
            break
    consumer.close()
    assert len(got) == count, f'{topic}: {len(got)} of {count}'
    return got


for codec in [None, 'gzip', 'snappy', 'lz4', 'zstd']:
    topic = f'{PREFIX}-{codec}'
    producer = KafkaProducer(bootstrap_servers=BOOTSTRAP, compression_type=codec, acks='all', linger_ms=20)
    futures = [producer.send(topic, key=b'k%d' % i if i % 2 else None,
                             value=b'value %d ' % i * 20 if i % 4 != 1 else None,
                             headers=[('h', b'%d' % i), ('empty', b'')], timestamp_ms=1000 + i)
               for i in range(100)]
    producer.flush()
    offsets = [f.get(timeout=10).offset for f in futures]
    assert offsets == list(range(100)), offsets
    producer.close()
    for i, m in enumerate(read(topic, 100)):
        assert m.offset == i and m.timestamp == 1000 + i, m
        assert m.key == (b'k%d' % i if i % 2 else None), m
        assert m.value == (b'value %d ' % i * 20 if i % 4 != 1 else None), m
        assert [(k, bytes(v)) for k, v in m.headers] == [('h', b'%d' % i), ('empty', b'')], m

for acks in [0, 1, 'all']:
    topic = f'{PREFIX}-acks-{acks}'
    producer = KafkaProducer(bootstrap_servers=BOOTSTRAP, acks=acks)
    for i in range(20):
        producer.send(topic, b'%d' % i).get(timeout=10)
    producer.close()
    assert [m.value for m in read(topic, 20)] == [b'%d' % i for i in range(20)]

# Just below the limit of 1048588 bytes a batch, and beyond it.
producer = KafkaProducer(bootstrap_servers=BOOTSTRAP, max_request_size=5 << 20, acks='all')
topic = f'{PREFIX}-large'
large = os.urandom(1048588 - 200)
producer.send(topic, large).get(timeout=10)
try:
    producer.send(topic, os.urandom(1048588)).get(timeout=10)
    raise AssertionError('a message beyond the limit was taken')
except MessageSizeTooLargeError:
    pass
producer.close()
assert read(topic, 1)[0].value == large

if NEW:
    topic = f'{PREFIX}-idempotent'
    producer = KafkaProducer(bootstrap_servers=BOOTSTRAP, enable_idempotence=True)
    futures = [producer.send(topic, b'%d' % i) for i in range(500)]
    producer.flush()
    assert [f.get(timeout=10).offset for f in futures] == list(range(500))
    producer.close()
    assert [m.value for m in read(topic, 500)] == [b'%d' % i for i in range(500)]

try:
    KafkaProducer(bootstrap_servers=BOOTSTRAP, max_block_ms=3000).send('not/a/topic', b'x').get(timeout=10)
    raise AssertionError('a bad topic name was taken')
except (KafkaError, ValueError, AssertionError) as e:
    assert 'was taken' not in str(e), e
