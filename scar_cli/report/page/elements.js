// Elements are created here, and nowhere from text: no string is ever parsed as HTML.

const SVG = "http://www.w3.org/2000/svg";

function build(element, properties, children) {
  for (const [key, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "style") for (const [name, one] of Object.entries(value)) element.style.setProperty(name, one);
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const h = (tag, properties, ...children) => build(document.createElement(tag), properties, children);
const s = (tag, properties, ...children) => build(document.createElementNS(SVG, tag), properties, children);
const find = (id) => document.getElementById(id);
const content = (id) => find(id).querySelector(".content");
const say = (text) => { find("said").textContent = text; };
const fileName = (text) => h("bdi", { class: "name" }, visible(text));
const badge = (text, kind = "") => h("span", { class: `badge ${kind}` }, text);

const STAGES = [
  ["queued", "Queued"], ["init", "Cold start"], ["stage-in", "Stage-in"], ["run", "Run"], ["stage-out", "Stage-out"], ["other", "Other"],
];
const STAGE_NAMES = Object.fromEntries(STAGES);

/** Stages as they are drawn: pulling an image is a part of the cold start. */
function drawnStages(stages) {
  return STAGES.map(([key, label]) => [key, label, (stages[key] ?? 0) + (key === "init" ? stages.image ?? 0 : 0)]);
}

function stageBar(stages, { queue = false, thick = false } = {}) {
  const shown = drawnStages(stages).filter(([key, , ms]) => ms > 0 && (queue || key !== "queued"));
  const total = shown.reduce((sum, [, , ms]) => sum + ms, 0) || 1;
  const text = shown.map(([, label, ms]) => `${label} ${duration(ms)}`).join(", ");
  return h("div", { class: `stagebar${thick ? " thick" : ""}`, role: "img", "aria-label": text, title: text },
    shown.map(([key, , ms]) => h("i", { class: key, style: { width: `${(100 * ms) / total}%` } })));
}

function legend(keys) {
  return h("ul", { class: "legend" }, STAGES.filter(([key]) => keys.has(key)).map(([key, label]) => h("li", {}, h("i", { class: `swatch ${key}` }), label)),
    keys.has("failed") && h("li", {}, h("i", { class: "swatch fails" }), "Failed"));
}

function table(caption, heads, rows, foot = null) {
  const cell = (tag, kind, value, more = {}) => h(tag, { class: kind || null, ...more }, value);
  return h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": caption },
    h("table", {},
      h("caption", { class: "silent" }, caption),
      h("thead", {}, h("tr", {}, heads.map(([label, kind]) => cell("th", kind, label, { scope: "col" })))),
      h("tbody", {}, rows.map((row) => h("tr", {}, row.map((value, at) => (at === 0 ? cell("th", heads[at][1], value, { scope: "row" }) : cell("td", heads[at][1], value)))))),
      foot && h("tfoot", {}, h("tr", {}, foot.map((value, at) => (at === 0 ? cell("th", heads[at][1], value, { scope: "row" }) : cell("td", heads[at][1], value)))))));
}

/** A command with a button that copies it. Line breaks cannot reach a terminal: they are replaced. */
function command(text, key) {
  const code = h("code", {}, visible(text));
  const button = h("button", { type: "button", "data-key": key, "aria-label": `Copy: ${visible(text)}` }, "Copy");
  button.addEventListener("click", async () => {
    button.textContent = (await copied(code)) ? "Copied" : "Select it";
    say(button.textContent === "Copied" ? "Copied" : "The command is selected. Copy it with the keyboard.");
    setTimeout(() => { button.textContent = "Copy"; }, 1600);
  });
  return h("div", { class: "command" }, code, button);
}

async function copied(element) {
  try {
    await navigator.clipboard.writeText(element.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(element);
    return document.execCommand("copy");
  }
}

/** A `details` element that stays open when the page is rendered again. */
function folding(key, label, body, open = false) {
  return h("details", { "data-fold": key, open }, h("summary", { "data-key": `fold ${key}` }, label), body);
}
