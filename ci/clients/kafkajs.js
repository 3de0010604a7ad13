// kafkajs.

const { randomUUID } = require('crypto')
const { Kafka, logLevel, ConfigResourceTypes, CompressionTypes } = require('kafkajs')
const { isDeepStrictEqual } = require('util')

const brokers = [process.argv[2]]
const kafka = new Kafka({ clientId: 'suite', brokers, logLevel: logLevel.NOTHING })
const fresh = name => `${name}-${randomUUID().slice(0, 8)}`
const values = (prefix, count = 20) => Array.from({ length: count }, (_, at) => `${prefix}${at}`)
const sleep = ms => new Promise(done => setTimeout(done, ms))
const messages = list => list.map(value => ({ value, partition: 0 }))

function equal(found, expected, what) {
  if (!isDeepStrictEqual(found, expected)) {
    throw new Error(`${what}: ${JSON.stringify(found)} instead of ${JSON.stringify(expected)}`)
  }
}

async function waitFor(what, done, within = 50000) {
  const until = Date.now() + within
  while (!(await done())) {
    if (Date.now() > until) throw new Error(`not within ${within} ms: ${what}`)
    await sleep(50)
  }
}

async function withAdmin(work) {
  const admin = kafka.admin()
  await admin.connect()
  try {
    return await work(admin)
  } finally {
    await admin.disconnect()
  }
}

async function topic(name, numPartitions = 1) {
  name = fresh(name)
  await withAdmin(admin =>
    admin.createTopics({ waitForLeaders: true, topics: [{ topic: name, numPartitions }] }))
  return name
}

async function send(topic, list, { config = {}, acks = -1, compression } = {}) {
  const producer = kafka.producer(config)
  await producer.connect()
  await producer.send({ topic, messages: messages(list), acks, compression })
  await producer.disconnect()
}

// Reads `count` records, and a second more to see that no other comes.
async function read(topic, count, readUncommitted = false) {
  const consumer = kafka.consumer({ groupId: fresh('reader'), readUncommitted })
  const found = []
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  await consumer.run({ eachMessage: async ({ message }) => found.push(message) })
  await waitFor(`${count} records`, () => found.length >= count)
  await sleep(1000)
  await consumer.disconnect()
  return found
}

const text = list => list.map(message => message.value.toString())

const features = {
  admin: async () => {
    const name = await topic('admin', 2)
    await withAdmin(async admin => {
      const partitions = async () =>
        (await admin.fetchTopicMetadata({ topics: [name] })).topics[0].partitions.length
      equal(await partitions(), 2, 'partitions')
      await admin.createPartitions({ topicPartitions: [{ topic: name, count: 5 }] })
      await waitFor('five partitions', async () => (await partitions()) === 5)
      const described = await admin.describeConfigs({
        resources: [{ type: ConfigResourceTypes.TOPIC, name, configNames: ['retention.ms'] }],
      })
      equal(described.resources[0].configEntries.length, 1, 'configs')
      equal((await admin.describeCluster()).brokers.length, 3, 'brokers')
      await admin.deleteTopics({ topics: [name] })
      await waitFor('the topic to be gone', async () => !(await admin.listTopics()).includes(name))
    })
  },
  'produce with acks 0, 1 and all': async () => {
    for (const acks of [0, 1, -1]) {
      const name = await topic('acks')
      await send(name, values('v'), { acks })
      equal(text(await read(name, 20)), values('v'), `records with acks ${acks}`)
    }
  },
  // The other codecs are no part of kafkajs.
  'compression: gzip': async () => {
    const name = await topic('gzip')
    await send(name, values('v'.repeat(200)), { compression: CompressionTypes.GZIP })
    equal(text(await read(name, 20)), values('v'.repeat(200)), 'records')
  },
  'record headers, twice the same key': async () => {
    const name = await topic('headers')
    const producer = kafka.producer()
    await producer.connect()
    await producer.send({ topic: name, messages: [{ value: 'v', headers: { h: ['1', '2'] } }] })
    await producer.disconnect()
    const [message] = await read(name, 1)
    equal(message.headers.h.map(String), ['1', '2'], 'headers')
  },
  'idempotent producer': async () => {
    const name = await topic('idempotent')
    await send(name, values('v', 200), { config: { idempotent: true, maxInFlightRequests: 1 } })
    equal(text(await read(name, 200)), values('v', 200), 'records')
  },
  'transactions: commit and abort, read_committed': async () => {
    const name = await topic('transactions')
    const producer = await transactional(fresh('id'))
    for (const [prefix, end] of [['a', 'commit'], ['b', 'abort'], ['c', 'commit']]) {
      const transaction = await producer.transaction()
      await transaction.send({ topic: name, messages: messages(values(prefix)) })
      await transaction[end]()
    }
    await producer.disconnect()
    const all = [...values('a'), ...values('b'), ...values('c')]
    equal(text(await read(name, 40)), [...values('a'), ...values('c')], 'what is committed')
    equal(text(await read(name, 60, true)), all, 'all of it')
  },
  'transactions: a second producer fences the first': async () => {
    const [name, identity] = [await topic('fencing'), fresh('id')]
    const first = await transactional(identity)
    const zombie = await first.transaction()
    await zombie.send({ topic: name, messages: messages(values('zombie')) })
    const second = await transactional(identity)
    const transaction = await second.transaction()
    const refused = await zombie.commit().then(() => false, () => true)
    equal(refused, true, "the zombie's commit is refused")
    await transaction.send({ topic: name, messages: messages(values('v')) })
    await transaction.commit()
    await Promise.all([first.disconnect(), second.disconnect()])
    equal(text(await read(name, 20)), values('v'), 'what is committed')
  },
  'transactions: offsets of a group': async () => {
    const [source, target, groupId] = [await topic('source'), await topic('target'), fresh('copy')]
    await send(source, values('v'))
    const producer = await transactional(fresh('id'))
    const consumer = kafka.consumer({ groupId })
    await consumer.connect()
    await consumer.subscribe({ topic: source, fromBeginning: true })
    let copied = 0
    await consumer.run({
      autoCommit: false,
      eachBatch: async ({ batch }) => {
        const transaction = await producer.transaction()
        await transaction.send({ topic: target, messages: messages(text(batch.messages)) })
        const offset = (Number(batch.lastOffset()) + 1).toString()
        await transaction.sendOffsets({
          consumerGroupId: groupId,
          topics: [{ topic: source, partitions: [{ partition: 0, offset }] }],
        })
        await transaction.commit()
        copied += batch.messages.length
      },
    })
    await waitFor('the copy', () => copied >= 20)
    await consumer.disconnect()
    await producer.disconnect()
    const committed = await withAdmin(admin => admin.fetchOffsets({ groupId, topics: [source] }))
    equal(committed[0].partitions[0].offset, '20', 'the committed offset')
    equal(text(await read(target, 20)), values('v'), 'the copy')
  },
  // Two members share four partitions; one leaves, the other has all; offsets go on.
  'group with rebalance, classic protocol': async () => {
    const [name, groupId] = [await topic('group', 4), fresh('group')]
    const found = []
    const member = async () => {
      const consumer = kafka.consumer({ groupId })
      const it = { consumer, has: 0 }
      consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
        it.has = (payload.memberAssignment[name] || []).length
      })
      await consumer.connect()
      await consumer.subscribe({ topic: name, fromBeginning: true })
      await consumer.run({ eachMessage: async ({ message }) => found.push(message) })
      return it
    }
    const spread = list => list.map((value, at) => ({ value, partition: at % 4 }))
    const [first, second] = [await member(), await member()]
    await waitFor('two and two', () => first.has === 2 && second.has === 2)
    const producer = kafka.producer()
    await producer.connect()
    await producer.send({ topic: name, messages: spread(values('a', 40)) })
    await waitFor('all records', () => found.length >= 40)
    await second.consumer.disconnect()
    await waitFor('four', () => first.has === 4)
    await producer.send({ topic: name, messages: spread(values('b', 40)) })
    await waitFor('all records', () => found.length >= 80)
    await first.consumer.disconnect()
    await producer.disconnect()
    const expected = [...values('a', 40), ...values('b', 40)].sort()
    equal(text(found).sort(), expected, 'what was read')
  },
  'groups: list, describe, delete': async () => {
    const [name, groupId] = [await topic('groups'), fresh('group')]
    const consumer = kafka.consumer({ groupId })
    await consumer.connect()
    await consumer.subscribe({ topic: name })
    const joined = new Promise(done => consumer.on(consumer.events.GROUP_JOIN, done))
    await consumer.run({ eachMessage: async () => {} })
    await joined
    await withAdmin(async admin => {
      const listed = async () =>
        (await admin.listGroups()).groups.some(group => group.groupId === groupId)
      equal(await listed(), true, 'the group is listed')
      const { groups } = await admin.describeGroups([groupId])
      equal([groups[0].state, groups[0].members.length], ['Stable', 1], 'the group')
      await consumer.disconnect()
      await admin.setOffsets({ groupId, topic: name, partitions: [{ partition: 0, offset: '0' }] })
      await admin.deleteGroups([groupId])
      equal(await listed(), false, 'the group is listed after it was deleted')
    })
  },
  'offsets by time, earliest, latest, largest': async () => {
    const name = await topic('times')
    const producer = kafka.producer()
    await producer.connect()
    for (const timestamp of ['1000', '3000', '2000']) {
      await producer.send({ topic: name, messages: [{ value: 'v', timestamp }] })
    }
    await producer.disconnect()
    await withAdmin(async admin => {
      const [{ low, high }] = await admin.fetchTopicOffsets(name)
      equal([low, high], ['0', '3'], 'the ends')
      const [{ offset }] = await admin.fetchTopicOffsetsByTimestamp(name, 1001)
      equal(offset, '1', 'the offset by time')
    })
  },
}

async function transactional(transactionalId) {
  const producer = kafka.producer({ transactionalId, idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  return producer
}

async function main() {
  let failed = 0
  for (const [feature, tries] of Object.entries(features)) {
    const begun = Date.now()
    const late = sleep(60000).then(() => { throw new Error('not done in 60 s') })
    const why = await Promise.race([tries(), late]).then(() => '', error => String(error))
    if (why) failed += 1
    const seconds = (Date.now() - begun) / 1000
    console.log(JSON.stringify({ client: 'kafkajs', feature, ok: !why, why, seconds }))
  }
  process.exit(failed ? 1 : 0)
}

console.error(`kafkajs ${require('kafkajs/package.json').version}`)
main()
