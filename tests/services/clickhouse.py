"""Serves ClickHouse from the code that the chdb-core package carries.

Usage: clickhouse.py INSTALL_DIR HTTP_PORT DATA_DIR, in a directory that has config.xml.

The module is clickhouse-local's shape of the server: it serves for as long as a query runs. So one query that never
ends runs in a thread, and SIGTERM cancels it, after which the server shuts down in order.
"""

import base64
import os
import signal
import sys
import threading
import urllib.request

install, port, data = sys.argv[1:]
sys.path.insert(0, install)
from chdb import _chdb  # noqa: E402

SERVE = """
SYSTEM START LISTEN HTTP;
SYSTEM START LISTEN TCP;
SELECT sleepEachRow(1), 'rowfall-keepalive' FROM numbers(100000000)
SETTINGS max_block_size = 1, function_sleep_max_microseconds_per_block = 0, log_queries = 0 FORMAT Null
"""
CANCEL = "KILL QUERY WHERE query LIKE '%rowfall-keepalive%' AND query_id != queryID() ASYNC"


def serve():
    # The format named here is also the default of every HTTP answer; a real server's is this one.
    _chdb.query(SERVE, "TabSeparated", path=data)


def cancel():
    request = urllib.request.Request(f"http://127.0.0.1:{port}/", data=CANCEL.encode())
    request.add_header("Authorization", "Basic " + base64.b64encode(b"rowfall:rowfall-secret").decode())
    # A proxy that the environment names must not get in between.
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=5).read()


stopping = threading.Event()
for name in (signal.SIGTERM, signal.SIGINT):
    signal.signal(name, lambda *_: stopping.set())
server = threading.Thread(target=serve, daemon=True)
server.start()
# Python runs signal handlers on the main thread between waits.
while server.is_alive() and not stopping.wait(0.2):
    pass
if not stopping.is_set():
    sys.exit("the server ended by itself")
try:
    cancel()
except OSError as error:
    print(f"cannot cancel the serving query: {error}", file=sys.stderr)
    os._exit(1)
server.join(15)
os._exit(0)
