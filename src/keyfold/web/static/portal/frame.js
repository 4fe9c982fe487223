// In a frame of an integration's own site: messages with exactly that site, and with nobody else.

import { $ } from "./dom.js";

const { integration, origins } = $("main").dataset;
const allowed = origins ? origins.split(" ") : [];
const TOKEN = /^kfl_[0-9A-Za-z_]{20,120}$/;

/** The integration that this frame is for, or "" where the page stands by itself. */
export const embedded = integration;

let host = null;
const parentOnly = (event) => event.source === parent && parent !== window && allowed.includes(event.origin);

export function tell(message) {
  if (host) parent.postMessage(message, host);
}

/** Calls `onlink` with the token that the site hands over, which may be "" for none; before that nothing is done. */
export function listen(onlink) {
  addEventListener("message", (event) => {
    const said = event.data;
    if (!parentOnly(event) || typeof said !== "object" || said === null) return;
    if (host && event.origin !== host) return;
    if (said.keyfold === "hello" || (host && said.keyfold === "link")) {
      if (!host) greet(event.origin);
      onlink(TOKEN.test(said.token) ? said.token : "");
    }
  });
}

function greet(origin) {
  host = origin;
  tell({ keyfold: "ready" });
  new ResizeObserver(() => tell({ keyfold: "height", height: document.body.scrollHeight })).observe(document.body);
}
