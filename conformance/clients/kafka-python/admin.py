"""The admin client: topics, partitions, configs, groups, offsets."""
import os
import time

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, NewPartitions, NewTopic
from kafka.errors import InvalidReplicationFactorError, TopicAlreadyExistsError, UnknownTopicOrPartitionError

BOOTSTRAP, PREFIX = os.environ['BOOTSTRAP'], os.environ['PREFIX']
NEW = not os.environ['CLIENT_VERSION'].startswith('2.0.')
TOPIC = f'{PREFIX}-admin'

admin = KafkaAdminClient(bootstrap_servers=BOOTSTRAP)


def until(check, what):
    deadline = time.time() + 20
    while not check():
        assert time.time() < deadline, what
        time.sleep(0.05)


def refused(error, call):
    try:
        call()
    except error:
        return
    raise AssertionError(f'no {error.__name__}')


admin.create_topics([NewTopic(TOPIC, 2, 1, topic_configs={'cleanup.policy': 'compact', 'retention.ms': '123456'})])
until(lambda: TOPIC in admin.list_topics(), 'the topic shows')
refused(TopicAlreadyExistsError, lambda: admin.create_topics([NewTopic(TOPIC, 2, 1)]))
refused(InvalidReplicationFactorError, lambda: admin.create_topics([NewTopic(TOPIC + '-3', 1, 3)]))

admin.create_partitions({TOPIC: NewPartitions(4)})
until(lambda: len(admin.describe_topics([TOPIC])[0]['partitions']) == 4, 'four partitions')


def config(name):
    resource = ConfigResource(ConfigResourceType.TOPIC, TOPIC)
    if not NEW:
        response = admin.describe_configs([resource])[0]
        return {c[0]: c[1] for c in response.resources[0][4]}[name]
    described = admin.describe_configs([resource])
    entry = described[ConfigResourceType.TOPIC.name.lower()][TOPIC][name] if isinstance(described, dict) else \
        {c[0]: c[1] for c in described[0].resources[0][4]}[name]
    return entry['value'] if isinstance(entry, dict) else entry


assert config('cleanup.policy') == 'compact', config('cleanup.policy')
assert config('retention.ms') == '123456'
admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, TOPIC, {'retention.ms': '654321'})])
until(lambda: config('retention.ms') == '654321', 'the altered config shows')

producer = KafkaProducer(bootstrap_servers=BOOTSTRAP)
for i in range(8):
    producer.send(TOPIC, key=b'k', value=b'v', partition=i % 4).get(timeout=10)
producer.close()
consumer = KafkaConsumer(TOPIC, bootstrap_servers=BOOTSTRAP, group_id=f'{PREFIX}-admin-group',
                         auto_offset_reset='earliest', consumer_timeout_ms=20000)
for _ in range(8):
    next(consumer)
consumer.close()

GROUP = f'{PREFIX}-admin-group'
groups = admin.list_groups() if NEW else admin.list_consumer_groups()
assert GROUP in [g['group_id'] if isinstance(g, dict) else g[0] for g in groups], groups
offsets = admin.list_group_offsets(GROUP) if NEW else admin.list_consumer_group_offsets(GROUP)
offsets = offsets.get(GROUP, offsets)
assert {p.partition: o.offset for p, o in offsets.items()} == {p: 2 for p in range(4)}, offsets
(admin.delete_groups if NEW else admin.delete_consumer_groups)([GROUP])
if NEW:
    records = admin.delete_records({TopicPartition(TOPIC, 0): 1}) if config('cleanup.policy') != 'compact' else None

admin.delete_topics([TOPIC])
until(lambda: TOPIC not in admin.list_topics(), 'the topic goes')
refused(UnknownTopicOrPartitionError, lambda: admin.delete_topics([TOPIC]))
admin.close()
