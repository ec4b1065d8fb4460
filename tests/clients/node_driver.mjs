#!/usr/bin/env node
// The Node driver against one server: everything an application does.
//
// Usage: node node_driver.mjs URI
//
// Prints "ok <section>" per section and "all N sections ok" at the end. At the
// first failed section it prints that section's error and exits with status 1.
// Nothing here depends on the kind of deployment that the server presents. Every
// run works in databases of its own and drops them, so runs may overlap.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as pause } from 'node:timers/promises';

// Through require, so that NODE_PATH may name where the driver is installed.
const {
  GridFSBucket, Long, MongoBulkWriteError, MongoClient, MongoServerError, ObjectId, ReadConcern, WriteConcern,
} = createRequire(import.meta.url)('mongodb');

const DEADLINE_MS = 20_000;
const MIB = 1024 * 1024;
const equal = assert.deepStrictEqual;
const range = (from, to) => Array.from({ length: to - from }, (_, i) => from + i);

/** Awaits `action`, which must fail, with `code` if that is given; returns the error. */
async function raises(action, code, kind = MongoServerError) {
  let result;
  try {
    result = await action;
  } catch (error) {
    assert.ok(error instanceof kind, `another kind of error: ${error.stack}`);
    if (code !== undefined) equal(error.code, code, `another code: ${error.stack}`);
    return error;
  }
  assert.fail(`no error, got ${JSON.stringify(result)}`);
}

/** Waits until `condition` gives something true; fails when it does not in time. */
async function until(condition, what) {
  const end = Date.now() + DEADLINE_MS;
  for (;;) {
    const value = await condition();
    if (value) return value;
    assert.ok(Date.now() < end, `gave up waiting for ${what}`);
    await pause(5);
  }
}

const client = new MongoClient(process.argv[2], { serverSelectionTimeoutMS: 10_000 });
const tag = new ObjectId().toHexString();
const db = client.db(`petiole_node_${tag}`);
const other = client.db(`petiole_node_other_${tag}`);
const admin = client.db('admin');

const sections = {
  async 'server commands'() {
    const hello = await admin.command({ hello: 1 });
    equal([hello.ok, hello.isWritablePrimary], [1, true]);
    assert.ok(hello.maxBsonObjectSize >= 16 * MIB && hello.maxMessageSizeBytes >= 16 * MIB);
    assert.ok(hello.maxWriteBatchSize >= 1000 && hello.minWireVersion <= hello.maxWireVersion);
    equal((await admin.command({ ping: 1 })).ok, 1);
    assert.ok((await admin.admin().buildInfo()).versionArray.length >= 3);
    const status = await admin.admin().serverStatus();
    assert.ok(status.uptime >= 0 && status.connections.current >= 1 && status.opcounters);
    equal((await db.stats()).db, db.databaseName);
  },

  async insert() {
    const items = db.collection('items');
    const one = await items.insertOne({ _id: 'one', n: 1 });
    equal(one, { acknowledged: true, insertedId: 'one' });
    const { insertedId } = await items.insertOne({ n: 2 });
    assert.ok(insertedId instanceof ObjectId);
    equal(await items.findOne({ _id: insertedId }), { _id: insertedId, n: 2 });
    const many = await items.insertMany(range(0, 100).map((i) => ({ _id: i, n: i, even: i % 2 === 0 })));
    equal(many.insertedCount, 100);
    equal(await items.countDocuments(), 102);
    const error = await raises(items.insertOne({ _id: 'one' }), 11000);
    equal(error.keyValue, { _id: 'one' });
    await items.insertMany(range(100, 120).map((i) => ({ _id: i })), { ordered: false });
    equal((await items.deleteMany({ _id: { $gte: 100 } })).deletedCount, 20);
  },

  async find() {
    const items = db.collection('items');
    equal(await items.findOne({ _id: 'absent' }), null);
    equal(await items.findOne({ _id: 7 }), { _id: 7, n: 7, even: false });
    const even = await items.find({ even: true, n: { $gte: 10, $lt: 20 } }).sort({ n: -1 }).toArray();
    equal(even.map((d) => d.n), [18, 16, 14, 12, 10]);
    const page = items.find({ even: { $exists: true } }).project({ _id: 0, n: 1 }).sort({ n: 1 }).skip(40).limit(3);
    equal(await page.toArray(), [{ n: 40 }, { n: 41 }, { n: 42 }]);
    const either = await items.find({ $or: [{ n: 98 }, { n: 99 }] }).hint('_id_').sort({ _id: 1 }).toArray();
    equal(either.map((d) => d._id), [98, 99]);
    const plenty = await items.find({ even: false }, { comment: 'petiole', maxTimeMS: 10_000 }).toArray();
    equal(plenty.length, 50);
    equal((await items.find({ _id: 4 }).explain()).ok, 1);
    // The same read, again and again, before and after writes: it must follow the writes.
    for (const n of [1000, 1001]) {
      await items.updateOne({ _id: 7 }, { $set: { n } });
      for (let i = 0; i < 3; i += 1) equal((await items.findOne({ _id: 7 })).n, n);
    }
    let streamed = 0;
    for await (const doc of items.find({ even: true }).stream()) streamed += doc.even ? 1 : 0;
    equal(streamed, 50);
  },

  async update() {
    const items = db.collection('updates');
    await items.insertMany(range(0, 10).map((i) => ({ _id: i, n: i, tags: ['a'] })));
    const counts = ({ matchedCount, modifiedCount, upsertedId }) => [matchedCount, modifiedCount, upsertedId];
    equal(counts(await items.updateOne({ _id: 1 }, { $inc: { n: 10 } })), [1, 1, null]);
    equal(counts(await items.updateOne({ _id: 1 }, { $set: { n: 11 } })), [1, 0, null]);
    equal(counts(await items.updateOne({ _id: 'absent' }, { $set: { n: 0 } })), [0, 0, null]);
    const many = await items.updateMany({ _id: { $gte: 5 } }, { $push: { tags: 'b' }, $unset: { n: '' } });
    equal(counts(many), [5, 5, null]);
    equal(await items.findOne({ _id: 9 }), { _id: 9, tags: ['a', 'b'] });
    const up = await items.updateOne({ _id: 'up' }, { $setOnInsert: { fresh: true } }, { upsert: true });
    equal(counts(up), [0, 0, 'up']);
    equal(counts(await items.replaceOne({ _id: 'up' }, { other: 5 })), [1, 1, null]);
    equal(await items.findOne({ _id: 'up' }), { _id: 'up', other: 5 });
    equal(counts(await items.replaceOne({ _id: 're' }, { n: 1 }, { upsert: true })), [0, 0, 're']);
    await items.updateOne({ _id: 2 }, [{ $set: { double: { $multiply: ['$n', 2] } } }]);
    equal((await items.findOne({ _id: 2 })).double, 4);
    await items.updateOne({ _id: 9 }, { $set: { 'tags.$[t]': 'c' } }, { arrayFilters: [{ t: 'b' }] });
    equal((await items.findOne({ _id: 9 })).tags, ['a', 'c']);
  },

  async 'find and modify'() {
    const items = db.collection('modify');
    await items.insertMany(range(0, 5).map((i) => ({ _id: i, n: i })));
    const after = { returnDocument: 'after' };
    equal(await items.findOneAndUpdate({ _id: 0 }, { $inc: { n: 5 } }), { _id: 0, n: 0 });
    equal(await items.findOneAndUpdate({ _id: 0 }, { $inc: { n: 5 } }, after), { _id: 0, n: 10 });
    const fresh = await items.findOneAndUpdate({ _id: 'new' }, { $set: { n: 1 } }, { upsert: true, ...after });
    equal(fresh, { _id: 'new', n: 1 });
    equal(await items.findOneAndReplace({ _id: 1 }, { m: 1 }), { _id: 1, n: 1 });
    equal(await items.findOne({ _id: 1 }), { _id: 1, m: 1 });
    equal(await items.findOneAndDelete({ n: { $lt: 5 } }, { sort: { n: -1 } }), { _id: 4, n: 4 });
    equal(await items.findOne({ _id: 4 }), null);
    equal(await items.findOneAndDelete({ _id: 'absent' }), null);
  },

  async delete() {
    const items = db.collection('deletes');
    await items.insertMany(range(0, 20).map((i) => ({ _id: i, even: i % 2 === 0 })));
    equal((await items.deleteOne({ even: true })).deletedCount, 1);
    equal((await items.deleteOne({ _id: 'absent' })).deletedCount, 0);
    equal((await items.deleteMany({ even: true })).deletedCount, 9);
    equal(await items.countDocuments(), 10);
    equal((await items.deleteMany({})).deletedCount, 10);
    equal(await items.find().toArray(), []);
  },

  async 'count and distinct'() {
    const items = db.collection('counts');
    equal([await items.countDocuments(), await items.estimatedDocumentCount()], [0, 0]);
    await items.insertMany(range(0, 30).map((i) => ({ _id: i, kind: 'abc'[i % 3], tags: [i % 2, i % 5] })));
    equal(await items.countDocuments({ kind: 'b' }), 10);
    equal(await items.countDocuments({ kind: 'b' }, { skip: 2, limit: 5 }), 5);
    equal([await items.countDocuments(), await items.estimatedDocumentCount()], [30, 30]);
    equal(await items.distinct('kind'), ['a', 'b', 'c']);
    equal(await items.distinct('kind', { _id: { $in: [0, 1] } }), ['a', 'b']);
    equal(await items.distinct('tags'), [0, 1, 2, 3, 4]);
  },

  async aggregate() {
    const [orders, users] = [db.collection('orders'), db.collection('users')];
    await orders.insertMany(range(0, 12).map((i) => ({ _id: i, user: i % 3, total: i * 10 })));
    await users.insertMany(range(0, 3).map((i) => ({ _id: i, name: `user ${i}` })));
    const totals = await orders.aggregate([
      { $match: { total: { $gte: 30 } } },
      { $group: { _id: '$user', sum: { $sum: '$total' } } },
      { $sort: { _id: 1 } },
    ]).toArray();
    equal(totals, [{ _id: 0, sum: 180 }, { _id: 1, sum: 210 }, { _id: 2, sum: 240 }]);
    const named = () => orders.aggregate([
      { $match: { _id: 4 } },
      { $lookup: { from: 'users', localField: 'user', foreignField: '_id', as: 'who' } },
      { $unwind: '$who' },
      { $project: { name: '$who.name' } },
    ]).toArray();
    equal(await named(), [{ _id: 4, name: 'user 1' }]);
    await users.updateOne({ _id: 1 }, { $set: { name: 'renamed' } });
    equal(await named(), [{ _id: 4, name: 'renamed' }]);
    const facets = await orders.aggregate([
      {
        $facet: {
          count: [{ $count: 'n' }],
          top: [{ $sort: { total: -1 } }, { $limit: 2 }, { $project: { _id: 1 } }],
        },
      },
    ]).toArray();
    equal(facets, [{ count: [{ n: 12 }], top: [{ _id: 11 }, { _id: 10 }] }]);
    const batches = await orders.aggregate([{ $sort: { _id: 1 } }], { batchSize: 2 }).toArray();
    equal(batches.map((d) => d._id), range(0, 12));
    equal(await db.aggregate([{ $documents: [{ _id: 1 }, { _id: 2 }] }]).toArray(), [{ _id: 1 }, { _id: 2 }]);
  },

  async 'out and merge'() {
    const [orders, copies, merged] = [db.collection('orders'), db.collection('copies'), other.collection('merged')];
    equal(await copies.find().toArray(), []);
    equal(await orders.aggregate([{ $match: { user: 0 } }, { $out: 'copies' }]).toArray(), []);
    equal(await copies.countDocuments(), 4);
    await orders.aggregate([{ $match: { user: { $ne: 0 } } }, { $out: 'copies' }]).toArray();
    equal(await copies.countDocuments(), 8);
    const totals = async () => (await merged.find().toArray()).map((d) => d.total).sort((a, b) => a - b);
    equal(await totals(), []);
    const into = { $merge: { into: { db: other.databaseName, coll: 'merged' }, whenMatched: 'replace' } };
    await orders.aggregate([{ $match: { _id: { $lt: 2 } } }, into]).toArray();
    equal(await totals(), [0, 10]);
    await orders.aggregate([{ $match: { _id: 1 } }, { $set: { total: 99 } }, into]).toArray();
    equal(await totals(), [0, 99]);
  },

  async cursor() {
    const many = db.collection('many');
    await many.insertMany(range(0, 1000).map((i) => ({ _id: i, pad: 'x'.repeat(50) })));
    const all = await many.find({}, { batchSize: 7 }).sort({ _id: 1 }).toArray();
    equal(all.map((d) => d._id), range(0, 1000));
    const [up, down] = [1, -1].map((way) => many.find({}, { batchSize: 7 }).sort({ _id: way }));
    for (const i of range(0, 1000)) equal([(await up.next())._id, (await down.next())._id], [i, 999 - i]);
    equal([await up.next(), await down.next()], [null, null]);
    const early = many.find({}, { batchSize: 7 });
    const seen = new Set();
    for (let i = 0; i < 20; i += 1) seen.add((await early.next())._id);
    equal(seen.size, 20);
    const { id } = early;
    assert.ok(id && !id.isZero());
    await early.close();
    await raises(db.command({ getMore: id, collection: 'many' }), 43);
    const { cursor } = await db.command({ find: 'many', batchSize: 3 }, { promoteLongs: false });
    equal(cursor.firstBatch.length, 3);
    const more = await db.command({ getMore: cursor.id, collection: 'many', batchSize: 5 }, { promoteLongs: false });
    equal(more.cursor.nextBatch.length, 5);
    const killed = await db.command({ killCursors: 'many', cursors: [cursor.id] }, { promoteLongs: false });
    equal(killed.cursorsKilled.map(String), [String(cursor.id)]);
    await raises(db.command({ getMore: cursor.id, collection: 'many' }), 43);
  },

  async transaction() {
    const accounts = await db.createCollection('accounts');
    await accounts.insertMany([{ _id: 'a', n: 100 }, { _id: 'b', n: 0 }]);
    const balance = async (session) => (await accounts.findOne({ _id: 'a' }, { session })).n;
    await client.withSession(async (session) => {
      session.startTransaction({ readConcern: new ReadConcern('snapshot'), writeConcern: new WriteConcern('majority') });
      await accounts.updateOne({ _id: 'a' }, { $inc: { n: -30 } }, { session });
      await accounts.updateOne({ _id: 'b' }, { $inc: { n: 30 } }, { session });
      await accounts.insertOne({ _id: 'log' }, { session });
      equal(await balance(session), 70);
      equal(await accounts.countDocuments({}, { session }), 3);
      // Outside of it nothing is to be seen before the commit.
      equal(await balance(), 100);
      equal(await accounts.findOne({ _id: 'log' }), null);
      await session.commitTransaction();
      equal(await balance(), 70);
      equal(await accounts.findOne({ _id: 'log' }), { _id: 'log' });
      // A second commit of the same transaction is answered the same way.
      await session.commitTransaction();

      session.startTransaction();
      await accounts.updateOne({ _id: 'a' }, { $set: { n: -1 } }, { session });
      equal((await accounts.find({}, { session, batchSize: 2 }).toArray()).length, 3);
      await session.abortTransaction();
      equal(await balance(), 70);

      const moved = await session.withTransaction(async () => {
        await accounts.updateOne({ _id: 'a' }, { $inc: { n: -20 } }, { session });
        await accounts.updateOne({ _id: 'b' }, { $inc: { n: 20 } }, { session });
        return 'moved';
      });
      equal(moved, 'moved');
      equal(await balance(), 50);
      const fails = session.withTransaction(async () => {
        await accounts.deleteMany({}, { session });
        throw new RangeError('changed my mind');
      });
      await raises(fails, undefined, RangeError);
      equal(await accounts.countDocuments(), 3);

      // Two transactions on one document: the second one gets a write conflict.
      await client.withSession(async (second) => {
        session.startTransaction();
        await accounts.updateOne({ _id: 'a' }, { $inc: { n: 1 } }, { session });
        second.startTransaction();
        const clash = accounts.updateOne({ _id: 'a' }, { $inc: { n: 1 } }, { session: second });
        assert.ok((await raises(clash, 112)).hasErrorLabel('TransientTransactionError'));
        await second.abortTransaction();
        await session.commitTransaction();
      });
      equal(await balance(), 51);
    });
  },

  async 'change stream'() {
    const items = await db.createCollection('watched');
    await items.insertOne({ _id: 0 });
    const stream = items.watch([], { fullDocument: 'updateLookup', maxAwaitTimeMS: 200 });
    // The driver opens the stream at its first use: this finds it empty, but open.
    equal(await stream.tryNext(), null);
    await items.insertOne({ _id: 1, n: 1 });
    await items.updateOne({ _id: 1 }, { $set: { n: 2 } });
    await items.replaceOne({ _id: 1 }, { n: 3 });
    await items.deleteOne({ _id: 0 });
    const events = [];
    while (events.length < 4) events.push(await stream.next());
    equal(events.map((e) => e.operationType), ['insert', 'update', 'replace', 'delete']);
    equal(events[0].fullDocument, { _id: 1, n: 1 });
    equal(events[1].updateDescription.updatedFields, { n: 2 });
    equal(events[3].documentKey, { _id: 0 });
    equal(events[3].ns, { db: db.databaseName, coll: 'watched' });
    assert.ok(stream.resumeToken);
    await stream.close();
    const resumed = items.watch([], { resumeAfter: events[1]._id });
    equal([(await resumed.next()).operationType, (await resumed.next()).operationType], ['replace', 'delete']);
    await resumed.close();
    const wide = db.watch([{ $match: { operationType: 'delete' } }], { maxAwaitTimeMS: 200 });
    equal(await wide.tryNext(), null);
    await db.collection('elsewhere').insertOne({ _id: 'seen' });
    await db.collection('elsewhere').deleteOne({ _id: 'seen' });
    equal((await wide.next()).documentKey, { _id: 'seen' });
    await wide.close();
  },

  async gridfs() {
    const data = randomBytes(MIB);
    const bucket = new GridFSBucket(db, { bucketName: 'files', chunkSizeBytes: 16 * 1024 });
    const upload = bucket.openUploadStream('a.bin', { metadata: { k: 'v' } });
    await pipeline(Readable.from([data.subarray(0, 333_333), data.subarray(333_333)]), upload);
    const read = async (stream) => {
      const parts = [];
      for await (const part of stream) parts.push(part);
      return Buffer.concat(parts);
    };
    assert.ok(data.equals(await read(bucket.openDownloadStream(upload.id))), 'the file came back changed');
    const part = await read(bucket.openDownloadStreamByName('a.bin', { start: 500_000, end: 501_000 }));
    assert.ok(data.subarray(500_000, 501_000).equals(part), 'a part came back changed');
    const [file] = await bucket.find({}).toArray();
    equal([file.filename, file.length, file.metadata], ['a.bin', MIB, { k: 'v' }]);
    equal(await db.collection('files.chunks').countDocuments({ files_id: upload.id }), 64);
    await bucket.rename(upload.id, 'b.bin');
    equal((await bucket.find({}).toArray())[0].filename, 'b.bin');
    await bucket.delete(upload.id);
    equal(await db.collection('files.chunks').countDocuments(), 0);
    await raises(read(bucket.openDownloadStream(upload.id)), undefined, Error);
  },

  async 'bulk write'() {
    const items = db.collection('bulk');
    await items.insertOne({ _id: 3 });
    const inserts = () => range(0, 6).map((i) => ({ insertOne: { document: { _id: i } } }));
    const stopped = await raises(items.bulkWrite(inserts()), 11000, MongoBulkWriteError);
    equal(stopped.result.insertedCount, 3);
    equal([stopped.writeErrors].flat().map((e) => e.index), [3]);
    equal(await items.distinct('_id'), [0, 1, 2, 3]);
    const through = await raises(items.bulkWrite(inserts(), { ordered: false }), 11000, MongoBulkWriteError);
    equal(through.result.insertedCount, 2);
    equal(through.writeErrors.map((e) => e.index), [0, 1, 2, 3]);
    equal(await items.countDocuments(), 6);
    const mixed = await items.bulkWrite([
      { insertOne: { document: { _id: 10, n: 1 } } },
      { updateOne: { filter: { _id: 10 }, update: { $inc: { n: 1 } } } },
      { updateMany: { filter: { _id: { $lt: 3 } }, update: { $set: { n: 0 } } } },
      { replaceOne: { filter: { _id: 11 }, replacement: { n: 11 }, upsert: true } },
      { deleteOne: { filter: { _id: 5 } } },
      { deleteMany: { filter: { _id: { $in: [3, 4] } } } },
    ]);
    equal([mixed.insertedCount, mixed.matchedCount, mixed.modifiedCount, mixed.deletedCount], [1, 4, 4, 3]);
    equal(mixed.upsertedIds, { 3: 11 });
    const left = (await items.find().sort({ _id: 1 }).toArray()).map((d) => [d._id, d.n]);
    equal(left, [[0, 0], [1, 0], [2, 0], [10, 2], [11, 11]]);
    const large = range(1000, 3500).map((i) => ({ insertOne: { document: { _id: i, big: true } } }));
    equal((await items.bulkWrite(large, { ordered: false })).insertedCount, 2500);
    equal(await items.countDocuments({ big: true }), 2500);
  },

  async sessions() {
    const items = db.collection('sessions', { writeConcern: { w: 'majority' }, readConcern: { level: 'majority' } });
    const session = client.startSession({ causalConsistency: true });
    for (const n of range(0, 20)) {
      await items.updateOne({ _id: 1 }, { $set: { n } }, { upsert: true, session });
      equal((await items.findOne({ _id: 1 }, { session })).n, n);
    }
    assert.ok(session.operationTime);
    // Another session that is told of this one's time reads this one's writes.
    const follower = client.startSession();
    follower.advanceOperationTime(session.operationTime);
    follower.advanceClusterTime(session.clusterTime);
    equal((await items.findOne({ _id: 1 }, { session: follower })).n, 19);
    await follower.endSession();
    const { id } = session;
    await session.endSession();
    equal(session.hasEnded, true);
    await raises(items.findOne({}, { session }), undefined, Error);
    equal((await admin.command({ endSessions: [id] })).ok, 1);
    const snapshot = client.startSession({ snapshot: true });
    const plain = db.collection('sessions');
    equal((await plain.find({ _id: 1 }, { session: snapshot }).toArray()).length, 1);
    await items.deleteOne({ _id: 1 });
    equal((await plain.find({ _id: 1 }, { session: snapshot }).toArray()).length, 1);
    await snapshot.endSession();
    equal(await plain.findOne({ _id: 1 }), null);
  },

  async unacknowledged() {
    const items = db.collection('fire', { writeConcern: { w: 0 } });
    const read = db.collection('fire');
    equal((await items.insertOne({ _id: 1, n: 0 })).acknowledged, false);
    await until(() => read.findOne({ _id: 1 }), 'the insert to be visible');
    for (let i = 0; i < 50; i += 1) await items.updateOne({ _id: 1 }, { $inc: { n: 1 } });
    await until(() => read.findOne({ _id: 1, n: 50 }), '50 increments to be visible');
    await items.insertMany(range(10, 400).map((i) => ({ _id: i })));
    await until(async () => (await read.countDocuments({ _id: { $gte: 10 } })) === 390, '390 inserts to be visible');
    await items.bulkWrite(
      [{ deleteOne: { filter: { _id: 10 } } }, { insertOne: { document: { _id: 500 } } }],
      { ordered: false },
    );
    const swapped = async () => (await read.findOne({ _id: 500 })) && !(await read.findOne({ _id: 10 }));
    await until(swapped, 'the bulk write to be visible');
    await items.deleteMany({});
    await until(async () => (await read.countDocuments()) === 0, 'the delete to be visible');
  },

  async concurrency() {
    const items = db.collection('concurrent');
    await items.insertMany(range(0, 10).map((i) => ({ _id: i, n: 0 })));
    await Promise.all(range(0, 200).map((i) => items.updateOne({ _id: i % 10 }, { $inc: { n: 1 } })));
    const all = await items.find().sort({ _id: 1 }).toArray();
    equal(all.map((d) => d.n), range(0, 10).map(() => 20));
    const found = await Promise.all(range(0, 200).map((i) => items.findOne({ _id: i % 10 })));
    equal(found.map((d) => d._id), range(0, 200).map((i) => i % 10));
  },

  async indexes() {
    const items = db.collection('indexed');
    await items.insertMany(range(0, 30).map((i) => ({ _id: i, a: i, b: i % 3 })));
    equal(await items.createIndex({ a: 1, b: -1 }), 'a_1_b_-1');
    equal(
      await items.createIndexes([
        { key: { b: 1 }, name: 'by_b' },
        { key: { u: 1 }, name: 'u_1', unique: true, sparse: true },
      ]),
      ['by_b', 'u_1'],
    );
    const names = async () => (await items.listIndexes().toArray()).map((i) => i.name).sort();
    equal(await names(), ['_id_', 'a_1_b_-1', 'by_b', 'u_1']);
    await items.insertOne({ _id: 'u', u: 1 });
    await raises(items.insertOne({ u: 1 }), 11000);
    const hinted = () => items.find({ b: 1 }).hint('by_b').toArray();
    equal((await hinted()).length, 10);
    await items.dropIndex('by_b');
    await raises(hinted(), 2);
    await raises(items.dropIndex('by_b'), 27);
    await items.dropIndexes();
    equal(await names(), ['_id_']);
  },

  async users() {
    const user = `user_${tag}`;
    const role = (name) => ({ role: name, db: db.databaseName });
    await db.command({ createUser: user, pwd: 'secret', roles: [role('read')] });
    try {
      const { users } = await db.command({ usersInfo: user });
      equal(users.map((u) => [u.user, u.db]), [[user, db.databaseName]]);
      await db.command({ updateUser: user, roles: [role('readWrite')] });
      equal((await db.command({ usersInfo: user })).users[0].roles, [role('readWrite')]);
      await raises(db.command({ createUser: user, pwd: 'x', roles: [] }), 51003);
    } finally {
      equal(await db.removeUser(user), true);
    }
    equal((await db.command({ usersInfo: user })).users, []);
  },

  async collections() {
    const [made, renamed, view] = ['made', 'renamed', 'seen'].map((name) => db.collection(name));
    await db.createCollection('made', { validator: { n: { $type: 'number' } } });
    await raises(db.createCollection('made', { capped: true, size: 4096 }), 48);
    await raises(made.insertOne({ n: 'text' }), 121);
    await made.insertOne({ _id: 1, n: 1 });
    const [info] = await db.listCollections({ name: 'made' }).toArray();
    equal(info.options.validator, { n: { $type: 'number' } });
    await db.command({ collMod: 'made', validator: {} });
    await made.insertOne({ _id: 2, n: 'text' });
    equal(await renamed.findOne({ _id: 1 }), null);
    await made.rename('renamed');
    equal(await renamed.findOne({ _id: 1 }), { _id: 1, n: 1 });
    equal(await made.findOne({ _id: 1 }), null);
    await db.createCollection('seen', { viewOn: 'renamed', pipeline: [{ $match: { _id: 1 } }] });
    equal(await view.find().toArray(), [{ _id: 1, n: 1 }]);
    await renamed.updateOne({ _id: 1 }, { $set: { n: 2 } });
    equal(await view.find().toArray(), [{ _id: 1, n: 2 }]);
    await view.drop();
    await renamed.drop();
    equal(await renamed.findOne({ _id: 1 }), null);
    const names = (await db.listCollections({}, { nameOnly: true }).toArray()).map((c) => c.name);
    equal(names.filter((name) => ['made', 'renamed', 'seen'].includes(name)), []);
    const { databases } = await admin.admin().listDatabases();
    assert.ok(databases.some((d) => d.name === db.databaseName));
    await other.collection('drops').insertOne({ _id: 1 });
    equal(await other.collection('drops').findOne(), { _id: 1 });
    await other.dropDatabase();
    equal(await other.collection('drops').findOne(), null);
  },

  async errors() {
    const items = db.collection('errors');
    await items.insertOne({ _id: 1, n: 'text' });
    await raises(items.insertOne({ _id: 1 }), 11000);
    await raises(items.find({ n: { $nonsense: 1 } }).toArray(), 2);
    await raises(items.updateOne({ _id: 1 }, { $nonsense: { n: 1 } }), 9);
    await raises(items.updateOne({ _id: 1 }, { $inc: { n: 1 } }), 14);
    await raises(items.aggregate([{ $nonsense: {} }]).toArray(), 40324);
    equal((await raises(db.command({ noSuchCommandAtAll: 1 }), 59)).codeName, 'CommandNotFound');
    await raises(db.command({ find: 'errors', nonsense: 1 }), 40415);
    await raises(items.find({ $where: 'sleep(2000) || true' }, { maxTimeMS: 20 }).toArray(), 50);
    await raises(db.command({ getMore: Long.fromNumber(12345), collection: 'errors' }), 43);
    equal(await items.findOne({ _id: 1 }), { _id: 1, n: 'text' });
  },

  async tailable() {
    const log = await db.createCollection('log', { capped: true, size: MIB });
    await log.insertMany(range(0, 3).map((i) => ({ _id: i })));
    const cursor = log.find({}, { tailable: true, awaitData: true, maxAwaitTimeMS: 100 });
    for (const i of [0, 1, 2]) equal(await cursor.next(), { _id: i });
    equal(await cursor.tryNext(), null);
    await log.insertOne({ _id: 3 });
    equal(await until(() => cursor.tryNext(), 'the tailed document'), { _id: 3 });
    await log.insertMany(range(4, 200).map((i) => ({ _id: i })));
    for (const i of range(4, 200)) equal(await cursor.next(), { _id: i });
    await cursor.close();
  },

  async large() {
    const items = db.collection('large');
    const big = randomBytes(10 * MIB);
    await items.insertOne({ _id: 'big', data: big });
    const back = await items.findOne({ _id: 'big' }, { promoteBuffers: true });
    assert.ok(big.equals(back.data), 'the document came back changed');
    const pads = range(0, 20).map(() => randomBytes(MIB));
    await items.insertMany(pads.map((pad, i) => ({ _id: i, pad })));
    let count = 0;
    for await (const doc of items.find({ pad: { $exists: true } }, { promoteBuffers: true })) {
      assert.ok(pads[doc._id].equals(doc.pad), 'a document came back changed');
      count += 1;
    }
    equal(count, 20);
    const error = await raises(items.updateOne({ _id: 'big' }, [{ $set: { again: '$data' } }]));
    assert.ok([17419, 10334].includes(error.code), String(error));
  },
};

async function main() {
  let failed = false;
  try {
    for (const [title, section] of Object.entries(sections)) {
      try {
        await section();
      } catch (error) {
        failed = true;
        console.log(`FAILED ${title}\n${error.stack}`);
        break;
      }
      console.log(`ok ${title}`);
    }
  } finally {
    await db.dropDatabase();
    await other.dropDatabase();
    await client.close();
  }
  if (failed) process.exitCode = 1;
  else console.log(`all ${Object.keys(sections).length} sections ok`);
}

if (process.argv.length !== 3) {
  console.error(`usage: ${process.argv[1]} URI`);
  process.exitCode = 1;
} else {
  await main();
}
