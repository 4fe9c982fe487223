// Dead letters: what the app has given up on, to give it again or to discard it.

import { ask as question } from "./dialog.js";
import { button, due, empty, h, json, mono, say, theirs } from "./dom.js";
import { ask, said } from "./net.js";
import { environment as environmentOf } from "./rules.js";
import { t } from "./texts.js";

const PATH = "/api/v1/portal/dead-letters";
const whichOf = ({ keyId, consumer, deadLetter }) => ({ keyId, consumer, sequence: deadLetter.sequence });

export async function render(seen, again) {
  const letters = await ask("GET", PATH);
  if (!letters.length) return { parts: [empty(t("letters.none"), t("letters.none.todo"))] };
  const boxes = letters.map((letter) => h("input", { type: "checkbox", disabled: !letter.deadLetter.event, "aria-label": t("letters.pick", { id: idOf(letter) }) }));
  const cards = letters.map((letter, at) => card(letter, boxes[at], again));
  return { parts: [h("p", {}, t("letters.what")), several(letters, boxes, again), h("ul", { class: "cards" }, cards)] };
}

const idOf = ({ deadLetter }) => deadLetter.event?.id ?? `#${deadLetter.eventSequence}`;

/** All of them at once, or those that are picked. */
function several(letters, boxes, again) {
  const open = boxes.filter((box) => !box.disabled);
  if (!open.length) return null;
  const all = h("input", { type: "checkbox", id: "all-letters" });
  const go = button("", () => redriveAll(letters.filter((_, at) => boxes[at].checked), again), { id: "redrive", class: "main" });
  const count = () => {
    const n = open.filter((box) => box.checked).length;
    all.checked = n === open.length;
    all.indeterminate = n > 0 && !all.checked;
    go.disabled = n === 0;
    go.textContent = t("letters.redrive.some", { n });
  };
  all.addEventListener("change", () => {
    for (const box of open) box.checked = all.checked;
    count();
  });
  for (const box of open) box.addEventListener("change", count);
  count();
  return h("p", { class: "actions" }, h("label", { class: "check" }, all, " ", t("letters.all", { n: open.length })), go);
}

/** One after the other, until the question is closed; and then what came of each. */
async function redriveAll(letters, again) {
  const n = letters.length;
  const progress = h("progress", { max: n, value: 0, "aria-label": t("letters.redrive") });
  const refused = [];
  let done = 0;
  const run = async () => {
    for (const letter of letters) {
      if (!progress.isConnected) return;
      await redriven(letter).then(
        () => (done += 1),
        (error) => refused.push(h("li", {}, h("code", {}, idOf(letter)), " ", said(error))),
      );
      progress.value = done + refused.length;
    }
  };
  let running;
  const act = () => (running = run());
  await question(t("letters.redrive.title", { n }), [h("p", {}, t("letters.redrive.what")), progress], { label: t("letters.redrive.some", { n }), act });
  await running;
  if (!running) return;
  const left = refused.length > 0 && [h("p", {}, t("letters.redrive.left")), h("ul", {}, refused)];
  await question(t("letters.redrive.came"), [h("p", {}, t("letters.redrive.done", { done, n })), left].flat().filter(Boolean));
  again();
}

const redriven = (letter) => ask("POST", `${PATH}/redrive`, whichOf(letter));

function card(letter, box, again) {
  const { keyId, consumer, environment, deadLetter } = letter;
  const row = (name, ...value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));
  return h(
    "li",
    { "data-letter": deadLetter.sequence },
    h("div", { class: "line" }, box, environment && environmentOf(letter), deadLetter.topic && h("code", {}, deadLetter.topic), mono(idOf(letter))),
    h("p", { class: "quiet" }, due(deadLetter.at)),
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
    await redriven(letter);
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
