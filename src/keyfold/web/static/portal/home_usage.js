// How the keys are used for events: counts, a chart, how long it took, and the same as tables.

import { chart } from "./chart.js";
import { clock, date, empty, h, mono, number, segments, theirs } from "./dom.js";
import { ask } from "./net.js";
import { environment } from "./rules.js";
import { t } from "./texts.js";

const STEPS = { minute: 60, hour: 3600, day: 86400 };
const isRefused = (outcome) => outcome.startsWith("refused:");
const LINES = [
  { name: "published", color: "ink", has: (outcome) => outcome === "published" },
  { name: "delivered", color: "good", dash: [6, 4], has: (outcome) => outcome === "delivered" },
  { name: "refused", color: "bad", dash: [2, 3], has: isRefused },
];

export async function render(seen, again) {
  const at = { resolution: "hour", environment: "", stop: () => {} };
  const body = h("div", {});
  const draw = async () => {
    at.stop();
    const asked = new URLSearchParams({ resolution: at.resolution, ...(at.environment && { environment: at.environment }) });
    const { parts, stop } = await report(...(await Promise.all([ask("GET", `/api/v1/portal/usage?${asked}`), ask("GET", "/api/v1/portal")])));
    at.stop = stop;
    body.replaceChildren(...parts.flat(Infinity).filter(Boolean));
  };
  await draw();
  const set = (name) => (value) => {
    at[name] = value;
    draw().catch(again);
  };
  const ranges = Object.keys(STEPS).map((each) => [each, t(`usage.${each}`)]);
  const environments = [["", t("home.all")], ...seen.environments.map((each) => [each, each])];
  const bar = h(
    "div",
    { class: "toolbar" },
    segments(t("usage.range"), ranges, at.resolution, set("resolution")),
    segments(t("home.environment"), environments, "", set("environment")),
  );
  const timer = setInterval(() => document.hidden || draw().catch(() => {}), 30000);
  const stop = () => {
    clearInterval(timer);
    at.stop();
  };
  return { parts: [bar, body], stop };
}

async function report(usage, { keys }) {
  const outcomes = Object.keys(usage.totals);
  if (!outcomes.length) return { parts: [empty(t("usage.none"), t("usage.none.todo"))], stop: () => {} };
  const total = (line) => outcomes.filter(line.has).reduce((sum, outcome) => sum + usage.totals[outcome].count, 0);
  const counts = Object.fromEntries(LINES.map((line) => [line.name, number().format(total(line))]));
  const tiles = LINES.map((line) => h("div", {}, h("dt", {}, t(`usage.${line.name}`)), h("dd", {}, counts[line.name])));
  const { times, series } = lines(usage);
  const drawn = await chart(times, series, t("usage.chart", counts));
  return {
    parts: [h("dl", { class: "tiles" }, tiles), drawn.element, asTable(times, series, usage.resolution), totals(usage), latency(usage), byKey(usage, keys)],
    stop: drawn.stop,
  };
}

function lines(usage) {
  const step = STEPS[usage.resolution];
  const first = Date.parse(usage.from) / 1000;
  const times = [];
  for (let at = first; at < Date.parse(usage.to) / 1000; at += step) times.push(at);
  const series = LINES.map((line) => ({ ...line, label: t(`usage.${line.name}`), values: times.map(() => 0) }));
  for (const point of usage.series) {
    const at = Math.floor((Date.parse(point.at) / 1000 - first) / step);
    for (const line of series) if (line.has(point.outcome) && at in line.values) line.values[at] += point.count;
  }
  return { times, series };
}

const isNumber = (value) => typeof value === "number" || Boolean(value?.classList?.contains("number"));

/** Rows of cells; a number, or an element that says so of itself, is in a cell that is aligned as one. */
function table(heads, rows) {
  const cell = (value) => h("td", { class: isNumber(value) && "number" }, typeof value === "number" ? number().format(value) : value);
  const head = (text, at) => h("th", { scope: "col", class: isNumber(rows[0]?.[at]) && "number" }, text);
  return h("div", { class: "scroll", tabindex: "0" }, h("table", {}, h("thead", {}, h("tr", {}, heads.map(head))), h("tbody", {}, rows.map((row) => h("tr", {}, row.map(cell))))));
}

function asTable(times, series, resolution) {
  const shown = (at) => new Date(at * 1000).toISOString();
  const rows = times
    .map((at, index) => [resolution === "day" ? date(shown(at)) : clock(shown(at)), ...series.map((line) => line.values[index])])
    .filter((row) => row.slice(1).some(Boolean));
  return h("details", {}, h("summary", {}, t("usage.table")), table([t("usage.at"), ...series.map((line) => line.label)], rows));
}

const named = (outcome) =>
  isRefused(outcome)
    ? [`${t("usage.refused")}: `, h("a", { href: `/docs/errors#${outcome.slice(8)}`, target: "_blank", rel: "noopener" }, outcome.slice(8))]
    : outcome;

const totals = ({ totals: all }) => [
  h("h3", {}, t("usage.totals")),
  table([t("usage.outcome"), t("usage.count"), t("usage.bytes")], Object.entries(all).map(([outcome, { count, bytes }]) => [named(outcome), count, bytes])),
];

function latency({ latency: { bounds, byOutcome } }) {
  const known = Object.entries(byOutcome);
  if (!known.length) return null;
  const last = bounds.at(-1);
  const shown = (seconds) => h("span", { class: "number" }, seconds === null ? t("usage.more", { n: last }) : `≤ ${number().format(seconds * 1000)} ms`);
  const rows = known.map(([outcome, { p50, p99 }]) => [named(outcome), shown(p50), shown(p99)]);
  return [h("h3", {}, t("usage.latency")), h("p", { class: "quiet" }, t("usage.latency.what")), table([t("usage.outcome"), t("usage.p50"), t("usage.p99")], rows)];
}

function byKey({ byKey: used }, keys) {
  const known = new Map(keys.map((key) => [key.id, key]));
  const who = (id) => [known.has(id) && [environment(known.get(id)), " ", theirs(known.get(id).name), " "], mono(id)];
  const sum = (outcomes, line) => Object.entries(outcomes).filter(([outcome]) => line.has(outcome)).reduce((all, [, { count }]) => all + count, 0);
  const rows = Object.entries(used).map(([id, outcomes]) => [who(id), ...LINES.map((line) => sum(outcomes, line))]);
  return rows.length > 1 && [h("h3", {}, t("usage.byKey")), table([t("usage.key"), ...LINES.map((line) => t(`usage.${line.name}`))], rows)];
}
