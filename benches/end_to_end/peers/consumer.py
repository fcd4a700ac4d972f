"""A topic into a ClickHouse table, as one writes it by hand when it has to be fast: batches from confluent-kafka, orjson,
columns through clickhouse-connect's compiled codec, the next batch decoded while the last is inserted, and offsets committed
behind the insert. Rows may come twice after a crash, and none is lost.

Usage: consumer.py BROKERS TOPIC TABLE HTTP_PORT USER PASSWORD. The table's name is also the group's. Ends at the end of its
partitions; prints when it was assigned some and when it had committed the last, by the monotonic clock.
"""

import gc
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from operator import itemgetter

import clickhouse_connect
import orjson
from confluent_kafka import Consumer, KafkaError, TopicPartition

BATCH = 100_000
TAKE = 5_000

brokers, topic, table, port, user, password = sys.argv[1:]
client = clickhouse_connect.get_client(
    host="127.0.0.1", port=int(port), username=user, password=password, compress=False, native_codec="rust_strict"
)
insertion = client.create_insert_context(table, column_oriented=True)
names = insertion.column_names
fields = itemgetter(*names)
at = names.index("at")
consumer = Consumer(
    {
        "bootstrap.servers": brokers,
        "group.id": table,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,
        # A second otherwise, in which a partition whose queue was full is not asked for more.
        "fetch.queue.backoff.ms": 5,
    }
)
inserter = ThreadPoolExecutor(max_workers=1)
columns = [[] for _ in names]
offsets = {}  # of the next record of each partition that is in `columns`
under_way = None  # an insert, and the offsets that it carries
at_end = set()
started = None


def insert(data):
    insertion.data = data
    client.insert(context=insertion)


def settle():
    """Waits for the insert that is under way, and commits what it carried."""
    global under_way
    if under_way:
        insert_, offsets_ = under_way
        insert_.result()
        consumer.commit(offsets=[TopicPartition(topic, p, o) for p, o in offsets_.items()], asynchronous=False)
        under_way = None


def flush():
    """Starts the insert of what has been decoded."""
    global columns, offsets, under_way
    settle()
    if offsets:
        under_way = inserter.submit(insert, columns), offsets
        columns, offsets = [[] for _ in names], {}


def take(messages):
    for column, values in zip(columns, zip(*[fields(orjson.loads(m.value())) for m in messages])):
        column.extend(values)
    columns[at][-len(messages) :] = [datetime.fromisoformat(text) for text in columns[at][-len(messages) :]]
    offsets.update((m.partition(), m.offset() + 1) for m in messages)


def on_assign(_, partitions):
    global started
    at_end.clear()
    if partitions:
        started = started or time.monotonic()


def on_revoke(*_):
    flush()
    settle()


gc.disable()  # nothing here has cycles, and millions of small objects are looked through for some
consumer.subscribe([topic], on_assign=on_assign, on_revoke=on_revoke)
while not at_end or len(at_end) < len(consumer.assignment()):
    messages = consumer.consume(TAKE, timeout=0.1)
    records = [m for m in messages if m.error() is None]
    if len(records) < len(messages):
        for m in messages:
            if m.error() and m.error().code() != KafkaError._PARTITION_EOF:
                sys.exit(m.error().str())
            elif m.error():
                at_end.add(m.partition())
    if records:
        take(records)
    if len(columns[0]) >= BATCH:
        flush()
flush()
settle()
print(started, time.monotonic())
consumer.close()
