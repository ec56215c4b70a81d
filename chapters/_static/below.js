/* A long page can be read and used before all of it is laid out: figures and code far below wait,
   and come one by one when the browser has time. Those that a reader nears come at once. */
(() => {
  const root = document.documentElement;
  const idle = window.requestIdleCallback ?? ((next) => setTimeout(next, 50));

  function start() {
    const cells = [...document.querySelectorAll(".bd-article .cell")];
    const next = () => {
      const cell = cells.shift();
      if (cell) {
        cell.dataset.laidOut = "";
        idle(next);
      } else {
        delete root.dataset.below;
        dispatchEvent(new Event("resize")); // the theme asks what scrolls, now all of it
      }
    };
    idle(next);
  }

  if (root.dataset.below === "later") addEventListener("load", start);
})();
