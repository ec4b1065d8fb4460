#!/usr/bin/env python3
"""PyMongo (asyncio) against one server: everything an application does.

Usage: pymongo_async.py URI

Prints "ok <section>" per section and "all N sections ok" at the end. At the
first failed section it prints that section's error and exits with status 1.
Nothing here depends on the kind of deployment that the server presents. Every
run works in databases of its own and drops them, so runs may overlap.
"""

import asyncio
import os
import sys
import time
import traceback

from bson import BSON, Int64, ObjectId
from bson.codec_options import CodecOptions
from bson.son import SON
from gridfs import AsyncGridFS, AsyncGridFSBucket, NoFile
from pymongo import (
    ASCENDING,
    DESCENDING,
    CursorType,
    DeleteMany,
    DeleteOne,
    IndexModel,
    InsertOne,
    AsyncMongoClient,
    ReplaceOne,
    ReturnDocument,
    UpdateMany,
    UpdateOne,
    WriteConcern,
)
from pymongo.errors import (
    BulkWriteError,
    CollectionInvalid,
    CursorNotFound,
    DuplicateKeyError,
    InvalidOperation,
    OperationFailure,
)
from pymongo.read_concern import ReadConcern

DEADLINE = 20.0
MIB = 1024 * 1024


def equal(actual, expected):
    """Fails with both values when they differ."""
    assert actual == expected, f"got {actual!r}, expected {expected!r}"


async def raises(kinds, action, code=None):
    """Awaits `action`, which must fail with one of `kinds` (and `code`), and returns the error."""
    try:
        result = await action
    except kinds as error:
        if code is not None:
            equal(error.code, code)
        return error
    raise AssertionError(f"no error, got {result!r}")


async def until(condition, what):
    """Waits until awaiting `condition()` gives something true; fails when it does not within DEADLINE."""
    end = time.monotonic() + DEADLINE
    while True:
        value = await condition()
        if value:
            return value
        assert time.monotonic() < end, f"gave up waiting for {what}"
        await asyncio.sleep(0.005)


class Suite:
    """The sections, in the order of their definition."""

    def __init__(self, uri):
        self.client = AsyncMongoClient(uri, serverSelectionTimeoutMS=10_000)
        tag = ObjectId()
        self.db = self.client[f"petiole_pyasync_{tag}"]
        self.other = self.client[f"petiole_pyasync_other_{tag}"]
        self.wire = None

    async def close(self):
        for db in (self.db, self.other):
            await self.client.drop_database(db)
        await self.client.close()

    async def section_server_commands(self):
        admin = self.client.admin
        hello = await admin.command("hello")
        self.wire = hello["maxWireVersion"]
        equal(hello["ok"], 1.0)
        equal(hello["isWritablePrimary"], True)
        assert hello["maxBsonObjectSize"] >= 16 * MIB, hello
        assert hello["maxMessageSizeBytes"] >= 16 * MIB, hello
        assert hello["maxWriteBatchSize"] >= 1000, hello
        assert hello["minWireVersion"] <= hello["maxWireVersion"], hello
        equal((await admin.command("ping"))["ok"], 1.0)
        version = (await admin.command("buildInfo"))["versionArray"]
        equal((await self.client.server_info())["versionArray"], version)
        status = await admin.command("serverStatus")
        assert status["uptime"] >= 0 and status["connections"]["current"] >= 1, status["connections"]
        assert "opcounters" in status and "asserts" in status, list(status)
        stats = await self.db.command("dbStats")
        equal(stats["db"], self.db.name)

    async def section_insert(self):
        items = self.db.items
        one = await items.insert_one({"_id": "one", "n": 1})
        assert one.acknowledged
        equal(one.inserted_id, "one")
        given = (await items.insert_one({"n": 2})).inserted_id
        assert isinstance(given, ObjectId), given
        equal(await items.find_one({"_id": given}), {"_id": given, "n": 2})
        many = await items.insert_many([{"_id": i, "n": i, "even": i % 2 == 0} for i in range(100)])
        equal(many.inserted_ids, list(range(100)))
        equal(await items.count_documents({}), 102)
        error = await raises(DuplicateKeyError, items.insert_one({"_id": "one"}), 11000)
        equal(error.details["keyValue"], {"_id": "one"})
        equal((await items.insert_many([{"_id": i} for i in range(100, 120)], ordered=False)).acknowledged, True)
        equal((await items.delete_many({"_id": {"$gte": 100}})).deleted_count, 20)

    async def section_find(self):
        items = self.db.items
        equal(await items.find_one({"_id": "absent"}), None)
        equal(await items.find_one({"_id": 7}), {"_id": 7, "n": 7, "even": False})
        found = await items.find({"even": True, "n": {"$gte": 10, "$lt": 20}}).sort("n", DESCENDING).to_list()
        equal([d["n"] for d in found], [18, 16, 14, 12, 10])
        equal([d["n"] async for d in items.find({"n": {"$in": [5, 3]}, "even": False}, sort=[("n", ASCENDING)])], [3, 5])
        page = items.find({"even": {"$exists": True}}, {"_id": 0, "n": 1}).sort("n", 1).skip(40).limit(3)
        equal(await page.to_list(), [{"n": 40}, {"n": 41}, {"n": 42}])
        equal([d["_id"] async for d in items.find({"$or": [{"n": 98}, {"n": 99}]}).hint("_id_").sort("_id", 1)], [98, 99])
        equal(len(await items.find({"even": False}).comment("petiole").max_time_ms(10_000).to_list()), 50)
        equal(len(await items.find({"even": False}).to_list()), 50)
        equal((await items.find({"_id": 4}).explain())["ok"], 1.0)
        # The same read, again and again, before and after writes: it must follow the writes.
        for n in (1000, 1001):
            await items.update_one({"_id": 7}, {"$set": {"n": n}})
            for _ in range(3):
                equal((await items.find_one({"_id": 7}))["n"], n)
        raw = await items.with_options(CodecOptions(document_class=SON)).find_one({"_id": 8})
        equal(list(raw), ["_id", "n", "even"])

    async def section_update(self):
        items = self.db.updates
        await items.insert_many([{"_id": i, "n": i, "tags": ["a"]} for i in range(10)])
        one = await items.update_one({"_id": 1}, {"$inc": {"n": 10}})
        equal((one.matched_count, one.modified_count, one.upserted_id), (1, 1, None))
        same = await items.update_one({"_id": 1}, {"$set": {"n": 11}})
        equal((same.matched_count, same.modified_count), (1, 0))
        none = await items.update_one({"_id": "absent"}, {"$set": {"n": 0}})
        equal((none.matched_count, none.modified_count), (0, 0))
        many = await items.update_many({"_id": {"$gte": 5}}, {"$push": {"tags": "b"}, "$unset": {"n": ""}})
        equal((many.matched_count, many.modified_count), (5, 5))
        equal(await items.find_one({"_id": 9}), {"_id": 9, "tags": ["a", "b"]})
        up = await items.update_one({"_id": "up"}, {"$setOnInsert": {"fresh": True}}, upsert=True)
        equal((up.matched_count, up.upserted_id), (0, "up"))
        replaced = await items.replace_one({"_id": "up"}, {"other": Int64(5)})
        equal((replaced.matched_count, replaced.modified_count), (1, 1))
        equal(await items.find_one({"_id": "up"}), {"_id": "up", "other": 5})
        equal((await items.replace_one({"_id": "re"}, {"n": 1}, upsert=True)).upserted_id, "re")
        await items.update_one({"_id": 2}, [{"$set": {"double": {"$multiply": ["$n", 2]}}}])
        equal((await items.find_one({"_id": 2}))["double"], 4)
        await items.update_one({"_id": 9}, {"$set": {"tags.$[t]": "c"}}, array_filters=[{"t": "b"}])
        equal((await items.find_one({"_id": 9}))["tags"], ["a", "c"])

    async def section_find_and_modify(self):
        items = self.db.modify
        await items.insert_many([{"_id": i, "n": i} for i in range(5)])
        equal(await items.find_one_and_update({"_id": 0}, {"$inc": {"n": 5}}), {"_id": 0, "n": 0})
        after = await items.find_one_and_update({"_id": 0}, {"$inc": {"n": 5}}, return_document=ReturnDocument.AFTER)
        equal(after, {"_id": 0, "n": 10})
        new = await items.find_one_and_update(
            {"_id": "new"}, {"$set": {"n": 1}}, upsert=True, return_document=ReturnDocument.AFTER
        )
        equal(new, {"_id": "new", "n": 1})
        equal(await items.find_one_and_replace({"_id": 1}, {"m": 1}), {"_id": 1, "n": 1})
        equal(await items.find_one({"_id": 1}), {"_id": 1, "m": 1})
        last = await items.find_one_and_delete({"n": {"$lt": 5}}, sort=[("n", DESCENDING)], projection={"n": 1})
        equal(last, {"_id": 4, "n": 4})
        equal(await items.find_one({"_id": 4}), None)
        equal(await items.find_one_and_delete({"_id": "absent"}), None)

    async def section_delete(self):
        items = self.db.deletes
        await items.insert_many([{"_id": i, "even": i % 2 == 0} for i in range(20)])
        equal((await items.delete_one({"even": True})).deleted_count, 1)
        equal((await items.delete_one({"_id": "absent"})).deleted_count, 0)
        equal((await items.delete_many({"even": True})).deleted_count, 9)
        equal(await items.count_documents({}), 10)
        equal((await items.delete_many({})).deleted_count, 10)
        equal(await items.find().to_list(), [])

    async def section_count_and_distinct(self):
        items = self.db.counts
        equal(await items.count_documents({}), 0)
        equal(await items.estimated_document_count(), 0)
        await items.insert_many([{"_id": i, "kind": "abc"[i % 3], "tags": [i % 2, i % 5]} for i in range(30)])
        equal(await items.count_documents({}), 30)
        equal(await items.count_documents({"kind": "b"}), 10)
        equal(await items.count_documents({"kind": "b"}, skip=2, limit=5), 5)
        equal(await items.estimated_document_count(), 30)
        equal(await items.distinct("kind"), ["a", "b", "c"])
        equal(await items.distinct("kind", {"_id": {"$in": [0, 1]}}), ["a", "b"])
        equal(await items.distinct("tags"), [0, 1, 2, 3, 4])

    async def section_aggregate(self):
        db = self.db
        await db.orders.insert_many([{"_id": i, "user": i % 3, "total": i * 10} for i in range(12)])
        await db.users.insert_many([{"_id": i, "name": f"user {i}"} for i in range(3)])
        totals = await (await db.orders.aggregate([
            {"$match": {"total": {"$gte": 30}}},
            {"$group": {"_id": "$user", "sum": {"$sum": "$total"}}},
            {"$sort": {"_id": 1}},
        ])).to_list()
        equal(totals, [{"_id": 0, "sum": 180}, {"_id": 1, "sum": 210}, {"_id": 2, "sum": 240}])
        joined = await (await db.orders.aggregate([
            {"$match": {"_id": 4}},
            {"$lookup": {"from": "users", "localField": "user", "foreignField": "_id", "as": "who"}},
            {"$unwind": "$who"},
            {"$project": {"name": "$who.name"}},
        ])).to_list()
        equal(joined, [{"_id": 4, "name": "user 1"}])
        await db.users.update_one({"_id": 1}, {"$set": {"name": "renamed"}})
        facets = await (await db.orders.aggregate([
            {"$facet": {
                "count": [{"$count": "n"}],
                "top": [{"$sort": {"total": -1}}, {"$limit": 2}, {"$project": {"_id": 1}}],
            }},
        ])).to_list()
        equal(facets, [{"count": [{"n": 12}], "top": [{"_id": 11}, {"_id": 10}]}])
        batches = await (await db.orders.aggregate([{"$sort": {"_id": 1}}], batchSize=2)).to_list()
        equal([d["_id"] for d in batches], list(range(12)))
        equal([d["_id"] async for d in await db.aggregate([{"$documents": [{"_id": 1}, {"_id": 2}]}])], [1, 2])
        raw = b"".join([b async for b in await db.orders.aggregate_raw_batches([{"$match": {"_id": 1}}])])
        equal(BSON(raw).decode(), {"_id": 1, "user": 1, "total": 10})

    async def section_out_and_merge(self):
        orders, copies, merged = self.db.orders, self.db.copies, self.other.merged
        equal(await copies.find().to_list(), [])
        equal(await (await orders.aggregate([{"$match": {"user": 0}}, {"$out": "copies"}])).to_list(), [])
        equal(await copies.count_documents({}), 4)
        await orders.aggregate([{"$match": {"user": {"$ne": 0}}}, {"$out": "copies"}])
        equal(await copies.count_documents({}), 8)
        equal(await merged.find().to_list(), [])
        into = {"$merge": {"into": {"db": self.other.name, "coll": "merged"}, "whenMatched": "replace"}}
        await orders.aggregate([{"$match": {"_id": {"$lt": 2}}}, into])
        equal(sorted([d["total"] async for d in merged.find()]), [0, 10])
        await orders.aggregate([{"$match": {"_id": 1}}, {"$set": {"total": 99}}, into])
        equal(sorted([d["total"] async for d in merged.find()]), [0, 99])

    async def section_cursor(self):
        many = self.db.many
        await many.insert_many([{"_id": i, "pad": "x" * 50} for i in range(1000)])
        equal([d["_id"] async for d in many.find(batch_size=7).sort("_id", 1)], list(range(1000)))
        interleaved = [many.find({}, {"_id": 1}, batch_size=7).sort("_id", way) for way in (1, -1)]
        pairs = [((await anext(interleaved[0]))["_id"], (await anext(interleaved[1]))["_id"]) for _ in range(1000)]
        equal(pairs, [(i, 999 - i) for i in range(1000)])
        cursor = many.find(batch_size=7)
        got = [(await anext(cursor))["_id"] for _ in range(20)]
        equal(len(set(got)), 20)
        cursor_id = cursor.cursor_id
        assert cursor_id, cursor_id
        await cursor.close()
        gone = self.db.command({"getMore": Int64(cursor_id), "collection": "many"})
        await raises(CursorNotFound, gone, 43)
        reply = (await self.db.command({"find": "many", "batchSize": 3}))["cursor"]
        equal(len(reply["firstBatch"]), 3)
        more = (await self.db.command({"getMore": reply["id"], "collection": "many", "batchSize": 5}))["cursor"]
        equal((len(more["nextBatch"]), more["id"]), (5, reply["id"]))
        killed = await self.db.command({"killCursors": "many", "cursors": [reply["id"], Int64(12345)]})
        equal((killed["cursorsKilled"], killed["cursorsNotFound"]), ([reply["id"]], [12345]))
        raw = b"".join([b async for b in many.find_raw_batches({"_id": {"$lt": 30}}, batch_size=7)])
        assert len(raw) > 30 * 50, len(raw)

    async def section_exhaust(self):
        exhaust = lambda **more: self.db.many.find(cursor_type=CursorType.EXHAUST, batch_size=7, **more)
        if await self.client.is_mongos and self.wire < 22:
            # The driver itself refuses: mongos streams cursors since 7.1 only.
            await raises(InvalidOperation, exhaust().to_list())
            return
        equal([d["_id"] async for d in exhaust().sort("_id", 1)], list(range(1000)))
        early = exhaust()
        equal(len({(await anext(early))["_id"] for _ in range(20)}), 20)
        await early.close()
        equal(await self.db.many.count_documents({}), 1000)

    async def section_transaction(self):
        items = await self.db.create_collection("accounts")
        await items.insert_many([{"_id": "a", "n": 100}, {"_id": "b", "n": 0}])
        async with self.client.start_session() as session:
            async with await session.start_transaction(ReadConcern("snapshot"), WriteConcern("majority")):
                await items.update_one({"_id": "a"}, {"$inc": {"n": -30}}, session=session)
                await items.update_one({"_id": "b"}, {"$inc": {"n": 30}}, session=session)
                await items.insert_one({"_id": "log"}, session=session)
                equal((await items.find_one({"_id": "a"}, session=session))["n"], 70)
                equal(await items.count_documents({}, session=session), 3)
                # Outside of it nothing is to be seen before the commit.
                equal((await items.find_one({"_id": "a"}))["n"], 100)
                equal(await items.find_one({"_id": "log"}), None)
            equal((await items.find_one({"_id": "a"}))["n"], 70)
            equal(await items.find_one({"_id": "log"}), {"_id": "log"})

            await session.start_transaction()
            await items.update_one({"_id": "a"}, {"$set": {"n": -1}}, session=session)
            equal(len(await items.find(session=session, batch_size=2).to_list()), 3)
            await session.abort_transaction()
            equal((await items.find_one({"_id": "a"}))["n"], 70)

            attempts = []

            async def transfer(s):
                attempts.append(1)
                await items.update_one({"_id": "a"}, {"$inc": {"n": -20}}, session=s)
                await items.update_one({"_id": "b"}, {"$inc": {"n": 20}}, session=s)
                return "moved"

            equal(await session.with_transaction(transfer), "moved")
            assert attempts
            equal({d["_id"]: d.get("n") async for d in items.find()}, {"a": 50, "b": 50, "log": None})

            async def fails(s):
                await items.delete_many({}, session=s)
                raise KeyError("changed my mind")

            await raises(KeyError, session.with_transaction(fails))
            equal(await items.count_documents({}), 3)

            # Two transactions on one document: the second one gets a write conflict.
            async with self.client.start_session() as second:
                await session.start_transaction()
                await items.update_one({"_id": "a"}, {"$inc": {"n": 1}}, session=session)
                await second.start_transaction()
                clash = items.update_one({"_id": "a"}, {"$inc": {"n": 1}}, session=second)
                error = await raises(OperationFailure, clash, 112)
                assert error.has_error_label("TransientTransactionError"), error.details
                await second.abort_transaction()
                await session.commit_transaction()
            equal((await items.find_one({"_id": "a"}))["n"], 51)

    async def section_change_stream(self):
        items = await self.db.create_collection("watched")
        await items.insert_one({"_id": 0})
        async with await items.watch(full_document="updateLookup", max_await_time_ms=200) as stream:
            await items.insert_one({"_id": 1, "n": 1})
            await items.update_one({"_id": 1}, {"$set": {"n": 2}})
            await items.replace_one({"_id": 1}, {"n": 3})
            await items.delete_one({"_id": 0})
            events = [await stream.next() for _ in range(4)]
            equal([e["operationType"] for e in events], ["insert", "update", "replace", "delete"])
            equal(events[0]["fullDocument"], {"_id": 1, "n": 1})
            equal(events[1]["updateDescription"]["updatedFields"], {"n": 2})
            equal(events[3]["documentKey"], {"_id": 0})
            equal(events[3]["ns"], {"db": self.db.name, "coll": "watched"})
            equal(await stream.try_next(), None)
            assert stream.resume_token is not None
        async with await items.watch(resume_after=events[1]["_id"]) as stream:
            equal([(await stream.next())["operationType"] for _ in range(2)], ["replace", "delete"])
        async with await items.watch(start_after=events[0]["_id"], batch_size=1) as stream:
            equal([(await stream.next())["operationType"] for _ in range(3)], ["update", "replace", "delete"])
        only_deletes = [{"$match": {"operationType": "delete"}}]
        async with await self.db.watch(only_deletes, max_await_time_ms=200) as stream:
            await self.db.elsewhere.insert_one({"_id": "seen"})
            await self.db.elsewhere.delete_one({"_id": "seen"})
            equal((await stream.next())["documentKey"], {"_id": "seen"})

    async def section_gridfs(self):
        data = os.urandom(MIB)
        fs = AsyncGridFS(self.db, "plain")
        file_id = await fs.put(data, filename="plain.bin", chunk_size=16 * 1024)
        out = await fs.get(file_id)
        equal((out.length, out.chunk_size), (MIB, 16 * 1024))
        assert await out.read() == data, "the file came back changed"
        equal(await self.db.plain.chunks.count_documents({"files_id": file_id}), 64)
        await fs.delete(file_id)
        equal(await fs.exists(file_id), False)
        equal(await self.db.plain.chunks.count_documents({}), 0)

        bucket = AsyncGridFSBucket(self.db, "bucket", chunk_size_bytes=10_000)
        async with bucket.open_upload_stream("b.bin", metadata={"k": "v"}) as upload:
            for start in range(0, MIB, 70_000):
                await upload.write(data[start:start + 70_000])
        async with await bucket.open_download_stream(upload._id) as download:
            equal(download.metadata, {"k": "v"})
            await download.seek(500_000)
            assert await download.read(1000) == data[500_000:501_000], "seek read something else"
            await download.seek(0)
            assert await download.read() == data, "the file came back changed"
        equal([f.filename async for f in bucket.find({})], ["b.bin"])
        await bucket.rename(upload._id, "c.bin")
        equal(await (await bucket.open_download_stream_by_name("c.bin")).read(10), data[:10])
        await bucket.delete(upload._id)
        await raises(NoFile, bucket.open_download_stream(upload._id))

    async def section_bulk_write(self):
        items = self.db.bulk
        await items.insert_one({"_id": 3})
        ordered = [InsertOne({"_id": i}) for i in range(6)]
        error = await raises(BulkWriteError, items.bulk_write(ordered))
        equal(error.details["nInserted"], 3)
        equal([(e["index"], e["code"]) for e in error.details["writeErrors"]], [(3, 11000)])
        equal(sorted([d["_id"] async for d in items.find()]), [0, 1, 2, 3])
        error = await raises(BulkWriteError, items.bulk_write(ordered, ordered=False))
        equal(error.details["nInserted"], 2)
        equal([e["index"] for e in error.details["writeErrors"]], [0, 1, 2, 3])
        equal(await items.count_documents({}), 6)
        mixed = await items.bulk_write([
            InsertOne({"_id": 10, "n": 1}),
            UpdateOne({"_id": 10}, {"$inc": {"n": 1}}),
            UpdateMany({"_id": {"$lt": 3}}, {"$set": {"n": 0}}),
            ReplaceOne({"_id": 11}, {"n": 11}, upsert=True),
            DeleteOne({"_id": 5}),
            DeleteMany({"_id": {"$in": [3, 4]}}),
        ])
        counts = (mixed.inserted_count, mixed.matched_count, mixed.modified_count, mixed.deleted_count)
        equal(counts, (1, 4, 4, 3))
        equal(mixed.upserted_ids, {3: 11})
        equal({d["_id"]: d["n"] async for d in items.find()}, {0: 0, 1: 0, 2: 0, 10: 2, 11: 11})
        large = await items.bulk_write([InsertOne({"_id": i, "big": True}) for i in range(1000, 3500)], ordered=False)
        equal(large.inserted_count, 2500)
        equal(await items.count_documents({"big": True}), 2500)

    async def section_client_bulk_write(self):
        left, right = f"{self.db.name}.left", f"{self.other.name}.right"
        models = [
            InsertOne({"_id": 1}, namespace=left),
            InsertOne({"_id": 1}, namespace=right),
            UpdateOne({"_id": 1}, {"$set": {"n": 1}}, namespace=right),
        ]
        if self.wire < 25:
            # The bulkWrite command came with MongoDB 8.0: the driver refuses.
            await raises(InvalidOperation, self.client.bulk_write(models))
            return
        result = await self.client.bulk_write(models, verbose_results=True)
        equal((result.inserted_count, result.modified_count), (2, 1))
        equal(await self.other.right.find_one(), {"_id": 1, "n": 1})

    async def section_sessions(self):
        items = self.db.sessions
        async with self.client.start_session(causal_consistency=True) as session:
            for n in range(30):
                await items.update_one({"_id": 1}, {"$set": {"n": n}}, upsert=True, session=session)
                equal((await items.find_one({"_id": 1}, session=session))["n"], n)
            assert session.operation_time is not None
            majority = items.with_options(
                write_concern=WriteConcern("majority"), read_concern=ReadConcern("majority")
            )
            await majority.insert_one({"_id": 2}, session=session)
            equal(await majority.find_one({"_id": 2}, session=session), {"_id": 2})
            lsid = session.session_id
            # Another session that is told of this one's time reads this one's writes.
            async with self.client.start_session() as follower:
                follower.advance_operation_time(session.operation_time)
                follower.advance_cluster_time(session.cluster_time)
                equal(await majority.find_one({"_id": 2}, session=follower), {"_id": 2})
        equal(session.has_ended, True)
        await raises(InvalidOperation, items.find_one(session=session))
        equal((await self.client.admin.command({"endSessions": [lsid]}))["ok"], 1.0)
        snapshot = self.client.start_session(snapshot=True)
        async with snapshot:
            # Reads the majority's view as of its first read, and keeps to it.
            first = await items.count_documents({"_id": 2}, session=snapshot)
            equal(first, 1)
            await majority.delete_one({"_id": 2})
            equal(await items.count_documents({"_id": 2}, session=snapshot), 1)
        equal(await items.count_documents({"_id": 2}), 0)

    async def section_unacknowledged(self):
        items = self.db.get_collection("fire", write_concern=WriteConcern(w=0))
        read = self.db.fire
        result = await items.insert_one({"_id": 1, "n": 0})
        equal(result.acknowledged, False)
        await until(lambda: read.find_one({"_id": 1}), "the insert to be visible")
        for _ in range(50):
            await items.update_one({"_id": 1}, {"$inc": {"n": 1}})
        await until(lambda: read.find_one({"_id": 1, "n": 50}), "50 increments to be visible")
        await items.insert_many([{"_id": i} for i in range(10, 400)])

        async def counts(expected):
            return await read.count_documents({"_id": {"$gte": 10}}) == expected

        await until(lambda: counts(390), "390 inserts to be visible")
        await items.bulk_write([DeleteOne({"_id": 10}), InsertOne({"_id": 500})], ordered=False)
        await until(lambda: read.find_one({"_id": 500}), "the bulk write's insert")
        await until(lambda: counts(390), "the bulk write's delete")
        await items.delete_many({})
        await until(lambda: counts(0), "the delete to be visible")

    async def section_indexes(self):
        items = self.db.indexed
        await items.insert_many([{"_id": i, "a": i, "b": i % 3} for i in range(30)])
        equal(await items.create_index([("a", 1), ("b", -1)]), "a_1_b_-1")
        names = await items.create_indexes([
            IndexModel([("b", 1)], name="by_b"),
            IndexModel([("u", 1)], unique=True, sparse=True),
            IndexModel([("a", 1)], name="part", partialFilterExpression={"b": 1}),
        ])
        equal(names, ["by_b", "u_1", "part"])
        equal({i["name"] async for i in await items.list_indexes()}, {"_id_", "a_1_b_-1", "by_b", "u_1", "part"})
        equal((await items.index_information())["u_1"]["unique"], True)
        await items.insert_one({"_id": "u", "u": 1})
        await raises(DuplicateKeyError, items.insert_one({"u": 1}), 11000)
        equal(len(await items.find({"b": 1}).hint("by_b").to_list()), 10)
        await items.drop_index("by_b")
        await raises(OperationFailure, items.find({"b": 1}).hint("by_b").to_list(), 2)
        await raises(OperationFailure, items.drop_index("by_b"), 27)
        await raises(OperationFailure, items.create_index([("u", 1)], name="u_1", unique=False), 86)
        await items.drop_indexes()
        equal([i["name"] async for i in await items.list_indexes()], ["_id_"])

    async def section_users(self):
        name = f"user_{ObjectId()}"
        db = self.db
        await db.command({"createUser": name, "pwd": "secret", "roles": [{"role": "read", "db": db.name}]})
        try:
            users = (await db.command({"usersInfo": name}))["users"]
            equal([(u["user"], u["db"]) for u in users], [(name, db.name)])
            await db.command({"updateUser": name, "roles": [{"role": "readWrite", "db": db.name}]})
            equal((await db.command({"usersInfo": name}))["users"][0]["roles"], [{"role": "readWrite", "db": db.name}])
            await raises(OperationFailure, db.command({"createUser": name, "pwd": "x", "roles": []}), 51003)
        finally:
            await db.command({"dropUser": name})
        equal((await db.command({"usersInfo": name}))["users"], [])

    async def section_collections(self):
        db = self.db
        await db.create_collection("made", validator={"n": {"$type": "number"}})
        await raises(CollectionInvalid, db.create_collection("made"))
        await raises(OperationFailure, db.command("create", "made", capped=True, size=4096), 48)
        await raises(OperationFailure, db.made.insert_one({"n": "text"}), 121)
        await db.made.insert_one({"_id": 1, "n": 1})
        assert "made" in await db.list_collection_names(), await db.list_collection_names()
        info = await anext(await db.list_collections(filter={"name": "made"}))
        equal(info["options"]["validator"], {"n": {"$type": "number"}})
        await db.command({"collMod": "made", "validator": {}})
        await db.made.insert_one({"_id": 2, "n": "text"})
        equal(await db.renamed.find_one({"_id": 1}), None)
        await db.made.rename("renamed")
        equal(await db.renamed.find_one({"_id": 1}), {"_id": 1, "n": 1})
        equal(await db.made.find_one({"_id": 1}), None)
        await db.command({"create": "seen", "viewOn": "renamed", "pipeline": [{"$match": {"_id": 1}}]})
        equal(await db.seen.find().to_list(), [{"_id": 1, "n": 1}])
        await db.renamed.update_one({"_id": 1}, {"$set": {"n": 2}})
        equal(await db.seen.find().to_list(), [{"_id": 1, "n": 2}])
        await db.drop_collection("seen")
        await db.renamed.drop()
        equal(await db.renamed.find_one({"_id": 1}), None)
        assert not {"made", "renamed", "seen"} & set(await db.list_collection_names())
        assert db.name in await self.client.list_database_names()
        await self.other.drops.insert_one({"_id": 1})
        equal(await self.other.drops.find_one(), {"_id": 1})
        await self.client.drop_database(self.other.name)
        equal(await self.other.drops.find_one(), None)

    async def section_concurrency(self):
        items = self.db.concurrent
        await items.insert_many([{"_id": i, "n": 0} for i in range(10)])
        await asyncio.gather(*(items.update_one({"_id": i % 10}, {"$inc": {"n": 1}}) for i in range(200)))
        equal([d["n"] async for d in items.find().sort("_id", 1)], [20] * 10)
        found = await asyncio.gather(*(items.find_one({"_id": i % 10}) for i in range(200)))
        equal([d["_id"] for d in found], [i % 10 for i in range(200)])
        # A cancelled operation closes its connection; the others go on.
        slow = asyncio.create_task(items.find({"$where": "sleep(100) || true"}).to_list())
        await asyncio.gather(*(items.find_one({"_id": 1}) for _ in range(20)))
        slow.cancel()
        await raises(asyncio.CancelledError, slow)
        equal((await items.find_one({"_id": 2}))["n"], 20)

    async def section_errors(self):
        items = self.db.errors
        await items.insert_one({"_id": 1, "n": "text"})
        await raises(DuplicateKeyError, items.insert_one({"_id": 1}), 11000)
        await raises(OperationFailure, items.find({"n": {"$nonsense": 1}}).to_list(), 2)
        await raises(OperationFailure, items.update_one({"_id": 1}, {"$nonsense": {"n": 1}}), 9)
        await raises(OperationFailure, items.update_one({"_id": 1}, {"$inc": {"n": 1}}), 14)
        await raises(OperationFailure, items.aggregate([{"$nonsense": {}}]), 40324)
        error = await raises(OperationFailure, self.db.command("noSuchCommandAtAll"), 59)
        equal(error.details["codeName"], "CommandNotFound")
        await raises(OperationFailure, self.db.command({"find": "errors", "nonsense": 1}), 40415)
        error = await raises(OperationFailure, self.db.command("find", 5))
        assert error.code in (2, 73), error  # 73 where access control looks at the namespace first
        await raises(OperationFailure, items.find({"$where": "sleep(2000) || true"}).max_time_ms(20).to_list(), 50)
        equal(await items.find_one({"_id": 1}), {"_id": 1, "n": "text"})

    async def section_tailable(self):
        log = await self.db.create_collection("log", capped=True, size=MIB)
        await log.insert_many([{"_id": i} for i in range(3)])
        cursor = log.find(cursor_type=CursorType.TAILABLE_AWAIT).max_await_time_ms(100)
        equal([(await anext(cursor))["_id"] for _ in range(3)], [0, 1, 2])
        await log.insert_one({"_id": 3})
        equal(await until(lambda: anext(cursor, None), "the tailed document"), {"_id": 3})
        equal(await anext(cursor, None), None)
        equal(cursor.alive, True)
        await log.insert_many([{"_id": i} for i in range(4, 200)])
        tail = []

        async def drained():
            while (doc := await anext(cursor, None)) is not None:
                tail.append(doc["_id"])
            return len(tail) == 196

        await until(drained, "196 more")
        equal(tail, list(range(4, 200)))
        await cursor.close()

    async def section_large(self):
        items = self.db.large
        big = os.urandom(10 * MIB)
        await items.insert_one({"_id": "big", "data": big})
        assert (await items.find_one({"_id": "big"}))["data"] == big, "the document came back changed"
        pads = {i: os.urandom(32) * 32 * 1024 for i in range(20)}
        await items.insert_many([{"_id": i, "pad": pad} for i, pad in pads.items()])
        total = 0
        async for doc in items.find({"pad": {"$exists": True}}):
            assert doc["pad"] == pads.pop(doc["_id"]), "a document came back changed"
            total += len(doc["pad"])
        equal(total, 20 * MIB)
        doubled = [{"$set": {"again": "$data"}}]
        error = await raises(OperationFailure, items.update_one({"_id": "big"}, doubled))
        assert error.code in (17419, 10334), error
        equal(await items.find({"_id": "big"}, {"again": 1}).to_list(), [{"_id": "big"}])


async def main():
    suite = Suite(sys.argv[1])
    sections = [name for name in vars(Suite) if name.startswith("section_")]
    failed = None
    try:
        for name in sections:
            title = name.removeprefix("section_").replace("_", " ")
            try:
                await getattr(suite, name)()
            except Exception:
                failed = title
                print(f"FAILED {title}\n{traceback.format_exc()}", flush=True)
                break
            print(f"ok {title}", flush=True)
    finally:
        await suite.close()
    if failed:
        sys.exit(1)
    print(f"all {len(sections)} sections ok")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} URI")
    asyncio.run(main())
