
"use strict";
(() => {
  const atlas = JSON.parse(document.getElementById("atlas").textContent);
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const X = new Uint16Array(bytes(atlas.x).buffer), Y = new Uint16Array(bytes(atlas.y).buffer);
  const level = bytes(atlas.level), region = new Uint16Array(bytes(atlas.region).buffer);
  const ids = new Float64Array(bytes(atlas.id).buffer);
  const blank = new Set(atlas.blank), count = X.length, along = Math.floor(2048 / atlas.side);
  const canvas = document.getElementById("map"), draw = canvas.getContext("2d"), tip = document.getElementById("tip");
  const list = document.getElementById("list"), picked = document.getElementById("picked");
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const view = { x: 0, y: 0, scale: 1 };  // the corner of the window, and px for the longer side of the map
  let fit = 1, wide = 1, high = 1, chosen = -1, waiting = false, moving = 0;
  const sheets = atlas.sheets.map((source) => { const image = new Image(); image.onload = ask; image.src = source; return image; });

  // -- what is where --------------------------------------------------------------------------------------------

  const x = (at) => X[at] / 65535, y = (at) => Y[at] / 65535;
  const colour = (at) => atlas.regions[region[at]].colour;
  const depth = () => Math.max(0, Math.min(atlas.depth - 1, Math.floor(Math.log2(view.scale / fit) + 1e-6)));
  const pictured = (at) => at < atlas.shown && !blank.has(at);
  const grids = [];

  function grid(k) {  // the cells of one zoom: which image stands for each, and which are in it
    if (grids[k]) return grids[k];
    const cells = atlas.cells << k, found = new Map();
    for (let at = 0; at < count; at++) {
      const cx = Math.min(cells - 1, Math.floor(x(at) * cells)), cy = Math.min(cells - 1, Math.floor(y(at) * cells));
      const key = cy * cells + cx, cell = found.get(key);
      if (cell) { cell.held.push(at); if (level[at] < level[cell.face]) cell.face = at; }
      else found.set(key, { cx, cy, face: at, held: [at] });
    }
    return (grids[k] = { cells, found });
  }

  function cellOf(at, k) {
    const { cells, found } = grid(k);
    const cx = Math.min(cells - 1, Math.floor(x(at) * cells)), cy = Math.min(cells - 1, Math.floor(y(at) * cells));
    return found.get(cy * cells + cx);
  }

  // -- drawing --------------------------------------------------------------------------------------------------

  function ask() { if (!waiting) { waiting = true; requestAnimationFrame(paint); } }

  function tile(to, at, left, top, size) {
    const sheet = sheets[Math.floor(at / (along * along))], within = at % (along * along);
    if (!sheet.complete || !sheet.naturalWidth) return;
    to.drawImage(sheet, (within % along) * atlas.side, Math.floor(within / along) * atlas.side, atlas.side, atlas.side,
      left, top, size, size);
  }

  function paint() {
    waiting = false;
    const k = depth(), { cells, found } = grid(k), size = view.scale / cells, edge = Math.max(1.5, size / 32);
    const ratio = devicePixelRatio || 1;
    draw.setTransform(ratio, 0, 0, ratio, 0, 0);
    draw.fillStyle = "#121214";
    draw.fillRect(0, 0, wide, high);
    draw.imageSmoothingQuality = "high";
    const badges = [];
    for (const cell of found.values()) {
      const left = cell.cx * size - view.x, top = cell.cy * size - view.y;
      if (left > wide || top > high || left + size < 0 || top + size < 0) continue;
      draw.fillStyle = colour(cell.face);
      if (!pictured(cell.face)) {
        for (const at of cell.held) {
          draw.fillStyle = colour(at);
          draw.beginPath();
          draw.arc(x(at) * view.scale - view.x, y(at) * view.scale - view.y, 2.5, 0, 7);
          draw.fill();
        }
        continue;
      }
      const inner = size * 0.96;
      draw.beginPath();
      draw.roundRect(left, top, inner, inner, edge);
      draw.fill();
      tile(draw, cell.face, left + edge, top + edge, inner - 2 * edge);
      if (cell.held.length > 1 && size > 26) badges.push([cell.held.length, left + inner, top + inner, size]);
    }
    for (const badge of badges) number(...badge);
    ring(k, size);
    labels();
    canvas.dataset.view = [view.x, view.y, view.scale / fit].map((n) => n.toFixed(2)).join(" ");
  }

  function number(held, right, bottom, size) {
    const high = Math.min(16, Math.max(9, size * 0.2)), text = held.toLocaleString("en");
    draw.font = `${high}px system-ui, sans-serif`;
    draw.textAlign = "center";
    draw.textBaseline = "middle";
    const width = draw.measureText(text).width + high * 0.7;
    draw.fillStyle = "#000C";
    draw.beginPath();
    draw.roundRect(right - width, bottom - high * 1.3, width, high * 1.3, high / 4);
    draw.fill();
    draw.fillStyle = "#ECECEE";
    draw.fillText(text, right - width / 2, bottom - high * 0.62);
  }

  function ring(k, size) {
    if (chosen < 0) return;
    const cell = cellOf(chosen, k), face = pictured(cell.face), more = size * 0.2;
    let left = cell.cx * size - view.x - more, top = cell.cy * size - view.y - more, side = size * 0.96 + 2 * more;
    if (!face) { side = 22; left = x(chosen) * view.scale - view.x - 11; top = y(chosen) * view.scale - view.y - 11; }
    draw.save();
    draw.strokeStyle = "#FFFFFF";
    draw.lineWidth = 3;
    draw.beginPath();
    draw.roundRect(left, top, side, side, 6);
    if (face) {
      draw.fillStyle = "#121214";
      draw.fill();
      draw.save();
      draw.clip();
      tile(draw, pictured(chosen) ? chosen : cell.face, left, top, side);
      draw.restore();
    }
    draw.stroke();
    draw.restore();
  }

  function labels() {
    const taken = [], size = wide < 700 ? 13 : 15;
    draw.font = `600 ${size}px system-ui, sans-serif`;
    draw.textAlign = "left";
    draw.textBaseline = "middle";
    for (const each of atlas.regions.slice(0, atlas.labelled)) {
      if (!each.label) continue;
      const width = draw.measureText(each.label).width + size * 2.4, tall = size * 1.8;
      let left = each.x * view.scale - view.x - width / 2, top = each.y * view.scale - view.y - tall / 2;
      if (left > wide || top > high || left + width < 0 || top + tall < 0) continue;
      left = Math.max(4, Math.min(wide - width - 4, left));
      const hit = (moved) => taken.some((o) => left < o[1] && o[0] < left + width && moved < o[3] && o[2] < moved + tall);
      const middle = top;
      for (let step = 1; step < 12 && hit(top); step++) top = middle + tall * 1.1 * Math.ceil(step / 2) * (step % 2 ? 1 : -1);
      taken.push([left, left + width, top, top + tall]);
      draw.fillStyle = "#121214DD";
      draw.beginPath();
      draw.roundRect(left, top, width, tall, tall / 2);
      draw.fill();
      draw.fillStyle = each.colour;
      draw.beginPath();
      draw.arc(left + size, top + tall / 2, size * 0.36, 0, 7);
      draw.fill();
      draw.fillStyle = "#ECECEE";
      draw.fillText(each.label, left + size * 1.65, top + tall / 2);
    }
  }

  // -- moving ---------------------------------------------------------------------------------------------------

  const most = () => fit * 2 ** atlas.depth;

  function settle() {
    const width = atlas.width * view.scale, height = atlas.height * view.scale;
    const held = (at, size, room) => size < room ? (size - room) / 2
      : Math.max(-room / 2, Math.min(size - room / 2, at));
    view.x = held(view.x, width, wide);
    view.y = held(view.y, height, high);
    ask();
  }

  function zoom(by, px = wide / 2, py = high / 2) {
    const scale = Math.max(fit, Math.min(most(), view.scale * by)), ratio = scale / view.scale;
    view.x = (view.x + px) * ratio - px;
    view.y = (view.y + py) * ratio - py;
    view.scale = scale;
    settle();
  }

  function pan(dx, dy) { view.x += dx; view.y += dy; settle(); }

  function all() { view.scale = fit; view.x = view.y = -1e9; settle(); }

  function go(at) {  // to an image, large enough that it is seen
    const scale = Math.max(view.scale, Math.min(most(), fit * 2 ** Math.min(level[at], atlas.depth - 1)));
    const from = { ...view }, to = { scale, x: x(at) * scale - wide / 2, y: y(at) * scale - high / 2 };
    cancelAnimationFrame(moving);
    if (still.matches) { Object.assign(view, to); settle(); return; }
    const begun = performance.now();
    const step = (now) => {
      const part = Math.max(0, Math.min(1, (now - begun) / 200)), eased = part * (2 - part);
      for (const name of ["x", "y", "scale"]) view[name] = from[name] + (to[name] - from[name]) * eased;
      if (part < 1) { ask(); moving = requestAnimationFrame(step); } else settle();
    };
    moving = requestAnimationFrame(step);
  }

  function resize() {
    const before = fit, ratio = devicePixelRatio || 1, box = canvas.getBoundingClientRect();
    wide = box.width; high = box.height;
    canvas.width = Math.max(1, Math.round(wide * ratio));
    canvas.height = Math.max(1, Math.round(high * ratio));
    fit = Math.max(40, Math.min((wide - 32) / atlas.width, (high - 32) / atlas.height));
    if (view.scale <= before) all(); else zoom(fit / before);
  }

  // -- choosing -------------------------------------------------------------------------------------------------

  function under(px, py) {  // the image at a place of the window, or -1
    const k = depth(), { cells, found } = grid(k), size = view.scale / cells;
    const cx = Math.floor((px + view.x) / size), cy = Math.floor((py + view.y) / size);
    const cell = found.get(cy * cells + cx);
    if (cell && cx >= 0 && cx < cells && pictured(cell.face)) return cell.face;
    return nearest(px, py, 12);
  }

  function nearest(px, py, within) {
    let best = -1, least = within * within;
    for (let at = 0; at < count; at++) {
      const far = (x(at) * view.scale - view.x - px) ** 2 + (y(at) * view.scale - view.y - py) ** 2;
      if (far < least) { least = far; best = at; }
    }
    return best;
  }

  const tags = (at) => atlas.tags[at].map((tag) => atlas.labels[tag]).join(", ");

  function element(name, text = "", more = {}) {
    return Object.assign(document.createElement(name), { textContent: text }, more);
  }

  function choose(at) {
    chosen = at;
    picked.replaceChildren();
    picked.hidden = at < 0;
    for (const old of list.querySelectorAll("[aria-current]")) old.removeAttribute("aria-current");
    ask();
    if (at < 0) return;
    if (pictured(at)) {
      const small = element("canvas", "", { width: 256, height: 256 });
      small.setAttribute("aria-hidden", "true");
      tile(small.getContext("2d"), at, 0, 0, 256);
      picked.append(small);
    }
    picked.append(element("h2", atlas.name[at]), element("p", tags(at) || "no tags"),
      element("p", `${atlas.places[atlas.place[at]]} · id:${ids[at]}`));
    const others = cellOf(at, depth()).held.filter((other) => other !== at);
    if (others.length) {
      picked.append(element("p", `${others.length.toLocaleString("en")} more in the same place:`), names(others));
    }
    list.querySelector(`button[data-at="${at}"]`)?.setAttribute("aria-current", "true");
  }

  function names(images, from = 0) {
    const found = element("ul"), some = images.slice(from, from + 100);
    for (const at of some) {
      const line = element("li"), button = element("button", atlas.name[at], { type: "button" });
      button.dataset.at = at;
      if (tags(at)) button.append(element("br"), element("small", tags(at)));
      line.append(button);
      found.append(line);
    }
    if (from + 100 < images.length) {
      const line = element("li"), rest = (images.length - from - 100).toLocaleString("en");
      const button = element("button", `${rest} more`, { type: "button" });
      button.onclick = () => {
        const next = names(images, from + 100);
        found.after(next);
        line.remove();
        next.querySelector("button").focus();
      };
      line.append(button);
      found.append(line);
    }
    return found;
  }

  function listed() {
    const held = atlas.regions.map(() => []);
    for (let at = 0; at < count; at++) held[region[at]].push(at);
    const rows = atlas.regions.map((each, at) => [each.label && at < atlas.labelled ? each : null, held[at]]);
    const named = rows.filter((row) => row[0]), others = rows.filter((row) => !row[0]).flatMap((row) => row[1]);
    if (others.length) named.push([{ label: named.length ? "other pictures" : "all pictures", colour: "#6E6E76" }, others]);
    for (const [each, images] of named) {
      const box = element("details"), head = element("summary"), dot = element("i");
      dot.style.background = each.colour;
      head.append(dot, element("b", each.label), element("span", images.length.toLocaleString("en")));
      box.append(head);
      box.addEventListener("toggle", () => { if (box.open && box.children.length === 1) box.append(names(images)); });
      document.getElementById("clusters").append(box);
    }
  }

  // -- what a person does ---------------------------------------------------------------------------------------

  const fingers = new Map();
  let pressed = null, spread = 0;

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, [event.offsetX, event.offsetY]);
    pressed = fingers.size === 1 ? [event.offsetX, event.offsetY] : null;
    spread = 0;
    canvas.classList.add("held");
    tip.hidden = true;
    cancelAnimationFrame(moving);
  });
  canvas.addEventListener("pointermove", (event) => {
    const here = [event.offsetX, event.offsetY], before = fingers.get(event.pointerId);
    if (!before) { hover(...here); return; }
    fingers.set(event.pointerId, here);
    if (pressed && Math.hypot(here[0] - pressed[0], here[1] - pressed[1]) > 4) pressed = null;
    if (fingers.size === 2) {
      const [a, b] = [...fingers.values()], far = Math.hypot(a[0] - b[0], a[1] - b[1]);
      if (spread) zoom(far / spread, (a[0] + b[0]) / 2, (a[1] + b[1]) / 2);
      spread = far;
      pan((before[0] - here[0]) / 2, (before[1] - here[1]) / 2);
    } else if (!pressed) pan(before[0] - here[0], before[1] - here[1]);
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => {
    fingers.delete(event.pointerId);
    spread = 0;
    if (!fingers.size) canvas.classList.remove("held");
    if (pressed && name === "pointerup") choose(under(...pressed));
    pressed = null;
  });
  canvas.addEventListener("pointerleave", () => { tip.hidden = true; });
  canvas.addEventListener("dblclick", (event) => zoom(2, event.offsetX, event.offsetY));
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), event.offsetX, event.offsetY);
  }, { passive: false });

  function hover(px, py) {
    const at = under(px, py);
    tip.hidden = at < 0;
    if (at < 0) return;
    tip.replaceChildren(atlas.name[at], element("span", tags(at)));
    tip.style.left = `${Math.max(4, Math.min(px + 14, wide - tip.offsetWidth - 4))}px`;
    tip.style.top = `${py + 18 + tip.offsetHeight > high ? py - 10 - tip.offsetHeight : py + 18}px`;
  }

  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const step = Math.min(wide, high) / 6;
    const keys = {
      "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5), "_": () => zoom(1 / 1.5), "0": all,
      ArrowLeft: () => pan(-step, 0), ArrowRight: () => pan(step, 0), ArrowUp: () => pan(0, -step),
      ArrowDown: () => pan(0, step), Enter: () => choose(nearest(wide / 2, high / 2, 1e9)), Escape: () => choose(-1),
    };
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
  list.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-at]");
    if (!button) return;
    const at = Number(button.dataset.at);
    go(at);
    choose(at);
    list.querySelector(`#clusters button[data-at="${at}"]`)?.setAttribute("aria-current", "true");
  });
  document.getElementById("in").onclick = () => zoom(1.5);
  document.getElementById("out").onclick = () => zoom(1 / 1.5);
  document.getElementById("all").onclick = all;
  document.getElementById("toggle").onclick = (event) => {
    const away = list.classList.toggle("away");
    event.currentTarget.setAttribute("aria-expanded", String(!away));
  };
  if (innerWidth < 700) document.getElementById("toggle").click();
  new ResizeObserver(resize).observe(canvas.parentElement);
  listed();
  resize();
})();
