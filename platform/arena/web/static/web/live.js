// Follows a board: marks the rows that changed, says rank changes aloud, keeps "4 s ago" true, shows whether the line is open.
"use strict";

(() => {
  const standings = () => new Map([...document.querySelectorAll("tr[data-score]")].map((row) => [row.id, { ...row.dataset }]));
  let before = standings();

  function flash(row, name) {
    row.classList.remove("flash-up", "flash-down");
    void row.offsetWidth; // restarts an animation that is still running
    row.classList.add(name);
    row.addEventListener("animationend", () => row.classList.remove(name), { once: true });
  }

  function mark() {
    const said = [];
    const now = standings();
    for (const [id, { name, rank, score }] of now) {
      const old = before.get(id);
      if (old && old.rank === rank && old.score === score) continue;
      const fell = old !== undefined && Number(score) < Number(old.score);
      flash(document.getElementById(id), fell ? "flash-down" : "flash-up");
      said.push(`${name} ${old ? "is now" : "enters at"} rank ${rank}.`);
    }
    before = now;
    if (said.length) document.getElementById("announcements")?.replaceChildren(said.join(" "));
  }

  function ago(seconds) {
    if (seconds < 60) return `${Math.max(0, Math.round(seconds))} s ago`;
    if (seconds < 3600) return `${Math.round(seconds / 60)} min ago`;
    if (seconds < 86400) return `${Math.round(seconds / 3600)} h ago`;
    return null; // the date as the server wrote it says more
  }

  function tell() {
    for (const time of document.querySelectorAll("time[data-ago]")) {
      const text = ago((Date.now() - Date.parse(time.dateTime)) / 1000);
      if (text !== null && time.textContent !== text) time.textContent = text;
    }
  }

  function line(open) {
    for (const dot of document.querySelectorAll(".live")) {
      dot.classList.toggle("on", open);
      dot.querySelector("[data-line]").textContent = open ? "live" : "not live: reload to see changes";
    }
  }

  let open = false;
  document.addEventListener("stream:line", (event) => line((open = event.detail)));
  document.addEventListener("htmx:afterSwap", () => { mark(); tell(); line(open); });
  setInterval(tell, 1000);
  tell();
})();
