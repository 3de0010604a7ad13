"""librdkafka, by confluent-kafka for Python."""

import time

import confluent_kafka
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic,
    OffsetSpec,
)

from suite import equal, feature, fresh, run, wait_for


def topic(bootstrap, name, partitions=1):
    name = fresh(name)
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(name, partitions, 1)])[name].result(30)
    return name


def producer(bootstrap, **config):
    return Producer({"bootstrap.servers": bootstrap, **config})


def send(producer, name, values):
    """Sends, waits, and raises what went wrong with any of them."""
    errors = []
    for value in values:
        producer.produce(name, value, on_delivery=lambda error, _: error and errors.append(error))
    equal(producer.flush(30), 0, "records that were not delivered in time")
    equal(errors, [], "errors of delivery")


def read(bootstrap, name, count, partitions=1, **config):
    """Reads `count` records, and a second more to see that no other comes."""
    consumer = Consumer({
        "bootstrap.servers": bootstrap, "group.id": fresh("reader"),
        "enable.auto.commit": False, **config,
    })
    consumer.assign([TopicPartition(name, index, 0) for index in range(partitions)])
    found, until = [], time.monotonic() + 30
    while time.monotonic() < until:
        message = consumer.poll(0.2)
        if message is None:
            continue
        if message.error():
            raise KafkaException(message.error())
        found.append(message.value())
        if len(found) == count:
            until = min(until, time.monotonic() + 1)
    consumer.close()
    return found


def values(prefix, count=20):
    return [f"{prefix}{at}".encode() for at in range(count)]


@feature("admin")
def admin(bootstrap):
    admin = AdminClient({"bootstrap.servers": bootstrap})
    name = topic(bootstrap, "admin", 2)
    described = admin.list_topics(name, 10).topics[name]
    equal((described.error, len(described.partitions)), (None, 2), "the topic")
    admin.create_partitions([NewPartitions(name, 5)])[name].result(30)
    wait_for("five partitions", lambda: len(admin.list_topics(name, 10).topics[name].partitions) == 5)
    resource = ConfigResource(ConfigResource.Type.TOPIC, name)
    change = ConfigEntry("retention.ms", "60000", incremental_operation=AlterConfigOpType.SET)
    changed = ConfigResource(
        ConfigResource.Type.TOPIC, name, incremental_configs=[change])
    admin.incremental_alter_configs([changed])[changed].result(30)
    wait_for("the new config", lambda: admin.describe_configs([resource])[resource].result(30)[
        "retention.ms"].value == "60000")
    cluster = admin.describe_cluster().result(30)
    equal(len(cluster.nodes), 3, "brokers")
    admin.delete_topics([name])[name].result(30)
    wait_for("the topic to be gone", lambda: name not in admin.list_topics(timeout=10).topics)


@feature("produce with acks 0, 1 and all")
def produce(bootstrap):
    for acks in ("0", "1", "all"):
        name = topic(bootstrap, "acks")
        send(producer(bootstrap, acks=acks), name, values("v"))
        equal(read(bootstrap, name, 20), values("v"), f"records with acks {acks}")


@feature("compression: gzip, snappy, lz4, zstd")
def compression(bootstrap):
    for codec in ("gzip", "snappy", "lz4", "zstd"):
        name = topic(bootstrap, codec)
        sender = producer(bootstrap, **{"compression.type": codec, "linger.ms": 50})
        send(sender, name, values("v" * 200))
        equal(read(bootstrap, name, 20), values("v" * 200), codec)


@feature("record headers, twice the same key")
def headers(bootstrap):
    name = topic(bootstrap, "headers")
    sender = producer(bootstrap)
    sender.produce(name, b"v", headers=[("h", b"1"), ("h", b"2"), ("none", None)])
    sender.flush(30)
    reader = Consumer({"bootstrap.servers": bootstrap, "group.id": fresh("reader")})
    reader.assign([TopicPartition(name, 0, 0)])
    message = reader.poll(30)
    reader.close()
    equal(message.headers(), [("h", b"1"), ("h", b"2"), ("none", None)], "headers")


@feature("idempotent producer")
def idempotent(bootstrap):
    name = topic(bootstrap, "idempotent")
    send(producer(bootstrap, **{"enable.idempotence": True}), name, values("v", 200))
    equal(read(bootstrap, name, 200), values("v", 200), "records")


def transactional(bootstrap, identity):
    sender = producer(bootstrap, **{"transactional.id": identity})
    sender.init_transactions(30)
    return sender


@feature("transactions: commit and abort, read_committed")
def transactions(bootstrap):
    name = topic(bootstrap, "transactions", 2)
    sender = transactional(bootstrap, fresh("id"))
    for prefix, end in (("a", "commit"), ("b", "abort"), ("c", "commit")):
        sender.begin_transaction()
        send(sender, name, values(prefix))
        if end == "commit":
            sender.commit_transaction(30)
        else:
            sender.abort_transaction(30)
    committed = read(bootstrap, name, 40, 2, **{"isolation.level": "read_committed"})
    equal(sorted(committed), sorted(values("a") + values("c")), "what is committed")
    all_of_it = read(bootstrap, name, 60, 2, **{"isolation.level": "read_uncommitted"})
    equal(sorted(all_of_it), sorted(values("a") + values("b") + values("c")), "all of it")


@feature("transactions: a second producer fences the first")
def fencing(bootstrap):
    name, identity = topic(bootstrap, "fencing"), fresh("id")
    first = transactional(bootstrap, identity)
    first.begin_transaction()
    send(first, name, values("zombie"))
    second = transactional(bootstrap, identity)
    try:
        first.commit_transaction(30)
        raise AssertionError("the zombie's commit went through")
    except KafkaException as error:
        equal(error.args[0].fatal(), True, f"{error} is fatal")
        equal(error.args[0].code(), KafkaError._FENCED, "the first producer's error")
    second.begin_transaction()
    send(second, name, values("v"))
    second.commit_transaction(30)
    committed = read(bootstrap, name, 20, **{"isolation.level": "read_committed"})
    equal(committed, values("v"), "what is committed")


@feature("transactions: offsets of a group")
def offsets(bootstrap):
    source, target, group = topic(bootstrap, "source"), topic(bootstrap, "target"), fresh("copy")
    send(producer(bootstrap), source, values("v"))
    reader = Consumer({
        "bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest",
        "enable.auto.commit": False, "isolation.level": "read_committed",
    })
    reader.subscribe([source])
    sender = transactional(bootstrap, fresh("id"))
    copied = []
    while len(copied) < 20:
        batch = [message for message in reader.consume(10, 1) if not message.error()]
        if not batch:
            continue
        sender.begin_transaction()
        for message in batch:
            sender.produce(target, message.value())
        sender.send_offsets_to_transaction(
            reader.position(reader.assignment()), reader.consumer_group_metadata(), 30)
        sender.commit_transaction(30)
        copied += [message.value() for message in batch]
    committed = reader.committed([TopicPartition(source, 0)], 30)
    reader.close()
    equal(committed[0].offset, 20, "the committed offset")
    equal(read(bootstrap, target, 20, **{"isolation.level": "read_committed"}), values("v"), "copy")


def rebalance(bootstrap, protocol):
    """Two members share four partitions; one leaves, the other has all; offsets go on."""
    name, group = topic(bootstrap, "group", 4), fresh("group")

    def member():
        consumer = Consumer({
            "bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest",
            "enable.auto.commit": False, "group.protocol": protocol,
        })
        consumer.subscribe([name])
        return consumer

    found = []

    def poll(*members):
        for consumer in members:
            message = consumer.poll(0.1)
            if message is not None and not message.error():
                found.append(message.value())
                consumer.commit(message, asynchronous=False)

    def sizes(*members):
        poll(*members)
        return [len(consumer.assignment()) for consumer in members]

    first, second = member(), member()
    wait_for("two and two", lambda: sizes(first, second) == [2, 2], 60)
    sender = producer(bootstrap)
    send(sender, name, values("a", 40))
    wait_for("all records", lambda: poll(first, second) or len(found) >= 40)
    second.close()
    wait_for("four", lambda: sizes(first) == [4], 60)
    send(sender, name, values("b", 40))
    wait_for("all records", lambda: poll(first) or len(found) >= 80)
    first.close()
    equal(sorted(found), sorted(values("a", 40) + values("b", 40)), "what was read")


@feature("group with rebalance, classic protocol")
def classic(bootstrap):
    rebalance(bootstrap, "classic")


@feature("group with rebalance, KIP-848")
def consumer_protocol(bootstrap):
    rebalance(bootstrap, "consumer")


@feature("groups: list, describe, delete")
def groups(bootstrap):
    name, group = topic(bootstrap, "groups"), fresh("group")
    reader = Consumer({"bootstrap.servers": bootstrap, "group.id": group})
    reader.subscribe([name])
    wait_for("an assignment", lambda: reader.poll(0.1) or reader.assignment())
    send(producer(bootstrap), name, values("v", 1))
    reader.commit(offsets=[TopicPartition(name, 0, 1)], asynchronous=False)
    admin = AdminClient({"bootstrap.servers": bootstrap})
    listed = [it.group_id for it in admin.list_consumer_groups().result(30).valid]
    equal(group in listed, True, "the group is listed")
    described = admin.describe_consumer_groups([group])[group].result(30)
    equal((described.state.name, len(described.members)), ("STABLE", 1), "the group")
    reader.close()
    admin.delete_consumer_groups([group])[group].result(30)
    listed = [it.group_id for it in admin.list_consumer_groups().result(30).valid]
    equal(group in listed, False, "the group is listed after it was deleted")


@feature("offsets by time, earliest, latest, largest")
def times(bootstrap):
    name = topic(bootstrap, "times")
    sender = producer(bootstrap)
    for at in (1_000, 3_000, 2_000):
        sender.produce(name, b"v", timestamp=at)
        sender.flush(30)
    admin = AdminClient({"bootstrap.servers": bootstrap})

    def offset(spec):
        partition = TopicPartition(name, 0)
        return admin.list_offsets({partition: spec})[partition].result(30).offset

    specs = [OffsetSpec.earliest(), OffsetSpec.latest(), OffsetSpec.max_timestamp()]
    specs += [OffsetSpec.for_timestamp(1_001), OffsetSpec.for_timestamp(3_001)]
    equal([offset(spec) for spec in specs], [0, 3, 1, 1, -1], "offsets")


print(f"librdkafka {confluent_kafka.libversion()[0]}", file=__import__("sys").stderr)
run("librdkafka")
