/* Reading progress: which pages a reader has finished. It is kept in this browser, and goes nowhere.

   A page counts as finished when its end has been in view for a second; the box there takes it
   back. Where a browser keeps nothing, as some do for files, all of this stays out of sight. */
(() => {
  const AT_THE_END = 1000; // milliseconds

  function start() {
    const box = document.querySelector(".mha-progress");
    const root = new URL(document.documentElement.dataset.content_root || "./", location.href);
    const key = `mha-finished:${root.pathname}`;

    function read() {
      const kept = JSON.parse(localStorage.getItem(key) ?? "[]");
      return new Set(Array.isArray(kept) ? kept : []);
    }

    function keep(pages) {
      if (pages.size) localStorage.setItem(key, JSON.stringify([...pages].sort()));
      else localStorage.removeItem(key);
    }

    function finished() {
      try {
        return read();
      } catch {
        return new Set(); // no storage, or not ours
      }
    }

    const change = (how) => {
      const pages = finished();
      how(pages);
      try {
        keep(pages);
      } catch {
        /* storage is full or forbidden: the box still shows what the reader chose */
      }
      show(pages);
    };

    const page = (link) => {
      const target = new URL(link.getAttribute("href"), location.href);
      return target.pathname.slice(root.pathname.length).replace(/\.html$/, "");
    };
    const own = page({ getAttribute: () => "" });
    const links = [...document.querySelectorAll("nav.bd-docs-nav li.toctree-l1 > a")];
    const contents = new Set(links.map(page));
    const start = document.querySelector("a.navbar-brand"); // the contents do not name it
    if (start) contents.add(page(start));

    function show(pages) {
      for (const link of links) {
        const done = pages.has(page(link));
        link.classList.toggle("mha-finished", done);
        const said = link.querySelector(".mha-finished-said");
        if (!done) said?.remove();
        else if (!said) {
          const text = document.createElement("span");
          text.className = "mha-finished-said visually-hidden";
          text.textContent = " (finished)";
          link.append(text);
        }
      }
      if (!box) return;
      const count = [...pages].filter((one) => contents.has(one)).length;
      box.querySelector("input").checked = pages.has(own);
      box.querySelector("button").disabled = !count;
      const status = box.querySelector("[role=status]");
      const text = `${count} of ${contents.size} pages finished.`;
      if (status.textContent !== text) status.textContent = text;
    }

    function works() {
      try {
        localStorage.setItem(`${key}?`, "");
        localStorage.removeItem(`${key}?`);
        return true;
      } catch {
        return false;
      }
    }

    if (!works()) return;
    show(finished());
    addEventListener("storage", (event) => {
      if (event.key === key || event.key === null) show(finished());
    });
    if (!box || !contents.has(own)) return;
    box.dataset.ready = "";
    let decided = false; // what the reader says counts more than what was seen
    box.querySelector("input").addEventListener("change", ({ target }) => {
      decided = true;
      change((pages) => (target.checked ? pages.add(own) : pages.delete(own)));
    });
    box.querySelector("button").addEventListener("click", () => {
      decided = true;
      change((pages) => pages.clear());
      box.querySelector("input").focus(); // the button is disabled now
    });
    let waiting = 0;
    new IntersectionObserver((seen) => {
      clearTimeout(waiting);
      if (!seen.at(-1).isIntersecting) return;
      waiting = setTimeout(() => {
        if (!decided && !finished().has(own)) change((pages) => pages.add(own));
      }, AT_THE_END);
    }).observe(box);
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
