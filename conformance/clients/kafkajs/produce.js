// Codecs, headers, keys, nulls, large messages, idempotence, and what is refused.
const crypto = require('crypto')
const { assert, kafka, prefix, read, main, CompressionTypes } = require('./lib')

main(async () => {
  for (const [name, compression] of Object.entries(CompressionTypes)) {
    for (const options of [{}, { idempotent: true, maxInFlightRequests: 1 }]) {
      const topic = `${prefix}-${name}-${Boolean(options.idempotent)}`
      const producer = kafka.producer({ allowAutoTopicCreation: true, ...options })
      await producer.connect()
      const messages = Array.from({ length: 100 }, (_, i) => ({
        key: i % 2 ? `k${i}` : null,
        value: i % 3 ? `value ${i} `.repeat(20) : null,
        headers: { h: `${i}` },
        timestamp: String(1000 + i),
      }))
      await producer.send({ topic, compression, acks: -1, messages })
      const [{ baseOffset }] = await producer.send({ topic, compression, acks: -1, messages: [{ value: 'last' }] })
      assert.strictEqual(baseOffset, '100')
      await producer.disconnect()
      const got = await read(topic, 101)
      messages.forEach((m, i) => {
        assert.strictEqual(got[i].offset, String(i))
        assert.strictEqual(got[i].timestamp, m.timestamp)
        assert.strictEqual(got[i].key && got[i].key.toString(), m.key)
        assert.strictEqual(got[i].value && got[i].value.toString(), m.value)
        assert.strictEqual(got[i].headers.h.toString(), m.headers.h)
      })
    }
  }

  const producer = kafka.producer()
  await producer.connect()
  const topic = `${prefix}-large`
  const large = crypto.randomBytes(1048588 - 200)
  await producer.send({ topic, messages: [{ value: large }] })
  await assert.rejects(producer.send({ topic, messages: [{ value: crypto.randomBytes(1048588) }] }), /larger than|MESSAGE_TOO_LARGE/i)
  assert(large.equals((await read(topic, 1))[0].value))
  for (const acks of [0, 1]) {
    await producer.send({ topic: `${prefix}-acks-${acks}`, acks, messages: [{ value: 'a' }, { value: 'b' }] })
    assert.deepStrictEqual((await read(`${prefix}-acks-${acks}`, 2)).map(m => m.value.toString()), ['a', 'b'])
  }
  await assert.rejects(kafka.producer({ retry: { retries: 1 } }).connect().then(() =>
    producer.send({ topic: 'not/a/topic', messages: [{ value: 'x' }] })))
  await producer.disconnect()
})
