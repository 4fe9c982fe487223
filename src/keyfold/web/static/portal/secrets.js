// The keys, once. They live in this module's closures until the page is left or the portal is opened, and are shown
// whole only here.

import { $, button, copy, date, h, mono, say, show } from "./dom.js";
import { firstEvent } from "./first.js";
import { environment, rules } from "./rules.js";
import { t } from "./texts.js";

const confirmLeaving = (event) => event.preventDefault();
const wipe = () => $("main").replaceChildren();

/** While secrets are shown: leaving is asked about, and nothing of them stays behind. Gives what ends that. */
export function guarded() {
  addEventListener("beforeunload", confirmLeaving);
  addEventListener("pagehide", wipe);
  return () => removeEventListener("beforeunload", confirmLeaving);
}

export function keysOnce(redeemed, link, onhome) {
  const { keys } = redeemed;
  const release = guarded();
  const stored = () => {
    release();
    firstEvent(redeemed, link, onhome);
  };
  show(
    "keys",
    t("keys.title", { n: keys.length }),
    h("p", { class: "warning" }, h("strong", {}, t("keys.once")), " ", t("keys.nobody")),
    h("ul", { class: "cards", "data-list": "keys" }, keys.map((key) => keyCard(key, redeemed))),
    h("p", { class: "actions" }, t("keys.all"), " ", saveButtons("keys", keys, redeemed, ["env", "json"])),
    h("p", { class: "quiet" }, t("keys.nats"), " ", h("code", {}, redeemed.natsUrl)),
    h("p", { class: "actions end" }, button(t("keys.stored"), stored, { id: "stored", class: "main" })),
  );
}

/** One key at its birth. `where` has `natsUrl` and `partner`. */
export function keyCard(key, where) {
  const secret = h("code", { class: "secret" }, key.secret);
  const said = t("keys.copied", { environment: key.environment });
  return h(
    "li",
    {},
    h("h2", {}, environment(key), " ", mono(key.id)),
    rules(key),
    h("p", { class: "quiet" }, key.expiresAt ? [t("keys.until"), " ", date(key.expiresAt)] : t("welcome.endless")),
    secret,
    h(
      "p",
      { class: "actions" },
      button(t("keys.copy"), () => copy(key.secret, said, secret), { "aria-label": t("keys.copy.of", key), class: "copy" }),
      saveButtons(key.environment, [key], where, ["env", "json", "context"]),
    ),
  );
}

const saveButtons = (name, keys, where, kinds) =>
  kinds.map((kind) =>
    button(t(`keys.save.${kind}`), () => save(kind, name, keys, where), {
      "data-save": kind,
      "aria-label": t(`keys.save.${kind}.of`, { name }),
    }),
  );

const environmentOf = (key) => key.environment.toUpperCase();
const formats = {
  env: (keys, { natsUrl }) =>
    [
      `KEYFOLD_URL=${location.origin}`,
      `KEYFOLD_NATS_URL=${natsUrl}`,
      ...keys.map((key) => `KEYFOLD_KEY_${environmentOf(key)}=${key.secret}`),
      "",
    ].join("\n"),
  json: (keys, { partner, natsUrl }) => `${JSON.stringify({ partnerId: partner.id, natsUrl, keys }, null, 2)}\n`,
  context: ([key], { natsUrl }) =>
    `${JSON.stringify({ description: `${key.name} (${key.environment})`, url: natsUrl, token: key.secret, jetstream_domain: "keyfold" }, null, 2)}\n`,
};
const NAMES = { env: (name) => `keyfold-${name}.env`, json: (name) => `keyfold-${name}.json`, context: (name) => `keyfold-nats-${name}.json` };

function save(kind, name, keys, where) {
  const url = URL.createObjectURL(new Blob([formats[kind](keys, where)], { type: "application/octet-stream" }));
  const download = NAMES[kind](name);
  h("a", { href: url, download }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
  say(t(kind === "context" ? "keys.saved.context" : "keys.saved", { download, name: download.replace(".json", "") }));
}
