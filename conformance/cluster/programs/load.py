"""A producer with idempotence and a member of a group, until standard input says so.

Each line of the output is one thing that was seen:
  P number partition begin end offset      an acknowledgement
  E number partition begin what            a send that failed
  R turn partition begin end offset:value  records read, in one turn of owning the partition
  X what name why                          another error that the library gave: in a poll, a commit, or by its error_cb
  D                                        all that was sent has an outcome
Times are nanoseconds of the wall clock. `stop` on standard input ends the sending, its end the program.
"""
import os
import random
import sys
import threading
import time

from confluent_kafka import Consumer, Producer

BOOTSTRAP, NAME, TOPIC, PARTITIONS = os.environ['BOOTSTRAP'], os.environ['NAME'], os.environ['TOPIC'], int(os.environ['PARTITIONS'])
stop, end, lock = threading.Event(), threading.Event(), threading.Lock()
dice = random.Random(int(os.environ['SEED']))


def say(*words):
    with lock:
        print(*words, flush=True)


def saw(what, err):
    say('X', what, err.name(), err.str().replace('\n', ' '))


def produce():
    producer = Producer({'bootstrap.servers': BOOTSTRAP, 'enable.idempotence': True, 'acks': 'all', 'linger.ms': 2,
                         'message.timeout.ms': 0, 'topic.metadata.refresh.interval.ms': 5000, 'error_cb': lambda err: saw('error_cb', err)})

    def outcome(number, partition, begin):
        def report(err, msg):
            if err is not None:
                say('E', number, partition, begin, str(err).replace('\n', ' '))
            else:
                say('P', number, partition, begin, time.time_ns(), msg.offset())
        return report

    number = 0
    while not stop.is_set():
        partition = dice.randrange(PARTITIONS)
        value = f'{NAME}/{number} ' + 'leat ' * dice.randrange(200)
        if len(producer) < 500:
            producer.produce(TOPIC, value, partition=partition, on_delivery=outcome(number, partition, time.time_ns()))
            number += 1
        producer.poll(0.005)
    producer.flush(60)
    say('D')


def consume():
    turn = [0]

    def assigned(consumer, partitions):
        turn[0] += 1

    def committed(err, partitions):
        for e in [err] + [p.error for p in partitions]:
            if e is not None:
                saw('commit', e)

    consumer = Consumer({'bootstrap.servers': BOOTSTRAP, 'group.id': NAME, 'auto.offset.reset': 'earliest', 'session.timeout.ms': 6000,
                         'heartbeat.interval.ms': 500, 'auto.commit.interval.ms': 500, 'on_commit': committed,
                         'error_cb': lambda err: saw('error_cb', err)})
    consumer.subscribe([TOPIC], on_assign=assigned)
    while not end.is_set():
        begin = time.time_ns()
        got = {}
        for m in consumer.consume(500, timeout=0.2):
            if m.error() is None:
                got.setdefault(m.partition(), []).append(f'{m.offset()}:{m.value().decode().split(" ", 1)[0]}')
            else:
                saw('poll', m.error())
        for partition, records in got.items():
            say('R', turn[0], partition, begin, time.time_ns(), *records)
    consumer.close()


def failed(args):
    sys.__excepthook__(args.exc_type, args.exc_value, args.exc_traceback)
    os._exit(1)


threading.excepthook = failed
threads = [threading.Thread(target=produce), threading.Thread(target=consume)]
for t in threads:
    t.start()
for line in sys.stdin:
    if line.strip() == 'stop':
        stop.set()
stop.set()
end.set()
for t in threads:
    t.join()
