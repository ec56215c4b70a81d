// Switch heads off: what the loss does as more and more heads go, and what one head alone is worth.

import { make, draw, menu, number, scrolled, stepper, table, folded } from "./ui.js";
import { band, chart, legend, line, upright } from "./chart.js";
import { rove, stopAt } from "./rove.js";

const LINES = ["mha-line-blue", "mha-line-orange mha-dashed", "mha-line-green mha-dotted"];
const CHANCE = "mha-line-purple";

/** A difference with its sign: +0.02, −0.02. */
export function signed(value) {
  return `${value < 0 ? "−" : "+"}${number(Math.abs(value))}`;
}

/** What is lost at one point of a curve, which begins with all heads and ends with none. */
export function lossAt({ unit, removed, curve, at }) {
  const all = removed.at(-1);
  const rise = curve[at] - curve[0];
  const given = curve.at(-1) - curve[0];
  const loss = `the loss is ${number(curve[at])} ${unit}`;
  if (!removed[at]) return `With all ${all} heads ${loss}.`;
  const percent = number(Math.round((100 * rise) / given)).replace("-", "−");
  return (
    `Without ${removed[at]} of ${all} heads ${loss}, ` +
    `${number(Math.abs(rise))} ${rise < 0 ? "less" : "more"} than with all. ` +
    `That is ${percent} % of what all heads give.`
  );
}

function render({ model, el }) {
  const given = model.get("state");
  const chosen = { model: given.model, ranking: given.ranking, at: given.at, head: null };
  const of = () => given.models[chosen.model];
  const order = () => of().order[chosen.ranking];
  const gone = () => of().removed[chosen.at];
  const nameOf = (head) => `${Math.floor(head / of().heads)}.${head % of().heads}`;

  const said = make("p", { class: "mha-said", role: "status" });
  const curves = make("div", { class: "mha-picture" });
  const singles = make("div", { class: "mha-picture" });
  const list = make("div", { class: "mha-ranking", role: "listbox" });
  const ofHead = make("p", { class: "mha-said", role: "status" });
  const numbers = make("div");
  const removed = make("div", { class: "mha-contents" });

  rove(list, (button) => {
    chosen.head = Number(button.dataset.head);
    showHead();
  });

  /** Another model has another number of heads. */
  function showSlider() {
    removed.replaceChildren(
      stepper({
        label: "heads removed",
        values: of().removed.map((_, i) => i),
        value: chosen.at,
        show: (i) => number(of().removed[i]),
        changed: (value) => {
          chosen.at = value;
          showRemoved();
        },
      }),
    );
  }

  function showList() {
    list.setAttribute("aria-label", `Heads in the order of ${chosen.ranking}: who goes first`);
    list.replaceChildren(
      ...order().map((head) =>
        make("button", { type: "button", role: "option", "data-head": head }, nameOf(head)),
      ),
    );
    chosen.head ??= order()[Math.min(gone(), order().length - 1)];
    numbers.replaceChildren(
      scrolled(curvesTable(of())),
      scrolled(rankingTable(of(), chosen.ranking, nameOf), "Heads in their order"),
    );
    showRemoved();
  }

  function showRemoved() {
    said.textContent = lossAt({ ...of(), curve: of().curves[chosen.ranking], at: chosen.at });
    [...list.children].forEach((button, place) => {
      const isGone = place < gone();
      button.classList.toggle("mha-gone", isGone);
      const name = nameOf(button.dataset.head);
      button.setAttribute("aria-label", `head ${name}${isGone ? ", gone" : ""}`);
    });
    // only the list scrolls, not the page
    const next = list.children[Math.min(gone(), list.children.length - 1)];
    list.scrollTop = next.offsetTop - list.offsetTop - list.clientHeight / 2;
    curves.replaceChildren(curvesChart(of(), chosen), curvesLegend(of(), chosen));
    showHead();
  }

  function showHead() {
    const place = order().indexOf(chosen.head);
    for (const button of list.children) {
      const here = Number(button.dataset.head) === chosen.head;
      button.setAttribute("aria-selected", String(here));
      if (here) stopAt(list, button);
    }
    singles.replaceChildren(singlesChart(of(), order(), place, gone()));
    ofHead.textContent =
      `Head ${nameOf(chosen.head)} is number ${place + 1} of ${order().length} to go` +
      `${place < gone() ? ", and is gone" : ""}. ` +
      `Without it alone, the loss changes by ${signed(of().changes[chosen.head])} nats.`;
  }

  el.replaceChildren(
    make(
      "div",
      { class: "mha-controls" },
      menu({
        label: "model",
        options: Object.entries(given.models).map(([name, { title }]) => [name, title]),
        value: chosen.model,
        changed: (value) => {
          Object.assign(chosen, { model: value, head: null });
          showSlider();
          showList();
        },
      }),
      menu({
        label: "ranked by",
        options: given.rankings.map((name) => [name, name]),
        value: chosen.ranking,
        changed: (value) => {
          chosen.ranking = value;
          showList();
        },
      }),
      removed,
    ),
    said,
    make("div", { class: "mha-side-by-side" }, curves, singles),
    make("p", { class: "mha-small" }, "Heads in the order in which they go:"),
    list,
    ofHead,
    folded("The same in numbers", numbers),
  );
  showSlider();
  showList();
}

function lineOf(name, i) {
  return { class: name.startsWith("random") ? CHANCE : LINES[i] };
}

function curvesChart({ title, removed, curves, chance, band: random }, { ranking, at }) {
  const share = removed.map((count) => (100 * count) / removed.at(-1));
  const points = (losses) => losses.map((loss, i) => [share[i], loss]);
  const all = [...Object.values(curves), random.high, random.low].flat();
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const room = 0.05 * (high - low);
  const losses = curves[ranking];
  return chart({
    label:
      `${title}: loss against the share of heads removed, for each ranking. By ${ranking} it goes ` +
      `from ${number(losses[0])} to ${number(losses.at(-1))}, and is ${number(losses[at])} here.`,
    x: { from: 0, to: 100, name: "heads removed, %", ticks: [0, 20, 40, 60, 80, 100] },
    y: { from: low - room, to: high + room, name: "loss, nats" },
    parts: (place) => [
      band(place, points(random.low), points(random.high)),
      ...Object.entries(curves).map(([name, values], i) => {
        const { class: look } = lineOf(name, i);
        const strength = name === ranking ? "mha-strong" : "mha-weak";
        return line(place, points(values), { class: `${look} ${strength}` });
      }),
      upright(place, share[at]),
      draw("circle", {
        cx: place.x(share[at]),
        cy: place.y(losses[at]),
        r: 5,
        class: "mha-point",
      }),
    ],
  });
}

function curvesLegend({ curves }, { ranking }) {
  return legend(
    Object.keys(curves).map((name, i) => [
      name === ranking ? make("strong", {}, name) : name,
      lineOf(name, i),
    ]),
  );
}

function singlesChart({ title, changes }, order, chosen, gone) {
  const [low, high] = [Math.min(0, ...changes), Math.max(...changes)];
  const room = 0.05 * (high - low);
  return chart({
    label:
      `${title}: change of the loss when one head alone is removed, for all ${order.length} heads ` +
      `in their order. It goes from ${signed(low)} to ${signed(high)}.`,
    x: { from: 0, to: order.length, name: "place in the order" },
    y: { from: low - room, to: high + room, name: "one head alone, nats" },
    parts: (place) => [
      line(
        place,
        [
          [0, 0],
          [order.length, 0],
        ],
        { class: "mha-outline" },
      ),
      ...order.map((head, i) =>
        draw("circle", {
          cx: place.x(i + 0.5).toFixed(2),
          cy: place.y(changes[head]).toFixed(2),
          r: i === chosen ? 5 : 2,
          class: i === chosen ? "mha-point" : i < gone ? "mha-gone" : "mha-fill-blue",
        }),
      ),
      upright(place, gone),
    ],
  });
}

function curvesTable({ title, unit, removed, curves }) {
  const names = Object.keys(curves);
  return table({
    caption: `${title}: loss in ${unit}`,
    head: ["heads removed", ...names],
    rows: removed.map((count, i) => [
      number(count),
      ...names.map((name) => number(curves[name][i])),
    ]),
  });
}

function rankingTable({ title, changes, order }, ranking, nameOf) {
  return table({
    caption: `${title}, by ${ranking}: who goes first, and what each head alone changes, in nats`,
    head: ["place", "head", "change of the loss"],
    rows: order[ranking].map((head, i) => [number(i + 1), nameOf(head), signed(changes[head])]),
  });
}

export default { render };
