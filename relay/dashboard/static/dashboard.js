/* Keeps an open page up to date: it asks for itself again, and brings what changed into place. Without it pages are the
   same, and stay as they were loaded. No library, nothing inline; what is put in was parsed from our own pages.

   #live              the bar of a page that refreshes; without it nothing happens here. Its data- attributes are the
                      sentences: paused, held, knew ({time}), away, ended, over, load
   #live-every        data-every: seconds until the next time, as the server says with every answer;
                      data-at-most: of a page that tells of trouble, to which it backs off
   #live-controls     hidden until this runs; #live-switch: the button, aria-pressed="true" while paused;
   #live-state        paused, or held while something is selected or written
   #live-as-of        the moment that the page speaks of
   #live-trouble      role=status: why the page is old; empty while it is not
   #live-said         role=status: the text of [data-say] (the answer of page one), and only when it has changed
   [data-live][id]    a region that is brought up to date; rows keep their places by data-key, or by their heading
   form.selecting     nothing is refreshed while one of its boxes is ticked

   Requests bear X-Relay-Live: 1, one at a time, none while the tab is hidden. Nothing moves, so there is nothing for
   prefers-reduced-motion to still. */
"use strict";
(() => {
  const PATIENCE = 60_000, AWAY = 5, AWAY_AT_MOST = 30, HELD = 1_000;
  const at = (id, page = document) => page.getElementById(id);
  const live = at("live");
  if (!live) return;
  const knob = at("live-switch"), aside = !at("live-as-of"); // a page that only says that PostgreSQL is away
  let timer = 0, due = 0, failures = 0, asking = false, over = false;

  const told = (page) => page ? at("live-every", page)?.dataset : undefined;
  const regions = () => [...document.querySelectorAll("[data-live][id]")];
  const say = (id, text, ...more) => {
    if (at(id).textContent !== text + more.map((one) => one.textContent).join("")) at(id).replaceChildren(text, ...more);
  };
  const paused = () => knob.getAttribute("aria-pressed") === "true";

  function held() {
    const on = document.activeElement, text = getSelection();
    const selected = text && !text.isCollapsed;
    return !!document.querySelector("form.selecting input:checked") || regions().some((one) =>
      (one.contains(on) && on.matches("input, select, textarea")) || (selected && text.containsNode(one, true)));
  }

  function plan(seconds) {
    due = performance.now() + seconds * 1_000;
    wake();
  }

  function wake() {
    clearTimeout(timer);
    if (over || asking) return;
    say("live-state", paused() ? live.dataset.paused : "");
    if (paused() || document.hidden) return;
    const left = due - performance.now();
    if (left > 0) timer = setTimeout(wake, left);
    else if (held()) {
      say("live-state", live.dataset.held);
      timer = setTimeout(wake, HELD);
    } else refresh();
  }

  async function refresh() {
    let status = 0, page = null;
    asking = true;
    try {
      const answer = await fetch(location.href, {
        headers: { "X-Relay-Live": "1" }, cache: "no-store", redirect: "manual", signal: AbortSignal.timeout(PATIENCE),
      });
      status = answer.type === "opaqueredirect" ? 401 : answer.status;
      page = new DOMParser().parseFromString(await answer.text(), "text/html");
    } catch {
      status = 0; // nobody answered, or not in time
    }
    asking = false;
    if (aside && status && status < 500) return location.reload();
    const ours = page && at("main", page);
    if (status === 401 || status === 403) end(live.dataset.ended);
    else if (status === 200 && ours) arrived(page);
    else failed(page, status >= 400 && status < 500 && ours);
  }

  function arrived(page) {
    failures = 0;
    if (paused() || held()) return plan(0); // it began meanwhile: what came is asked for again
    const before = said();
    bring(page);
    if (said() !== before) say("live-said", said());
    live.classList.remove("old");
    say("live-trouble", "");
    if (told(page)) plan(Number(told(page).every));
    else end(live.dataset.over, false);
  }

  function failed(page, forGood) {
    const why = (page && at("trouble", page)?.textContent.trim()) || live.dataset.away;
    const knew = aside ? "" : live.dataset.knew.replace("{time}", clock()) + " ";
    live.classList.add("old");
    if (forGood) return end(knew + why);
    if (!aside) say("live-trouble", knew + why);
    const every = Number(told(page)?.every ?? AWAY), most = Number(told(page)?.atMost ?? AWAY_AT_MOST);
    plan(Math.min(every * 2 ** failures++, Math.max(most, every)));
  }

  function end(text, again = true) {
    over = true;
    at("live-controls").hidden = true;
    const link = document.createElement("a");
    link.href = location.href;
    link.textContent = live.dataset.load;
    say("live-trouble", text + " ", ...(again ? [link] : []));
  }

  const clock = () => /\d\d:\d\d:\d\d/.exec(at("live-as-of").textContent)?.[0] ?? "";
  const said = () => [...document.querySelectorAll("[data-say]")].map((one) => one.textContent).join(" ");

  function bring(page) {
    const on = document.activeElement, around = on?.closest("[tabindex], #main");
    for (const region of regions()) {
      const fresh = at(region.id, page);
      if (fresh && !region.isEqualNode(fresh)) morph(region, fresh);
    }
    if (on && on !== document.body && !on.isConnected) (around?.isConnected && around.tabIndex >= 0 ? around : knob).focus();
  }

  // Nodes stay the ones they were, so that focus, open details, scrolled tables and a screen reader stay where they are.
  // A form that has a field of the name id has no property of this name.
  const key = (node) => node.nodeType !== Node.ELEMENT_NODE ? "" : node.getAttribute("id") || node.dataset.key ||
    (node.nodeName === "TR" && node.querySelector("th[scope=row]")?.textContent) || "";
  const same = (one, other) => one.nodeName === other.nodeName && key(one) === key(other);

  function morph(old, fresh) {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.data !== fresh.data) old.data = fresh.data;
      return;
    }
    for (const { name } of [...old.attributes])
      if (!fresh.hasAttribute(name) && !(name === "open" && old.nodeName === "DETAILS")) old.removeAttribute(name);
    for (const { name, value } of fresh.attributes)
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    let next = old.firstChild;
    for (const wanted of [...fresh.childNodes]) {
      let found = next;
      while (found && !same(found, wanted)) found = wanted.nodeType === Node.ELEMENT_NODE ? found.nextSibling : null;
      if (!found) old.insertBefore(document.importNode(wanted, true), next);
      else {
        while (next !== found) next = drop(next);
        morph(found, wanted);
        next = found.nextSibling;
      }
    }
    while (next) next = drop(next);
  }

  function drop(node) {
    const after = node.nextSibling;
    node.remove();
    return after;
  }

  knob.addEventListener("click", () => {
    knob.setAttribute("aria-pressed", String(!paused()));
    plan(0);
  });
  document.addEventListener("visibilitychange", wake);
  at("live-controls").hidden = false;
  plan(Number(told(document).every));
})();
