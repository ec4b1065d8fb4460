#!/usr/bin/env node
// What an application's handlers see when MongoDB hangs up on every try. Usage: node lost.mjs URI MONGOD close|error (see lost.py)

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

const { MongoClient, MongoNetworkError, MongoServerError } = createRequire(import.meta.url)('mongodb');
const [uri, mongod, mode] = process.argv.slice(2);
const direct = await new MongoClient(mongod, { directConnection: true }).connect();

async function fail(command, how) {
  const data = { failCommands: [command], closeConnection: true, namespace: 'lost.c' };
  await direct.db('admin').command({ configureFailPoint: 'failCommand', mode: how, data });
}

async function seenByHandlers(act) {
  try {
    await act();
  } catch (error) {
    if (error instanceof MongoNetworkError) return 'network';
    if (error instanceof MongoServerError) return `code ${error.code}`;
    throw error;
  }
  return 'nothing';
}

for (const retries of [true, false]) {
  const client = new MongoClient(uri, { retryReads: retries, retryWrites: retries, serverSelectionTimeoutMS: 20_000 });
  const c = client.db('lost').collection('c');
  await c.insertMany(Array.from({ length: 5 }, () => ({})));
  for (const [command, act, code] of [
    ['find', () => c.findOne({}), 6],
    ['insert', () => c.insertOne({}), 6],
    ['update', () => c.updateOne({}, { $inc: { n: 1 } }), 6],
    ['getMore', () => c.find({}, { batchSize: 2 }).toArray(), 43],
  ]) {
    await fail(command, 'alwaysOn');
    const found = await seenByHandlers(act);
    await fail(command, 'off');
    assert.equal(found, mode === 'close' ? 'network' : `code ${code}`, `${command}, retries ${retries}`);
    await act();
  }
  await client.close();
}
await direct.close();
console.log('ok');
