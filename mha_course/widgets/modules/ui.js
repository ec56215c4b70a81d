// Small parts that all live figures are made of. No library: a page stays light.

const SVG = "http://www.w3.org/2000/svg";

/** Make an HTML element: `make("p", {class: "note"}, "text", child)`. */
export function make(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** Make an SVG element. */
export function draw(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Return a name that no other element of the page has, of this figure or of another one. */
export function uniqueName(stem) {
  window.mhaNames = (window.mhaNames ?? 0) + 1; // each figure has this code to itself
  return `mha-${stem}-${window.mhaNames}`;
}

/**
 * Make a slider with its name and its value beside it.
 * `show` turns the value into text; `changed` is called with each new value.
 */
export function slider({ label, min, max, step = 1, value, show = number, changed }) {
  const id = uniqueName("slider");
  // no live region: aria-valuetext says the same
  const output = make("output", { for: id, role: "none" }, show(value));
  const input = make("input", { type: "range", id, min, max, step, value });
  const told = () => {
    output.textContent = show(Number(input.value));
    input.setAttribute("aria-valuetext", output.textContent);
  };
  input.addEventListener("input", () => {
    told();
    changed(Number(input.value));
  });
  told();
  return make("div", { class: "mha-control" }, make("label", { for: id }, label), input, output);
}

/** Make a slider that goes through a list of values, such as 1, 2, 4 and 8. */
export function stepper({ label, values, value, show = number, changed }) {
  return slider({
    label,
    min: 0,
    max: values.length - 1,
    value: Math.max(values.indexOf(value), 0),
    show: (i) => show(values[i]),
    changed: (i) => changed(values[i]),
  });
}

/** Make a line to type in. */
export function textField({ label, value, changed, longest = 200 }) {
  const id = uniqueName("field");
  const attributes = { type: "text", id, value, maxlength: longest, autocomplete: "off" };
  const input = make("input", { ...attributes, spellcheck: "false" });
  input.addEventListener("input", () => changed(input.value));
  return make(
    "div",
    { class: "mha-control mha-field" },
    make("label", { for: id }, label),
    input,
  );
}

/** Make a menu; `options` are pairs of a value and its name. */
export function menu({ label, options, value, changed }) {
  const id = uniqueName("menu");
  const select = make("select", { id, onchange: () => changed(select.value) });
  for (const [key, name] of options) {
    select.append(make("option", { value: key, selected: key === value ? "" : null }, name));
  }
  return make("div", { class: "mha-control" }, make("label", { for: id }, label), select);
}

/** Make a box to tick. */
export function tick({ label, value, changed }) {
  const id = uniqueName("tick");
  const input = make("input", { type: "checkbox", id, onchange: () => changed(input.checked) });
  input.checked = value;
  return make("div", { class: "mha-control mha-tick" }, input, make("label", { for: id }, label));
}

/** Make a table. The first cell of a row is its heading. */
export function table({ caption, head, rows }) {
  const heading = (name) => (name ? make("th", { scope: "col" }, name) : make("td"));
  const line = (cells) =>
    make(
      "tr",
      {},
      ...cells.map((cell, i) => (i ? make("td", {}, cell) : make("th", { scope: "row" }, cell))),
    );
  return make(
    "table",
    { class: "mha-numbers" },
    make("caption", {}, caption),
    make("thead", {}, make("tr", {}, ...head.map(heading))),
    make("tbody", {}, ...rows.map(line)),
  );
}

/** Make a part that scrolls sideways by itself if it is too wide for the page. */
export function scrolled(content, label = "Numbers of the figure") {
  const region = { class: "mha-scroll", tabindex: "0", role: "group", "aria-label": label };
  return make("div", region, content);
}

/** Make a folded part, such as the table that says what a picture shows. */
export function folded(summary, ...children) {
  return make("details", {}, make("summary", {}, summary), ...children);
}

/** Write a number for people: 1,048,576; 0.25; 1.2e-7. */
export function number(value, digits = 3) {
  if (Number.isInteger(value)) return value.toLocaleString("en-GB");
  const size = Math.abs(value);
  if (size >= 1e-3 && size < 1e6) {
    return value.toLocaleString("en-GB", { maximumSignificantDigits: digits });
  }
  return value.toPrecision(digits);
}
