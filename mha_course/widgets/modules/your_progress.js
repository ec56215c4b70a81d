// Your progress: what this browser has kept of pages and self-checks, and the tasks that a link from
// `mha-course progress` brought. Nothing leaves the browser: what follows # in an address is not sent.

import { make, scrolled } from "./ui.js";

/**
 * Read what a link says: `#heads=1.2.w1&counting=` becomes {heads: ["1", "2", "w1"], counting: []}.
 * Null if it says nothing of an assignment that there is.
 */
export function tasksOf(fragment, assignments) {
  const said = new URLSearchParams(fragment.replace(/^#/u, ""));
  const found = assignments
    .filter(({ name }) => said.has(name))
    .map(({ name, tasks }) => {
      const done = new Set(said.get(name).split("."));
      return [name, tasks.map(({ number }) => number).filter((number) => done.has(number))];
    });
  return found.length ? Object.fromEntries(found) : null;
}

/** How a self-check stands: how many questions were answered, how many at the first try. */
export function answered(kept) {
  const all = Object.values(kept ?? {}).filter((one) => Array.isArray(one?.tries));
  const done = all.filter(({ state }) => state === "right" || state === "shown");
  const first = done.filter(({ state, tries }) => state === "right" && tries.length === 1);
  return { done: done.length, first: first.length };
}

/** What could come next in an assignment, and how long all of the rest takes. */
export function rest({ tasks }, done) {
  const left = tasks.filter(({ number }) => !done.includes(number));
  return { next: left[0], minutes: left.reduce((sum, { minutes }) => sum + minutes, 0) };
}

/** What is kept under a name; null if there is nothing, or nothing of ours. */
function kept(name) {
  try {
    return JSON.parse(localStorage.getItem(name));
  } catch {
    return null;
  }
}

function render({ model, el }) {
  const { pages, assignments } = model.get("state");
  const root = new URL(document.documentElement.dataset.content_root || "./", location.href);
  const shelf = `mha-exercises:${root.pathname}`;
  const note = make("p", { class: "mha-small", role: "status" });
  const tables = make("div");

  function take() {
    const brought = tasksOf(location.hash, assignments);
    if (!brought) return;
    const day = new Date().toISOString().slice(0, 10);
    note.textContent = "The tasks that the link brought are below.";
    try {
      localStorage.setItem(shelf, JSON.stringify({ day, tasks: brought }));
      history.replaceState(null, "", location.pathname); // told once: a reload shows what is kept
      note.textContent += " They stay in this browser.";
    } catch {
      note.textContent += " This browser keeps nothing: they are gone when you leave the page.";
    }
    show({ day, tasks: brought });
  }

  function show(exercises = kept(shelf)) {
    const finished = kept(`mha-finished:${root.pathname}`);
    const tasks = exercises?.tasks ?? {};
    const known = assignments.filter(({ name }) => Array.isArray(tasks[name]));
    tables.replaceChildren(
      scrolled(pageTable(pages, Array.isArray(finished) ? finished : []), "Chapters"),
      scrolled(
        assignmentTable(assignments, tasks, known.length ? `Exercises, ${exercises.day}` : "Exercises"),
        "Exercises",
      ),
    );
  }

  el.replaceChildren(note, tables);
  show();
  take();
  addEventListener("hashchange", take);
  addEventListener("storage", () => show());
}

function pageTable(pages, finished) {
  const rows = pages.map(({ page, title, questions }) => {
    const { done, first } = answered(kept(`mha-course/quiz/${page}`));
    const check = done ? `${done} of ${questions} answered, ${first} at the first try` : "";
    return [
      make("a", { href: `${page}.html` }, title),
      finished.includes(`chapters/${page}`) ? "✓ read" : "",
      check || `${questions} questions`,
    ];
  });
  return progressTable("Chapters", ["chapter", "read", "self-check"], rows);
}

function assignmentTable(assignments, tasks, caption) {
  const rows = assignments.map((assignment) => {
    const { name, tasks: all } = assignment;
    const isKnown = Array.isArray(tasks[name]);
    const done = isKnown ? tasks[name] : [];
    const { next, minutes } = rest(assignment, done);
    const bar = make("progress", {
      max: all.length,
      value: done.length,
      "aria-label": `Tasks of ${name}`,
    });
    return [
      name,
      make("span", { class: "mha-count" }, bar, ` ${isKnown ? `${done.length} of ${all.length}` : `${all.length} tasks`}`),
      next ? `${minutes}\u00a0min` : "complete",
      next ? `${next.title} (${next.minutes}\u00a0min)` : "",
    ];
  });
  return progressTable(caption, ["assignment", "tasks", "left", "next"], rows);
}

function progressTable(caption, head, rows) {
  const line = ([first, ...others]) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, first),
      ...others.map((cell) => make("td", {}, cell)),
    );
  return make(
    "table",
    { class: "mha-table" },
    make("caption", {}, caption),
    make("thead", {}, make("tr", {}, ...head.map((name) => make("th", { scope: "col" }, name)))),
    make("tbody", {}, ...rows.map(line)),
  );
}

export default { render };
