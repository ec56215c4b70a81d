// Line charts: axes, lines, a band, and what a line means.

import { draw, make, number } from "./ui.js";

const [WIDTH, HEIGHT] = [400, 230];
const [LEFT, RIGHT, TOP, BOTTOM] = [46, 16, 8, 40];

/** Round values between two ends, at most so many: 0, 2, 4, 6. */
export function niceTicks(from, to, most = 6) {
  const power = 10 ** Math.floor(Math.log10((to - from) / most));
  const step = [1, 2, 5, 10].map((n) => n * power).find((size) => (to - from) / size <= most);
  const first = Math.ceil(from / step - 1e-9);
  const count = Math.floor(to / step + 1e-9) - first + 1;
  // by whole numbers: 3 * 0.1 is not 0.3
  return Array.from({ length: count }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

/**
 * Make axes. Each of `x` and `y` has `from`, `to`, and a `name`; `show` writes a tick.
 * Returns the drawing, and where a value lies on it.
 */
export function chart({ label, x, y, parts }) {
  const place = {
    x: (value) => LEFT + ((value - x.from) / (x.to - x.from)) * (WIDTH - LEFT - RIGHT),
    y: (value) => HEIGHT - BOTTOM - ((value - y.from) / (y.to - y.from)) * (HEIGHT - TOP - BOTTOM),
  };
  const bottom = HEIGHT - BOTTOM;
  const text = (words, attributes) => draw("text", attributes, words);
  const ticks = [
    ...(x.ticks ?? niceTicks(x.from, x.to)).map((value) =>
      text((x.show ?? number)(value), {
        x: place.x(value),
        y: bottom + 15,
        "text-anchor": "middle",
      }),
    ),
    ...(y.ticks ?? niceTicks(y.from, y.to)).flatMap((value) => [
      text((y.show ?? number)(value), { x: LEFT - 6, y: place.y(value) + 4, "text-anchor": "end" }),
      draw("path", { class: "mha-grid", d: `M${LEFT} ${place.y(value)}H${WIDTH - RIGHT}` }),
    ]),
    text(x.name, { x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 6, "text-anchor": "middle" }),
    text(y.name, {
      x: 11,
      y: (TOP + bottom) / 2,
      "text-anchor": "middle",
      transform: `rotate(-90 11 ${(TOP + bottom) / 2})`,
    }),
    draw("path", { class: "mha-outline", d: `M${LEFT} ${TOP}V${bottom}H${WIDTH - RIGHT}` }),
  ];
  const attributes = { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label };
  return draw("svg", { ...attributes, class: "mha-chart" }, ...ticks, ...parts(place));
}

/** A line through points [x, y], in values. */
export function line(place, points, attributes) {
  const there = points.map(([x, y]) => `${place.x(x).toFixed(2)} ${place.y(y).toFixed(2)}`);
  return draw("path", { d: `M${there.join("L")}`, fill: "none", ...attributes });
}

/** An area between two lines over the same places. */
export function band(place, low, high) {
  return line(place, [...low, ...high.toReversed()], { class: "mha-band", fill: null });
}

/** An upright line over the whole height. */
export function upright(place, value) {
  const [x, bottom] = [place.x(value), HEIGHT - BOTTOM];
  return draw("path", { class: "mha-upright", d: `M${x} ${TOP}V${bottom}` });
}

/** What the lines mean: pairs of a name and the attributes of its line. */
export function legend(entries) {
  return make(
    "ul",
    { class: "mha-legend" },
    ...entries.map(([name, attributes]) =>
      make(
        "li",
        {},
        draw(
          "svg",
          { viewBox: "0 0 28 10", width: 28, height: 10, "aria-hidden": "true" },
          draw("path", { d: "M1 5H27", fill: "none", ...attributes }),
        ),
        name,
      ),
    ),
  );
}
