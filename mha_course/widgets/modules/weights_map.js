// A map of attention weights that can be walked through: queries down, keys across.

import { draw, make } from "./ui.js";

const LONGEST_NAME = 12;

/** A name that fits beside a map. */
export function shortName(name, longest = LONGEST_NAME) {
  const letters = [...name];
  return letters.length > longest ? `${letters.slice(0, longest - 1).join("")}…` : name;
}

/**
 * Make a map. Arrow keys, Home and End move through it; so does the mouse.
 * `chosen(query, key)` is called with the cell that was moved to.
 * Returns the element and `show({ label, tokens, weights, query, key })`; null is a masked weight.
 */
export function weightsMap({ chosen }) {
  const element = make("table", { class: "mha-map", role: "grid" });
  let cells = [];
  let rows = [];

  function goTo(query, key, focus) {
    for (const row of rows) row.classList.toggle("mha-chosen", row === rows[query]);
    for (const cell of cells.flat()) cell.setAttribute("tabindex", "-1");
    cells[query][key].setAttribute("tabindex", "0");
    if (focus) cells[query][key].focus();
    chosen(query, key);
  }

  function moved(event, query, key) {
    const last = cells.length - 1;
    const [down, right] = {
      ArrowUp: [query - 1, key],
      ArrowDown: [query + 1, key],
      ArrowLeft: [query, key - 1],
      ArrowRight: [query, key + 1],
      Home: [query, 0],
      End: [query, last],
    }[event.key] ?? [null, null];
    if (down === null) return;
    event.preventDefault();
    const inside = (i) => Math.min(Math.max(i, 0), last);
    goTo(inside(down), inside(right), true);
  }

  function cellOf(name, weight, query, key) {
    return make("td", {
      "aria-label": name,
      class: weight === null ? "mha-masked" : null,
      style: `--weight:${weight ?? 0}`,
      onclick: () => goTo(query, key, true),
      onmouseenter: () => goTo(query, key, false),
      onkeydown: (event) => moved(event, query, key),
    });
  }

  function show({ label, tokens, weights, query, key }) {
    element.setAttribute("aria-label", label);
    element.style.setProperty("--tokens", tokens.length);
    const heading = (name, scope) =>
      make("th", { scope, title: name }, make("span", {}, shortName(name)));
    cells = weights.map((row, t) =>
      row.map((weight, s) => cellOf(cellName(tokens, t, s, weight), weight, t, s)),
    );
    rows = cells.map((row, t) => make("tr", {}, heading(tokens[t], "row"), ...row));
    const head = make("tr", {}, make("td"), ...tokens.map((name) => heading(name, "col")));
    element.replaceChildren(make("thead", {}, head), make("tbody", {}, ...rows));
    goTo(query, key, false);
  }

  return { element, show };
}

/** What a cell says: "dog to the: 0.98". */
export function cellName(tokens, query, key, weight) {
  const found = weight === null ? "masked" : weight.toFixed(2);
  return `${tokens[query]} to ${tokens[key]}: ${found}`;
}

/** A small picture of a map, without names. */
export function thumbnail(weights) {
  const rects = weights.flatMap((row, t) =>
    row.flatMap((weight, s) =>
      weight > 0.005
        ? [draw("rect", { x: s, y: t, width: 1, height: 1, opacity: weight.toFixed(3) })]
        : [],
    ),
  );
  const size = weights.length;
  return draw(
    "svg",
    { viewBox: `0 0 ${size} ${size}`, class: "mha-thumbnail", "aria-hidden": "true" },
    draw("g", { class: "mha-fill-heat" }, ...rects),
  );
}
