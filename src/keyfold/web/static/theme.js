// Before anything is painted: the appearance that was chosen here. Nothing else is ever stored by these pages.
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem("keyfold-theme");
  } catch {
    // a frame of another site may have no storage
  }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
