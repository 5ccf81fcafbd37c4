// The page at `/`: live events by selector, and a line to publish with.
import { Millrace } from "./millrace.js";

/** Rows that stay: the page may be left open for weeks. */
const ROWS_MAX = 500;
/** Characters of a payload that are shown. */
const SHOWN_MAX = 2000;

const byId = (id) => document.getElementById(id);
const [rows, state, error, outcome] = ["events", "state", "error", "outcome"].map(byId);
let connection = "connecting";
let isPaused = false;
let [shown, hidden, gaps] = [0, 0, 0];
let end = () => {};
// Rows are put in once a frame, because a busy stream would otherwise lay the page out for each event.
let fresh = [];

const url = new URL("/events", location.href);
url.protocol = url.protocol.replace("http", "ws");
const token = new URLSearchParams(location.search).get("access_token");
if (token) url.searchParams.set("access_token", token);
const millrace = new Millrace(url.href, {
  state: (now) => {
    connection = now === "lost" ? "connection lost, trying again" : now;
    tell();
  },
  error: (problem) => complain(problem.message),
});

function tell() {
  state.textContent = `${connection} · ${shown} events${gaps ? ` · ${gaps} gaps` : ""}${isPaused ? ` · ${hidden} while paused` : ""}`;
}

function complain(message) {
  error.textContent = message;
  error.hidden = !message;
}

function cell(row, ...children) {
  const td = row.insertCell();
  td.append(...children);
}

function tag([key, value]) {
  const span = document.createElement("span");
  span.className = "tag";
  const name = document.createElement("b");
  name.textContent = `${key}=`;
  span.append(name, value);
  return span;
}

function row(kind, time, tags, payload) {
  const tr = document.createElement("tr");
  tr.className = kind;
  cell(tr, time);
  cell(tr, ...tags);
  cell(tr, payload);
  if (!fresh.length) requestAnimationFrame(put);
  fresh.unshift(tr);
  fresh.length = Math.min(fresh.length, ROWS_MAX);
}

function put() {
  rows.prepend(...fresh);
  fresh = [];
  while (rows.rows.length > ROWS_MAX) rows.deleteRow(-1);
  tell();
}

function show(event) {
  shown += 1;
  if (isPaused) {
    hidden += 1;
    return tell();
  }
  const text = typeof event.payload === "string" ? event.payload : `${event.payload.length} bytes`;
  const time = new Date(event.time).toLocaleTimeString(undefined, { hour12: false, fractionalSecondDigits: 3 });
  row("event", time, Object.entries(event.tags).map(tag), text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}…` : text);
}

function select(text) {
  end();
  complain("");
  const selectors = text.split(";").map((part) => part.trim()).filter(Boolean);
  end = millrace.subscribe(selectors.length ? selectors : ["*"], {
    event: show,
    gap: (gap) => {
      gaps += 1;
      row("gap", "", [], `events are missing here: ${gap.reason}${gap.events ? `, ${gap.events}` : ""}`);
    },
    error: (problem) => complain(problem.message),
  });
}

byId("select").addEventListener("submit", (submit) => {
  submit.preventDefault();
  location.hash = encodeURIComponent(byId("selectors").value);
});
// The selector is in the address, so that a page can be kept and shared.
function fromAddress() {
  byId("selectors").value = decodeURIComponent(location.hash.slice(1));
  select(byId("selectors").value);
}
addEventListener("hashchange", fromAddress);
fromAddress();

byId("pause").addEventListener("click", (click) => {
  isPaused = !isPaused;
  hidden = 0;
  click.target.setAttribute("aria-pressed", String(isPaused));
  click.target.textContent = isPaused ? "Go on" : "Pause";
  tell();
});

byId("publish").addEventListener("submit", async (submit) => {
  submit.preventDefault();
  const pairs = byId("tags").value.split(/\s+/).filter(Boolean).map((pair) => pair.split(/=(.*)/s, 2));
  try {
    const became = await millrace.publish(Object.fromEntries(pairs), byId("payload").value);
    outcome.textContent = `${became.outcome}, ${became.receivers ?? 0} receivers`;
  } catch (problem) {
    outcome.textContent = problem.message;
  }
});
