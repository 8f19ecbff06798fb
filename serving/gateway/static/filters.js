// Filters from the items' columns, with how many items each choice would leave.
import { find, make } from "./dom.js";
import { say } from "./words.js";

const roomy = matchMedia("(min-width: 48rem)");
const fold = () => (find("filters").querySelector("details").open = roomy.matches);
roomy.addEventListener("change", fold);
fold();

const labelled = (kind, value) => (kind === "boolean" ? say(value === "true" ? "yes" : "no") : value);
const typed = (kind, value) => (kind === "boolean" ? value === "true" : value);

export function showFilters(described, filter, change) {
  const fields = find("filter-fields");
  const focused = document.activeElement?.dataset?.key;
  const groups = [];
  for (const [column, counts] of Object.entries(described.choices)) {
    groups.push(choices(described.columns[column], column, counts, filter, change));
  }
  for (const [column, [least, most]] of Object.entries(described.ranges)) {
    if (least < most) groups.push(range(column, least, most, filter, change));
  }
  fields.replaceChildren(...groups);
  find("filters").hidden = groups.length === 0;
  const button = find("no-filters");
  button.hidden = Object.keys(filter).length === 0;
  button.onclick = () => change({});
  if (focused) fields.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
}

function choices(kind, column, counts, filter, change) {
  const chosen = [filter[column] ?? []].flat().map(String);
  const rows = Object.entries(counts).map(([value, count]) => {
    const box = make("input", {
      type: "checkbox",
      checked: chosen.includes(value),
      "data-key": `${column}=${value}`,
      onchange: () => {
        const values = box.checked ? [...chosen, value] : chosen.filter((one) => one !== value);
        change(changed(filter, column, values.map((one) => typed(kind, one))));
      },
    });
    return make(
      "label",
      { class: "choice" },
      box,
      make("span", {}, labelled(kind, value)),
      make("span", { class: "number" }, count.toLocaleString()),
    );
  });
  return make("fieldset", {}, make("legend", {}, column), make("div", { class: "choices", tabindex: "-1" }, ...rows));
}

function range(column, least, most, filter, change) {
  const bounds = { ...(filter[column] ?? {}) };
  const field = (bound, word, limit) =>
    make("input", {
      type: "number",
      step: "any",
      placeholder: limit,
      value: bounds[bound],
      "aria-label": `${column} ${say(word)}`,
      "data-key": `${column}:${bound}`,
      onchange: (event) => {
        const number = event.target.valueAsNumber;
        if (Number.isNaN(number)) delete bounds[bound];
        else bounds[bound] = number;
        change(changed(filter, column, bounds));
      },
    });
  return make(
    "fieldset",
    {},
    make("legend", {}, column),
    make("div", { class: "range" }, field("gte", "from", least), "–", field("lte", "to", most)),
  );
}

function changed(filter, column, value) {
  const { [column]: _, ...others } = filter;
  return Object.keys(value).length ? { ...others, [column]: value } : others;
}
