// All that the page asks of the server, and what it does while the server is away.

import { $ } from "./dom.js";
import { t } from "./texts.js";

export class Problem extends Error {
  constructor(code, problem = {}) {
    super(code);
    this.code = code;
    this.problem = problem;
  }
}

/** What to tell of an error: what the server said, with the fields that were wrong. */
export function said(error) {
  if (!(error instanceof Problem)) throw error;
  if (error.code === "offline") return t("end.offline.what");
  const { title, detail, errors = [] } = error.problem;
  const fields = errors.map((each) => `${each.pointer}: ${each.detail}`);
  return [detail ?? title ?? t("end.other.what"), ...fields].join(" ");
}

let position = 0;
/** The position of the last change that was made here: what is asked for from then on includes it. */
export const newest = () => position;

/** The whole answer. Raises `Problem`: `offline` where there was none. */
export async function request(method, path, body, headers = {}) {
  const asked = { method, headers: { ...headers }, cache: "no-store", credentials: "same-origin", redirect: "error" };
  asked.signal = AbortSignal.timeout(20000);
  if (body !== undefined) {
    asked.headers["Content-Type"] ??= "application/json";
    asked.body = JSON.stringify(body);
  }
  let response;
  let answer;
  try {
    response = await fetch(path, asked);
    answer = await response.json();
  } catch {
    lost();
    throw new Problem("offline");
  }
  if (!response.ok) throw refused(answer);
  position = Math.max(position, Number(response.headers.get("Keyfold-Position") ?? 0));
  return { ...answer, headers: response.headers };
}

export const ask = async (method, path, body, headers) => (await request(method, path, body, headers)).data;

function refused(answer) {
  if (answer.code === "unauthenticated") dispatchEvent(new Event("keyfold:ended"));
  return new Problem(answer.code, answer);
}

let probing = false;
/** Shows the banner until the server answers again, and says so then: `keyfold:back`. */
export async function lost() {
  if (probing) return;
  probing = true;
  $("#offline").hidden = false;
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, 1500));
    try {
      await fetch("/static/theme.js", { method: "HEAD", cache: "no-store" });
      break;
    } catch {
      continue;
    }
  }
  probing = false;
  $("#offline").hidden = true;
  dispatchEvent(new Event("keyfold:back"));
}
addEventListener("offline", lost);

/**
 * Events as they go by, coming back by itself without a gap. `onstate` hears "open", "waiting", "ended", or "refused" with
 * the `Problem` where what is asked for can't be. Gives a function that ends it.
 */
export function follow(asked, onevent, onstate) {
  const address = `/api/v1/portal/events/stream?${new URLSearchParams(asked)}`;
  let source;
  let later;
  let over = false;
  const begin = () => {
    source = new EventSource(address);
    source.onopen = () => onstate("open");
    source.onmessage = (message) => onevent(JSON.parse(message.data));
    source.addEventListener("end", (message) => {
      const { code } = JSON.parse(message.data);
      source.close();
      if (code === "session-ended") {
        over = true;
        onstate("ended");
        dispatchEvent(new Event("keyfold:ended"));
      } else again();
    });
    source.onerror = () => {
      if (over) return;
      onstate("waiting");
      if (source.readyState === EventSource.CLOSED) askWhy();
    };
  };
  // an EventSource doesn't say why it was refused: the same request by itself does
  const askWhy = async () => {
    const asking = new AbortController();
    try {
      const response = await fetch(address, { cache: "no-store", signal: asking.signal });
      const problem = response.ok ? null : refused(await response.json());
      asking.abort();
      if (problem?.code !== "invalid-request" || over) return again();
      over = true;
      onstate("refused", problem);
    } catch {
      again();
    }
  };
  const again = () => {
    clearTimeout(later);
    if (!over) later = setTimeout(begin, 3000);
  };
  begin();
  return () => {
    over = true;
    clearTimeout(later);
    source.close();
  };
}
