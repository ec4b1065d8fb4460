// mongosh against one server: everything a person at the shell does.
//
// Usage: mongosh URI --quiet --norc --file mongosh.js
//
// Prints "ok <section>" per section and "all N sections ok" at the end. At the
// first failed section it prints that section's error and exits with status 1.
// Nothing here depends on the kind of deployment that the server presents. Every
// run works in databases of its own and drops them, so runs may overlap.
//
// Loops instead of array callbacks: mongosh awaits calls to the server by itself,
// but not inside of every callback.

/* global db, sleep, quit, ObjectId, BinData, NumberLong, EJSON */

const assert = require('node:assert/strict');
const { randomBytes } = require('node:crypto');

const DEADLINE_MS = 20000;
const MIB = 1024 * 1024;

const tag = new ObjectId().toHexString();
const main = db.getSiblingDB(`petiole_mongosh_${tag}`);
const other = db.getSiblingDB(`petiole_mongosh_other_${tag}`);
const admin = db.getSiblingDB('admin');

const range = (from, to) => Array.from({ length: to - from }, (_, i) => from + i);

/** Compares as relaxed extended JSON: mongosh's values carry wrappers and prototypes of their own. */
function equal(actual, expected) {
  assert.equal(EJSON.stringify(actual), EJSON.stringify(expected));
}

/** Runs `action`, which must fail, with `code` if that is given; returns the error. */
function raises(action, code) {
  let result;
  try {
    result = action();
  } catch (error) {
    if (code !== undefined) assert.equal(error.code, code, `another error: ${error.stack}`);
    return error;
  }
  return assert.fail(`no error, got ${EJSON.stringify(result)}`);
}

/** Waits until `condition` gives something true; fails when it does not in time. */
function until(condition, what) {
  const end = Date.now() + DEADLINE_MS;
  for (;;) {
    const value = condition();
    if (value) return value;
    assert.ok(Date.now() < end, `gave up waiting for ${what}`);
    sleep(5);
  }
}

/** The values of `field` in the order of `docs`. */
function pluck(docs, field) {
  const values = [];
  for (const doc of docs) values.push(doc[field]);
  return values;
}

const sections = {
  'server commands': () => {
    const hello = admin.runCommand({ hello: 1 });
    equal([hello.ok, hello.isWritablePrimary], [1, true]);
    assert.ok(hello.maxBsonObjectSize >= 16 * MIB && hello.maxWriteBatchSize >= 1000);
    assert.equal(db.hello().ok, 1);
    assert.equal(admin.runCommand({ ping: 1 }).ok, 1);
    assert.ok(admin.runCommand({ buildInfo: 1 }).versionArray.length >= 3);
    assert.equal(db.version(), admin.runCommand({ buildInfo: 1 }).version);
    const status = db.serverStatus();
    assert.ok(status.uptime >= 0 && status.connections.current >= 1 && status.opcounters);
    assert.equal(main.stats().db, main.getName());
  },

  insert: () => {
    const { items } = main;
    equal(items.insertOne({ _id: 'one', n: 1 }), { acknowledged: true, insertedId: 'one' });
    const { insertedId } = items.insertOne({ n: 2 });
    equal(items.findOne({ _id: insertedId }), { _id: insertedId, n: 2 });
    const docs = [];
    for (const i of range(0, 100)) docs.push({ _id: i, n: i, even: i % 2 === 0 });
    assert.equal(Object.keys(items.insertMany(docs).insertedIds).length, 100);
    assert.equal(items.countDocuments({}), 102);
    raises(() => items.insertOne({ _id: 'one' }), 11000);
  },

  find: () => {
    const { items } = main;
    assert.equal(items.findOne({ _id: 'absent' }), null);
    equal(items.findOne({ _id: 7 }), { _id: 7, n: 7, even: false });
    const even = items.find({ even: true, n: { $gte: 10, $lt: 20 } }).sort({ n: -1 }).toArray();
    equal(pluck(even, 'n'), [18, 16, 14, 12, 10]);
    const page = items.find({ even: { $exists: true } }, { _id: 0, n: 1 }).sort({ n: 1 }).skip(40).limit(3);
    equal(page.toArray(), [{ n: 40 }, { n: 41 }, { n: 42 }]);
    const either = items.find({ $or: [{ n: 98 }, { n: 99 }] }).hint('_id_').sort({ _id: 1 }).toArray();
    equal(pluck(either, '_id'), [98, 99]);
    assert.equal(items.find({ even: false }).comment('petiole').maxTimeMS(10000).toArray().length, 50);
    assert.equal(items.find({ _id: 4 }).explain('executionStats').executionStats.nReturned, 1);
    assert.equal(items.find({ even: true }).itcount(), 50);
    // The same read, again and again, before and after writes: it must follow the writes.
    for (const n of [1000, 1001]) {
      items.updateOne({ _id: 7 }, { $set: { n } });
      for (let i = 0; i < 3; i += 1) assert.equal(items.findOne({ _id: 7 }).n, n);
    }
  },

  update: () => {
    const items = main.updates;
    const docs = [];
    for (const i of range(0, 10)) docs.push({ _id: i, n: i, tags: ['a'] });
    items.insertMany(docs);
    const counts = (r) => [r.matchedCount, r.modifiedCount, r.upsertedCount];
    equal(counts(items.updateOne({ _id: 1 }, { $inc: { n: 10 } })), [1, 1, 0]);
    equal(counts(items.updateOne({ _id: 1 }, { $set: { n: 11 } })), [1, 0, 0]);
    equal(counts(items.updateOne({ _id: 'absent' }, { $set: { n: 0 } })), [0, 0, 0]);
    equal(counts(items.updateMany({ _id: { $gte: 5 } }, { $push: { tags: 'b' }, $unset: { n: '' } })), [5, 5, 0]);
    equal(items.findOne({ _id: 9 }), { _id: 9, tags: ['a', 'b'] });
    equal(counts(items.updateOne({ _id: 'up' }, { $setOnInsert: { fresh: true } }, { upsert: true })), [0, 0, 1]);
    equal(counts(items.replaceOne({ _id: 'up' }, { other: 5 })), [1, 1, 0]);
    equal(items.findOne({ _id: 'up' }), { _id: 'up', other: 5 });
    equal(counts(items.replaceOne({ _id: 're' }, { n: 1 }, { upsert: true })), [0, 0, 1]);
    items.updateOne({ _id: 2 }, [{ $set: { double: { $multiply: ['$n', 2] } } }]);
    assert.equal(items.findOne({ _id: 2 }).double, 4);
    items.updateOne({ _id: 9 }, { $set: { 'tags.$[t]': 'c' } }, { arrayFilters: [{ t: 'b' }] });
    equal(items.findOne({ _id: 9 }).tags, ['a', 'c']);
  },

  'find and modify': () => {
    const items = main.modify;
    for (const i of range(0, 5)) items.insertOne({ _id: i, n: i });
    equal(items.findOneAndUpdate({ _id: 0 }, { $inc: { n: 5 } }), { _id: 0, n: 0 });
    const after = { returnDocument: 'after' };
    equal(items.findOneAndUpdate({ _id: 0 }, { $inc: { n: 5 } }, after), { _id: 0, n: 10 });
    equal(items.findAndModify({ query: { _id: 'new' }, update: { n: 1 }, upsert: true, new: true }), { _id: 'new', n: 1 });
    equal(items.findOneAndReplace({ _id: 1 }, { m: 1 }), { _id: 1, n: 1 });
    equal(items.findOne({ _id: 1 }), { _id: 1, m: 1 });
    equal(items.findOneAndDelete({ n: { $lt: 5 } }, { sort: { n: -1 } }), { _id: 4, n: 4 });
    assert.equal(items.findOne({ _id: 4 }), null);
  },

  delete: () => {
    const items = main.deletes;
    const docs = [];
    for (const i of range(0, 20)) docs.push({ _id: i, even: i % 2 === 0 });
    items.insertMany(docs);
    assert.equal(items.deleteOne({ even: true }).deletedCount, 1);
    assert.equal(items.deleteOne({ _id: 'absent' }).deletedCount, 0);
    assert.equal(items.deleteMany({ even: true }).deletedCount, 9);
    assert.equal(items.countDocuments({}), 10);
    assert.equal(items.deleteMany({}).deletedCount, 10);
    equal(items.find().toArray(), []);
  },

  'count and distinct': () => {
    const { counts } = main;
    equal([counts.countDocuments({}), counts.estimatedDocumentCount()], [0, 0]);
    const docs = [];
    for (const i of range(0, 30)) docs.push({ _id: i, kind: 'abc'[i % 3], tags: [i % 2, i % 5] });
    counts.insertMany(docs);
    assert.equal(counts.countDocuments({ kind: 'b' }), 10);
    assert.equal(counts.countDocuments({ kind: 'b' }, { skip: 2, limit: 5 }), 5);
    equal([counts.countDocuments({}), counts.estimatedDocumentCount()], [30, 30]);
    equal(counts.distinct('kind'), ['a', 'b', 'c']);
    equal(counts.distinct('kind', { _id: { $in: [0, 1] } }), ['a', 'b']);
    equal(counts.distinct('tags'), [0, 1, 2, 3, 4]);
  },

  aggregate: () => {
    const { orders, users } = main;
    for (const i of range(0, 12)) orders.insertOne({ _id: i, user: i % 3, total: i * 10 });
    for (const i of range(0, 3)) users.insertOne({ _id: i, name: `user ${i}` });
    const totals = orders.aggregate([
      { $match: { total: { $gte: 30 } } },
      { $group: { _id: '$user', sum: { $sum: '$total' } } },
      { $sort: { _id: 1 } },
    ]).toArray();
    equal(totals, [{ _id: 0, sum: 180 }, { _id: 1, sum: 210 }, { _id: 2, sum: 240 }]);
    const join = [
      { $match: { _id: 4 } },
      { $lookup: { from: 'users', localField: 'user', foreignField: '_id', as: 'who' } },
      { $unwind: '$who' },
      { $project: { name: '$who.name' } },
    ];
    equal(orders.aggregate(join).toArray(), [{ _id: 4, name: 'user 1' }]);
    users.updateOne({ _id: 1 }, { $set: { name: 'renamed' } });
    equal(orders.aggregate(join).toArray(), [{ _id: 4, name: 'renamed' }]);
    const top = [{ $sort: { total: -1 } }, { $limit: 2 }, { $project: { _id: 1 } }];
    const facets = orders.aggregate([{ $facet: { count: [{ $count: 'n' }], top } }]).toArray();
    equal(facets, [{ count: [{ n: 12 }], top: [{ _id: 11 }, { _id: 10 }] }]);
    const batches = orders.aggregate([{ $sort: { _id: 1 } }], { cursor: { batchSize: 2 } }).toArray();
    equal(pluck(batches, '_id'), range(0, 12));
  },

  'out and merge': () => {
    const { orders, copies } = main;
    const { merged } = other;
    assert.equal(copies.countDocuments({}), 0);
    orders.aggregate([{ $match: { user: 0 } }, { $out: 'copies' }]);
    assert.equal(copies.countDocuments({}), 4);
    orders.aggregate([{ $match: { user: { $ne: 0 } } }, { $out: 'copies' }]);
    assert.equal(copies.countDocuments({}), 8);
    equal(merged.find().toArray(), []);
    const into = { $merge: { into: { db: other.getName(), coll: 'merged' }, whenMatched: 'replace' } };
    orders.aggregate([{ $match: { _id: { $lt: 2 } } }, into]);
    equal(pluck(merged.find().sort({ _id: 1 }).toArray(), 'total'), [0, 10]);
    orders.aggregate([{ $match: { _id: 1 } }, { $set: { total: 99 } }, into]);
    equal(pluck(merged.find().sort({ _id: 1 }).toArray(), 'total'), [0, 99]);
  },

  cursor: () => {
    const { many } = main;
    const docs = [];
    for (const i of range(0, 1000)) docs.push({ _id: i, pad: 'x'.repeat(50) });
    many.insertMany(docs);
    equal(pluck(many.find().sort({ _id: 1 }).batchSize(7).toArray(), '_id'), range(0, 1000));
    const early = many.find().batchSize(7);
    const seen = new Set();
    for (let i = 0; i < 20; i += 1) seen.add(early.next()._id);
    assert.equal(seen.size, 20);
    early.close();
    const opened = main.runCommand({ find: 'many', batchSize: 3 }).cursor;
    assert.equal(opened.firstBatch.length, 3);
    const more = main.runCommand({ getMore: opened.id, collection: 'many', batchSize: 5 }).cursor;
    assert.equal(more.nextBatch.length, 5);
    const killed = main.runCommand({ killCursors: 'many', cursors: [opened.id] });
    equal(killed.cursorsKilled, [opened.id]);
    raises(() => main.runCommand({ getMore: opened.id, collection: 'many' }), 43);
  },

  transaction: () => {
    main.createCollection('accounts');
    const { accounts } = main;
    accounts.insertMany([{ _id: 'a', n: 100 }, { _id: 'b', n: 0 }]);
    const session = db.getMongo().startSession();
    const inside = session.getDatabase(main.getName()).accounts;
    session.startTransaction({ readConcern: { level: 'snapshot' }, writeConcern: { w: 'majority' } });
    inside.updateOne({ _id: 'a' }, { $inc: { n: -30 } });
    inside.updateOne({ _id: 'b' }, { $inc: { n: 30 } });
    inside.insertOne({ _id: 'log' });
    assert.equal(inside.findOne({ _id: 'a' }).n, 70);
    assert.equal(inside.countDocuments({}), 3);
    // Outside of it nothing is to be seen before the commit.
    assert.equal(accounts.findOne({ _id: 'a' }).n, 100);
    assert.equal(accounts.findOne({ _id: 'log' }), null);
    session.commitTransaction();
    assert.equal(accounts.findOne({ _id: 'a' }).n, 70);
    equal(accounts.findOne({ _id: 'log' }), { _id: 'log' });

    session.startTransaction();
    inside.updateOne({ _id: 'a' }, { $set: { n: -1 } });
    assert.equal(inside.findOne({ _id: 'a' }).n, -1);
    session.abortTransaction();
    assert.equal(accounts.findOne({ _id: 'a' }).n, 70);

    session.withTransaction(() => {
      inside.updateOne({ _id: 'a' }, { $inc: { n: -20 } });
      inside.updateOne({ _id: 'b' }, { $inc: { n: 20 } });
    });
    equal(pluck(accounts.find().sort({ _id: 1 }).toArray(), 'n'), [50, 50, undefined]);

    // Two transactions on one document: the second one gets a write conflict.
    const second = db.getMongo().startSession();
    session.startTransaction();
    inside.updateOne({ _id: 'a' }, { $inc: { n: 1 } });
    second.startTransaction();
    const rival = second.getDatabase(main.getName()).accounts;
    raises(() => rival.updateOne({ _id: 'a' }, { $inc: { n: 1 } }), 112);
    second.abortTransaction();
    session.commitTransaction();
    assert.equal(accounts.findOne({ _id: 'a' }).n, 51);
    session.endSession();
    second.endSession();
  },

  'change stream': () => {
    main.createCollection('watched');
    const { watched } = main;
    watched.insertOne({ _id: 0 });
    const stream = watched.watch([], { maxAwaitTimeMS: 200 });
    // The stream is opened at its first use: this finds it empty, but open.
    assert.equal(stream.tryNext(), null);
    watched.insertOne({ _id: 1, n: 1 });
    watched.updateOne({ _id: 1 }, { $set: { n: 2 } });
    watched.deleteOne({ _id: 0 });
    const events = [];
    for (const i of range(0, 3)) events.push(until(() => stream.tryNext(), `event ${i}`));
    equal(pluck(events, 'operationType'), ['insert', 'update', 'delete']);
    equal(events[0].fullDocument, { _id: 1, n: 1 });
    equal(events[1].updateDescription.updatedFields, { n: 2 });
    equal(events[2].ns, { db: main.getName(), coll: 'watched' });
    stream.close();
    const resumed = watched.watch([], { resumeAfter: events[1]._id, maxAwaitTimeMS: 200 });
    equal(until(() => resumed.tryNext(), 'the resumed event').documentKey, { _id: 0 });
    resumed.close();
  },

  // The shell has no GridFS of its own: its layout by hand, as the specification has it.
  gridfs: () => {
    const data = randomBytes(MIB);
    const size = 16 * 1024;
    const id = new ObjectId();
    const { files, chunks } = { files: main.getCollection('fs.files'), chunks: main.getCollection('fs.chunks') };
    files.createIndex({ filename: 1, uploadDate: 1 });
    chunks.createIndex({ files_id: 1, n: 1 }, { unique: true });
    const parts = [];
    for (const n of range(0, MIB / size)) {
      const part = data.subarray(n * size, (n + 1) * size);
      parts.push({ files_id: id, n, data: BinData(0, part.toString('base64')) });
    }
    chunks.insertMany(parts);
    files.insertOne({ _id: id, length: NumberLong(String(MIB)), chunkSize: size, uploadDate: new Date(), filename: 'a.bin' });
    assert.equal(files.findOne({ filename: 'a.bin' }).length.toString(), String(MIB));
    const back = [];
    for (const part of chunks.find({ files_id: id }).sort({ n: 1 }).batchSize(7).toArray()) {
      back.push(Buffer.from(part.data.toString('base64'), 'base64'));
    }
    assert.ok(data.equals(Buffer.concat(back)), 'the file came back changed');
    raises(() => chunks.insertOne({ files_id: id, n: 0 }), 11000);
    files.deleteOne({ _id: id });
    assert.equal(chunks.deleteMany({ files_id: id }).deletedCount, 64);
    assert.equal(chunks.countDocuments({}), 0);
  },

  'bulk write': () => {
    const { bulk } = main;
    bulk.insertOne({ _id: 3 });
    const inserts = [];
    for (const i of range(0, 6)) inserts.push({ insertOne: { document: { _id: i } } });
    raises(() => bulk.bulkWrite(inserts), 11000);
    equal(bulk.distinct('_id'), [0, 1, 2, 3]);
    const error = raises(() => bulk.bulkWrite(inserts, { ordered: false }), 11000);
    assert.equal(error.writeErrors.length, 4);
    assert.equal(bulk.countDocuments({}), 6);
    const mixed = bulk.bulkWrite([
      { insertOne: { document: { _id: 10, n: 1 } } },
      { updateOne: { filter: { _id: 10 }, update: { $inc: { n: 1 } } } },
      { updateMany: { filter: { _id: { $lt: 3 } }, update: { $set: { n: 0 } } } },
      { replaceOne: { filter: { _id: 11 }, replacement: { n: 11 }, upsert: true } },
      { deleteOne: { filter: { _id: 5 } } },
      { deleteMany: { filter: { _id: { $in: [3, 4] } } } },
    ]);
    equal([mixed.insertedCount, mixed.matchedCount, mixed.modifiedCount, mixed.deletedCount], [1, 4, 4, 3]);
    equal(mixed.upsertedIds, { 3: 11 });
    equal(pluck(bulk.find().sort({ _id: 1 }).toArray(), 'n'), [0, 0, 0, 2, 11]);
    const fluent = bulk.initializeUnorderedBulkOp();
    fluent.insert({ _id: 20 });
    fluent.find({ _id: 10 }).updateOne({ $inc: { n: 1 } });
    fluent.find({ _id: 11 }).deleteOne();
    const result = fluent.execute();
    equal([result.insertedCount, result.modifiedCount, result.deletedCount], [1, 1, 1]);
  },

  sessions: () => {
    const session = db.getMongo().startSession({ causalConsistency: true });
    const items = session.getDatabase(main.getName()).sessions;
    for (const n of range(0, 20)) {
      items.updateOne({ _id: 1 }, { $set: { n } }, { upsert: true });
      assert.equal(items.findOne({ _id: 1 }).n, n);
    }
    assert.ok(session.getOperationTime());
    session.endSession();
    raises(() => items.findOne({ _id: 1 }));
    assert.equal(main.sessions.findOne({ _id: 1 }).n, 19);
  },

  unacknowledged: () => {
    const { fire } = main;
    const w0 = { writeConcern: { w: 0 } };
    assert.equal(fire.insertOne({ _id: 1, n: 0 }, w0).acknowledged, false);
    until(() => fire.findOne({ _id: 1 }), 'the insert to be visible');
    for (let i = 0; i < 50; i += 1) fire.updateOne({ _id: 1 }, { $inc: { n: 1 } }, w0);
    until(() => fire.findOne({ _id: 1, n: 50 }), '50 increments to be visible');
    fire.deleteMany({}, w0);
    until(() => fire.countDocuments({}) === 0, 'the delete to be visible');
  },

  indexes: () => {
    const { indexed } = main;
    for (const i of range(0, 30)) indexed.insertOne({ _id: i, a: i, b: i % 3 });
    assert.equal(indexed.createIndex({ a: 1, b: -1 }), 'a_1_b_-1');
    indexed.createIndex({ b: 1 }, { name: 'by_b' });
    indexed.createIndex({ u: 1 }, { unique: true, sparse: true });
    equal(pluck(indexed.getIndexes(), 'name'), ['_id_', 'a_1_b_-1', 'by_b', 'u_1']);
    indexed.insertOne({ _id: 'u', u: 1 });
    raises(() => indexed.insertOne({ u: 1 }), 11000);
    assert.equal(indexed.find({ b: 1 }).hint('by_b').itcount(), 10);
    indexed.dropIndex('by_b');
    raises(() => indexed.find({ b: 1 }).hint('by_b').itcount(), 2);
    raises(() => indexed.dropIndex('by_b'), 27);
    indexed.dropIndexes();
    equal(pluck(indexed.getIndexes(), 'name'), ['_id_']);
  },

  users: () => {
    const user = `user_${tag}`;
    main.createUser({ user, pwd: 'secret', roles: ['read'] });
    try {
      equal([main.getUser(user).user, main.getUser(user).db], [user, main.getName()]);
      main.grantRolesToUser(user, ['readWrite']);
      equal(pluck(main.getUser(user).roles, 'role').sort(), ['read', 'readWrite']);
      raises(() => main.createUser({ user, pwd: 'x', roles: [] }), 51003);
    } finally {
      main.dropUser(user);
    }
    assert.equal(main.getUser(user), null);
  },

  collections: () => {
    main.createCollection('made', { validator: { n: { $type: 'number' } } });
    raises(() => main.createCollection('made', { capped: true, size: 4096 }), 48);
    raises(() => main.made.insertOne({ n: 'text' }), 121);
    main.made.insertOne({ _id: 1, n: 1 });
    const [info] = main.getCollectionInfos({ name: 'made' });
    equal(info.options.validator, { n: { $type: 'number' } });
    assert.equal(main.renamed.findOne({ _id: 1 }), null);
    main.made.renameCollection('renamed');
    equal(main.renamed.findOne({ _id: 1 }), { _id: 1, n: 1 });
    assert.equal(main.made.findOne({ _id: 1 }), null);
    main.createView('seen', 'renamed', [{ $match: { _id: 1 } }]);
    equal(main.seen.find().toArray(), [{ _id: 1, n: 1 }]);
    main.renamed.updateOne({ _id: 1 }, { $set: { n: 2 } });
    equal(main.seen.find().toArray(), [{ _id: 1, n: 2 }]);
    main.seen.drop();
    main.renamed.drop();
    assert.equal(main.renamed.findOne({ _id: 1 }), null);
    for (const name of main.getCollectionNames()) assert.ok(!['made', 'renamed', 'seen'].includes(name), name);
    assert.ok(pluck(db.adminCommand({ listDatabases: 1 }).databases, 'name').includes(main.getName()));
    other.drops.insertOne({ _id: 1 });
    equal(other.drops.findOne(), { _id: 1 });
    other.dropDatabase();
    assert.equal(other.drops.findOne(), null);
  },

  errors: () => {
    const items = main.errors;
    items.insertOne({ _id: 1, n: 'text' });
    raises(() => items.insertOne({ _id: 1 }), 11000);
    raises(() => items.find({ n: { $nonsense: 1 } }).toArray(), 2);
    raises(() => items.updateOne({ _id: 1 }, { $nonsense: { n: 1 } }), 9);
    raises(() => items.updateOne({ _id: 1 }, { $inc: { n: 1 } }), 14);
    raises(() => items.aggregate([{ $nonsense: {} }]).toArray(), 40324);
    assert.equal(raises(() => main.runCommand({ noSuchCommandAtAll: 1 }), 59).codeName, 'CommandNotFound');
    raises(() => main.runCommand({ find: 'errors', nonsense: 1 }), 40415);
    raises(() => items.find({ $where: 'sleep(2000) || true' }).maxTimeMS(20).toArray(), 50);
    equal(items.findOne({ _id: 1 }), { _id: 1, n: 'text' });
  },

  tailable: () => {
    main.createCollection('log', { capped: true, size: MIB });
    const { log } = main;
    for (const i of range(0, 3)) log.insertOne({ _id: i });
    const cursor = log.find().tailable({ awaitData: true }).maxAwaitTimeMS(100);
    for (const i of range(0, 3)) equal(cursor.tryNext(), { _id: i });
    assert.equal(cursor.tryNext(), null);
    log.insertOne({ _id: 3 });
    equal(until(() => cursor.tryNext(), 'the tailed document'), { _id: 3 });
    cursor.close();
  },

  large: () => {
    const { large } = main;
    const bytes = (count) => BinData(0, randomBytes(count).toString('base64'));
    const big = bytes(10 * MIB);
    large.insertOne({ _id: 'big', data: big });
    const back = large.findOne({ _id: 'big' });
    assert.ok(back.data.toString('base64') === big.toString('base64'), 'the document came back changed');
    const pads = [];
    for (const i of range(0, 20)) pads.push({ _id: i, pad: bytes(MIB) });
    large.insertMany(pads);
    let count = 0;
    for (const doc of large.find({ pad: { $exists: true } }).sort({ _id: 1 }).toArray()) {
      const same = doc.pad.toString('base64') === pads[count].pad.toString('base64');
      assert.ok(doc._id === count && same, 'a document came back changed');
      count += 1;
    }
    assert.equal(count, 20);
    const error = raises(() => large.updateOne({ _id: 'big' }, [{ $set: { again: '$data' } }]));
    assert.ok([17419, 10334].includes(error.code), String(error));
  },
};

let failed = false;
const titles = Object.keys(sections);
for (const title of titles) {
  try {
    sections[title]();
  } catch (error) {
    failed = true;
    print(`FAILED ${title}\n${error.stack}`);
    break;
  }
  print(`ok ${title}`);
}
main.dropDatabase();
other.dropDatabase();
if (failed) quit(1);
print(`all ${titles.length} sections ok`);
