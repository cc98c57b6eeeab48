// The page: `show(document)` renders a document, and again the next one; zoom, focus and what was opened stay.

const SECTIONS = [["overview", "Overview"], ["workflow", "Workflow"], ["timeline", "Timeline"], ["follow", "Files"], ["failures", "Failures"],
  ["functions", "Functions"], ["slowest", "Slowest"], ["cost", "Cost"]];
const rendered = {};
let timeline = null;
let follow = null;
let report = null;
let runs = null;

async function show(document_) {
  report = document_;
  const { workflow, functions: all, totals } = report;
  const names = all.map((one) => one.name);
  renew("head", [report.title, report.period, totals, report.asked, report.notes, names], () => heading(report));
  renew("overview", [totals, all, report.period], () => overview(report));
  renew("workflow", [workflow, all], drawWorkflow);
  renew("failures", [report.failures, names, all.map((one) => one.failure_queue)], () => failures(report));
  renew("functions", all, () => functions(report));
  renew("slowest", [report.slowest, names], () => slowest(report, openRun));
  renew("cost", [totals.cost_usd, report.prices, names, all.map((one) => one.cost), report.costliest], () => cost(report, openRun));
  showSections();
  find("foot").textContent = `Written ${moment(report.made_ms)} ${zone()}${report.command ? ` by ${visible(report.command)}` : ""}.`;
  const next = new Runs(report);
  await next.loadTimeline();
  if (report !== document_) return;
  runs = next;
  timeline ??= new Timeline(content("timeline"), (chunk, row) => follow.choose(chunk, row));
  follow ??= new Follow(content("follow"), (chunk, first) => timeline.mark(chunk, first));
  timeline.show(report, runs);
  await follow.show(report, runs);
}

/** Render a section if its part of the document has changed; keep its focus and what is open. */
function renew(name, part, render) {
  const text = JSON.stringify(part);
  if (rendered[name] === text) return;
  rendered[name] = text;
  const section = find(name);
  const focused = section.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  const folds = new Map([...section.querySelectorAll("details[data-fold]")].map((one) => [one.dataset.fold, one.open]));
  render();
  for (const one of section.querySelectorAll("details[data-fold]")) one.open = folds.get(one.dataset.fold) ?? one.open;
  if (focused) [...section.querySelectorAll("[data-key]")].find((one) => one.dataset.key === focused)?.focus({ preventScroll: true });
}

function drawWorkflow() {
  const root = content("workflow");
  const has = report.workflow?.nodes?.length > 0;
  find("workflow").hidden = !has;
  if (!has) return;
  const picture = h("div", { class: "canvas", tabindex: "0", role: "group", "aria-labelledby": "workflow-title" }, workflowPicture(report, root.clientWidth - 66));
  root.replaceChildren(h("div", { class: "card" }, picture, folding("workflow", "As a table", workflowTable(report))));
}

function openRun([chunk, row]) {
  if (!runs?.chunks[chunk]) return;
  follow.choose(runs.chunks[chunk], row);
  find("follow").scrollIntoView();
  find("find").focus({ preventScroll: true });
}

function showSections() {
  const seen = SECTIONS.filter(([id]) => !find(id).hidden);
  if (find("sections").childElementCount === seen.length) return;
  find("sections").replaceChildren(...seen.map(([id, label]) => h("li", {}, h("a", { href: `#${id}` }, label))));
}

function markSection() {
  const middle = innerHeight * 0.35;
  const current = SECTIONS.filter(([id]) => !find(id).hidden && find(id).getBoundingClientRect().top < middle).at(-1)?.[0];
  for (const link of find("sections").querySelectorAll("a")) {
    if (link.hash === `#${current}`) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current");
  }
}

// --- theme

const dark = matchMedia("(prefers-color-scheme: dark)");

function stored(theme) {
  try {
    if (theme) localStorage.setItem("scar-theme", theme);
    return localStorage.getItem("scar-theme");
  } catch {
    return theme ?? null;
  }
}

function applyTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  const isDark = theme ? theme === "dark" : dark.matches;
  find("theme").setAttribute("aria-pressed", isDark);
  timeline?.draw();
}

find("theme").addEventListener("click", () => applyTheme(stored(find("theme").getAttribute("aria-pressed") === "true" ? "light" : "dark")));
dark.addEventListener("change", () => applyTheme(stored()));
applyTheme(stored());

// --- printing: everything is open, in the light theme

let before = null;
addEventListener("beforeprint", () => {
  before = { theme: document.documentElement.dataset.theme, closed: [...document.querySelectorAll("details:not([open]):not([data-fold=timeline])")] };
  document.documentElement.dataset.theme = "light";
  for (const one of before.closed) one.open = true;
  timeline?.drawNow();
});
addEventListener("afterprint", () => {
  for (const one of before.closed) one.open = false;
  if (before.theme) document.documentElement.dataset.theme = before.theme; else delete document.documentElement.dataset.theme;
  timeline?.drawNow();
});

// --- links, keys and sizes

function openLinked() {
  const target = find(decodeURIComponent(location.hash.slice(1)));
  if (target?.tagName === "DETAILS") { target.open = true; target.scrollIntoView(); }
}

let resizing = null;
let width = innerWidth;
addEventListener("hashchange", openLinked);
addEventListener("scroll", markSection, { passive: true });
addEventListener("resize", () => {
  if (innerWidth === width) return;
  width = innerWidth;
  clearTimeout(resizing);
  resizing = setTimeout(() => { if (report) { delete rendered.workflow; renew("workflow", 0, drawWorkflow); } }, 150);
});
addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea")) return;
  event.preventDefault();
  find("find")?.focus();
});

// --- the document of this file, and with `scar watch --web` those that follow

function watch(address) {
  const state = h("span", { class: "live" }, "Live");
  find("mark").replaceChildren("scar watch");
  find("theme").before(state);
  const source = new EventSource(address);
  const told = (text, ended) => { state.textContent = text; state.classList.toggle("ended", ended); };
  source.onmessage = ({ data }) => {
    if (data) { told("Live", false); show(JSON.parse(data)); } else { source.close(); told("Ended", true); }
  };
  source.onerror = () => told(source.readyState === EventSource.CLOSED ? "Ended" : "Reconnecting", true);
}

const first = find("report").textContent;
find("report").remove();
const ready = show(JSON.parse(first)).then(() => { openLinked(); markSection(); performance.mark("shown"); });
const live = document.querySelector("meta[name=scar-live]").content;
if (live) ready.then(() => watch(live));
