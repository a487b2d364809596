// ioredis, node-redis (RESP2 and RESP3) and BullMQ, run by node's own test runner.
//
// RESPOOL_TEST_URL is a Redis or respool in front of one. The name of a test begins with the issue it
// needs, `base` or `stateful`. RESPOOL_TEST_NODE is the folder in which the packages were installed.

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createRequire } from "node:module";
import { after, beforeEach, test } from "node:test";

const require = createRequire(`${process.env.RESPOOL_TEST_NODE}/`);
const { Redis } = require("ioredis");
const { createClient, RESP_TYPES, WatchError } = require("redis");
const { Queue, QueueEvents, Worker } = require("bullmq");

const url = process.env.RESPOOL_TEST_URL;
const { hostname: host, port } = new URL(url);
const LIMIT = { timeout: 40_000 };
const closing = [];

function ioredis(options = {}) {
  const client = new Redis({ host, port: Number(port), maxRetriesPerRequest: 3, ...options });
  closing.push(() => client.disconnect());
  return client;
}

async function nodeRedis(options = {}) {
  const client = createClient({ url, socket: { reconnectStrategy: false }, ...options });
  client.on("error", () => {});
  closing.push(() => client.isOpen && client.destroy());
  await client.connect();
  return client;
}

// Resolves once `count` items have been put into the array by an event.
function collector(count) {
  const items = [];
  let done;
  const full = new Promise((resolve) => { done = resolve; });
  return { full, add: (item) => { if (items.push(item) === count) done(items); } };
}

beforeEach(async () => {
  const client = ioredis();
  await client.flushall();
  client.disconnect();
});
after(() => closing.forEach((close) => close()));

test("base: ioredis plain commands, binary and large values", LIMIT, async () => {
  const client = ioredis();
  const large = randomBytes(3_000_000);
  assert.equal(await client.set("k", large), "OK");
  const digest = (buffer) => createHash("sha1").update(buffer).digest("hex");
  assert.equal(digest(await client.getBuffer("k")), digest(large));
  await client.hset("h", { a: 1, b: 2 });
  assert.deepEqual(await client.hgetall("h"), { a: "1", b: "2" });
  assert.deepEqual(await client.mget("none", "nothing"), [null, null]);
  await assert.rejects(client.lpush("k", 1), /WRONGTYPE/);
  await assert.rejects(client.call("NOSUCH", "x"), /unknown command/);
});

test("base: ioredis pipelines itself", LIMIT, async () => {
  const client = ioredis({ enableAutoPipelining: true });
  await client.ping();
  const answers = await Promise.all(Array.from({ length: 3000 }, async (_, n) => {
    await client.set(`k${n}`, n);
    return client.get(`k${n}`);
  }));
  assert.deepEqual(answers, Array.from({ length: 3000 }, (_, n) => String(n)));
});

test("base: ioredis pipeline and multi in one burst", LIMIT, async () => {
  const client = ioredis();
  const piped = await client.pipeline().set("a", 1).incr("a").lpush("a", 1).get("a").exec();
  assert.deepEqual(piped.map(([error, value]) => (error ? "error" : value)), ["OK", 2, "error", "2"]);
  const multi = await client.multi().set("b", 1).incr("b").exec();
  assert.deepEqual(multi, [[null, "OK"], [null, 2]]);
  await assert.rejects(client.multi().set("c").exec(), /EXECABORT/);
});

test("base: ioredis scripts, scanning, databases", LIMIT, async () => {
  const client = ioredis({ db: 3, connectionName: "named" });
  client.defineCommand("twice", { numberOfKeys: 1, lua: "return redis.call('GET', KEYS[1]) * 2" });
  await client.set("n", 21);
  assert.equal(await client.twice("n"), 42);
  assert.equal(await client.client("GETNAME"), "named");
  await client.mset(Object.fromEntries(Array.from({ length: 500 }, (_, n) => [`s:${n}`, n])));
  const seen = new Set();
  for await (const keys of client.scanStream({ match: "s:*", count: 40 })) keys.forEach((key) => seen.add(key));
  assert.equal(seen.size, 500);
  assert.equal(await ioredis().dbsize(), 0);
});

test("stateful: ioredis multi one command at a time, and watch", LIMIT, async () => {
  const [client, other] = [ioredis(), ioredis()];
  await client.multi({ pipeline: false });
  assert.equal(await client.set("a", 1), "QUEUED");
  assert.equal(await other.get("a"), null);
  assert.deepEqual(await client.exec(), [[null, "OK"]]);
  await client.watch("a");
  await other.set("a", 2);
  assert.equal(await client.multi().set("a", 3).exec(), null);
  assert.equal(await other.get("a"), "2");
});

test("stateful: ioredis subscribers and patterns", LIMIT, async () => {
  const [one, two, client] = [ioredis(), ioredis(), ioredis()];
  const [first, second] = [collector(2), collector(2)];
  one.on("message", (channel, text) => first.add([channel, text]));
  two.on("pmessage", (pattern, channel, text) => second.add([pattern, channel, text]));
  assert.equal(await one.subscribe("news", "sport"), 2);
  assert.equal(await two.psubscribe("n*"), 1);
  assert.equal(await client.publish("news", "a"), 2);
  assert.equal(await client.publish("sport", "b"), 1);
  assert.equal(await client.publish("nothing", "c"), 1);
  assert.deepEqual(await first.full, [["news", "a"], ["sport", "b"]]);
  assert.deepEqual(await second.full, [["n*", "news", "a"], ["n*", "nothing", "c"]]);
  assert.equal(await one.unsubscribe(), 0);
  assert.equal(await one.set("k", "a client again"), "OK");
});

test("stateful: ioredis blocking commands and streams", LIMIT, async () => {
  const [client, other] = [ioredis(), ioredis()];
  const popped = client.blpop("none", "q", 10);
  const read = ioredis().xread("BLOCK", 10_000, "STREAMS", "x", "0");
  await other.rpush("q", "v");
  await other.xadd("x", "1-1", "f", "v");
  assert.deepEqual(await popped, ["q", "v"]);
  assert.deepEqual(await read, [["x", [["1-1", ["f", "v"]]]]]);
  assert.equal(await client.blpop("none", 0.05), null);
  assert.equal(await client.brpoplpush("none", "q", 0.05), null);
});

test("stateful: ioredis monitor", LIMIT, async () => {
  const client = ioredis();
  const monitor = await ioredis().monitor();
  const seen = once(monitor, "monitor");
  await client.set("seen", "v");
  assert.deepEqual((await seen)[1], ["set", "seen", "v"]);
  monitor.disconnect();
});

for (const RESP of [2, 3]) {
  test(`base: node-redis RESP${RESP} commands and types`, LIMIT, async () => {
    const client = await nodeRedis({ RESP });
    assert.equal(await client.set("k", "v"), "OK");
    assert.equal(await client.get("none"), null);
    await client.hSet("h", { a: "1", b: "2" });
    assert.deepEqual({ ...(await client.hGetAll("h")) }, { a: "1", b: "2" });
    await client.zAdd("z", [{ score: 1.5, value: "a" }, { score: Infinity, value: "b" }]);
    assert.equal(await client.zScore("z", "a"), 1.5);
    assert.deepEqual((await client.zRangeWithScores("z", 0, -1)).map(({ score }) => score), [1.5, Infinity]);
    const bytes = randomBytes(100_000);
    await client.set("bytes", bytes);
    const buffers = client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
    assert.ok(bytes.equals(await buffers.get("bytes")));
    assert.equal(await client.eval("return redis.call('INCR', KEYS[1])", { keys: ["n"] }), 1);
    await assert.rejects(client.lPush("k", "x"), /WRONGTYPE/);
    assert.equal((await client.hello(RESP)).proto, RESP);
  });

  test(`base: node-redis RESP${RESP} pipelines and multi`, LIMIT, async () => {
    const client = await nodeRedis({ RESP, database: 2 });
    const answers = await Promise.all(Array.from({ length: 2000 }, (_, n) => client.incrBy("n", n % 3)));
    assert.equal(answers.at(-1), 1999);
    assert.deepEqual(await client.multi().set("a", "1").incr("a").lRange("none", 0, -1).exec(), ["OK", 2, []]);
    await assert.rejects(client.multi().set("a", "x").addCommand(["NOSUCH"]).exec(), /unknown command/);
    assert.equal(await client.get("a"), "2");
    await client.select(3);
    assert.equal(await client.get("a"), null);
  });

  test(`stateful: node-redis RESP${RESP} watch and blocking`, LIMIT, async () => {
    const [client, other] = [await nodeRedis({ RESP }), await nodeRedis({ RESP })];
    await client.watch("k");
    await other.set("k", "theirs");
    await assert.rejects(client.multi().set("k", "mine").exec(), WatchError);
    await client.watch("k");
    assert.deepEqual(await client.multi().set("k", "mine").exec(), ["OK"]);
    const popped = client.blPop(["none", "q"], 10);
    await other.rPush("q", "v");
    assert.deepEqual({ ...(await popped) }, { key: "q", element: "v" });
    assert.equal(await client.blPop("none", 0.05), null);
    assert.equal(await client.get("k"), "mine");
  });

  test(`stateful: node-redis RESP${RESP} subscribers`, LIMIT, async () => {
    const [listener, client] = [await nodeRedis({ RESP }), await nodeRedis({ RESP })];
    const [plain, patterned, sharded] = [collector(300), collector(2), collector(1)];
    await listener.subscribe("c", (text) => plain.add(text));
    await listener.pSubscribe("p*", (text, channel) => patterned.add([channel, text]));
    await listener.sSubscribe("s", (text) => sharded.add(text));
    const counts = await Promise.all(Array.from({ length: 300 }, (_, n) => client.publish("c", String(n))));
    assert.ok(counts.every((count) => count === 1));
    await client.publish("p1", "x");
    await client.publish("p2", "y");
    assert.equal(await client.sPublish("s", "z"), 1);
    assert.deepEqual(await plain.full, Array.from({ length: 300 }, (_, n) => String(n)));
    assert.deepEqual(await patterned.full, [["p1", "x"], ["p2", "y"]]);
    assert.deepEqual(await sharded.full, ["z"]);
    await listener.unsubscribe();
    await listener.pUnsubscribe();
    await listener.sUnsubscribe();
    // In RESP2 the library still hands out buffers right after it was a subscriber.
    assert.equal(String(await listener.set("k", "a client again")), "OK");
  });
}

test("stateful: node-redis answers a RESP3 subscriber's other commands", LIMIT, async () => {
  const [listener, client] = [await nodeRedis({ RESP: 3 }), await nodeRedis({ RESP: 3 })];
  const heard = collector(100);
  await listener.subscribe("c", (text) => heard.add(text));
  const mixed = Array.from({ length: 100 }, async (_, n) => {
    await client.publish("c", String(n));
    await listener.set(`k${n}`, String(n));
    return listener.get(`k${n}`);
  });
  assert.deepEqual(await Promise.all(mixed), Array.from({ length: 100 }, (_, n) => String(n)));
  assert.equal((await heard.full).length, 100);
});

test("stateful: node-redis caches what it reads", LIMIT, async () => {
  const client = await nodeRedis({ RESP: 3, clientSideCache: { ttl: 0, maxEntries: 0, evictPolicy: "LRU" } });
  const other = await nodeRedis({ RESP: 3 });
  for (let turn = 0; turn < 20; turn += 1) {
    await other.set("k", String(turn));
    // The invalidation comes before the next answer.
    await client.ping();
    assert.equal(await client.get("k"), String(turn));
    assert.equal(await client.get("k"), String(turn));
  }
});

test("stateful: BullMQ jobs", LIMIT, async () => {
  const connection = { host, port: Number(port), maxRetriesPerRequest: null };
  const queue = new Queue("jobs", { connection });
  const events = new QueueEvents("jobs", { connection });
  const worker = new Worker("jobs", async (job) => {
    if (job.data.n === 13) throw new Error("as it should");
    return job.data.n * 2;
  }, { connection, concurrency: 4 });
  worker.on("error", () => {});
  try {
    await Promise.all([queue.waitUntilReady(), events.waitUntilReady(), worker.waitUntilReady()]);
    const jobs = await Promise.all(Array.from({ length: 12 }, (_, n) => queue.add("double", { n })));
    const results = await Promise.all(jobs.map((job) => job.waitUntilFinished(events, 30_000)));
    assert.deepEqual(results, Array.from({ length: 12 }, (_, n) => n * 2));
    const failing = await queue.add("double", { n: 13 });
    await assert.rejects(failing.waitUntilFinished(events, 30_000), /as it should/);
    const late = await queue.add("double", { n: 50 }, { delay: 200, priority: 2 });
    assert.equal(await late.waitUntilFinished(events, 30_000), 100);
    assert.equal((await queue.getJobCounts("completed")).completed, 13);
  } finally {
    await Promise.all([worker.close(), events.close()]);
    await queue.close();
  }
});
