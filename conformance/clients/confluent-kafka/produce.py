"""Codecs, headers, keys, nulls, large messages, idempotence, and what is refused."""
import os

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

BOOTSTRAP, PREFIX = os.environ['BOOTSTRAP'], os.environ['PREFIX']
admin = AdminClient({'bootstrap.servers': BOOTSTRAP})


def create(topic, partitions=1, **config):
    config = {k.replace('_', '.'): v for k, v in config.items()}
    for f in admin.create_topics([NewTopic(topic, partitions, 1, config=config)]).values():
        f.result(20)
    return topic


def read(topic, count):
    c = Consumer({'bootstrap.servers': BOOTSTRAP, 'group.id': f'{PREFIX}-reader', 'enable.auto.commit': False,
                  'fetch.message.max.bytes': 10 << 20})
    c.assign([TopicPartition(topic, 0, 0)])
    got = []
    while len(got) < count:
        for m in c.consume(count - len(got), timeout=20) or [None]:
            assert m is not None, f'{topic}: {len(got)} of {count}'
            assert m.error() is None, m.error()
            got.append(m)
    c.close()
    return got


def send(producer, topic, messages):
    """Sends messages and returns (error, offset) of each, in order."""
    results = [None] * len(messages)

    def done(i):
        def report(err, msg):
            results[i] = (err, msg.offset())
        return report

    for i, m in enumerate(messages):
        producer.produce(topic, on_delivery=done(i), **m)
    assert producer.flush(30) == 0
    return results


for codec in ['none', 'gzip', 'snappy', 'lz4', 'zstd']:
    for settings in [{'acks': 'all'}, {'enable.idempotence': True}, {'acks': 1}, {'acks': 0}]:
        topic = create(f'{PREFIX}-{codec}-{"-".join(f"{k}-{v}" for k, v in settings.items())}')
        p = Producer({'bootstrap.servers': BOOTSTRAP, 'compression.type': codec, 'linger.ms': 20, **settings})
        messages = [{'key': None if i % 2 else b'k%d' % i, 'value': None if i % 3 == 0 else b'value %d ' % i * 20,
                     'headers': [('h', b'%d' % i), ('null', None)], 'timestamp': 1000 + i} for i in range(200)]
        results = send(p, topic, messages)
        assert all(err is None for err, _ in results), results
        if settings != {'acks': 0}:
            assert [o for _, o in results] == list(range(200)), results
        for i, m in enumerate(read(topic, 200)):
            assert (m.offset(), m.key(), m.value(), m.headers(), m.timestamp()[1]) == (
                i, messages[i]['key'], messages[i]['value'], messages[i]['headers'], 1000 + i), i

topic = create(f'{PREFIX}-large')
p = Producer({'bootstrap.servers': BOOTSTRAP, 'message.max.bytes': 5 << 20})
large = os.urandom(1048588 - 200)
assert send(p, topic, [{'value': large}])[0][0] is None
assert send(p, topic, [{'value': os.urandom(1048588)}])[0][0].code() == KafkaError.MSG_SIZE_TOO_LARGE
assert read(topic, 1)[0].value() == large

stamped = create(f'{PREFIX}-stamped', message_timestamp_type='LogAppendTime')
assert send(Producer({'bootstrap.servers': BOOTSTRAP}), stamped, [{'value': b'v', 'timestamp': 5}])[0][0] is None
assert read(stamped, 1)[0].timestamp()[1] > 1_600_000_000_000

compacted = create(f'{PREFIX}-compacted', cleanup_policy='compact')
p = Producer({'bootstrap.servers': BOOTSTRAP})
assert send(p, compacted, [{'key': b'k', 'value': b'v'}])[0][0] is None
assert send(p, compacted, [{'value': b'no key'}])[0][0] is not None

# Unknown topics are made by use when producing, not when a consumer must not.
assert send(p, f'{PREFIX}-by-use', [{'value': b'v'}])[0][0] is None
try:
    Consumer({'bootstrap.servers': BOOTSTRAP, 'group.id': 'x'}).get_watermark_offsets(TopicPartition(f'{PREFIX}-no', 0), 5)
    raise AssertionError('an unknown topic has offsets')
except KafkaException as e:
    assert e.args[0].code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_PARTITION,
                                KafkaError._UNKNOWN_TOPIC, KafkaError.LEADER_NOT_AVAILABLE), e
