// What the gallery does beyond plain links: it loads pages as one scrolls, opens images over the grid, keeps a
// selection, takes dropped pictures and keys. Without it every link still leads to a whole page.
"use strict";

const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
const grid = $("#grid"), view = $("#view"), tray = $("#tray"), banner = $("#banner"), toast = $("#toast");
const TWO_SCREENS = "200% 0px";

// ---- Talk with the server ------------------------------------------------------------------------------------------

let again = null; // what the banner's button tries once more

function complain(text, retry) {
  again = retry || null;
  $("span", banner).textContent = text;
  $("button", banner).textContent = retry ? "Try again" : "Close";
  banner.hidden = false;
}

$("button", banner).addEventListener("click", () => {
  banner.hidden = true;
  if (again) again();
});

let toastEnds = 0;
function say(text) {
  clearTimeout(toastEnds);
  toast.textContent = text;
  toastEnds = setTimeout(() => { toast.textContent = ""; }, 4000);
}

async function reach(url, options) {
  // The answer, when there is one and it is good; else the banner says why not, and null is returned.
  const retry = options && options.retry;
  let answer;
  try {
    answer = await fetch(url, { credentials: "same-origin", ...options });
  } catch {
    complain("picto does not answer. Run picto browse again, and open the address that it prints.", retry);
    return null;
  }
  if (answer.ok) {
    banner.hidden = true;
    return answer;
  }
  if (answer.status === 403) complain("This address is no longer good: open the one that picto browse printed.");
  else {
    const said = await sentence(answer);
    complain(said || `picto could not answer (${answer.status}).`, answer.status >= 500 ? retry : null);
  }
  return null;
}

async function sentence(answer) {
  // An error is a page whose <main> says what happened, or JSON with a sentence and a remedy.
  const text = await answer.text();
  if ((answer.headers.get("content-type") || "").includes("json")) {
    const { error, hint } = JSON.parse(text);
    return hint ? `${error}: ${hint}` : error;
  }
  const said = $("main p", new DOMParser().parseFromString(text, "text/html"));
  return said ? said.innerText || said.textContent.trim() : "";
}

async function fragment(url, retry) {
  const answer = await reach(url, { headers: { "X-Fragment": "1" }, retry });
  if (!answer) return null;
  const holder = document.createElement("template");
  holder.innerHTML = await answer.text(); // made by our own templates, which escape every name
  return holder.content;
}

// ---- Grid: pages ---------------------------------------------------------------------------------------------------

const cells = () => $$(".cell", grid || document);
const current = () => (grid && $(".cell > .open[tabindex='0']", grid)?.parentElement) || null;

function settle(root) {
  // One Tab stop for the whole grid: the arrows do the rest.
  for (const link of $$(".cell a, .cell button", root)) link.tabIndex = -1;
  for (const cell of $$(".cell", root)) mark(cell);
  if (!current() && cells()[0]) $(".open", cells()[0]).tabIndex = 0;
}

function even(page) {
  // A page's last row is seldom full. Its last three rows are broken anew, into two or three that are about equally
  // full: a page keeps its cells then, and nothing moves when the next one comes.
  const list = $(".cells", page), all = $$(".cell", list), style = getComputedStyle(list);
  const row = parseFloat(style.getPropertyValue("--row")), gap = parseFloat(style.columnGap), width = list.clientWidth;
  for (const each of $$(".break", list)) each.remove();
  list.classList.add("whole");
  const sizes = all.map((cell) => parseFloat(getComputedStyle(cell).getPropertyValue("--r")) * row + gap);
  const starts = [];
  let used = Infinity;
  sizes.forEach((size, at) => {
    if (used + size > width + gap) { starts.push(at); used = size; } else used += size;
  });
  const from = starts.at(-Math.min(3, starts.length)), tail = sizes.slice(from);
  const whole = tail.reduce((sum, size) => sum + size, 0), rows = Math.max(1, Math.round(whole / (width + gap)));
  let sum = 0, full = 0;
  all.forEach((cell, at) => cell.classList.toggle("tail", at >= from));
  tail.forEach((size, at) => {
    const next = Math.floor((sum + size / 2) / whole * rows); // the row that a cell's middle falls into
    if (next > full && at) {
      const stop = document.createElement("li");
      stop.className = "break";
      stop.setAttribute("role", "presentation");
      all[from + at].before(stop);
      full = next;
    }
    sum += size;
  });
}

function evenAll() {
  const pages = $$(".page", grid);
  pages.forEach((page, at) => {
    if (at < pages.length - 1 || $("[rel=next]", grid)) even(page);
  });
}

let loading = { next: null, prev: null };
function load(which) {
  loading[which] ||= loadPage(which).finally(() => { loading[which] = null; });
  return loading[which];
}

async function loadPage(which) {
  const link = grid && $(`.more-pages [rel=${which}]`, grid);
  if (!link) return false;
  const label = link.textContent;
  link.textContent = "Loading…";
  const part = await fragment(link.dataset.page, () => load(which));
  if (!part) {
    link.textContent = label;
    return false;
  }
  const page = $(".page", part), onward = $(`.more-pages [rel=${which}]`, part);
  settle(part);
  const put = () => {
    // The link makes room for the page and the next link: a new one, so that nothing that is seen moves.
    const found = which === "next" ? [page, onward?.parentElement] : [onward?.parentElement, page];
    link.parentElement.replaceWith(...found.filter(Boolean));
    if (which === "prev" || onward) even(page);
  };
  if (which === "next") put();
  else keepingPlace(put);
  if (onward) watch(onward);
  return true;
}

function keepingPlace(change) {
  const held = topCell(), before = held && held.getBoundingClientRect().top;
  document.documentElement.classList.add("unanchored");
  change();
  if (held) scrollBy({ top: held.getBoundingClientRect().top - before, behavior: "instant" });
  requestAnimationFrame(() => document.documentElement.classList.remove("unanchored"));
}

const near = "IntersectionObserver" in window && new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) load(entry.target.rel);
}, { rootMargin: TWO_SCREENS });

function watch(link) {
  if (!near) return;
  near.unobserve(link);
  near.observe(link);
}

// ---- Grid: the place is kept in the address ------------------------------------------------------------------------

function topCell() {
  const list = grid && $(".cells", grid);
  if (!list) return null;
  const x = list.getBoundingClientRect().left + 12, bar = $(".bar").offsetHeight;
  for (let y = bar + 10; y < innerHeight; y += 40) {
    const cell = document.elementsFromPoint(x, y).find((each) => each.closest("#grid .cell"));
    if (cell) return cell.closest(".cell");
  }
  return null;
}

function keepPlace() {
  if (!grid || (view && view.open) || document.body.dataset.leaving) return;
  const here = new URL(location), top = topCell(), beginning = !$("[rel=prev]", grid);
  here.hash = "";
  if (!top || (beginning && top === cells()[0])) here.searchParams.delete("at");
  else here.searchParams.set("at", top.dataset.at);
  const state = { id: top && top.dataset.id, top: top && top.getBoundingClientRect().top };
  history.replaceState(state, "", here);
}

async function returnToPlace() {
  history.scrollRestoration = "manual";
  const wanted = history.state && document.getElementById(`i${history.state.id}`);
  const hashed = /^#i\d+$/.test(location.hash) && document.getElementById(location.hash.slice(1));
  const cell = wanted || hashed;
  if (cell) {
    const top = wanted ? history.state.top : $(".bar").offsetHeight + 12;
    const go = () => scrollBy({ top: cell.getBoundingClientRect().top - top, behavior: "instant" });
    go();
    if (hashed) focusOn(cell, false);
    if ($("[rel=prev]", grid)) {
      await load("prev");
      go();
    }
  }
  for (const link of $$(".more-pages a", grid)) watch(link);
}

// ---- Selection -----------------------------------------------------------------------------------------------------

const KEPT = `picto-selected ${document.body.dataset.library}`; // another library may be served here later
const MOST = 10000; // as many as the server takes at once
let selected = new Map(JSON.parse(sessionStorage.getItem(KEPT) || "[]")); // id → address of a thumbnail
let touched = null, origin = null;

function mark(cell) {
  const on = selected.has(cell.dataset.id);
  cell.classList.toggle("chosen", on);
  $(".pick", cell)?.setAttribute("aria-pressed", on);
}

function showTray() {
  const ids = [...selected.keys()];
  tray.hidden = !ids.length;
  document.body.classList.toggle("choosing", ids.length > 0);
  $(".count", tray).textContent = `${ids.length.toLocaleString("en")} selected`;
  $("input[name=ids]", tray).value = ids.join(",");
  $(".stack", tray).replaceChildren(...[...selected.values()].slice(-4).map((src) => {
    const picture = new Image(32, 32);
    picture.src = src;
    picture.alt = "";
    return picture;
  }));
  for (const button of $$(".detail .select")) {
    const on = selected.has(button.closest(".detail").dataset.id);
    button.setAttribute("aria-pressed", on);
    $(".words", button).textContent = on ? "Selected" : "Select";
  }
  const holder = view && view.open ? view : document.body; // what lies under a dialog can neither be seen nor reached
  for (const each of [tray, banner, toast]) if (each.parentElement !== holder) holder.append(each);
  sessionStorage.setItem(KEPT, JSON.stringify([...selected]));
}

function select(id, src, on = !selected.has(id)) {
  if (on && selected.size >= MOST) return say(`No more than ${MOST.toLocaleString("en")} can be selected at once`);
  if (on) selected.set(id, src);
  else selected.delete(id);
  const cell = document.getElementById(`i${id}`);
  if (cell) mark(cell);
  return undefined;
}

const selectCell = (cell, on) => select(cell.dataset.id, $("img", cell).getAttribute("src"), on);

function selectRange(from, to) {
  const all = cells(), [first, last] = [all.indexOf(from), all.indexOf(to)].sort((a, b) => a - b);
  for (const cell of all.slice(Math.max(first, 0), last + 1)) selectCell(cell, true);
  showTray();
}

function unselect() {
  selected.clear();
  cells().forEach(mark);
  showTray();
  say("Nothing is selected");
}

async function copyPaths() {
  const body = JSON.stringify({ ids: [...selected.keys()].map(Number) });
  const headers = { "Content-Type": "application/json" };
  const answer = await reach("/paths", { method: "POST", headers, body, retry: copyPaths });
  if (!answer) return undefined;
  const { paths, left_out: left } = await answer.json(), text = paths.join("\n");
  const copied = `Copied ${paths.length === 1 ? "1 path" : `${paths.length.toLocaleString("en")} paths`}`;
  const has = [...new Set(left.map((each) => each.has))].join(" or "); // what a shell would not take as text
  const whose = left.length === 1 ? "its name has" : "their names have";
  const rest = left.length ? `; ${left.length.toLocaleString("en")} left out: ${whose} ${has}` : "";
  if (!paths.length) return say(`Nothing is copied${rest}`);
  try {
    await navigator.clipboard.writeText(text);
    say(copied + rest);
  } catch { // no permission: to be copied by hand
    $("#paths textarea").value = text;
    $("#paths p").textContent = rest.slice(2);
    $("#paths").showModal();
    $("#paths textarea").select();
  }
  return undefined;
}

$("#copy").addEventListener("click", copyPaths);
$("#unselect").addEventListener("click", unselect);

// ---- One image over the grid ---------------------------------------------------------------------------------------

const shown = () => (view && view.open ? $(".detail", view) : $("#alone .detail"));
let wantedPanel = "", scrolled = 0;

async function open(panel, href, { push = false } = {}) {
  wantedPanel = panel;
  const part = await fragment(panel, () => open(panel, href, { push }));
  if (!part || wantedPanel !== panel) return;
  const held = document.activeElement?.closest?.(".step, .leaves") && document.activeElement.getAttribute("rel");
  if (!view) return void location.assign(href);
  view.replaceChildren(part);
  if (push) history.pushState({ over: true, panel }, "", href);
  else history.replaceState({ over: true, panel }, "", href);
  if (!view.open) {
    scrolled = scrollY; // a wheel may move what lies under the dialog
    view.showModal();
  }
  document.title = `${shown().dataset.title} — picto`;
  dress(shown());
  showTray();
  (held && $(`[rel=${held}]`, view) || $(".close", view)).focus({ preventScroll: true });
  const cell = document.getElementById(`i${shown().dataset.id}`);
  if (!cell || cells().indexOf(cell) > cells().length - 20) load("next"); // so that closing finds it in the grid
}

function dress(detail) {
  $(".leaves [aria-current]", detail)?.scrollIntoView({ block: "nearest", inline: "center" });
}

function leave() {
  // From an image back to the grid, to where the image stands in it.
  const detail = shown(), cell = document.getElementById(`i${detail.dataset.id}`);
  if (view && view.open && cell) history.back(); // popstate closes it
  else if (view && view.open) location.replace(detail.dataset.back);
  else location.assign(detail.dataset.back);
}

function closeView() {
  const id = shown()?.dataset.id;
  wantedPanel = "";
  view.close();
  view.replaceChildren();
  scrollTo({ top: scrolled, behavior: "instant" });
  document.title = pageTitle;
  showTray();
  const cell = id && document.getElementById(`i${id}`);
  if (!cell) return;
  $(".viewed")?.classList.remove("viewed");
  cell.classList.add("viewed");
  focusOn(cell);
}

const pageTitle = document.title;

addEventListener("popstate", (event) => {
  if (event.state?.over && view) open(event.state.panel, location.href);
  else if (view && view.open) closeView();
});

view?.addEventListener("cancel", (event) => { // a phone's back gesture, or Esc where our keys are off
  event.preventDefault();
  leave();
});

function toggleAbout() {
  const off = document.body.classList.toggle("no-about");
  sessionStorage.setItem("picto-about", off ? "off" : "on");
}

// ---- Keys ----------------------------------------------------------------------------------------------------------

const KEYS = "picto-keys"; // "off" in localStorage: no single-key shortcuts (WCAG 2.1.4)
const keysOn = () => localStorage.getItem(KEYS) !== "off";

function focusOn(cell, scroll = true) {
  for (const link of $$(".cell > .open[tabindex='0']", grid)) link.tabIndex = -1;
  const link = $(".open", cell);
  link.tabIndex = 0;
  link.focus({ preventScroll: true });
  if (scroll) cell.scrollIntoView({ block: "nearest", behavior: "instant" });
}

function neighbour(cell, key) {
  const all = cells(), at = all.indexOf(cell);
  if (key === "ArrowLeft" || key === "ArrowRight") return all[at + (key === "ArrowLeft" ? -1 : 1)];
  const step = key === "ArrowUp" ? -1 : 1, box = cell.getBoundingClientRect(), middle = box.left + box.width / 2;
  let best = null, least = Infinity, line = null;
  for (let i = at + step; all[i]; i += step) {
    const other = all[i].getBoundingClientRect();
    if (Math.abs(other.top - box.top) < 4) continue; // still the same row
    line ??= other.top;
    if (Math.abs(other.top - line) >= 4) break; // a row further
    const off = Math.abs(other.left + other.width / 2 - middle);
    if (off < least) [best, least] = [all[i], off];
  }
  return best;
}

async function move(key, ranging) {
  const from = current();
  if (!from) return;
  const focused = grid.contains(document.activeElement);
  let to = focused ? neighbour(from, key) : from;
  if (!to && (key === "ArrowDown" || key === "ArrowRight") && await load("next")) to = neighbour(from, key);
  if (!to) return;
  if (ranging) {
    origin ??= from;
    selectRange(origin, to);
  } else origin = null;
  focusOn(to);
}

function escape() {
  // One level at a time: the topmost thing that is open.
  if (!banner.hidden) banner.hidden = true;
  else if (shown()) leave();
  else if (selected.size) unselect();
  else if (document.activeElement?.matches("input, select")) document.activeElement.blur();
  else return false;
  return true;
}

function press(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented || event.isComposing) return;
  if ($("dialog.sheet[open]") || (event.key === "Escape" && $("#facets:popover-open"))) return; // the browser's own
  const field = event.target.closest("input:not([type=checkbox]), textarea, select");
  if (event.key === "Escape") {
    if (field) field.blur();
    else if (!escape()) return;
    return void event.preventDefault();
  }
  if (field || !keysOn()) return;
  const detail = shown(), cell = detail ? null : event.target.closest?.(".cell") || current();
  const does = {
    "/": () => { if (!$("#q")) return false; if (detail) return false; $("#q").focus(); $("#q").select(); return true; },
    "?": () => { $("#help").showModal(); return true; },
    x: () => toggleFocused(detail, cell),
    s: () => go(detail ? detail.dataset.similar : cell && $(".like", cell).href),
    i: () => { if (detail) toggleAbout(); else if (cell) $(".open", cell).click(); return true; },
  }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (does) {
    if (does()) event.preventDefault();
  } else if (/^Arrow(Left|Right|Up|Down)$/.test(event.key) && !event.target.closest("nav, .about, .facets")) {
    if (detail) {
      const link = $({ ArrowLeft: ".step.back", ArrowRight: ".step.on" }[event.key] || "none", detail);
      if (link) { event.preventDefault(); link.click(); }
    } else if (grid) {
      event.preventDefault();
      move(event.key, event.shiftKey);
    }
  }
}

function toggleFocused(detail, cell) {
  if (detail) select(detail.dataset.id, detail.dataset.thumbnail);
  else if (cell) { selectCell(cell); origin = cell; } else return false;
  showTray();
  return true;
}

function go(url) {
  keepPlace();
  if (url) location.assign(url);
  return Boolean(url);
}

addEventListener("keydown", press);
$("#keys-on").checked = keysOn();
$("#keys-on").addEventListener("change", (event) => localStorage.setItem(KEYS, event.target.checked ? "on" : "off"));
$("#help-button")?.addEventListener("click", () => $("#help").showModal());

// ---- Pointer -------------------------------------------------------------------------------------------------------

let pressed = 0, heldLong = false;

addEventListener("pointerdown", (event) => {
  const cell = event.target.closest?.(".cell");
  heldLong = false;
  touched = event.pointerType === "touch";
  if (!cell || !touched || event.target.closest(".pick")) return;
  pressed = setTimeout(() => {
    heldLong = true;
    selectCell(cell);
    showTray();
    navigator.vibrate?.(10);
  }, 500);
});
for (const name of ["pointerup", "pointercancel", "scroll"]) addEventListener(name, () => clearTimeout(pressed), true);
addEventListener("contextmenu", (event) => {
  if (touched && event.target.closest?.(".cell")) event.preventDefault();
});

addEventListener("click", (event) => {
  const plain = !event.ctrlKey && !event.metaKey && !event.altKey && event.button === 0;
  const cell = event.target.closest?.(".cell"), link = event.target.closest?.("a");
  if (cell && (event.target.closest(".pick") || heldLong || (plain && event.shiftKey && selected.size)
    || (touched && selected.size && plain))) {
    event.preventDefault();
    const from = origin && origin.isConnected && event.shiftKey ? origin : null;
    if (from) selectRange(from, cell);
    else if (!heldLong) selectCell(cell);
    if (!from) origin = cell;
    heldLong = false;
    return showTray();
  }
  if (event.target.closest?.(".detail .select")) return void toggleFocused(shown());
  if (event.target.closest?.(".about-button")) return toggleAbout();
  if (!link || !plain || event.shiftKey) return undefined;
  if (link.closest(".detail") && link.classList.contains("close") && view?.open) {
    event.preventDefault();
    return leave();
  }
  if (link.dataset.panel && view) {
    event.preventDefault();
    const over = view.open;
    if (cell) { keepPlace(); focusOn(cell, false); }
    open(link.dataset.panel, link.href, { push: !over });
  } else if (link.dataset.page) {
    event.preventDefault();
    load(link.rel);
  } else if (link.dataset.facets) {
    event.preventDefault();
    facets(link.dataset.facets);
  } else keepPlace();
  return undefined;
});

// A file that went away after it was indexed: the server answers with a grey field, and the alternative text would not
// be seen on it.
addEventListener("error", (event) => event.target.closest?.(".cell")?.classList.add("broken"), true);

// ---- Search by a picture -------------------------------------------------------------------------------------------

async function look(file) {
  say("Looking at the picture…");
  const answer = await reach("/look", { method: "POST", body: file, retry: () => look(file) });
  if (answer) location.assign((await answer.json()).url);
  else say("");
}

let inside = 0;
const carries = (event) => [...(event.dataTransfer?.types || [])].includes("Files");
addEventListener("dragenter", (event) => { if (carries(event) && $("#drop")) { inside += 1; $("#drop").hidden = false; } });
addEventListener("dragleave", (event) => { if (carries(event) && $("#drop") && (inside -= 1) <= 0) $("#drop").hidden = true; });
addEventListener("dragover", (event) => { if (carries(event)) event.preventDefault(); });
addEventListener("drop", (event) => {
  if (!carries(event)) return;
  event.preventDefault(); // else the browser would leave for the file
  inside = 0;
  if ($("#drop")) $("#drop").hidden = true;
  if (event.dataTransfer.files[0]) look(event.dataTransfer.files[0]);
});
addEventListener("paste", (event) => {
  const file = [...(event.clipboardData?.files || [])].find((each) => each.type.startsWith("image/"));
  if (file) look(file);
});
$("#file")?.addEventListener("change", (event) => { if (event.target.files[0]) look(event.target.files[0]); });

// ---- Facets and sliders --------------------------------------------------------------------------------------------

async function facets(url) {
  const part = await fragment(url, () => facets(url));
  const groups = $("#facet-groups");
  if (part) {
    const closed = $$("details.facet:not([open])", groups).map((each) => each.dataset.key);
    groups.replaceChildren(part);
    for (const key of closed) $(`details[data-key="${key}"]`, groups)?.removeAttribute("open");
    slide();
  } else groups.replaceChildren(Object.assign(document.createElement("p"), { className: "wait muted", textContent: "not counted" }));
}

function following(month, by) {
  const [year, at] = month.split("-").map(Number), months = year * 12 + at - 1 + by;
  return `${String(Math.floor(months / 12)).padStart(4, "0")}-${String(months % 12 + 1).padStart(2, "0")}`;
}

function slide() {
  // Two sliders over the months that have images, in place of the two fields for dates.
  const form = $("form.dates");
  if (!form) return; // its own properties are hidden by fields of their names, such as dataset
  const months = $(".months", form).dataset.months.trim().split(" "), [after, before] = $$(".plain-dates input", form);
  const last = months.length - 1;
  const first = after.value ? Math.max(0, months.findIndex((month) => month >= after.value.slice(0, 7))) : 0;
  const end = before.value ? months.findLastIndex((month) => month < before.value.slice(0, 7)) : last;
  $(".plain-dates", form).hidden = true;
  after.disabled = before.disabled = true;
  const make = (label, value) => {
    const whole = document.createElement("label"), output = document.createElement("output");
    const range = Object.assign(document.createElement("input"), { type: "range", min: 0, max: last, step: 1, value });
    whole.append(label, output);
    range.setAttribute("aria-label", `${label} month`);
    form.append(whole, range);
    return [range, output];
  };
  const [[from, fromSays], [to, toSays]] = [make("From", first), make("To", end < 0 ? last : end)];
  const bars = $$(".months rect", form);
  const show = () => {
    for (const [range, output] of [[from, fromSays], [to, toSays]]) {
      output.textContent = range.ariaValueText = months[range.value];
    }
    bars.forEach((bar, at) => bar.classList.toggle("out", at < from.value || at > to.value));
  };
  form.addEventListener("input", (event) => {
    if (event.target === from && +from.value > +to.value) to.value = from.value;
    if (event.target === to && +to.value < +from.value) from.value = to.value;
    show();
  });
  form.addEventListener("change", () => {
    after.disabled = +from.value === 0;
    before.disabled = +to.value === last;
    after.value = months[from.value];
    before.value = following(months[to.value], 1);
    form.requestSubmit();
  });
  show();
}

$(".threshold")?.addEventListener("input", (event) => {
  $("output", event.currentTarget).textContent = Number(event.target.value).toFixed(2);
});
$(".threshold")?.addEventListener("change", (event) => event.currentTarget.requestSubmit());

addEventListener("submit", (event) => {
  if (event.target.method === "dialog" || event.target.closest("#tray")) return;
  document.body.dataset.leaving = "yes"; // so that the line under the bar says that the answer is on its way
});
addEventListener("pageshow", () => { delete document.body.dataset.leaving; });

// ---- Begin ---------------------------------------------------------------------------------------------------------

if (sessionStorage.getItem("picto-about") === "off") document.body.classList.add("no-about");
if (grid) {
  settle(grid);
  evenAll();
  returnToPlace();
  let waits = 0;
  addEventListener("scroll", () => { clearTimeout(waits); waits = setTimeout(keepPlace, 200); }, { passive: true });
  let wide = innerWidth, resized = 0;
  addEventListener("resize", () => {
    if (innerWidth === wide) return;
    wide = innerWidth;
    clearTimeout(resized);
    resized = setTimeout(() => keepingPlace(evenAll), 150);
  });
}
if ($("#alone .detail")) dress(shown());
if ($("#facets[data-late]")) facets($("#facets").dataset.url);
else slide();
showTray();
