// Whoever leaves what is shown only once, or what was typed and isn't saved, is asked first.
// No module, as console.js. Without it the pages work, and nobody is asked.
(() => {
  "use strict";

  const all = (selector) => [...document.querySelectorAll(selector)];
  const kept = new WeakSet();
  let sent = null; // the form that is on its way
  let said = false; // that it may go

  const DEFAULTS = { color: "#000000" };
  function isChanged(field) {
    if (field.type === "hidden" || field.type === "submit") return false;
    if (field.type === "checkbox" || field.type === "radio") return field.checked !== field.defaultChecked;
    if (field.options) {
      const usual = [...field.options].findIndex((each) => each.defaultSelected);
      return field.selectedIndex !== Math.max(0, usual);
    }
    if (!("defaultValue" in field)) return false;
    const usual = field.defaultValue || (DEFAULTS[field.type] ?? "");
    return field.type === "color" ? field.value.toLowerCase() !== usual.toLowerCase() : field.value !== usual;
  }
  const isTyped = (form) => form !== sent && (form.hasAttribute("data-unsaved") || [...form.elements].some(isChanged));
  const isLost = () => all("[data-once]").some((each) => !kept.has(each)) || all("form[data-keep]").some(isTyped);

  // one of them by a button beside it, all of them by one that stands elsewhere
  addEventListener("keyfold:kept", (event) => {
    const one = event.target.closest("[data-once]");
    for (const each of one ? [one] : all("[data-once]")) kept.add(each);
  });
  addEventListener("copy", () => {
    const what = getSelection();
    for (const each of all("[data-once]")) {
      const secret = each.querySelector(".secret");
      if (secret && what.containsNode(secret, true)) kept.add(each);
    }
  });
  addEventListener("submit", (event) => {
    if (!event.defaultPrevented) sent = event.target;
  });
  addEventListener("input", () => (sent = null));
  addEventListener("click", (event) => {
    const link = event.target.closest?.("a[data-leave]");
    if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) said = true;
  });
  addEventListener("beforeunload", (event) => {
    if (!said && isLost()) event.preventDefault();
  });
  // the answer to a form has an address of its own, so that Back needn't send the form again
  const own = document.querySelector("[data-address]")?.dataset.address;
  if (own) history.replaceState(null, "", own);
})();
