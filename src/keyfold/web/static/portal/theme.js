// Light, dark, or as the system has it. The choice is the one thing that these pages store.

import { $, segments } from "./dom.js";
import { t } from "./texts.js";

const root = document.documentElement;

export function themeSwitch() {
  const choices = ["auto", "light", "dark"].map((each) => [each, t(`theme.${each}`)]);
  const made = segments(t("theme.label"), choices, root.dataset.theme ?? "auto", choose);
  $("#theme").replaceWith(made);
  made.id = "theme";
}

function choose(theme) {
  if (theme === "auto") delete root.dataset.theme;
  else root.dataset.theme = theme;
  try {
    if (theme === "auto") localStorage.removeItem("keyfold-theme");
    else localStorage.setItem("keyfold-theme", theme);
  } catch {
    // a frame of another site may have no storage: then it holds until the page is left
  }
  dispatchEvent(new Event("keyfold:theme"));
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => dispatchEvent(new Event("keyfold:theme")));
