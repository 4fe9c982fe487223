// What a key may do, in words.

import { asJson, h } from "./dom.js";
import { t } from "./texts.js";

const topicsOf = (rule, action) => rule.options?.[action]?.topics ?? [];

/** A list: each action, and the topics that it is for. */
export function rules(rule) {
  const items = rule.permitted.map((action) => {
    const topics = topicsOf(rule, action);
    const named = topics.map((topic, at) => [at ? ", " : "", topic === "**" ? t("rule.every") : h("code", {}, topic)]);
    const filters = rule.options?.[action]?.filters ?? [];
    const only = filters.map((each) => [
      " ",
      t("rule.only"),
      " ",
      h("code", {}, `${each.propertyName} ${each.operator} ${asJson(each.propertyValue)}`),
    ]);
    return h("li", {}, h("span", { class: "verb" }, t(`rule.${action}`)), " ", named, only);
  });
  return h("ul", { class: "rules" }, items.length ? items : h("li", {}, t("rule.none")));
}

export const may = (key, action) => key.permitted.includes(action);

/** A topic that the key may use with this action: of the catalogue, or made up by its patterns. Null: none. */
export function topicFor(key, action, catalogue) {
  const listed = catalogue.filter((topic) => topic[action].includes(key.id) && !topic.deprecated);
  if (listed.length) return listed[0].name;
  const [pattern] = topicsOf(key, action);
  if (!may(key, action) || !pattern) return null;
  return pattern === "**" ? "app/hello/world" : pattern.replaceAll("**", "hello").replaceAll("*", "hello");
}

/** Where a key is for, as a mark. */
export const environment = (key) => h("span", { class: `environment ${key.environment}` }, key.environment);
