// What has happened to the app, its keys, links and visits, newest first.

import { button, empty, h, json, mono, say, segments, theirs, when } from "./dom.js";
import { ask, newest, request, said } from "./net.js";
import { environment } from "./rules.js";
import { t, texts } from "./texts.js";

const KINDS = ["", "key.", "link.", "session.", "partner."];

export async function render(seen, again) {
  const at = { type: "", cursor: null };
  const list = h("ol", { class: "history" });
  const more = button(t("home.more"), () => add().catch((error) => say(said(error))), { id: "more" });
  const add = async () => {
    const asked = new URLSearchParams({ limit: 50, minPosition: newest(), ...(at.type && { type: at.type }), ...(at.cursor && { cursor: at.cursor }) });
    const [page, { keys }] = await Promise.all([request("GET", `/api/v1/portal/history?${asked}`), ask("GET", "/api/v1/portal")]);
    const known = new Map(keys.map((key) => [key.id, key]));
    list.append(...page.data.map((each) => entry(each, known.get(each.data.keyId ?? each.resource))));
    if (!list.children.length) list.append(h("li", {}, empty(t("history.none"), t("history.none.todo"))));
    at.cursor = page.nextCursor;
    more.hidden = !page.nextCursor;
  };
  const pick = (type) => {
    Object.assign(at, { type, cursor: null });
    list.replaceChildren();
    add().catch(again);
  };
  await add();
  const kinds = KINDS.map((each) => [each, each ? t(`history.kind.${each}`) : t("home.all")]);
  return { parts: [h("div", { class: "toolbar" }, segments(t("history.kind"), kinds, "", pick)), list, h("p", { class: "actions" }, more)] };
}

/** `key`: the one that it is about, if it is about one. */
function entry({ type, time, resource, actor, data }, key) {
  const plain = type.replace(/\.v\d+$/, "");
  const said = texts[`history.${plain}`] ?? plain;
  const who = [t(`history.${actor.who}`), actor.address && [" ", t("history.from", actor)]];
  return h(
    "li",
    { "data-type": plain },
    h("div", { class: "line" }, h("strong", {}, said), key && [environment(key), theirs(key.name)], mono(key?.id ?? resource)),
    h("p", { class: "quiet" }, when(time), " · ", who),
    h("details", {}, h("summary", {}, t("history.details")), json(data)),
  );
}
