// The filters: a histogram with two handles for numbers and days, boxes with counts for categories.
const SHOWN_CATEGORIES = 8;
const WIDTH = 240, HEIGHT = 44;

const histogram = (filter, changed) => {
  const { column, edges } = filter;
  const last = edges.length - 1;
  const write = column.kind === "day" ? safeDay : number;
  // Whole numbers and days below an edge end with the one before it.
  const writeEnd = (edge) => write(column.kind === "day" || column.is_whole ? edge - 1 : edge);
  const picture = drawn("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", class: "bins", "aria-hidden": "true" });
  const tallest = Math.max(1, ...filter.total.subarray(0, last));
  const step = WIDTH / last;
  const bars = [];
  for (let bin = 0; bin < last; bin++) {
    const place = { x: (bin * step + 0.5).toFixed(2), width: Math.max(step - 1, 0.5).toFixed(2), y: 0, height: 0 };
    const all = drawn("rect", { ...place, class: "all" }), some = drawn("rect", { ...place, class: "some" });
    // A single photo among many is seen.
    const height = filter.total[bin] ? Math.max(1.5, HEIGHT * filter.total[bin] / tallest) : 0;
    all.setAttribute("y", HEIGHT - height);
    all.setAttribute("height", height);
    picture.append(all, some);
    bars.push(some);
  }
  const label = element("output", { className: "range" });
  const handle = (name) => element("input", { type: "range", min: 0, max: last, step: 1, "aria-label": `${titled(column.name)}, ${name}` });
  const from = handle("from"), to = handle("to");
  const missing = element("select", { "aria-label": `${titled(column.name)}, missing values` },
    ...["with", "without", "only"].map((kind) => element("option", { value: kind }, `${kind} missing`)));
  const apply = (low, high, kind) => {
    filter.range = { low, high: high >= last ? Infinity : high, missing: kind };
    applied(filter);
    changed();
  };
  // A range has no place for what is missing, unless it was asked for.
  const kindFor = (low, high) => low === 0 && high === last ? "with" : "without";
  const slid = () => {
    const low = Math.min(Number(from.value), last - 1), high = Math.max(Number(to.value), low + 1);
    apply(low, high, kindFor(low, high));
  };
  from.oninput = slid;
  to.oninput = slid;
  missing.onchange = () => {
    const [low, high] = missing.value === "only" ? [0, last] : [filter.range.low, Math.min(filter.range.high, last)];
    apply(low, high, missing.value);
  };
  let start = -1;
  const binAt = (event) => {
    const box = picture.getBoundingClientRect();
    return Math.min(last - 1, Math.max(0, Math.floor((event.clientX - box.left) / box.width * last)));
  };
  const brushed = (event) => {
    const bin = binAt(event);
    const [low, high] = [Math.min(start, bin), Math.max(start, bin) + 1];
    apply(low, high, kindFor(low, high));
  };
  picture.addEventListener("pointerdown", (event) => {
    picture.setPointerCapture(event.pointerId);
    start = binAt(event);
    brushed(event);
  });
  picture.addEventListener("pointermove", (event) => start >= 0 && brushed(event));
  for (const name of ["pointerup", "pointercancel"]) picture.addEventListener(name, () => (start = -1));
  const update = () => {
    const { low, high } = filter.range, end = Math.min(high, last);
    const passes = passing(filter);
    bars.forEach((bar, bin) => {
      const count = passes[bin] ? filter.counts[bin] : 0;
      const height = count ? Math.max(1.5, HEIGHT * count / tallest) : 0;
      bar.setAttribute("y", HEIGHT - height);
      bar.setAttribute("height", height);
    });
    from.value = low;
    to.value = end;
    from.setAttribute("aria-valuetext", write(edges[low]));
    to.setAttribute("aria-valuetext", writeEnd(edges[end]));
    missing.value = filter.range.missing;
    label.textContent = filter.range.missing === "only" ? MISSING : `${write(edges[low])} to ${writeEnd(edges[end])}`;
  };
  const parts = [picture, element("div", { className: "handles" }, from, to), label];
  if (filter.total[last]) parts.push(missing);
  return { parts, update };
};

const checks = (filter, changed) => {
  const { column } = filter;
  const list = element("ul", { className: "checks" });
  const most = Math.max(1, ...filter.total);
  const search = element("input", { type: "search", placeholder: "Search", "aria-label": `${titled(column.name)}, search` });
  const rows = new Map();
  const rowOf = (code) => {
    if (rows.has(code)) return rows.get(code);
    const box = element("input", { type: "checkbox" });
    box.onchange = () => {
      if (box.checked) filter.chosen.add(code);
      else filter.chosen.delete(code);
      applied(filter);
      changed();
    };
    const count = element("span", { className: "count" }), bar = element("span", { className: "share" });
    const name = element("span", { className: "name", title: category(column, code) }, category(column, code));
    const item = element("li", {}, element("label", {}, box, bar, name, count));
    rows.set(code, { item, box, count, bar });
    return rows.get(code);
  };
  const codes = () => {
    const asked = search.value.trim().toLowerCase();
    const named = [];
    for (let at = 0; at < column.categories.length && named.length < SHOWN_CATEGORIES; at++) {
      if (!asked || column.categories[at].toLowerCase().includes(asked)) named.push(at + 1);
    }
    const ends = asked ? [] : [column.categories.length + 1, 0].filter((code) => filter.total[code]);
    const chosen = [...filter.chosen].filter((code) => !named.includes(code) && !ends.includes(code));
    return [...chosen, ...named, ...ends];
  };
  const update = () => {
    const items = codes().map((code) => {
      const { item, box, count, bar } = rowOf(code);
      box.checked = filter.chosen.has(code);
      count.textContent = number(filter.counts[code]);
      bar.style.width = `${100 * filter.counts[code] / most}%`;
      return item;
    });
    // Moving what is there would lose the focus.
    if (items.length !== list.children.length || items.some((item, at) => item !== list.children[at])) list.replaceChildren(...items);
  };
  search.oninput = update;
  const parts = column.categories.length > SHOWN_CATEGORIES ? [search, list] : [list];
  if (column.categories.length > SHOWN_CATEGORIES) {
    parts.push(element("p", { className: "faint" }, `${number(column.categories.length + column.others)} in all`));
  }
  return { parts, update };
};

const chart = (filter, changed) => {
  binned(filter);
  return filter.column.kind === "category" ? checks(filter, changed) : histogram(filter, changed);
};
const updates = new Map();
const panel = (filter, isOpen, changed) => {
  const details = element("details", { className: "filter" }, element("summary", {}, titled(filter.column.name)));
  details.addEventListener("toggle", () => {
    filter.isOpen = details.open;
    if (!details.open) return;
    if (!updates.has(filter)) {
      const { parts, update } = chart(filter, changed);
      details.append(...parts);
      updates.set(filter, update);
    }
    recountOne(filter);
    updates.get(filter)();
  });
  details.open = isOpen;
  return details;
};
const updateCharts = () => {
  for (const [filter, update] of updates) if (filter.isOpen) update();
};
