// Watch heads specialise: their attention, their scores and the loss, look after look of a training.

import { make, draw, menu, number, scrolled, stepper, table, tick, folded } from "./ui.js";
import { chart, line, upright } from "./chart.js";
import { unpacked, causalWeightsAt } from "./bytes.js";
import { weightsMap } from "./weights_map.js";

const PER_LOOK = 250; // milliseconds
const LINES = ["mha-line-blue", "mha-line-orange mha-dashed"];

/** What one look shows, in sentences. */
export function sayLook({ steps, losses, scores, roles, guessing }, at) {
  const best = roles.map((role, layer) => {
    const row = scores[at][layer];
    const head = row.indexOf(Math.max(...row));
    return `For “${role}” head ${layer}.${head} has the best score, ${row[head].toFixed(2)}.`;
  });
  return (
    `Step ${steps[at]}: the loss is ${losses[at].toFixed(3)}, and guessing would give ` +
    `${guessing.toFixed(3)}. ${best.join(" ")}`
  );
}

async function render({ model, el, data }) {
  const given = model.get("state");
  const { steps, tokens, scores, roles } = given;
  const heads = scores[0][0].length;
  const names = roles.flatMap((_, layer) =>
    Array.from({ length: heads }, (_, head) => `${layer}.${head}`),
  );
  const bytes = unpacked((await data("maps")).weights);
  const mapOf = (i) => causalWeightsAt(bytes, at * names.length + i, tokens.length);
  let at = given.at;
  let large = 0; // head whose numbers are shown
  let timer = null;

  const said = make("p", { class: "mha-said", role: "status" });
  const charts = make("div", { class: "mha-side-by-side mha-picture" });
  const pictures = names.map((name, i) => picture(given, Math.floor(i / heads)));
  const captions = names.map(() => make("p", {}));
  const grid = make(
    "div",
    { class: "mha-film", style: `--heads:${heads}` },
    ...pictures.map(({ svg }, i) => make("div", {}, svg, captions[i])),
  );
  const map = weightsMap({ chosen: () => {} });

  const scrub = stepper({
    label: "step of training",
    values: steps.map((_, i) => i),
    value: at,
    show: (i) => number(steps[i]),
    changed: (value) => {
      at = value;
      show();
    },
  });
  const slider = scrub.querySelector("input");
  slider.addEventListener("pointerdown", pause);
  slider.addEventListener("keydown", pause);

  function goTo(look) {
    slider.value = look;
    slider.dispatchEvent(new Event("input"));
  }

  // Play; who wants no motion goes from look to look by hand
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const button = make("button", { type: "button", onclick: press });
  const nameButton = () => {
    button.textContent = timer ? "Pause" : still.matches ? "Next" : "Play";
  };
  still.addEventListener("change", () => {
    pause();
    nameButton();
  });

  function press() {
    if (timer) return pause();
    if (still.matches || at === steps.length - 1) goTo((at + 1) % steps.length);
    if (still.matches) return undefined;
    said.setAttribute("aria-live", "off"); // nobody can listen that fast
    timer = setInterval(() => {
      if (el.isConnected && at < steps.length - 1) goTo(at + 1);
      else pause();
    }, PER_LOOK);
    return nameButton();
  }

  function pause() {
    clearInterval(timer);
    timer = null;
    said.removeAttribute("aria-live");
    nameButton();
  }

  function show() {
    said.textContent = sayLook(given, at);
    charts.replaceChildren(lossChart(given, at), scoresChart(given, at));
    pictures.forEach(({ svg, fill }, i) => {
      const [layer, head] = [Math.floor(i / heads), i % heads];
      const score = scores[at][layer][head].toFixed(2);
      captions[i].textContent = `${names[i]}: ${score}`;
      svg.setAttribute(
        "aria-label",
        `Attention of head ${names[i]} at step ${steps[at]}, score ${score} for “${roles[layer]}”`,
      );
      fill(mapOf(i));
    });
    showLarge();
  }

  function showLarge() {
    const weights = mapOf(large);
    map.show({
      label: `Attention of head ${names[large]} at step ${steps[at]}: queries down, keys across`,
      tokens,
      weights,
      query: tokens.length - 1,
      key: 0,
    });
  }

  el.replaceChildren(
    make(
      "div",
      { class: "mha-controls" },
      make("div", { class: "mha-control mha-press" }, button),
      scrub,
    ),
    said,
    charts,
    grid,
    tick({
      label: "frame the keys of the role",
      value: true,
      changed: (value) => grid.classList.toggle("mha-frameless", !value),
    }),
    folded(
      "One map with its numbers",
      menu({
        label: "head",
        options: names.map((name, i) => [String(i), name]),
        value: String(large),
        changed: (value) => {
          large = Number(value);
          showLarge();
        },
      }),
      map.element,
    ),
    folded("All looks in numbers", scrolled(looksTable(given, names))),
  );
  nameButton();
  show();
}

/** A small map: `fill(weights)` shows a look. The keys of the layer's role are framed. */
function picture({ tokens, wanted }, layer) {
  const size = tokens.length;
  const rects = [];
  for (let t = 0; t < size; t += 1) {
    for (let s = 0; s <= t; s += 1) {
      rects.push(draw("rect", { x: s, y: t, width: 1, height: 1 }));
    }
  }
  const frames = wanted[layer].map(([t, s]) => `M${s} ${t}h1v1h-1z`).join("");
  const svg = draw(
    "svg",
    { viewBox: `-0.1 -0.1 ${size + 0.2} ${size + 0.2}`, role: "img" },
    draw("g", { class: "mha-fill-blue" }, ...rects),
    draw("path", { class: "mha-wanted", d: frames }),
    draw("path", { class: "mha-edge", d: `M0 0h${size}v${size}h-${size}z` }),
  );
  function fill(weights) {
    const seen = weights.flatMap((row, t) => row.slice(0, t + 1));
    // as full as the root: so weak weights show, as in the drawings
    rects.forEach((rect, i) => rect.setAttribute("fill-opacity", Math.sqrt(seen[i]).toFixed(3)));
  }
  return { svg, fill };
}

function lossChart({ steps, losses, guessing }, at) {
  const last = steps.at(-1);
  return chart({
    label:
      `The loss over ${last} steps falls from ${losses[0].toFixed(2)} to ` +
      `${losses.at(-1).toFixed(2)}; at step ${steps[at]} it is ${losses[at].toFixed(2)}.`,
    x: { from: 0, to: last, name: "step of training" },
    y: { from: 0, to: Math.max(...losses) * 1.05, name: "loss" },
    parts: (place) => [
      line(place, [[0, guessing], [last, guessing]], { class: "mha-outline mha-dashed" }),
      draw(
        "text",
        { x: place.x(last), y: place.y(guessing) - 5, "text-anchor": "end" },
        "guessing",
      ),
      line(place, steps.map((step, i) => [step, losses[i]]), { class: "mha-ink" }),
      upright(place, steps[at]),
    ],
  });
}

function scoresChart({ steps, scores, roles }, at) {
  const last = steps.at(-1);
  return chart({
    label:
      `The scores of all heads over ${last} steps, each for the role of its layer: ` +
      `${roles.map((role, layer) => `layer ${layer} ${role}`).join(", ")}.`,
    x: { from: 0, to: last, name: "step of training" },
    y: { from: 0, to: 1, name: "score" },
    parts: (place) => [
      ...roles.flatMap((role, layer) =>
        scores[0][layer].map((_, head) =>
          line(place, steps.map((step, i) => [step, scores[i][layer][head]]), {
            class: LINES[layer],
          }),
        ),
      ),
      ...roles.map((role, layer) =>
        draw(
          "text",
          {
            x: place.x(last) - 4,
            y: place.y(0.2 - 0.1 * layer),
            "text-anchor": "end",
            class: `mha-fill-${["blue", "orange"][layer]}`,
          },
          `layer ${layer}: ${role} ${["(solid)", "(dashed)"][layer]}`,
        ),
      ),
      upright(place, steps[at]),
    ],
  });
}

function looksTable({ steps, losses, scores }, names) {
  return table({
    caption: "The loss, and the score of each head for the role of its layer",
    head: ["step", "loss", ...names],
    rows: steps.map((step, i) => [
      number(step),
      losses[i].toFixed(3),
      ...scores[i].flat().map((score) => score.toFixed(2)),
    ]),
  });
}

export default { render };
