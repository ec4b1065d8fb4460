// mongosh at the proxy's own console: the database `petiole`.
//
// Usage: mongosh URI --quiet --norc --file console.js (admin.console = ["anyone"])
//
// Prints "ok <section>" per section and "all N sections ok" at the end.

/* global db, quit, print */

const assert = require('node:assert/strict');

const console_ = db.getSiblingDB('petiole');

/** The message of the error that `action` must fail with. */
function refusal(action) {
  let result;
  try {
    result = action();
  } catch (error) {
    return error.message;
  }
  return assert.fail(`no error, got ${JSON.stringify(result)}`);
}

const sections = {
  'show dbs and show collections'() {
    const names = db.adminCommand({ listDatabases: 1, nameOnly: true }).databases;
    assert.ok(names.some((d) => d.name === 'petiole'));
    assert.deepEqual([...console_.getCollectionNames()].sort(), ['advice', 'clients', 'servers', 'shapes', 'slow', 'status']);
    assert.equal(console_.getCollectionInfos({ name: 'slow' }).length, 1);
  },
  'db.status.findOne()'() {
    const status = console_.getCollection('status').findOne();
    assert.equal(status._id, 'status');
    assert.ok(status.clients.open >= 1);
    assert.ok(status.at instanceof Date);
  },
  'queries as one types them'() {
    assert.ok(console_.clients.countDocuments() >= 1);
    assert.ok(console_.clients.estimatedDocumentCount() >= 1);
    const me = console_.clients.find({ application: /mongosh/ }, { application: 1 }).sort({ _id: -1 }).limit(1).toArray();
    assert.equal(me.length, 1);
    assert.deepEqual(Object.keys(me[0]).sort(), ['_id', 'application']);
    assert.ok(console_.servers.distinct('role').includes('primary'));
    assert.equal(console_.servers.find().skip(100).itcount(), 0);
    assert.equal(console_.status.aggregate([{ $match: {} }, { $count: 'n' }]).toArray()[0].n, 1);
  },
  'writes are refused in words'() {
    for (const write of [
      () => console_.status.insertOne({ a: 1 }),
      () => console_.status.updateOne({}, { $set: { a: 1 } }),
      () => console_.status.deleteMany({}),
      () => console_.dropDatabase(),
    ]) {
      assert.match(refusal(write), /console/);
    }
  },
  'what Compass asks at its start'() {
    assert.equal(console_.runCommand({ ping: 1 }).ok, 1);
    assert.equal(console_.stats().ok, 1);
    assert.equal(console_.status.getIndexes()[0].name, '_id_');
    assert.equal(console_.runCommand({ collStats: 'status' }).count, 1);
    assert.equal(console_.runCommand({ buildInfo: 1 }).ok, 1);
    assert.equal(console_.runCommand({ connectionStatus: 1 }).ok, 1);
  },
};

const titles = Object.keys(sections);
for (const title of titles) {
  try {
    sections[title]();
    print(`ok ${title}`);
  } catch (error) {
    print(`FAILED ${title}\n${error.stack}`);
    quit(1);
  }
}
print(`all ${titles.length} sections ok`);
