// Hears from the server which boards changed: one stream a browser, and none while no page of it is seen.
//
// Browsers allow six connections to a host. So of the pages that are seen one holds a lock and, with it, the stream; it tells the
// others. A page that is hidden lets go of both, and catches up when it is seen again. Where there are no locks (plain http on
// another machine) each page that is seen has a stream of its own.
"use strict";

(() => {
  const AGAIN = 5000; // milliseconds until a stream that was refused is asked for again
  const parts = [...document.querySelectorAll("[data-follow]")];
  if (parts.length === 0) return;
  const pages = new BroadcastChannel("redoubt-boards");
  let state = { open: false, boards: {} }; // what is known of the line, and board -> newest revision
  let source = null;
  let again = 0;
  let waiting = null; // ends the wait for the lock
  let giveUp = null; // gives the lock to the next page

  function take({ open, boards }) {
    state = { open, boards: { ...state.boards, ...boards } };
    for (const part of parts) {
      const newest = state.boards[part.dataset.follow];
      if (newest === undefined || String(newest) === part.dataset.revision) continue;
      part.dataset.revision = newest;
      part.dispatchEvent(new CustomEvent("board-changed"));
    }
    document.dispatchEvent(new CustomEvent("stream:line", { detail: open }));
  }

  function tell(open, boards) {
    take({ open, boards });
    pages.postMessage(state);
  }

  function connect() {
    source = new EventSource("/events/");
    source.addEventListener("open", () => tell(true, {}));
    source.addEventListener("changed", (event) => tell(true, JSON.parse(event.data)));
    source.addEventListener("error", () => {
      tell(false, {});
      if (source?.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
      again = setTimeout(connect, AGAIN);
    });
  }

  function disconnect() {
    clearTimeout(again);
    source?.close();
    source = null;
  }

  function start() {
    if (!navigator.locks) return connect();
    waiting = new AbortController();
    const turn = () => new Promise((done) => { giveUp = done; connect(); });
    navigator.locks.request("redoubt-stream", { signal: waiting.signal }, turn).catch(() => {}); // it was hidden meanwhile
    pages.postMessage("what is new?");
  }

  function rest() {
    waiting?.abort();
    disconnect();
    giveUp?.();
    waiting = giveUp = null;
  }

  pages.addEventListener("message", ({ data }) => {
    if (document.hidden) return;
    if (data !== "what is new?") take(data);
    else if (source) pages.postMessage(state);
  });
  document.addEventListener("visibilitychange", () => (document.hidden ? rest() : start()));
  addEventListener("pagehide", rest);
  addEventListener("pageshow", (event) => { if (event.persisted && !document.hidden) start(); });
  if (!document.hidden) start();
})();
