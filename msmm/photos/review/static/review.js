// One photograph at a time, and what both views share: requests, messages, progress, undo.

import * as grid from "./grid.js";

const token = new URLSearchParams(location.search).get("token") || "";
export const $ = (id) => document.getElementById(id);
const drafts = new Map(); // what was ticked and added, but not yet accepted, by photograph
const walk = { index: 0, photo: null, order: null, waiting: 0, asked: 0 };
let folder = null;

// Sends a request and returns the answer; an error has a message for the person.
export async function request(path, content) {
  const options = { headers: { "X-Token": token } };
  if (content !== undefined) {
    options.method = "POST";
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(content);
  }
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("the review does not answer: is it still running in the terminal?");
  }
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error);
  return body;
}

export function say(text, isError = false) {
  $("message").textContent = text;
  $("message").classList.toggle("error", isError);
}

// Runs an action of the person, and shows what it fails with.
export async function attempt(action) {
  try {
    return await action();
  } catch (error) {
    say(error.message, true);
    return null;
  }
}

export function address(index, size) {
  return `photo?index=${index}&size=${size}&token=${encodeURIComponent(token)}`;
}

export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

export function percent(probability) {
  return probability === null ? "" : `${Math.round(100 * probability)}%`;
}

export function showProgress(progress) {
  const count = folder.photos - progress.unreadable;
  const computed = progress.ready < folder.photos ? `, keywords of ${progress.ready} computed` : "";
  $("progress-text").textContent = `${progress.complete} of ${count} reviewed${computed}`;
  $("progress").max = Math.max(1, count);
  $("progress").value = progress.complete;
  $("undo").disabled = !progress.undo;
  if (progress.failure) say(`no more keywords are computed: ${progress.failure}`, true);
  return progress;
}

// Shows what came with an answer: the progress, and warnings in place of the message.
export function finish(answer, text) {
  showProgress(answer.progress);
  say(answer.warnings.length ? answer.warnings.join("; ") : text, answer.warnings.length > 0);
}

function keywords() {
  return walk.photo === null ? [] : walk.photo.keywords.concat(walk.photo.added || []);
}

function toggle(entry) {
  if (walk.photo === null) return; // still the keywords of the photograph before
  entry.on = !entry.on;
  keep();
  render();
}

function keep() {
  drafts.set(walk.index, walk.photo);
}

function keywordButton(entry, number) {
  const notes = { own: "yours", annotated: "annotated", added: "added", proposed: "" };
  const button = make(
    "button",
    { type: "button", className: "keyword", onclick: () => toggle(entry) },
    make("span", { className: "tick" }),
    make("bdi", { textContent: entry.label }),
    make("small", { textContent: notes[entry.source] }),
    make("span", { className: "chance", textContent: percent(entry.probability) }),
  );
  button.setAttribute("aria-pressed", String(entry.on));
  if (number <= 9) {
    button.title = `Key ${number}`;
    button.setAttribute("aria-keyshortcuts", String(number));
  }
  if (entry.probability !== null) {
    const space = "http://www.w3.org/2000/svg";
    const bar = document.createElementNS(space, "svg");
    const rect = document.createElementNS(space, "rect");
    bar.setAttribute("viewBox", "0 0 100 1");
    bar.setAttribute("preserveAspectRatio", "none");
    bar.setAttribute("aria-hidden", "true");
    rect.setAttribute("width", String(100 * entry.probability));
    rect.setAttribute("height", "1");
    bar.append(rect);
    button.append(bar);
  }
  return make("li", {}, button);
}

function render() {
  const photo = walk.photo;
  const focused = [...document.querySelectorAll(".keyword")].indexOf(document.activeElement);
  const on = keywords().filter((entry) => entry.on).length;
  $("name").textContent = photo.name;
  $("reviewed").hidden = !photo.complete;
  $("waiting").hidden = photo.ready;
  $("unreadable").hidden = !photo.cause;
  $("unreadable").textContent = photo.cause ? `cannot be reviewed: ${photo.cause}` : "";
  $("picture").hidden = Boolean(photo.cause);
  $("keywords").replaceChildren(...keywords().map((entry, i) => keywordButton(entry, i + 1)));
  const shown = new Set(keywords().map((entry) => entry.label));
  const more = photo.more.filter((entry) => !shown.has(entry.label));
  $("more-part").hidden = !more.length;
  $("more").replaceChildren(
    ...more.map((entry) => {
      const chance = make("span", { textContent: percent(entry.probability) });
      const add = () => addKeyword(entry.label, entry.probability);
      const text = make("bdi", { textContent: entry.label });
      const button = make("button", { type: "button", onclick: add }, "+ ", text, " ", chance);
      return make("li", {}, button);
    }),
  );
  const unusable = !photo.ready || Boolean(photo.cause);
  $("accept").disabled = unusable;
  $("word").disabled = unusable;
  $("accept").textContent = on === 1 ? "Accept 1 keyword" : on ? `Accept ${on} keywords` : "Accept: no keyword";
  if (focused >= 0) document.querySelectorAll(".keyword")[focused]?.focus();
}

function addKeyword(text, probability = null) {
  const label = text.trim().replace(/\s+/g, " ");
  if (!label || !walk.photo?.ready) return;
  const same = (entry) => entry.label.toLowerCase() === label.toLowerCase();
  const present = keywords().find(same);
  if (present) {
    present.on = true;
  } else {
    const known = walk.photo.more.find(same);
    const entry = { label, probability: known?.probability ?? probability, source: "added", on: true };
    walk.photo.added = (walk.photo.added || []).concat([{ ...entry, fresh: true }]);
  }
  keep();
  render();
}

export async function show(index) {
  clearTimeout(walk.waiting);
  const asked = ++walk.asked;
  const isNew = walk.index !== index || !$("picture").getAttribute("src");
  if (isNew) {
    // At once, so that several presses of a key count; nothing can be decided meanwhile.
    Object.assign(walk, { index, photo: null });
    $("accept").disabled = true;
    $("picture").src = address(index, "large");
  }
  const photo = drafts.get(index) || (await attempt(() => request(`api/photo?index=${index}`)));
  if (!photo || asked !== walk.asked) return; // another one was asked for meanwhile
  walk.photo = photo;
  $("picture").alt = photo.name;
  render();
  if (!photo.ready) {
    walk.waiting = setTimeout(() => show(index), 400);
    return;
  }
  const following = step(1);
  if (following !== null) new Image().src = address(following, "large");
}

// Returns the photograph some steps away in the chosen order, or null at an end.
function step(by) {
  if (!walk.order) {
    const index = walk.index + by;
    return index >= 0 && index < folder.photos ? index : null;
  }
  return walk.order[walk.order.indexOf(walk.index) + by] ?? null;
}

function move(by) {
  const index = step(by);
  if (index === null) say(by > 0 ? "this is the last photograph" : "this is the first photograph");
  else {
    say("");
    show(index);
  }
}

async function accept() {
  if ($("accept").disabled) return;
  $("accept").disabled = true;
  const index = walk.index;
  const content = {
    index,
    keywords: keywords().filter((entry) => entry.on).map((entry) => entry.label),
    rejected: keywords().filter((entry) => !entry.on && !entry.fresh).map((entry) => entry.label),
  };
  const answer = await attempt(() => request("api/decide", content));
  $("accept").disabled = false;
  if (!answer) return;
  drafts.delete(index);
  const next = walk.order ? step(1) : answer.next;
  const done = answer.progress.complete >= folder.photos - answer.progress.unreadable;
  finish(answer, done ? "All photographs are reviewed." : "");
  await show(next === null || done ? index : next);
}

async function undo() {
  const answer = await attempt(() => request("api/undo", {}));
  if (!answer) return;
  drafts.clear();
  finish(answer, "The last decision is undone.");
  if ($("grid").hidden) await show(answer.index ?? walk.index);
  else await grid.load();
}

export function open(view) {
  const isGrid = view === "grid";
  $("walk").hidden = isGrid;
  $("grid").hidden = !isGrid;
  $("show-walk").setAttribute("aria-pressed", String(!isGrid));
  $("show-grid").setAttribute("aria-pressed", String(isGrid));
  say("");
}

async function openWalk(index = walk.index) {
  open("walk");
  drafts.delete(index);
  await show(index);
  $("main").focus();
}

async function openGrid() {
  open("grid");
  await grid.start(openWalk);
}

async function chooseOrder() {
  walk.order = null;
  if ($("walk-order").value === "unsure") {
    walk.order = await attempt(() => request("api/order?order=unsure"));
    if (walk.order?.length) await show(walk.order[0]);
  }
  $("main").focus();
}

function press(event) {
  const target = event.target;
  if (event.ctrlKey || event.metaKey || event.altKey || $("keys").open) return;
  if (target.matches("input, select, textarea")) {
    if (event.key === "Escape") $("main").focus();
    return;
  }
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const everywhere = { u: undo, o: () => openWalk(), g: openGrid, "?": () => $("keys").showModal() };
  const here = {
    a: accept,
    n: () => $("word").focus(),
    "/": () => $("word").focus(),
    ArrowRight: () => move(1),
    ArrowLeft: () => move(-1),
  };
  if (!target.matches("button, a")) here.Enter = accept;
  for (let number = 1; number <= 9; number++) {
    here[number] = () => keywords()[number - 1] && toggle(keywords()[number - 1]);
  }
  const action = everywhere[key] || ($("grid").hidden ? here[key] : grid.keys[key]);
  if (action) {
    event.preventDefault();
    action();
  }
}

// Asks how many proposals are computed until all are.
async function watch() {
  const progress = await attempt(async () => showProgress(await request("api/progress")));
  if (progress && progress.ready < folder.photos && !progress.failure) setTimeout(watch, 1500);
}

async function begin() {
  folder = await request("api/folder");
  document.title = `Review: ${folder.folder}`;
  $("folder").textContent = folder.folder;
  $("labels").append(...folder.labels.map((label) => make("option", { value: label })));
  showProgress(folder.progress);
  $("accept").onclick = accept;
  $("previous").onclick = () => move(-1);
  $("next").onclick = () => move(1);
  $("undo").onclick = undo;
  $("show-walk").onclick = () => openWalk();
  $("show-grid").onclick = openGrid;
  $("show-keys").onclick = () => $("keys").showModal();
  $("walk-order").onchange = chooseOrder;
  $("add").onsubmit = (event) => {
    event.preventDefault();
    addKeyword($("word").value);
    $("word").value = "";
  };
  document.addEventListener("keydown", press);
  await show(folder.start);
  $("main").focus();
  watch();
}

attempt(begin);
