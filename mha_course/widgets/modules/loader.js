// Mounts the live figures of a page that has no kernel. A classic script: from a folder of files a
// browser loads no modules, so the text of each one waits in window.mhaModules, and goes in as a Blob.

(() => {
  const addresses = {};

  function address(name) {
    const text = window.mhaModules?.[name];
    if (text === undefined) throw new Error(`the module ${name} is not on this page`);
    addresses[name] ??= URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
    return addresses[name];
  }

  /** What anywidget hands to a module, as far as our modules use it. */
  function modelOf(state) {
    const values = { state };
    const listeners = [];
    return {
      get: (name) => values[name],
      set: (name, value) => {
        values[name] = value;
        for (const [event, listener] of listeners) if (event === `change:${name}`) listener();
      },
      on: (event, listener) => listeners.push([event, listener]),
      save_changes: () => {},
    };
  }

  async function mount(figure) {
    const state = JSON.parse(figure.querySelector("script[type='application/json']").textContent);
    const { default: module } = await import(address(figure.dataset.module));
    const view = figure.querySelector(".mha-live-view");
    await module.render({ model: modelOf(state), el: view });
    figure.dataset.mounted = "";
  }

  /** Mount a figure when it comes near the window: a page may have several. */
  function mountWhenNear(figure) {
    const watcher = new IntersectionObserver(
      (entries) => {
        if (!entries.some((entry) => entry.isIntersecting)) return;
        watcher.disconnect();
        mount(figure);
      },
      { rootMargin: "400px" },
    );
    watcher.observe(figure);
  }

  function start() {
    document.querySelectorAll(".mha-live").forEach(mountWhenNear);
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
