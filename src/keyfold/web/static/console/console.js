// What every page of the console has beyond its HTML: times that stay true, copying, the keyboard.
// The pages work without it.
// No module: those run 50 ms later in a new tab. What brings parts into the page says so: `keyfold:brought`.
(() => {
  "use strict";

  const $ = (selector, inside = document) => inside.querySelector(selector);
  const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];

  // ---- times

  let format; // made when it is first needed, as that takes a browser 25 ms
  const relative = (n, unit) => (format ??= new Intl.RelativeTimeFormat("en", { numeric: "always" })).format(n, unit);
  const UNITS = [["year", 31536000], ["month", 2592000], ["week", 604800], ["day", 86400], ["hour", 3600], ["minute", 60]];
  function said(moment) {
    const seconds = (moment - Date.now()) / 1000;
    for (const [n, [unit, size]] of UNITS.entries()) {
      // so little before it is whole, a larger unit is said, and never 60 minutes
      if (Math.abs(seconds) >= size - (UNITS[n + 1]?.[1] ?? 0) / 2) return relative(Math.round(seconds / size), unit);
    }
    return "now";
  }
  function tellTimes(inside = document) {
    for (const each of all("time[data-relative]", inside)) each.textContent = said(new Date(each.dateTime));
  }
  setInterval(tellTimes, 20000);

  // ---- copying

  let fading;
  function say(text) {
    clearTimeout(fading);
    $("#said").textContent = text;
    if (text) fading = setTimeout(() => say(""), 6000);
  }
  async function copy(button) {
    const words = $("#said").dataset;
    const beside = button.parentElement.querySelector(".secret");
    try {
      await navigator.clipboard.writeText(button.dataset.copy || beside.textContent);
      button.dispatchEvent(new Event("keyfold:kept", { bubbles: true }));
      say(words.copied);
    } catch {
      const shown = button.parentElement.querySelector("code");
      if (shown) getSelection().selectAllChildren(shown);
      say(words.selected);
    }
  }
  addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-copy]");
    if (button) copy(button);
  });

  // ---- what is wrong is said at its field, in what is brought in as well

  function mark() {
    for (const each of all("main .fault[id]")) each.remove();
    for (const each of all("main [aria-invalid]")) {
      each.removeAttribute("aria-invalid");
      describe(each, (ids) => ids.filter((id) => !id.startsWith("fault-")));
    }
    const words = new Map();
    for (const { dataset } of all("main [data-fault]")) words.set(dataset.fault, [...(words.get(dataset.fault) ?? []), dataset.said]);
    for (const [name, said] of words) {
      const field = $(`main form [name="${CSS.escape(name)}"]:not([type=hidden])`);
      if (!field) continue;
      const id = `fault-${name}`;
      const place = Object.assign(document.createElement("span"), { id, className: "hint fault", textContent: [...new Set(said)].join(" ") });
      (field.closest(".field, [role=group]") ?? field.parentElement).append(place);
      field.setAttribute("aria-invalid", "true");
      describe(field, (ids) => [...ids, id]);
    }
  }
  function describe(field, change) {
    const ids = change((field.getAttribute("aria-describedby") ?? "").split(" ").filter(Boolean));
    if (ids.length) field.setAttribute("aria-describedby", ids.join(" "));
    else field.removeAttribute("aria-describedby");
  }

  // ---- what is done with ticked rows waits for one

  function tick() {
    for (const each of all("button[data-ticked]")) each.disabled = !$(`[form="${each.getAttribute("form")}"]:checked`);
  }
  addEventListener("change", (event) => event.target.getAttribute?.("form") === "bulk" && tick());

  // ---- without a network

  const tellOffline = () => ($("#offline").hidden = navigator.onLine);
  addEventListener("online", tellOffline);
  addEventListener("offline", tellOffline);
  tellOffline();

  // ---- what only works with scripts shows only with them

  function awaken(inside = document) {
    for (const each of all("[data-copy][hidden], [data-save][hidden], #theme[hidden], #keyboard[hidden]", inside)) each.hidden = false;
    tick();
  }
  awaken();
  document.addEventListener("htmx:load", (event) => awaken(event.detail.elt));
  document.addEventListener("htmx:afterSettle", mark);
  document.addEventListener("keyfold:brought", () => {
    tellTimes();
    awaken();
  });
  // addresses say what was asked for, and nothing of what wasn't
  document.addEventListener("htmx:configRequest", (event) => {
    if (event.detail.verb !== "get") return;
    for (const [name, value] of [...event.detail.formData]) if (value === "") event.detail.formData.delete(name, value);
  });

  // ---- the keyboard

  const rows = () => all("table.list tbody tr");
  const leads = (row) => row?.querySelector("a[href]");
  function move(by) {
    const there = rows();
    if (!there.length) return;
    const now = there.findIndex((row) => row.contains(document.activeElement));
    const next = there[Math.max(0, Math.min(there.length - 1, now < 0 ? (by > 0 ? 0 : there.length - 1) : now + by))];
    leads(next)?.focus();
    next.scrollIntoView({ block: "nearest" });
  }
  const pager = (rel) => $(`.pager a[rel=${rel}]`)?.click();
  const KEYS = {
    j: () => move(1),
    k: () => move(-1),
    n: () => pager("next"),
    p: () => pager("prev"),
    "/": () => $("#search")?.focus(),
    "?": () => $("#help").showModal(),
  };
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const typing = event.target.closest?.("input, select, textarea, [contenteditable], dialog");
    const inTable = event.target.closest?.("table.list");
    const key = inTable ? { ArrowDown: "j", ArrowUp: "k" }[event.key] ?? event.key : event.key;
    if (typing && !(inTable && key !== event.key)) return;
    if (!(key in KEYS)) return;
    event.preventDefault();
    KEYS[key]();
  });
  $("#keyboard")?.addEventListener("click", KEYS["?"]);
  // back from another page: what was shown once isn't shown again, and what was ticked is
  addEventListener("pageshow", (event) => (event.persisted ? location.reload() : tick()));
})();
