// The portal: where somebody stands, and where to go from there. The link's token lives in this module alone: not in the
// address bar, not in storage.

import { button, h, mono, show } from "./dom.js";
import { embedded, listen, tell } from "./frame.js";
import { open } from "./home.js";
import { Problem, ask } from "./net.js";
import { t, texts } from "./texts.js";
import { themeSwitch } from "./theme.js";
import { dressed, welcome } from "./welcome.js";

const takeToken = () => {
  const token = location.hash.startsWith("#kfl_") || location.pathname === "/onboard" ? location.hash.slice(1) : "";
  if (token) history.replaceState(null, "", location.pathname);
  return token;
};

let token = takeToken();
themeSwitch();
// pasting another link into this tab changes only the fragment
addEventListener("hashchange", () => location.hash.startsWith("#kfl_") && location.reload());
// back from another page: what was shown once isn't shown again
addEventListener("pageshow", (event) => event.persisted && location.reload());

/** The way ends here: why, and what to do about it. */
export function end(code, { problem = {}, retry, look } = {}) {
  const known = texts[`end.${code}.title`];
  const later = problem.status >= 500 || code === "conflict" || code === "offline" || code === "rate-limited";
  show(
    "end",
    known ?? problem.title ?? t("end.other.title"),
    h("p", { class: "lead" }, known ? t(`end.${code}.what`) : (problem.detail ?? t("end.other.what"))),
    h("p", {}, known ? t(`end.${code}.todo`) : later ? t("end.offline.todo") : ""),
    h(
      "p",
      { class: "actions" },
      later && retry && button(t("end.again"), retry, { id: "again", class: "main" }),
      look && button(t("end.look"), () => attempt(home), { id: "look" }),
    ),
    problem.requestId && h("p", { class: "quiet" }, t("end.request"), " ", mono(problem.requestId)),
  );
}

/** Does a step, and where it can't be done says why. */
export async function attempt(step) {
  show("waiting", t("waiting.title"), h("p", {}, t("waiting.what")), h("progress", { "aria-label": t("waiting.title") }));
  try {
    await step();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    end(error.code, { problem: error.problem, retry: () => attempt(step), look: error.code === "link-used" && !embedded });
  }
}

/** The portal itself, by the session that a link has opened. */
export async function home() {
  let seen;
  try {
    seen = await ask("GET", "/api/v1/portal");
  } catch (error) {
    if (error.code === "unauthenticated") throw new Problem(embedded ? "no-link-embedded" : "no-link");
    throw error;
  }
  if (embedded && seen.integration.id !== embedded) throw new Problem("no-link-embedded");
  if (!embedded && location.pathname !== "/portal") history.replaceState(null, "", "/portal");
  dressed(seen.integration, seen.integration);
  tell({ keyfold: "opened", partnerId: seen.partner.id });
  await open(seen, end);
}

function begin() {
  attempt(async () => {
    if (token) return welcome(token, { attempt, onhome: () => attempt(home), isForced: Boolean(embedded) });
    try {
      await home();
    } catch (error) {
      if (error.code === "no-link-embedded") tell({ keyfold: "linkneeded" });
      throw error;
    }
  });
}

function beginEmbedded() {
  let last = null;
  const alone = setTimeout(begin, 1500); // the site has a plain frame, and hands over nothing
  listen((given) => {
    if (given === last) return; // the same again: it is under way, or used
    clearTimeout(alone);
    last = token = given;
    begin();
  });
}

if (embedded) beginEmbedded();
else begin();
