#!/usr/bin/env python3
"""Puts a server back to where PyMongo's own tests expect it: no fail points, no leftovers.

Usage: driver_suite_reset.py HOST:PORT (of the server itself, not of a proxy)
"""

import sys

import pymongo
from pymongo.errors import OperationFailure


def main(address):
    with pymongo.MongoClient(f"mongodb://{address}/?directConnection=true") as client:
        if not client.admin.command("getParameter", 1, enableTestCommands=1)["enableTestCommands"]:
            sys.exit(f"{address} runs without --setParameter enableTestCommands=1")
        for point in ("failCommand", "failGetMoreAfterCursorCheckout", "onPrimaryTransactionalWrite"):
            try:
                client.admin.command("configureFailPoint", point, mode="off")
            except OperationFailure as error:
                if error.code != 2:  # This server has no such fail point.
                    raise
        client.admin.command("killAllSessions", [])
        for name in client.list_database_names():
            if name not in ("admin", "config", "local"):
                client.drop_database(name)
        for user in client.admin.command("usersInfo")["users"]:
            client.admin.command("dropUser", user["user"])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} HOST:PORT")
    main(sys.argv[1])
