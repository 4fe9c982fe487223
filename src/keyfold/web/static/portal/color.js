// The integration's color, as far as it can be read: corrected until its contrast is what WCAG 2.2 asks (1.4.3: 4.5 to 1).

const CONTRAST = 4.5;
/** Of integrations that name none: the accent of the stylesheet, which has one for each appearance. */
const OURS = "#17635f";
/** What the accent stands on, in keyfold.css: the sheet and the wash of each appearance. */
export const GROUNDS = { light: ["#ffffff", "#f1f3f2"], dark: ["#1a2122", "#232c2d"] };

const parts = (color) => [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
const whole = (rgb) => `#${rgb.map((part) => Math.round(part).toString(16).padStart(2, "0")).join("")}`;

/** Relative luminance, 0 to 1. */
function luminance(color) {
  const [r, g, b] = parts(color).map((part) => {
    const share = part / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

/** 1 to 21. */
export function contrast(one, other) {
  const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (light + 0.05) / (dark + 0.05);
}

const mixed = (color, other, share) => whole(parts(color).map((part, at) => part + (parts(other)[at] - part) * share));

/** The color itself, or as little darker or lighter as it takes to be read on all of the grounds. */
export function readable(color, appearance) {
  const towards = appearance === "light" ? "#000000" : "#ffffff";
  for (let share = 0; share < 1; share += 0.02) {
    const tried = mixed(color, towards, share);
    if (GROUNDS[appearance].every((ground) => contrast(tried, ground) >= CONTRAST)) return tried;
  }
  return towards;
}

/** What can be read on this color: white, or nearly black. */
export const onTop = (color) => (contrast(color, "#ffffff") >= CONTRAST ? "#ffffff" : "#0b1213");

export function dress(color) {
  if (!/^#[0-9a-f]{6}$/i.test(color ?? "") || color === OURS) return;
  const { style } = document.documentElement;
  style.setProperty("--brand", color);
  for (const appearance of ["light", "dark"]) {
    const accent = readable(color, appearance);
    style.setProperty(`--accent-${appearance}`, accent);
    style.setProperty(`--on-accent-${appearance}`, onTop(accent));
  }
}
