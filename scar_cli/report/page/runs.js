// The runs of a document: a timeline of all of them, and chunks of individual runs that are inflated when they are needed.

const COUNTS = ["started", "done", "failed", "cold"];

function bytesOf(base64) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
  const text = atob(base64);
  const result = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at += 1) result[at] = text.charCodeAt(at);
  return result;
}

async function inflated(text) {
  const packed = bytesOf(text);
  return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}

/** Sums over time of one function: a bucket is a stretch of time with at least one run. */
class Series {
  constructor(columns, startMs, bucketMs) {
    this.startMs = startMs;
    this.bucketMs = bucketMs;
    const count = columns.bucket?.length ?? 0;
    this.buckets = new Float64Array(count);
    let bucket = 0;
    for (let at = 0; at < count; at += 1) { bucket += columns.bucket[at]; this.buckets[at] = bucket; }
    this.sums = {};
    for (const [key, values] of Object.entries(columns)) {
      if (key === "bucket") continue;
      const name = key === "image" ? "init" : key;
      const sums = this.sums[name] ?? new Float64Array(count + 1);
      let sum = 0;
      for (let at = 0; at < count; at += 1) { sum += values[at]; sums[at + 1] += sum; }
      this.sums[name] = sums;
    }
  }

  /** For each pair of neighbouring moments, what was added between them. The moments ascend. */
  between(key, moments) {
    const sums = this.sums[key];
    const result = new Float64Array(moments.length - 1);
    if (!sums) return result;
    const { buckets, bucketMs, startMs } = this;
    let at = this.#first(moments[0]);
    let before = null;
    for (let index = 0; index < moments.length; index += 1) {
      const place = (moments[index] - startMs) / bucketMs;
      while (at < buckets.length && buckets[at] + 1 <= place) at += 1;
      let sum = sums[at];
      if (at < buckets.length && buckets[at] < place) sum += (sums[at + 1] - sums[at]) * (place - buckets[at]);
      if (before !== null) result[index - 1] = sum - before;
      before = sum;
    }
    return result;
  }

  /** The largest average number of runs in some stages at once. */
  peak(keys) {
    const all = keys.map((key) => this.sums[key]).filter(Boolean);
    let most = 0;
    for (let at = 0; at < this.buckets.length; at += 1) most = Math.max(most, all.reduce((sum, sums) => sum + sums[at + 1] - sums[at], 0));
    return most / this.bucketMs;
  }

  total(key, fromMs, toMs) {
    return this.between(key, [fromMs, toMs])[0];
  }

  #first(ms) {
    const place = (ms - this.startMs) / this.bucketMs;
    let low = 0;
    let high = this.buckets.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.buckets[middle] + 1 <= place) low = middle + 1; else high = middle;
    }
    return low;
  }
}

const COLUMNS = ["function", "status", "batch", "cold", "attempt", "queued", "init", "stage-in", "image", "run", "stage-out", "other",
  "input_bytes", "output_bytes", "output_files", "memory_mib", "parent", "first", "reason", "folder"];

/** 4,096 runs or so; a run is a chunk and a row. */
class Chunk {
  constructor(described, index) {
    this.described = described;
    this.index = index;
    this.startMs = described.start_ms;
    this.endMs = described.end_ms;
    this.rows = described.rows;
    this.ready = false;
    this.lines = null;
  }

  async load() {
    if (this.ready) return;
    const columns = JSON.parse(await inflated(this.described.numbers));
    const zeros = new Uint8Array(this.rows);
    for (const key of COLUMNS) this[key] = columns[key] ?? zeros;
    this.request = columns.request ?? null;
    this.start = new Float64Array(this.rows);
    this.begin = new Float64Array(this.rows);
    this.end = new Float64Array(this.rows);
    let at = this.startMs;
    for (let row = 0; row < this.rows; row += 1) {
      at += columns.start?.[row] ?? 0;
      this.start[row] = at;
      // A process is initialized before its first run begins.
      this.begin[row] = at - this.queued[row] - this.init[row];
      this.end[row] = at + this.image[row] + this["stage-in"][row] + this.run[row] + this["stage-out"][row] + this.other[row];
    }
    this.ready = true;
  }

  async loadNames() {
    this.lines ??= (await inflated(this.described.names)).split("\n");
  }

  /** All names in lower case, one after the other, for the search. */
  async loadText() {
    if (this.text !== undefined) return;
    await Promise.all([this.load(), this.loadNames()]);
    const parts = [];
    this.offsets = new Uint32Array(this.rows + 1);
    const named = this.folders.map((folder) => folder.toLowerCase());
    let stem = "";
    for (let row = 0; row < this.rows; row += 1) {
      if (this.first[row] || row === 0) stem = this.#stem(row).toLowerCase();
      const line = this.lines[row].toLowerCase();
      const tab = line.indexOf("\t");
      const name = tab < 0 ? line : line.slice(0, tab);
      const part = `${named[this.folder[row]] ?? ""}${name.includes("\x01") ? name.replaceAll("\x01", stem) : name}\n`;
      parts.push(part);
      this.offsets[row + 1] = this.offsets[row] + part.length;
    }
    this.text = parts.join("");
  }

  rowAt(offset) {
    let low = 0;
    let high = this.rows;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (this.offsets[middle] <= offset) low = middle; else high = middle;
    }
    return low;
  }

  firstRow(row) {
    while (row > 0 && !this.first[row]) row -= 1;
    return row;
  }

  /** The stem of the first file of an input: U+0001 in the names after it. */
  #stem(row) {
    const name = baseName(this.lines[this.firstRow(row)].split("\t", 1)[0]);
    const dot = name.lastIndexOf(".");
    return dot > 0 ? name.slice(0, dot) : name;
  }

  #named(folder, text) {
    return (folder >= 0 ? this.folders[folder] ?? "" : "") + text;
  }

  subject(row) {
    const text = this.lines[row].split("\t", 1)[0];
    return this.#named(this.folder[row], text.includes("\x01") ? text.replaceAll("\x01", this.#stem(row)) : text);
  }

  results(row) {
    return this.lines[row].split("\t").slice(1).map((one) => {
      const colon = one.indexOf(":");
      return this.#named(Number(one.slice(0, colon)), one.slice(colon + 1).replaceAll("\x01", this.#stem(row)));
    });
  }

  stages(row) {
    return Object.fromEntries(["queued", "init", "stage-in", "image", "run", "stage-out", "other"].map((key) => [key, this[key][row]]));
  }

  total(row) {
    return this.end[row] - this.start[row];
  }
}

class Runs {
  constructor(report) {
    const { runs, timeline, folders } = report;
    this.kept = runs?.kept ?? 0;
    this.of = runs?.of ?? 0;
    this.rounded = runs?.rounded ?? 0;
    this.chunks = (runs?.chunks ?? []).map((described, index) => Object.assign(new Chunk(described, index), { folders }));
    this.timeline = timeline;
    this.series = null;
  }

  async loadTimeline() {
    if (!this.timeline) { this.series = []; return; }
    const { data, start_ms: startMs, bucket_ms: bucketMs } = this.timeline;
    this.series = JSON.parse(await inflated(data)).map((columns) => new Series(columns, startMs, bucketMs));
  }

  overlapping(fromMs, toMs) {
    return this.chunks.filter((chunk) => chunk.endMs >= fromMs && chunk.startMs <= toMs);
  }

  /** Inputs of which a run's name contains a text: [chunk, row] of the first `limit`, and the number of all. */
  async search(text, limit, cancelled) {
    const wanted = text.toLowerCase();
    const found = [];
    let count = 0;
    let pause = performance.now() + 40;
    for (const chunk of this.chunks) {
      await chunk.loadText();
      if (performance.now() > pause) {
        await new Promise((done) => { setTimeout(done); });
        pause = performance.now() + 40;
      }
      if (cancelled()) return null;
      let last = -1;
      for (let at = chunk.text.indexOf(wanted); at >= 0;) {
        const row = chunk.rowAt(at);
        const first = chunk.firstRow(row);
        if (first !== last) {
          last = first;
          count += 1;
          if (found.length < limit) found.push([chunk, first]);
        }
        at = chunk.text.indexOf(wanted, chunk.offsets[row + 1]);
      }
    }
    return { found, count };
  }
}
