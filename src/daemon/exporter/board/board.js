"use strict";

// The page of one node. It gets everything by server-sent events from the node's own monitor, and
// asks nothing of any other host. Texts are set as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";
const STALE_MS = 4000;
const SAMPLES = 120;
const samples = [];
let previous = null;
let lastAt = 0;

const byId = (id) => document.getElementById(id);

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function shape(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function duration(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const s = Math.floor(ms / 1000);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

function scaled(value, unit, base) {
  const prefixes = ["", "k", "M", "G", "T", "P"];
  let power = 0;
  while (value >= base && power < prefixes.length - 1) {
    value /= base;
    power += 1;
  }
  const digits = power === 0 || value >= 100 ? 0 : 1;
  return `${value.toFixed(digits)} ${prefixes[power]}${unit}`;
}

const bytes = (value) => scaled(value, "B", 1000);
const bits = (value) => scaled(value, "bit/s", 1000);

function isWell(report, member) {
  const own = member.id === report.view.me;
  const peer = report.view.peers[member.id];
  if (!own && (!peer || peer.verdict !== "alive")) return false;
  const fitness = own ? report.view.fitness : peer.fitness;
  return Boolean(fitness) && fitness.faults.length === 0 && !(fitness.unproven || []).length;
}

function condition(report, member) {
  const own = member.id === report.view.me;
  const peer = report.view.peers[member.id];
  const fitness = own ? report.view.fitness : peer && peer.fitness;
  const faults = fitness ? fitness.faults.concat(fitness.unproven || []) : [];
  const verdict = own ? "this node" : peer ? peer.verdict : "unknown";
  return faults.length ? `${verdict}: ${faults.join(", ")}` : verdict;
}

const nameOf = (member) => member.name || member.id;

// Groups on the left, nodes and fallbacks in use on the right, and an arrow from each group to the
// one that its routes lead to. What is drawn is kept while there are the same of all three, so that
// an arrow glides to its new end.
let drawn = null;

function box(of, name, x, y, width) {
  const title = shape("text", { x: x + 12, y: y + 20 }, name);
  const detail = shape("text", { x: x + 12, y: y + 38, class: "faint" });
  const group = shape("g", of, shape("rect", { x, y, width, height: 48, rx: 8 }), title, detail);
  return { group, detail };
}

function layOut(members, gateways, groups) {
  const ends = [
    ...members.map((member) => [member.id, nameOf(member), "data-node"]),
    ...gateways.map((gateway) => [gateway, gateway, "data-gateway"]),
  ];
  const rows = Math.max(ends.length, groups.length, 1);
  const at = (index, count) => 20 + ((index + 0.5) * rows * 64) / count - 24;
  const viewBox = `0 0 640 ${20 + rows * 64}`;
  const svg = shape("svg", { viewBox, class: "topology", role: "img" });
  const head = shape("path", { d: "M0 0 L8 4 L0 8 z", class: "head" });
  svg.append(shape("defs", {}, shape("marker", {
    id: "head", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7,
    orient: "auto",
  }, head)));
  const nodes = new Map();
  ends.forEach(([id, name, attribute], index) => {
    const y = at(index, ends.length);
    const made = box({ [attribute]: id }, name, 380, y, 250);
    svg.append(made.group);
    nodes.set(id, { ...made, middle: y + 24 });
  });
  const boxes = new Map();
  groups.forEach(([name], index) => {
    const y = at(index, groups.length);
    const made = box({ class: "group", "data-group": name }, name, 10, y, 200);
    const arrow = shape("path", { "marker-end": "url(#head)", "data-arrow": name });
    svg.append(made.group, arrow);
    boxes.set(name, { ...made, arrow, middle: y + 24 });
  });
  return { svg, nodes, boxes };
}

function drawTopology(report) {
  const members = report.roster.members;
  const groups = Object.entries(report.view.groups);
  const fallbacks = groups.map(([, group]) => group.fallback).filter(Boolean);
  const gateways = [...new Set(fallbacks)];
  const key = JSON.stringify([members.map((member) => [member.id, nameOf(member)]), gateways,
    groups.map(([name]) => name)]);
  if (!drawn || drawn.key !== key) {
    drawn = { key, ...layOut(members, gateways, groups) };
    byId("topology").replaceChildren(drawn.svg);
  }
  const sentences = [];
  for (const member of members) {
    const well = isWell(report, member);
    const { group, detail } = drawn.nodes.get(member.id);
    group.setAttribute("class", `node ${well ? "good" : "bad"}`);
    detail.textContent = [member.zone, condition(report, member)].filter(Boolean).join(" · ");
    sentences.push(`${nameOf(member)} is ${well ? "well" : condition(report, member)}.`);
  }
  for (const gateway of gateways) {
    const { group, detail } = drawn.nodes.get(gateway);
    group.setAttribute("class", "node gateway");
    detail.textContent = "NAT gateway · fallback";
  }
  for (const [name, group] of groups) {
    const { detail, arrow, middle } = drawn.boxes.get(name);
    const count = Object.keys(group.targets).length;
    detail.textContent = group.doing || `${count} ${count === 1 ? "resource" : "resources"}`;
    const holder = members.find((member) => member.id === group.holder);
    const end = holder ? holder.id : group.fallback;
    arrow.setAttribute("data-holder", end || "");
    if (!end) {
      arrow.setAttribute("class", "arrow none");
      sentences.push(`No single node holds ${name}.`);
      continue;
    }
    const to = drawn.nodes.get(end).middle;
    const away = !holder || (group.home && group.home !== group.holder);
    const classes = ["arrow", away ? "away" : "", group.doing ? "moving" : ""].filter(Boolean);
    arrow.setAttribute("class", classes.join(" "));
    arrow.setAttribute("d", `M210 ${middle} C300 ${middle} 290 ${to} 376 ${to}`);
    sentences.push(holder
      ? `${nameOf(holder)} serves ${name}.`
      : `The fallback ${end} serves ${name}.`);
  }
  drawn.svg.setAttribute("aria-label", sentences.join(" "));
}

function drawFindings(findings) {
  const lines = findings.map((finding) => element("li", {}, finding));
  const none = element("li", { class: "none" }, "Nothing.");
  byId("findings").replaceChildren(...(lines.length ? lines : [none]));
}

// The phases in the order of time. Each but the first has the time since the one before it.
function phases(change) {
  const inOrder = [...change.phases].sort((one, other) => one.after_ms - other.after_ms);
  const steps = inOrder.map((step, index) => {
    if (index === 0) return element("li", {}, step.phase);
    const took = duration(step.after_ms - inOrder[index - 1].after_ms);
    return element("li", {}, element("b", {}, step.phase), ` ${took} later`);
  });
  return element("ol", { class: "phases", "aria-label": "Phases" }, ...steps);
}

const LEVELS = { failed: "alert", dropped: "alert", interrupted: "warning", superseded: "warning" };

function drawChanges(report, changes) {
  const lines = changes.map((change) => element("li", {
      class: LEVELS[change.result] || "info", "data-change": change.kind,
    },
    element("span", { class: "when" }, `${duration(report.now_ms - change.at_ms)} ago`),
    element("span", { class: "kind" }, change.kind),
    change.headline,
    element("p", { class: "reason" }, change.reason),
    phases(change)));
  const none = element("li", { class: "nothing" }, "None since the monitor started.");
  byId("changes").replaceChildren(...(lines.length ? lines : [none]));
}

function drawEvents(report) {
  const members = new Map(report.roster.members.map((member) => [member.id, nameOf(member)]));
  const latest = report.events.slice(-20).reverse();
  const lines = latest.map((event) => {
    const about = [event.node && (members.get(event.node) || event.node), event.group];
    const took = event.took_ms === null || event.took_ms === undefined
      ? "" : ` (in ${duration(event.took_ms)})`;
    return element("li", { class: event.level },
      element("span", { class: "when" }, `${duration(report.now_ms - event.at_ms)} ago`),
      element("span", { class: "kind" }, event.kind),
      `${about.filter(Boolean).join(" ")} ${event.text}${took}`);
  });
  const none = element("li", { class: "nothing" }, "None since the monitor started.");
  byId("events").replaceChildren(...(lines.length ? lines : [none]));
}

function drawTraffic(board) {
  const rows = [];
  const add = (name, value) => rows.push(element("dt", {}, name), element("dd", {}, value));
  const now = performance.now();
  if (board.traffic && previous && previous.traffic) {
    const seconds = (now - previous.at) / 1000;
    // A table that was loaded anew counts from zero.
    const rate = (key) => Math.max(0, board.traffic[key] - previous.traffic[key]) / seconds;
    const sample = { out: rate("bytes_out") * 8, in: rate("bytes_in") * 8 };
    samples.push(sample);
    if (samples.length > SAMPLES) samples.shift();
    add("to the internet", bits(sample.out));
    add("from the internet", bits(sample.in));
    add("packets", `${Math.round(rate("packets_out") + rate("packets_in"))}/s`);
    add("new connections", `${Math.round(rate("new_connections"))}/s`);
    add("dropped", `${Math.round(rate("dropped"))}/s`);
  }
  if (board.connections) {
    add("connections", `${board.connections.now} of ${board.connections.limit}`);
  }
  if (!rows.length) add("This host is no NAT.", "");
  byId("traffic").replaceChildren(...rows);
  if (board.traffic) previous = { at: now, traffic: board.traffic };
  drawChart();
}

function drawChart() {
  const most = Math.max(1, ...samples.map((sample) => Math.max(sample.out, sample.in)));
  const line = (key) => {
    const points = samples.map((sample, index) => {
      const x = 240 - (samples.length - 1 - index) * (240 / (SAMPLES - 1));
      return `${x.toFixed(1)},${(58 - (sample[key] / most) * 54).toFixed(1)}`;
    });
    return shape("polyline", { class: key, points: points.join(" ") });
  };
  byId("chart").replaceChildren(line("out"), line("in"));
}

function drawTalkers(id, talkers) {
  const head = element("thead", {}, element("tr", {},
    ...["host", "sent", "received", "connections"].map((name) =>
      element("th", { scope: "col" }, name))));
  const body = element("tbody", {}, ...(talkers || []).slice(0, 10).map((talker) =>
    element("tr", {},
      element("td", {}, talker.host),
      element("td", {}, bytes(talker.sent)),
      element("td", {}, bytes(talker.received)),
      element("td", {}, String(talker.connections)))));
  const none = element("caption", { class: "nothing" },
    talkers ? "No traffic yet." : "Not counted: host.accounting is off.");
  byId(id).replaceChildren(...(talkers && talkers.length ? [head, body] : [none]));
}

function show(board) {
  const report = board.report;
  const own = report.roster.members.find((member) => member.id === report.view.me);
  const title = `natha · ${report.cluster} · ${own ? nameOf(own) : report.view.me}`;
  document.title = title;
  byId("title").textContent = title;
  const count = board.findings.length;
  const state = byId("state");
  const text = count === 0 ? "All is well." : `${count} ${count === 1 ? "thing needs" : "things need"} attention.`;
  // Announced by screen readers only when it changes.
  if (state.textContent !== text) state.textContent = text;
  state.className = count === 0 ? "good" : "bad";
  drawTopology(report);
  drawFindings(board.findings);
  drawTraffic(board);
  drawChanges(report, board.changes);
  drawEvents(report);
  drawTalkers("sources", board.talkers && board.talkers.sources);
  drawTalkers("destinations", board.talkers && board.talkers.destinations);
  lastAt = performance.now();
}

function showStale() {
  if (performance.now() - lastAt < STALE_MS) return;
  const state = byId("state");
  const text = "No news from the monitor: what is shown may be old.";
  if (state.textContent !== text) state.textContent = text;
  state.className = "bad";
}

function listen() {
  const source = new EventSource("events");
  source.addEventListener("message", (event) => show(JSON.parse(event.data)));
  source.addEventListener("error", () => {
    // The browser tries again by itself unless the answer was no stream.
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, STALE_MS);
  });
}

setInterval(showStale, 1000);
listen();
