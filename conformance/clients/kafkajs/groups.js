// Groups whose members come and go; committed offsets; replay; the admin client.
const { assert, kafka, prefix, until, main } = require('./lib')

const topic = `${prefix}-groups`
const groupId = `${prefix}-group`

async function member(name, seen) {
  const consumer = kafka.consumer({ groupId, sessionTimeout: 10000, heartbeatInterval: 500, rebalanceTimeout: 5000, maxWaitTimeInMs: 200 })
  const m = { consumer, assigned: [] }
  consumer.on(consumer.events.GROUP_JOIN, e => { m.assigned = e.payload.memberAssignment[topic] || [] })
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  await consumer.run({ autoCommitThreshold: 1, eachMessage: async ({ message }) => { seen.add(Number(message.value)) } })
  return m
}

main(async () => {
  const admin = kafka.admin()
  await admin.connect()
  assert.strictEqual(await admin.createTopics({ waitForLeaders: true, topics: [{ topic, numPartitions: 4, replicationFactor: 1, configEntries: [{ name: 'retention.ms', value: '99999999999' }] }] }), true)
  const producer = kafka.producer()
  await producer.connect()
  const fill = async (from, to) => {
    for (let i = from; i < to; i++) {
      await producer.send({ topic, messages: [{ value: `${i}`, partition: i % 4, timestamp: String(10000 + i) }] })
    }
  }
  const seen = new Set()
  const all = n => () => seen.size === n
  await fill(0, 40)
  const a = await member('a', seen)
  await until(all(40), 'one reads all')
  const b = await member('b', seen)
  await until(() => a.assigned.length === 2 && b.assigned.length === 2, 'two share')
  await fill(40, 80)
  await until(all(80), 'two read all')
  const described = await admin.describeGroups([groupId])
  assert.strictEqual(described.groups[0].state, 'Stable')
  assert.strictEqual(described.groups[0].members.length, 2)
  assert((await admin.listGroups()).groups.some(g => g.groupId === groupId))
  await b.consumer.disconnect()
  await until(() => a.assigned.length === 4, 'one has all')
  await fill(80, 120)
  await until(all(120), 'one reads all again')
  await a.consumer.disconnect()

  // The shape of fetchOffsets changed in version 2.
  const offsets = async () => {
    const got = process.env.CLIENT_VERSION.startsWith('1.') ? await admin.fetchOffsets({ groupId, topic })
      : (await admin.fetchOffsets({ groupId, topics: [topic] }))[0].partitions
    return got.sort((x, y) => x.partition - y.partition).map(p => Number(p.offset))
  }
  assert.deepStrictEqual(await offsets(), [30, 30, 30, 30])
  await admin.setOffsets({ groupId, topic, partitions: [{ partition: 0, offset: '7' }] })
  assert.deepStrictEqual(await offsets(), [7, 30, 30, 30])
  await admin.resetOffsets({ groupId, topic, earliest: true })
  const byTime = await admin.fetchTopicOffsetsByTimestamp(topic, 10040)
  assert.deepStrictEqual(byTime.map(p => p.offset), ['10', '10', '10', '10'])
  const ends = await admin.fetchTopicOffsets(topic)
  assert.deepStrictEqual(ends.map(p => [p.low, p.high]), Array(4).fill(['0', '30']))

  const replay = kafka.consumer({ groupId: `${groupId}-replay`, maxWaitTimeInMs: 200 })
  const got = []
  await replay.connect()
  await replay.subscribe({ topic, fromBeginning: false })
  replay.run({ eachMessage: async ({ partition, message }) => { if (partition === 0) got.push(Number(message.value)) } })
  replay.seek({ topic, partition: 0, offset: '25' })
  await until(() => got.length === 5, 'replay from 25')
  assert.deepStrictEqual(got, [100, 104, 108, 112, 116])
  await replay.disconnect()

  await admin.createPartitions({ topicPartitions: [{ topic, count: 6 }] })
  await until(async () => (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions.length === 6, 'six partitions')
  const resource = { type: 2, name: topic }
  const config = async name => (await admin.describeConfigs({ resources: [resource], includeSynonyms: false })).resources[0].configEntries.find(c => c.configName === name).configValue
  assert.strictEqual(await config('retention.ms'), '99999999999')
  await admin.alterConfigs({ resources: [{ ...resource, configEntries: [{ name: 'segment.ms', value: '1234567' }] }] })
  await until(async () => await config('segment.ms') === '1234567', 'the altered config shows')
  await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '3' }] })
  assert.strictEqual((await admin.fetchTopicOffsets(topic)).find(p => p.partition === 0).low, '3')
  assert.strictEqual((await admin.describeCluster()).brokers.length, 1)
  await admin.deleteGroups([groupId])
  await admin.deleteTopics({ topics: [topic] })
  await until(async () => !(await admin.listTopics()).includes(topic), 'the topic goes')
  await admin.disconnect()
  await producer.disconnect()
})
