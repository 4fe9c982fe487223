// The overlap of a rotation as a picture: two bars over time, the old key's and the new one's.

import { svg } from "./dom.js";
import { t } from "./texts.js";

/** `seconds` of overlap, 0 for none; `starts` "first-use" where it begins later. */
export function overlap({ seconds, starts }) {
  const now = 90;
  const begin = starts === "first-use" && seconds !== 0 ? 170 : now;
  const end = seconds === 0 ? now : begin + 110;
  const word = (x, y, text, kind = "") => svg("text", { x, y, class: kind, "text-anchor": "middle" }, text);
  const bar = (x, y, width, kind) => svg("rect", { x, y, width, height: 22, rx: 4, class: kind });
  return svg(
    "svg",
    { viewBox: "0 0 420 140", role: "img", "aria-label": t("rotate.picture") },
    end > now && svg("rect", { x: now, y: 14, width: end - now, height: 88, class: "both" }),
    bar(4, 26, end - 4, "old"),
    word(45, 42, t("rotate.old"), "inside"),
    bar(now, 66, 420 - now - 4, "new"),
    word(366, 82, t("rotate.new"), "inside"),
    end > now && word((now + end) / 2, 10, t("rotate.both")),
    svg("line", { x1: now, x2: now, y1: 14, y2: 110 }),
    begin > now && svg("line", { x1: begin, x2: begin, y1: 14, y2: 110, class: "dashed" }),
    end > now && svg("line", { x1: end, x2: end, y1: 14, y2: 110 }),
    word(now, 122, t("rotate.begin")),
    begin > now && word(begin + 4, 136, t("rotate.begin.used")),
    end > now && word(end + 30, 122, t("rotate.end")),
  );
}
