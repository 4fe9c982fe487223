// A change of many keys without a reload: how far it is, line by line, and at the end the page that says what came of it.
// Without this the form works as any other.

const $ = (selector) => document.querySelector(selector);
let busy = false;

/** The lines of a stream, as they come. */
async function* lines(stream) {
  let rest = "";
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    const whole = (rest + part.value).split("\n");
    rest = whole.pop();
    yield* whole;
  }
}

function tell({ step, at, of }) {
  const bar = $("#progress");
  bar.max = of || 1;
  bar.value = at;
  bar.dataset.step = step;
  $("#how-far").textContent = $("#under-way").dataset[step].replace("{at}", at.toLocaleString("en")).replace("{of}", of.toLocaleString("en"));
}

function show(page) {
  const fresh = new DOMParser().parseFromString(page, "text/html").querySelector("#main");
  $("#main").replaceWith(document.adoptNode(fresh));
  document.dispatchEvent(new Event("keyfold:brought"));
  ($("#came") ?? $("#main")).focus();
}

/** The page that says what came of it; none when the browser is on its way to another one. */
async function send(form, button) {
  const body = new URLSearchParams(new FormData(form, button));
  const answer = await fetch(form.action, { method: "POST", body, headers: { Accept: "application/x-ndjson" } });
  if (answer.redirected) return void location.assign(answer.url);
  if (!answer.headers.get("content-type")?.startsWith("application/x-ndjson")) return answer.text();
  for await (const line of lines(answer.body)) {
    const said = JSON.parse(line);
    if (said.page) return said.page;
    tell(said);
  }
  throw new TypeError("the answer has no end");
}

/** While it is under way nothing else can be sent, and whoever leaves is asked. */
function occupy(is) {
  busy = is;
  const place = $("#under-way");
  if (!place) return;
  place.hidden = !is;
  for (const each of document.querySelectorAll("form[data-progress] button")) each.disabled = is;
}

addEventListener("submit", async (event) => {
  if (!event.target.matches("form[data-progress]")) return;
  event.preventDefault();
  if (busy) return;
  occupy(true);
  $("#lost").replaceChildren();
  $("#progress").removeAttribute("value");
  $("#how-far").textContent = "";
  $("#under-way").scrollIntoView({ block: "nearest" });
  let page;
  try {
    page = await send(event.target, event.submitter);
  } catch {
    const said = document.createElement("p");
    said.className = "warning bad";
    said.textContent = $("#under-way").dataset.lost;
    $("#lost").append(said);
  } finally {
    occupy(false);
  }
  if (page) show(page); // now that its buttons can be pressed
});
addEventListener("beforeunload", (event) => busy && event.preventDefault());
