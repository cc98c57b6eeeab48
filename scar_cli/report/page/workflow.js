// The workflow as a picture: layers from left to right (top down on a phone), with the number of files on each arrow.

const LEAST_SCALE = 0.8;
const BOX = { padding: 14, line: 18, stripe: 4 };
const measure = document.createElement("canvas").getContext("2d");

function textWidth(text, font) {
  measure.font = `${font} ${getComputedStyle(document.body).fontFamily}`;
  return measure.measureText(text).width;
}

const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

function workflowPicture(report, width) {
  const { nodes, edges } = report.workflow;
  const boxes = nodes.map((node, index) => boxOf(node, index, report));
  const ranks = ranksOf(nodes.length, edges);
  let layout = placed(boxes, edges, ranks, false);
  // A picture that is a little too wide is shrunk; one that is much too wide runs down the page.
  if (layout.width * LEAST_SCALE > width) {
    const tall = placed(boxes, edges, ranks, true);
    if (tall.width < layout.width) layout = tall;
  }
  const scale = Math.max(LEAST_SCALE, Math.min(1, width / layout.width));
  const most = Math.max(1, ...edges.map((edge) => edge.files ?? 0));
  const lines = edges.map((edge, index) => drawnEdge(edge, layout, index, most));
  return s("svg", { viewBox: `0 0 ${layout.width} ${layout.height}`, width: Math.floor(layout.width * scale), height: Math.floor(layout.height * scale), role: "group", "aria-label": "The workflow, with the number of files on its arrows" },
    lines.map(([line]) => line), boxes.map((box) => drawnBox(box, layout)), lines.map(([, label]) => label));
}

function boxOf(node, index, report) {
  const one = node.function === null || node.function === undefined ? null : report.functions[node.function];
  const title = cut(visible(node.title), 34);
  const lines = (node.lines ?? []).map((line) => cut(visible(line), 38));
  if (one) {
    const total = one.durations?.total;
    lines.push(`${plural(one.runs, "run")}${total ? `, median ${duration(total.p50_ms)}` : ""}`);
  }
  const wide = Math.max(textWidth(title, "600 14px"), ...lines.map((line) => textWidth(line, "13px")));
  return { node, index, one, title, lines, width: Math.ceil(Math.max(wide + 2 * BOX.padding + 4, 96)), height: 20 + (lines.length + 1) * BOX.line + (one ? 10 : 0) };
}

/** The number of arrows on the longest way to each node; arrows that close a loop do not count. */
function ranksOf(count, edges) {
  const following = Array.from({ length: count }, () => []);
  const entered = new Uint8Array(count);
  for (const { source, target } of edges) { following[source].push(target); entered[target] = 1; }
  const state = new Uint8Array(count);
  const order = [];
  const back = new Set();
  const starts = [...Array(count).keys()].sort((a, b) => entered[a] - entered[b]);
  for (const start of starts) {
    if (state[start]) continue;
    const path = [[start, 0]];
    state[start] = 1;
    while (path.length) {
      const top = path.at(-1);
      const target = following[top[0]][top[1]];
      top[1] += 1;
      if (target === undefined) { state[top[0]] = 2; order.push(top[0]); path.pop(); }
      else if (state[target] === 1) back.add(`${top[0]} ${target}`);
      else if (!state[target]) { state[target] = 1; path.push([target, 0]); }
    }
  }
  const ranks = new Array(count).fill(0);
  for (const node of order.reverse()) {
    for (const target of following[node]) if (!back.has(`${node} ${target}`)) ranks[target] = Math.max(ranks[target], ranks[node] + 1);
  }
  return ranks;
}

/** Places for boxes, and for arrows where they pass a layer. Down: layers are rows instead of columns. */
function placed(boxes, edges, ranks, down) {
  const layers = [];
  const add = (rank, item) => { (layers[rank] ??= []).push(item); return item; };
  const items = boxes.map((box) => add(ranks[box.index], { box, before: [], after: [], size: down ? box.width : box.height, deep: down ? box.height : box.width }));
  const ways = edges.map(({ source, target }) => {
    const way = [items[source]];
    for (let rank = ranks[source] + 1; rank < ranks[target]; rank += 1) way.push(add(rank, { before: [], after: [], size: 8, deep: 0 }));
    way.push(items[target]);
    if (ranks[target] > ranks[source]) for (let at = 1; at < way.length; at += 1) { way[at - 1].after.push(way[at]); way[at].before.push(way[at - 1]); }
    return way;
  });
  for (const layer of layers) layer.forEach((item, at) => { item.order = at; });
  for (let sweep = 0; sweep < 8; sweep += 1) {
    const forward = sweep % 2 === 0;
    for (const layer of forward ? layers : [...layers].reverse()) {
      for (const item of layer) {
        const others = forward ? item.before : item.after;
        item.wish = others.length ? others.reduce((sum, other) => sum + other.order / Math.max(1, other.of ?? 1), 0) / others.length : item.order;
      }
      layer.sort((a, b) => a.wish - b.wish);
      layer.forEach((item, at) => { item.order = at; item.of = 1; });
    }
  }
  const gap = down ? 28 : 26;
  for (const layer of layers) layer.reduce((at, item) => { item.along = at + item.size / 2; return at + item.size + gap; }, 0);
  const length = (layer) => layer.reduce((sum, item) => sum + item.size + gap, -gap);
  const longest = Math.max(...layers.map(length));
  for (const layer of layers) { const shift = (longest - length(layer)) / 2; for (const item of layer) item.along += shift; }
  for (let sweep = 0; sweep < 6; sweep += 1) {
    for (const layer of sweep % 2 ? [...layers].reverse() : layers) {
      const wishes = layer.map((item) => {
        const others = [...item.before, ...item.after];
        return others.length ? others.reduce((sum, other) => sum + other.along, 0) / others.length : item.along;
      });
      let free = -Infinity;
      layer.forEach((item, at) => { item.along = Math.max(wishes[at], free + item.size / 2); free = item.along + item.size / 2 + gap; });
      free = longest;
      [...layer].reverse().forEach((item) => { item.along = Math.max(item.size / 2, Math.min(item.along, free - item.size / 2)); free = item.along - item.size / 2 - gap; });
    }
  }
  const between = layers.slice(0, -1).map((_, rank) => {
    const labels = edges.filter((edge) => ranks[edge.source] === rank).map((edge) => textWidth(edgeText(edge), "600 13px"));
    return down ? 62 : Math.max(56, Math.max(0, ...labels) + 22);
  });
  let across = 8;
  layers.forEach((layer, rank) => {
    const deep = Math.max(...layer.map((item) => item.deep));
    for (const item of layer) item.across = across + deep / 2;
    across += deep + (between[rank] ?? 0);
  });
  const loops = edges.some((edge) => ranks[edge.target] <= ranks[edge.source]) ? 40 : 0;
  const low = Math.min(...layers.flat().map((item) => item.along - item.size / 2));
  for (const item of layers.flat()) {
    item.along += 8 - low;
    item.x = down ? item.along : item.across;
    item.y = down ? item.across : item.along;
  }
  const high = Math.max(...layers.flat().map((item) => item.along + item.size / 2)) + 8 + loops;
  return { items, ways, down, width: Math.ceil(down ? high : across + 8), height: Math.ceil(down ? across + 8 : high) };
}

const edgeText = (edge) => (edge.files === null || edge.files === undefined ? "" : plural(edge.files, "file"));

function drawnEdge(edge, { ways, down }, index, most) {
  const way = ways[index];
  const thick = edge.dashed || !edge.files ? 1.5 : 2 + 8 * Math.sqrt(edge.files / most);
  const first = way[0];
  const last = way.at(-1);
  const arrow = 6 + thick * 0.7;
  const points = way.map((item, at) => [item.x, item.y, at]);
  const half = (item) => (item.box ? (down ? item.box.height : item.box.width) / 2 : 0);
  const [x, y] = down ? [0, 1] : [1, 0];
  const out = [first.x + x * half(first), first.y + y * half(first)];
  const into = [last.x - x * (half(last) + arrow), last.y - y * (half(last) + arrow)];
  const stops = [out, ...points.slice(1, -1).map(([px, py]) => [px, py]), into];
  let path = `M${stops[0].join(" ")}`;
  for (let at = 1; at < stops.length; at += 1) {
    const [ax, ay] = stops[at - 1];
    const [bx, by] = stops[at];
    const back = down ? by <= ay : bx <= ax;
    const bend = back ? 60 : (down ? by - ay : bx - ax) / 2;
    path += `C${ax + x * bend} ${ay + y * bend} ${bx - x * bend} ${by - y * bend} ${bx} ${by}`;
  }
  const tip = [last.x - x * half(last), last.y - y * half(last)];
  const side = 3.5 + thick * 0.75;
  const head = `M${tip[0]} ${tip[1]}L${into[0] + y * side} ${into[1] + x * side}L${into[0] - y * side} ${into[1] - x * side}Z`;
  const text = edgeText(edge);
  const names = `${visible(first.box.node.title)} to ${visible(last.box.node.title)}`;
  const line = s("g", {}, s("title", {}, [names, text, edge.label && visible(edge.label), edge.bytes && bytes(edge.bytes)].filter(Boolean).join(", ")),
    s("path", { class: `edge${edge.dashed ? " dashed" : ""}`, d: path, "stroke-width": thick }), s("path", { class: "head", d: head }));
  const mid = [(stops[0][0] + stops[1][0]) / 2, (stops[0][1] + stops[1][1]) / 2];
  const lines = [[text, "count"], [cut(visible(edge.label ?? ""), 24), ""], [edge.failed ? `${number(edge.failed)} failed` : "", "lost"]].filter(([one]) => one);
  if (!lines.length) return [line, null];
  const wide = Math.max(...lines.map(([one]) => textWidth(one, "600 13px")));
  const top = mid[1] - (down ? (lines.length * 17) / 2 : 9 + thick / 2 + (lines.length - 1) * 0);
  const label = s("g", {}, lines.map(([one, kind], at) => {
    const below = !down && at > 0;
    const baseline = down ? top + 13 + at * 17 : below ? mid[1] + thick / 2 + 2 + at * 15 : mid[1] - thick / 2 - 6;
    return [down && s("rect", { class: "plate", x: mid[0] - wide / 2 - 5, y: baseline - 13, width: wide + 10, height: 17, rx: 4 }),
      s("text", { class: kind, x: mid[0], y: baseline, "text-anchor": "middle" }, one)];
  }));
  return [line, label];
}

function drawnBox({ node, index, one, title, lines, width, height }, { items }) {
  const { x, y } = items[index];
  const left = x - width / 2;
  const top = y - height / 2;
  const text = [title, ...lines].map((line, at) => s("text", { class: at ? null : "title", x: left + BOX.padding + (one ? 4 : 0), y: top + 25 + at * BOX.line }, line));
  const parts = [s("title", {}, [node.title, ...(node.lines ?? [])].map(visible).join("\n")), s("rect", { class: "box", x: left, y: top, width, height, rx: node.kind === "folder" ? 16 : 9 })];
  if (node.kind !== "folder") {
    parts.push(s("path", { class: "stripe", d: `M${left + 1} ${top + 9}a8 8 0 0 1 4-7v${height - 4}a8 8 0 0 1-4-7z` }));
    if (node.kind === "lambda-batch") parts.push(s("path", { class: "stripe second", d: `M${left + 1} ${y}h4v${height / 2 - 2}a8 8 0 0 1-4-7z` }));
  }
  parts.push(...text);
  if (!one) return s("g", { class: node.kind }, parts);
  const track = width - 2 * BOX.padding - 4;
  const all = one.files?.all || 0;
  const done = all ? (track * (one.files.done ?? 0)) / all : 0;
  const failed = all && one.files.failed ? Math.max(3, (track * one.files.failed) / all) : 0;
  const bar = { y: top + height - 14, height: 4, rx: 2 };
  parts.push(s("rect", { class: "track", x: left + BOX.padding + 4, width: track, ...bar }));
  if (done) parts.push(s("rect", { class: "done", x: left + BOX.padding + 4, width: Math.min(done, track - failed), ...bar }));
  if (failed) parts.push(s("rect", { class: "fails", x: left + BOX.padding + 4 + track - failed, width: failed, ...bar }));
  const label = `${title}: ${plural(all, "file")}, ${number(one.files?.done ?? 0)} done, ${number(one.files?.failed ?? 0)} failed`;
  return s("a", { href: `#function-${node.function}`, class: node.kind, "aria-label": label, "data-key": `node ${index}` }, parts);
}

function workflowTable(report) {
  const { nodes, edges } = report.workflow;
  const name = (node) => [visible(node.title), node.kind === "folder" ? visible((node.lines ?? [])[0] ?? "") : ""].join("");
  const rows = edges.map((edge) => [fileName(name(nodes[edge.source])), fileName(name(nodes[edge.target])), edge.files === null || edge.files === undefined ? "–" : number(edge.files), number(edge.failed ?? 0), bytes(edge.bytes)]);
  return table("Files on each arrow of the workflow", [["From"], ["To"], ["Files", "number"], ["Failed", "number"], ["Size", "number"]], rows);
}
