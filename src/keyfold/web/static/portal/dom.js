// Elements made by hand. Texts go in as text, whatever is in them: a name with markup shows its markup.

import { t } from "./texts.js";

export const $ = (selector, inside = document) => inside.querySelector(selector);

const SVG = "http://www.w3.org/2000/svg";
const fill = (made, properties, children) => {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked") made[name] = value;
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return made;
};

export const h = (name, properties = {}, ...children) => fill(document.createElement(name), properties, children);
export const svg = (name, properties = {}, ...children) => fill(document.createElementNS(SVG, name), properties, children);

export const button = (text, onclick, properties = {}) => h("button", { type: "button", onclick, ...properties }, text);
/** A name or text that somebody else wrote, in whatever direction it runs. */
export const theirs = (text, name = "bdi") => h(name, name === "bdi" ? {} : { dir: "auto", class: "text" }, text ?? "");

// formatting characters of bidirectional text that turn or embed what follows
const TURNING = /[\u202a-\u202e\u2066-\u2069]/g;
/** The same where nothing can set it apart from the words around it, as in a list to choose from. */
export const straight = (text) => text.replace(TURNING, "");

let fading;
export function say(text) {
  clearTimeout(fading);
  $("#said").textContent = text;
  if (text) fading = setTimeout(() => say(""), 8000);
}

/** Puts this section in the place of whatever was shown, and the reader at its beginning. */
export function show(id, title, ...parts) {
  const heading = h("h1", { tabindex: "-1" }, title);
  const section = h("section", { id, class: "sheet" }, heading, ...parts);
  const isFirst = !$("main > section");
  $("main").replaceChildren(section);
  if (!isFirst) {
    // where the reader was is gone; of a page that begins this would only cost time
    heading.focus({ preventScroll: true });
    scrollTo({ top: 0, behavior: "instant" });
  }
  say("");
  performance.mark("shown");
  return section;
}

/** What is made when it is first needed, as a browser takes long for it. */
export const once = (make) => {
  let made;
  return () => (made ??= make());
};
// that of the texts, whatever the browser's is: a sentence has one language
export const LOCALE = "en-GB";
const exact = once(() => new Intl.DateTimeFormat(LOCALE, { dateStyle: "medium", timeStyle: "long" }));
const precise = once(() => new Intl.DateTimeFormat(LOCALE, { timeStyle: "medium" }));
const relative = once(() => new Intl.RelativeTimeFormat(LOCALE, { numeric: "auto" }));
export const number = once(() => new Intl.NumberFormat(LOCALE));
const UNITS = [["year", 31536000], ["month", 2592000], ["week", 604800], ["day", 86400], ["hour", 3600], ["minute", 60]];

function distance(moment) {
  const seconds = (moment - Date.now()) / 1000;
  for (const [n, [unit, size]] of UNITS.entries()) {
    // so little before it is whole, a larger unit is said, and never 60 minutes
    if (Math.abs(seconds) >= size - (UNITS[n + 1]?.[1] ?? 0) / 2) return relative().format(Math.round(seconds / size), unit);
  }
  return Math.abs(seconds) < 10 ? t("time.now") : relative().format(Math.trunc(seconds), "second");
}

/** A moment as people speak of it, with the exact one on hover. */
export function when(text) {
  const moment = new Date(text);
  return h("time", { datetime: text, title: exact().format(moment), "data-relative": true }, distance(moment));
}

export const clock = (text) => h("time", { datetime: text, title: exact().format(new Date(text)) }, precise().format(new Date(text)));
export const date = (text) => h("time", { datetime: text }, exact().format(new Date(text)));

/** What has a date in it that somebody must keep: both, since a phone has no hover. */
export const due = (text) => [when(text), " (", date(text), ")"];

setInterval(() => {
  for (const each of document.querySelectorAll("time[data-relative]")) each.textContent = distance(new Date(each.dateTime));
}, 10000);

/** In days, hours, minutes and seconds, none left out. */
export function duration(seconds) {
  const parts = [];
  let left = seconds;
  for (const [unit, size] of [...UNITS.slice(3), ["second", 1]]) {
    const many = Math.floor(left / size);
    left -= many * size;
    if (many) parts.push(new Intl.NumberFormat(LOCALE, { style: "unit", unit, unitDisplay: "long" }).format(many));
  }
  return parts.join(", ");
}

/** An id or key, shown without its middle; what is selected and copied is the whole. */
export function mono(id, properties = {}) {
  const [head, tail] = id.length > 20 ? [id.slice(0, id.lastIndexOf("_") + 5), id.slice(-6)] : [id, ""];
  const middle = id.slice(head.length, id.length - tail.length);
  return h("code", { class: "id", title: id, ...properties }, head, middle && h("span", { class: "middle" }, middle), tail);
}

export const shortened = (secret) => `${secret.slice(0, 12)}…${secret.slice(-4)}`;

/** Copies, or where there is no clipboard selects what is to be copied. */
export async function copy(text, said, element) {
  try {
    await navigator.clipboard.writeText(text);
    say(said);
  } catch {
    if (element) getSelection().selectAllChildren(element);
    say(t(element ? "copy.selected" : "copy.failed"));
  }
}

/** A state is a word with a dot, and never a color alone. */
export const state = (name, word = t(`state.${name}`)) => h("span", { class: `state ${name}` }, word);

export const empty = (title, todo, ...more) => h("div", { class: "empty" }, h("p", {}, h("strong", {}, title)), h("p", {}, todo), ...more);

/** JSON in which nothing turns the direction of the rest: such characters show as what JSON has for them. */
export const asJson = (value, indent) =>
  JSON.stringify(value, null, indent).replace(TURNING, (turning) => `\\u${turning.charCodeAt(0).toString(16)}`);
export const json = (value) => h("pre", { tabindex: "0", class: "json" }, h("code", {}, asJson(value, 2)));

let named = 0;
/** A field with its label, and what there is to say of it. */
export function field(label, control, hint = "") {
  const id = `field-${++named}`;
  control.id = id;
  const said = hint && h("span", { class: "hint", id: `${id}-hint` }, hint);
  if (said) control.setAttribute("aria-describedby", said.id);
  return h("p", { class: "field" }, h("label", { for: id }, label), control, said);
}

/** Says at a control what is wrong with it, or that nothing is. */
export function fault(control, text = "") {
  const place = control.closest(".field, fieldset");
  place.querySelector(".fault")?.remove();
  const said = text && h("span", { class: "fault", id: `fault-${++named}` }, text);
  const about = [place.querySelector(".hint")?.id, said.id].filter(Boolean).join(" ");
  if (said) place.append(said);
  if (about) control.setAttribute("aria-describedby", about);
  else control.removeAttribute("aria-describedby");
  if (text && control !== place) control.setAttribute("aria-invalid", "true");
  else control.removeAttribute("aria-invalid");
}

/** One of several, as buttons side by side. `choices`: [value, label] each. */
export function segments(label, choices, chosen, onchoose) {
  const buttons = choices.map(([value, text]) =>
    button(text, () => choose(value), { "aria-pressed": String(value === chosen), "data-value": value }),
  );
  const choose = (value) => {
    for (const each of buttons) each.setAttribute("aria-pressed", String(each.dataset.value === value));
    onchoose(value);
  };
  return h("span", { class: "segments", role: "group", "aria-label": label }, buttons);
}

export const select = (choices, chosen, onchange, properties = {}) =>
  h(
    "select",
    { onchange: (event) => onchange?.(event.target.value), ...properties },
    choices.map(([value, text]) => h("option", { value, selected: value === chosen }, text)),
  );
