"""The admin client, as far as the version has it."""
import os
import time

import confluent_kafka.admin as ka
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic

BOOTSTRAP, PREFIX = os.environ['BOOTSTRAP'], os.environ['PREFIX']
TOPIC, GROUP = f'{PREFIX}-admin', f'{PREFIX}-admin-group'
admin = AdminClient({'bootstrap.servers': BOOTSTRAP})


def until(check, what):
    deadline = time.time() + 20
    while not check():
        assert time.time() < deadline, what
        time.sleep(0.05)


def refused(code, futures):
    for f in futures.values():
        try:
            f.result(20)
        except KafkaException as e:
            assert e.args[0].code() == code, e
        else:
            raise AssertionError(f'no error {code}')


def done(futures):
    return [f.result(20) for f in futures.values()]


done(admin.create_topics([NewTopic(TOPIC, 2, 1, config={'retention.ms': '123456'})]))
refused(KafkaError.TOPIC_ALREADY_EXISTS, admin.create_topics([NewTopic(TOPIC, 2, 1)]))
refused(KafkaError.INVALID_REPLICATION_FACTOR, admin.create_topics([NewTopic(TOPIC + '-3', 1, 3)]))
refused(KafkaError.INVALID_CONFIG, admin.create_topics([NewTopic(TOPIC + '-c', 1, 1, config={'no.such': '1'})]))
done(admin.create_partitions([NewPartitions(TOPIC, 4)]))
until(lambda: len(admin.list_topics(TOPIC, timeout=10).topics[TOPIC].partitions) == 4, 'four partitions')


def config(name):
    return done(admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, TOPIC)]))[0][name].value


assert config('retention.ms') == '123456'
done(admin.alter_configs([ConfigResource(ConfigResource.Type.TOPIC, TOPIC, set_config={'retention.ms': '654321'})]))
until(lambda: config('retention.ms') == '654321', 'the altered config shows')
broker = done(admin.describe_configs([ConfigResource(ConfigResource.Type.BROKER, '1')]))[0]
assert broker['log.segment.bytes'].value == '1073741824', broker['log.segment.bytes']

p = Producer({'bootstrap.servers': BOOTSTRAP})
for i in range(8):
    p.produce(TOPIC, b'v', partition=i % 4)
assert p.flush(20) == 0
c = Consumer({'bootstrap.servers': BOOTSTRAP, 'group.id': GROUP, 'auto.offset.reset': 'earliest', 'enable.auto.commit': False})
c.subscribe([TOPIC])
got = 0
while got < 8:
    batch = c.consume(8, timeout=20)
    assert batch, got
    got += len(batch)
c.commit(asynchronous=False)
listed = admin.list_groups(timeout=10)
assert [g.state for g in listed if g.id == GROUP] == ['Stable'], [g.id for g in listed]
c.close()

if hasattr(ka, 'ListOffsetsResultInfo'):
    from confluent_kafka import IsolationLevel
    from confluent_kafka.admin import OffsetSpec
    at = done(admin.list_offsets({TopicPartition(TOPIC, 0): OffsetSpec.latest(), TopicPartition(TOPIC, 1): OffsetSpec.earliest(),
                                  TopicPartition(TOPIC, 2): OffsetSpec.max_timestamp()}))
    assert [r.offset for r in at][:2] == [2, 0], at
if hasattr(admin, 'describe_consumer_groups'):
    described = done(admin.describe_consumer_groups([GROUP]))[0]
    assert described.state.name == 'EMPTY', described.state
    assert GROUP in [g.group_id for g in admin.list_consumer_groups().result(20).valid]
    from confluent_kafka import ConsumerGroupTopicPartitions
    offsets = done(admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(GROUP)]))[0]
    assert {t.partition: t.offset for t in offsets.topic_partitions} == {i: 2 for i in range(4)}
    done(admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(GROUP, [TopicPartition(TOPIC, 0, 1)])]))
    offsets = done(admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(GROUP, [TopicPartition(TOPIC, 0)])]))[0]
    assert offsets.topic_partitions[0].offset == 1
    done(admin.delete_consumer_groups([GROUP]))
if hasattr(admin, 'incremental_alter_configs'):
    from confluent_kafka.admin import AlterConfigOpType, ConfigEntry
    entry = ConfigEntry('cleanup.policy', 'compact', incremental_operation=AlterConfigOpType.APPEND)
    done(admin.incremental_alter_configs([ConfigResource(ConfigResource.Type.TOPIC, TOPIC, incremental_configs=[entry])]))
    until(lambda: config('cleanup.policy') == 'delete,compact', 'the appended config shows')
    assert config('retention.ms') == '654321', 'an incremental change left the rest alone'
if hasattr(admin, 'describe_cluster'):
    cluster = admin.describe_cluster().result(20)
    assert len(cluster.nodes) == 1, cluster.nodes
    topics = done(admin.describe_topics(ka.TopicCollection([TOPIC]) if hasattr(ka, 'TopicCollection')
                                        else __import__('confluent_kafka').TopicCollection([TOPIC])))
    assert len(topics[0].partitions) == 4
if hasattr(admin, 'delete_records'):
    trimmed = done(admin.delete_records([TopicPartition(TOPIC, 0, 1)]))
    assert trimmed[0].low_watermark == 1, trimmed

done(admin.delete_topics([TOPIC]))
until(lambda: TOPIC not in admin.list_topics(timeout=10).topics, 'the topic goes')
refused(KafkaError.UNKNOWN_TOPIC_OR_PART, admin.delete_topics([TOPIC]))
