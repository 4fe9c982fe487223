// What is asked before a key is changed, with what will come of it.

import { date, due, duration, field, h, say, select } from "./dom.js";
import { ask as question } from "./dialog.js";
import { ask, request } from "./net.js";
import { overlap } from "./picture.js";
import { guarded, keyCard } from "./secrets.js";
import { t } from "./texts.js";

const OVERLAPS = ["", "0", "3600", "86400", "604800", "2592000"];
const STARTS = ["", "now", "first-use"];

export async function rotate(key, seen, again) {
  const policy = seen.overlaps[key.environment];
  const chosen = { overlap: "", starts: "" };
  const wanted = () => ({
    seconds: chosen.overlap === "" ? policy.seconds : Number(chosen.overlap),
    starts: chosen.starts || policy.starts,
  });
  const picture = h("div", { class: "picture" });
  const end = h("p", { id: "old-end", role: "status" });
  const draw = () => {
    picture.replaceChildren(overlap(wanted()));
    end.replaceChildren(...oldEnd(key, wanted()));
  };
  const length = (each) => (each === 0 ? t("rotate.none") : duration(each));
  const asPolicy = (what) => t("rotate.policy", { what });
  const seconds = OVERLAPS.map((each) => [each, each === "" ? asPolicy(length(policy.seconds)) : length(Number(each))]);
  const starts = STARTS.map((each) => [each, each ? t(`rotate.starts.${each}`) : asPolicy(t(`rotate.starts.${policy.starts}`))]);
  const set = (name) => (value) => {
    chosen[name] = value;
    draw();
  };
  draw();
  const parts = [
    h("p", {}, t("rotate.what")),
    picture,
    end,
    field(t("rotate.overlap"), select(seconds, "", set("overlap"), { name: "overlap", "data-pointer": "/overlapSeconds" })),
    field(t("rotate.starts"), select(starts, "", set("starts"), { name: "starts", "data-pointer": "/overlapStarts" })),
  ];
  const act = () => {
    const overlapSeconds = chosen.overlap === "" ? null : Number(chosen.overlap);
    return ask("POST", `/api/v1/keys/${key.id}/rotate`, { overlapSeconds, overlapStarts: chosen.starts || null });
  };
  const made = await question(t("rotate.title", key), parts, { label: t("rotate.act"), act });
  if (!made) return;
  await showOnce(made, seen);
  again();
}

/** Until when the old key works, if it is rotated now: never longer than it would have without. */
function oldEnd(key, { seconds, starts }) {
  if (seconds === 0) return [t("rotate.old.none")];
  if (starts === "first-use") return [t("rotate.old.used", { duration: duration(seconds) })];
  const until = new Date(Date.now() + seconds * 1000);
  if (key.expiresAt && new Date(key.expiresAt) < until) return [t("rotate.old.own"), " ", date(key.expiresAt), "."];
  return [t("rotate.old.now", { duration: duration(seconds) }), " ", date(until.toISOString()), "."];
}

/** The dialog goes only by its own button: there is no second look. */
async function showOnce(key, seen) {
  const release = guarded();
  const warning = h("p", { class: "warning" }, h("strong", {}, t("rotate.once")), " ", t("rotate.once.todo"));
  const cards = h("ul", { class: "cards" }, keyCard(key, seen));
  const old = key.predecessor;
  const open = old.retiresAt ? [t("rotate.old.until"), " ", due(old.retiresAt), "."] : t("rotate.old.open");
  const until = old.status === "retired" ? t("rotate.old.over") : open;
  const parts = [warning, cards, h("p", {}, until)];
  const asked = question(t("rotate.done"), parts, { label: t("rotate.stored"), act: async () => true, isFinal: true });
  await asked;
  cards.replaceChildren();
  release();
}

const reason = () => h("input", { name: "reason", required: true, "data-pointer": "/reason", maxlength: 1024, autocomplete: "off" });

/** Asks why, and posts it. */
async function because(key, verb, again, danger) {
  const why = reason();
  const act = () => ask("POST", `/api/v1/keys/${key.id}/${verb}`, { reason: why.value });
  const parts = [h("p", { class: danger ? "warning" : "" }, t(`${verb}.what`)), field(t("key.reason.label"), why)];
  const done = await question(t(`${verb}.title`, key), parts, { label: t(`${verb}.act`), act, danger });
  if (!done) return;
  say(t(verb === "revoke" ? "key.done.revoked" : "key.done.suspended"));
  again();
}

export const suspend = (key, seen, again) => because(key, "suspend", again, false);
export const revoke = (key, seen, again) => because(key, "revoke", again, true);

export async function reinstate(key, seen, again) {
  await ask("POST", `/api/v1/keys/${key.id}/reinstate`, {});
  say(t("key.done.reinstated"));
  again();
}

const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);
const local = (text) => (text ? new Date(new Date(text) - new Date().getTimezoneOffset() * 60000).toISOString().slice(0, 16) : "");

export async function narrow(key, seen, again) {
  const { data: current, headers } = await request("GET", `/api/v1/keys/${key.id}`);
  const form = narrowing(current);
  const act = () => ask("PATCH", `/api/v1/keys/${key.id}`, changes(current, form), { "If-Match": headers.get("ETag") });
  const parts = [h("p", { class: "warning" }, t("narrow.what")), ...form.parts];
  if (!(await question(t("narrow.title", key), parts, { label: t("narrow.act"), act }))) return;
  say(t("key.done.narrowed"));
  again();
}

function narrowing(key) {
  const boxes = key.permitted.map((action) => [action, h("input", { type: "checkbox", checked: true, name: action })]);
  const topics = ["send", "receive"].filter((action) => key.options?.[action]?.topics).map((action) => {
    const value = key.options[action].topics.join("\n");
    return [action, h("textarea", { rows: 3, value, name: `${action}-topics`, "data-pointer": `/options/${action}/topics`, spellcheck: "false" })];
  });
  const networks = h("textarea", { rows: 2, value: key.sourceNetworks.join("\n"), name: "networks", "data-pointer": "/sourceNetworks", spellcheck: "false" });
  const expires = h("input", { type: "datetime-local", value: local(key.expiresAt), name: "expires", "data-pointer": "/expiresAt" });
  const parts = [
    h("fieldset", { "data-pointer": "/permitted" }, h("legend", {}, t("narrow.permitted")), boxes.map(([action, box]) => h("label", { class: "check" }, box, " ", t(`rule.${action}`)))),
    ...topics.map(([action, area]) => field(t("narrow.topics", { verb: t(`rule.${action}`) }), area, t("narrow.topics.hint"))),
    field(t("narrow.networks"), networks, t("narrow.networks.hint")),
    field(t("narrow.expires"), expires, t("narrow.expires.hint")),
  ];
  return { boxes, topics, networks, expires, parts };
}

/** What of the form differs from the key, as a merge patch. */
function changes(key, { boxes, topics, networks, expires }) {
  const patch = {};
  const permitted = boxes.filter(([, box]) => box.checked).map(([action]) => action);
  if (permitted.length < key.permitted.length) patch.permitted = permitted;
  for (const [action, area] of topics) {
    const wanted = lines(area.value);
    const isSame = wanted.join("\n") === key.options[action].topics.join("\n");
    if (!isSame && permitted.includes(action)) patch.options = { ...patch.options, [action]: { topics: wanted } };
  }
  if (lines(networks.value).join() !== key.sourceNetworks.join()) patch.sourceNetworks = lines(networks.value);
  if (expires.value !== local(key.expiresAt)) patch.expiresAt = expires.value ? new Date(expires.value).toISOString() : null;
  return patch;
}
