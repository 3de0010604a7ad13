"""kafka-python."""

import sys
import time

import kafka
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewPartitions, NewTopic
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

from suite import equal, feature, fresh, run, wait_for


def topic(bootstrap, name, partitions=1):
    name = fresh(name)
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics([NewTopic(name, partitions, 1)])
    admin.close()
    return name


def send(producer, name, values):
    for sent in [producer.send(name, value) for value in values]:
        sent.get(30)


def read(bootstrap, name, count, partitions=1, **config):
    """Reads `count` records, and a second more to see that no other comes."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, **config)
    assigned = [TopicPartition(name, index) for index in range(partitions)]
    consumer.assign(assigned)
    consumer.seek_to_beginning(*assigned)
    found, until = [], time.monotonic() + 30
    while time.monotonic() < until:
        for records in consumer.poll(200).values():
            found += [record.value for record in records]
        if len(found) == count:
            until = min(until, time.monotonic() + 1)
    consumer.close()
    return found


def joined(consumer):
    """Polls until the consumer has an assignment. Long polls: if a join is under way when a poll
    ends, kafka-python 3.0.12 may forget it, although the broker has answered."""
    wait_for("an assignment", lambda: consumer.poll(5_000) or consumer.assignment(), 60)
    return consumer


def values(prefix, count=20):
    return [f"{prefix}{at}".encode() for at in range(count)]


@feature("admin")
def admin(bootstrap):
    name = topic(bootstrap, "admin", 2)
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)

    def partitions():
        return len(admin.describe_topics([name])[0]["partitions"])

    equal(partitions(), 2, "partitions")
    admin.create_partitions({name: NewPartitions(5)})
    wait_for("five partitions", lambda: partitions() == 5)
    equal(len(admin.describe_cluster()["brokers"]), 3, "brokers")
    admin.delete_topics([name])
    wait_for("the topic to be gone", lambda: name not in admin.list_topics())
    admin.close()


@feature("metadata quorum: describe")
def quorum(bootstrap):
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)

    def described():
        return admin.describe_metadata_quorum()["topics"][0]["partitions"][0]

    # A broker that has just begun to follow is told of from its first fetch on.
    wait_for("three observers", lambda: len(described()["observers"]) == 3)
    quorum = described()
    equal(quorum["error"], None, "error")
    voters = [it["replica_id"] for it in quorum["current_voters"]]
    equal((len(voters), quorum["leader_id"] in voters), (3, True), "voters, and the leader is one")
    for replica in quorum["current_voters"] + quorum["observers"]:
        age = time.time() - replica["last_fetch_timestamp"] / 1_000
        equal(-1 < age < 30, True, f"a fetch {age} s ago by {replica['replica_id']}")
    admin.close()


@feature("produce with acks 0, 1 and all")
def produce(bootstrap):
    for acks in (0, 1, "all"):
        name = topic(bootstrap, "acks")
        sender = KafkaProducer(bootstrap_servers=bootstrap, acks=acks, enable_idempotence=False)
        send(sender, name, values("v"))
        sender.close()
        equal(read(bootstrap, name, 20), values("v"), f"records with acks {acks}")


@feature("compression: gzip, snappy, lz4, zstd")
def compression(bootstrap):
    for codec in ("gzip", "snappy", "lz4", "zstd"):
        name = topic(bootstrap, codec)
        sender = KafkaProducer(bootstrap_servers=bootstrap, compression_type=codec, linger_ms=50)
        send(sender, name, values("v" * 200))
        sender.close()
        equal(read(bootstrap, name, 20), values("v" * 200), codec)


@feature("record headers, twice the same key")
def headers(bootstrap):
    name, expected = topic(bootstrap, "headers"), [("h", b"1"), ("h", b"2")]
    sender = KafkaProducer(bootstrap_servers=bootstrap)
    sender.send(name, b"v", headers=expected).get(30)
    sender.close()
    reader = KafkaConsumer(bootstrap_servers=bootstrap)
    reader.assign([TopicPartition(name, 0)])
    reader.seek_to_beginning()
    equal([(key, bytes(value)) for key, value in next(reader).headers], expected, "headers")
    reader.close()


@feature("idempotent producer")
def idempotent(bootstrap):
    name = topic(bootstrap, "idempotent")
    sender = KafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True)
    send(sender, name, values("v", 200))
    sender.close()
    equal(read(bootstrap, name, 200), values("v", 200), "records")


def transactional(bootstrap, identity):
    sender = KafkaProducer(bootstrap_servers=bootstrap, transactional_id=identity)
    sender.init_transactions()
    return sender


@feature("transactions: commit and abort, read_committed")
def transactions(bootstrap):
    name = topic(bootstrap, "transactions", 2)
    sender = transactional(bootstrap, fresh("id"))
    for prefix, end in (("a", "commit"), ("b", "abort"), ("c", "commit")):
        sender.begin_transaction()
        send(sender, name, values(prefix))
        if end == "commit":
            sender.commit_transaction()
        else:
            sender.abort_transaction()
    sender.close()
    committed = read(bootstrap, name, 40, 2, isolation_level="read_committed")
    equal(sorted(committed), sorted(values("a") + values("c")), "what is committed")
    all_of_it = read(bootstrap, name, 60, 2, isolation_level="read_uncommitted")
    equal(sorted(all_of_it), sorted(values("a") + values("b") + values("c")), "all of it")


@feature("transactions: a second producer fences the first")
def fencing(bootstrap):
    name, identity = topic(bootstrap, "fencing"), fresh("id")
    first = transactional(bootstrap, identity)
    first.begin_transaction()
    send(first, name, values("zombie"))
    second = transactional(bootstrap, identity)
    try:
        first.commit_transaction()
        committed = True
    except KafkaError:
        committed = False
    equal(committed, False, "the zombie's commit went through")
    second.begin_transaction()
    send(second, name, values("v"))
    second.commit_transaction()
    second.close()
    committed = read(bootstrap, name, 20, isolation_level="read_committed")
    equal(committed, values("v"), "what is committed")


@feature("transactions: offsets of a group")
def offsets(bootstrap):
    source, target, group = topic(bootstrap, "source"), topic(bootstrap, "target"), fresh("copy")
    sender = KafkaProducer(bootstrap_servers=bootstrap)
    send(sender, source, values("v"))
    sender.close()
    reader = KafkaConsumer(
        source, bootstrap_servers=bootstrap, group_id=group, auto_offset_reset="earliest",
        enable_auto_commit=False, isolation_level="read_committed")
    sender, copied = transactional(bootstrap, fresh("id")), []
    while len(copied) < 20:
        batch = [record for records in reader.poll(500).values() for record in records]
        if not batch:
            continue
        sender.begin_transaction()
        for record in batch:
            sender.send(target, record.value)
        partition = TopicPartition(source, 0)
        position = {partition: OffsetAndMetadata(reader.position(partition), "", -1)}
        sender.send_offsets_to_transaction(position, group)
        sender.commit_transaction()
        copied += [record.value for record in batch]
    equal(reader.committed(TopicPartition(source, 0)), 20, "the committed offset")
    reader.close()
    sender.close()
    equal(read(bootstrap, target, 20, isolation_level="read_committed"), values("v"), "the copy")


@feature("group with rebalance, classic protocol")
def classic(bootstrap):
    """Two members share four partitions; one leaves, the other has all; offsets go on."""
    name, group = topic(bootstrap, "group", 4), fresh("group")

    def member():
        return KafkaConsumer(
            name, bootstrap_servers=bootstrap, group_id=group, auto_offset_reset="earliest",
            enable_auto_commit=False)

    found = []

    def poll(*members):
        for consumer in members:
            for partition, records in consumer.poll(500).items():
                found.extend(record.value for record in records)
                consumer.commit({partition: OffsetAndMetadata(records[-1].offset + 1, "", -1)})

    def sizes(*members):
        poll(*members)
        return [len(consumer.assignment()) for consumer in members]

    first = joined(member())
    second = member()
    wait_for("two and two", lambda: sizes(first, second) == [2, 2], 60)
    sender = KafkaProducer(bootstrap_servers=bootstrap)
    send(sender, name, values("a", 40))
    wait_for("all records", lambda: poll(first, second) or len(found) >= 40)
    second.close()
    wait_for("four", lambda: sizes(first) == [4], 60)
    send(sender, name, values("b", 40))
    wait_for("all records", lambda: poll(first) or len(found) >= 80)
    first.close()
    sender.close()
    equal(sorted(found), sorted(values("a", 40) + values("b", 40)), "what was read")


@feature("groups: list, describe, delete")
def groups(bootstrap):
    name, group = topic(bootstrap, "groups"), fresh("group")
    reader = KafkaConsumer(name, bootstrap_servers=bootstrap, group_id=group)
    joined(reader)
    reader.commit({TopicPartition(name, 0): OffsetAndMetadata(0, "", -1)})
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)

    def listed():
        return group in [it["group_id"] for it in admin.list_groups()]

    equal(listed(), True, "the group is listed")
    equal(admin.describe_groups([group])[group]["group_state"], "Stable", "its state")
    reader.close()
    wait_for("the group to be deleted", lambda: admin.delete_groups([group])[group] in (None, "OK"))
    equal(listed(), False, "the group is listed after it was deleted")
    admin.close()


@feature("offsets by time, earliest, latest, largest")
def times(bootstrap):
    name = topic(bootstrap, "times")
    sender = KafkaProducer(bootstrap_servers=bootstrap)
    for at in (1_000, 3_000, 2_000):
        sender.send(name, b"v", timestamp_ms=at).get(30)
    sender.close()
    reader, partition = KafkaConsumer(bootstrap_servers=bootstrap), TopicPartition(name, 0)
    ends = [reader.beginning_offsets([partition]), reader.end_offsets([partition])]
    equal([it[partition] for it in ends], [0, 3], "the ends")
    found = [reader.offsets_for_times({partition: at})[partition] for at in (1_001, 3_001)]
    equal([it and it.offset for it in found], [1, None], "offsets by time")
    reader.close()


print(f"kafka-python {kafka.__version__}", file=sys.stderr)
run("kafka-python")
