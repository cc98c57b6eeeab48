// One input through the whole workflow to its results: all runs that descend from it.

const HITS = 50;
const STEPS_SHOWN = 300;
const FEW_STEPS = 12;

class Follow {
  constructor(root, chosen) {
    this.chosen = chosen;
    this.input = h("input", { type: "search", id: "find", autocomplete: "off", spellcheck: "false", placeholder: "A part of the name of a file", "aria-label": "Find a file", "aria-controls": "hits" });
    this.count = h("p", { class: "dim", role: "status" });
    this.hits = h("ul", { class: "hits", id: "hits", "aria-label": "Files found", hidden: true });
    this.way = h("div");
    root.append(h("div", { class: "card" }, h("div", { class: "find" }, this.input, this.count), this.hits, this.way));
    let waiting;
    this.input.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(() => this.search(), 150); });
    this.input.addEventListener("keydown", async (event) => {
      if (event.key !== "Enter" && event.key !== "ArrowDown") return;
      event.preventDefault();
      clearTimeout(waiting);
      await this.search();
      const first = this.hits.hidden ? null : this.hits.querySelector("button");
      if (event.key === "Enter") first?.click(); else first?.focus();
    });
    this.hits.addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const all = [...this.hits.querySelectorAll("button")];
      const next = all.indexOf(document.activeElement) + step;
      (next < 0 ? this.input : all[Math.min(next, all.length - 1)]).focus();
    });
  }

  async show(report, runs) {
    this.report = report;
    this.runs = runs;
    const { trace } = this;
    if (trace && !(await this.#again(trace))) { this.trace = null; this.way.replaceChildren(); this.chosen(null); }
    if (!this.trace) this.#hint();
    if (this.input.value && !this.hits.hidden) this.search();
  }

  /** After a new document, the same input may be in another chunk. */
  async #again({ subject }) {
    const found = await this.runs.search(subject, 1, () => false);
    if (!found?.found.length) return false;
    await this.choose(...found.found[0], this.trace.wanted);
    return true;
  }

  #hint() {
    const { kept, of } = this.runs;
    const sample = kept < of ? ` This report contains ${percent(kept, of)} of the runs: all failed ones, the slowest, and a sample of the others.` : "";
    this.way.replaceChildren(h("p", { class: "empty" }, kept ? `Search for a file, or click a run in the timeline. You then see every run that descends from the same input, and its results.${sample}` : "No individual runs are in this report."));
  }

  async search() {
    const wanted = this.input.value.trim();
    const { runs } = this;
    this.asked = (this.asked ?? 0) + 1;
    const { asked } = this;
    if (!wanted) { this.hits.hidden = true; this.count.textContent = ""; return; }
    this.count.textContent = "Searching …";
    const answer = await runs.search(wanted, HITS, () => asked !== this.asked);
    if (!answer) return;
    this.count.textContent = answer.count === 0 ? "No input has such a file" : answer.count > HITS ? `${number(answer.count)} inputs; the first ${HITS} are shown` : plural(answer.count, "input");
    this.hits.hidden = answer.count === 0;
    this.hits.replaceChildren(...answer.found.map(([chunk, row], at) => {
      const last = lastRow(chunk, row);
      const failed = [...Array(last - row).keys()].some((add) => this.report.statuses[chunk.status[row + add]] === "failed");
      return h("li", {}, h("button", { type: "button", "data-key": `hit ${at}`, onclick: () => { this.choose(chunk, row, wanted); this.hits.hidden = true; } },
        fileName(chunk.subject(row)), failed && badge("failed run", "failed"), h("span", { class: "dim" }, plural(last - row, "run"))));
    }));
  }

  /** Show the input of a run. Of many runs, only those from which the wanted file, or the given run, descends, or that descend from it. */
  async choose(chunk, row, wanted = null) {
    await Promise.all([chunk.load(), chunk.loadNames()]);
    const first = chunk.firstRow(row);
    const last = lastRow(chunk, first);
    this.trace = { subject: chunk.subject(first), wanted };
    let from = Infinity;
    let to = 0;
    for (let at = first; at < last; at += 1) { from = Math.min(from, chunk.begin[at]); to = Math.max(to, chunk.end[at]); }
    const depth = [];
    const rows = [];
    const isFailed = (at) => this.report.statuses[chunk.status[at]] === "failed";
    for (let at = first; at < last; at += 1) {
      const parent = chunk.parent[at] ? at - chunk.parent[at] : -1;
      depth[at] = parent >= first ? depth[parent] + 1 : 0;
      rows.push(at);
    }
    const failed = rows.filter(isFailed).length;
    const related = rows.length > FEW_STEPS ? this.#related(chunk, rows, row, wanted) : rows;
    const listed = related.length ? related : rows;
    // Of very many runs, the failed ones and the first others.
    const some = listed.length > STEPS_SHOWN ? [...listed.filter(isFailed), ...listed.filter((at) => !isFailed(at))].slice(0, STEPS_SHOWN).sort((a, b) => a - b) : listed;
    const items = some.map((at) => this.#run(chunk, at, depth[at], from, Math.max(1, to - from)));
    const active = document.activeElement;
    const key = active?.dataset.key;
    const moves = this.way.contains(active) || this.hits.contains(active);
    this.way.replaceChildren(
      h("p", { class: "summary", tabindex: "-1" }, h("span", { class: "strong" }, fileName(this.trace.subject)), h("span", { class: "dim" }, ` ${moment(from)}. ${plural(last - first, "run")} in ${duration(to - from)}${failed ? `, ${number(failed)} failed` : ""}.`)),
      h("div", { class: "axis", "aria-hidden": "true" }, h("div"), h("div", {}, h("span", {}, "0"), h("span", {}, duration((to - from) / 2)), h("span", {}, duration(to - from)))),
      h("ol", { class: "journey" }, items),
      listed.length > some.length ? h("p", { class: "dim" }, `${number(some.length)} of ${number(listed.length)} runs are shown: failed ones, and the first others.`) : "",
      listed.length < rows.length ? h("button", { type: "button", "data-key": "all runs", onclick: () => this.choose(chunk, first) }, `Show all ${number(rows.length)} runs of this input`) : "");
    // What had the focus is gone, or was drawn again.
    if (moves) ([...this.way.querySelectorAll("[data-key]")].find((one) => one.dataset.key === key) ?? this.way.firstElementChild).focus({ preventScroll: true });
    this.chosen(chunk, first);
    say(`${visible(baseName(this.trace.subject))}: ${plural(last - first, "run")}`);
  }

  #related(chunk, rows, row, wanted) {
    const text = wanted?.toLowerCase();
    const names = (at) => [chunk.subject(at), ...chunk.results(at)];
    const parent = (at) => at - chunk.parent[at];
    const seeds = wanted ? rows.filter((at) => names(at).some((name) => name.toLowerCase().includes(text))) : [row];
    const kept = new Set();
    for (let at of seeds) {
      kept.add(at);
      while (chunk.parent[at] && parent(at) >= rows[0]) { at = parent(at); kept.add(at); }
    }
    const below = new Set(seeds);
    for (const at of rows) if (chunk.parent[at] && below.has(parent(at))) { below.add(at); kept.add(at); }
    return rows.filter((at) => kept.has(at));
  }

  #run(chunk, row, depth, from, span) {
    const { report } = this;
    const status = report.statuses[chunk.status[row]];
    const one = report.functions[chunk.function[row]];
    const begin = 100 * ((chunk.begin[row] - from) / span);
    const wide = 100 * ((chunk.end[row] - chunk.begin[row]) / span);
    const bar = stageBar(chunk.stages(row), { queue: true });
    bar.style.left = `${Math.min(begin, 99.5)}%`;
    bar.style.width = `${Math.min(wide, 100 - begin)}%`;
    const facts = [duration(chunk.total(row)), chunk.cold[row] && "cold", chunk.batch[row] && "in Batch", chunk.attempt[row] > 1 && `attempt ${chunk.attempt[row]}`, chunk.memory_mib[row] && `${number(chunk.memory_mib[row])} MiB`].filter(Boolean).join(", ");
    const label = h("span", {}, facts);
    if (begin > 60) label.style.right = "0"; else label.style.left = `${begin}%`;
    const results = chunk.results(row);
    const more = chunk.output_files[row] - results.length;
    const group = report.failures.find(({ id }) => id === chunk.reason[row]);
    const request = chunk.request?.[row];
    const kind = status === "failed" ? "failed" : "";
    return h("li", { "data-status": status },
      h("div", { class: "what", style: { "padding-left": `${Math.min(depth, 8) * 18}px` } },
        h("div", {}, h("span", { class: "strong" }, visible(one.name)), " ", badge(status, kind)), h("div", { class: "dim" }, fileName(chunk.subject(row)))),
      h("div", { class: "lane" }, bar, label),
      group && h("div", { class: "more bad" }, visible(group.reason)),
      results.length > 0 && h("div", { class: "more" }, h("span", { class: "dim" }, "Results"),
        h("ul", { class: "outputs" }, results.map((name) => h("li", {}, fileName(name))), more > 0 && h("li", { class: "dim" }, `and ${number(more)} more`))),
      status === "failed" && request && h("div", { class: "more" }, command(`scar log -n ${one.name} -ri ${request}`, `log ${row}`)));
  }
}
