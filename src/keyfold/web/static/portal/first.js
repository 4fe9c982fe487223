// The first event, here and now: what to run, and a live view that turns green when it has arrived.

import { button, clock, copy, h, json, say, segments, select, shortened, show, state } from "./dom.js";
import { tell } from "./frame.js";
import { ask, follow, said } from "./net.js";
import { may, topicFor } from "./rules.js";
import { SNIPPETS } from "./snippets.js";
import { t } from "./texts.js";

const SHOWN = 20;

export function firstEvent(redeemed, link, onhome) {
  const { keys } = redeemed;
  const at = { key: keys[0], language: "python", topic: null, catalogue: [], stop: () => {}, done: false };
  const parts = {
    what: h("p", { class: "lead" }),
    topics: h("span", {}),
    code: h("code", {}),
    live: h("ol", { class: "live", "aria-label": t("first.live") }),
    banner: h("p", { class: "verdict waiting", role: "status" }, t("first.waiting")),
    line: h("span", { class: "quiet" }),
    test: button(t("first.test"), (event) => test(at, event.target), { id: "test" }),
  };
  const leave = () => {
    at.stop();
    onhome();
  };
  show(
    "first",
    t("first.title"),
    parts.what,
    h("div", { class: "columns two" }, h("div", {}, chooser(at, parts, redeemed), run(at, parts, redeemed)), live(at, parts)),
    h("p", { class: "actions end" }, button(t("first.home"), leave, { id: "look", class: "main" })),
    h("p", { class: "quiet" }, t("first.gone")),
  );
  addEventListener("keyfold:ended", () => at.stop(), { once: true });
  choose(at, parts, redeemed);
}

function chooser(at, parts, redeemed) {
  const environments = redeemed.keys.map((key) => [key.environment, key.environment]);
  const pick = (environment) => {
    at.key = redeemed.keys.find((key) => key.environment === environment);
    choose(at, parts, redeemed);
  };
  const languages = ["python", "javascript", "curl", "cli"].map((each) => [each, t(`first.${each}`)]);
  const speak = (language) => {
    at.language = language;
    write(at, parts, redeemed);
  };
  return h(
    "div",
    { class: "toolbar" },
    segments(t("first.environment"), environments, at.key.environment, pick),
    segments(t("first.language"), languages, at.language, speak),
    parts.topics,
  );
}

const run = (at, parts, redeemed) => [
  h("pre", { tabindex: "0", class: "snippet" }, parts.code),
  h(
    "p",
    { class: "actions" },
    button(t("first.copy"), () => copy(snippet(at, redeemed, at.key.secret), t("first.copied"), parts.code), { id: "copy" }),
    parts.test,
  ),
  h("p", { class: "quiet" }, t("first.whole")),
];

const live = (at, parts) =>
  h("div", { class: "watch" }, parts.banner, h("h2", {}, t("first.live"), " ", parts.line), parts.live);

/** Another environment: its topics, its snippets, its events. */
async function choose(at, parts, redeemed) {
  at.stop();
  at.catalogue = [];
  parts.live.replaceChildren(h("li", { class: "quiet" }, t("first.nothing")));
  watch(at, parts, redeemed);
  try {
    at.catalogue = await ask("GET", `/api/v1/portal/topics?environment=${at.key.environment}`);
  } catch (error) {
    say(said(error)); // the patterns of the key do as well
  }
  at.action = may(at.key, "send") ? "send" : "receive";
  at.topic = topicFor(at.key, at.action, at.catalogue);
  parts.what.textContent = t(may(at.key, at.action) ? `first.what.${at.action}` : "first.what.none");
  parts.test.hidden = at.action !== "send" || !at.topic;
  offerTopics(at, parts, redeemed);
  write(at, parts, redeemed);
}

function offerTopics(at, parts, redeemed) {
  const names = at.catalogue.filter((topic) => topic[at.action].includes(at.key.id)).map((topic) => [topic.name, topic.name]);
  const change = (topic) => {
    at.topic = topic;
    write(at, parts, redeemed);
  };
  const chosen = names.length > 1 && at.action === "send";
  parts.topics.replaceChildren(...(chosen ? [select(names, at.topic, change, { "aria-label": t("first.topic") })] : []));
}

const write = (at, parts, redeemed) => (parts.code.textContent = snippet(at, redeemed, shortened(at.key.secret)));

function snippet(at, redeemed, key) {
  const described = at.catalogue.find((topic) => topic.name === at.topic);
  const data = JSON.stringify(described?.examples[0] ?? { hello: "world" });
  const base = location.origin;
  const values = { key, base, nats: redeemed.natsUrl, topic: at.topic ?? "app/hello/world", data };
  return SNIPPETS[at.language][at.action](values);
}

async function test(at, pressed) {
  pressed.disabled = true;
  try {
    const { environment, id } = at.key;
    await ask("POST", "/api/v1/portal/events/test", { environment, keyId: id, topic: at.topic });
    say(t("first.tested"));
  } catch (error) {
    say(said(error));
  }
  pressed.disabled = false;
}

/** From the moment of redemption on, so that nothing is missed while the page is being read. */
function watch(at, parts, redeemed) {
  const from = new Date(redeemed.at ?? Date.now()).toISOString();
  const asked = { environment: at.key.environment, from };
  const onstate = (name) => parts.line.replaceChildren(state(name, t(`live.${name}`)));
  const stop = follow(asked, (passing) => arrived(at, parts, passing), onstate);
  at.stop = stop;
  if (!may(at.key, "send")) at.stop = both(stop, noticeUse(at, parts));
}

const both = (one, other) => () => {
  one();
  other();
};

/** A key that only receives shows itself by being used at all. */
function noticeUse(at, parts) {
  const { id } = at.key;
  const timer = setInterval(async () => {
    const { lastUsedAt } = await ask("GET", `/api/v1/keys/${id}`).catch(() => ({}));
    if (lastUsedAt) green(at, parts, t("first.used"));
  }, 3000);
  return () => clearInterval(timer);
}

function arrived(at, parts, passing) {
  const isTheirs = passing.direction.includes("sent") && !passing.test;
  parts.live.querySelector("li.quiet")?.remove();
  const kind = passing.test ? "test" : isTheirs ? passing.road : "received";
  const summary = h("summary", {}, clock(passing.storedAt), " ", h("code", {}, passing.topic), " ", state(kind, t(`live.${kind}`)));
  parts.live.prepend(h("li", {}, h("details", {}, summary, json(passing.event))));
  while (parts.live.children.length > SHOWN) parts.live.lastChild.remove();
  if (isTheirs) green(at, parts, t("first.arrived", { road: t(`live.${passing.road}`), topic: passing.topic }));
  else if (!at.done) parts.banner.textContent = t(passing.test ? "first.testArrived" : "first.otherArrived");
}

function green(at, parts, text) {
  if (at.done) return;
  at.done = true;
  parts.banner.className = "verdict good";
  parts.banner.textContent = text;
  parts.banner.closest("section")?.classList.add("arrived");
  tell({ keyfold: "firstevent" });
}
