"""Load while the servers of a replica set fail, by several clients side by side.

    failover.py MEMBERS NAME=URI[;retry] ...

MEMBERS: host:port of each member, separated by commas; they are asked for their state directly, so
that the moment of each election is known. Each NAME is a set of writers and readers with a client of
its own; with ";retry" its driver retries by itself, without it never.

Prints "ready" once all are at work, runs until standard input ends, and prints one JSON document:
for each client what was acknowledged, what failed and how, what the counters hold in the end, and how
long after each election the first read and the first write had succeeded: a write that a majority has
acknowledged, and one that the new primary alone has (in its journal).
"""

import json
import sys
import threading
import time
from collections import Counter

from pymongo import MongoClient, WriteConcern
from pymongo.errors import PyMongoError

WRITERS = 2
READERS = 2
PAUSE = 0.005


class Load:
    """One client's writers and readers."""

    def __init__(self, name, uri, retry):
        self.name = name
        self.client = MongoClient(
            uri, retryWrites=retry, retryReads=retry, serverSelectionTimeoutMS=20000
        )
        majority = WriteConcern(w="majority", j=True)
        self.counters = self.client.failover.get_collection(
            f"{name}_counters", write_concern=majority
        )
        self.events = self.client.failover.get_collection(
            f"{name}_events", write_concern=majority
        )
        self.alone = self.client.failover.get_collection(
            f"{name}_alone", write_concern=WriteConcern(w=1, j=True)
        )
        self.lock = threading.Lock()
        self.acknowledged = Counter()
        self.unknown = Counter()
        self.inserted = []
        self.errors = Counter()
        self.messages = Counter()
        self.reads = []
        self.writes = []
        self.writes_alone = []
        self.slowest = 0.0

    def prepare(self):
        for number in range(WRITERS):
            self.counters.replace_one({"_id": number}, {"n": 0}, upsert=True)
        self.events.insert_one({"_id": "first"})

    def threads(self, stop):
        for number in range(WRITERS):
            yield threading.Thread(target=self.increments, args=(number, stop))
        yield threading.Thread(target=self.inserts, args=(stop,))
        yield threading.Thread(target=self.inserts_alone, args=(stop,))
        for number in range(READERS):
            yield threading.Thread(target=self.finds, args=(number % WRITERS, stop))

    def timed(self, done, act):
        began = time.monotonic()
        try:
            act()
        except PyMongoError as error:
            code = getattr(error, "code", None)
            with self.lock:
                self.errors[f"{type(error).__name__}({code})"] += 1
                self.messages[str(error)[:120]] += 1
            return False
        finally:
            ended = time.monotonic()
            self.slowest = max(self.slowest, ended - began)
        # A success counts for an election only if it began after it: a reply may be on its way.
        done.append((began, ended))
        return True

    def increments(self, number, stop):
        while not stop.is_set():
            act = lambda: self.counters.update_one({"_id": number}, {"$inc": {"n": 1}})
            if self.timed(self.writes, act):
                self.acknowledged[number] += 1
            else:
                self.unknown[number] += 1
            time.sleep(PAUSE)

    def inserts(self, stop):
        number = 0
        while not stop.is_set():
            number += 1
            if self.timed(self.writes, lambda: self.events.insert_one({"_id": number})):
                self.inserted.append(number)
            time.sleep(PAUSE)

    def inserts_alone(self, stop):
        # (Those may be rolled back, as MongoDB says: they aren't looked for in the end.)
        while not stop.is_set():
            self.timed(self.writes_alone, lambda: self.alone.insert_one({}))
            time.sleep(PAUSE)

    def finds(self, number, stop):
        while not stop.is_set():
            self.timed(self.reads, lambda: self.counters.find_one({"_id": number}))
            time.sleep(PAUSE)

    def report(self, elections, truth):
        stored = {d["_id"]: d["n"] for d in truth[self.counters.name].find()}
        kept = {d["_id"] for d in truth[self.events.name].find()}
        wrong = []
        for number in range(WRITERS):
            least = self.acknowledged[number]
            most = least + self.unknown[number]
            if not least <= stored[number] <= most:
                wrong.append(f"counter {number}: {stored[number]} is not in {least}..{most}")
        wrong += [f"insert {i} was acknowledged and is lost" for i in self.inserted if i not in kept]
        return {
            "writes": len(self.writes),
            "reads": len(self.reads),
            "errors": dict(self.errors),
            "messages": dict(self.messages),
            "wrong": wrong,
            "slowest_s": round(self.slowest, 2),
            "read_after_s": [after(self.reads, at) for at in elections],
            "write_after_s": [after(self.writes, at) for at in elections],
            "write_alone_after_s": [after(self.writes_alone, at) for at in elections],
        }


def after(done, at):
    """How long after `at` the first one ended that ended then."""
    later = [ended for _, ended in done if ended >= at]
    return round(min(later) - at, 3) if later else None


def watch(member, elections, stop):
    """Notes when this member becomes primary."""
    client = MongoClient(
        f"mongodb://{member}/?directConnection=true",
        serverSelectionTimeoutMS=300,
        socketTimeoutMS=300,
        connectTimeoutMS=300,
    )
    last = None
    while not stop.is_set():
        try:
            hello = client.admin.command("hello")
            election = hello.get("electionId") if hello.get("isWritablePrimary") else None
            if election is not None and election != last:
                elections.append((time.monotonic(), str(election)))
                last = election
        except PyMongoError:
            pass
        time.sleep(0.01)


def main():
    members = sys.argv[1].split(",")
    loads = []
    for argument in sys.argv[2:]:
        name, _, uri = argument.partition("=")
        uri, _, retry = uri.rpartition(";") if ";" in uri else (uri, "", "")
        loads.append(Load(name, uri, retry == "retry"))
    for load in loads:
        load.prepare()
    stop, elections = threading.Event(), []
    threads = [threading.Thread(target=watch, args=(m, elections, stop)) for m in members]
    for load in loads:
        threads += load.threads(stop)
    for thread in threads:
        thread.daemon = True
        thread.start()
    time.sleep(0.5)
    before = len(elections)
    print("ready", flush=True)
    sys.stdin.read()
    time.sleep(1)
    stop.set()
    for thread in threads:
        thread.join(30)
    moments = sorted(at for at, _ in elections[before:])
    truth = MongoClient(
        f"mongodb://{sys.argv[1]}/?replicaSet=rs0", readConcernLevel="majority"
    ).failover
    print(json.dumps({"elections": len(moments), "clients": {l.name: l.report(moments, truth) for l in loads}}))


main()
