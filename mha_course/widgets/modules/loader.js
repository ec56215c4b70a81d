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

  const files = {};

  /** A part of a figure's data; in the book it is a file, added to the page when it is asked for. */
  async function dataOf(figure, name) {
    const part = figure.querySelector(`script[data-part="${name}"]`);
    if (part === null) throw new Error(`the figure has no data called ${name}`);
    const { file } = part.dataset;
    if (file === undefined) return JSON.parse(part.textContent);
    files[file] ??= new Promise((resolve, reject) => {
      const script = document.createElement("script");
      const key = file.split("/").pop();
      script.addEventListener("load", () => resolve(window.mhaData[key]));
      script.addEventListener("error", () => {
        delete files[file]; // the next one who asks tries again
        script.remove();
        reject(new Error(`${file} cannot be loaded`));
      });
      script.src = file;
      document.head.append(script);
    });
    return files[file];
  }

  async function mount(figure) {
    const given = figure.querySelector("script[type='application/json']");
    const state = given && JSON.parse(given.textContent);
    const { default: module } = await import(address(figure.dataset.module));
    const view = figure.querySelector(".mha-live-view") ?? figure;
    const data = (name) => dataOf(figure, name);
    await module.render({ model: modelOf(state), el: view, data });
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

  /** What has no view of its own stands on the page already: it changes before it is read. */
  function start() {
    for (const figure of document.querySelectorAll(".mha-live")) {
      if (figure.querySelector(".mha-live-view")) mountWhenNear(figure);
      else mount(figure);
    }
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
