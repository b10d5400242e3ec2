// What the hub announces, on the pages of JupyterLab 3 and 4 and of Notebook 7: a prebuilt extension as webpack's module
// federation would make it. It uses nothing of JupyterLab but its colours, so that any version will do.
(function () {
  "use strict";
  const NAME = "swarmhub-announcements";
  const PAUSE = 60;
  const baseUrl = JSON.parse(document.getElementById("jupyter-config-data").textContent).baseUrl;
  // Browsers are shared: what one person has put away is news for another.
  const STORE = `${NAME}:${baseUrl}`;

  // In the corner that JupyterLab's own notifications leave free, above the status bar.
  const STYLE = `
    #${NAME} {
      position: fixed; left: 12px; bottom: 36px; z-index: 9000; box-sizing: border-box;
      width: min(30rem, 100vw - 24px); max-height: 50vh; overflow-y: auto;
      font: var(--jp-ui-font-size1, 13px)/1.5 var(--jp-ui-font-family, sans-serif);
    }
    #${NAME} > div {
      display: flex; align-items: flex-start; gap: 8px; margin-top: 6px; padding: 8px 4px 8px 12px;
      color: var(--jp-ui-font-color1, #000); background: var(--jp-layout-color1, #fff);
      border: 1px solid var(--jp-border-color1, #bdbdbd); border-left: 6px solid var(--jp-warn-color1, #f57c00);
      box-shadow: 0 2px 8px rgb(0 0 0 / 35%);
    }
    #${NAME} > .maintenance { border-left-color: var(--jp-error-color1, #d32f2f); }
    #${NAME} p { flex: 1; margin: 0; overflow-wrap: anywhere; white-space: pre-line; }
    #${NAME} time { white-space: nowrap; }
    #${NAME} button {
      min-width: 24px; min-height: 24px; padding: 0; border: 0; font-size: 18px; line-height: 1; cursor: pointer;
      color: inherit; background: none;
    }
    #${NAME} button:focus-visible { outline: 2px solid currentColor; }`;

  const element = (tag, properties) => Object.assign(document.createElement(tag), properties);
  const key = (each) => JSON.stringify(each);
  let dismissed = {};
  function putAway() {
    try {
      return { ...dismissed, ...JSON.parse(localStorage.getItem(STORE) || "{}") };
    } catch {
      return dismissed; // the browser keeps nothing for us
    }
  }
  const isPutAway = (each) => putAway()[each.name] === key(each);

  // Whatever is announced is somebody's text, never HTML.
  function box(each) {
    const text = element("p", { textContent: each.text });
    if (each.until) {
      const until = new Date(each.until).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
      text.append(" Until ", element("time", { dateTime: each.until, textContent: until }));
    }
    const close = element("button", { type: "button", textContent: "×", title: "Dismiss" });
    close.setAttribute("aria-label", `Dismiss: ${each.text}`);
    const shown = element("div", { className: each.maintenance ? "maintenance" : "" });
    shown.dataset.key = key(each);
    shown.append(text, close);
    close.addEventListener("click", () => {
      shown.remove();
      dismissed = { ...putAway(), [each.name]: key(each) };
      localStorage.setItem(STORE, JSON.stringify(dismissed));
    });
    return shown;
  }

  // What stays is left as it is, so that a screen reader says it once and nobody loses the focus.
  function show(area, told) {
    const wanted = told.filter((each) => !isPutAway(each));
    const present = new Map([...area.children].map((shown) => [shown.dataset.key, shown]));
    const kept = wanted.map((each) => present.get(key(each)) || box(each));
    for (const shown of present.values()) {
      if (!kept.includes(shown)) {
        shown.remove();
      }
    }
    kept.forEach((shown, place) => {
      if (area.children[place] !== shown) {
        area.insertBefore(shown, area.children[place] || null);
      }
    });
  }

  async function look(area) {
    if (document.hidden) {
      return;
    }
    const xsrf = /(?:^|; )_xsrf=([^;]*)/.exec(document.cookie);
    try {
      const answer = await fetch(`${baseUrl}swarmhub/announcements`, { headers: xsrf ? { "X-XSRFToken": xsrf[1] } : {} });
      if (answer.ok) {
        show(area, await answer.json());
      }
    } catch {
      // The notebook is away for a moment: what was shown stays.
    }
  }

  function activate() {
    const area = element("div", { id: NAME });
    area.setAttribute("role", "region");
    area.setAttribute("aria-label", "Announcements");
    area.setAttribute("aria-live", "polite");
    document.head.append(element("style", { textContent: STYLE }));
    document.body.append(area);
    look(area);
    setInterval(look, PAUSE * 1000, area);
    document.addEventListener("visibilitychange", () => look(area));
  }

  const plugin = { id: `${NAME}:plugin`, autoStart: true, activate };
  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB[NAME] = { init: () => {}, get: async () => () => ({ __esModule: true, default: plugin }) };
})();
