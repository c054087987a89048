"use strict";
(() => {
  const EVERY = 2000; // milliseconds between two looks
  const PATIENCE = 12000; // the daemon answers within ten seconds, be it that it cannot
  const stale = document.getElementById("stale");
  const build = (page) => page.querySelector('meta[name="build"]')?.content;
  const title = (page) => page.querySelector("title").textContent;
  let good = Date.now();
  let why = "";

  // Times are written for where the reader is.
  const clock = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
  const day = new Intl.DateTimeFormat([], { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hour12: false });
  function localise(page) {
    for (const time of page.querySelectorAll("time")) {
      const at = new Date(time.dateTime);
      time.textContent = (Date.now() - at > 20 * 3600e3 ? day : clock).format(at);
      time.title = time.dateTime;
    }
  }

  // Rows that were there stay, so that screen readers and eyes see what is new.
  function rows(table, fresh) {
    const known = new Map(Array.from(table.children, (row) => [row.dataset.key, row]));
    const wanted = Array.from(fresh.children, (row) => {
      const old = known.get(row.dataset.key);
      known.delete(row.dataset.key);
      if (!old) row.classList.add("fresh");
      return old ?? row;
    });
    for (const gone of known.values()) gone.remove();
    wanted.forEach((row, place) => {
      if (table.children[place] !== row) table.insertBefore(row, table.children[place] ?? null);
    });
  }

  function show(fresh) {
    if (build(fresh) !== build(document)) return location.reload();
    localise(fresh);
    document.title = title(fresh);
    const icon = document.querySelector('link[rel="icon"]');
    const state = fresh.querySelector('link[rel="icon"]').getAttribute("href");
    if (icon.getAttribute("href") !== state) icon.setAttribute("href", state);
    for (const part of document.querySelectorAll("[data-part]")) {
      const now = fresh.querySelector(`[data-part="${part.dataset.part}"]`);
      if (!now) continue;
      if ("rows" in part.dataset) rows(part, now);
      else if (part.innerHTML !== now.innerHTML) part.replaceChildren(...now.childNodes);
    }
  }

  function age() {
    document.body.classList.toggle("stale", why !== "");
    const seconds = Math.round((Date.now() - good) / 1000);
    const ago = seconds < 120 ? `${seconds} s` : `${Math.round(seconds / 60)} min`;
    const says = why && `${why}. What you see is ${ago} old.`;
    if (stale.textContent !== says) stale.textContent = says;
    if (why && !document.title.startsWith("No answer")) document.title = `No answer · ${document.title}`;
  }

  async function look() {
    try {
      const answer = await fetch(location.pathname, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
      if (answer.ok) {
        show(new DOMParser().parseFromString(await answer.text(), "text/html"));
        good = Date.now();
        why = "";
      } else {
        why = `The daemon answers: ${answer.status} ${(await answer.text()).trim()}`;
      }
    } catch {
      why = "The daemon does not answer";
    }
    age();
    setTimeout(look, EVERY);
  }

  localise(document);
  setTimeout(look, EVERY);
  setInterval(age, 1000);
})();
