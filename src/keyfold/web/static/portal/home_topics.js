// The topics that the app's keys may use, with their schemas and examples, and a test event for each.

import { ask as question } from "./dialog.js";
import { empty, field, h, json, say, segments, select, state, straight } from "./dom.js";
import { ask, request } from "./net.js";
import { t } from "./texts.js";

const PREFIX = "/api/v1/portal";

export async function render(seen, again) {
  const { environments } = seen;
  const list = h("div", { class: "list" });
  const pick = async (environment) => list.replaceChildren(...(await topics(seen, environment)));
  await pick(environments[0]);
  const choices = environments.map((each) => [each, each]);
  const bar = h("p", { class: "toolbar" }, segments(t("home.environment"), choices, environments[0], (chosen) => pick(chosen).catch(again)));
  return { parts: [bar, list] };
}

async function topics(seen, environment) {
  const found = [];
  let cursor = "";
  do {
    const page = await request("GET", `${PREFIX}/topics?environment=${environment}${cursor && `&cursor=${encodeURIComponent(cursor)}`}`);
    found.push(...page.data);
    cursor = page.nextCursor ?? "";
  } while (cursor);
  if (!found.length) return [empty(t("topic.none"), t("topic.none.todo", { environment }), h("a", { href: "#keys" }, t("topic.patterns")))];
  return found.map((topic) => entry(topic, environment, seen));
}

const entry = (topic, environment, seen) =>
  h(
    "details",
    { class: "entry", "data-topic": topic.name },
    h(
      "summary",
      {},
      h("code", {}, topic.name),
      topic.send.length > 0 && h("span", { class: "badge" }, t("topic.send")),
      topic.receive.length > 0 && h("span", { class: "badge" }, t("topic.receive")),
      topic.deprecated && state("retiring", t("topic.deprecated")),
    ),
    topic.description && h("p", { class: "text", dir: "auto" }, topic.description),
    topic.send.length > 0 &&
      h("p", { class: "actions" }, h("button", { type: "button", onclick: () => test(topic, environment, seen) }, t("topic.test"))),
    topic.schema === null
      ? h("p", { class: "quiet" }, t("topic.noSchema"))
      : [h("h4", {}, t("topic.schema", { version: topic.schemaVersion })), json(topic.schema)],
    topic.examples.length > 0 && [h("h4", {}, t("topic.examples")), topic.examples.map(json)],
  );

async function test(topic, environment, seen) {
  const named = new Map(seen.keys.map((key) => [key.id, key.name]));
  const chosen = { id: topic.send[0] };
  const keys = topic.send.map((id) => [id, `${straight(named.get(id) ?? "")} …${id.slice(-6)}`]);
  const data = h("textarea", { rows: 6, name: "data", spellcheck: "false", "data-pointer": "/data", value: JSON.stringify(topic.examples[0] ?? { test: true }, null, 2) });
  data.addEventListener("input", () => data.setCustomValidity(isJson(data.value) ? "" : t("topic.test.wrong")));
  const parts = [
    h("p", {}, t("topic.test.what")),
    field(t("topic.test.key"), select(keys, chosen.id, (id) => (chosen.id = id), { "data-pointer": "/keyId" })),
    field(t("topic.test.data"), data),
  ];
  const act = () =>
    ask("POST", `${PREFIX}/events/test`, { environment, keyId: chosen.id, topic: topic.name, data: JSON.parse(data.value) });
  const stored = await question(`${t("topic.test")}: ${topic.name}`, parts, { label: t("topic.test"), act });
  if (stored) say(t("topic.tested", stored));
}

function isJson(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
