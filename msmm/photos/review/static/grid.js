// Many photographs of one keyword: select some, and accept or reject the keyword for them.

import { $, address, attempt, finish, make, percent, request, say, showProgress } from "./review.js";

const PAGE = 60; // photographs
const state = { start: 0, total: 0, items: [], selected: new Set(), view: null, ready: false, loads: 0 };

export const keys = {
  s: selectAll,
  a: () => decide(true),
  r: () => decide(false),
  v: () => {
    const index = focusedIndex();
    if (index !== null) state.view(index);
  },
  ArrowRight: () => moveFocus(1),
  ArrowLeft: () => moveFocus(-1),
  ArrowDown: () => moveFocus(columns()),
  ArrowUp: () => moveFocus(-columns()),
};

// Opens the grid; view: called with the photograph that the person wants to see.
export async function start(view) {
  state.view = view;
  if (!state.ready) {
    state.ready = true;
    for (const id of ["grid-label", "grid-order", "grid-shown"]) $(id).onchange = () => load(0);
    $("controls").onsubmit = (event) => event.preventDefault();
    $("select-all").onclick = selectAll;
    $("grid-accept").onclick = () => decide(true);
    $("grid-reject").onclick = () => decide(false);
    $("grid-on").onclick = () => load(state.start + PAGE);
    $("grid-back").onclick = () => load(Math.max(0, state.start - PAGE));
  }
  await listLabels();
  await load(0);
  if (!tiles().length) $("grid-label").focus();
}

async function listLabels() {
  const labels = await attempt(() => request("api/labels"));
  if (!labels) return;
  const chosen = $("grid-label").value;
  const options = labels.map(({ label, proposed }) =>
    make("option", { value: label, textContent: proposed ? `${label} (${proposed})` : label }),
  );
  $("grid-label").replaceChildren(...options);
  if (chosen) $("grid-label").value = chosen;
}

export async function load(start = state.start) {
  const number = ++state.loads;
  const query = new URLSearchParams({
    label: $("grid-label").value,
    order: $("grid-order").value,
    shown: $("grid-shown").value,
    start: String(start),
    count: String(PAGE),
  });
  const answer = await attempt(() => request(`api/grid?${query}`));
  if (!answer || number !== state.loads) return; // a later choice is under way or shown
  if (!answer.items.length && start) return load(Math.max(0, start - PAGE));
  showProgress(answer.progress);
  Object.assign(state, { start, total: answer.total, items: answer.items });
  state.selected = new Set();
  render();
}

function render() {
  const end = state.start + state.items.length;
  $("grid-count").textContent = !state.total ? "none" : `${state.start + 1}–${end} of ${state.total}`;
  $("tiles").replaceChildren(...state.items.map((item, i) => make("li", {}, tile(item, i))));
  $("grid-back").hidden = !state.start;
  $("grid-on").hidden = end >= state.total;
  showSelection();
}

function tile(item, i) {
  const button = make(
    "button",
    { type: "button", className: "tile", title: item.name, onclick: () => toggle(item.index) },
    make("img", { src: address(item.index, "small"), alt: item.name, loading: "lazy" }),
  );
  if (item.probability !== null) button.append(make("span", { textContent: percent(item.probability) }));
  button.ondblclick = () => state.view(item.index);
  button.tabIndex = i ? -1 : 0; // the arrow keys move between them
  button.dataset.index = item.index;
  return button;
}

function tiles() {
  return [...document.querySelectorAll(".tile")];
}

function focusedIndex() {
  const index = document.activeElement.dataset?.index;
  return index === undefined ? null : Number(index);
}

function columns() {
  return getComputedStyle($("tiles")).gridTemplateColumns.split(" ").length;
}

function moveFocus(by) {
  const all = tiles();
  if (!all.length) return;
  const at = all.indexOf(document.activeElement);
  const next = at < 0 ? 0 : Math.min(all.length - 1, Math.max(0, at + by));
  for (const other of all) other.tabIndex = -1;
  all[next].tabIndex = 0;
  all[next].focus();
}

function toggle(index) {
  if (!state.selected.delete(index)) state.selected.add(index);
  showSelection();
}

function selectAll() {
  const all = state.selected.size < state.items.length;
  state.selected = new Set(all ? state.items.map((item) => item.index) : []);
  showSelection();
}

function showSelection() {
  for (const button of tiles()) {
    button.setAttribute("aria-pressed", String(state.selected.has(Number(button.dataset.index))));
  }
  const count = state.selected.size;
  const some = state.items.length > 0;
  $("select-all").textContent = some && count === state.items.length ? "Select none" : "Select all";
  $("select-all").disabled = !some;
  $("grid-accept").textContent = count ? `Accept for ${count}` : "Accept";
  $("grid-reject").textContent = count ? `Reject for ${count}` : "Reject";
  $("grid-accept").disabled = $("grid-reject").disabled = !count;
}

async function decide(accept) {
  if (!state.selected.size) {
    say("select photographs first: Space, or S for all");
    return;
  }
  const label = $("grid-label").value;
  const indices = [...state.selected];
  const answer = await attempt(() => request("api/label", { label, accept, indices }));
  if (!answer) return;
  await listLabels();
  await load();
  finish(answer, `“${label}” ${accept ? "accepted" : "rejected"} for ${indices.length}.`);
  tiles()[0]?.focus();
}
