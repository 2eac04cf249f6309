// What the programs share: a client with every codec, and waiting.
const assert = require('assert')
const { Kafka, CompressionTypes, CompressionCodecs, logLevel } = require('kafkajs')

const bootstrap = process.env.BOOTSTRAP
const prefix = process.env.PREFIX
const kafka = new Kafka({ clientId: 'kafkajs', brokers: [bootstrap], logLevel: logLevel.ERROR, retry: { retries: 8, initialRetryTime: 50 } })

CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy')
CompressionCodecs[CompressionTypes.LZ4] = () => {
  const lz4 = require('lz4-napi')
  return {
    compress: encoder => lz4.compressFrame(encoder.buffer),
    decompress: buffer => lz4.decompressFrame(buffer),
  }
}
const zstd = require('@bokuweb/zstd-wasm')
const zstdReady = zstd.init()
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async encoder => { await zstdReady; return Buffer.from(zstd.compress(encoder.buffer, 3)) },
  decompress: async buffer => { await zstdReady; return Buffer.from(zstd.decompress(buffer)) },
})

const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))

async function until(check, what, limit = 40000) {
  const deadline = Date.now() + limit
  while (!(await check())) {
    assert(Date.now() < deadline, what)
    await sleep(50)
  }
}

// read takes count messages of a topic from its start, through a new group.
async function read(topic, count) {
  const consumer = kafka.consumer({ groupId: `${topic}-reader`, maxBytesPerPartition: 10 << 20, maxWaitTimeInMs: 200 })
  const got = []
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  await consumer.run({ eachMessage: async ({ message }) => { got.push(message) } })
  await until(() => got.length >= count, `${topic}: ${count} messages`)
  await consumer.disconnect()
  assert.strictEqual(got.length, count)
  return got
}

function main(f) {
  f().then(() => process.exit(0), err => { console.error(err); process.exit(1) })
}

module.exports = { assert, kafka, prefix, until, sleep, read, main, CompressionTypes }
