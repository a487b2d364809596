// ioredis and node-redis by TLS, with and without a certificate of their own, run by node's own test runner.
//
// RESPOOL_TEST_TLS and RESPOOL_TEST_CERTIFICATES: see test_redis_py.py. RESPOOL_TEST_NODE is the folder in which the
// packages were installed.

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, test } from "node:test";

const require = createRequire(`${process.env.RESPOOL_TEST_NODE}/`);
const { Redis } = require("ioredis");
const { createClient } = require("redis");

const port = Number(process.env.RESPOOL_TEST_TLS);
const LIMIT = { timeout: 40_000 };
const LOGIN = { username: "app", password: "secret" };
const closing = [];

const file = (name) => readFileSync(`${process.env.RESPOOL_TEST_CERTIFICATES}/${name}`);

function tls(certificate) {
  const shown = certificate ? { cert: file(`${certificate}.pem`), key: file(`${certificate}.key`) } : {};
  return { ca: file("authority.pem"), ...shown };
}

function ioredis(certificate, options = {}) {
  const client = new Redis({ host: "localhost", port, maxRetriesPerRequest: 0, retryStrategy: null, tls: tls(certificate), ...options });
  client.on("error", () => {});
  closing.push(() => client.disconnect());
  return client;
}

async function nodeRedis(certificate, options = {}) {
  const socket = { host: "localhost", port, tls: true, reconnectStrategy: false, ...tls(certificate) };
  const client = createClient({ socket, ...options });
  client.on("error", () => {});
  closing.push(() => client.isOpen && client.destroy());
  await client.connect();
  return client;
}

after(() => closing.forEach((close) => close()));

const digest = (buffer) => createHash("sha1").update(buffer).digest("hex");

test("ioredis with a password, values of every size", LIMIT, async () => {
  const client = ioredis(null, LOGIN);
  for (const size of [0, 1, 16_383, 16_384, 16_385, 65_537, 3_000_001]) {
    const value = randomBytes(size);
    await client.set("node", value);
    assert.equal(digest(await client.getBuffer("node")), digest(value), String(size));
  }
});

test("ioredis with a certificate and no password", LIMIT, async () => {
  const client = ioredis("app");
  assert.match(await client.client("INFO"), / user=app /);
});

for (const RESP of [2, 3]) {
  test(`node-redis with a password, a thousand requests at a time, RESP${RESP}`, LIMIT, async () => {
    const client = await nodeRedis(null, { ...LOGIN, RESP });
    const counts = await Promise.all(Array.from({ length: 1000 }, () => client.incr(`count${RESP}`)));
    const first = counts[0];
    assert.deepEqual(counts, counts.map((_, index) => first + index));
  });

  test(`node-redis with a certificate and no password, RESP${RESP}`, LIMIT, async () => {
    const client = await nodeRedis("app", { RESP });
    assert.match(await client.sendCommand(["CLIENT", "INFO"]), / user=app /);
  });
}

for (const certificate of ["stranger", "expired"]) {
  test(`a certificate that is not right is refused: ${certificate}`, LIMIT, async () => {
    await assert.rejects(ioredis(certificate, LOGIN).ping());
    await assert.rejects(async () => (await nodeRedis(certificate, LOGIN)).ping());
  });
}
