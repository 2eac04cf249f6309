import static java.util.concurrent.TimeUnit.SECONDS;

import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.*;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;

/** Groups under each assignor, members coming and going, static members; offsets; replay. */
public final class Groups {
    static final class Member extends Thread {
        final KafkaConsumer<String, String> consumer;
        final String topic;
        final Collection<Integer> seen;
        volatile Set<Integer> assigned = Set.of();
        volatile boolean leave;
        volatile Throwable failure;
        final AtomicInteger lost = new AtomicInteger(), revoked = new AtomicInteger();

        Member(String group, String topic, String assignor, Collection<Integer> seen, String instance) {
            Map<String, Object> more = new HashMap<>();
            if (instance != null) more.put("group.instance.id", instance);
            var config = Support.config("group.id", group, "auto.offset.reset", "earliest", "enable.auto.commit", "false",
                "partition.assignment.strategy", "org.apache.kafka.clients.consumer." + assignor,
                "session.timeout.ms", 10000, "heartbeat.interval.ms", 500);
            config.putAll(more);
            consumer = new KafkaConsumer<>(config, new org.apache.kafka.common.serialization.StringDeserializer(),
                new org.apache.kafka.common.serialization.StringDeserializer());
            this.topic = topic;
            this.seen = seen;
            setDaemon(true);
        }

        @Override public void run() {
            try {
                consumer.subscribe(List.of(topic), new ConsumerRebalanceListener() {
                    @Override public void onPartitionsAssigned(Collection<TopicPartition> p) {}
                    @Override public void onPartitionsRevoked(Collection<TopicPartition> p) { revoked.addAndGet(p.size()); }
                    @Override public void onPartitionsLost(Collection<TopicPartition> p) { lost.addAndGet(p.size()); }
                });
                while (!leave) {
                    for (var r : consumer.poll(Duration.ofMillis(100))) seen.add(Integer.parseInt(r.value()));
                    try {
                        consumer.commitSync();
                    } catch (org.apache.kafka.common.errors.RebalanceInProgressException | CommitFailedException e) {
                        continue; // the next poll joins
                    }
                    assigned = consumer.assignment().stream().map(TopicPartition::partition).collect(Collectors.toSet());
                }
            } catch (Throwable t) {
                failure = t;
            } finally {
                consumer.close();
            }
        }

        void end() throws Exception {
            leave = true;
            join();
            if (failure != null) throw new AssertionError(failure);
        }
    }

    public static void main(String[] args) throws Exception {
        try (Admin admin = Admin.create(Support.config()); var producer = Support.producer("linger.ms", 0)) {
            for (String assignor : List.of("RangeAssignor", "RoundRobinAssignor", "StickyAssignor", "CooperativeStickyAssignor")) {
                assignor(admin, producer, assignor);
            }
            staticMembers(admin);
            replay(Support.PREFIX + "-RangeAssignor");
        }
    }

    static void fill(Producer<String, String> p, String topic, int from, int to) throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (int i = from; i < to; i++) sent.add(p.send(new ProducerRecord<>(topic, i % 6, 10_000L + i, null, Integer.toString(i))));
        for (var f : sent) f.get(30, SECONDS);
    }

    static Set<Integer> upTo(int n) { return IntStream.range(0, n).boxed().collect(Collectors.toSet()); }

    static void assignor(Admin admin, Producer<String, String> producer, String assignor) throws Exception {
        String topic = Support.PREFIX + "-" + assignor, group = topic + "-group";
        Support.create(admin, topic, 6);
        Collection<Integer> seen = new ConcurrentLinkedQueue<>();
        Member a = new Member(group, topic, assignor, seen, null), b = new Member(group, topic, assignor, seen, null), c = new Member(group, topic, assignor, seen, null);
        fill(producer, topic, 0, 60);
        a.start();
        Support.until(assignor + ": one reads all", () -> { if (a.failure != null) throw new AssertionError(a.failure); return seen.containsAll(upTo(60)); });
        b.start();
        c.start();
        Support.until(assignor + ": three share six", () -> Stream.of(a, b, c).allMatch(m -> m.assigned.size() == 2)
            && Stream.of(a, b, c).flatMap(m -> m.assigned.stream()).collect(Collectors.toSet()).equals(upTo(6)));
        fill(producer, topic, 60, 120);
        Support.until("three read all", () -> seen.containsAll(upTo(120)));
        b.end();
        Support.until("two share six", () -> a.assigned.size() == 3 && c.assigned.size() == 3);
        fill(producer, topic, 120, 180);
        Support.until("two read all", () -> seen.containsAll(upTo(180)));
        a.end();
        c.end();
        var offsets = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get(20, SECONDS);
        for (int p = 0; p < 6; p++) Support.same(30L, offsets.get(new TopicPartition(topic, p)).offset());
        Support.same(180, seen.size());
        if (assignor.startsWith("Cooperative")) {
            // Only what moved was revoked: four partitions to b and c, none at the leaving, and none lost.
            Support.check(a.lost.get() + b.lost.get() + c.lost.get() == 0, "partitions were lost");
        }
    }

    static void staticMembers(Admin admin) throws Exception {
        String topic = Support.PREFIX + "-static", group = topic + "-group";
        Support.create(admin, topic, 2);
        Member one = new Member(group, topic, "RangeAssignor", new ConcurrentLinkedQueue<>(), "one");
        Member two = new Member(group, topic, "RangeAssignor", new ConcurrentLinkedQueue<>(), "two");
        one.start();
        two.start();
        Support.until("static members share", () -> one.assigned.size() == 1 && two.assigned.size() == 1);
        int revoked = one.revoked.get();
        Set<Integer> had = two.assigned;
        two.end();
        Member again = new Member(group, topic, "RangeAssignor", new ConcurrentLinkedQueue<>(), "two");
        again.start();
        Support.until("the static member has what it had", () -> again.assigned.equals(had));
        Support.same(revoked, one.revoked.get());
        one.end();
        again.end();
    }

    static void replay(String topic) {
        try (var c = Support.consumer("enable.auto.commit", "false", "group.id", topic + "-replay", "auto.offset.reset", "none")) {
            TopicPartition p = new TopicPartition(topic, 0), q = new TopicPartition(topic, 1);
            Support.same(Map.of(p, 0L), c.beginningOffsets(List.of(p)));
            Support.same(Map.of(p, 30L), c.endOffsets(List.of(p)));
            var times = c.offsetsForTimes(Map.of(p, 10_060L, q, 1L << 41));
            Support.same(10L, times.get(p).offset());
            Support.same(null, times.get(q));
            c.assign(List.of(p));
            c.seek(p, 5);
            Support.same("30", c.poll(Duration.ofSeconds(20)).iterator().next().value());
            c.seek(p, times.get(p).offset());
            Support.same("60", c.poll(Duration.ofSeconds(20)).iterator().next().value());
            c.commitSync(Map.of(p, new OffsetAndMetadata(12, "note")));
            Support.same(new OffsetAndMetadata(12, "note"), c.committed(Set.of(p)).get(p));
            c.seek(p, 99);
            try {
                c.poll(Duration.ofSeconds(20));
                throw new AssertionError("an offset out of range was read");
            } catch (OffsetOutOfRangeException e) {
                Support.same(Set.of(p), e.partitions());
            }
        }
    }
}
