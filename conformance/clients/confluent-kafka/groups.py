"""Groups, eager and cooperative, static members; offsets; replay by offset and time."""
import os
import threading
import time

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

BOOTSTRAP, PREFIX = os.environ['BOOTSTRAP'], os.environ['PREFIX']
admin = AdminClient({'bootstrap.servers': BOOTSTRAP})


def until(check, what, limit=60):
    deadline = time.time() + limit
    while not check():
        assert time.time() < deadline, what
        time.sleep(0.05)


class Member(threading.Thread):
    def __init__(self, group, topic, strategy, seen, instance=None):
        super().__init__(daemon=True)
        config = {'bootstrap.servers': BOOTSTRAP, 'group.id': group, 'auto.offset.reset': 'earliest',
                  'enable.auto.commit': False, 'partition.assignment.strategy': strategy,
                  'session.timeout.ms': 10000, 'heartbeat.interval.ms': 500}
        if instance:
            config['group.instance.id'] = instance
        self.consumer, self.topic, self.seen = Consumer(config), topic, seen
        self.leave, self.assigned, self.rebalances, self.failure = False, set(), 0, None

    def run(self):
        def assigned(c, parts):
            self.rebalances += 1
        self.consumer.subscribe([self.topic], on_assign=assigned)
        try:
            while not self.leave:
                for m in self.consumer.consume(100, timeout=0.2):
                    if m.error() is None:
                        self.seen.append(int(m.value()))
                self.assigned = {p.partition for p in self.consumer.assignment()}
                if self.assigned:
                    try:
                        self.consumer.commit(asynchronous=False)
                    except Exception as e:  # nothing to commit, or a rebalance: the next one counts
                        self.failure = e
        finally:
            self.consumer.close()


for strategy in ['range', 'roundrobin', 'cooperative-sticky']:
    topic, group = f'{PREFIX}-{strategy}', f'{PREFIX}-{strategy}-group'
    admin.create_topics([NewTopic(topic, 6, 1)])[topic].result(20)
    p = Producer({'bootstrap.servers': BOOTSTRAP})

    def fill(start, stop):
        for i in range(start, stop):
            p.produce(topic, b'%d' % i, partition=i % 6, timestamp=10_000 + i)
        assert p.flush(30) == 0

    fill(0, 60)
    seen = []
    a = Member(group, topic, strategy, seen)
    a.start()
    until(lambda: set(seen) == set(range(60)), 'the first member reads all')
    b, c = Member(group, topic, strategy, seen), Member(group, topic, strategy, seen)
    b.start()
    c.start()
    until(lambda: all(len(m.assigned) == 2 for m in (a, b, c))
          and a.assigned | b.assigned | c.assigned == set(range(6)), f'{strategy}: three share six')
    fill(60, 120)
    until(lambda: set(seen) >= set(range(120)), 'three read all')
    b.leave = True
    b.join()
    until(lambda: a.assigned | c.assigned == set(range(6)), 'two share six')
    fill(120, 180)
    until(lambda: set(seen) >= set(range(180)), 'two read all')
    for m in (a, c):
        m.leave = True
        m.join()
    reader = Consumer({'bootstrap.servers': BOOTSTRAP, 'group.id': group})
    committed = reader.committed([TopicPartition(topic, i) for i in range(6)], timeout=20)
    assert [t.offset for t in committed] == [30] * 6, committed
    reader.close()
    if strategy == 'cooperative-sticky':
        assert len(seen) == 180, f'{len(seen) - 180} were read twice although no partition had to move twice'

# A static member that comes back within its session keeps its partitions: no rebalance for the other.
topic, group = f'{PREFIX}-static', f'{PREFIX}-static-group'
admin.create_topics([NewTopic(topic, 2, 1)])[topic].result(20)
one, two = (Member(group, topic, 'range', [], i) for i in ('one', 'two'))
one.start()
two.start()
until(lambda: len(one.assigned) == 1 and len(two.assigned) == 1, 'static members share')
had, before = two.assigned, one.rebalances
two.leave = True
two.join()
two = Member(group, topic, 'range', [], 'two')
two.start()
until(lambda: two.assigned == had, 'the static member has what it had')
assert one.rebalances == before, 'the other was rebalanced'
for m in (one, two):
    m.leave = True
    m.join()

# Replay.
topic = f'{PREFIX}-range'
c = Consumer({'bootstrap.servers': BOOTSTRAP, 'group.id': f'{PREFIX}-replay', 'enable.auto.commit': False})
assert c.get_watermark_offsets(TopicPartition(topic, 0), timeout=10) == (0, 30)
found = c.offsets_for_times([TopicPartition(topic, 0, 10_060), TopicPartition(topic, 1, 1 << 41)], timeout=10)
assert [t.offset for t in found] == [10, -1], found
for offset, want in [(5, 30), (found[0].offset, 60)]:
    c.assign([TopicPartition(topic, 0, offset)])
    m = c.poll(20)
    assert m is not None and int(m.value()) == want, m
c.commit(offsets=[TopicPartition(topic, 0, 12)], asynchronous=False)
assert c.committed([TopicPartition(topic, 0)], timeout=10)[0].offset == 12
c.close()
