// A question in front of the page: says what will happen, and does it, or says why it couldn't.

import { button, h } from "./dom.js";
import { said } from "./net.js";
import { t } from "./texts.js";

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
      try {
        given = (await act()) ?? true;
        dialog.close();
      } catch (error) {
        wrong.textContent = said(error);
        wrong.hidden = false;
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
