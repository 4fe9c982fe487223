// Before anything is painted: the appearance that was chosen here. Nothing else is ever stored by these pages.
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem("keyfold-theme");
  } catch {
    // a frame of another site may have no storage
  }
  const root = document.documentElement;
  if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;

  // the switch of pages that are made on the server
  const show = () => {
    for (const each of document.querySelectorAll("[data-theme-choice]"))
      each.setAttribute("aria-pressed", String(each.dataset.themeChoice === (root.dataset.theme ?? "auto")));
  };
  addEventListener("DOMContentLoaded", show);
  addEventListener("click", (event) => {
    const theme = event.target.closest?.("[data-theme-choice]")?.dataset.themeChoice;
    if (!theme) return;
    if (theme === "auto") delete root.dataset.theme;
    else root.dataset.theme = theme;
    try {
      if (theme === "auto") localStorage.removeItem("keyfold-theme");
      else localStorage.setItem("keyfold-theme", theme);
    } catch {
      // without storage it holds until the page is left
    }
    show();
    dispatchEvent(new Event("keyfold:theme"));
  });
})();
