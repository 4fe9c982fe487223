// A question in front of the page: says what will happen, and does it, or says why it couldn't.

import { button, fault, h } from "./dom.js";
import { Problem, said } from "./net.js";
import { t } from "./texts.js";

/** Says at each field what was wrong with it, and goes to the first. Gives the labels of those that it found, and what
 *  belongs to none. A field has the JSON pointer that the server knows it by, and lines where that goes on with a number. */
function mark(form, errors = []) {
  const found = new Map();
  const fields = [...form.querySelectorAll("[data-pointer]")];
  const rest = errors.filter(({ pointer, detail }) => {
    const field = fields.find(({ dataset }) => `${pointer}/`.startsWith(`${dataset.pointer}/`));
    const line = field && /^\/(\d+)$/.exec(pointer.slice(field.dataset.pointer.length));
    if (field) found.set(field, [...(found.get(field) ?? []), line ? t("dialog.line", { n: Number(line[1]) + 1, detail }) : detail]);
    return !field;
  });
  for (const field of fields) fault(field, found.get(field)?.join(" "));
  const [first] = fields.filter((each) => found.has(each));
  (first?.matches("fieldset") ? first.querySelector("input") : first)?.focus({ preventScroll: true });
  first?.closest(".field, fieldset").scrollIntoView({ block: "center" });
  const labels = [...found.keys()].map((each) => each.closest(".field, fieldset").querySelector("label, legend").textContent);
  return { labels, rest };
}

/** What couldn't be done, at the fields that it is about, and below them all. */
function tellWhy(form, wrong, error) {
  const { title, detail = "", errors = [] } = error.problem ?? {};
  const { labels, rest } = mark(form, errors);
  const isOfOne = errors.some(({ pointer }) => detail.startsWith(`${pointer}: `)); // which is said at the field
  const general = labels.length ? new Problem(error.code, { detail: isOfOne ? title : detail, errors: rest }) : error;
  wrong.textContent = [said(general), labels.length > 0 && t("dialog.see", { fields: labels.join("; ") })].filter(Boolean).join(" ");
  wrong.hidden = false;
  if (!labels.length) wrong.scrollIntoView({ block: "nearest" });
}

/**
 * `act` does what the button of this `label` says; when it throws, the dialog stays and says why. Resolves with what it
 * gave, or undefined when nothing was done. `label` left out: there is nothing to decide. `isFinal`: only its button ends it.
 */
export function ask(title, parts, { label, act, danger = false, isFinal = false } = {}) {
  return new Promise((resolve) => {
    const wrong = h("p", { class: "warning bad", role: "alert", hidden: true });
    const go = label && h("button", { type: "submit", class: danger ? "main danger" : "main" }, label);
    const back = !isFinal && button(t(label ? "dialog.cancel" : "dialog.close"), () => dialog.close());
    const heading = h("h2", { id: "dialog-title", tabindex: "-1" }, title);
    const form = h("form", { method: "dialog" }, heading, ...parts, wrong, h("p", { class: "actions" }, go, back));
    const dialog = h("dialog", { "aria-labelledby": "dialog-title" }, form);
    let given;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      go.disabled = true;
      wrong.hidden = true;
      mark(form);
      try {
        given = (await act()) ?? true;
        dialog.close();
      } catch (error) {
        tellWhy(form, wrong, error);
      }
      go.disabled = false;
    });
    if (isFinal) {
      dialog.addEventListener("cancel", (event) => event.preventDefault());
      dialog.addEventListener("keydown", (event) => event.key === "Escape" && event.preventDefault());
    }
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(given);
    });
    document.body.append(dialog);
    dialog.showModal();
    heading.focus();
  });
}
