// The live page: takes one snapshot a second from `events`, keeps two minutes of them, draws them.
"use strict";

const KEEP = 120; // snapshots, one a second
const WINDOW = 10; // seconds over which rates and percentiles are taken
const snapshots = [];

const byId = (id) => document.getElementById(id);
const make = (name, attributes = {}, ...children) => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
};
const short = (value) => {
  if (!Number.isFinite(value)) return "–";
  for (const [limit, unit] of [[1e9, "G"], [1e6, "M"], [1e4, "k"]]) {
    if (Math.abs(value) >= limit) return `${(value / (unit === "k" ? 1e3 : limit)).toPrecision(3)} ${unit}`;
  }
  return value >= 100 || Number.isInteger(value) ? Math.round(value).toString() : value.toPrecision(2);
};
const milliseconds = (micros) => (micros / 1000).toLocaleString("en", { maximumSignificantDigits: 3 });

// A counter's growth a second at snapshot `index`.
function rate(index, read) {
  const from = Math.max(0, index - WINDOW);
  const seconds = (snapshots[index].time_ms - snapshots[from].time_ms) / 1000;
  return seconds > 0 ? Math.max(0, read(snapshots[index]) - read(snapshots[from])) / seconds : NaN;
}

// A percentile of what a histogram has gained within the window, in microseconds: the bound of its bucket.
function percentile(index, name, share) {
  const now = snapshots[index].latency[name];
  const before = snapshots[Math.max(0, index - WINDOW)].latency[name];
  const gained = now.counts.map((count, at) => count - before.counts[at]);
  const total = gained.reduce((sum, count) => sum + count, 0);
  if (total <= 0) return NaN;
  let below = 0;
  for (let at = 0; at < gained.length; at += 1) {
    below += gained[at];
    if (below >= total * share) return now.bounds[Math.min(at, now.bounds.length - 1)];
  }
  return NaN;
}

const pool = (snapshot) => snapshot.pools[0];
const PLOTS = [
  { title: "requests a second", unit: "", lines: [{ name: "answered", at: (i) => rate(i, (s) => s.stats.total_replied) },
    { name: "failed", at: (i) => rate(i, (s) => s.stats.total_failed) }] },
  { title: "time of 99 % of the jobs, ms", unit: "ms", lines: [{ name: "wait in the queue", at: (i) => percentile(i, "queue_us", 0.99) / 1000 },
    { name: "upstream", at: (i) => percentile(i, "upstream_us", 0.99) / 1000 }] },
  { title: "time of half of the jobs, ms", unit: "ms", lines: [{ name: "wait in the queue", at: (i) => percentile(i, "queue_us", 0.5) / 1000 },
    { name: "upstream", at: (i) => percentile(i, "upstream_us", 0.5) / 1000 }] },
  { title: "requests in flight and waiting jobs", unit: "", lines: [{ name: "in flight", at: (i) => pool(snapshots[i]).in_flight },
    { name: "waiting", at: (i) => pool(snapshots[i]).queue_jobs }] },
];

function path(values, top) {
  let text = "";
  let pen = "M";
  values.forEach((value, at) => {
    if (!Number.isFinite(value)) { pen = "M"; return; }
    const x = ((KEEP - values.length + at) / (KEEP - 1)) * 300;
    text += `${pen}${x.toFixed(1)} ${(98 - (value / top) * 92).toFixed(1)}`;
    pen = "L";
  });
  return text;
}

function drawPlots() {
  const figures = PLOTS.map((plot) => {
    const series = plot.lines.map((line) => snapshots.map((_, index) => line.at(index)));
    const top = Math.max(1e-9, ...series.flat().filter(Number.isFinite));
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 300 100");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("role", "img");
    const caption = make("figcaption", {}, `${plot.title}: `);
    plot.lines.forEach((line, at) => {
      const kind = at === 0 ? "one" : "two";
      const element = document.createElementNS("http://www.w3.org/2000/svg", "path");
      element.setAttribute("class", kind);
      element.setAttribute("d", path(series[at], top));
      svg.append(element);
      const last = series[at].at(-1);
      const mark = make("span", { class: `key-${kind}` }, at === 0 ? "— " : "┄ ");
      caption.append(mark, `${line.name} `, make("b", {}, short(last)), at + 1 < plot.lines.length ? ", " : "");
    });
    svg.setAttribute("aria-label", `${caption.textContent}. Highest in two minutes: ${short(top)}`);
    caption.append(make("small", {}, ` · top ${short(top)}`));
    return make("figure", {}, svg, caption);
  });
  byId("plots").replaceChildren(...figures);
}

// Fills a table below its caption; the first column of a row is its heading.
function fill(id, columns, rows) {
  const table = byId(id);
  const caption = table.caption;
  const isNumber = (cell) => typeof cell === "number";
  const head = columns.map((name, at) => make("th", { scope: "col", class: rows.length && isNumber(rows[0][at]) ? "number" : "" }, name));
  const body = rows.map((row) => make("tr", {}, ...row.map((cell, at) => at === 0 ? make("th", { scope: "row" }, String(cell))
    : make("td", { class: isNumber(cell) ? "number" : "" }, isNumber(cell) ? cell.toLocaleString("en") : String(cell)))));
  table.replaceChildren(caption, ...(columns.length ? [make("thead", {}, make("tr", {}, ...head))] : []), make("tbody", {}, ...body));
}

function drawTables(now) {
  const first = pool(now);
  fill("clients", [], [["being served", first.cl_active], ["waiting", first.cl_waiting], ["idle", first.cl_idle],
    ["longest wait now, ms", Number(((first.maxwait * 1e6 + first.maxwait_us) / 1000).toFixed(1))]]);
  const prefix = "exclusive_";
  const reasons = Object.entries(first).filter(([key]) => key.startsWith(prefix) && !/_(lent|idle|max|opened)$/.test(key));
  fill("exclusive", [], [...reasons.map(([key, count]) => [key.slice(prefix.length).replaceAll("_", " "), count]),
    ["lent, of at most", `${first.exclusive_lent} of ${first.exclusive_max}`]]);
  const past = snapshots[Math.max(0, snapshots.length - 61)];
  const errors = Object.entries(now.errors).filter(([, count]) => count > 0);
  fill("errors", [], errors.length ? errors.map(([kind, count]) => [kind.replaceAll("_", " "),
    `${count.toLocaleString("en")} (${count - (past.errors[kind] ?? 0)})`]) : [["none", ""]]);
  const pools = now.pools;
  const shown = ["upstream", "state", "reason", "sv_active", "sv_idle", "sv_login", "sv_closing", "sv_target", "queue_jobs", "queue_bytes", "in_flight", "opened", "lost", "retried"];
  const columns = shown.filter((name) => pools.some((row) => name in row));
  fill("pools", columns.map((name) => name.replace("sv_", "workers ").replaceAll("_", " ")), pools.map((row) => columns.map((name) => row[name] ?? "")));
  const names = ["name", "node", "state", "in_flight", "requests", "opened", "connected_s"].filter((name) => now.workers.some((row) => name in row));
  fill("workers", names.map((name) => name.replace("_s", ", s").replaceAll("_", " ")), now.workers.map((row) => names.map((name) => row[name])));
  fill("slow", ["when", "total", "queue", "upstream", "requests", "first command", "client"], now.slow.map((entry) => [
    new Date(entry.time * 1000).toLocaleTimeString(), milliseconds(entry.total_us), milliseconds(entry.queue_us),
    milliseconds(entry.upstream_us), entry.requests, entry.command.join(" "), entry.addr]));
}

function draw(now) {
  const state = byId("state");
  state.textContent = now.ready ? "ready" : "not ready";
  state.className = `badge ${now.ready ? "up" : "down"}`;
  const first = pool(now);
  byId("summary").textContent = `version ${now.version} · ${first.cl_active + first.cl_waiting + first.cl_idle} clients on `
    + `${now.workers.length} connections to ${first.upstream}`;
  const notice = byId("notice");
  notice.hidden = now.ready;
  notice.textContent = now.ready ? "" : `Not ready: ${now.reason}`;
  drawPlots();
  drawTables(now);
}

function take(message) {
  const now = JSON.parse(message.data);
  // A new process counts from the beginning.
  if (snapshots.length && Math.abs(now.started - snapshots.at(-1).started) > 2) snapshots.length = 0;
  snapshots.push(now);
  if (snapshots.length > KEEP) snapshots.shift();
  draw(now);
}

const events = new EventSource("events");
events.addEventListener("snapshot", take);
events.addEventListener("config", (message) => fill("config", ["key", "value"], Object.entries(JSON.parse(message.data))));
events.addEventListener("error", () => {
  const state = byId("state");
  state.textContent = "no answer from the gateway";
  state.className = "badge down";
});
