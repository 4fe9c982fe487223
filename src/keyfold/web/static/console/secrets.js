// Many new secrets at once: copied together, or kept as a file that is made here and sent nowhere.

const rows = () => [...document.querySelectorAll("[data-once][data-key]")];
const COLUMNS = ["id", "name", "environment", "secret", "replaces"];
const found = () =>
  rows().map(({ dataset, children }) => ({
    id: dataset.successor,
    name: dataset.name,
    environment: dataset.environment || null,
    secret: [...children].map((each) => each.querySelector(".secret")?.textContent).find(Boolean),
    replaces: dataset.key,
  }));

/** A field of a CSV file (RFC 4180). What a spreadsheet would take for a formula begins with an apostrophe. */
function field(value) {
  const text = /^[=+\-@\t\r]/.test(value ?? "") ? `'${value}` : value ?? "";
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
const KINDS = {
  json: (keys) => [JSON.stringify(keys, null, 2) + "\n", "application/json"],
  csv: (keys) => [[COLUMNS, ...keys.map((each) => COLUMNS.map((name) => each[name]))].map((row) => row.map(field).join(",") + "\r\n").join(""), "text/csv"],
};

function save(kind, button) {
  const [text, type] = KINDS[kind](found());
  const href = URL.createObjectURL(new Blob([text], { type }));
  Object.assign(document.createElement("a"), { href, download: `keyfold-keys.${kind}` }).click();
  setTimeout(() => URL.revokeObjectURL(href), 10000);
  button.dispatchEvent(new Event("keyfold:kept", { bubbles: true }));
}

addEventListener("click", (event) => {
  const button = event.target.closest?.("[data-save]");
  if (button) save(button.dataset.save, button);
});
// copied by console.js, which finds in the button what to copy
function fill() {
  const button = document.querySelector("#copy-all");
  if (button) button.dataset.copy = found().map(({ name, environment, secret }) => [name, environment ?? "", secret].join("\t")).join("\n");
}
document.addEventListener("keyfold:brought", fill);
fill();
