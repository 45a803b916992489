// Adds calls to the live view as they are screened. Without this script the page shows the newest calls as they were.
"use strict";
(() => {
  const KEPT = 200;          // rows on the page, and rows that wait while it is paused
  const SILENCE_MS = 30000;  // the server says something every 10 seconds: a longer silence is a dead connection
  const byId = (id) => document.getElementById(id);
  const rows = byId("calls"), template = byId("call"), state = byId("state"), pause = byId("pause");
  const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
  let last = new URL(rows.dataset.events, location.href).searchParams.get("after");
  let source = null, heard = Date.now(), waiting = [], over = false, spoken = 0, unspoken = [];

  const show = (name) => {
    state.dataset.state = name;
    const paused = pause.dataset.paused === "yes";
    const text = paused && name === "connected" ? state.dataset.paused : state.dataset[name];
    const held = paused && waiting.length ? ", " + fill(state.dataset.waiting, { count: waiting.length }) : "";
    if (paused && name === "connected") state.dataset.state = "paused";
    if (byId("state-text").textContent !== text + held) byId("state-text").textContent = text + held;
  };

  const rowOf = (call) => {
    const row = template.content.firstElementChild.cloneNode(true);
    row.classList.add(call.blocked ? "blocked" : "allowed");
    row.dataset.seq = call.seq;
    row.querySelector("[name=record]").value = call.seq;
    row.querySelector("time").dateTime = call.at;
    for (const cell of row.querySelectorAll("[data-cell]")) cell.textContent = call.cells[cell.dataset.cell];
    if (!call.cells.number.startsWith("+")) {  // what was dialled is no number, so there is nothing to open
      row.querySelector("form").replaceWith(row.querySelector("[data-cell=text]"));
      row.querySelector("[data-cell=text]").hidden = false;
    }
    row.querySelector("[data-cell=verdict]").classList.add(call.blocked ? "block" : "allow");
    return row;
  };

  const add = (calls) => {
    if (!calls.length) return;
    byId("empty").hidden = true;
    // What has the keyboard stays where it is in the document; the rows come above it.
    rows.prepend(...calls.slice(-KEPT).reverse().map(rowOf));
    while (rows.rows.length > KEPT) rows.lastElementChild.remove();
    unspoken.push(...calls);
    speak();
  };

  // A screen reader hears how many came and the last of them, not more than once in three seconds.
  const speak = () => {
    if (!unspoken.length || Date.now() - spoken < 3000) return;
    const cells = unspoken[unspoken.length - 1].cells;
    byId("arrived").textContent = fill(byId("arrived").dataset.text, {
      count: unspoken.length, last: [cells.verdict, cells.reason, cells.campaign].join(", "),
    });
    unspoken = [];
    spoken = Date.now();
  };

  const connect = () => {
    const address = new URL(rows.dataset.events, location.href);
    address.searchParams.set("after", last);
    source = new EventSource(address);
    heard = Date.now();
    source.onopen = () => show("connected");
    source.onerror = () => {
      if (!over) show("reconnecting");
      if (source.readyState === EventSource.CLOSED) source = null;  // refused: look again at the next tick
    };
    source.addEventListener("calls", (event) => {
      heard = Date.now();
      last = event.lastEventId;
      const told = JSON.parse(event.data);
      if (told.leftOut) byId("left-out").hidden = false;
      if (pause.dataset.paused === "yes") waiting = [...waiting, ...told.calls].slice(-KEPT);
      else add(told.calls);
      show("connected");
    });
    source.addEventListener("over", leave);
  };

  const leave = () => {
    over = true;
    if (source) source.close();
    show("over");
    location.assign(rows.dataset.signIn);
  };

  const tick = async () => {
    speak();
    if (over || (source && Date.now() - heard < SILENCE_MS)) return;
    if (source) source.close();
    source = null;
    show("reconnecting");
    try {
      const answer = await fetch(rows.dataset.events, { headers: { Accept: "text/event-stream" } });
      if (answer.body) answer.body.cancel();
      if (answer.status === 401) leave();
      else if (answer.ok) connect();
    } catch { /* not there yet: the next tick looks again */ }
  };

  pause.hidden = false;
  pause.addEventListener("click", () => {
    const pausing = pause.dataset.paused !== "yes";
    pause.dataset.paused = pausing ? "yes" : "no";
    pause.textContent = pausing ? pause.dataset.resume : pause.dataset.pause;
    if (!pausing) { add(waiting); waiting = []; }
    show(source && source.readyState === EventSource.OPEN ? "connected" : "reconnecting");
  });
  // A page that is left says so at once; one that is come back to connects again at the next tick.
  window.addEventListener("pagehide", () => { if (source) source.close(); source = null; });
  setInterval(tick, 3000);
  connect();
})();
