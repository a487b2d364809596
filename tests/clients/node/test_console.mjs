// The web console in a headless Chromium: it opens without an error, its figures move under load, it shows
// within moments that the upstream is gone, and it fits a phone.
//
// RESPOOL_TEST_CONSOLE is the console's address, RESPOOL_TEST_URL the gateway's, RESPOOL_TEST_UPSTREAM_PID the
// Redis behind it, which is killed here.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";

const require = createRequire(`${process.env.RESPOOL_TEST_NODE}/`);
const { Redis } = require("ioredis");
const { chromium } = require("playwright-core");

const SANDBOX = process.getuid() === 0 ? ["--no-sandbox"] : [];
const QUIET = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const LIMIT = { timeout: 60_000 };
const complaints = [];
let browser;
let page;
let client;

// The first figure shown, as a number: above ten thousand the page writes it with a unit ("12.3 k").
const rate = async () => {
  const [digits, unit] = (await page.textContent("#plots figure b")).split(" ");
  return parseFloat(digits) * ({ k: 1e3, M: 1e6, G: 1e9 }[unit] ?? 1);
};

before(async () => {
  client = new Redis(process.env.RESPOOL_TEST_URL);
  client.on("error", () => {});
  browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: [...SANDBOX, ...QUIET] });
  page = await browser.newPage({ viewport: { width: 1200, height: 1000 } });
  page.on("console", (message) => complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(error.message));
  await page.goto(process.env.RESPOOL_TEST_CONSOLE);
}, LIMIT);
after(async () => {
  client.disconnect();
  await browser?.close();
});

test("it opens, and says that the gateway is ready", LIMIT, async () => {
  await page.waitForFunction(() => document.getElementById("state").textContent === "ready");
  assert.match(await page.textContent("#summary"), /clients on \d+ connections/);
  assert.equal(await page.title(), "respool");
});

test("its figures move under load", LIMIT, async () => {
  let loading = true;
  const load = (async () => {
    while (loading) await Promise.all(Array.from({ length: 50 }, (_, at) => client.set(`k${at}`, at)));
  })();
  try {
    while (!(await rate() > 50)) await page.waitForTimeout(100);
    assert.match(await page.locator("#workers tbody tr").first().textContent(), /respool-worker-1/);
  } finally {
    loading = false;
    await load;
  }
  assert.ok(await rate() > 0);
});

test("tables have captions and headings, and the page a language and landmarks", LIMIT, async () => {
  assert.equal(await page.locator("table:not(:has(caption))").count(), 0);
  assert.equal(await page.locator("main, header, footer").count(), 3);
  assert.equal(await page.locator("svg:not([aria-label])").count(), 0);
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.className), "skip");
});

test("a phone shows it without scrolling sideways, in the dark as well", LIMIT, async () => {
  await page.setViewportSize({ width: 360, height: 800 });
  await page.emulateMedia({ colorScheme: "dark" });
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth) <= 360);
  await page.setViewportSize({ width: 1200, height: 1000 });
});

test("it shows that the upstream was killed, and nothing went wrong in the browser", LIMIT, async () => {
  process.kill(Number(process.env.RESPOOL_TEST_UPSTREAM_PID), "SIGKILL");
  // Two snapshots, and time for a busy machine.
  await page.waitForFunction(() => document.getElementById("state").textContent === "not ready", { timeout: 10_000 });
  assert.match(await page.textContent("#notice"), /upstream is down/);
  assert.deepEqual(complaints, []);
});
