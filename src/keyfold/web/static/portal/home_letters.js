// Dead letters: what the app has given up on, to give it again or to discard it.

import { ask as question } from "./dialog.js";
import { button, empty, h, json, mono, say, theirs, when } from "./dom.js";
import { ask, said } from "./net.js";
import { t } from "./texts.js";

const PATH = "/api/v1/portal/dead-letters";
const whichOf = ({ keyId, consumer, deadLetter }) => ({ keyId, consumer, sequence: deadLetter.sequence });

export async function render(seen, again) {
  const letters = await ask("GET", PATH);
  if (!letters.length) return { parts: [empty(t("letters.none"), t("letters.none.todo"))] };
  return { parts: [h("p", {}, t("letters.what")), h("ul", { class: "cards" }, letters.map((letter) => card(letter, again)))] };
}

function card(letter, again) {
  const { keyId, consumer, environment, deadLetter } = letter;
  const row = (name, ...value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));
  return h(
    "li",
    { "data-letter": deadLetter.sequence },
    h("div", { class: "line" }, h("span", { class: `environment ${environment}` }, environment ?? ""), h("code", {}, deadLetter.topic ?? ""), when(deadLetter.at)),
    h(
      "dl",
      { class: "figures" },
      row(t("letters.consumer"), theirs(consumer), " ", mono(keyId)),
      row(t("letters.deliveries"), t(deadLetter.deliveries === 1 ? "letters.times.one" : "letters.times", { n: deadLetter.deliveries })),
      row(t("letters.why"), t(`letters.${deadLetter.reason}`), deadLetter.detail && [": ", theirs(deadLetter.detail)]),
    ),
    deadLetter.event ? h("details", {}, h("summary", {}, t("history.details")), json(deadLetter.event)) : h("p", { class: "quiet" }, t("letters.gone")),
    h(
      "p",
      { class: "actions" },
      deadLetter.event && button(t("letters.redrive"), () => redrive(letter, again), { "data-act": "redrive" }),
      button(t("letters.discard"), () => discard(letter, again), { class: "danger", "data-act": "discard" }),
    ),
  );
}

async function redrive(letter, again) {
  try {
    await ask("POST", `${PATH}/redrive`, whichOf(letter));
    say(t("letters.redriven"));
  } catch (error) {
    say(said(error));
  }
  again();
}

async function discard(letter, again) {
  const parts = [h("p", { class: "warning" }, t("letters.discard.what", letter))];
  const act = () => ask("POST", `${PATH}/discard`, whichOf(letter));
  if (!(await question(t("letters.discard.title"), parts, { label: t("letters.discard"), act, danger: true }))) return;
  say(t("letters.discarded"));
  again();
}
