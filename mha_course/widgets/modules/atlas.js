// Heads of real models: a small map of every head, filtered by pattern, and one head at large.

import { make, menu, table, folded } from "./ui.js";
import { weightsMap } from "./weights_map.js";
import { unpacked, weightsAt } from "./bytes.js";
import { rove, stopAt } from "./rove.js";

const ANY = "";
const NONE = "none";
const MOST_NAMED = 3; // keys in a sentence

/** Heads that a filter lets through, as [layer, head]; `held` lists the patterns of each head. */
export function headsWith(held, pattern) {
  return held.flatMap((row, layer) =>
    row.flatMap((has, head) => {
      const shown = pattern === NONE ? !has.length : pattern === ANY || has.includes(pattern);
      return shown ? [[layer, head]] : [];
    }),
  );
}

/** What a filter found, in a sentence. */
export function foundWith(title, held, pattern) {
  const [found, all] = [headsWith(held, pattern).length, held.flat().length];
  if (pattern === ANY) {
    const layers = `${held.length} layers from top to bottom, ${held[0].length} heads in each`;
    return `All ${all} heads of ${title}: ${layers}.`;
  }
  const verb = found === 1 ? "has" : "have";
  if (pattern === NONE) return `${found} of ${all} heads of ${title} ${verb} none of the patterns.`;
  if (!found) return `No head of ${title} has the pattern “${pattern}”.`;
  return `${found} of ${all} heads of ${title} ${verb} the pattern “${pattern}”.`;
}

/** The keys with the largest weights, the first ones first: indices. */
export function largest(weights, count) {
  const order = weights.map((_, i) => i).sort((a, b) => weights[b] - weights[a] || a - b);
  return order.slice(0, count);
}

function render({ model, el, data }) {
  const given = model.get("state");
  const wanted = { model: given.model, text: given.text };
  const chosen = { pattern: given.pattern, layer: 0, head: 0, query: null };
  let maps = null; // what was wanted, once it is there

  const of = () => given.models[maps.model];
  const weights = () => weightsAt(maps.bytes, chosen.layer * of().heads + chosen.head, maps.size);

  // What is on the page
  const patterns = make("div", { class: "mha-contents" });
  const found = make("p", { class: "mha-atlas-found", role: "status" });
  const atlas = make("div", { class: "mha-atlas-heads", role: "grid" });
  const headName = make("p", { class: "mha-atlas-name" });
  const map = weightsMap({
    chosen: (query) => {
      chosen.query = query;
      showQuery();
    },
  });
  const strip = make("div", {
    class: "mha-atlas-tokens",
    role: "radiogroup",
    "aria-label": "The token that looks",
  });
  const said = make("p", { class: "mha-said", role: "status" });
  const scores = make("div");

  rove(atlas, (button) => {
    [chosen.layer, chosen.head] = button.dataset.head.split(".").map(Number);
    showHead();
  });
  rove(strip, (button) => lookFrom(Number(button.dataset.token)));
  strip.addEventListener("pointerover", (event) => {
    const query = Number(event.target.closest("button")?.dataset.token ?? chosen.query);
    if (query !== chosen.query && event.pointerType === "mouse") lookFrom(query);
  });

  async function loadMaps() {
    const { model: name, text } = wanted;
    found.textContent = "The maps are being loaded …";
    let part;
    try {
      part = await data(`${name} ${text}`);
    } catch {
      found.textContent = "The maps could not be loaded. Choose another text, or try again later.";
      return;
    }
    if (name !== wanted.model || text !== wanted.text) return; // by now it is something else
    if (maps?.model !== name) Object.assign(chosen, { layer: 0, head: 0 });
    const { tokens } = part;
    maps = { model: name, tokens, bytes: unpacked(part.weights), size: tokens.length };
    chosen.query = Math.min(chosen.query ?? Math.floor(maps.size / 2), maps.size - 1);
    showPatterns();
    showAtlas();
  }

  function showPatterns() {
    const { held, patterns: scored } = given.models[wanted.model];
    const count = (pattern) => headsWith(held, pattern).length;
    const options = [
      [ANY, "all heads"],
      ...Object.keys(scored).map((name) => [name, `${name} (${count(name)})`]),
      [NONE, `no pattern (${count(NONE)})`],
    ];
    const known = options.some(([key]) => key === chosen.pattern);
    if (!known) chosen.pattern = ANY; // a decoder has no next token
    patterns.replaceChildren(
      menu({
        label: "pattern",
        options,
        value: chosen.pattern,
        changed: (value) => {
          chosen.pattern = value;
          if (maps) filterAtlas();
        },
      }),
    );
  }

  /** Only once there is something to see: else all of it would move when the maps come. */
  function showParts() {
    const large = make("div", { class: "mha-atlas-head" }, headName, map.element);
    const folds = folded("The scores of this head, on long texts", scores);
    el.append(make("div", { class: "mha-atlas" }, atlas, large), strip, said, folds);
  }

  function showAtlas() {
    if (!atlas.parentNode) showParts();
    const { title, layers, heads, held } = of();
    atlas.setAttribute("aria-label", `The heads of ${title}: layers down, heads across`);
    const heading = (name, role) => make("span", { role }, name);
    const corner = make("span", { role: "gridcell" });
    const row = (...cells) => make("div", { role: "row" }, ...cells);
    const numbers = Array.from({ length: heads }, (_, head) => heading(head, "columnheader"));
    const rows = Array.from({ length: layers }, (_, layer) =>
      row(
        heading(layer, "rowheader"),
        ...held[layer].map((has, head) => {
          const name = `head ${layer}.${head}, ${has.join(" and ") || "no pattern"}`;
          const picture = stamp(maps, layer * heads + head, given.shade);
          const names = { role: "gridcell", "aria-label": name, "data-head": `${layer}.${head}` };
          return make("button", { type: "button", ...names }, picture);
        }),
      ),
    );
    atlas.style.setProperty("--heads", heads);
    atlas.replaceChildren(row(corner, ...numbers), ...rows);
    filterAtlas();
  }

  function filterAtlas() {
    const { title, held } = of();
    const shown = new Set(headsWith(held, chosen.pattern).map((head) => head.join(".")));
    found.textContent = foundWith(title, held, chosen.pattern);
    for (const button of atlas.querySelectorAll("button")) {
      button.disabled = !shown.has(button.dataset.head);
    }
    for (const row of atlas.querySelectorAll("[role=row]:not(:first-child)")) {
      row.classList.toggle("mha-thin", !row.querySelector("button:not(:disabled)"));
    }
    if (shown.size && !shown.has(`${chosen.layer}.${chosen.head}`)) {
      [chosen.layer, chosen.head] = [...shown][0].split(".").map(Number);
    }
    showHead();
    // only the box scrolls, not the page
    const { offsetTop } = atlas.querySelector("[aria-selected=true]").parentElement;
    atlas.scrollTop = offsetTop - atlas.offsetTop - atlas.clientHeight / 2;
  }

  function showHead() {
    const name = `${chosen.layer}.${chosen.head}`;
    const has = of().held[chosen.layer][chosen.head];
    for (const button of atlas.querySelectorAll("button")) {
      button.setAttribute("aria-selected", String(button.dataset.head === name));
      if (button.dataset.head === name) stopAt(atlas, button);
    }
    headName.replaceChildren(
      make("strong", {}, `Head ${name}`),
      ` of ${of().title}: ${has.join(", ") || "no pattern"}`,
    );
    strip.replaceChildren(
      ...maps.tokens.map((token, i) =>
        make(
          "button",
          { type: "button", role: "radio", "data-token": i },
          make("span", {}, token),
          make("small", {}),
        ),
      ),
    );
    scores.replaceChildren(scoresOf(of(), chosen));
    lookFrom(chosen.query);
  }

  function lookFrom(query) {
    chosen.query = query;
    const { tokens } = maps;
    const rows = weights();
    map.show({
      label: `Attention of head ${chosen.layer}.${chosen.head}: queries down, keys across`,
      tokens,
      weights: rows.map((row, t) => row.map((w, s) => (of().is_causal && s > t ? null : w))),
      query,
      key: largest(rows[query], 1)[0],
    });
  }

  function showQuery() {
    const { tokens } = maps;
    const row = weights()[chosen.query];
    const seen = (key) => !of().is_causal || key <= chosen.query;
    [...strip.children].forEach((button, key) => {
      const here = key === chosen.query;
      button.setAttribute("aria-checked", String(here));
      button.style.setProperty("--weight", row[key]);
      button.lastChild.textContent = seen(key) ? row[key].toFixed(2) : "–";
      if (here) stopAt(strip, button);
    });
    const first = largest(row, MOST_NAMED).filter((key) => row[key] >= 0.005);
    const named = first.map((key) => `${row[key].toFixed(2)} to ${tokens[key]}`);
    said.textContent =
      `In head ${chosen.layer}.${chosen.head}, the token ${tokens[chosen.query]} ` +
      `(number ${chosen.query}) gives ${named.join(", ")}.`;
  }

  el.replaceChildren(
    make(
      "div",
      { class: "mha-controls" },
      menu({
        label: "model",
        options: Object.entries(given.models).map(([name, { title, layers, heads }]) => [
          name,
          `${title}, ${layers * heads} heads`,
        ]),
        value: wanted.model,
        changed: (value) => {
          wanted.model = value;
          loadMaps();
        },
      }),
      patterns,
      menu({
        label: "text",
        options: Object.entries(given.texts),
        value: wanted.text,
        changed: (value) => {
          wanted.text = value;
          loadMaps();
        },
      }),
    ),
    found,
  );
  showPatterns();
  return loadMaps();
}

/** A map in the size of a stamp. Each cell is as full as the root of its weight: so weak ones show. */
function stamp({ bytes, size }, number, shade) {
  const canvas = make("canvas", { width: size, height: size, "aria-hidden": "true" });
  const context = canvas.getContext("2d");
  const image = context.createImageData(size, size);
  const colour = shade.match(/[0-9a-f]{2}/g).map((digits) => Number.parseInt(digits, 16));
  for (let i = 0; i < size * size; i += 1) {
    const full = 255 * Math.sqrt(bytes[number * size * size + i] / 255);
    image.data.set([...colour, full], 4 * i);
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

function scoresOf({ title, patterns, held }, { layer, head }) {
  const two = (value) => (value === null ? "–" : value.toFixed(2));
  return table({
    caption: `Head ${layer}.${head} of ${title}: weight on the keys of each pattern`,
    head: ["pattern", "score", "even weights", "best fixed offset", "has it"],
    rows: Object.entries(patterns).map(([name, { scores, even, offset }]) => [
      name,
      two(scores[layer][head]),
      two(even),
      two(offset),
      held[layer][head].includes(name) ? "yes" : "no",
    ]),
  });
}

export default { render };
