"use strict";
// The page's data: see html.rs for its form. All text goes into the page as text nodes.
const D = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const N = D.ends.length;
const [NAME, GROUP, FULL, ALONE, ISO] = [0, 1, 2, 3, 4];
const [BLANK, NONE, PORTS, ALL, MIXED] = [0, 1, 2, 3, 4];

// --- data -------------------------------------------------------------------------------
const rows = D.rows.map((text) => {
  const row = new Uint32Array(N);
  let at = 0;
  for (const run of text.split(",")) {
    const [id, count] = run.split("*");
    const end = at + (count === undefined ? 1 : parseInt(count, 36));
    row.fill(parseInt(id, 36), at, end);
    at = end;
  }
  return row;
});
const cellOf = (from, to) => D.cells[rows[D.row[from]][to]];
const members = D.groups.map(() => []);
D.ends.forEach((end, at) => members[end[GROUP]].push(at));
const inRanges = (ranges, at) => {
  for (const [first, last] of ranges) if (first <= at && at <= last) return true;
  return false;
};
const ranges = (text) => (text === "" ? [] : text.split(",").map((one) => {
  const [first, last] = one.split("-").map((digits) => parseInt(digits, 36));
  return [first, last === undefined ? first : last];
}));
const rules = D.rules.map(([policy, direction, index, place, ports, peers, v4, v6]) => ({
  policy, direction, index, place, ports, peers, peersOf: [ranges(v4), v6 === null ? ranges(v4) : ranges(v6)],
}));
const rulesOf = D.policies.map(() => [[], []]);
rules.forEach((rule) => rulesOf[rule.policy][rule.direction].push(rule));

// A name within its namespace's circle.
D.short = D.ends.map((end) => end[NAME].startsWith(`${D.groups[end[GROUP]]}/`) ? end[NAME].slice(D.groups[end[GROUP]].length + 1) : end[NAME]);

// --- what is shown ----------------------------------------------------------------------
const folded = new Set();
if (N > 60) D.groups.forEach((_, group) => members[group].length > 1 && folded.add(group));
let items = [];
let mixes = new Map();
let selected = { row: 0, column: 0 };
let focusEnd = null;
let view = "matrix";
function arrange() {
  items = [];
  D.groups.forEach((name, group) => {
    if (folded.has(group)) items.push({ name: `${name} (${members[group].length})`, group, ends: members[group] });
    else for (const end of members[group]) items.push({ name: D.ends[end][NAME], group, ends: [end] });
  });
  mixes = new Map();
  selected.row = Math.min(selected.row, items.length - 1);
  selected.column = Math.min(selected.column, items.length - 1);
}
// A cell of D.cells, or MIXED.
function shown(row, column) {
  const [from, to] = [items[row], items[column]];
  if (from.ends.length === 1 && to.ends.length === 1) {
    const [one, other] = [from.ends[0], to.ends[0]];
    return one === other && D.ends[one][ALONE] ? D.blank : cellOf(one, other);
  }
  const key = row * items.length + column;
  if (!mixes.has(key)) mixes.set(key, mix(from.ends, to.ends));
  return mixes.get(key);
}
function mix(from, to) {
  let first = null;
  for (const one of from) {
    const row = rows[D.row[one]];
    for (const other of to) {
      if (one === other && D.ends[one][ALONE]) continue;
      if (first === null) first = row[other];
      else if (first !== row[other]) return [null, null, MIXED];
    }
  }
  return first === null ? D.blank : D.cells[first];
}
const sameOrOnly = (cell) => cell[0] === null || cell[1] === null || cell[0] === cell[1];
const portsOf = (cell) => cell[2] === BLANK ? "no question" : sameOrOnly(cell)
  ? (cell[0] === null ? cell[1] : cell[0]) : `IPv4 ${cell[0]}; IPv6 ${cell[1]}`;

// --- drawing ----------------------------------------------------------------------------
const [scroll, canvas, spacer] = [byId("scroll"), byId("canvas"), byId("spacer")];
const pen = canvas.getContext("2d");
const [W, H] = [46, 22];
let [LEFT, TOP] = [220, 150];
let colours = {};
function readColours() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["bg", "panel", "fg", "dim", "line", "band", "all", "ports", "none", "nonefg", "some", "sel"])
    colours[name] = style.getPropertyValue(`--${name}`).trim();
}
let waiting = false;
function draw() {
  if (!waiting) { waiting = true; requestAnimationFrame(() => { waiting = false; view === "matrix" ? drawMatrix() : drawGraph(); }); }
}
function fit() {
  const [width, height, ratio] = [scroll.clientWidth, scroll.clientHeight, window.devicePixelRatio || 1];
  if (canvas.width !== width * ratio || canvas.height !== height * ratio) {
    canvas.width = width * ratio; canvas.height = height * ratio;
    canvas.style.width = `${width}px`; canvas.style.height = `${height}px`;
  }
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  return [width, height];
}
function cut(text, width) {
  if (pen.measureText(text).width <= width) return text;
  let end = text.length;
  while (end > 1 && pen.measureText(text.slice(0, end) + "…").width > width) end--;
  return text.slice(0, end) + "…";
}
function resizeSpacer() {
  pen.font = "12px system-ui, sans-serif";
  const longest = Math.max(60, ...items.map((item) => Math.min(260, pen.measureText(item.name).width)));
  LEFT = longest + 44; TOP = Math.min(190, longest * 0.8 + 30);
  const [width, height] = view === "matrix" ? [LEFT + items.length * W + 90, TOP + items.length * H + 16] : [1, 1];
  spacer.style.width = `${width}px`;
  // The canvas is part of the flow: as high as the view.
  spacer.style.height = `${Math.max(0, height - scroll.clientHeight)}px`;
}
function drawMatrix() {
  const [width, height] = fit();
  const [x0, y0] = [scroll.scrollLeft, scroll.scrollTop];
  pen.fillStyle = colours.bg; pen.fillRect(0, 0, width, height);
  const range = (offset, size, step) => [Math.max(0, Math.floor(offset / step)), Math.min(items.length, Math.ceil((offset + size) / step) + 1)];
  const [r0, r1] = range(y0, height - TOP, H);
  const [c0, c1] = range(x0, width - LEFT, W);
  pen.font = "11px system-ui, sans-serif"; pen.textBaseline = "middle"; pen.textAlign = "center";
  for (let row = r0; row < r1; row++) for (let column = c0; column < c1; column++) {
    drawCell(shown(row, column), LEFT + column * W - x0, TOP + row * H - y0);
  }
  pen.strokeStyle = colours.sel; pen.lineWidth = 2;
  pen.strokeRect(LEFT + selected.column * W - x0, TOP + selected.row * H - y0, W - 2, H - 2);
  drawHeads(width, height, x0, y0, [r0, r1], [c0, c1]);
}
function drawCell(cell, x, y) {
  const level = cell[2];
  if (level === BLANK) { pen.fillStyle = colours.line; pen.fillRect(x + W / 2 - 4, y + H / 2 - 1, 6, 1); return; }
  pen.fillStyle = [null, colours.none, colours.ports, colours.all, colours.some][level];
  pen.fillRect(x, y, W - 2, H - 2);
  const differs = level !== MIXED && !sameOrOnly(cell);
  const text = level === NONE ? "·" : level === ALL ? "●" : level === MIXED ? "◐" : portsOf(cell);
  pen.fillStyle = level === NONE ? colours.nonefg : colours.fg;
  pen.fillText(cut(differs ? "~" + (level === NONE ? "" : text) : text, W - 6), x + W / 2 - 1, y + H / 2 - 1);
}
function drawHeads(width, height, x0, y0, [r0, r1], [c0, c1]) {
  pen.font = "12px system-ui, sans-serif"; pen.textAlign = "left";
  pen.fillStyle = colours.bg; pen.fillRect(0, 0, width, TOP - 2); pen.fillRect(0, 0, LEFT - 4, height);
  for (let row = r0; row < r1; row++) {
    const y = TOP + row * H - y0;
    if (y < TOP - H) continue;
    pen.save(); pen.beginPath(); pen.rect(0, TOP - 2, LEFT, height); pen.clip();
    pen.fillStyle = items[row].group % 2 ? colours.band : colours.line; pen.fillRect(2, y, 8, H - 2);
    pen.fillStyle = row === selected.row ? colours.sel : colours.fg;
    pen.fillText((items[row].ends.length > 1 ? "▸ " : "") + cut(items[row].name, LEFT - 34), 16, y + H / 2);
    pen.restore();
  }
  for (let column = c0; column < c1; column++) {
    const x = LEFT + column * W - x0;
    pen.save(); pen.beginPath(); pen.rect(LEFT - 4, 0, width, TOP); pen.clip();
    pen.translate(x + W / 2 - 6, TOP - 8); pen.rotate(-Math.PI / 3.4);
    pen.fillStyle = column === selected.column ? colours.sel : colours.fg;
    pen.fillText(cut(items[column].name, TOP * 1.2 - 14), 0, 0);
    pen.restore();
  }
  pen.fillStyle = colours.bg; pen.fillRect(0, 0, LEFT - 4, TOP - 2);
  pen.fillStyle = colours.dim; pen.fillText("from ↓   to →", 16, TOP - 14);
}

// --- graph ------------------------------------------------------------------------------
const EDGES_MAX = 2500;
let camera = null;
let places = null;
const isolates = (end, direction) => [0, 2].some((family) => {
  const iso = D.ends[end][ISO][family + direction];
  return iso !== null && D.isolations[iso][0] !== 0;
});
// Edges that a policy decides: of what no policy isolates, everything is one.
let edges = null;
function findEdges() {
  edges = [];
  const [sends, receives] = [0, 1].map((way) => D.ends.map((_, end) => isolates(end, way)));
  for (let from = 0; from < N; from++) {
    const row = rows[D.row[from]];
    for (let to = 0; to < N; to++) {
      const level = D.cells[row[to]][2];
      if (from !== to && level > NONE && (sends[from] || receives[to])) edges.push([from, to, level]);
    }
  }
}
function place() {
  places = new Array(N);
  const used = D.groups.map((_, group) => group).filter((group) => members[group].length);
  const radii = used.map((group) => 26 + 13 * Math.sqrt(members[group].length) * 1.5);
  const round = radii.reduce((sum, radius) => sum + 2 * radius + 60, 0) / (2 * Math.PI);
  const ring = used.length < 2 ? 0 : Math.max(round, 170);
  let angle = 0;
  used.forEach((group, at) => {
    angle += (radii[at] + 30) / Math.max(ring, 1);
    const [x, y] = [Math.cos(angle) * ring, Math.sin(angle) * ring];
    angle += (radii[at] + 30) / Math.max(ring, 1);
    members[group].forEach((end, index) => {
      const [turn, away] = [index * 2.399963, 17 * Math.sqrt(index + (members[group].length > 1 ? 0.6 : 0))];
      places[end] = [x + Math.cos(turn) * away, y + Math.sin(turn) * away];
    });
    clusters.push([x, y, radii[at], D.groups[group]]);
  });
}
const clusters = [];
function drawGraph() {
  const [width, height] = fit();
  if (!places) { place(); findEdges(); }
  if (!camera) {
    const sides = [-1, 1].map((side) => [0, 1].map((axis) => side * Math.max(...clusters.map((one) => side * one[axis] + one[2] + 30))));
    const [[left, top], [right, bottom]] = sides;
    const zoom = Math.min(2, width / (right - left), (height - 30) / (bottom - top));
    camera = { x: width / 2 - zoom * (left + right) / 2, y: (height - 30) / 2 - zoom * (top + bottom) / 2, zoom };
  }
  pen.fillStyle = colours.bg; pen.fillRect(0, 0, width, height);
  pen.save(); pen.translate(camera.x, camera.y); pen.scale(camera.zoom, camera.zoom);
  pen.textAlign = "center"; pen.textBaseline = "middle";
  for (const [x, y, radius, name] of clusters) {
    pen.beginPath(); pen.arc(x, y, radius, 0, 7); pen.fillStyle = colours.band; pen.fill();
    pen.fillStyle = colours.dim; pen.font = `${Math.max(11, 12 / camera.zoom)}px system-ui, sans-serif`;
    pen.fillText(name, x, y - radius - 9 / camera.zoom);
  }
  const quiet = edges.length > EDGES_MAX;
  for (const own of [false, true]) for (const [from, to, level] of edges) {
    const isOwn = from === focusEnd || to === focusEnd;
    if (isOwn !== own || (quiet && !own)) continue;
    drawEdge(from, to, own ? (from === focusEnd ? colours.sel : colours.fg) : level === ALL ? colours.all : colours.ports, own);
  }
  const names = camera.zoom * 17 > 16 || N < 80;
  for (let end = 0; end < N; end++) {
    const [x, y] = places[end];
    const open = !isolates(end, 0) && !isolates(end, 1);
    pen.beginPath(); pen.arc(x, y, 5, 0, 7); pen.fillStyle = open ? colours.panel : colours.fg; pen.fill();
    pen.strokeStyle = end === focusEnd ? colours.sel : colours.fg; pen.lineWidth = end === focusEnd ? 3 : 1; pen.stroke();
    if (names || end === focusEnd) {
      pen.fillStyle = end === focusEnd ? colours.sel : colours.fg; pen.font = `${11 / Math.max(camera.zoom, 0.8)}px system-ui, sans-serif`;
      pen.fillText(D.short[end], x, y + 13);
    }
  }
  pen.restore();
  pen.fillStyle = colours.dim; pen.font = "12px system-ui, sans-serif"; pen.textAlign = "left";
  pen.fillText("Lines are what a policy decides and lets pass. ○ is isolated by no policy." + (quiet ? ` ${edges.length} lines: choose an end to see its own.` : ""), 14, height - 14);
}
function drawEdge(from, to, colour, own) {
  const [[x1, y1], [x2, y2]] = [places[from], places[to]];
  const [mx, my] = [(x1 + x2) / 2 + (y2 - y1) * 0.12, (y1 + y2) / 2 - (x2 - x1) * 0.12];
  pen.beginPath(); pen.moveTo(x1, y1); pen.quadraticCurveTo(mx, my, x2, y2);
  pen.strokeStyle = colour; pen.lineWidth = own ? 1.8 : 1; pen.stroke();
  const angle = Math.atan2(y2 - my, x2 - mx);
  const [tx, ty] = [x2 - Math.cos(angle) * 6, y2 - Math.sin(angle) * 6];
  pen.beginPath(); pen.moveTo(tx, ty);
  for (const side of [-0.4, 0.4]) pen.lineTo(tx - Math.cos(angle + side) * 7, ty - Math.sin(angle + side) * 7);
  pen.fillStyle = colour; pen.fill();
}

// --- explanations -----------------------------------------------------------------------
const panel = byId("panel");
function add(parent, tag, text, kind) {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  if (kind) node.className = kind;
  parent.append(node);
  return node;
}
function link(parent, text, action) {
  const node = add(parent, "button", text, "link");
  node.addEventListener("click", action);
  return node;
}
function welcome() {
  panel.replaceChildren();
  add(panel, "h2", `${N} ends`);
  add(panel, "p", "Choose a cell: which policies and rules allow or deny it. Choose a name: whom it reaches, and who reaches it.");
  add(panel, "p", "A pod always reaches itself and its own node, and its node reaches it, whatever policies say. A node here is one that the pod is not on.", "dim");
}
function explain(from, to) {
  panel.replaceChildren();
  const cell = cellOf(from, to);
  const title = add(panel, "h2");
  link(title, D.ends[from][NAME], () => about(from)); title.append("→ "); link(title, D.ends[to][NAME], () => about(to));
  if (from === to && D.ends[from][ALONE]) { add(panel, "p", "A pod always reaches itself."); return; }
  if (cell[2] === BLANK) { add(panel, "p", "No policy can decide this: neither is a pod, or they have no addresses of one family."); return; }
  add(panel, "p", cell[2] === NONE ? "denied" : cell[2] === ALL ? "allowed, all ports" : `allowed: ${portsOf(cell)}`, cell[2] === NONE ? "bad" : "good");
  const [v4, v6] = [0, 1].map((family) => cell[family] === null ? null : side(from, to, family));
  if (v4 && v6 && v4.textContent === v6.textContent) panel.append(v4);
  else for (const [name, node] of [["IPv4", v4], ["IPv6", v6]]) if (node) { add(panel, "h3", name); panel.append(node); }
}
function side(from, to, family) {
  const box = document.createElement("div");
  for (const direction of [0, 1]) {
    const [pod, peer] = direction ? [to, from] : [from, to];
    add(box, "h3", `${direction ? "ingress" : "egress"} of ${D.ends[pod][NAME]}`);
    const [kind, policies] = D.isolations[D.ends[pod][ISO][family * 2 + direction]];
    if (kind === 0) { add(box, "p", "allowed: no policy isolates it"); continue; }
    if (kind === 2) { add(box, "p", "denied: pods that differ report this address", "bad"); continue; }
    add(box, "p", `isolated by ${policies.length === 1 ? "1 policy" : policies.length + " policies"}: only what a rule allows may pass`);
    const list = add(box, "ul");
    for (const policy of policies) {
      const [key, place] = D.policies[policy];
      const item = add(list, "li", key);
      if (place) add(item, "code", `  ${place}`, "dim");
      const inner = add(item, "ul");
      const own = rulesOf[policy][direction];
      if (!own.length) add(inner, "li", "has no rules: allows nothing", "dim");
      for (const rule of own) {
        const matches = inRanges(rule.peersOf[family], peer);
        const line = add(inner, "li");
        add(line, "span", matches ? "✔ " : "✘ ", matches ? "good" : "bad");
        line.append(`${direction ? "ingress" : "egress"}[${rule.index}] ${direction ? "from" : "to"} ${rule.peers}, ports ${rule.ports}`);
        if (rule.place) add(line, "code", `  ${rule.place}`, "dim");
      }
    }
  }
  return box;
}
function about(end) {
  focusEnd = end;
  panel.replaceChildren();
  add(panel, "h2", D.ends[end][NAME]);
  add(panel, "p", D.ends[end][FULL], "dim");
  for (const [title, other] of [["Reached by", (at) => [at, end]], ["Reaches", (at) => [end, at]]]) {
    const found = new Map();
    for (let at = 0; at < N; at++) {
      const [from, to] = other(at);
      const cell = cellOf(from, to);
      if ((from === to && D.ends[from][ALONE]) || cell[2] < PORTS) continue;
      const ports = portsOf(cell);
      if (!found.has(ports)) found.set(ports, []);
      found.get(ports).push([at, from, to]);
    }
    add(panel, "h3", title);
    if (!found.size) add(panel, "p", "nobody");
    for (const [ports, list] of found) {
      const line = add(panel, "p", `${ports}: `);
      for (const [at, from, to] of list.slice(0, 60)) link(line, D.ends[at][NAME], () => explain(from, to));
      if (list.length > 60) line.append(`and ${list.length - 60} more`);
    }
  }
  draw();
}
function choose(row, column, open) {
  selected = { row, column };
  const [from, to] = [items[row], items[column]];
  if (from.ends.length === 1 && to.ends.length === 1) explain(from.ends[0], to.ends[0]);
  else if (open) { for (const item of [from, to]) if (item.ends.length > 1) folded.delete(item.group); rearranged(from, to); }
  else {
    panel.replaceChildren();
    const cell = shown(row, column);
    add(panel, "h2", `${from.name} → ${to.name}`);
    add(panel, "p", cell[2] === MIXED ? "differs from pair to pair" : cell[2] === NONE ? "denied" : portsOf(cell));
    link(panel, "Open both (Enter)", () => choose(row, column, true));
  }
  draw();
}
function rearranged(from, to) {
  arrange(); resizeSpacer();
  const find = (item) => item ? Math.max(0, items.findIndex((one) => one.ends.includes(item.ends[0]))) : 0;
  selected = { row: find(from), column: find(to) };
  reveal(); draw();
}
function reveal() {
  const [x, y] = [selected.column * W, selected.row * H];
  const [width, height] = [scroll.clientWidth - LEFT, scroll.clientHeight - TOP];
  if (x < scroll.scrollLeft) scroll.scrollLeft = x;
  if (x + W > scroll.scrollLeft + width) scroll.scrollLeft = x + W - width;
  if (y < scroll.scrollTop) scroll.scrollTop = y;
  if (y + H > scroll.scrollTop + height) scroll.scrollTop = y + H - height;
}
function jump(from, to) {
  for (const end of [from, to]) folded.delete(D.ends[end][GROUP]);
  rearranged({ ends: [from] }, { ends: [to] });
  if (from === to) about(from); else { focusEnd = from; explain(from, to); }
}

// --- input ------------------------------------------------------------------------------
function hit(event) {
  const box = canvas.getBoundingClientRect();
  const [x, y] = [event.clientX - box.left, event.clientY - box.top];
  const column = Math.floor((x - LEFT + scroll.scrollLeft) / W);
  const row = Math.floor((y - TOP + scroll.scrollTop) / H);
  return { x, y, row: y < TOP ? -1 : row, column: x < LEFT ? -1 : column };
}
function nearest(event) {
  const { x, y } = hit(event);
  const [wx, wy] = [(x - camera.x) / camera.zoom, (y - camera.y) / camera.zoom];
  let best = null, distance = 14 / Math.min(camera.zoom, 1);
  places.forEach(([px, py], end) => { const away = Math.hypot(px - wx, py - wy); if (away < distance) [best, distance] = [end, away]; });
  return best;
}
canvas.addEventListener("click", (event) => {
  if (view === "graph") { if (moved < 5) { const end = nearest(event); if (end !== null) about(end); } return; }
  const { row, column } = hit(event);
  if (row >= items.length || column >= items.length) return;
  if (row >= 0 && column >= 0) choose(row, column, false);
  else if (row >= 0 || column >= 0) {
    const item = items[Math.max(row, column)];
    if (item.ends.length > 1) { folded.delete(item.group); rearranged(item, item); } else about(item.ends[0]);
  }
});
canvas.addEventListener("dblclick", (event) => {
  const { row, column } = hit(event);
  if (view === "matrix" && row >= 0 && column >= 0 && row < items.length && column < items.length) choose(row, column, true);
});
let drag = null, moved = 0;
canvas.addEventListener("pointerdown", (event) => { moved = 0; if (view === "graph") drag = [event.clientX, event.clientY]; });
window.addEventListener("pointerup", () => { drag = null; });
window.addEventListener("pointermove", (event) => {
  if (!drag) return;
  const [dx, dy] = [event.clientX - drag[0], event.clientY - drag[1]];
  moved += Math.abs(dx) + Math.abs(dy); camera.x += dx; camera.y += dy; drag = [event.clientX, event.clientY]; draw();
});
canvas.addEventListener("wheel", (event) => {
  if (view !== "graph") return;
  event.preventDefault();
  const { x, y } = hit(event);
  const factor = event.deltaY < 0 ? 1.15 : 1 / 1.15;
  camera.x = x - (x - camera.x) * factor; camera.y = y - (y - camera.y) * factor; camera.zoom *= factor; draw();
}, { passive: false });
scroll.addEventListener("scroll", draw);
window.addEventListener("resize", () => { camera = null; resizeSpacer(); draw(); });

function show(name) {
  view = name;
  byId("show-matrix").setAttribute("aria-pressed", name === "matrix"); byId("show-graph").setAttribute("aria-pressed", name === "graph");
  scroll.scrollTo(0, 0); resizeSpacer(); draw();
}
function foldAll() {
  const many = D.groups.map((_, group) => group).filter((group) => members[group].length > 1);
  const open = many.some((group) => !folded.has(group));
  many.forEach((group) => open ? folded.add(group) : folded.delete(group));
  rearranged(items[selected.row], items[selected.column]);
}
function theme() {
  const now = document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  document.documentElement.dataset.theme = now === "dark" ? "light" : "dark";
  readColours(); draw();
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); draw(); });
byId("show-matrix").addEventListener("click", () => show("matrix"));
byId("show-graph").addEventListener("click", () => show("graph"));
byId("fold").addEventListener("click", foldAll);
byId("theme").addEventListener("click", theme);

const [search, found] = [byId("search"), byId("found")];
let choices = [], choice = 0;
const matching = (text) => {
  const word = text.trim().toLowerCase();
  if (!word) return [];
  const all = [];
  D.ends.forEach((end, at) => { const place = end[NAME].toLowerCase().indexOf(word); if (place >= 0) all.push([place && end[NAME][place - 1] !== "/" ? 1 : 0, end[NAME].length, at]); });
  return all.sort((one, other) => one[0] - other[0] || one[1] - other[1]).map(([, , at]) => at);
};
function look() {
  const [from, to] = search.value.split(/->|→|>/);
  choices = to === undefined ? matching(from).slice(0, 30).map((end) => [end, end])
    : matching(from).slice(0, 6).flatMap((one) => matching(to).slice(0, 6).map((other) => [one, other]));
  choice = 0;
  found.replaceChildren();
  choices.forEach(([one, other], at) => {
    const item = add(found, "li", one === other ? D.ends[one][NAME] : `${D.ends[one][NAME]} → ${D.ends[other][NAME]}`);
    item.setAttribute("role", "option");
    item.addEventListener("mousedown", (event) => { event.preventDefault(); choice = at; take(); });
  });
  mark();
  found.hidden = !choices.length;
}
function mark() { [...found.children].forEach((item, at) => { item.setAttribute("aria-selected", at === choice); if (at === choice) item.scrollIntoView({ block: "nearest" }); }); }
function take() { if (choices[choice]) { jump(...choices[choice]); found.hidden = true; scroll.focus(); } }
search.addEventListener("input", look);
search.addEventListener("blur", () => { found.hidden = true; });
search.addEventListener("keydown", (event) => {
  if (event.key === "ArrowDown" || event.key === "ArrowUp") { choice = (choice + (event.key === "ArrowDown" ? 1 : choices.length - 1)) % Math.max(1, choices.length); mark(); event.preventDefault(); }
  else if (event.key === "Enter") take();
  else if (event.key === "Escape") { search.value = ""; found.hidden = true; scroll.focus(); }
  event.stopPropagation();
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], PageUp: [-20, 0], PageDown: [20, 0] }[event.key];
  if (step && view === "matrix" && document.activeElement !== search) {
    const clamp = (at) => Math.max(0, Math.min(items.length - 1, at));
    choose(clamp(selected.row + step[0]), clamp(selected.column + step[1]), false); reveal(); event.preventDefault(); return;
  }
  const keys = { "/": () => search.focus(), m: () => show("matrix"), g: () => show("graph"), f: foldAll, d: theme, Escape: () => { focusEnd = null; welcome(); draw(); } };
  if (event.key === "Enter" && document.activeElement === scroll) { choose(selected.row, selected.column, true); event.preventDefault(); }
  else if (keys[event.key]) { keys[event.key](); event.preventDefault(); }
});

// `#graph`, `#dark`, `#search=prometheus > cart`: for links, and for pictures of the page.
for (const word of location.hash.slice(1).split("&")) {
  if (word === "dark" || word === "light") document.documentElement.dataset.theme = word;
  if (word === "graph") view = "graph";
}
readColours(); arrange(); welcome(); show(view);
for (const word of location.hash.slice(1).split("&")) {
  if (word.startsWith("search=")) { search.value = decodeURIComponent(word.slice(7)); look(); take(); search.value = ""; }
}
