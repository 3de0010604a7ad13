"""aiokafka."""

import asyncio
import sys
import time

import aiokafka
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.errors import KafkaError

from suite import equal, feature, fresh, run


async def topic(bootstrap, name, partitions=1):
    name = fresh(name)
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(name, partitions, 1)])
    await admin.close()
    return name


async def producer(bootstrap, **config):
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, **config)
    await producer.start()
    return producer


async def send(producer, name, values):
    for sent in [await producer.send(name, value) for value in values]:
        await sent


async def read(bootstrap, name, count, partitions=1, **config):
    """Reads `count` records, and a second more to see that no other comes."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, **config)
    await consumer.start()
    assigned = [TopicPartition(name, index) for index in range(partitions)]
    consumer.assign(assigned)
    await consumer.seek_to_beginning(*assigned)
    found, until = [], time.monotonic() + 30
    while time.monotonic() < until:
        for records in (await consumer.getmany(timeout_ms=200)).values():
            found += [record.value for record in records]
        if len(found) == count:
            until = min(until, time.monotonic() + 1)
    await consumer.stop()
    return found


def values(prefix, count=20):
    return [f"{prefix}{at}".encode() for at in range(count)]


async def wait_for(what, done, within=50):
    until = time.monotonic() + within
    while not await done():
        if time.monotonic() > until:
            raise AssertionError(f"not within {within} s: {what}")
        await asyncio.sleep(0.05)


@feature("admin")
async def admin(bootstrap):
    name = await topic(bootstrap, "admin", 2)
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()

    async def partitions():
        return len((await admin.describe_topics([name]))[0]["partitions"])

    equal(await partitions(), 2, "partitions")
    await admin.create_partitions({name: NewPartitions(5)})

    async def five():
        return await partitions() == 5

    async def gone():
        return name not in await admin.list_topics()

    await wait_for("five partitions", five)
    await admin.delete_topics([name])
    await wait_for("the topic to be gone", gone)
    await admin.close()


@feature("produce with acks 0, 1 and all")
async def produce(bootstrap):
    for acks in (0, 1, "all"):
        name = await topic(bootstrap, "acks")
        sender = await producer(bootstrap, acks=acks)
        await send(sender, name, values("v"))
        await sender.stop()
        equal(await read(bootstrap, name, 20), values("v"), f"records with acks {acks}")


@feature("compression: gzip, snappy, lz4, zstd")
async def compression(bootstrap):
    for codec in ("gzip", "snappy", "lz4", "zstd"):
        name = await topic(bootstrap, codec)
        sender = await producer(bootstrap, compression_type=codec, linger_ms=50)
        await send(sender, name, values("v" * 200))
        await sender.stop()
        equal(await read(bootstrap, name, 20), values("v" * 200), codec)


@feature("record headers, twice the same key")
async def headers(bootstrap):
    name, expected = await topic(bootstrap, "headers"), [("h", b"1"), ("h", b"2")]
    sender = await producer(bootstrap)
    await sender.send_and_wait(name, b"v", headers=expected)
    await sender.stop()
    reader = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await reader.start()
    reader.assign([TopicPartition(name, 0)])
    await reader.seek_to_beginning()
    equal(list((await reader.getone()).headers), expected, "headers")
    await reader.stop()


@feature("idempotent producer")
async def idempotent(bootstrap):
    name = await topic(bootstrap, "idempotent")
    sender = await producer(bootstrap, enable_idempotence=True)
    await send(sender, name, values("v", 200))
    await sender.stop()
    equal(await read(bootstrap, name, 200), values("v", 200), "records")


@feature("transactions: commit and abort, read_committed")
async def transactions(bootstrap):
    name = await topic(bootstrap, "transactions", 2)
    sender = await producer(bootstrap, transactional_id=fresh("id"))
    for prefix, end in (("a", "commit"), ("b", "abort"), ("c", "commit")):
        await sender.begin_transaction()
        await send(sender, name, values(prefix))
        if end == "commit":
            await sender.commit_transaction()
        else:
            await sender.abort_transaction()
    await sender.stop()
    committed = await read(bootstrap, name, 40, 2, isolation_level="read_committed")
    equal(sorted(committed), sorted(values("a") + values("c")), "what is committed")
    all_of_it = await read(bootstrap, name, 60, 2, isolation_level="read_uncommitted")
    equal(sorted(all_of_it), sorted(values("a") + values("b") + values("c")), "all of it")


@feature("transactions: a second producer fences the first")
async def fencing(bootstrap):
    name, identity = await topic(bootstrap, "fencing"), fresh("id")
    first = await producer(bootstrap, transactional_id=identity)
    await first.begin_transaction()
    await send(first, name, values("zombie"))
    second = await producer(bootstrap, transactional_id=identity)
    try:
        await first.commit_transaction()
        committed = True
    except KafkaError:
        committed = False
    equal(committed, False, "the zombie's commit went through")
    await second.begin_transaction()
    await send(second, name, values("v"))
    await second.commit_transaction()
    await second.stop()
    committed = await read(bootstrap, name, 20, isolation_level="read_committed")
    equal(committed, values("v"), "what is committed")


@feature("transactions: offsets of a group")
async def offsets(bootstrap):
    source, target = await topic(bootstrap, "source"), await topic(bootstrap, "target")
    group = fresh("copy")
    sender = await producer(bootstrap)
    await send(sender, source, values("v"))
    await sender.stop()
    reader = AIOKafkaConsumer(
        source, bootstrap_servers=bootstrap, group_id=group, auto_offset_reset="earliest",
        enable_auto_commit=False, isolation_level="read_committed")
    await reader.start()
    sender, copied = await producer(bootstrap, transactional_id=fresh("id")), []
    while len(copied) < 20:
        batches = await reader.getmany(timeout_ms=500)
        batch = [record for records in batches.values() for record in records]
        if not batch:
            continue
        await sender.begin_transaction()
        for record in batch:
            await sender.send(target, record.value)
        partition = TopicPartition(source, 0)
        position = {partition: await reader.position(partition)}
        await sender.send_offsets_to_transaction(position, group)
        await sender.commit_transaction()
        copied += [record.value for record in batch]
    equal(await reader.committed(TopicPartition(source, 0)), 20, "the committed offset")
    await reader.stop()
    await sender.stop()
    copy = await read(bootstrap, target, 20, isolation_level="read_committed")
    equal(copy, values("v"), "the copy")


@feature("group with rebalance, classic protocol")
async def classic(bootstrap):
    """Two members share four partitions; one leaves, the other has all; offsets go on."""
    name, group = await topic(bootstrap, "group", 4), fresh("group")

    async def member():
        consumer = AIOKafkaConsumer(
            name, bootstrap_servers=bootstrap, group_id=group, auto_offset_reset="earliest",
            enable_auto_commit=False)
        await consumer.start()
        return consumer

    found = []

    async def poll(*members):
        for consumer in members:
            for partition, records in (await consumer.getmany(timeout_ms=100)).items():
                found.extend(record.value for record in records)
                await consumer.commit({partition: records[-1].offset + 1})

    first, second = await member(), await member()

    def shared(members, expected):
        async def done():
            await poll(*members)
            return [len(consumer.assignment()) for consumer in members] == expected

        return done

    def read_all(members, count):
        async def done():
            await poll(*members)
            return len(found) >= count

        return done

    await wait_for("two and two", shared([first, second], [2, 2]))
    sender = await producer(bootstrap)
    await send(sender, name, values("a", 40))
    await wait_for("all records", read_all([first, second], 40))
    await second.stop()
    await wait_for("four", shared([first], [4]))
    await send(sender, name, values("b", 40))
    await wait_for("all records", read_all([first], 80))
    await first.stop()
    await sender.stop()
    equal(sorted(found), sorted(values("a", 40) + values("b", 40)), "what was read")


@feature("offsets by time, earliest, latest, largest")
async def times(bootstrap):
    name = await topic(bootstrap, "times")
    sender = await producer(bootstrap)
    for at in (1_000, 3_000, 2_000):
        await sender.send_and_wait(name, b"v", timestamp_ms=at)
    await sender.stop()
    reader, partition = AIOKafkaConsumer(bootstrap_servers=bootstrap), TopicPartition(name, 0)
    await reader.start()
    ends = [await reader.beginning_offsets([partition]), await reader.end_offsets([partition])]
    equal([it[partition] for it in ends], [0, 3], "the ends")
    found = [(await reader.offsets_for_times({partition: at}))[partition] for at in (1_001, 3_001)]
    equal([it and it.offset for it in found], [1, None], "offsets by time")
    await reader.stop()


print(f"aiokafka {aiokafka.__version__}", file=sys.stderr)
run("aiokafka")
