// Numbers, times and names as text. What comes from logs is shown as text only, without invisible characters.

const INVISIBLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu;
const visible = (text) => String(text ?? "").replace(INVISIBLE, "\uFFFD");
const visibleLines = (text) => String(text ?? "").split(/\r?\n/).map((line) => visible(line.replaceAll("\t", "    "))).join("\n");

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const SHORT = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const number = (value) => WHOLE.format(value);
const short = (value) => (value < 100000 ? number(value) : SHORT.format(value));
const plural = (value, one, many = `${one}s`) => `${number(value)} ${value === 1 ? one : many}`;

function digits(value, significant = 3) {
  if (value === 0) return "0";
  const after = Math.max(0, significant - 1 - Math.floor(Math.log10(Math.abs(value))));
  return value.toLocaleString("en", { maximumFractionDigits: Math.min(after, 12) });
}

function percent(part, whole) {
  if (!whole) return "0%";
  const share = (100 * part) / whole;
  if (share > 0 && share < 0.01) return "< 0.01%";
  if (share < 100 && share > 99.99) return "> 99.99%";
  return `${digits(share, share > 99 ? 4 : share < 10 ? 2 : 3)}%`;
}

function duration(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms < 1) return ms > 0 ? `${digits(ms, 2)} ms` : "0 ms";
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 59.95) return `${seconds.toFixed(seconds < 9.995 ? 2 : 1)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
  const hours = Math.round(seconds / 3600);
  if (hours < 24 * 365) return `${number(Math.floor(hours / 24))} d ${hours % 24} h`;
  return `${digits(hours / 8760, 3)} years`;
}

function bytes(value) {
  if (value === null || value === undefined) return "–";
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) { value /= 1000; unit += 1; }
  return `${digits(value, 3)} ${units[unit]}`;
}

const mib = (value) => `${number(value / 1048576)} MiB`;

function money(usd) {
  if (usd === null || usd === undefined) return "–";
  if (usd === 0) return "0 USD";
  if (usd >= 1000) return `${number(usd)} USD`;
  if (usd >= 0.995) return `${usd.toFixed(2)} USD`;
  return `${digits(usd, 2)} USD`;
}

const pad = (value, width = 2) => String(value).padStart(width, "0");
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

function clock(ms, step = 1000) {
  const at = new Date(ms);
  const minutes = `${pad(at.getHours())}:${pad(at.getMinutes())}`;
  if (step >= 60000) return minutes;
  const seconds = `${minutes}:${pad(at.getSeconds())}`;
  return step >= 1000 ? seconds : `${seconds}.${pad(at.getMilliseconds(), 3).slice(0, step >= 100 ? 1 : step >= 10 ? 2 : 3)}`;
}

function day(ms) {
  const at = new Date(ms);
  return `${at.getDate()} ${MONTHS[at.getMonth()]}`;
}

const moment = (ms) => `${day(ms)} ${new Date(ms).getFullYear()}, ${clock(ms)}`;

function zone() {
  const part = new Intl.DateTimeFormat("en", { timeZoneName: "short" }).formatToParts().find((one) => one.type === "timeZoneName");
  return part ? part.value : "";
}

const baseName = (subject) => subject.slice(subject.lastIndexOf("/") + 1) || subject;
