"""An authenticated user's clients while the primary of a replica set changes.

    failover_users.py URI USER PASSWORD

Two clients, "default" with PyMongo's own settings and "off" without any retries, each with writers
that increment counters of their own and readers. Prints "ready" once all are at work, runs until
standard input ends, and prints one JSON document: for each client how much succeeded, what failed and
how, the most errors that any one of its connections has seen, and what doesn't add up.
"""

import json
import sys
import threading
import time
from collections import Counter

from pymongo import MongoClient, WriteConcern
from pymongo.errors import PyMongoError
from pymongo.monitoring import ConnectionPoolListener

THREADS = 3
PAUSE = 0.005


class Connections(ConnectionPoolListener):
    """Knows which connection a thread has used last: the other events don't matter."""

    def __init__(self):
        self.mine = threading.local()

    def connection_checked_out(self, event):
        self.mine.id = event.connection_id

    def _ignore(self, event):
        pass

    pool_created = pool_ready = pool_cleared = pool_closed = _ignore
    connection_created = connection_ready = connection_closed = _ignore
    connection_check_out_started = connection_check_out_failed = connection_checked_in = _ignore


class Load:
    def __init__(self, name, uri, user, password, **options):
        self.name = name
        self.connections = Connections()
        self.client = MongoClient(
            uri,
            username=user,
            password=password,
            event_listeners=[self.connections],
            **options,
        )
        majority = WriteConcern(w="majority", j=True)
        self.counters = self.client.users.get_collection(name, write_concern=majority)
        self.lock = threading.Lock()
        self.done = 0
        self.acknowledged = Counter()
        self.failed = Counter()
        self.errors = Counter()
        self.by_connection = Counter()
        for number in range(THREADS):
            self.counters.replace_one({"_id": number}, {"n": 0}, upsert=True)

    def threads(self, stop):
        for number in range(THREADS):
            yield threading.Thread(target=self.increments, args=(number, stop))
            yield threading.Thread(target=self.finds, args=(number, stop))

    def attempt(self, act):
        try:
            act()
        except PyMongoError as error:
            with self.lock:
                self.errors[f"{type(error).__name__}: {error}"[:160]] += 1
                self.by_connection[getattr(self.connections.mine, "id", None)] += 1
            return False
        with self.lock:
            self.done += 1
        return True

    def increments(self, number, stop):
        while not stop.is_set():
            act = lambda: self.counters.update_one({"_id": number}, {"$inc": {"n": 1}})
            counter = self.acknowledged if self.attempt(act) else self.failed
            counter[number] += 1
            time.sleep(PAUSE)

    def finds(self, number, stop):
        while not stop.is_set():
            self.attempt(lambda: self.counters.find_one({"_id": number}))
            time.sleep(PAUSE)

    def report(self):
        stored = {d["_id"]: d["n"] for d in self.counters.find()}
        wrong = []
        for number in range(THREADS):
            least = self.acknowledged[number]
            most = least + self.failed[number]
            if not least <= stored[number] <= most:
                wrong.append(f"counter {number}: {stored[number]} is not in {least}..{most}")
        return {
            "done": self.done,
            "errors": dict(self.errors),
            "most_of_one_connection": max(self.by_connection.values(), default=0),
            "wrong": wrong,
        }


def main():
    uri, user, password = sys.argv[1:4]
    loads = [
        Load("default", uri, user, password),
        Load("off", uri, user, password, retryReads=False, retryWrites=False),
    ]
    stop = threading.Event()
    threads = [thread for load in loads for thread in load.threads(stop)]
    for thread in threads:
        thread.daemon = True
        thread.start()
    time.sleep(0.5)
    print("ready", flush=True)
    sys.stdin.read()
    stop.set()
    for thread in threads:
        thread.join(40)
    print(json.dumps({load.name: load.report() for load in loads}))


main()
