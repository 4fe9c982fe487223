// Events as they go by, with filters, which stand in the address: a reload keeps them, and a colleague can be sent them.

import { button, clock, empty, fault, field, h, json, mono, say, segments, select, state } from "./dom.js";
import { follow, said } from "./net.js";
import { t } from "./texts.js";

const KEPT = 200;
const AGO = { hour: 3600, day: 86400 };
const FROM = ["end", "hour", "day", "beginning"];
const DIRECTIONS = ["", "sent", "received"];
const fromOf = (name) => (name in AGO ? new Date(Date.now() - AGO[name] * 1000).toISOString() : name);

/** What the address asks for, as far as it can be; what it doesn't name is as usual. */
function wantedOf({ environments }) {
  const asked = new URLSearchParams(location.hash.split("?")[1]);
  const one = (name, known, usual) => (known.includes(asked.get(name)) ? asked.get(name) : usual);
  return {
    environment: one("environment", environments, environments[0]),
    direction: one("direction", DIRECTIONS, ""),
    from: one("from", FROM, "hour"),
    topics: asked.get("topics") ?? "",
  };
}

function keep({ environment, direction, from, topics }) {
  const said = new URLSearchParams({ environment, from, ...(direction && { direction }), ...(topics && { topics }) });
  history.replaceState(null, "", `#events?${said}`);
}

export async function render(seen, again) {
  const at = { ...wantedOf(seen), stop: () => {}, isPaused: false };
  const list = h("ol", { class: "live wide", "aria-label": t("events.list") });
  const line = h("span", {});
  const topics = h("input", { name: "topics", value: at.topics, autocomplete: "off", placeholder: "app/order/*, app/**", spellcheck: "false", onchange: (event) => set("topics")(event.target.value.trim()) });
  const clear = () => {
    keep({ ...at, direction: "", topics: "" });
    again();
  };
  const restart = () => {
    at.stop();
    list.replaceChildren(h("li", { class: "nothing" }, nothing(at, clear)));
    at.stop = at.isPaused ? () => {} : begin(at, list, line, topics);
  };
  const set = (name) => (value) => {
    at[name] = value;
    keep(at);
    restart();
  };
  const bar = filters(seen, at, set, topics);
  restart();
  const more = h("p", { class: "quiet" }, t("events.marks"), " ", t("events.kept", { n: KEPT }));
  return { parts: [bar, controls(at, list, line, topics), list, more], stop: () => at.stop() };
}

/** An empty list, and whether that is because of what was asked for. */
function nothing({ environment, direction, from, topics }, clear) {
  if (!direction && !topics) return empty(t("events.none"), t("events.none.todo"));
  const todo = t("events.unmatched.todo", { environment, from: t(`events.from.${from}`) });
  return empty(t("events.unmatched"), todo, button(t("events.unfilter"), clear, { id: "unfilter" }));
}

function filters(seen, at, set, topics) {
  const environments = seen.environments.map((each) => [each, each]);
  const directions = DIRECTIONS.map((each) => [each, t(`events.${each || "both"}`)]);
  const froms = FROM.map((each) => [each, t(`events.from.${each}`)]);
  return h(
    "div",
    { class: "toolbar" },
    segments(t("home.environment"), environments, at.environment, set("environment")),
    segments(t("events.direction"), directions, at.direction, set("direction")),
    field(t("events.from"), select(froms, at.from, set("from"))),
    field(t("events.topics"), topics, t("events.topics.hint")),
  );
}

function controls(at, list, line, topics) {
  const pause = button(t("events.pause"), () => {
    at.isPaused = !at.isPaused;
    pause.textContent = t(at.isPaused ? "events.go" : "events.pause");
    if (at.isPaused) {
      at.stop();
      line.replaceChildren(state("waiting", t("live.paused")));
    } else {
      at.stop = begin(at, list, line, topics, at.last);
    }
  });
  return h("p", { class: "actions" }, line, h("span", { class: "spacer" }), pause, button(t("events.clear"), () => list.replaceChildren()));
}

/** From where it was paused on, or else as is asked for. */
function begin(at, list, line, topics, last) {
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
  fault(topics);
  const onstate = (name, error) => {
    line.replaceChildren(state(name, t(`live.${name}`)));
    if (error) refused(error, topics, list);
  };
  return follow(asked, onevent, onstate);
}

/** Says at the filter what is wrong with it: nothing goes by until it is put right. */
function refused(error, topics, list) {
  const { detail, errors = [] } = error.problem;
  const about = errors.filter(({ pointer }) => pointer === "?topics").map((each) => each.detail);
  if (!about.length) return say(said(error));
  list.replaceChildren();
  fault(topics, [detail, ...about].join(" "));
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
