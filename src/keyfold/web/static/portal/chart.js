// Lines over time, with the vendored uPlot, which is loaded when the first chart is wanted.

import { LOCALE, h, once } from "./dom.js";

const DASHES = ["solid", "solid", "dashed", "dotted"];
const load = (made) =>
  new Promise((resolve, reject) => {
    made.onload = resolve;
    made.onerror = () => reject(new TypeError("the chart can't be loaded"));
    document.head.append(made);
  });

let loaded;
const beside = (name) => new URL(`../vendor/${name}`, import.meta.url).href;
function library() {
  loaded ??= Promise.all([load(h("script", { src: beside("uplot.js") })), load(h("link", { rel: "stylesheet", href: beside("uplot.css") }))]);
  return loaded;
}

/** The color that a variable of the stylesheet comes to in this appearance. */
function colorOf(name) {
  const probe = h("span", { class: `probe ${name}` });
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

const hour = once(() => new Intl.DateTimeFormat(LOCALE, { hour: "2-digit", minute: "2-digit" }));
const day = once(() => new Intl.DateTimeFormat(LOCALE, { day: "numeric", month: "short" }));

/** What stands at the axis of time, with the day where one begins: uPlot's own is American. */
const times = (_, splits, axis, space, step) =>
  splits.map((seconds, at) => {
    const moment = new Date(seconds * 1000);
    if (step >= 86400) return day().format(moment);
    const begins = at === 0 || moment.getHours() + moment.getMinutes() === 0;
    return hour().format(moment) + (begins ? `\n${day().format(moment)}` : "");
  });

/** `series`: {label, color, dash, values} each, `times` in seconds. Gives the element, and what ends it. */
export async function chart(moments, series, label) {
  await library();
  const holder = h("div", { class: "chart", role: "img", "aria-label": label });
  let drawn;
  const draw = () => {
    drawn?.destroy();
    const width = Math.max(240, holder.clientWidth);
    const axis = { stroke: colorOf("quiet"), grid: { stroke: colorOf("line"), width: 1 }, ticks: { show: false } };
    const lines = series.map((each) => ({ label: each.label, stroke: colorOf(each.color), dash: each.dash, width: 2, points: { show: moments.length < 3 } }));
    const options = { width, height: 240, cursor: { y: false }, legend: { live: false, markers: { width: 2, dash: (_, at) => DASHES[at] } }, axes: [{ ...axis, values: times }, { ...axis, size: 56 }], series: [{}, ...lines] };
    options.scales = { y: { range: (u, low, high) => [0, Math.max(4, high * 1.1)] } };
    drawn = new uPlot(options, [moments, ...series.map((each) => each.values)], holder);
  };
  const watcher = new ResizeObserver(() => holder.isConnected && holder.clientWidth !== drawn?.width && draw());
  watcher.observe(holder);
  addEventListener("keyfold:theme", draw);
  const stop = () => {
    watcher.disconnect();
    removeEventListener("keyfold:theme", draw);
    drawn?.destroy();
  };
  return { element: holder, stop };
}
