// Filters saved by name, in this browser alone: a name, and the address that it stands for.

const place = document.querySelector("#saved");
const list = document.querySelector("#saved-list");
const key = `keyfold-saved-${place.dataset.list}`;
const PLACE = ["after", "before", "at"];

function read() {
  try {
    const found = JSON.parse(localStorage.getItem(key) ?? "[]");
    return Array.isArray(found) ? found.filter((each) => typeof each?.name === "string" && typeof each?.query === "string") : [];
  } catch {
    return [];
  }
}

function write(saved) {
  try {
    if (saved.length) localStorage.setItem(key, JSON.stringify(saved));
    else localStorage.removeItem(key);
  } catch {
    // a browser that stores nothing still has the address
  }
  draw();
}

function draw() {
  const made = read().map(({ name, query }) => {
    const link = Object.assign(document.createElement("a"), { href: `${location.pathname}?${query}` });
    const word = document.createElement("bdi");
    word.textContent = name;
    link.append(word);
    const remove = Object.assign(document.createElement("button"), { type: "button", className: "remove", textContent: "×" });
    remove.setAttribute("aria-label", `${place.dataset.remove} ${name}`);
    remove.addEventListener("click", () => write(read().filter((each) => each.name !== name)));
    const item = document.createElement("li");
    item.append(link, remove);
    return item;
  });
  list.replaceChildren(...made);
  list.hidden = !made.length;
}

place.querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const field = event.target.elements.name;
  const query = new URLSearchParams(location.search);
  for (const each of PLACE) query.delete(each);
  write([...read().filter(({ name }) => name !== field.value), { name: field.value, query: String(query) }]);
  event.target.reset();
  place.open = false;
});
draw();
place.hidden = false;
