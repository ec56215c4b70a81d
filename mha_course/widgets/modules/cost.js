// What it costs: parameters, FLOPs and cache of a real model's attention with other heads.

import { draw, folded, make, menu, number, scrolled, stepper, table, tick } from "./ui.js";
import { attentionFlops, attentionParameters, cacheBytes } from "./counting.js";
import { divisors, scoreBytes } from "./counting.js";

const MOST_HEADS = 256;
const CONTEXTS = Array.from({ length: 11 }, (_, i) => 2 ** (7 + i));
const BYTES = [
  ["4", "4 (32 bits)"],
  ["2", "2 (16 bits)"],
  ["1", "1 (8 bits)"],
];
const BINARY = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB"];
const FLOPS = ["FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP", "EFLOP"];
const LARGE = ["", "thousand", "million", "billion", "trillion"];

/** The model's shape with other heads; `keepWidth`: together they stay as wide as its own. */
export function reshaped(own, heads, kvHeads, keepWidth) {
  const dHead = keepWidth ? (own.heads * own.dHead) / heads : own.dHead;
  return { dModel: own.dModel, heads, kvHeads, dHead };
}

/** Numbers of heads that can share the width of a model's own. */
export function possibleHeads(own) {
  return divisors(own.heads * own.dHead, MOST_HEADS);
}

/** Numbers of key/value heads that so many heads can share, and the one for groups of that size. */
export function possibleKvHeads(heads, group) {
  const values = divisors(heads);
  return { values, value: values.filter((g) => g * group <= heads).pop() ?? 1 };
}

/** What all layers of a shape cost for a text; scores are those of one layer. */
export function costs(shape, layers, tokens, bytes) {
  return {
    parameters: layers * attentionParameters(shape),
    text: layers * attentionFlops(shape, tokens),
    token: layers * attentionFlops(shape, 1, tokens),
    scores: scoreBytes(shape.heads, tokens, bytes),
    cache: layers * cacheBytes(shape, tokens, bytes),
  };
}

/** A number with the unit that suits it: 1.5 GiB. */
export function withUnit(value, base, units) {
  let step = 0;
  while (value >= base && step < units.length - 1) {
    value /= base;
    step += 1;
  }
  return `${number(value)} ${units[step]}`.trim();
}

/** A large whole number; a Number alone would be written with zeros at its end. */
export function allDigits(value) {
  return BigInt(value).toLocaleString("en-GB");
}

const ROWS = [
  ["parameters", "parameters", (x) => withUnit(x, 1000, LARGE)],
  ["text", "FLOPs, whole text", (x) => withUnit(x, 1000, FLOPS)],
  ["token", "FLOPs, next token", (x) => withUnit(x, 1000, FLOPS)],
  ["scores", "scores of a layer", (x) => withUnit(x, 1024, BINARY)],
  ["cache", "KV cache", (x) => withUnit(x, 1024, BINARY)],
];

function render({ model, el }) {
  const state = { ...model.get("state") };
  const owns = new Map(state.models.map((each) => [each.name, each]));
  const headSliders = make("div", { class: "mha-transparent" });
  const kvSlider = make("div", { class: "mha-control" });
  const note = make("p", { class: "mha-small mha-note" });
  const said = make("p", { class: "mha-said", role: "status" });
  const bill = make("div");
  const picture = make("div", { class: "mha-picture" });
  const exact = make("div");
  let own;

  function takeModel() {
    own = owns.get(state.model);
    Object.assign(state, { heads: own.heads, group: own.heads / own.kvHeads });
    note.textContent = own.note;
    headSliders.replaceChildren(
      stepper({
        label: "heads h",
        values: possibleHeads(own),
        value: own.heads,
        changed: (value) => {
          state.heads = value;
          offerKvHeads();
          show();
        },
      }),
      kvSlider,
    );
    offerKvHeads();
  }

  /** The slider of key/value heads, which must divide the heads. As many as before share one. */
  function offerKvHeads() {
    const { values, value } = possibleKvHeads(state.heads, state.group);
    const slider = stepper({
      label: "kv heads g",
      values,
      value,
      changed: (wanted) => {
        state.group = state.heads / wanted;
        show();
      },
    });
    kvSlider.replaceChildren(...slider.children);
  }

  function show() {
    const kvHeads = possibleKvHeads(state.heads, state.group).value;
    const shape = reshaped(own, state.heads, kvHeads, state.keep_width);
    const [mine, its] = [shape, own].map((s) => costs(s, own.layers, state.context, state.bytes));
    const ratios = ROWS.map(([key]) => mine[key] / its[key]);
    const [took, takes] = [its, mine].map(({ cache }) => ROWS[4][2](cache));
    const compared = ratios.some((ratio) => ratio !== 1) ? `, with its own heads ${took}` : "";
    said.textContent =
      `${own.name} with h = ${shape.heads}, g = ${kvHeads} and d_head = ${number(shape.dHead)}: ` +
      `for ${number(state.context)} tokens, the KV cache takes ${takes}${compared}.`;
    bill.replaceChildren(
      table({
        caption: `Attention of ${own.name}, ${own.layers} layers`,
        head: ["", "yours", "its own"],
        rows: ROWS.map(([key, name, write]) => [name, write(mine[key]), write(its[key])]),
      }),
    );
    picture.replaceChildren(bars(ratios));
    exact.replaceChildren(
      scrolled(
        table({
          caption: "All digits",
          head: ["", "yours", "its own", "ratio"],
          rows: [
            ["d_head", number(shape.dHead), number(own.dHead), times(shape.dHead / own.dHead)],
            ...ROWS.map(([key, name], i) => [
              name + (i > 2 ? ", bytes" : ""),
              allDigits(mine[key]),
              allDigits(its[key]),
              times(ratios[i]),
            ]),
          ],
        }),
      ),
    );
    model.set("state", { ...state });
    model.save_changes();
  }

  const changes = (name, read = (value) => value) => ({
    value: state[name],
    changed: (value) => {
      state[name] = read(value);
      show();
    },
  });
  el.replaceChildren(
    make(
      "div",
      { class: "mha-controls" },
      menu({
        label: "model",
        options: state.models.map(({ name }) => [name, name]),
        value: state.model,
        changed: (value) => {
          state.model = value;
          takeModel();
          show();
        },
      }),
      menu({
        label: "bytes a number",
        options: BYTES,
        value: String(state.bytes),
        changed: (value) => {
          state.bytes = Number(value);
          show();
        },
      }),
      headSliders,
      stepper({ label: "context n", values: CONTEXTS, ...changes("context") }),
      tick({ label: "keep h · d_head: cut the same width", ...changes("keep_width") }),
    ),
    said,
    make("div", { class: "mha-side-by-side" }, bill, picture),
    note,
    folded("All digits, and what is counted", exact, whatIsCounted()),
  );
  takeModel();
  show();
}

function whatIsCounted() {
  const points = [
    "Parameters: W_Q, W_K, W_V and W_O of all layers, without biases.",
    "FLOPs: matrix products of all layers, a multiply-add as two; masked scores, too. The next " +
      "token is one that comes after the text, with a cache.",
    "Scores: h · n² numbers of one layer, for an implementation that keeps them.",
    "KV cache: 2 · g · d_head numbers for each token and layer.",
  ];
  return make("ul", { class: "mha-small" }, ...points.map((text) => make("li", {}, text)));
}

function times(ratio) {
  return `× ${number(ratio)}`;
}

/** Yours against the model's own, one bar for each row, on a logarithmic axis. */
function bars(ratios) {
  const [width, line, most] = [300, 42, 7]; // the axis goes to 2^±most
  const limited = (power) => Math.max(-most, Math.min(most, power));
  const x = (ratio) => (width / 2) * (1 + limited(Math.log2(ratio)) / most);
  const drawn = ratios.flatMap((ratio, i) => {
    const [left, right] = [x(1), x(ratio)].sort((a, b) => a - b);
    const y = i * line;
    const colour = ratio > 1 ? "red" : "green";
    return [
      draw("text", { x: 0, y: y + 13 }, `${ROWS[i][1]}: ${times(ratio)}`),
      draw("rect", { x: 0, y: y + 19, width, height: 14, class: "mha-track" }),
      draw("rect", {
        x: left,
        y: y + 19,
        width: right - left,
        height: 14,
        class: `mha-fill-${colour}`,
      }),
      draw("line", { x1: x(1), x2: x(1), y1: y + 16, y2: y + 36, class: "mha-outline" }),
    ];
  });
  const height = ratios.length * line;
  const marks = [-6, -4, -2, 0, 2, 4, 6].map((power) =>
    draw(
      "text",
      { x: x(2 ** power), y: height + 14, "text-anchor": "middle" },
      power < 0 ? `1/${2 ** -power}` : String(2 ** power),
    ),
  );
  const told = ROWS.map(([, name], i) => `${name} ${times(ratios[i])}`).join("; ");
  return draw(
    "svg",
    {
      viewBox: `-4 -2 ${width + 8} ${height + 22}`,
      role: "img",
      "aria-label": `Yours against its own: ${told}.`,
    },
    ...drawn,
    ...marks,
  );
}

export default { render };
