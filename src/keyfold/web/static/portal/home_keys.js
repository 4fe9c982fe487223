// The keys with their state, last use and end, and what can be done about each.

import { button, due, empty, h, mono, say, state, theirs, when } from "./dom.js";
import { ask, newest, said } from "./net.js";
import { narrow, reinstate, revoke, rotate, suspend } from "./key_dialogs.js";
import { environment, rules } from "./rules.js";
import { t } from "./texts.js";

const ENDED = ["retired", "expired", "revoked", "compromised"];

export async function render(seen, again) {
  // a page that was opened for a while must not show the keys of then
  const [fresh, used] = await Promise.all([ask("GET", "/api/v1/portal"), usage()]);
  const keys = fresh.keys.map((key) => ({ ...key, lastUsedAt: used.get(key.id) ?? null }));
  if (!keys.length) return { parts: [empty(t("key.none"), t("key.none.todo"))] };
  const live = keys.filter((key) => !ENDED.includes(key.status));
  const ended = keys.filter((key) => ENDED.includes(key.status)).reverse();
  const order = (key) => seen.environments.indexOf(key.environment);
  live.sort((one, other) => order(one) - order(other));
  const may = new Set(fresh.capabilities);
  const cards = (some) => h("ul", { class: "cards" }, some.map((key) => card(key, may, fresh, again)));
  return {
    parts: [
      live.length ? cards(live) : empty(t("key.none"), t("key.none.todo")),
      ended.length > 0 && h("details", { class: "ended" }, h("summary", {}, t("key.ended", { n: ended.length })), cards(ended)),
    ],
  };
}

async function usage() {
  const listed = await ask("GET", `/api/v1/keys?limit=200&minPosition=${newest()}`);
  return new Map(listed.map((key) => [key.id, key.lastUsedAt]));
}

function card(key, may, seen, again) {
  return h(
    "li",
    { class: "key", "data-key": key.id },
    h(
      "div",
      { class: "line" },
      environment(key),
      h("h3", {}, theirs(key.name)),
      state(key.status),
    ),
    h("p", {}, mono(key.id)),
    rules(key),
    facts(key),
    ENDED.includes(key.status) ? null : actions(key, may, seen, again),
  );
}

function facts(key) {
  const row = (name, value) => value && h("div", {}, h("dt", {}, name), h("dd", {}, value));
  const retires = key.retiresAt ? due(key.retiresAt) : key.successorId && key.status === "active" && t("key.retires.used");
  const why = key.suspendedReason ?? key.revokedReason;
  return h(
    "dl",
    { class: "figures" },
    row(t("key.used"), key.lastUsedAt ? when(key.lastUsedAt) : t("key.unused")),
    row(t("key.expires"), key.expiresAt ? due(key.expiresAt) : t("key.never")),
    row(t("key.issued"), when(key.issuedAt)),
    row(t("key.retires"), retires),
    row(t("key.due"), key.rotationDueAt && due(key.rotationDueAt)),
    row(t("key.networks"), key.sourceNetworks.length > 0 && key.sourceNetworks.join(", ")),
    row(t("key.reason"), why && theirs(why)),
  );
}

function actions(key, may, seen, again) {
  const failed = (error) => say(said(error));
  const offer = (permission, name, act, properties) =>
    may.has(permission) &&
    button(t(`key.${name}`), () => act(key, seen, again).catch(failed), { "data-act": name, ...properties });
  const named = (name) => ({ "aria-label": `${t(`key.${name}`)}: ${key.environment}, ${key.id.slice(-6)}` });
  if (key.status === "suspended") {
    return h(
      "p",
      { class: "actions" },
      offer("keys:suspend", "reinstate", reinstate, named("reinstate")),
      offer("keys:revoke", "revoke", revoke, { ...named("revoke"), class: "danger" }),
    );
  }
  return h(
    "p",
    { class: "actions" },
    key.successorId === null && key.environment in seen.overlaps && offer("keys:rotate", "rotate", rotate, named("rotate")),
    offer("keys:suspend", "suspend", suspend, named("suspend")),
    offer("keys:change", "narrow", narrow, named("narrow")),
    offer("keys:revoke", "revoke", revoke, { ...named("revoke"), class: "danger" }),
  );
}
