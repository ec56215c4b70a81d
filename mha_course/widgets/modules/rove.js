// Groups of many buttons, of which one at a time is reached by Tab, and the others by arrow keys.

/**
 * Let arrow keys, Home and End move through the buttons of a group; up and down as they lie on the
 * page, whatever its width. `chosen(button)` is called with the one that was moved to, or clicked.
 */
export function rove(group, chosen) {
  function choose(button) {
    stopAt(group, button);
    chosen(button);
  }
  group.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button && !button.disabled) choose(button);
  });
  group.addEventListener("keydown", (event) => {
    const buttons = usable(group);
    const next = nextOf(buttons, buttons.indexOf(event.target.closest("button")), event.key);
    if (!next) return;
    event.preventDefault();
    choose(next);
    next.focus();
  });
}

/** Make one button of a group the one that Tab reaches. */
export function stopAt(group, button) {
  for (const other of group.querySelectorAll("button")) {
    other.setAttribute("tabindex", other === button ? "0" : "-1");
  }
}

function usable(group) {
  return [...group.querySelectorAll("button:not(:disabled)")].filter((b) => b.offsetParent);
}

function nextOf(buttons, at, key) {
  if (at < 0) return undefined;
  if (key === "ArrowLeft") return buttons[at - 1];
  if (key === "ArrowRight") return buttons[at + 1];
  if (key === "Home") return buttons[0];
  if (key === "End") return buttons.at(-1);
  if (key === "ArrowUp") return inNextLine(buttons, at, -1);
  if (key === "ArrowDown") return inNextLine(buttons, at, 1);
  return undefined;
}

/** The button that is nearest in the line above (-1) or below (1). */
function inNextLine(buttons, at, direction) {
  const middles = buttons.map((button) => {
    const { left, right, top, bottom } = button.getBoundingClientRect();
    return { button, x: (left + right) / 2, y: (top + bottom) / 2, height: bottom - top };
  });
  const from = middles[at];
  const away = (to) => direction * (to.y - from.y);
  const beyond = middles.filter((to) => away(to) > from.height / 2);
  const nearest = Math.min(...beyond.map(away));
  const line = beyond.filter((to) => away(to) < nearest + from.height / 2);
  line.sort((a, b) => Math.abs(a.x - from.x) - Math.abs(b.x - from.x));
  return line[0]?.button;
}
