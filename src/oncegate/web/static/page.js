// What every page can do beyond HTML: times in the reader's zone, "started" after the button, asking again, copying.
(() => {
  "use strict";
  const doc = document, page = doc.documentElement.lang, own = navigator.language;
  const lang = (own.startsWith(page) ? own : page) + "-u-ca-gregory-nu-latn";
  const each = (which, act) => doc.querySelectorAll(which).forEach(act);
  const written = new Intl.DateTimeFormat(lang, { dateStyle: "medium", timeStyle: "short" });
  const apart = new Intl.RelativeTimeFormat(lang, { numeric: "auto" });

  const relative = (at) => {
    const s = (at - Date.now()) / 1000, far = Math.abs(s);
    const [size, unit] = far < 90 ? [1, "second"] : far < 5400 ? [60, "minute"] : far < 129600 ? [3600, "hour"] : [86400, "day"];
    return apart.format(Math.round(s / size), unit);
  };
  const show = () => {
    each("time", (t) => (t.textContent = written.format(new Date(t.dateTime))));
    each("[data-from-now]", (t) => (t.textContent = relative(new Date(t.dataset.fromNow))));
  };

  // the answer to the button is a download, so the browser stays on this page
  each("[data-press]", (form) => form.addEventListener("submit", () => {
    const next = doc.querySelector("main > template");
    if (next) setTimeout(() => {
      form.closest("main").replaceChildren(next.content.cloneNode(true));
      show();
      doc.querySelector("h1").focus();
    }, 400);
  }));

  // HEAD never uses a link, so this may ask as often as the answer allows
  each("[data-after]", (link) => {
    const wait = () => setTimeout(() => fetch(location.href, { method: "HEAD" })
      .then((r) => (r.status > 499 || r.status === 409 ? wait() : location.reload()), wait), 1000 * link.dataset.after);
    wait();
  });
  each("[data-at]", (link) => {
    const left = new Date(link.dataset.at) - Date.now();
    if (left < 864e5) setTimeout(() => location.reload(), Math.max(0, left) + 1500);
  });
  each("[data-hold]", (media) => addEventListener("beforeunload", (e) => media.ended || e.preventDefault()));

  // over plain http there is no clipboard: the text is shown, selected
  each("[data-copy]", (button) => {
    button.hidden = false;
    button.onclick = () => {
      const by = () => {
        const field = doc.createElement("textarea");
        Object.assign(field, { readOnly: true, value: button.dataset.copy, className: "copied" });
        field.setAttribute("aria-label", button.textContent);
        button.replaceWith(field);
        field.select();
      };
      if (!navigator.clipboard) return by();
      navigator.clipboard.writeText(button.dataset.copy).then(() => (button.textContent = button.dataset.copied), by);
    };
  });
  show();
  setInterval(show, 10000);
})();
