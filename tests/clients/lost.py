#!/usr/bin/env python3
"""What an application's handlers see when MongoDB hangs up on every try.

Usage: lost.py URI MONGOD close|error

URI: where the application connects; MONGOD: mongod itself, for fail points (it needs test commands). With "close" each operation
must fail as it does when mongod is lost, with "error" with the proxy's code. Afterwards the same client must work again.
"""

import sys

from pymongo import MongoClient
from pymongo.errors import AutoReconnect, ConnectionFailure, OperationFailure

uri, mongod, mode = sys.argv[1:]
admin = MongoClient(mongod, directConnection=True).admin


def fail(command, how):
    data = {"failCommands": [command], "closeConnection": True, "namespace": "lost.c"}
    admin.command("configureFailPoint", "failCommand", mode=how, data=data)


def seen_by_handlers(act):
    """As applications write it."""
    try:
        act()
    except AutoReconnect:
        return "network"
    except ConnectionFailure:
        return "connection"
    except OperationFailure as error:
        return f"code {error.code}"
    return "nothing"


for retries in (True, False):
    client = MongoClient(uri, retryReads=retries, retryWrites=retries, serverSelectionTimeoutMS=20_000)
    c = client.lost.c
    c.insert_many([{} for _ in range(5)])
    for command, act, code in (
        ("find", lambda: c.find_one({}), 6),
        ("insert", lambda: c.insert_one({}), 6),
        ("update", lambda: c.update_one({}, {"$inc": {"n": 1}}), 6),
        ("getMore", lambda: list(c.find({}, batch_size=2)), 43),
    ):
        fail(command, "alwaysOn")
        found = seen_by_handlers(act)
        fail(command, "off")
        expected = "network" if mode == "close" else f"code {code}"
        assert found == expected, f"{command}, retries {retries}: {found}, not {expected}"
        act()
    client.close()
print("ok")
