import static java.util.concurrent.TimeUnit.SECONDS;

import java.nio.charset.StandardCharsets;
import java.util.*;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.errors.*;

/** Codecs, idempotence, headers, keys, nulls, large messages, and what is refused. */
public final class Produce {
    public static void main(String[] args) throws Exception {
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            for (boolean idempotent : List.of(true, false)) codec(codec, idempotent);
        }
        large();
        kinds();
        Support.refused(TimeoutException.class, () -> {
            try (var p = Support.producer("max.block.ms", 1500)) {
                return p.send(new ProducerRecord<>(Support.PREFIX + "-few", 7, null, "v")).get(10, SECONDS);
            }
        });
        Support.refused(InvalidTopicException.class, () -> {
            try (var p = Support.producer("max.block.ms", 3000)) {
                return p.send(new ProducerRecord<>("not/a/topic", "v")).get(10, SECONDS);
            }
        });
    }

    static void codec(String codec, boolean idempotent) throws Exception {
        String topic = Support.PREFIX + "-" + codec + "-" + idempotent;
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (var p = Support.producer("compression.type", codec, "acks", "all", "enable.idempotence", String.valueOf(idempotent), "linger.ms", 10)) {
            for (int i = 0; i < 500; i++) {
                var r = new ProducerRecord<String, String>(topic, 0, 1000L + i, i % 2 == 0 ? null : "k" + i, i % 3 == 0 ? null : ("value " + i + " ").repeat(20));
                r.headers().add("h", Integer.toString(i).getBytes(StandardCharsets.UTF_8)).add("null", null);
                sent.add(p.send(r));
            }
        }
        for (int i = 0; i < 500; i++) Support.same((long) i, sent.get(i).get(1, SECONDS).offset());
        List<ConsumerRecord<String, String>> got = Support.read(topic, 500);
        for (int i = 0; i < 500; i++) {
            var r = got.get(i);
            Support.same((long) i, r.offset());
            Support.same(1000L + i, r.timestamp());
            Support.same(i % 2 == 0 ? null : "k" + i, r.key());
            Support.same(i % 3 == 0 ? null : ("value " + i + " ").repeat(20), r.value());
            Support.same(Integer.toString(i), new String(r.headers().lastHeader("h").value(), StandardCharsets.UTF_8));
            Support.same(null, r.headers().lastHeader("null").value());
        }
    }

    static void large() throws Exception {
        String topic = Support.PREFIX + "-large";
        String large = "x".repeat(1048588 - 200);
        try (var p = Support.producer("max.request.size", 5 << 20, "buffer.memory", 64 << 20)) {
            p.send(new ProducerRecord<>(topic, large)).get(20, SECONDS);
            Support.refused(RecordTooLargeException.class, () -> p.send(new ProducerRecord<>(topic, "x".repeat(1048588))).get(20, SECONDS));
        }
        Support.same(large, Support.read(topic, 1).get(0).value());
    }

    /** A compacted topic wants keys; a topic may stamp by itself. */
    static void kinds() throws Exception {
        String compact = Support.PREFIX + "-compact", stamped = Support.PREFIX + "-stamped";
        try (Admin admin = Admin.create(Support.config())) {
            admin.createTopics(List.of(
                new NewTopic(compact, 1, (short) 1).configs(Map.of("cleanup.policy", "compact")),
                new NewTopic(stamped, 1, (short) 1).configs(Map.of("message.timestamp.type", "LogAppendTime")))).all().get(20, SECONDS);
            admin.createTopics(List.of(new NewTopic(Support.PREFIX + "-few", 1, (short) 1))).all().get(20, SECONDS);
        }
        try (var p = Support.producer()) {
            p.send(new ProducerRecord<>(compact, "k", "v")).get(20, SECONDS);
            Support.refused(InvalidRecordException(), () -> p.send(new ProducerRecord<>(compact, "v")).get(20, SECONDS));
            var m = p.send(new ProducerRecord<>(stamped, 0, 5L, "k", "v")).get(20, SECONDS);
            Support.check(m.timestamp() > 1_600_000_000_000L, "the broker's time: " + m.timestamp());
        }
        Support.check(Support.read(stamped, 1).get(0).timestamp() > 1_600_000_000_000L, "the broker's time");
    }

    static Class<? extends Throwable> InvalidRecordException() {
        return org.apache.kafka.common.InvalidRecordException.class;
    }
}
