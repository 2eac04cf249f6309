import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.*;

/** What the programs share. */
final class Support {
    static final String BOOTSTRAP = System.getenv("BOOTSTRAP");
    static final String PREFIX = System.getenv("PREFIX");

    interface Check { boolean holds() throws Exception; }
    interface Call { Object run() throws Exception; }

    static Map<String, Object> config(Object... pairs) {
        Map<String, Object> m = new HashMap<>();
        m.put("bootstrap.servers", BOOTSTRAP);
        for (int i = 0; i < pairs.length; i += 2) m.put((String) pairs[i], pairs[i + 1]);
        return m;
    }

    static KafkaProducer<String, String> producer(Object... pairs) {
        return new KafkaProducer<>(config(pairs), new StringSerializer(), new StringSerializer());
    }

    static KafkaConsumer<String, String> consumer(Object... pairs) {
        return new KafkaConsumer<>(config(pairs), new StringDeserializer(), new StringDeserializer());
    }

    static void create(Admin admin, String topic, int partitions) throws Exception {
        admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1))).all().get(20, TimeUnit.SECONDS);
    }

    static List<ConsumerRecord<String, String>> read(String topic, int count) {
        try (KafkaConsumer<String, String> c = consumer("enable.auto.commit", "false", "max.partition.fetch.bytes", 10 << 20)) {
            TopicPartition p = new TopicPartition(topic, 0);
            c.assign(List.of(p));
            c.seekToBeginning(List.of(p));
            List<ConsumerRecord<String, String>> got = new ArrayList<>();
            long deadline = System.nanoTime() + 20_000_000_000L;
            while (got.size() < count) {
                check(System.nanoTime() < deadline, topic + ": " + got.size() + " of " + count);
                c.poll(Duration.ofMillis(200)).forEach(got::add);
            }
            return got;
        }
    }

    static void check(boolean ok, String what) {
        if (!ok) throw new AssertionError(what);
    }

    static void same(Object want, Object got) {
        check(Objects.equals(want, got), "want " + want + ", got " + got);
    }

    static void until(String what, Check c) throws Exception {
        long deadline = System.nanoTime() + 60_000_000_000L;
        while (!c.holds()) {
            check(System.nanoTime() < deadline, what);
            Thread.sleep(50);
        }
    }

    static void refused(Class<? extends Throwable> error, Call call) throws Exception {
        try {
            call.run();
        } catch (Throwable t) {
            Throwable cause = t instanceof ExecutionException ? t.getCause() : t;
            check(error.isInstance(cause), "want " + error.getSimpleName() + ", got " + cause);
            return;
        }
        throw new AssertionError("no " + error.getSimpleName());
    }
}
