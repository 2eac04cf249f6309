import static java.util.concurrent.TimeUnit.SECONDS;

import java.util.*;
import java.util.stream.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.*;
import org.apache.kafka.common.config.ConfigResource;

/** What only the newest admin client has. */
public final class AdministerNew {
    public static void main(String[] args) throws Exception {
        String topic = Support.PREFIX + "-new";
        TopicPartition p = new TopicPartition(topic, 0);
        try (Admin admin = Admin.create(Support.config())) {
            Uuid id = admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1))).topicId(topic).get(20, SECONDS);
            try (var producer = Support.producer("enable.idempotence", "true")) {
                for (long time : new long[] {1000, 3000, 2000}) producer.send(new ProducerRecord<>(topic, 0, time, "k", "v")).get(20, SECONDS);
                var active = admin.describeProducers(List.of(p)).all().get(20, SECONDS).get(p).activeProducers();
                Support.same(1, active.size());
                Support.same(2, active.get(0).lastSequence());
            }
            Map<OffsetSpec, Long> specs = new LinkedHashMap<>();
            specs.put(OffsetSpec.latest(), 3L);
            specs.put(OffsetSpec.earliest(), 0L);
            specs.put(OffsetSpec.maxTimestamp(), 1L);
            specs.put(OffsetSpec.forTimestamp(2500), 1L);
            specs.put(OffsetSpec.forTimestamp(9000), -1L);
            specs.put(OffsetSpec.earliestLocal(), 0L);
            specs.put(OffsetSpec.latestTiered(), -1L);
            for (var e : specs.entrySet()) {
                Support.same(e.getValue(), admin.listOffsets(Map.of(p, e.getKey())).all().get(20, SECONDS).get(p).offset());
            }
            var byId = admin.describeTopics(TopicCollection.ofTopicIds(List.of(id))).allTopicIds().get(20, SECONDS).get(id);
            Support.same(topic, byId.name());
            Support.same(List.of(1), byId.partitions().get(0).isr().stream().map(Node::id).collect(Collectors.toList()));
            var resources = admin.listConfigResources(Set.of(ConfigResource.Type.TOPIC), new ListConfigResourcesOptions()).all().get(20, SECONDS);
            Support.check(resources.contains(new ConfigResource(ConfigResource.Type.TOPIC, topic)), "the topic is a config resource");
            Support.check(admin.listGroups().all().get(20, SECONDS) != null, "groups");
            var features = admin.describeFeatures().featureMetadata().get(20, SECONDS);
            Support.check(features.supportedFeatures() != null, "features");
            var cluster = admin.describeCluster(new DescribeClusterOptions().includeAuthorizedOperations(true).includeFencedBrokers(true));
            Support.same(1, cluster.nodes().get(20, SECONDS).size());
            Support.check(!cluster.authorizedOperations().get(20, SECONDS).isEmpty(), "authorized operations");
            var dirs = admin.describeLogDirs(List.of(1)).allDescriptions().get(20, SECONDS).get(1).values().iterator().next();
            Support.check(dirs.totalBytes().getAsLong() > dirs.usableBytes().getAsLong(), "bytes of the disk");
            admin.deleteTopics(TopicCollection.ofTopicIds(List.of(id))).all().get(20, SECONDS);
            Support.until("the topic goes", () -> !admin.listTopics().names().get().contains(topic));
        }
    }
}
