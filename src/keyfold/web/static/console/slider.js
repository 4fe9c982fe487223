// The time slider of a key. Each event has the same room on it, so that none is too close to another to be reached;
// between two of them time runs evenly. At an event it asks by the position, which is exact, elsewhere by the time.

const place = document.querySelector("#slider");
const range = place.querySelector("input");
const said = place.querySelector("output");
const stops = [...document.querySelectorAll("#line li")]
  .map((each) => ({ position: Number(each.dataset.position), time: Date.parse(each.dataset.time), item: each }))
  .reverse();
const ROOM = 1000;
const END = stops.length * ROOM;
const now = Date.parse(place.dataset.now);
const after = (n) => (n + 1 < stops.length ? stops[n + 1].time : now);

/** What a place on the slider asks for: a position, a time, or null for now. */
function moment(value) {
  if (value >= END) return null;
  const n = Math.floor(value / ROOM);
  const part = value / ROOM - n;
  if (part === 0) return { asOf: String(stops[n].position), time: stops[n].time };
  const time = Math.max(stops[n].time + 1, Math.floor(stops[n].time + part * (after(n) - stops[n].time)));
  return { asOf: new Date(time).toISOString(), time };
}

/** Where what the page shows lies on the slider. */
function shown() {
  const { position, time } = document.querySelector("#key-head").dataset;
  if (!position) return END;
  const n = stops.findLastIndex((each) => each.position <= Number(position));
  if (n < 0) return 0;
  const length = after(n) - stops[n].time;
  const part = length > 0 ? (Date.parse(time) - stops[n].time) / length : 0;
  return Math.round((n + Math.max(0, Math.min(0.999, part))) * ROOM);
}

function tell(value) {
  const at = moment(value);
  const words = at ? `${new Date(at.time).toISOString().replace("T", " ").slice(0, 23)} UTC` : place.dataset.wordNow;
  said.textContent = words;
  range.setAttribute("aria-valuetext", words);
  const n = Math.min(Math.floor(value / ROOM), stops.length - 1);
  for (const [each, stop] of stops.entries()) {
    if (each === n) stop.item.setAttribute("aria-current", "true");
    else stop.item.removeAttribute("aria-current");
  }
}

let asking = null;
async function show(value) {
  asking?.abort();
  const mine = (asking = new AbortController());
  const at = moment(value);
  const address = at ? `${location.pathname}?asOf=${encodeURIComponent(at.asOf)}` : location.pathname;
  document.body.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(address, { signal: mine.signal, headers: { Accept: "text/html" } });
    if (answer.redirected) return location.reload();
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (mine !== asking) return;
    for (const part of document.querySelectorAll("[data-moment]")) {
      const fresh = page.getElementById(part.id);
      if (!fresh) return location.assign(address);
      part.replaceWith(document.adoptNode(fresh));
    }
    history.replaceState(null, "", address);
    document.dispatchEvent(new Event("keyfold:brought"));
  } catch (error) {
    if (error.name !== "AbortError") location.assign(address);
  } finally {
    if (mine === asking) document.body.removeAttribute("aria-busy");
  }
}

let waiting;
function go(value) {
  range.value = String(value);
  tell(value);
  clearTimeout(waiting);
  waiting = setTimeout(() => show(value), 60);
}

range.addEventListener("input", () => go(range.valueAsNumber));
range.addEventListener("keydown", (event) => {
  const by = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
  if (!by) return;
  event.preventDefault();
  go(Math.max(0, Math.min(END, range.valueAsNumber + by * (ROOM / 20))));
});
for (const button of place.querySelectorAll("[data-step]")) {
  button.addEventListener("click", () => {
    const by = Number(button.dataset.step);
    const at = range.valueAsNumber / ROOM;
    go(Math.max(0, Math.min(END, (by < 0 ? Math.ceil(at) - 1 : Math.floor(at) + 1) * ROOM)));
  });
}
range.value = String(shown());
tell(range.valueAsNumber);
place.hidden = false;
