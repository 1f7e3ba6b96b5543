"use strict";
const LATER_MS = 2000; // before another attempt
const FULL = "as many are watching as may; trying again";
const element = (id) => document.getElementById(id);
const wanted = new URLSearchParams(location.search).get("input");
const query = wanted ? "?input=" + encodeURIComponent(wanted) : "";
let events = null;
let rows = [];

function connect() {
  events = new EventSource("stats" + query);
  events.onopen = play;
  events.onmessage = (event) => show(JSON.parse(event.data));
  events.onerror = disconnected;
}

function disconnect() {
  events?.close();
  events = null;
  element("video").removeAttribute("src");
}

async function disconnected() {
  disconnect();
  tell("disconnected", "lost");
  say(await reason());
  setTimeout(() => events || document.hidden || connect(), LATER_MS);
}

// Why the server refuses, in its own words; an EventSource does not say.
async function reason() {
  try {
    const answer = await fetch("stats.json" + query);
    return answer.ok ? FULL : await answer.text();
  } catch {
    return "no answer from the server; trying again";
  }
}

function play() {
  // A new address each time, or the browser would go on with what it has.
  element("video").src = "video.mjpg" + (query || "?") + "&" + Date.now();
  tell("connected", "");
  say("");
}

function refused() {
  if (!events) return;
  say(FULL);
  setTimeout(() => events && play(), LATER_MS);
}

function tell(state, kind) {
  element("state").textContent = state;
  element("state").className = kind;
}

function say(message) {
  element("message").textContent = message;
  element("message").hidden = !message;
}

function show(figures) {
  const frame = figures.frame;
  element("input").textContent = figures.input;
  document.title = figures.input + " – fcnrt";
  offer(figures.inputs, figures.input);
  if (figures.ended) tell("ended", "");
  else if (!frame) tell("waiting for the first frame", "");
  else tell("live", "live");
  element("rate").textContent = figures.rate.toFixed(1);
  element("age").textContent = frame ? frame.age_ms : "–";
  element("size").textContent = frame ? frame.width + " × " + frame.height : "–";
  element("dropped").textContent = figures.frames.dropped ?? "–";
  element("of").textContent = figures.frames.decoded === undefined ? "" : "of " + figures.frames.decoded;
  showClasses(figures.classes);
  note("faults", Object.entries(figures.faults).map(([name, count]) => count + " " + name));
}

function note(id, parts) {
  element(id).textContent = parts.join(", ");
  element(id).hidden = !parts.length;
}

function showClasses(classes) {
  if (rows.length !== classes.length) {
    rows = classes.map(row);
    element("classes").replaceChildren(...rows);
  }
  classes.forEach((each, index) => {
    const [, , bar, share] = rows[index].children;
    rows[index].hidden = !each.minute && !each.share;
    bar.children[0].style.width = 100 * each.minute + "%";
    bar.children[1].style.left = 100 * each.share + "%";
    share.textContent = (100 * each.minute).toFixed(1) + " %";
  });
  const unseen = classes.filter((each, index) => rows[index].hidden).map((each) => each.name);
  note("unseen", unseen.length ? ["not seen: " + unseen.join(", ")] : []);
}

function row(each) {
  const made = document.createElement("li");
  for (const name of ["swatch", "name", "bar", "share"]) {
    made.append(Object.assign(document.createElement("span"), { className: name }));
  }
  made.children[0].style.background = each.color;
  made.children[1].textContent = made.children[1].title = each.name;
  made.children[2].append(document.createElement("i"), document.createElement("b"));
  made.children[2].firstChild.style.background = each.color;
  return made;
}

function offer(inputs, chosen) {
  const list = element("inputs");
  list.hidden = inputs.length < 2;
  element("input").hidden = !list.hidden;
  if (list.length === inputs.length) return;
  list.replaceChildren(...inputs.map((name) => new Option(name, name, false, name === chosen)));
  list.onchange = () => location.assign("?input=" + encodeURIComponent(list.value));
}

// Browsers open few connections to one server, and nobody watches a page in the background.
document.addEventListener("visibilitychange", () => {
  disconnect();
  if (!document.hidden) connect();
});
element("video").onerror = refused;
connect();
