// All runs over time. Far away: how many runs were in which stage, and how many waited. Close: each run as a bar.

const LANE = { title: 24, gap: 18, axis: 24 };
const STACK = ["run", "stage-in", "stage-out", "init", "other"];
const MOST_BARS = 2500;
const MOST_LANES = 40;
const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 15000, 30000, 60000, 120000, 300000, 600000, 900000, 1800000,
  3600000, 7200000, 10800000, 21600000, 43200000, 86400000, 172800000, 604800000, 1209600000, 2419200000, 7776000000, 31536000000];

class Timeline {
  constructor(root, follow) {
    this.follow = follow;
    this.view = null;
    this.marked = null;
    this.bars = [];
    this.pointers = new Map();
    this.readout = h("p", { class: "hint", id: "timeline-readout" });
    this.legend = h("div");
    const button = (label, text, act) => h("button", { type: "button", "data-key": `timeline ${label}`, "aria-label": label, title: label, onclick: act }, text);
    this.whole = button("Show all", "All", () => this.showAll());
    this.strip = h("canvas", { height: "44", "aria-hidden": "true" });
    this.window = h("div", { class: "picked" });
    this.stripBox = h("div", { class: "strip" }, this.strip, this.window);
    this.canvas = h("canvas", { height: "300", "aria-hidden": "true" });
    this.selection = h("div", { class: "picked", hidden: true });
    this.tip = h("div", { class: "tip", hidden: true, "aria-hidden": "true" });
    this.box = h("div", {
      class: "lanes", tabindex: "0", role: "application", "aria-roledescription": "timeline", "aria-labelledby": "timeline-title",
      "aria-describedby": "timeline-keys timeline-readout",
    }, this.canvas, this.selection);
    this.tables = h("div");
    this.asTable = h("details", { "data-fold": "timeline" }, h("summary", {}, "As a table"), this.tables);
    this.asTable.addEventListener("toggle", () => this.#table());
    root.append(h("div", { class: "card" },
      h("div", { class: "tools" }, this.legend, h("span", { class: "spread" }),
        h("div", { class: "group", role: "group", "aria-label": "Zoom" },
          button("Earlier", "←", () => this.pan(-0.25)), button("Later", "→", () => this.pan(0.25)),
          button("Zoom in", "+", () => this.zoom(0.5)), button("Zoom out", "−", () => this.zoom(2)), this.whole)),
      h("div", { class: "chart" }, this.stripBox, this.box, this.tip),
      this.readout,
      h("p", { class: "hint", id: "timeline-keys" }, "Drag to zoom into a period. Select the timeline, then use the wheel, the arrow keys, + and −; Home shows all. Click a run to follow its file."),
      this.asTable));
    this.#listen();
    new ResizeObserver(() => this.draw()).observe(this.box);
  }

  /** Show the runs of a document. The view stays, except if it showed everything. */
  show(report, runs) {
    const all = this.all && [...this.all];
    const { period } = report;
    this.report = report;
    this.runs = runs;
    const end = Math.max(period?.end_ms ?? 0, (period?.start_ms ?? 0) + 1);
    const margin = period ? (end - period.start_ms) * 0.01 : 0;
    this.all = period ? [period.start_ms - margin, end + margin] : null;
    if (!this.view || (all && this.view[0] === all[0] && this.view[1] === all[1])) this.view = this.all && [...this.all];
    const busiest = report.functions.map((one, at) => [one.runs, at]).sort((a, b) => b[0] - a[0]).slice(0, MOST_LANES).map(([, at]) => at);
    this.lanes = report.functions.map((one, at) => ({ name: one.name, at })).filter(({ at }) => busiest.includes(at) && runs.series[at]);
    const most = Math.max(56, Math.min(240, 620 / Math.max(1, this.lanes.length)));
    let top = 0;
    for (const lane of this.lanes) {
      lane.series = runs.series[lane.at];
      lane.top = top + LANE.title;
      // A few runs at once do not need much height, neither as an area nor as bars.
      const room = Math.max(56, Math.min(most, 24 * (lane.series.peak(STACK) + 1)));
      const deep = lane.series.sums.queued ? Math.round(room * 0.26) : 0;
      lane.height = Math.round(room - deep);
      lane.below = deep;
      top = lane.top + lane.height + deep + LANE.gap;
    }
    this.height = top + LANE.axis - LANE.gap + 6;
    this.#legend();
    this.#load();
    this.draw();
  }

  #legend() {
    const keys = new Set(STAGES.map(([key]) => key).filter((key) => this.lanes.some((lane) => lane.series.sums[key])));
    const other = this.lanes.reduce((sum, lane) => sum + (lane.series.sums.other?.at(-1) ?? 0), 0);
    const run = this.lanes.reduce((sum, lane) => sum + (lane.series.sums.run?.at(-1) ?? 0), 0);
    if (other < run / 50) keys.delete("other");
    if (this.lanes.some((lane) => lane.series.sums.failed)) keys.add("failed");
    this.legend.replaceChildren(legend(keys));
  }

  // --- the view

  setView(from, to) {
    const [first, last] = this.all;
    const least = Math.min(50, last - first);
    const span = Math.min(Math.max(to - from, least), last - first);
    const start = Math.min(Math.max((from + to) / 2 - span / 2, first), last - span);
    this.view = [start, start + span];
    this.tip.hidden = true;
    this.#load();
    this.draw();
  }

  showAll() { if (this.all) this.setView(...this.all); }

  pan(share) {
    if (!this.view) return;
    const move = (this.view[1] - this.view[0]) * share;
    this.setView(this.view[0] + move, this.view[1] + move);
  }

  zoom(factor, around = 0.5) {
    if (!this.view) return;
    const [from, to] = this.view;
    const point = from + (to - from) * around;
    const span = Math.min((to - from) * factor, this.all[1] - this.all[0]);
    const start = Math.min(Math.max(point - span * around, this.all[0]), this.all[1] - span);
    this.setView(start, start + span);
  }

  /** Emphasize the runs of one input, given its chunk and first row; without, none. */
  mark(chunk, first) {
    this.marked = chunk ? { chunk, first, last: lastRow(chunk, first) } : null;
    this.draw();
  }

  #listen() {
    const share = (event, element) => {
      const box = element.getBoundingClientRect();
      return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    };
    const time = (at) => this.view[0] + (this.view[1] - this.view[0]) * at;
    this.box.addEventListener("wheel", (event) => {
      const active = this.box.contains(document.activeElement) || event.ctrlKey || event.metaKey;
      const sideways = event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY);
      if (!this.view || !(active || sideways)) return;
      event.preventDefault();
      if (sideways) this.pan((event.deltaX || event.deltaY) / 1000);
      else this.zoom(Math.exp(Math.max(-120, Math.min(120, event.deltaY)) / 300), share(event, this.box));
    }, { passive: false });
    this.box.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const acts = {
        ArrowLeft: () => this.pan(-0.15), ArrowRight: () => this.pan(0.15), PageUp: () => this.pan(-0.9), PageDown: () => this.pan(0.9),
        "+": () => this.zoom(0.6), "=": () => this.zoom(0.6), "-": () => this.zoom(1 / 0.6), Home: () => this.showAll(), 0: () => this.showAll(),
        ArrowUp: () => this.zoom(0.6), ArrowDown: () => this.zoom(1 / 0.6),
        Escape: () => { this.drag = null; this.selection.hidden = true; },
      };
      if (!acts[event.key]) return;
      event.preventDefault();
      acts[event.key]();
      this.#announce();
    });
    this.box.addEventListener("dblclick", (event) => this.zoom(0.4, share(event, this.box)));
    this.box.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || !this.view) return;
      this.pointers.set(event.pointerId, event);
      this.box.setPointerCapture(event.pointerId);
      const pans = event.shiftKey || event.pointerType === "touch";
      this.drag = { from: share(event, this.box), view: [...this.view], pans, moved: false };
      if (this.pointers.size === 2) this.pinch = { apart: this.#apart(), view: [...this.view] };
    });
    this.box.addEventListener("pointermove", (event) => {
      if (this.pointers.has(event.pointerId)) this.pointers.set(event.pointerId, event);
      const at = share(event, this.box);
      if (this.pinch && this.pointers.size === 2) {
        this.view = [...this.pinch.view];
        this.zoom(this.pinch.apart / Math.max(1, this.#apart()), at);
        return;
      }
      if (!this.drag) { this.#hover(event); return; }
      const distance = (at - this.drag.from) * this.box.clientWidth;
      this.drag.moved ||= Math.abs(distance) > 4;
      if (!this.drag.moved) return;
      this.tip.hidden = true;
      if (this.drag.pans) {
        this.box.classList.add("dragging");
        const move = (at - this.drag.from) * (this.drag.view[1] - this.drag.view[0]);
        this.setView(this.drag.view[0] - move, this.drag.view[1] - move);
      } else {
        this.selection.hidden = false;
        this.selection.style.left = `${100 * Math.min(at, this.drag.from)}%`;
        this.selection.style.width = `${100 * Math.abs(at - this.drag.from)}%`;
      }
    });
    const released = (event) => {
      this.pointers.delete(event.pointerId);
      if (this.pointers.size < 2) this.pinch = null;
      this.box.classList.remove("dragging");
      const { drag } = this;
      this.drag = null;
      this.selection.hidden = true;
      if (!drag || event.type === "pointercancel") return;
      const at = share(event, this.box);
      if (!drag.moved) {
        const bar = this.#barAt(event);
        if (bar) this.follow(bar.chunk, bar.row);
      } else if (!drag.pans) {
        this.setView(time(Math.min(at, drag.from)), time(Math.max(at, drag.from)));
        this.#announce();
      }
    };
    this.box.addEventListener("pointerup", released);
    this.box.addEventListener("pointercancel", released);
    this.box.addEventListener("pointerleave", () => { this.tip.hidden = true; });
    // The strip moves the view, or selects a new one.
    this.stripBox.addEventListener("pointerdown", (event) => {
      if (!this.view) return;
      event.preventDefault();
      this.stripBox.setPointerCapture(event.pointerId);
      const [first, last] = this.all;
      const at = first + (last - first) * share(event, this.stripBox);
      const inside = at > this.view[0] && at < this.view[1] && this.view[1] - this.view[0] < (last - first) * 0.99;
      this.brush = { at, view: [...this.view], inside };
    });
    this.stripBox.addEventListener("pointermove", (event) => {
      if (!this.brush) return;
      const [first, last] = this.all;
      const at = first + (last - first) * share(event, this.stripBox);
      const { brush } = this;
      if (brush.inside) this.setView(brush.view[0] + at - brush.at, brush.view[1] + at - brush.at);
      else if (Math.abs(at - brush.at) > (last - first) / 200) this.setView(Math.min(at, brush.at), Math.max(at, brush.at));
    });
    for (const type of ["pointerup", "pointercancel"]) this.stripBox.addEventListener(type, () => { this.brush = null; });
  }

  #apart() {
    const [one, other] = [...this.pointers.values()];
    return Math.abs(one.clientX - other.clientX);
  }

  #announce() {
    clearTimeout(this.announcing);
    this.announcing = setTimeout(() => say(this.readout.textContent), 400);
  }

  // --- individual runs

  #count(key) {
    return this.lanes.reduce((sum, lane) => sum + lane.series.total(key, ...this.view), 0);
  }

  /** Inflate the individual runs of the view, if they are few enough to be drawn as bars. */
  async #load() {
    if (!this.view || !this.runs.chunks.length) return;
    const { runs, view: [from, to] } = this;
    const few = this.#few();
    const chunks = runs.overlapping(from, to).filter((chunk) => !chunk.ready);
    if (!few || !chunks.length) return;
    for (const chunk of chunks) {
      await chunk.load();
      if (this.runs !== runs || this.view[0] !== from || this.view[1] !== to) return;
    }
    this.draw();
  }

  /** Whether about as few runs as can be drawn as bars touch the view. */
  #few() {
    const [from, to] = this.view;
    const busy = ["queued", ...STACK].reduce((sum, key) => sum + this.#count(key), 0);
    return this.#count("started") + busy / Math.max(1, to - from) < MOST_BARS * (this.runs.kept / Math.max(1, this.runs.of));
  }

  /** The bars of each function in the view, or null while they are too many or not inflated. */
  #collect() {
    const [from, to] = this.view;
    if (!this.#few()) return null;
    const chunks = this.runs.overlapping(from, to);
    if (!chunks.length || chunks.some((chunk) => !chunk.ready)) return null;
    const found = new Map(this.lanes.map(({ at }) => [at, []]));
    let count = 0;
    for (const chunk of chunks) {
      for (let row = 0; row < chunk.rows; row += 1) {
        if (chunk.begin[row] > to || chunk.end[row] < from) continue;
        const bars = found.get(chunk.function[row]);
        if (!bars) continue;
        count += 1;
        if (count > 2 * MOST_BARS) return null;
        bars.push({ chunk, row, begin: chunk.begin[row], start: chunk.start[row] - chunk.init[row], end: chunk.end[row] });
      }
    }
    return found;
  }

  // --- drawing

  draw() {
    if (this.drawing) return;
    this.drawing = requestAnimationFrame(() => { this.drawing = null; this.drawNow(); });
  }

  drawNow() {
    const width = this.box.clientWidth;
    if (!width || !this.runs) return;
    this.whole.disabled = !this.view || (this.view[0] === this.all[0] && this.view[1] === this.all[1]);
    if (!this.view) {
      this.canvas.hidden = this.stripBox.hidden = true;
      this.readout.textContent = "No runs in this period.";
      return;
    }
    this.canvas.hidden = this.stripBox.hidden = false;
    this.colours = colours();
    this.#drawStrip(width);
    const context = prepared(this.canvas, width, this.height);
    const step = STEPS.find((one) => one >= ((this.view[1] - this.view[0]) * 96) / width) ?? STEPS.at(-1);
    this.#grid(context, width, step);
    const bars = this.#collect();
    this.bars = [];
    this.mode = "areas";
    for (const lane of this.lanes) {
      const packed = bars && pack(bars.get(lane.at), lane.height + lane.below);
      if (packed) this.#lanes(context, width, lane, packed);
      else this.#areas(context, width, lane);
    }
    this.box.dataset.mode = this.mode;
    this.#read();
    if (this.asTable.open) this.#table();
  }

  #x(ms, width) {
    return ((ms - this.view[0]) / (this.view[1] - this.view[0])) * width;
  }

  #drawStrip(width) {
    const context = prepared(this.strip, width, 44);
    const [first, last] = this.all;
    const moments = Float64Array.from({ length: width + 1 }, (_, x) => first + ((last - first) * x) / width);
    const sums = new Float64Array(width);
    const failed = new Float64Array(width);
    for (const { series } of this.lanes) {
      for (const key of STACK) series.between(key, moments).forEach((value, x) => { sums[x] += value; });
      series.between("failed", moments).forEach((value, x) => { failed[x] += value; });
    }
    const most = Math.max(...sums) || 1;
    context.fillStyle = this.colours.run;
    context.globalAlpha = 0.55;
    for (let x = 0; x < width; x += 1) {
      const high = (36 * sums[x]) / most;
      if (high > 0) context.fillRect(x, 42 - high, 1, high);
    }
    context.globalAlpha = 1;
    context.fillStyle = this.colours.bad;
    for (let x = 0; x < width; x += 1) if (failed[x]) context.fillRect(x, 41, 1, 3);
    const left = ((this.view[0] - first) / (last - first)) * 100;
    const right = ((this.view[1] - first) / (last - first)) * 100;
    this.window.style.left = `${left}%`;
    this.window.style.width = `${Math.max(0.3, right - left)}%`;
    this.window.hidden = this.whole.disabled;
  }

  #grid(context, width, step) {
    const bottom = this.height - LANE.axis;
    context.font = `12px ${this.colours.font}`;
    context.textBaseline = "middle";
    const offset = -new Date(this.view[0]).getTimezoneOffset() * 60000;
    let free = -1;
    let date = null;
    for (let at = Math.ceil((this.view[0] + offset) / step) * step - offset; at <= this.view[1]; at += step) {
      const x = Math.round(this.#x(at, width)) + 0.5;
      context.fillStyle = this.colours.line;
      context.fillRect(x - 0.5, 4, 1, bottom - 4);
      let text = step >= 86400000 ? day(at) : clock(at, step);
      const today = day(at);
      if (step < 86400000 && date !== today && (date !== null || this.view[1] - this.view[0] > 43200000)) text = `${today}, ${text}`;
      date = today;
      const wide = context.measureText(text).width;
      const left = Math.min(Math.max(x - wide / 2, 0), width - wide);
      if (left < free) continue;
      free = left + wide + 14;
      context.fillStyle = this.colours.dim;
      context.fillText(text, left, bottom + 14);
    }
  }

  #title(context, lane, width, text) {
    context.textBaseline = "middle";
    context.font = `600 13px ${this.colours.font}`;
    context.fillStyle = this.colours.ink;
    const name = visible(lane.name);
    context.fillText(name, 0, lane.top - 12);
    const used = context.measureText(name).width + 16;
    context.font = `12px ${this.colours.font}`;
    context.fillStyle = this.colours.dim;
    const wide = context.measureText(text).width;
    if (used + wide <= width) context.fillText(text, width - wide, lane.top - 12);
  }

  #areas(context, width, lane) {
    const [from, to] = this.view;
    const columns = Math.max(2, Math.floor(width / 2));
    const each = (to - from) / columns;
    // Never finer than a bucket: between its borders, nothing more is known.
    const wide = Math.max(1, Math.ceil(lane.series.bucketMs / each));
    const moments = [];
    const start = Math.floor((from - lane.series.startMs) / lane.series.bucketMs) * lane.series.bucketMs + lane.series.startMs;
    if (wide > 1) for (let at = start; at < to + lane.series.bucketMs; at += lane.series.bucketMs) moments.push(at);
    else for (let column = 0; column <= columns; column += 1) moments.push(from + column * each);
    const count = moments.length - 1;
    const span = moments[1] - moments[0];
    const places = moments.map((ms) => this.#x(ms, width));
    const layers = STACK.map((key) => [key, lane.series.between(key, moments)]);
    const queued = lane.series.between("queued", moments);
    const failed = lane.series.between("failed", moments);
    let most = 0;
    let longest = 0;
    for (let at = 0; at < count; at += 1) {
      most = Math.max(most, layers.reduce((sum, [, values]) => sum + values[at], 0) / span);
      longest = Math.max(longest, queued[at] / span);
    }
    const scale = most ? (lane.height - 2) / most : 0;
    const base = lane.top + lane.height;
    const sums = new Float64Array(count);
    for (const [key, values] of layers) {
      context.fillStyle = this.colours[key];
      for (let at = 0; at < count; at += 1) {
        if (!values[at]) continue;
        const low = sums[at];
        sums[at] += values[at] / span;
        const y = base - sums[at] * scale;
        context.fillRect(places[at], y, places[at + 1] - places[at] + 0.4, Math.max(0.6, base - low * scale - y));
      }
    }
    if (lane.below) {
      context.fillStyle = this.colours.queued;
      const depth = longest ? (lane.below - 2) / longest : 0;
      for (let at = 0; at < count; at += 1) {
        if (queued[at]) context.fillRect(places[at], base + 1, places[at + 1] - places[at] + 0.4, Math.max(0.6, (queued[at] / span) * depth));
      }
    }
    context.fillStyle = this.colours.rule;
    context.fillRect(0, base, width, 1);
    // The higher, the larger the share of the ended runs that failed; one failure is never too small to see.
    const done = lane.series.between("done", moments);
    context.fillStyle = this.colours.bad;
    for (let at = 0; at < count; at += 1) {
      if (!failed[at]) continue;
      const high = 2 + 6 * Math.sqrt(failed[at] / (failed[at] + done[at]));
      context.fillRect(places[at], base - high, Math.max(2, places[at + 1] - places[at]), high + 1);
    }
    const waiting = longest >= 0.05 ? ` · up to ${most100(longest)} queued` : "";
    this.#title(context, lane, width, most ? `up to ${most100(most)} at once${waiting}` : "no runs here");
    lane.drawn = { moments, layers, queued, failed, span };
  }

  #lanes(context, width, lane, packed) {
    this.mode = "bars";
    lane.drawn = null;
    const { bars, high, queue } = packed;
    const thick = high >= 5 ? high - 2 : Math.max(1, high - 0.5);
    this.#title(context, lane, width, `${plural(bars.length, "run")} here`);
    context.fillStyle = this.colours.line;
    context.fillRect(0, lane.top + lane.height + lane.below, width, 1);
    for (const bar of bars) {
      const { chunk, row } = bar;
      const y = lane.top + bar.lane * high;
      const left = this.#x(bar.start, width);
      const right = this.#x(bar.end, width);
      const dimmed = this.marked && !(this.marked.chunk === chunk && row >= this.marked.first && row < this.marked.last);
      context.globalAlpha = dimmed ? 0.22 : 1;
      if (queue && bar.start > bar.begin) {
        context.fillStyle = this.colours.queued;
        const from = this.#x(bar.begin, width);
        context.fillRect(from, y + thick / 2 - Math.max(0.5, thick / 8), left - from, Math.max(1, thick / 4));
      }
      let at = left;
      const total = bar.end - bar.start || 1;
      const wide = Math.max(1.5, right - left);
      for (const [key, , ms] of drawnStages(chunk.stages(row))) {
        if (key === "queued" || !ms) continue;
        const part = (wide * ms) / total;
        context.fillStyle = this.colours[key];
        context.fillRect(at, y, part + 0.2, thick);
        at += part;
      }
      if (this.report.statuses[chunk.status[row]] === "failed") {
        context.fillStyle = this.colours.bad;
        context.fillRect(left + wide - Math.max(3, Math.min(6, wide / 4)), y - (thick > 4 ? 1 : 0), Math.max(3, Math.min(6, wide / 4)), thick + (thick > 4 ? 2 : 0));
      }
      if (thick >= 12 && chunk.lines && wide > 60) this.#label(context, chunk, row, Math.max(left, 0), Math.min(right, width), y, thick);
      this.bars.push({ ...bar, left: Math.min(left, this.#x(queue ? bar.begin : bar.start, width)), right: left + wide, top: y, bottom: y + high });
      context.globalAlpha = 1;
    }
  }

  #label(context, chunk, row, left, right, y, thick) {
    context.font = `11.5px ${this.colours.font}`;
    const text = visible(baseName(chunk.subject(row)));
    const shown = text.length > 60 ? `${text.slice(0, 59)}…` : text;
    if (context.measureText(shown).width > right - left - 14) return;
    context.fillStyle = this.colours["on-run"];
    context.textBaseline = "middle";
    context.fillText(shown, left + 7, y + thick / 2 + 0.5);
  }

  #read() {
    const [from, to] = this.view;
    const started = Math.round(this.#count("started"));
    const failed = Math.round(this.#count("failed"));
    const sampled = this.runs.kept < this.runs.of && this.mode === "bars" ? ` Bars show a sample: ${percent(this.runs.kept, this.runs.of)} of the runs.` : "";
    const left = this.report.functions.length - this.lanes.length;
    const hidden = left > 0 ? ` The ${MOST_LANES} functions with the most runs are shown.` : "";
    const precise = to - from < 20000 ? 10 : 1000;
    this.readout.textContent = `${day(from)}, ${clock(from, precise)} to ${day(from) === day(to) ? "" : `${day(to)}, `}${clock(to, precise)} ${zone()} (${duration(to - from)}): `
      + `${plural(started, "run")} started, ${number(failed)} failed.${sampled}${hidden}`;
  }

  // --- reading values

  #barAt(event) {
    const box = this.box.getBoundingClientRect();
    const x = event.clientX - box.left;
    const y = event.clientY - box.top;
    return this.bars.find((bar) => x >= bar.left - 2 && x <= bar.right + 2 && y >= bar.top && y < bar.bottom);
  }

  #hover(event) {
    if (!this.view || event.pointerType === "touch") return;
    const box = this.box.getBoundingClientRect();
    const bar = this.#barAt(event);
    const y = event.clientY - box.top;
    const lane = this.lanes.find((one) => y >= one.top - LANE.title && y < one.top + one.height + one.below + LANE.gap);
    let lines = null;
    if (bar) lines = this.#barTip(bar);
    else if (lane?.drawn) lines = this.#areaTip(lane, this.view[0] + ((event.clientX - box.left) / box.width) * (this.view[1] - this.view[0]));
    this.box.style.cursor = bar ? "pointer" : "";
    this.tip.hidden = !lines;
    if (!lines) return;
    this.tip.replaceChildren(...lines);
    const chart = this.tip.parentElement.getBoundingClientRect();
    const x = event.clientX - chart.left;
    const wide = this.tip.offsetWidth;
    this.tip.style.left = `${x + 18 + wide > chart.width ? Math.max(0, x - wide - 18) : x + 18}px`;
    this.tip.style.top = `${event.clientY - chart.top + 14}px`;
  }

  #barTip({ chunk, row }) {
    if (!chunk.lines) chunk.loadNames().then(() => this.draw());
    const status = this.report.statuses[chunk.status[row]];
    const stages = drawnStages(chunk.stages(row)).filter(([, , ms]) => ms > 0);
    return [
      h("span", { class: "name" }, chunk.lines ? visible(baseName(chunk.subject(row))) : "…"),
      h("span", { class: status === "failed" ? "bad" : "dim" }, `${visible(this.report.functions[chunk.function[row]].name)}: ${status}, ${duration(chunk.total(row))}`),
      h("ul", {}, stages.map(([key, label, ms]) => h("li", {}, h("i", { class: `swatch ${key}` }), label, h("b", {}, duration(ms))))),
    ];
  }

  #areaTip(lane, ms) {
    const { moments, layers, queued, failed, span } = lane.drawn;
    const at = Math.min(moments.length - 2, Math.max(0, Math.floor((ms - moments[0]) / span)));
    const values = [...layers].reverse().map(([key, all]) => [key, all[at] / span]);
    values.push(["queued", queued[at] / span]);
    const shown = values.filter(([, value]) => value > 0.0005);
    return [
      h("span", { class: "name" }, visible(lane.name)),
      h("span", { class: "dim" }, `${clock(moments[at], span)}, ${duration(span)}; on average`),
      h("ul", {}, shown.map(([key, value]) => h("li", {}, h("i", { class: `swatch ${key}` }), STAGE_NAMES[key], h("b", {}, digits(value)))),
        failed[at] > 0 && h("li", { class: "bad" }, "Failed", h("b", {}, number(failed[at])))),
    ];
  }

  #table() {
    if (!this.asTable.open || !this.view) return;
    const [from, to] = this.view;
    const parts = 12;
    const moments = Array.from({ length: parts + 1 }, (_, at) => from + ((to - from) * at) / parts);
    const span = (to - from) / parts;
    const rows = [];
    const columns = this.lanes.slice(0, 8).map((lane) => {
      const of = (key) => lane.series.between(key, moments);
      const running = STACK.map(of);
      return { lane, started: of("started"), done: of("done"), failed: of("failed"), queued: of("queued"), running };
    });
    for (let at = 0; at < parts; at += 1) {
      for (const one of columns) {
        const running = one.running.reduce((sum, values) => sum + values[at], 0) / span;
        const queued = one.queued[at] / span;
        if (!one.started[at] && running < 0.005 && queued < 0.005) continue;
        rows.push([clock(moments[at], span / 4), visible(one.lane.name), number(one.started[at]), number(one.done[at]), number(one.failed[at]), digits(running), digits(queued)]);
      }
    }
    const number_ = "number";
    this.tables.replaceChildren(table(`Runs over time, ${clock(from)} to ${clock(to)}`,
      [["From"], ["Function"], ["Started", number_], ["Done", number_], ["Failed", number_], ["Running (average)", number_], ["Queued (average)", number_]], rows));
    const shown = this.bars.slice(0, 200);
    if (!shown.length) return;
    Promise.all(shown.map(({ chunk }) => chunk.loadNames())).then(() => {
      const stage = (key) => [STAGE_NAMES[key], number_];
      const heads = [["File", "name"], ["Function"], ["Status"], ["Start"], stage("queued"), stage("init"), stage("stage-in"), stage("run"), stage("stage-out")];
      const lines = shown.map(({ chunk, row, start }) => {
        const stages = Object.fromEntries(drawnStages(chunk.stages(row)).map(([key, , ms]) => [key, ms]));
        return [fileName(chunk.subject(row)), visible(this.report.functions[chunk.function[row]].name), this.report.statuses[chunk.status[row]], clock(start, 10),
          ...["queued", "init", "stage-in", "run", "stage-out"].map((key) => duration(stages[key]))];
      });
      this.tables.append(h("p", { class: "dim" }, `The first ${number(shown.length)} runs of this view.`), table("Runs of this view", heads, lines));
    });
  }
}

const most100 = (value) => (value < 10 ? digits(value, 2) : number(Math.ceil(value)));

function lastRow(chunk, first) {
  let row = first + 1;
  while (row < chunk.rows && !chunk.first[row]) row += 1;
  return row;
}

/** Rows so that bars do not overlap: with the time in the queue if that fits, else without; null if too many rows. */
function pack(bars, height) {
  bars.sort((a, b) => a.begin - b.begin);
  for (const queue of [true, false]) {
    const ends = [];
    const sorted = queue ? bars : [...bars].sort((a, b) => a.start - b.start);
    const most = Math.floor(height / 3);
    const fits = sorted.every((bar) => {
      const from = queue ? bar.begin : bar.start;
      let lane = ends.findIndex((end) => end <= from);
      if (lane < 0) lane = ends.push(0) - 1;
      ends[lane] = bar.end;
      bar.lane = lane;
      return ends.length <= most;
    });
    if (fits) return { bars, high: Math.min(20, height / Math.max(1, ends.length)), queue };
  }
  return null;
}

function prepared(canvas, width, height) {
  const ratio = Math.min(window.devicePixelRatio || 1, 3);
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  return context;
}

/** The colours of the style sheet, in the theme of the moment. */
function colours() {
  const probe = h("i");
  document.body.append(probe);
  const found = {};
  for (const name of ["ink", "dim", "line", "rule", "bad", "card", "accent", "on-run", ...STAGES.map(([key]) => key)]) {
    probe.style.color = `var(--${name})`;
    found[name] = getComputedStyle(probe).color;
  }
  found.font = getComputedStyle(document.body).fontFamily;
  probe.remove();
  return found;
}
