// Sends files through this link, one after the other. The states of the page, and what may follow each, are in NEXT.
// Nothing of a name or an answer becomes markup; the sentences come with the page, in its language.
(() => {
  "use strict";
  const NEXT = {
    choose: ["checking", "closed"],
    checking: ["sending", "refused", "choose", "closed"],
    sending: ["paused", "checking", "done", "refused", "choose", "closed"],
    paused: ["sending", "checking", "done", "refused", "choose", "closed"],
    done: ["checking", "closed"],
    refused: ["checking", "closed"],
    closed: [],
  };
  const doc = document, root = doc.documentElement, main = doc.querySelector("main"), at = (id) => doc.getElementById(id);
  const set = JSON.parse(at("set").textContent), words = set.words, title = doc.title;
  const rows = at("rows"), pick = at("pick"), say = at("say"), headline = at("headline"), after = doc.querySelector(".after");
  const own = navigator.language, lang = (own.startsWith(root.lang) ? own : root.lang) + "-u-ca-gregory-nu-latn";
  const written = new Intl.DateTimeFormat(lang, { dateStyle: "medium", timeStyle: "short" });
  const plural = new Intl.PluralRules(lang);
  const number = (value, more) => new Intl.NumberFormat(lang, more).format(value);
  const percent = (part) => number(Math.floor(part * 100) / 100, { style: "percent" });
  const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
  const counted = (forms, n) => fill(forms[plural.select(n)] || forms.other, { n });
  const items = [], are = (...states) => items.filter((it) => states.includes(it.state));
  let state = "choose", left = set.left, quarter = 0, lock = null;

  const size = (bytes) => {
    const units = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];
    let unit = 0;
    for (; unit < 4 && bytes >= (unit ? 999.95 : 1000); unit++) bytes /= 1000;
    return number(bytes, { style: "unit", unit: units[unit], unitDisplay: unit ? "short" : "long", maximumFractionDigits: unit ? 1 : 0 });
  };
  const lasting = (s) => {
    const [value, unit] = s < 90 ? [Math.max(1, Math.ceil(s)), "second"] : s < 5400 ? [Math.round(s / 60), "minute"] : [Math.round(s / 3600), "hour"];
    return number(value, { style: "unit", unit, unitDisplay: "short" });
  };
  // the same as names.py: hidden signs are shown, the middle is cut, the ending kept
  const HIDDEN = /[\p{Cc}\p{Cs}\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff]/u;
  const shown = (name) => {
    const signs = [...name].map((c) => (HIDDEN.test(c) ? `[U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}]` : c));
    return signs.length > 44 ? [...signs.slice(0, 28), "\u2026", ...signs.slice(-15)].join("") : signs.join("");
  };
  // a name that every store keeps: no folder, no hidden sign; numbered where one of its name was sent before
  const safe = (name, n) => {
    const plain = [...name].map((c) => (HIDDEN.test(c) || "/\\*?".includes(c) ? "_" : c)).join("").replace(/^[. ]+|[. ]+$/g, "").slice(-80) || "file";
    const dot = plain.lastIndexOf(".");
    return n < 2 ? plain : dot > 0 ? `${plain.slice(0, dot)} (${n})${plain.slice(dot)}` : `${plain} (${n})`;
  };
  const target = (it) => (set.many ? location.pathname + encodeURIComponent(safe(it.file.name, it.number)) + location.search : location.href);

  // what has the focus may go with a change: it then stays near by, for who works by keyboard and who listens
  const keep = (near) => {
    const had = doc.activeElement;
    if (had !== doc.body && !had.getClientRects().length) near.focus();
  };

  const go = (to) => {
    if (to === state || !NEXT[state].includes(to)) return;
    main.dataset.state = state = to;
    const busy = ["sending", "paused"].includes(to), arrived = are("done").length;
    after.hidden = busy || to === "choose" || to === "checking";
    at("copy").hidden = !arrived;
    at("more").hidden = to === "closed" || left < 1;
    at("help").hidden = to !== "choose" && !busy;
    at("help").textContent = busy ? words.keep : counted(words.takes, left);
    const result = { sending: words.sending, paused: words.offline, done: counted(words.done, arrived), refused: words.refused, closed: words.closed, choose: set.title }[to];
    if (result) headline.textContent = result;
    if (!busy) doc.title = title;
    keep(headline);
    if (after.hidden) return wake(to === "sending");
    wake(false);
    say.textContent = result;
    headline.focus();
  };
  const wake = (on) => {
    if (!navigator.wakeLock) return;
    if (on && !lock) lock = navigator.wakeLock.request("screen").catch(() => null);
    if (!on && lock) lock.then((held) => held && held.release()), (lock = null);
  };

  const refusal = ({ file, folder }) => {
    const fits = (type) => (type.endsWith("/*") ? file.type.startsWith(type.slice(0, -1)) : file.type === type);
    if (folder) return words.folder;
    if (items.some((other) => ["waiting", "sending", "paused", "done"].includes(other.state) && other.file.name === file.name && other.file.size === file.size)) return words.twice;
    if (left < 1) return words.many;
    if (set.max !== null && file.size > set.max) return fill(words.large, { max: size(set.max) });
    if (set.type && !fits(set.type)) return words.type;
    return "";
  };
  const add = (files) => {
    if (state === "closed" || !files.length) return;
    const was = state;
    go("checking");
    for (const { file, folder } of files) {
      const it = { file, folder, name: shown(file.name), sent: 0, tries: 0, number: 1 };
      const row = (it.row = at("row").content.cloneNode(true).firstElementChild);
      [it.bar, it.line, it.button] = ["progress", ".s", "button"].map((which) => row.querySelector(which));
      row.querySelector("bdi").textContent = it.name;
      row.querySelector("text").textContent = (/\.([a-z0-9]{1,4})$/i.exec(file.name) || ["", ""])[1].toUpperCase();
      it.bar.setAttribute("aria-label", fill(words.progress, it));
      it.button.onclick = () => (["waiting", "sending", "paused"].includes(it.state) ? cancel(it) : again(it));
      const why = refusal(it);
      items.push(it);
      rows.append(row);
      if (why) mark(it, "no", why);
      else left--, mark(it, "waiting", size(file.size), words.waiting);
    }
    pick.value = "";
    if (are("sending", "paused").length) go(was);
    pump();
  };
  // each part of a line keeps its own direction
  const mark = (it, to, ...parts) => {
    it.state = to;
    it.row.className = "row " + ({ cancelled: "again", failed: "again failed" }[to] || to);
    it.line.replaceChildren(...parts.map((text) => Object.assign(doc.createElement("span"), { textContent: text })));
    it.button.setAttribute("aria-label", fill(["cancelled", "failed"].includes(to) ? words.retry : words.cancel, it));
    if (["no", "failed", "cancelled"].includes(to)) say.textContent = `${it.name}: ${parts[0]}`;
    keep(it.row);
  };
  const cancel = (it) => {
    const call = it.call;
    clearTimeout(it.timer);
    left++;
    mark(it, "cancelled", it.whole ? words.late : words.cancelled);
    if (call) call.abort();
    pump();
  };
  const again = (it) => {
    if (left < 1) return mark(it, it.state, words.many);
    left--;
    Object.assign(it, { tries: 0, sent: 0 });
    mark(it, "waiting", words.waiting);
    go("checking");
    pump();
  };
  const pump = () => {
    if (are("sending", "paused").length || state === "closed") return;
    const [next] = are("waiting");
    if (next) return go("sending"), send(next);
    quarter = 0;
    if (are("done").length) go("done");
    else if (are("no", "failed").length) go("refused");
    else go("choose");
  };

  const send = (it) => {
    const x = (it.call = new XMLHttpRequest());
    Object.assign(it, { sent: 0, whole: false, since: [[performance.now(), 0]] });
    mark(it, "sending", percent(0));
    it.bar.value = 0;
    x.open("PUT", target(it));
    x.setRequestHeader("Accept", "application/problem+json");
    x.setRequestHeader("Content-Type", it.file.type || "application/octet-stream");
    x.setRequestHeader("Want-Repr-Digest", "sha-256=1");
    x.upload.onprogress = (e) => it.state === "sending" && moved(it, Math.min(e.loaded, it.file.size));
    x.upload.onload = () => (it.whole = true);
    x.onload = () => it.state === "sending" && landed(it, x);
    x.onerror = () => it.state === "sending" && broke(it);
    x.send(it.file);
  };
  const moved = (it, sent) => {
    const now = performance.now(), whole = it.file.size || 1;
    it.sent = sent;
    it.bar.value = sent / whole;
    while (it.since.length > 1 && now - it.since[0][0] > 4000) it.since.shift();
    const speed = (1000 * (sent - it.since[0][1])) / (now - it.since[0][0] || 1);
    it.since.push([now, sent]);
    if (now - (it.drawn || 0) < 250 && sent < whole) return;
    it.drawn = now;
    const parts = [percent(sent / whole), fill(words.part, { sent: size(sent), size: size(whole) })];
    if (sent === whole) parts.push(words.storing);
    else if (now - it.since[0][0] > 900 && speed > 0) parts.push(`${size(speed)}/s`, fill(words.left, { time: lasting((whole - sent) / speed) }));
    mark(it, "sending", ...parts);
    const under = are("waiting", "sending", "paused", "done");
    const total = under.reduce((sum, o) => sum + (o.state === "done" ? o.file.size : o.sent), 0) / (under.reduce((sum, o) => sum + o.file.size, 0) || 1);
    doc.title = `${percent(total)} \u00b7 ${title}`;
    if (Math.floor(total * 4) > quarter && total < 1) {
      quarter = Math.floor(total * 4);
      say.textContent = fill(words.spoken, { percent: percent(quarter / 4) });
    }
  };
  const broke = (it) => {
    mark(it, "paused", words.paused);
    go("paused");
    say.textContent = words.paused;
    it.timer = setTimeout(() => resume(it), Math.min(30000, 1000 * 2 ** it.tries++));
  };
  const resume = (it) => {
    clearTimeout(it.timer);
    if (it.state !== "paused") return;
    go("sending");
    send(it);
  };
  const landed = (it, x) => {
    if (x.status === 200) {
      const digest = /sha-256=:([^:]+):/.exec(x.getResponseHeader("Repr-Digest") || "");
      it.when = written.format(new Date());
      it.sum = digest ? [...atob(digest[1])].map((c) => c.charCodeAt(0).toString(16).padStart(2, "0")).join("") : "";
      mark(it, "done", size(it.file.size), fill(words.arrived, it));
      if (it.sum) it.line.after(Object.assign(doc.createElement("p"), { className: "s sum", dir: "ltr", textContent: `SHA-256 ${it.sum}` }));
      return pump();
    }
    if ([409, 429, 502, 503].includes(x.status) && it.tries < 8) return broke(it);
    // of many files each has a key of its own: one of this name was sent before
    if (x.status === 412 && set.many && it.number < 20) return it.number++, send(it);
    left++;
    // the link's own page says whether it was used, taken back, or has ended
    if (x.status === 403 && !are("done").length) return (it.state = "failed"), location.reload();
    mark(it, x.status === 403 || x.status === 412 || x.status === 413 || x.status === 415 ? "no" : "failed", fill(words[x.status] || words.other, { max: size(set.max || 0) }));
    if (x.status === 403) {
      left = 0;
      are("waiting").forEach((other) => mark(other, "no", words[403]));
      return go("closed");
    }
    pump();
  };

  const dropped = (transfer) => [...transfer.items].filter((item) => item.kind === "file").map((item) => {
    const entry = item.webkitGetAsEntry && item.webkitGetAsEntry();
    return { file: item.getAsFile(), folder: Boolean(entry && entry.isDirectory) };
  }).filter(({ file }) => file);
  const over = (on) => root.classList.toggle("over", on && state !== "closed");
  let depth = 0;
  addEventListener("dragenter", (e) => { e.preventDefault(); depth++; over(true); });
  addEventListener("dragleave", () => { if (--depth < 1) over((depth = 0)); });
  addEventListener("dragover", (e) => e.preventDefault());
  addEventListener("drop", (e) => { e.preventDefault(); over((depth = 0)); add(dropped(e.dataTransfer)); });
  addEventListener("paste", (e) => e.clipboardData && add(dropped(e.clipboardData)));
  addEventListener("online", () => are("paused").forEach(resume));
  addEventListener("beforeunload", (e) => { if (are("sending", "paused", "waiting").length) e.preventDefault(); });
  pick.onchange = () => add([...pick.files].map((file) => ({ file, folder: false })));
  at("more").onclick = () => pick.click();
  at("copy").addEventListener("click", () => {
    at("copy").dataset.copy = are("done").map((it) => fill(it.sum ? words.receipt : words.short, { ...it, name: it.file.name, size: size(it.file.size) })).join("\n");
  }, { capture: true });
  root.classList.add("js");
  main.dataset.state = state;
})();
