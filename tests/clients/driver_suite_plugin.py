"""A pytest plugin for driver_suite.sh: what PyMongo's own tests lack to run against any address.

Most of them connect to DB_IP and DB_PORT, some to the driver's default of localhost:27017. This
makes the default the same as the former, so that every test talks to the server under test.
"""

import os

import pymongo

for client in (pymongo.MongoClient, pymongo.AsyncMongoClient):
    client.HOST = os.environ["DB_IP"]
    client.PORT = int(os.environ["DB_PORT"])
