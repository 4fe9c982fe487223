// Events as they go by, with filters.

import { button, clock, empty, field, h, json, mono, segments, select, state } from "./dom.js";
import { follow } from "./net.js";
import { t } from "./texts.js";

const KEPT = 200;
const AGO = { hour: 3600, day: 86400 };
const fromOf = (name) => (name in AGO ? new Date(Date.now() - AGO[name] * 1000).toISOString() : name);

export async function render(seen) {
  const at = { environment: seen.environments[0], direction: "", topics: "", from: "hour", stop: () => {}, isPaused: false };
  const list = h("ol", { class: "live wide", "aria-label": t("events.list") });
  const line = h("span", {});
  const restart = () => {
    at.stop();
    list.replaceChildren(h("li", { class: "nothing" }, empty(t("events.none"), t("events.none.todo"))));
    at.stop = at.isPaused ? () => {} : begin(at, list, line);
  };
  const set = (name) => (value) => {
    at[name] = value;
    restart();
  };
  restart();
  const more = h("p", { class: "quiet" }, t("events.kept", { n: KEPT }));
  return { parts: [filters(seen, at, set), controls(at, list, line, restart), list, more], stop: () => at.stop() };
}

function filters(seen, at, set) {
  const environments = seen.environments.map((each) => [each, each]);
  const directions = [["", t("events.both")], ["sent", t("events.sent")], ["received", t("events.received")]];
  const froms = ["end", "hour", "day", "beginning"].map((each) => [each, t(`events.from.${each}`)]);
  const topics = h("input", { name: "topics", autocomplete: "off", placeholder: "app/order/*, app/**", spellcheck: "false", onchange: (event) => set("topics")(event.target.value.trim()) });
  return h(
    "div",
    { class: "toolbar" },
    segments(t("home.environment"), environments, at.environment, set("environment")),
    segments(t("events.direction"), directions, "", set("direction")),
    field(t("events.from"), select(froms, at.from, set("from"))),
    field(t("events.topics"), topics, t("events.topics.hint")),
  );
}

function controls(at, list, line, restart) {
  const pause = button(t("events.pause"), () => {
    at.isPaused = !at.isPaused;
    pause.textContent = t(at.isPaused ? "events.go" : "events.pause");
    if (at.isPaused) {
      at.stop();
      line.replaceChildren(state("waiting", t("live.paused")));
    } else {
      at.stop = begin(at, list, line, at.last);
    }
  });
  return h("p", { class: "actions" }, line, h("span", { class: "spacer" }), pause, button(t("events.clear"), () => list.replaceChildren()));
}

/** From where it was paused on, or else as is asked for. */
function begin(at, list, line, last) {
  const asked = { environment: at.environment, from: last === undefined ? fromOf(at.from) : String(last + 1) };
  if (at.direction) asked.direction = at.direction;
  if (at.topics) asked.topics = at.topics.replaceAll(" ", "");
  if (last === undefined) at.last = undefined;
  const onevent = (passing) => {
    at.last = passing.sequence;
    list.querySelector(".nothing")?.remove();
    list.prepend(entry(passing));
    while (list.children.length > KEPT) list.lastChild.remove();
  };
  return follow(asked, onevent, (name) => line.replaceChildren(state(name, t(`live.${name}`))));
}

const entry = ({ sequence, storedAt, topic, direction, keyId, road, test, to, event }) =>
  h(
    "li",
    { "data-sequence": sequence },
    h(
      "details",
      {},
      h(
        "summary",
        {},
        h("span", { class: "number" }, `#${sequence}`),
        " ",
        clock(storedAt),
        " ",
        h("code", {}, topic),
        direction.map((each) => [" ", state(each, t(`live.${each}`))]),
        test ? [" ", state("test", t("live.test"))] : road && [" ", h("span", { class: "badge" }, t(`live.${road}`))],
        to && [" ", h("span", { class: "badge" }, t("events.to"))],
      ),
      keyId && h("p", { class: "quiet" }, t("usage.key"), " ", mono(keyId)),
      json(event),
    ),
  );
