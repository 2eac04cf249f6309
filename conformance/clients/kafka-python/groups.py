"""Groups whose members come and go; committed offsets; replay by offset and time."""
import os
import threading
import time

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.structs import OffsetAndMetadata

BOOTSTRAP, PREFIX = os.environ['BOOTSTRAP'], os.environ['PREFIX']
TOPIC, GROUP = f'{PREFIX}-groups', f'{PREFIX}-group'
NEW = not os.environ['CLIENT_VERSION'].startswith('2.0.')


def committed_at(offset):
    """OffsetAndMetadata grew a leader epoch in later versions."""
    return OffsetAndMetadata(offset, 'note', -1) if NEW else OffsetAndMetadata(offset, 'note')


admin = KafkaAdminClient(bootstrap_servers=BOOTSTRAP)
admin.create_topics([NewTopic(TOPIC, 6, 1)])
producer = KafkaProducer(bootstrap_servers=BOOTSTRAP)


def fill(start, stop):
    for i in range(start, stop):
        producer.send(TOPIC, b'%d' % i, partition=i % 6, timestamp_ms=10_000 + i)
    producer.flush()


class Member(threading.Thread):
    def __init__(self, name, seen, lock):
        super().__init__(daemon=True)
        self.name, self.seen, self.lock, self.leave, self.assigned = name, seen, lock, False, set()

    def run(self):
        c = KafkaConsumer(bootstrap_servers=BOOTSTRAP, group_id=GROUP, client_id=self.name, auto_offset_reset='earliest',
                          enable_auto_commit=False, session_timeout_ms=10000, heartbeat_interval_ms=500)
        c.subscribe([TOPIC])
        while not self.leave:
            for records in c.poll(timeout_ms=200).values():
                with self.lock:
                    self.seen.extend(int(r.value) for r in records)
            self.assigned = {p.partition for p in c.assignment()}
            c.commit()
        c.close()


def until(check, what, limit=40):
    deadline = time.time() + limit
    while not check():
        assert time.time() < deadline, what
        time.sleep(0.05)


fill(0, 60)
seen, lock = [], threading.Lock()
a = Member('a', seen, lock)
a.start()
until(lambda: len(set(seen)) == 60, 'the first member reads all')
b, c = Member('b', seen, lock), Member('c', seen, lock)
b.start()
c.start()
members = [a, b, c]
until(lambda: all(len(m.assigned) == 2 for m in members)
      and set().union(*(m.assigned for m in members)) == set(range(6)), 'three members share six partitions')
fill(60, 120)
until(lambda: set(seen) >= set(range(120)), 'three members read all')
b.leave = True
b.join()
until(lambda: a.assigned | c.assigned == set(range(6)), 'two members share after one left')
fill(120, 180)
until(lambda: set(seen) >= set(range(180)), 'two members read all')
described = admin.describe_groups([GROUP])[GROUP] if NEW else admin.describe_consumer_groups([GROUP])[0]
state = described['group_state'] if isinstance(described, dict) else described.state
assert state == 'Stable', described
for m in (a, c):
    m.leave = True
    m.join()

c = KafkaConsumer(bootstrap_servers=BOOTSTRAP, group_id=GROUP, enable_auto_commit=False, consumer_timeout_ms=5000)
parts = [TopicPartition(TOPIC, p) for p in range(6)]
c.assign(parts)
assert [c.committed(p) for p in parts] == [30] * 6, [c.committed(p) for p in parts]
ends, starts = c.end_offsets(parts), c.beginning_offsets(parts)
assert ends == {p: 30 for p in parts}, ends
assert starts == {p: 0 for p in parts}, starts
times = c.offsets_for_times({p: 10_000 + 60 for p in parts})
assert {t.offset for t in times.values()} == {10}, times
assert c.offsets_for_times({parts[0]: 1 << 41})[parts[0]] is None

c.assign(parts[:1])
c.seek(parts[0], 5)
assert int(next(c).value) == 30
c.seek(parts[0], times[parts[0]].offset)
assert int(next(c).value) == 60
c.seek_to_beginning(parts[0])
assert int(next(c).value) == 0
c.commit({parts[0]: committed_at(7)})
assert c.committed(parts[0]) == 7
c.close()
producer.close()
admin.close()
