// The sections that are rendered again for each document: overview, failures, functions, slowest runs, cost.

const OPEN_FUNCTIONS = 8;
const OPEN_FAILURES = 4;

function heading(report) {
  const { period, totals, asked } = report;
  const files = totals.files ?? {};
  const waiting = totals.failure_queues ?? 0;
  const sentences = [];
  if (!totals.runs) sentences.push("No run was found in this period.");
  else {
    const inputs = plural(totals.inputs ?? files.all ?? 0, "input");
    sentences.push(`${inputs} caused ${plural(totals.runs, "run")} of ${plural(report.functions.length, "function")} within ${duration(period.end_ms - period.start_ms)}.`);
    sentences.push(files.failed ? null : "No file failed.");
    if (files.recovered) sentences.push(`${plural(files.recovered, "file")} succeeded after a failed attempt.`);
  }
  const failed = files.failed ? h("strong", { class: "bad" }, `${plural(files.failed, "file")} failed. `) : null;
  const queues = waiting ? `${plural(waiting, "event")} ${waiting === 1 ? "waits" : "wait"} in failure queues.` : "";
  const launch = asked?.launch ? ` Launch ${visible(baseName(asked.launch.journal ?? ""))}${asked.launch.accepted ? `: ${plural(asked.launch.accepted, "file")} sent` : ""}.` : "";
  find("head").replaceChildren(
    h("h1", {}, visible(report.title)),
    h("p", { class: "when" }, (period ? `${moment(period.start_ms)} to ${day(period.start_ms) === day(period.end_ms) ? clock(period.end_ms) : moment(period.end_ms)} ${zone()}` : "") + launch),
    h("p", { class: "lede" }, sentences[0], " ", failed, sentences.slice(1).filter(Boolean).join(" "), " ", queues),
    (report.notes ?? []).map((note) => h("p", { class: "note" }, visible(note))));
  document.title = `${visible(report.title)}: scar report`;
}

function overview(report) {
  const { totals, functions, period } = report;
  const files = totals.files ?? {};
  const sum = (pick) => functions.reduce((total, one) => total + (pick(one) ?? 0), 0);
  const busy = sum((one) => one.durations?.total?.sum_ms);
  const span = period ? Math.max(1, period.end_ms - period.start_ms) : 1;
  const cold = sum((one) => one.cold);
  const failedRuns = totals.by_status?.failed ?? 0;
  const figure = (label, value, more, kind = "") => h("div", {}, h("dt", {}, label), h("dd", { class: `value ${kind}` }, value), h("dd", { class: "more" }, more));
  const delegated = totals.by_status?.delegated ?? 0;
  const usd = totals.cost_usd;
  const figures = [
    figure("Inputs", short(totals.inputs ?? 0), `${short(totals.output_files ?? 0)} files written`),
    figure("Runs", short(totals.runs ?? 0), failedRuns ? `${plural(failedRuns, "failed attempt")}` : delegated ? `${number(delegated)} delegated to Batch` : "none failed"),
    figure("Files that failed", short(files.failed ?? 0), `${percent(files.failed ?? 0, files.all ?? 0)} of ${short(files.all ?? 0)}`, files.failed ? "bad" : ""),
    figure("Time", duration(period ? span : 0), `${digits(busy / span, 3)} runs at a time`),
    figure("Cold starts", percent(cold, totals.runs), `${number(cold)} of ${short(totals.runs ?? 0)} runs`),
    figure("Data", bytes(totals.input_bytes), `read; ${bytes(totals.output_bytes)} written`),
    isKnown(usd) && figure("Cost", money(usd), `${money((1000 * usd) / Math.max(1, totals.inputs ?? 1))} per 1,000 inputs`),
  ];
  content("overview").replaceChildren(h("dl", { class: "figures" }, figures));
}

const isKnown = (value) => value !== null && value !== undefined;

// --- failures

function failures(report) {
  const root = content("failures");
  const count = report.failures.length;
  // Events of earlier runs, whose function has no failure in this period.
  const named = new Set(report.failures.map((group) => group.function));
  const waiting = report.functions.filter((one, at) => one.failure_queue && !named.has(at));
  const earlier = waiting.length > 0 && h("div", { class: "card" }, h("h3", {}, "Events of earlier runs in failure queues"),
    h("div", { class: "commands" }, waiting.map((one) => h("div", {}, h("h4", {}, `${visible(one.name)}: ${plural(one.failure_queue, "event")}`), command(one.retry, `retry ${one.name}`)))));
  root.replaceChildren(
    h("p", { class: count ? "intro" : "empty" }, count ? `${count === 1 ? "1 reason." : `${number(count)} reasons, most frequent first.`} An event can fail several times: each attempt is a run.` : "No run failed in this period."),
    ...report.failures.map((group, at) => failure(group, at, report)), ...(earlier ? [earlier] : []));
  // What matters is at the end of a log.
  for (const log of root.querySelectorAll(".log")) log.scrollTop = log.scrollHeight;
}

function failure(group, at, report) {
  const one = isKnown(group.function) ? report.functions[group.function] : null;
  const examples = group.examples ?? [];
  const latest = examples[0];
  const times = group.first_ms ? `${moment(group.first_ms)}${group.last_ms > group.first_ms ? ` to ${day(group.first_ms) === day(group.last_ms) ? clock(group.last_ms) : moment(group.last_ms)}` : ""}` : "";
  const names = group.names ?? [];
  const example = (run) => h("div", {},
    h("h4", {}, fileName(run.subject), ` ${clock(run.end_ms)}`, [isKnown(run.exit_code) && `, exit code ${run.exit_code}`, run.signal && `, signal ${run.signal}`, run.attempt > 1 && `, attempt ${run.attempt}`].filter(Boolean).join("")),
    run.error && h("p", { class: "name", style: { "margin-bottom": "8px" } }, visible(run.error)),
    run.last_lines && h("pre", { class: "log", tabindex: "0", role: "group", "aria-label": `End of the log of ${visible(baseName(run.subject))}` }, visibleLines(run.last_lines)));
  return h("article", { class: "card failure", "aria-label": visible(group.reason) },
    h("header", {},
      h("div", { class: "amount" }, short(group.runs), h("small", {}, group.runs === 1 ? "failed run" : "failed runs")),
      h("div", {}, h("h3", {}, visible(group.reason)), h("p", { class: "dim" }, one && [h("a", { href: `#function-${group.function}`, "data-key": `failure ${group.id}` }, visible(one.name)), " "], times),
        group.advice && h("p", {}, visible(group.advice))),
      h("div", { class: group.files ? "bad strong" : "dim" }, group.files ? `${plural(group.files, "file")} failed` : "all succeeded later")),
    folding(`failure ${group.id}`, "Details", h("div", { class: "body" },
      latest && example(latest),
      examples.length > 1 && folding(`examples ${group.id}`, plural(examples.length - 1, "more example"), examples.slice(1).map(example)),
      h("div", { class: "commands" }, group.log && h("div", {}, h("h4", {}, "See the logs"), command(group.log, `log ${group.id}`)),
        group.retry && group.files > 0 && h("div", {}, h("h4", {}, `Send all failed events of ${visible(one?.name)} again`), command(group.retry, `again ${group.id}`))),
      names.length > 0 && folding(`files ${group.id}`, group.files > names.length ? `${number(names.length)} of ${plural(group.files, "file")}` : plural(names.length, "file"),
        h("div", { class: "files", tabindex: "0", role: "group", "aria-label": `Files that failed: ${visible(group.reason)}` }, h("ul", {}, names.map((name) => h("li", {}, fileName(name))))))), at < OPEN_FAILURES));
}

// --- functions

function functions(report) {
  const root = content("functions");
  if (!report.functions.length) { root.replaceChildren(h("p", { class: "empty" }, "No functions.")); return; }
  const many = report.functions.length > OPEN_FUNCTIONS;
  const n = "number";
  const rows = report.functions.map((one, at) => {
    const total = one.durations?.total;
    const memory = one.memory ?? one.memory_batch;
    return [h("a", { href: `#function-${at}`, "data-key": `to function ${at}` }, visible(one.name)), short(one.files?.all ?? 0), short(one.runs), one.files?.failed ? h("span", { class: "bad strong" }, short(one.files.failed)) : "0",
      percent(one.cold ?? 0, one.runs), duration(total?.p50_ms), duration(total?.p99_ms), memory ? `${number(memory.max_bytes / 1048576)} / ${mib(memory.given_bytes)}` : "–", money(one.cost?.usd)];
  });
  root.replaceChildren(
    h("div", { class: "card" }, table("All functions", [["Function"], ["Files", n], ["Runs", n], ["Failed files", n], ["Cold", n], ["Median", n], ["99%", n], ["Memory: peak / given", n], ["Cost", n]], rows)),
    ...report.functions.map((one, at) => {
      const card = functionCard(one, at);
      return many ? h("details", { class: "plain card", id: `function-${at}`, "data-fold": `function ${at}` }, h("summary", { "data-key": `function ${at}` }, h("h3", {}, visible(one.name))), card) : h("div", { class: "card", id: `function-${at}` }, h("h3", { class: "silent" }, visible(one.name)), card);
    }));
}

function functionCard(one, at) {
  const by = one.by_status ?? {};
  const total = one.durations?.total;
  const fact = (label, value, more = "") => h("div", {}, h("dt", {}, label), h("dd", {}, value, more && h("small", {}, more)));
  const again = (one.attempts ?? []).slice(1).reduce((sum, count) => sum + count, 0);
  const attempts = (one.attempts ?? []).map((count, index) => [index + 1, count]).filter(([index, count]) => index > 1 && count).map(([index, count]) => `${short(count)} took ${index}${index === 10 ? " or more" : ""}`).join(", ");
  const handed = (by.delegated ?? 0) + (by.submitted ?? 0);
  const sums = Object.fromEntries(Object.entries(one.durations ?? {}).map(([key, values]) => [key, values.sum_ms]));
  const stages = drawnStages(sums).filter(([key, , ms]) => key !== "queued" && ms > 0);
  const all = stages.reduce((sum, [, , ms]) => sum + ms, 0);
  const cpu = one.durations?.cpu?.sum_ms;
  return h("div", { class: "function" },
    h("header", {}, h("span", { class: "strong", "aria-hidden": "true", style: { "font-size": "16px" } }, visible(one.name)), badge({ lambda: "Lambda", batch: "Batch", "lambda-batch": "Lambda, then Batch" }[one.mode] ?? visible(one.mode)), h("span", { class: "dim" }, visible([one.region, one.stack && `stack ${one.stack}`].filter(Boolean).join(", ")))),
    h("dl", { class: "facts" },
      fact("Files", number(one.files?.all ?? 0), `${number(one.files?.done ?? 0)} done`),
      fact("Failed files", one.files?.failed ? h("span", { class: "bad" }, number(one.files.failed)) : "0", one.files?.recovered ? `${number(one.files.recovered)} recovered` : ""),
      fact("Runs", number(one.runs), by.failed ? `${number(by.failed)} failed` : ""),
      fact("Cold / warm", `${short(one.cold ?? 0)} / ${short(one.warm ?? 0)}`),
      fact("Retried files", number(again), attempts && `${attempts} attempts`),
      handed > 0 && fact(by.delegated ? "Delegated to Batch" : "Jobs submitted", number(handed)),
      by.skipped > 0 && fact("Skipped", number(by.skipped), "empty or filtered"),
      by.duplicate > 0 && fact("Duplicates", number(by.duplicate), "not run again"),
      one.files?.unfinished > 0 && fact("Unfinished", number(one.files.unfinished), "handed to Batch"),
      fact("Read", bytes(one.input_bytes), one.largest_input_bytes ? `largest ${bytes(one.largest_input_bytes)}` : ""),
      fact("Written", bytes(one.output_bytes), plural(one.output_files ?? 0, "file")),
      one.cost && fact("Cost", money(one.cost.usd), `${money(one.cost.per_file_usd)} per file`),
      one.failure_queue > 0 && fact("In the failure queue", h("span", { class: "bad" }, number(one.failure_queue)))),
    h("div", { class: "parts" },
      total && h("div", {}, h("h4", {}, "Duration of runs"), histogram(total),
        one.durations.queued && h("p", { class: "advice" }, `Queued before: median ${duration(one.durations.queued.p50_ms)}, longest ${duration(one.durations.queued.max_ms)}.`)),
      all > 0 && h("div", {}, h("h4", {}, "Where the time goes"), stageBar(sums, { thick: true }),
        h("ul", { class: "shares" }, stages.map(([key, label, ms]) => h("li", {}, h("i", { class: `swatch ${key}` }), label, h("b", {}, percent(ms, all))))),
        cpu && sums.run && h("p", { class: "advice" }, `CPU: ${digits(cpu / sums.run, 2)} cores in use on average while the script runs.`)),
      one.memory && h("div", {}, h("h4", {}, one.memory_batch ? "Memory on Lambda" : "Memory"), memoryPlot(one.memory)),
      one.memory_batch && h("div", {}, h("h4", {}, one.memory ? "Memory in Batch" : "Memory"), memoryPlot(one.memory_batch))),
    (one.advice ?? []).map((text) => h("p", { class: "advice" }, visible(text))));
}

const PLOT = { width: 420, height: 128, base: 92 };

function histogram(times) {
  const bins = times.histogram ?? [];
  const low = Math.max(0.5, bins[0]?.[0] || times.min_ms || 1);
  const high = Math.max(low * 1.2, bins.at(-1)?.[1] ?? times.max_ms);
  const x = (ms) => (PLOT.width * Math.log(Math.max(ms, low) / low)) / Math.log(high / low);
  const most = Math.max(1, ...bins.map((bin) => bin[2]));
  const bars = bins.map(([from, to, count]) => {
    const left = x(from);
    const height = Math.max(1.5, (74 * count) / most);
    return s("rect", { class: "run", x: left + 0.5, y: PLOT.base - height, width: Math.max(1, x(to) - left - 1), height, rx: 1 }, s("title", {}, `${duration(from)} to ${duration(to)}: ${plural(count, "run")}`));
  });
  let free = -1;
  const marks = [["median", times.p50_ms], ["90%", times.p90_ms], ["99%", times.p99_ms]].map(([label, ms]) => {
    const at = x(ms);
    const text = `${label} ${duration(ms)}`;
    const wide = text.length * 5.8;
    const left = Math.min(Math.max(at - wide / 2, 0), PLOT.width - wide);
    const line = s("line", { class: "mark-line", x1: at, x2: at, y1: 16, y2: PLOT.base });
    if (left < free) return line;
    free = left + wide + 8;
    return [line, s("text", { class: "label", x: left, y: 10 }, text)];
  });
  const ends = [s("text", { x: 0, y: PLOT.base + 18 }, duration(times.min_ms ?? low)), s("text", { x: PLOT.width, y: PLOT.base + 18, "text-anchor": "end" }, duration(times.max_ms))];
  const text = `${plural(times.count, "run")}: from ${duration(times.min_ms)} to ${duration(times.max_ms)}, median ${duration(times.p50_ms)}, 90% up to ${duration(times.p90_ms)}, 99% up to ${duration(times.p99_ms)}`;
  return h("div", { class: "plot" }, s("svg", { viewBox: `0 0 ${PLOT.width} ${PLOT.height - 14}`, role: "img", "aria-label": text }, bars, marks, s("line", { class: "axisline", x1: 0, x2: PLOT.width, y1: PLOT.base + 0.5, y2: PLOT.base + 0.5 }), ends));
}

function memoryPlot(memory) {
  const given = memory.given_bytes ?? memory.max_bytes;
  const proposed = memory.proposed_mib ? memory.proposed_mib * 1048576 : null;
  const high = 1.04 * Math.max(given, memory.max_bytes, proposed ?? 0);
  const x = (value) => (PLOT.width * value) / high;
  const bins = memory.histogram ?? [];
  const most = Math.max(1, ...bins.map((bin) => bin[2]));
  const bars = bins.map(([from, to, count]) => {
    const height = Math.max(1.5, (52 * count) / most);
    return s("rect", { class: "stage-in", x: x(from), y: PLOT.base - height, width: Math.max(1.5, x(to) - x(from) - 0.6), height, rx: 1 }, s("title", {}, `${mib(from)} to ${mib(to)}: ${plural(count, "run")}`));
  });
  const changes = proposed !== null && Math.abs(proposed - given) > 1048576;
  const label = (value, text, kind, y) => {
    const wide = text.length * 5.9;
    return s("text", { class: `label ${kind}`, x: Math.min(Math.max(x(value) - wide / 2, 0), PLOT.width - wide), y }, text);
  };
  const marks = [s("line", { class: "given", x1: x(given), x2: x(given), y1: 16, y2: PLOT.base }), label(given, `given ${mib(given)}`, "", 10)];
  if (changes) marks.push(s("line", { class: "proposed", x1: x(proposed), x2: x(proposed), y1: 32, y2: PLOT.base }), label(proposed, `proposed ${mib(proposed)}`, "go", 27));
  const text = `Peak memory of ${plural(memory.count, "run")}: median ${mib(memory.p50_bytes)}, 99% up to ${mib(memory.p99_bytes)}, largest ${mib(memory.max_bytes)}. Given: ${mib(given)}.${proposed ? ` Proposed: ${mib(proposed)}.` : ""}`;
  return h("div", { class: "plot" }, s("svg", { viewBox: `0 0 ${PLOT.width} ${PLOT.height - 14}`, role: "img", "aria-label": text }, bars,
    s("line", { class: "axisline", x1: 0, x2: PLOT.width, y1: PLOT.base + 0.5, y2: PLOT.base + 0.5 }), marks,
    s("text", { x: 0, y: PLOT.base + 18 }, `median ${mib(memory.p50_bytes)}, 99% ${mib(memory.p99_bytes)}, largest ${mib(memory.max_bytes)}`)),
  memory.reason && h("p", { class: "advice" }, visible(memory.reason)));
}

// --- files

function runsTable(caption, list, report, chosen, key) {
  const n = "number";
  const longest = Math.max(1, ...list.map((run) => run.total_ms ?? 0));
  const heads = [["File", "name"], ["Function"], ["Status"], ["Stages", "stages"], ["Duration", n], ["Memory", n], ["Cost", n]];
  const priced = list.some((run) => run.cost_usd !== undefined && run.cost_usd !== null);
  const rows = list.map((run, at) => {
    const bar = stageBar(run.stages ?? { run: run.total_ms });
    bar.style.width = `${Math.max(1, (100 * (run.total_ms ?? 0)) / longest)}%`;
    const name = run.at ? h("button", { type: "button", class: "link", "data-key": `${key} ${at}`, onclick: () => chosen(run.at) }, fileName(run.subject)) : fileName(run.subject);
    const row = [name, visible(report.functions[run.function]?.name), run.status === "failed" ? badge("failed", "failed") : visible(run.status), bar,
      duration(run.total_ms), run.memory_used_bytes ? mib(run.memory_used_bytes) : "–"];
    return priced ? [...row, money(run.cost_usd)] : row;
  });
  return table(caption, priced ? heads : heads.slice(0, -1), rows);
}

function slowest(report, chosen) {
  const root = content("slowest");
  const list = report.slowest ?? [];
  if (!list.length) { root.replaceChildren(h("p", { class: "empty" }, "No runs.")); return; }
  const first = 15;
  root.replaceChildren(h("div", { class: "card" },
    runsTable("The slowest runs", list.slice(0, first), report, chosen, "slow"),
    list.length > first && folding("slowest", plural(list.length - first, "more run"), runsTable("More slow runs", list.slice(first), report, chosen, "slower"))));
}

// --- cost

function cost(report, chosen) {
  const { totals } = report;
  const section = find("cost");
  section.hidden = !isKnown(totals.cost_usd);
  if (section.hidden) return;
  const all = totals.cost_usd;
  const n = "number";
  const most = Math.max(1e-12, ...report.functions.map((one) => one.cost?.usd ?? 0));
  const rows = [...report.functions].filter((one) => one.cost).sort((a, b) => b.cost.usd - a.cost.usd).map((one) => [
    visible(one.name), h("span", { class: "money", style: { width: `${(100 * one.cost.usd) / most}%` } }), money(one.cost.usd), percent(one.cost.usd, all), money(one.cost.per_file_usd), money(1000 * one.cost.per_file_usd)]);
  const items = Object.entries(sumItems(report.functions)).sort((a, b) => b[1] - a[1]);
  const date = report.prices?.date;
  const missing = [...new Set(report.functions.flatMap((one) => one.cost?.missing ?? []))];
  const unknown = report.functions.reduce((sum, one) => sum + (one.cost?.runs_without_price ?? 0), 0);
  const unpriced = [missing.length && `Without a price: ${missing.map(visible).join(", ")}.`, unknown && `${plural(unknown, "run")} could not be priced.`].filter(Boolean).join(" ");
  content("cost").replaceChildren(
    h("p", { class: "intro" }, `${money(all)} in total${date ? `, with the prices of ${visible(date)}` : ""}: list prices without free tiers, discounts and taxes. ${unpriced}`),
    h("div", { class: "card" }, table("Cost by function", [["Function"], [h("span", { class: "silent" }, "Compared"), "wide-bar"], ["Cost", n], ["Share", n], ["Per file", n], ["Per 1,000 files", n]], rows)),
    items.length > 0 && h("div", { class: "card" }, table("Cost by item", [["Item"], [h("span", { class: "silent" }, "Compared"), "wide-bar"], ["Cost", n], ["Share", n]],
      items.map(([name, usd]) => [visible(name), h("span", { class: "money", style: { width: `${(100 * usd) / Math.max(1e-12, items[0][1])}%` } }), money(usd), percent(usd, all)]))),
    (report.costliest ?? []).length > 0 ? h("div", { class: "card" }, folding("costliest", "The costliest runs", runsTable("The costliest runs", report.costliest, report, chosen, "costly"))) : "");
}

function sumItems(all) {
  const items = {};
  for (const one of all) for (const [name, usd] of Object.entries(one.cost?.items ?? {})) items[name] = (items[name] ?? 0) + usd;
  return items;
}
