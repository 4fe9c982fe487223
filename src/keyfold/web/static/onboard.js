// The page of an onboarding link. The token lives in this module alone: not in the address bar, not in storage.

const token = location.hash.slice(1);
history.replaceState(null, "", location.pathname);

// pasting another link into this tab changes only the fragment
addEventListener("hashchange", () => location.reload());
// back from another page: what was shown once isn't shown again
addEventListener("pageshow", (event) => event.persisted && location.reload());

// one for this link and this page: a redemption whose answer was lost can be asked for again
const idempotencyKey = crypto.getRandomValues(new Uint8Array(16)).reduce((text, byte) => text + byte.toString(16).padStart(2, "0"), "");

const ENDS = {
  "link-used": {
    title: "This link has been used",
    what: "A link works once, and this one has been redeemed. Its keys were shown then and can't be shown again.",
    todo: "If it wasn't you, tell whoever sent you the link at once: somebody else holds your keys.",
    look: true,
  },
  "link-expired": {
    title: "This link has expired",
    what: "Links are open for a limited time, and nobody redeemed this one before it ended.",
    todo: "Ask whoever sent it for a fresh one.",
  },
  "link-withdrawn": {
    title: "This link was withdrawn",
    what: "Whoever sent it has taken it back.",
    todo: "Ask them for a fresh one.",
  },
  "link-unknown": {
    title: "This link isn't one of ours",
    what: "No link has this address. Most often its end got lost on the way.",
    todo: "Copy the whole address that you were sent, to the last character, and open it again.",
  },
  "no-link": {
    title: "Open the link that you were sent",
    what: "This page belongs to an onboarding link, and was opened without one.",
    todo: "The whole address ends with # and a long word that begins with kfl_. If you came back for your keys: your visit has ended, so ask whoever invited you.",
  },
  offline: {
    title: "No answer",
    what: "Keyfold can't be reached from here: the network or the server is away.",
    todo: "Trying again is safe: it doesn't use the link up twice.",
    again: true,
  },
  stored: {
    title: "All set",
    what: "The keys are no longer shown here.",
    todo: "You can close this page.",
    look: true,
  },
};

const dates = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const $ = (selector) => document.querySelector(selector);

class Problem extends Error {
  constructor(code, problem = {}) {
    super(code);
    this.code = code;
    this.problem = problem;
  }
}

async function ask(method, path, body, headers = {}) {
  const request = { method, headers, cache: "no-store", signal: AbortSignal.timeout(20000) };
  if (body) {
    request.headers = { ...headers, "Content-Type": "application/json" };
    request.body = JSON.stringify(body);
  }
  let response;
  let answer;
  try {
    response = await fetch(path, request);
    answer = await response.json();
  } catch {
    throw new Problem("offline");
  }
  if (!response.ok) throw new Problem(answer.code, answer);
  return answer.data;
}

// Texts go in as text, whatever is in them: a name with markup shows its markup.
function show(id, values = {}, lists = {}) {
  for (const section of document.querySelectorAll("main > section")) section.hidden = section.id !== id;
  const section = document.getElementById(id);
  for (const place of section.querySelectorAll("[data-fill]")) {
    const value = values[place.dataset.fill];
    if (place.localName === "time" && value) {
      place.dateTime = value;
      place.textContent = dates.format(new Date(value));
    } else place.textContent = value ?? "";
  }
  for (const part of section.querySelectorAll("[data-with]")) part.hidden = !values[part.dataset.with];
  for (const list of section.querySelectorAll("[data-list]")) list.replaceChildren(...(lists[list.dataset.list] ?? []));
  section.querySelector("h1").tabIndex = -1;
  section.querySelector("h1").focus();
  say("");
}

function element(name, text = "", className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

function card(...parts) {
  const item = element("li");
  item.append(...parts);
  return item;
}

function button(text, act) {
  const made = element("button", text);
  made.addEventListener("click", act);
  return made;
}

const say = (text) => ($("#said").textContent = text);
const verbs = { send: "Send", receive: "Receive" };
const ends = (moment) => (moment ? `Valid until ${dates.format(new Date(moment))}.` : "Has no end of its own.");

function rules({ permitted, options }) {
  const list = element("ul", "", "rules");
  for (const action of permitted) {
    const item = element("li", `${verbs[action] ?? action}: `);
    const topics = options?.[action]?.topics ?? [];
    topics.forEach((topic, at) => item.append(at ? ", " : "", topic === "**" ? "every topic" : element("code", topic)));
    list.append(item);
  }
  if (!permitted.length) list.append(element("li", "No events: the key can only be verified."));
  return list;
}

function end(error, retry) {
  if (!(error instanceof Problem)) throw error;
  const known = ENDS[error.code];
  const { title, detail, requestId } = error.problem;
  const later = error.problem.status >= 500 || error.code === "conflict";
  show("end", {
    title: known?.title ?? title ?? "That didn't work",
    what: known?.what ?? detail ?? "The server answered with something unexpected.",
    todo: known?.todo ?? (later ? "Trying again is safe: it doesn't use the link up twice." : ""),
    request: requestId,
  });
  $("#again").hidden = !(known?.again || later);
  $("#again").onclick = retry;
  $("#look").hidden = !known?.look;
}

async function attempt(step) {
  show("waiting");
  try {
    await step();
  } catch (error) {
    end(error, () => attempt(step));
  }
}

async function preview() {
  const link = await ask("POST", "/api/v1/onboarding/preview", { token });
  const { name, presentation, environments } = link.integration;
  if (/^#[0-9a-f]{6}$/i.test(presentation.color)) document.documentElement.style.setProperty("--brand", presentation.color);
  showIcon(presentation.icon);
  const seconds = link.integration.keyLifetimeSeconds;
  const lifetime = seconds ? `Valid for ${duration(seconds)} from when you accept.` : "Has no end of its own.";
  const grants = Object.entries(environments).map(([environment, rule]) =>
    card(element("h3", `A key for ${environment}`), rules(rule), element("p", lifetime, "quiet")),
  );
  const values = {
    integration: name,
    description: presentation.description,
    app: link.appName,
    appDescription: link.appDescription,
    until: link.expiresAt,
  };
  show("invitation", values, { grants });
}

function showIcon(address) {
  const icon = $("#icon");
  icon.onload = () => (icon.hidden = false);
  if (/^(https:\/\/|data:image\/)/.test(address ?? "")) icon.src = address;
}

function duration(seconds) {
  for (const [unit, size] of [["day", 86400], ["hour", 3600], ["minute", 60]]) {
    const count = Math.floor(seconds / size);
    if (count >= 1) return `${count} ${unit}${count === 1 ? "" : "s"}`;
  }
  return `${seconds} seconds`;
}

async function redeem() {
  const redeemed = await ask("POST", "/api/v1/onboarding/redeem", { token }, { "Idempotency-Key": idempotencyKey });
  const { keys, natsUrl } = redeemed;
  addEventListener("beforeunload", confirmLeaving);
  show("keys", { nats: natsUrl }, { keys: keys.map((key) => keyCard(key, redeemed)) });
  for (const each of document.querySelectorAll("#keys [data-save]")) {
    each.onclick = () => save(each.dataset.save, "keys", keys, redeemed);
  }
  $("#stored").onclick = () => {
    removeEventListener("beforeunload", confirmLeaving);
    $("#keys [data-list]").replaceChildren();
    end(new Problem("stored"));
  };
}

const confirmLeaving = (event) => event.preventDefault();

function keyCard(key, redeemed) {
  const secret = element("code", key.secret, "secret");
  const actions = element("p", "", "actions");
  actions.append(
    button("Copy", () => copy(secret, key.environment)),
    button(".env", () => save("env", key.environment, [key], redeemed)),
    button("JSON", () => save("json", key.environment, [key], redeemed)),
  );
  return card(element("h2", key.environment), rules(key), element("p", ends(key.expiresAt), "quiet"), secret, actions);
}

async function copy(code, environment) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    say(`The ${environment} key is in the clipboard.`);
  } catch {
    // no clipboard outside a secure context: it is one key press from here
    getSelection().selectAllChildren(code);
    say(`The ${environment} key is selected: copy it with Ctrl+C or Cmd+C.`);
  }
}

const formats = {
  env: (keys, { natsUrl }) =>
    [`KEYFOLD_NATS_URL=${natsUrl}`, ...keys.map((key) => `KEYFOLD_KEY_${key.environment.toUpperCase()}=${key.secret}`), ""].join("\n"),
  json: (keys, { partner, natsUrl }) => JSON.stringify({ partnerId: partner.id, natsUrl, keys }, null, 2) + "\n",
};

function save(format, name, keys, redeemed) {
  const url = URL.createObjectURL(new Blob([formats[format](keys, redeemed)], { type: "application/octet-stream" }));
  const link = element("a");
  link.href = url;
  link.download = `keyfold-${name}.${format}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
  say(`Saved as ${link.download}.`);
}

async function portal() {
  let seen;
  try {
    seen = await ask("GET", "/api/v1/portal");
  } catch (error) {
    throw error.code === "unauthenticated" ? new Problem("no-link") : error;
  }
  const { partner, keys } = seen;
  const states = keys.map((key) => {
    const status = element("span", key.status, `status ${key.status}`);
    const line = element("p");
    line.append(element("code", key.id), " ", status);
    return card(element("h3", key.environment ?? key.name), line, rules(key), element("p", ends(key.expiresAt), "quiet"));
  });
  const values = {
    partner: partner.appName ?? "Your app",
    partnerDescription: partner.appDescription,
    partnerId: partner.id,
    partnerStatus: partner.status,
    onboarded: partner.onboardedAt,
  };
  show("portal", values, { states });
}

$("#redeem").addEventListener("click", () => attempt(redeem));
$("#look").addEventListener("click", () => attempt(portal));
attempt(token ? preview : portal);
