import java.io.*;
import java.time.*;
import java.util.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.serialization.*;

/** What load.py does, with the Java client; its lines are the same. */
public final class Load {
    static final String NAME = System.getenv("NAME"), TOPIC = System.getenv("TOPIC");
    static final int PARTITIONS = Integer.parseInt(System.getenv("PARTITIONS"));
    static volatile boolean stop, end;

    static synchronized void say(Object... words) {
        StringJoiner line = new StringJoiner(" ");
        for (Object w : words) line.add(w.toString());
        System.out.println(line);
        System.out.flush();
    }

    static long now() {
        Instant t = Instant.now();
        return t.getEpochSecond() * 1_000_000_000L + t.getNano();
    }

    static Map<String, Object> config(Object... pairs) {
        Map<String, Object> m = new HashMap<>(Map.of("bootstrap.servers", System.getenv("BOOTSTRAP")));
        for (int i = 0; i < pairs.length; i += 2) m.put((String) pairs[i], pairs[i + 1]);
        return m;
    }

    /**
     * With five requests in flight a batch whose request is lost with a leader stays in flight until the request times out, while
     * later ones go to the next leader. It then comes there behind many that were written.
     */
    static void produce() {
        Random dice = new Random(Long.parseUnsignedLong(System.getenv("SEED")));
        try (var p = new KafkaProducer<>(config("acks", "all", "enable.idempotence", true, "linger.ms", 2, "delivery.timeout.ms", 300_000,
                "request.timeout.ms", 10_000, "max.in.flight.requests.per.connection", 5),
                new StringSerializer(), new StringSerializer())) {
            for (long i = 0; !stop; i++) {
                long number = i, begin = now();
                int partition = dice.nextInt(PARTITIONS);
                String value = NAME + "/" + number + " " + "leat ".repeat(dice.nextInt(200));
                p.send(new ProducerRecord<>(TOPIC, partition, null, value), (m, e) -> {
                    if (e != null) say("E", number, partition, begin, e.toString().replace('\n', ' '));
                    else say("P", number, partition, begin, now(), m.offset());
                });
                try { Thread.sleep(5); } catch (InterruptedException e) { return; }
            }
            p.flush();
        }
        say("D");
    }

    static void consume() {
        int[] turn = {0};
        try (var c = new KafkaConsumer<>(config("group.id", NAME, "auto.offset.reset", "earliest", "session.timeout.ms", 6000,
                "heartbeat.interval.ms", 500, "auto.commit.interval.ms", 500), new StringDeserializer(), new StringDeserializer())) {
            c.subscribe(List.of(TOPIC), new ConsumerRebalanceListener() {
                public void onPartitionsRevoked(Collection<TopicPartition> p) { }
                public void onPartitionsAssigned(Collection<TopicPartition> p) { turn[0]++; }
            });
            while (!end) {
                long begin = now();
                ConsumerRecords<String, String> got;
                try { got = c.poll(Duration.ofMillis(200)); } catch (RetriableException e) {
                    say("X", "poll", e.toString().replace('\n', ' '));
                    continue;
                }
                for (TopicPartition tp : got.partitions()) {
                    List<Object> line = new ArrayList<>(List.of("R", turn[0], tp.partition(), begin, now()));
                    for (var r : got.records(tp)) line.add(r.offset() + ":" + r.value().split(" ", 2)[0]);
                    say(line.toArray());
                }
            }
        }
    }

    public static void main(String[] args) throws Exception {
        Thread.setDefaultUncaughtExceptionHandler((thread, e) -> {
            e.printStackTrace();
            Runtime.getRuntime().halt(1);
        });
        Thread p = new Thread(Load::produce), c = new Thread(Load::consume);
        p.start();
        c.start();
        var in = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = in.readLine()) != null; ) if (line.strip().equals("stop")) stop = true;
        stop = end = true;
        p.join();
        c.join();
    }
}
