package broker

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/leat-stream/leat/internal/log"
	"github.com/leat-stream/leat/internal/replica"
)

// watchLog registers the counters of the log directory.
func (m *metrics) watchLog(reg prometheus.Registerer, l *log.Metrics) {
	count := func(name, help string, read func() float64) {
		reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, read))
	}
	count("leat_log_appended_bytes_total", "Bytes appended to partitions.", func() float64 { return float64(l.AppendedBytes.Load()) })
	count("leat_log_appended_records_total", "Records appended to partitions.", func() float64 { return float64(l.AppendedRecords.Load()) })
	count("leat_log_write_failures_total", "Appends that the file system refused.", func() float64 { return float64(l.WriteFailures.Load()) })
	count("leat_log_damage_total", "Damaged ranges met in segments.", func() float64 { return float64(l.DamageMet.Load()) })
	count("leat_scrub_read_bytes_total", "Bytes read by the search for damage.", func() float64 { return float64(l.ScrubbedBytes.Load()) })
	count("leat_log_sync_rounds_total", "Group commits.", func() float64 { return float64(l.SyncRounds.Load()) })
	count("leat_log_synced_logs_total", "Partitions made durable, summed over group commits.", func() float64 { return float64(l.SyncedLogs.Load()) })
	count("leat_log_checkpoints_total", "Checkpoints written.", func() float64 { return float64(l.Checkpoints.Load()) })
	count("leat_recovery_logs_total", "Partitions recovered at the start.", func() float64 { return float64(l.RecoveredLogs.Load()) })
	count("leat_recovery_scanned_bytes_total", "Bytes read by recovery at the start.", func() float64 { return float64(l.ScannedBytes.Load()) })
	count("leat_log_deleted_segments_total", "Segments removed by retention.", func() float64 { return float64(l.DeletedSegments.Load()) })
	count("leat_log_deleted_bytes_total", "Bytes removed by retention.", func() float64 { return float64(l.DeletedBytes.Load()) })
	count("leat_compactions_total", "Compactions of a partition.", func() float64 { return float64(l.Compactions.Load()) })
	count("leat_compaction_read_bytes_total", "Bytes read by compaction.", func() float64 { return float64(l.CompactionReadBytes.Load()) })
	count("leat_compaction_written_bytes_total", "Bytes written by compaction.", func() float64 { return float64(l.CompactionWrittenBytes.Load()) })
	reg.MustRegister(m.syncSeconds)
}

// registerGauges registers what is read at each scrape.
func (b *Broker) registerGauges(reg prometheus.Registerer) {
	reg.MustRegister(&topicCollector{b: b}, &lagCollector{b: b})
	b.registerReplication(reg)
	gauge := func(name, help string, read func() float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read))
	}
	gauge("leat_log_directory_online", "1 while the log directory can be written.", func() float64 {
		if b.node.Dir().Failed() != nil {
			return 0
		}
		return 1
	})
	gauge("leat_log_directory_free_bytes", "Free space of the log directory's file system.", func() float64 {
		u, err := b.node.Replicas().Usage()
		if err != nil {
			return -1
		}
		return float64(u.Free)
	})
	gauge("leat_fetch_sessions", "Open incremental fetch sessions.", func() float64 {
		open, _ := b.node.API().FetchSessions()
		return float64(open)
	})
	gauge("leat_coordinator_shards", "Group coordinators in service.", func() float64 { return float64(b.node.Groups().Stats().Active) })
	gauge("leat_group_member_bytes", "What the members of all groups hold: metadata, assignments and ids; and those about to join.", func() float64 {
		return float64(b.node.Members().Bytes())
	})
	reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "leat_group_joins_refused_total", Help: "Joins refused because members hold as much memory as they may.",
	}, func() float64 { return float64(b.node.Members().Refused()) }))
	gauge("leat_coordinator_pending", "Requests that wait for a group coordinator.", func() float64 {
		s := b.node.Groups().Stats()
		return float64(s.Queued + s.Pending)
	})
	gauge("leat_metadata_index", "Log index of the committed cluster image.", func() float64 { return float64(b.node.Image().Index()) })
}

// registerReplication registers what tells how replication goes on.
func (b *Broker) registerReplication(reg prometheus.Registerer) {
	gauge := func(name, help string, read func(replica.Stats) float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return read(b.node.Replicas().Stats()) }))
	}
	count := func(name, help string, read func(replica.Stats) int64) {
		reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(read(b.node.Replicas().Stats())) }))
	}
	gauge("leat_partitions_led", "Partitions that this broker leads.", func(s replica.Stats) float64 { return float64(s.Led) })
	gauge("leat_partitions_followed", "Partitions that this broker follows.", func(s replica.Stats) float64 { return float64(s.Followed) })
	gauge("leat_partitions_under_replicated", "Led partitions with fewer replicas in sync than they have; while they are moved, than they had before.", func(s replica.Stats) float64 { return float64(s.UnderReplicated) })
	gauge("leat_partitions_under_min_isr", "Led partitions with fewer replicas in sync than min.insync.replicas.", func(s replica.Stats) float64 { return float64(s.UnderMinISR) })
	gauge("leat_replica_lag_max", "The most records that a follower on this broker lacks.", func(s replica.Stats) float64 { return float64(s.MaxLag) })
	count("leat_isr_shrinks_total", "Replicas that left the in-sync set of a led partition.", func(s replica.Stats) int64 { return s.ISRShrinks })
	count("leat_isr_expands_total", "Replicas that joined the in-sync set of a led partition.", func(s replica.Stats) int64 { return s.ISRExpands })
	count("leat_leader_elections_total", "Leadership of partitions taken.", func(s replica.Stats) int64 { return s.Elections })
	count("leat_replica_truncations_total", "Logs cut back to agree with their leader.", func(s replica.Stats) int64 { return s.Truncations })
	count("leat_replica_truncations_below_high_watermark_total", "Of them, those that cut what was committed: an unclean election asks for it.", func(s replica.Stats) int64 { return s.TruncatedBelowHW })
	count("leat_replica_corrupt_batches_total", "Batches of leaders that arrived with a wrong checksum.", func(s replica.Stats) int64 { return s.CorruptBatches })
	gauge("leat_replicas_damaged", "Replicas on this broker that refuse damaged records and are not mended yet.", func(s replica.Stats) float64 { return float64(s.Damaged) })
	count("leat_replicas_mended_total", "Damaged replicas that dropped everything from the damage on, to fetch it again.", func(s replica.Stats) int64 { return s.Mended })
	gauge("leat_replicas_full", "Replicas on this broker that found no room for their last records: they are out of sync, or their leader asks for another one.", func(s replica.Stats) float64 { return float64(s.Full) })
	count("leat_replicas_found_full_total", "Times that a replica began to find no room for records.", func(s replica.Stats) int64 { return s.FoundFull })
	count("leat_replica_damage_reports_total", "Reports of damaged replicas to the controller.", func(s replica.Stats) int64 { return s.LostReports })
	count("leat_replica_suspected_total", "Times that a follower or a consumer asked again and again for what it was sent, so that it was checked.", func(s replica.Stats) int64 { return s.Suspected })
	count("leat_producer_old_duplicates_total", "Batches that idempotent producers sent again behind more than five later ones, found in the log.", func(s replica.Stats) int64 { return s.OldDuplicates })
	count("leat_producer_lost_duplicates_total", "Of such batches, those that were written and are not found in the log any more, acknowledged without an offset.", func(s replica.Stats) int64 { return s.LostDuplicates })
	count("leat_replica_failed_fetches_total", "Fetches from leaders that got no answer.", func(s replica.Stats) int64 { return s.FailedFetches })
}

// topicCollector reports each topic's partitions as sums: one series a topic and
// measure, however many partitions there are.
type topicCollector struct{ b *Broker }

var (
	descPartitions = prometheus.NewDesc("leat_topic_partitions", "Partitions of the topic on this broker.", []string{"topic"}, nil)
	descBytes      = prometheus.NewDesc("leat_topic_log_bytes", "Bytes of the topic's segments on this broker.", []string{"topic"}, nil)
	descEnd        = prometheus.NewDesc("leat_topic_high_watermark", "High watermarks of the topic's partitions, summed.", []string{"topic"}, nil)
	descWaiting    = prometheus.NewDesc("leat_topic_fetches_waiting", "Long polls on the topic's partitions, summed.", []string{"topic"}, nil)
	descUnsynced   = prometheus.NewDesc("leat_topic_uncommitted_records", "Records above the high watermark, summed.", []string{"topic"}, nil)
)

func (c *topicCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- descPartitions
	ch <- descBytes
	ch <- descEnd
	ch <- descWaiting
	ch <- descUnsynced
}

func (c *topicCollector) Collect(ch chan<- prometheus.Metric) {
	type sum struct{ partitions, bytes, end, waiting, above float64 }
	sums := map[string]*sum{}
	c.b.node.Replicas().Each(func(p *replica.Partition) {
		name := p.ID().Topic
		s := sums[name]
		if s == nil {
			s = &sum{}
			sums[name] = s
		}
		hw := p.HighWatermark()
		s.partitions++
		s.bytes += float64(p.Log().Size())
		s.end += float64(hw)
		s.waiting += float64(p.Waiting())
		s.above += float64(max(0, p.Log().EndOffset()-hw))
	})
	for name, s := range sums {
		ch <- prometheus.MustNewConstMetric(descPartitions, prometheus.GaugeValue, s.partitions, name)
		ch <- prometheus.MustNewConstMetric(descBytes, prometheus.GaugeValue, s.bytes, name)
		ch <- prometheus.MustNewConstMetric(descEnd, prometheus.GaugeValue, s.end, name)
		ch <- prometheus.MustNewConstMetric(descWaiting, prometheus.GaugeValue, s.waiting, name)
		ch <- prometheus.MustNewConstMetric(descUnsynced, prometheus.GaugeValue, s.above, name)
	}
}
