// Who invites to what, and the one click that accepts. Looking spends nothing.

import { $, button, due, duration, h, show, theirs } from "./dom.js";
import { dress } from "./color.js";
import { embedded, tell } from "./frame.js";
import { Problem, ask, request } from "./net.js";
import { rules } from "./rules.js";
import { keysOnce } from "./secrets.js";
import { t } from "./texts.js";

// one for this link and this page: a redemption whose answer was lost can be asked for again
const idempotencyKey = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

/** The page in the integration's color, with its name and icon. */
export function dressed({ name }, { color, icon }) {
  dress(color);
  $("#house").textContent = name;
  if (!/^(https:\/\/|data:image\/)/.test(icon ?? "")) return;
  const picture = new Image();
  picture.referrerPolicy = "no-referrer";
  picture.onload = () => ($("#icon").src = icon);
  picture.src = icon;
}

/** `isForced`: a site of the integration's own has brought the link, so that one back into the portal needs no click. */
export async function welcome(token, { attempt, onhome, isForced }) {
  const link = await ask("POST", "/api/v1/onboarding/preview", { token });
  if (embedded && link.integration.id !== embedded) throw new Problem("link-elsewhere");
  dressed(link.integration, link.integration.presentation);
  const accept = () => attempt(() => redeem(token, link, onhome));
  if (link.purpose === "portal") return isForced ? redeem(token, link, onhome) : showReturn(link, accept);
  showInvitation(link, accept);
}

function showReturn(link, accept) {
  show(
    "return",
    [t("return.title"), " ", theirs(link.integration.name)],
    h("p", { class: "lead" }, t("return.what")),
    facts(link),
    h("p", { class: "actions" }, button(t("return.accept"), accept, { id: "redeem", class: "main" })),
    h("p", { class: "quiet" }, t("return.once")),
  );
}

function showInvitation(link, accept) {
  const { presentation, environments, name } = link.integration;
  const grants = Object.entries(environments);
  show(
    "invitation",
    [t("welcome.title"), " ", theirs(name)],
    presentation.description && h("p", { class: "lead text", dir: "auto" }, presentation.description),
    facts(link),
    h("h2", {}, t("welcome.get", { n: grants.length })),
    h("ul", { class: "cards grants" }, grants.map(grant)),
    h("p", { class: "actions" }, button(t("welcome.accept"), accept, { id: "redeem", class: "main" })),
    h("p", { class: "quiet" }, t("welcome.once")),
  );
}

function grant([environment, offer]) {
  const lifetime = offer.policy.lifetimeSeconds;
  return h(
    "li",
    {},
    h("h3", {}, t("welcome.key", { environment })),
    rules(offer),
    h("p", { class: "quiet" }, lifetime ? t("welcome.lifetime", { duration: duration(lifetime) }) : t("welcome.endless")),
  );
}

function facts(link) {
  const row = (name, value) => value && [h("dt", {}, name), h("dd", {}, value)];
  return h(
    "dl",
    { class: "facts" },
    row(t("welcome.app"), link.appName && theirs(link.appName)),
    row(t("welcome.does"), link.appDescription && theirs(link.appDescription, "span")),
    row(t("welcome.until"), due(link.expiresAt)),
  );
}

async function redeem(token, link, onhome) {
  const headers = { "Idempotency-Key": idempotencyKey };
  const body = { token, embedded: Boolean(embedded) };
  const answer = await request("POST", "/api/v1/onboarding/redeem", body, headers);
  tell({ keyfold: "redeemed" });
  if (answer.data.purpose === "portal" || !answer.data.keys.length) return onhome();
  keysOnce({ ...answer.data, at: answer.data.partner.onboardedAt }, link, onhome);
}
