// One head, many heads: attention on the reader's sentence, with matrices that are set by hand.

import { folded, make, number, scrolled, table, uniqueName } from "./ui.js";
import { stepper, textField, tick } from "./ui.js";
import { causalMask, columnsOfHead, multiHead } from "./attention.js";
import { embedded, lettersIn, matrixOf, signs, words } from "./embedding.js";
import { cellName, shortName, thumbnail, weightsMap } from "./weights_map.js";

const RELATIONS = ["previous", "same", "first", "longest"];
const HEADS = [1, 2, 4, 8];
const TEMPERATURES = [0.25, 0.5, 1, 2, 4, 8];
const D_MODEL = 64;

/** All that the figure shows, from what its controls say. */
export function attended(state) {
  const tokens = words(state.sentence, state.edges).slice(0, state.most_tokens);
  const x = embedded(tokens, state);
  const matrices = Object.fromEntries(
    Object.entries(state.matrices).map(([name, entries]) => [name, matrixOf(entries, D_MODEL)]),
  );
  const mask = state.causal ? causalMask(tokens.length) : null;
  const { weights, output } = multiHead(x, matrices, state.num_heads, mask, state.temperature);
  return { tokens, weights, output, mean: meanOf(weights), asked: answers(tokens, state.causal) };
}

function meanOf(maps) {
  return maps[0].map((row, t) =>
    row.map((_, s) => maps.reduce((sum, map) => sum + map[t][s], 0) / maps.length),
  );
}

/** For each query and relation, the places that hold what is asked for: [T] of lists. */
export function answers(tokens, causal) {
  const same = (a, b) => a.toLowerCase() === b.toLowerCase();
  return tokens.map((token, t) => {
    const seen = [...tokens.keys()].filter((s) => !causal || s <= t);
    const most = Math.max(...seen.map((s) => lettersIn(tokens[s])));
    return {
      previous: t ? [t - 1] : [],
      same: seen.filter((s) => same(tokens[s], token)),
      first: [0],
      longest: seen.filter((s) => lettersIn(tokens[s]) === most),
    };
  });
}

/** What arrives at one query: for each relation the closest word, and the share explained. */
export function arrived(tokens, output, asked) {
  const vectors = tokens.map(signs);
  const quarters = RELATIONS.map((_, i) => columnsOfHead([output], i, RELATIONS.length)[0]);
  return RELATIONS.map((relation, i) => {
    const places = asked[relation];
    const likeness = vectors.map((vector) => cosine(quarters[i], vector));
    const closest = likeness.indexOf(Math.max(...likeness));
    const wanted = vectors[0].map((_, k) => places.reduce((sum, s) => sum + vectors[s][k], 0));
    const share = places.length ? cosine(quarters[i], wanted) ** 2 : null;
    return { relation, places, closest: tokens[closest], share };
  });
}

function cosine(a, b) {
  const dot = (u, v) => u.reduce((sum, x, i) => sum + x * v[i], 0);
  const size = Math.sqrt(dot(a, a) * dot(b, b));
  return size ? dot(a, b) / size : 0;
}

/** Mean of the shares, without those of which nothing was asked. */
export function meanShare(found) {
  const shares = found.map(({ share }) => share).filter((share) => share !== null);
  return shares.reduce((a, b) => a + b, 0) / shares.length;
}

/** Entropy of a row: bits needed to say where it looks. */
export function bits(row) {
  return row.reduce((sum, share) => sum - (share > 0 ? share * Math.log2(share) : 0), 0);
}

/** What a head asks for: it has one or several quarters of W_Q and W_K, or half of one. */
export function asksFor(head, heads) {
  if (heads === 1) return "all four";
  if (heads === 8) return `½ ${RELATIONS[Math.floor(head / 2)]}`;
  const each = RELATIONS.length / heads;
  return RELATIONS.slice(head * each, (head + 1) * each).join(", ");
}

function render({ model, el }) {
  const state = { ...model.get("state") };
  const view = { map: "0", query: null, key: null };
  let now;

  const said = make("p", { class: "mha-said", role: "status" });
  const choice = make("div", { class: "mha-thumbnails" });
  const pointedAt = make("p", { class: "mha-cell-said" });
  const received = make("div");
  const numbers = make("div");
  const map = weightsMap({
    chosen: (query, key) => {
      Object.assign(view, { query, key });
      showQuery();
    },
  });
  const body = make(
    "div",
    {},
    make("fieldset", { class: "mha-choice-of-map" }, make("legend", {}, "Map of"), choice),
    make(
      "div",
      { class: "mha-side-by-side" },
      make("div", {}, map.element, pointedAt),
      make("div", {}, received),
    ),
    folded("The numbers of this map", numbers),
  );

  const shown = () => (view.map === "mean" ? now.mean : now.weights[Number(view.map)]);
  const nameOfMap = () => (view.map === "mean" ? "the mean of the heads" : `head ${view.map}`);
  const masked = (t, s) => state.causal && s > t;

  /** Everything, after a control was moved. */
  function show() {
    const all = words(state.sentence, state.edges);
    body.hidden = !all.length;
    said.classList.toggle("mha-wrong-input", !all.length);
    if (all.length) {
      now = attended(state);
      const last = now.tokens.length - 1;
      view.query = Math.min(view.query ?? last, last);
      view.key = Math.min(view.key ?? last, last);
      if (Number(view.map) >= state.num_heads || state.num_heads === 1) view.map = "0";
      choice.replaceChildren(...thumbnails());
      showMap();
    } else {
      said.textContent = "There is no word to attend to: type a sentence.";
    }
    model.set("state", { ...state });
    model.save_changes();
  }

  function thumbnails() {
    const name = uniqueName("map");
    const choices = now.weights.map((weights, i) => [
      String(i),
      `head ${i}`,
      asksFor(i, state.num_heads),
      weights,
    ]);
    if (state.num_heads > 1) choices.push(["mean", "mean", "of all", now.mean]);
    return choices.map(([key, title, about, weights]) => {
      const input = make("input", { type: "radio", name, value: key });
      input.checked = key === view.map;
      input.addEventListener("change", () => {
        view.map = key;
        showMap();
      });
      const names = make("span", {}, make("b", {}, title), make("br"), about);
      return make("label", { class: "mha-thumb" }, thumbnail(weights), input, names);
    });
  }

  function showMap() {
    const { tokens } = now;
    const weights = shown().map((row, t) => row.map((w, s) => (masked(t, s) ? null : w)));
    const { query, key } = view;
    map.show({
      label: `Attention weights of ${nameOfMap()}: queries down, keys across`,
      tokens,
      weights,
      query,
      key,
    });
    numbers.replaceChildren(
      scrolled(
        table({
          caption: `Weights of ${nameOfMap()}: a row is a query`,
          head: ["", ...tokens],
          rows: weights.map((row, t) => [tokens[t], ...row.map((w) => w?.toFixed(3) ?? "–")]),
        }),
      ),
    );
  }

  function showQuery() {
    const { query, key } = view;
    const weight = masked(query, key) ? null : shown()[query][key];
    pointedAt.textContent = `${nameOfMap()}, ${cellName(now.tokens, query, key, weight)}`;
    received.replaceChildren(...whatArrives(now, query));
    const text = summary(now, query, state);
    if (said.textContent !== text) said.textContent = text; // a reader hears it only if it changed
  }

  el.replaceChildren(
    make(
      "div",
      { class: "mha-controls" },
      textField({
        label: "Sentence",
        value: state.sentence,
        changed: (value) => {
          state.sentence = value;
          show();
        },
      }),
      stepper({
        label: "heads h",
        values: HEADS,
        value: state.num_heads,
        changed: (value) => {
          state.num_heads = value;
          show();
        },
      }),
      stepper({
        label: "temperature",
        values: TEMPERATURES,
        value: state.temperature,
        changed: (value) => {
          state.temperature = value;
          show();
        },
      }),
      tick({
        label: "causal mask: no token sees a later one",
        value: state.causal,
        changed: (value) => {
          state.causal = value;
          show();
        },
      }),
    ),
    said,
    body,
    folded("What is computed here", ...explanation()),
  );
  show();
}

/** The sentence that says what there is to see. */
function summary(now, query, state) {
  const { tokens, weights, mean, output, asked } = now;
  const here = meanShare(arrived(tokens, output[query], asked[query]));
  const all = tokens.map((_, t) => meanShare(arrived(tokens, output[t], asked[t])));
  const everywhere = all.reduce((a, b) => a + b, 0) / all.length;
  const heads = weights.length === 1 ? "one head" : `${weights.length} heads`;
  const cut = words(state.sentence, state.edges).length > tokens.length;
  const texts = [
    cut ? `Only the first ${state.most_tokens} words are used.` : "",
    `With ${heads}, ${here.toFixed(2)} of what “${tokens[query]}” asks for arrives; ` +
      `over the whole sentence ${everywhere.toFixed(2)}.`,
  ];
  if (weights.length > 1) {
    const each = weights.reduce((sum, map) => sum + bits(map[query]), 0) / weights.length;
    const blurred = bits(mean[query]) - each;
    texts.push(
      `Its heads take ${each.toFixed(1)} bits each, their mean ${bits(mean[query]).toFixed(1)}: ` +
        `the mean blurs ${blurred.toFixed(1)}.`,
    );
  }
  return texts.filter(Boolean).join(" ");
}

/** The output of one query, read a quarter at a time. */
function whatArrives({ tokens, output, asked }, query) {
  const rows = arrived(tokens, output[query], asked[query]).map(
    ({ relation, places, closest, share }) => {
      const wanted = [...new Set(places.map((s) => tokens[s].toLowerCase()))];
      const one = shortName(wanted[0] ?? "none", 9);
      const answer = wanted.length > 1 ? `mean of ${wanted.length}` : one;
      return [relation, answer, shortName(closest, 9), share === null ? "–" : bar(share)];
    },
  );
  const size = Math.sqrt(output[query].reduce((sum, x) => sum + x * x, 0));
  return [
    table({
      caption: `Words that “${shortName(tokens[query])}” gets`,
      head: ["asked for", "answer", "closest", "arrives"],
      rows,
    }),
    make(
      "p",
      { class: "mha-small" },
      `Its length is ${number(size, 2)}. Four whole words have 8; an average of words is shorter.`,
    ),
  ];
}

function bar(share) {
  return make("span", { class: "mha-bar", style: `--share:${share}` }, share.toFixed(2));
}

function explanation() {
  const points = [
    "A token is a vector x of 64 numbers: 16 signs, drawn by a hash of the word; 16 waves, cosine " +
      "and sine of its place; 16 ones; and 16 times its length. Nothing is learned, and no " +
      "meaning is in it.",
    "W_Q and W_K have four quarters of 16 columns. Their product is large where the key is the " +
      "previous word, the same word, the first word, or a long word. W_V hands the 16 signs of a " +
      "word to each quarter. W_O leaves everything in its place.",
    "A head gets 64 / h columns. So one head adds up all four questions before its softmax; four " +
      "heads have one each; of eight, two share one and have half of its columns each.",
    "“Arrives” is the share of the variance that the best factor explains: the squared cosine " +
      "between a quarter of the output and the signs of the right answer, or their mean if there " +
      "are several.",
    "The temperature divides the scores before the softmax.",
  ];
  return [make("ul", { class: "mha-small" }, ...points.map((text) => make("li", {}, text)))];
}

export default { render };
