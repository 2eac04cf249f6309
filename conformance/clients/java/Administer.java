import static java.util.concurrent.TimeUnit.SECONDS;

import java.util.*;
import java.util.stream.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.*;

/** The admin client, as far as both versions have it. */
public final class Administer {
    static final String TOPIC = Support.PREFIX + "-admin", GROUP = TOPIC + "-group";

    public static void main(String[] args) throws Exception {
        try (Admin admin = Admin.create(Support.config())) {
            topics(admin);
            configs(admin);
            groups(admin);
            logs(admin);
            admin.deleteTopics(List.of(TOPIC)).all().get(20, SECONDS);
            Support.until("the topic goes", () -> !admin.listTopics().names().get().contains(TOPIC));
            Support.refused(UnknownTopicOrPartitionException.class, () -> admin.deleteTopics(List.of(TOPIC)).all().get(20, SECONDS));
        }
    }

    /** describeTopics gives its map under another name since 3.1. */
    @SuppressWarnings("unchecked")
    static TopicDescription describe(Admin admin, String topic) throws Exception {
        DescribeTopicsResult r = admin.describeTopics(List.of(topic));
        KafkaFuture<Map<String, TopicDescription>> all;
        try {
            all = (KafkaFuture<Map<String, TopicDescription>>) r.getClass().getMethod("allTopicNames").invoke(r);
        } catch (NoSuchMethodException e) {
            all = (KafkaFuture<Map<String, TopicDescription>>) r.getClass().getMethod("all").invoke(r);
        }
        return all.get(20, SECONDS).get(topic);
    }

    static void topics(Admin admin) throws Exception {
        var made = admin.createTopics(List.of(new NewTopic(TOPIC, 2, (short) 1).configs(Map.of("retention.ms", "123456"))));
        made.all().get(20, SECONDS);
        Support.same(2, made.numPartitions(TOPIC).get());
        Support.same("123456", made.config(TOPIC).get().get("retention.ms").value());
        Support.refused(TopicExistsException.class, () -> admin.createTopics(List.of(new NewTopic(TOPIC, 2, (short) 1))).all().get(20, SECONDS));
        Support.refused(InvalidReplicationFactorException.class, () -> admin.createTopics(List.of(new NewTopic(TOPIC + "-3", 1, (short) 3))).all().get(20, SECONDS));
        Support.refused(InvalidPartitionsException.class, () -> admin.createTopics(List.of(new NewTopic(TOPIC + "-0", 0, (short) 1))).all().get(20, SECONDS));
        Support.refused(InvalidConfigurationException.class, () -> admin.createTopics(List.of(new NewTopic(TOPIC + "-c", 1, (short) 1).configs(Map.of("no.such", "1")))).all().get(20, SECONDS));
        admin.createTopics(List.of(new NewTopic(TOPIC + "-dry", 1, (short) 1)), new CreateTopicsOptions().validateOnly(true)).all().get(20, SECONDS);
        admin.createPartitions(Map.of(TOPIC, NewPartitions.increaseTo(4))).all().get(20, SECONDS);
        Support.until("four partitions", () -> describe(admin, TOPIC).partitions().size() == 4);
        Support.refused(InvalidPartitionsException.class, () -> admin.createPartitions(Map.of(TOPIC, NewPartitions.increaseTo(2))).all().get(20, SECONDS));
        var cluster = admin.describeCluster();
        Support.same(1, cluster.nodes().get(20, SECONDS).size());
        Support.check(!cluster.clusterId().get().isEmpty() && cluster.controller().get() != null, "a cluster id and a controller");
    }

    static String config(Admin admin, String name) throws Exception {
        var r = new ConfigResource(ConfigResource.Type.TOPIC, TOPIC);
        return admin.describeConfigs(List.of(r)).all().get(20, SECONDS).get(r).get(name).value();
    }

    static void configs(Admin admin) throws Exception {
        var topic = new ConfigResource(ConfigResource.Type.TOPIC, TOPIC);
        admin.incrementalAlterConfigs(Map.of(topic, List.of(
            new AlterConfigOp(new ConfigEntry("cleanup.policy", "compact"), AlterConfigOp.OpType.APPEND),
            new AlterConfigOp(new ConfigEntry("segment.ms", "7777777"), AlterConfigOp.OpType.SET)))).all().get(20, SECONDS);
        Support.until("the altered configs show", () -> config(admin, "cleanup.policy").equals("delete,compact") && config(admin, "segment.ms").equals("7777777"));
        Support.same("123456", config(admin, "retention.ms"));
        admin.incrementalAlterConfigs(Map.of(topic, List.of(
            new AlterConfigOp(new ConfigEntry("cleanup.policy", "compact"), AlterConfigOp.OpType.SUBTRACT),
            new AlterConfigOp(new ConfigEntry("segment.ms", null), AlterConfigOp.OpType.DELETE)))).all().get(20, SECONDS);
        Support.until("the configs are back", () -> config(admin, "cleanup.policy").equals("delete") && config(admin, "segment.ms").equals("604800000"));
        Support.refused(InvalidConfigurationException.class, () -> admin.incrementalAlterConfigs(Map.of(topic, List.of(
            new AlterConfigOp(new ConfigEntry("segment.ms", "never"), AlterConfigOp.OpType.SET)))).all().get(20, SECONDS));
        var broker = new ConfigResource(ConfigResource.Type.BROKER, "1");
        Support.same("1073741824", admin.describeConfigs(List.of(broker)).all().get(20, SECONDS).get(broker).get("log.segment.bytes").value());
    }

    static void groups(Admin admin) throws Exception {
        try (var p = Support.producer()) {
            for (int i = 0; i < 40; i++) p.send(new ProducerRecord<>(TOPIC, i % 4, 10_000L + i, "k", Integer.toString(i))).get(20, SECONDS);
        }
        Map<TopicPartition, OffsetAndMetadata> offsets = IntStream.range(0, 4).boxed()
            .collect(Collectors.toMap(i -> new TopicPartition(TOPIC, i), i -> new OffsetAndMetadata(5 + i, "note")));
        admin.alterConsumerGroupOffsets(GROUP, offsets).all().get(20, SECONDS);
        Support.same(offsets, admin.listConsumerGroupOffsets(GROUP).partitionsToOffsetAndMetadata().get(20, SECONDS));
        Support.check(admin.listConsumerGroups().all().get(20, SECONDS).stream().anyMatch(g -> g.groupId().equals(GROUP)), "the group is listed");
        var described = admin.describeConsumerGroups(List.of(GROUP)).all().get(20, SECONDS).get(GROUP);
        Support.same("Empty", described.state().toString());
        admin.deleteConsumerGroupOffsets(GROUP, Set.of(new TopicPartition(TOPIC, 0))).all().get(20, SECONDS);
        Support.same(Set.of(1, 2, 3), admin.listConsumerGroupOffsets(GROUP).partitionsToOffsetAndMetadata().get(20, SECONDS).keySet().stream().map(TopicPartition::partition).collect(Collectors.toSet()));

        Groups.Member m = new Groups.Member(GROUP, TOPIC, "RangeAssignor", new java.util.concurrent.ConcurrentLinkedQueue<>(), null);
        m.start();
        Support.until("a member", () -> m.assigned.size() == 4);
        Support.refused(GroupNotEmptyException.class, () -> admin.deleteConsumerGroups(List.of(GROUP)).all().get(20, SECONDS));
        Support.refused(GroupSubscribedToTopicException.class, () -> admin.deleteConsumerGroupOffsets(GROUP, Set.of(new TopicPartition(TOPIC, 1))).all().get(20, SECONDS));
        var members = admin.describeConsumerGroups(List.of(GROUP)).all().get(20, SECONDS).get(GROUP).members();
        Support.same(4, members.iterator().next().assignment().topicPartitions().size());
        admin.removeMembersFromConsumerGroup(GROUP, new RemoveMembersFromConsumerGroupOptions()).all().get(20, SECONDS);
        m.leave = true;
        m.join();
        admin.deleteConsumerGroups(List.of(GROUP)).all().get(20, SECONDS);
        Support.refused(GroupIdNotFoundException.class, () -> admin.deleteConsumerGroups(List.of(GROUP)).all().get(20, SECONDS));
    }

    static void logs(Admin admin) throws Exception {
        TopicPartition p = new TopicPartition(TOPIC, 0);
        Support.same(10L, admin.listOffsets(Map.of(p, OffsetSpec.latest())).all().get(20, SECONDS).get(p).offset());
        Support.same(3L, admin.listOffsets(Map.of(p, OffsetSpec.forTimestamp(10_012))).all().get(20, SECONDS).get(p).offset());
        Support.same(4L, admin.deleteRecords(Map.of(p, RecordsToDelete.beforeOffset(4))).lowWatermarks().get(p).get(20, SECONDS).lowWatermark());
        Support.same(4L, admin.listOffsets(Map.of(p, OffsetSpec.earliest())).all().get(20, SECONDS).get(p).offset());
        Support.refused(OffsetOutOfRangeException.class, () -> admin.deleteRecords(Map.of(p, RecordsToDelete.beforeOffset(99))).all().get(20, SECONDS));
        var dirs = admin.describeLogDirs(List.of(1)).allDescriptions().get(20, SECONDS).get(1);
        Support.same(4L, dirs.values().stream().flatMap(d -> d.replicaInfos().keySet().stream()).filter(t -> t.topic().equals(TOPIC)).count());
    }
}
