// At home: one section at a time, named in the address, and read anew whenever it is opened or the server is back.

import { $, button, copy, date, h, mono, say, show, state, theirs, when } from "./dom.js";
import { ask as question } from "./dialog.js";
import { embedded, tell } from "./frame.js";
import { Problem, ask, said } from "./net.js";
import { render as events } from "./home_events.js";
import { render as past } from "./home_history.js";
import { render as keys } from "./home_keys.js";
import { render as letters } from "./home_letters.js";
import { render as topics } from "./home_topics.js";
import { render as usage } from "./home_usage.js";
import { t } from "./texts.js";

const SECTIONS = { keys, topics, events, usage, letters, history: past };
/** What stands behind it, after a ?, is the section's own. */
const sectionOf = (hash) => {
  const [name] = hash.slice(1).split("?");
  return Object.hasOwn(SECTIONS, name) ? name : "keys";
};

/** The portal of `seen`, the answer of GET /api/v1/portal. `end` shows why it is left. */
export async function open(seen, end) {
  const at = { seen, end, leave: () => {}, over: new AbortController(), turn: 0 };
  const { partner } = seen;
  const body = h("div", { id: "body", "aria-live": "off" });
  show("home", theirs(partner.appName ?? t("home.app")), head(at), navigation(at), body);
  listen(at, body);
  await enter(at, body);
}

function head(at) {
  const { partner, session } = at.seen;
  return [
    partner.appDescription && h("p", { class: "lead text", dir: "auto" }, partner.appDescription),
    h(
      "p",
      { class: "line" },
      state(partner.status),
      mono(partner.id),
      h("span", { class: "quiet" }, t("home.until"), " ", when(session.expiresAt)),
      h("span", { class: "spacer" }),
      h(
        "span",
        { class: "line small" },
        button(t("home.colleague"), () => colleague(partner), { id: "colleague" }),
        button(t("home.out"), () => signOut(at), { id: "out" }),
      ),
    ),
  ];
}

const navigation = () =>
  h(
    "nav",
    { class: "tabs", "aria-label": t("home.sections") },
    Object.keys(SECTIONS).map((each) => h("a", { href: `#${each}`, onclick: turn }, t(`nav.${each}`))),
  );

/** The section once more where it is open already. In a frame the reader's Back belongs to the site around it. */
function turn(event) {
  const isSame = location.hash === event.target.getAttribute("href");
  if (!embedded) return isSame && dispatchEvent(new Event("hashchange"));
  event.preventDefault();
  history.replaceState(null, "", event.target.getAttribute("href"));
  dispatchEvent(new Event("hashchange"));
}

function listen(at, body) {
  const { signal } = at.over;
  addEventListener("hashchange", () => location.hash.startsWith("#kfl_") || enter(at, body), { signal });
  addEventListener("keyfold:back", () => enter(at, body), { signal });
  addEventListener("keyfold:ended", () => leave(at, "session-ended"), { signal });
}

async function enter(at, body) {
  at.leave();
  at.leave = () => {};
  const turn = ++at.turn;
  const name = sectionOf(location.hash);
  for (const each of document.querySelectorAll(".tabs a")) {
    if (each.getAttribute("href") === `#${name}`) each.setAttribute("aria-current", "page");
    else each.removeAttribute("aria-current");
  }
  body.dataset.section = name;
  body.replaceChildren(h("h2", {}, t(`nav.${name}`)), h("progress", { "aria-label": t("waiting.title") }));
  try {
    const again = () => enter(at, body);
    const { parts, stop } = await SECTIONS[name](at.seen, again);
    if (turn !== at.turn || at.over.signal.aborted) return stop?.();
    at.leave = stop ?? at.leave;
    body.replaceChildren(h("h2", {}, t(`nav.${name}`)), ...parts.flat(Infinity).filter(Boolean));
  } catch (error) {
    if (turn !== at.turn) return;
    if (!(error instanceof Problem) && !(error instanceof TypeError)) throw error;
    const why = error instanceof Problem ? said(error) : t("end.offline.what");
    const again = button(t("home.again"), () => enter(at, body));
    body.replaceChildren(h("h2", {}, t(`nav.${name}`)), h("p", { class: "warning", role: "alert" }, t("home.failed", { why })), again);
  }
}

function leave(at, code) {
  at.over.abort();
  at.leave();
  document.querySelector("dialog")?.close();
  history.replaceState(null, "", location.pathname);
  at.end(code);
  tell({ keyfold: "closed" });
}

async function signOut(at) {
  const what = [h("p", { class: "warning" }, t("out.what")), h("p", {}, t("out.instead"))];
  const act = async () => true;
  if (!(await question(t("out.title"), what, { label: t("home.out"), act })) || at.over.signal.aborted) return;
  at.over.abort();
  try {
    await ask("DELETE", "/api/v1/portal/session");
  } catch (error) {
    if (error.code !== "unauthenticated") {
      at.over = new AbortController();
      listen(at, $("#body"));
      return say(said(error));
    }
  }
  leave(at, "signed-out");
}

async function colleague(partner) {
  const what = [h("p", {}, t("colleague.what"))];
  const act = () => ask("POST", `/api/v1/partners/${partner.id}/links`, {});
  const link = await question(t("colleague.title"), what, { label: t("colleague.make"), act });
  if (!link) return;
  const secret = h("code", { class: "secret" }, link.url);
  const take = button(t("copy.copy"), () => copy(link.url, t("colleague.copied"), secret), { class: "copy" });
  await question(t("colleague.made"), [secret, h("p", {}, t("colleague.until"), " ", date(link.expiresAt)), h("p", { class: "actions" }, take)]);
}
