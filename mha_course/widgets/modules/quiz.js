// Check yourself: the questions of a page are there already, folded. This makes choices buttons and
// numbers fields, says why an answer is right or wrong, and counts. Nothing leaves the browser.

import { make, uniqueName } from "./ui.js";

// ---------------------------------------------------------------------------------- numbers

const STYLES = [
  { point: ".", comma: "," },
  { point: ",", comma: "." },
];

/**
 * Read a number as people write it, with its unit: 1,024, 1.024,5, 1e6, 1/3, 2^20 bytes.
 * Each reading of the text, with a decimal point and with a decimal comma; none if it is no number.
 */
export function readings(text) {
  const found = STYLES.map((style) => reading(plainText(text), style)).filter(Boolean);
  return found.length === 2 && found[0].value === found[1].value ? [found[0]] : found;
}

/** One way to write each sign. */
function plainText(text) {
  const digits = "⁰¹²³⁴⁵⁶⁷⁸⁹";
  return text
    .replace(/⁻?[⁰¹²³⁴-⁹]+/gu, (power) =>
      power.replace("⁻", "^-").replace(/^(?!\^)/u, "^").replace(/[⁰¹²³⁴-⁹]/gu, (d) => digits.indexOf(d)),
    )
    .normalize("NFKC") // ½ is 1⁄2, a narrow space is a space
    .replace(/^[^=≈~]*[=≈~]/u, "") // d_k = 64
    .replaceAll("**", "^")
    .replace(/[×·⋅]/gu, "*")
    .replace(/[÷⁄∕:]/gu, "/")
    .replace(/[−–]/gu, "-")
    .trim();
}

/** Read sums, products and powers of numbers; what follows them is the unit. */
function reading(text, { point, comma }) {
  const groups = `[1-9]\\d{0,2}([${comma} '’_])\\d{3}(?:\\1\\d{3})*(?!\\d)`;
  const figure = new RegExp(
    `(?:(?:${groups}|\\d+)(?:[${point}]\\d*)?|[${point}]\\d+)(?:e[+-]?\\d+)?`,
    "iuy",
  );
  let at = 0;

  function take(sign) {
    const space = /\s*/y;
    space.lastIndex = at;
    space.test(text);
    if (!sign.includes(text[space.lastIndex])) return "";
    at = space.lastIndex + 1;
    return text[at - 1];
  }

  function numeral() {
    if (take("(")) {
      const value = sum();
      return take(")") ? value : NaN;
    }
    while (text[at] === " ") at += 1;
    figure.lastIndex = at;
    const [written] = figure.exec(text) ?? [];
    if (written === undefined) return NaN;
    at += written.length;
    const digits = written.replace(new RegExp(`[${comma} '’_]`, "gu"), "").replace(point, ".");
    return Number(digits);
  }

  function power() {
    if (take("-")) return -power();
    take("+");
    const base = numeral();
    return take("^") ? base ** power() : base;
  }

  function product() {
    let value = power();
    for (;;) {
      const sign = take("*/");
      if (!sign) return value;
      value = sign === "*" ? value * power() : value / power();
    }
  }

  function sum() {
    let value = product();
    for (;;) {
      const sign = take("+-");
      if (!sign) return value;
      value = sign === "+" ? value + product() : value - product();
    }
  }

  const value = sum();
  const unit = text.slice(at).trim().replace(/\.$/u, "").replace(/\s+/gu, " ");
  const named = unit === "" || /^[\p{L}%°][\p{L}\d%°/^ .-]*$/u.test(unit);
  return named && Number.isFinite(value) ? { value, unit } : null;
}

/**
 * Which case an answer is, or what is wrong with it.
 * `cases` are {number, within}; the last one has no number, and stands for all others.
 */
export function judge(text, { units, cases }) {
  const found = readings(text);
  if (!found.length) {
    const quoted = text.trim() && `“${text.trim()}” cannot be read as a number. `;
    return { unread: `${quoted}Write it as 64, 1,024, 0.5, 1e6 or 1/3.` };
  }
  const { unit } = found[0];
  const isShare = unit === "%" && !units.includes("%");
  if (unit && !isShare && !units.some((own) => isSameUnit(own, unit))) {
    const asked = units[0] ? `The number is asked for in ${units[0]}` : "The number has no unit";
    return { wrongUnit: `${asked}; you wrote “${unit}”.` };
  }
  const values = found.map(({ value }) => (isShare ? value / 100 : value));
  const met = cases.findIndex(
    ({ number, within }) =>
      number !== null && values.some((value) => Math.abs(value - number) <= within),
  );
  return { met: met < 0 ? cases.length - 1 : met };
}

/** Capitals matter in MB and Mb, but not in words. */
function isSameUnit(own, given) {
  return own === given || (own.length > 3 && own.toLowerCase() === given.toLowerCase());
}

// -------------------------------------------------------------------------------- what is kept

/** What the browser keeps of a page, as far as it keeps anything. */
function shelf(page) {
  const name = `mha-course/quiz/${page}`;
  let keeps = true;

  function attempt(action) {
    try {
      return action(window.localStorage);
    } catch {
      keeps = false;
      return null;
    }
  }

  return {
    get keeps() {
      return keeps;
    },
    read() {
      const text = attempt((storage) => storage.getItem(name));
      try {
        return JSON.parse(text) ?? {};
      } catch {
        return {}; // somebody else's
      }
    },
    write: (value) => attempt((storage) => storage.setItem(name, JSON.stringify(value))),
    clear: () => attempt((storage) => storage.removeItem(name)),
  };
}

const OPEN = "open";
const RIGHT = "right";
const SHOWN = "shown";

/** How far a reader is with a question: what they tried, and how it ended. */
function progressFrom(kept) {
  const isOurs =
    Array.isArray(kept?.tries) &&
    kept.tries.every((one) => typeof one === "string") &&
    [OPEN, RIGHT, SHOWN].includes(kept.state);
  return isOurs ? { tries: [...kept.tries], state: kept.state } : { tries: [], state: OPEN };
}

const isFirst = ({ tries, state }) => state === RIGHT && tries.length === 1;

// ------------------------------------------------------------------------------- the questions

/** What all questions have: a mark behind the text, and a place where it is said why. */
function asked(node, kept, told) {
  const text = node.querySelector(".mha-question-text");
  text.id = uniqueName("question");
  node.setAttribute("role", "group");
  node.setAttribute("aria-labelledby", text.id);
  const mark = make("span", { class: "mha-question-mark" });
  text.append(" ", mark);
  const said = make("div", { class: "mha-said-why", role: "status" });
  node.append(said);
  const progress = progressFrom(kept);

  function showMark() {
    const { tries, state } = progress;
    const count = counted(tries.length);
    if (state === SHOWN) mark.textContent = "answer shown";
    else if (state === OPEN) mark.textContent = tries.length ? `not yet: ${count}` : "";
    else mark.textContent = isFirst(progress) ? "✓ right at the first try" : `✓ right: ${count}`;
    node.dataset.state = state;
  }

  showMark();
  return {
    key: node.dataset.key,
    progress,
    /** Count an answer; one that was given before, or after the right one, changes nothing. */
    count(answer, isRight) {
      if (progress.state !== OPEN || progress.tries.includes(answer)) return;
      progress.tries.push(answer);
      if (isRight) progress.state = RIGHT;
    },
    say(...nodes) {
      showMark();
      const end = told();
      said.replaceChildren(...nodes, ...(end ? [make("p", {}, end)] : []));
    },
    forget() {
      Object.assign(progress, progressFrom(null));
      said.replaceChildren();
      showMark();
    },
  };
}

const counted = (count) => (count === 1 ? "1 try" : `${count} tries`);

/** Formulas are set by now, and stay set in a copy. */
const copies = (nodes) => nodes.map((node) => node.cloneNode(true));

function choiceQuestion(node, kept, told) {
  const question = asked(node, kept, told);
  const choices = [...node.querySelectorAll("details.mha-choice")].map((details, i) => {
    const [line, ...why] = details.children;
    const verdict = make("span", { class: "mha-verdict" });
    const button = make(
      "button",
      { type: "button", class: "mha-choice", onclick: () => choose(i) },
      ...line.childNodes,
      verdict,
    );
    details.hidden = true; // stays: formulas in what it says may not be set yet
    details.before(button);
    return { button, verdict, why, isRight: details.classList.contains("mha-right") };
  });

  function choose(i) {
    question.count(String(i), choices[i].isRight);
    markTried(choices[i]);
    question.say(...copies(choices[i].why));
  }

  function markTried({ button, verdict, isRight }) {
    button.classList.add(isRight ? "mha-right" : "mha-wrong");
    verdict.textContent = isRight ? " ✓ right" : " ✗ not right";
  }

  function forget() {
    for (const { button, verdict } of choices) {
      button.classList.remove("mha-right", "mha-wrong");
      verdict.textContent = "";
    }
    question.forget();
  }

  for (const i of question.progress.tries) if (choices[i]) markTried(choices[i]);
  return { ...question, first: choices[0].button, forget };
}

function numberQuestion(node, kept, told) {
  const question = asked(node, kept, told);
  const details = node.querySelector("details.mha-numbers");
  const units = node.dataset.units.split(",");
  const parts = [...details.querySelectorAll(".mha-case")];
  const cases = parts.map(({ dataset }) => ({
    number: dataset.number === undefined ? null : Number(dataset.number),
    within: Number(dataset.within),
  }));
  const right = parts.findIndex((part) => part.classList.contains("mha-right"));

  const input = make("input", {
    type: "text",
    maxlength: 60,
    autocomplete: "off",
    spellcheck: "false",
    // phones have keys for decimals, some of them without a minus
    inputmode: cases[right].number < 0 ? "text" : "decimal",
    "aria-label": `Your number ${units[0] && `in ${units[0]}`}`.trim(),
    // by hand: in an output of JupyterLab, Enter sends no form off
    onkeydown: ({ key }) => key === "Enter" && check(),
  });
  input.value = question.progress.tries.at(-1) ?? "";
  const field = make(
    "div",
    { class: "mha-number-field" },
    make("label", {}, "Your number ", input, ` ${units[0]}`),
    make(
      "span",
      { class: "mha-buttons" },
      make("button", { type: "button", onclick: check }, "Check"),
      make("button", { type: "button", onclick: showAnswer }, "Show the answer"),
    ),
  );
  details.hidden = true;
  details.before(field);

  function check() {
    const { unread, wrongUnit, met } = judge(input.value, { units, cases });
    if (!unread) question.count(input.value.trim(), met === right);
    if (unread || wrongUnit) question.say(make("p", {}, unread ?? `No. ${wrongUnit}`));
    else question.say(...copies(said(met)));
  }

  /** The right number is named as it was computed; a wrong one is what the reader has just written. */
  function said(i) {
    return [...parts[i].children].slice(i === right ? 0 : 1);
  }

  function showAnswer() {
    if (question.progress.state === OPEN) question.progress.state = SHOWN;
    question.say(...copies(said(right)));
  }

  function forget() {
    input.value = "";
    question.forget();
  }

  return { ...question, first: input, forget };
}

// ------------------------------------------------------------------------------------ the page

function render({ el }) {
  const kept = shelf(el.dataset.page);
  const before = kept.read();
  const bar = make("progress", { "aria-label": "Questions answered" });
  const count = make("span");
  const note = make("span", { role: "status" });
  const again = make("button", { type: "button", onclick: startAgain }, "Start again");
  const questions = [...el.querySelectorAll(".mha-question")].map((node) => {
    const isNumber = node.classList.contains("mha-number-question");
    return (isNumber ? numberQuestion : choiceQuestion)(node, before[node.dataset.key], answered);
  });
  el.querySelector(".mha-score").replaceChildren(bar, count, again, note);

  function showScore() {
    const all = questions.map(({ progress }) => progress);
    const done = all.filter(({ state }) => state !== OPEN).length;
    bar.max = all.length;
    bar.value = done;
    count.textContent =
      `${all.filter(isFirst).length} of ${all.length} right at the first try, ` +
      `${done} of ${all.length} answered.`;
    again.hidden = all.every(({ tries, state }) => !tries.length && state === OPEN);
    note.textContent = kept.keeps
      ? "The score stays in this browser."
      : "This browser keeps nothing: the score is gone when you leave the page.";
    return done === all.length;
  }

  let isDone = showScore();

  /** Keep how things stand, and show it; return what there is to say when the last one is done. */
  function answered() {
    kept.write(Object.fromEntries(questions.map(({ key, progress }) => [key, progress])));
    const wasDone = isDone;
    isDone = showScore();
    return isDone && !wasDone ? `These were all questions: ${count.textContent}` : "";
  }

  function startAgain() {
    for (const question of questions) question.forget();
    kept.clear();
    questions[0].first.focus(); // this button goes
    isDone = showScore();
    if (kept.keeps) note.textContent = "Your answers on this page are forgotten.";
  }
}

export default { render };
