// Split the model: d_model is cut into h heads of width d_k, where h divides it.

import { draw, make, number, slider, table, folded } from "./ui.js";

const COLOURS = ["blue", "orange", "green", "red", "purple"];
const MOST_STRIPS = 64;

/** The divisors of n next below and next above `near`, as head_dim names them. */
export function nearestDivisors(n, near) {
  const divisors = [];
  for (let d = 1; d <= n; d += 1) if (n % d === 0) divisors.push(d);
  const below = divisors.filter((d) => d < near).slice(-1);
  const above = divisors.filter((d) => d > near).slice(0, 1);
  return [...below, ...above];
}

/** What head_dim of mha_course raises; empty where h divides d_model. */
export function problem(dModel, heads) {
  if (dModel % heads === 0) return "";
  const near = nearestDivisors(dModel, heads).join(" or ");
  return `d_model=${dModel} is not divisible by num_heads=${heads}; try ${near}`;
}

/** Parameters of the four matrices, without biases. */
export function parameters(dModel) {
  return 4 * dModel * dModel;
}

function render({ model, el }) {
  const state = { ...model.get("state") };
  const picture = make("div", { class: "mha-picture" });
  const said = make("p", { class: "mha-said", role: "status" });
  const numbers = make("div");

  function show() {
    const { d_model: dModel, num_heads: heads } = state;
    const wrong = problem(dModel, heads);
    picture.replaceChildren(matrix(dModel, heads, wrong));
    said.classList.toggle("mha-wrong-input", Boolean(wrong));
    const width = dModel / heads;
    said.textContent = wrong
      ? `ValueError: ${wrong}`
      : `d_k = ${number(dModel)} / ${number(heads)} = ${number(width)}. ` +
        `Every head has matrices of ${number(dModel)} × ${number(width)}.`;
    numbers.replaceChildren(facts(dModel, heads, wrong));
    model.set("state", { ...state });
    model.save_changes();
  }

  el.replaceChildren(
    make(
      "div",
      { class: "mha-controls" },
      slider({
        label: "d_model",
        min: 8,
        max: 1024,
        step: 8,
        value: state.d_model,
        changed: (value) => {
          state.d_model = value;
          show();
        },
      }),
      slider({
        label: "heads h",
        min: 1,
        max: 32,
        value: state.num_heads,
        changed: (value) => {
          state.num_heads = value;
          show();
        },
      }),
    ),
    said,
    picture,
    folded("The same in numbers", numbers),
  );
  show();
}

/** W_Q as a square of strips, one for each head; what is left over is hatched. */
function matrix(dModel, heads, wrong) {
  const size = 240;
  const width = Math.floor(dModel / heads);
  const strip = (size * width) / dModel;
  const shown = Math.min(heads, MOST_STRIPS);
  const strips = Array.from({ length: shown }, (_, i) =>
    draw("rect", {
      x: i * strip,
      y: 0,
      width: strip,
      height: size,
      class: `mha-fill-${COLOURS[i % COLOURS.length]}`,
    }),
  );
  const left = size - strip * heads;
  if (wrong && left > 0.01) {
    strips.push(
      draw("rect", { x: size - left, y: 0, width: left, height: size, class: "mha-left-over" }),
    );
  }
  const label = wrong
    ? `The matrix W_Q, cut into ${heads} strips of ${width} columns: ` +
      `${dModel - width * heads} columns are left over.`
    : `The matrix W_Q of ${dModel} by ${dModel}, cut into ${heads} strips of ${width} columns, ` +
      "one for each head.";
  const below = wrong ? `${heads} strips, and a rest` : `${heads} × ${width} columns`;
  return draw(
    "svg",
    { viewBox: `-24 -2 ${size + 26} ${size + 26}`, role: "img", "aria-label": label },
    ...strips,
    draw("rect", { x: 0, y: 0, width: size, height: size, class: "mha-outline" }),
    draw("text", { x: size / 2, y: size + 18, "text-anchor": "middle" }, below),
    draw(
      "text",
      { x: -10, y: size / 2, "text-anchor": "middle", transform: `rotate(-90 -10 ${size / 2})` },
      `W_Q: ${dModel} rows`,
    ),
  );
}

function facts(dModel, heads, wrong) {
  const none = "—";
  const width = dModel / heads;
  return table({
    caption: "One layer of multi-head attention, without biases",
    head: ["what", "number"],
    rows: [
      ["width of a head, d_k", wrong ? none : number(width)],
      ["matrices of one head: W_Q, W_K, W_V", wrong ? none : number(3 * dModel * width)],
      ["parameters in all, 4 · d_model²", wrong ? none : number(parameters(dModel))],
      ["attention maps of one text", wrong ? none : number(heads)],
    ],
  });
}

export default { render };
