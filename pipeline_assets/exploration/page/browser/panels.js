// Cards of photos, the grid of the selection, the opened photo, and what the selection is taken along as.
const PAGE_PHOTOS = 120;
const grid = one("grid");
const shownColumns = ["day", "top_class", "look", "owner", "popularity", "model_error"];
const heading = (row) => {
  const title = columns.find((column) => column.name === "title");
  return title && title.values[row] ? text(title, row) : `Photo ${ids[row]}`;
};
const facts = (row, names) => columns.filter((column) => names.includes(column.name)).map((column) => [titled(column.name), text(column, row)]);
const spoken = (row) => [heading(row), ...facts(row, shownColumns).map(([name, value]) => `${name} ${value}`)].join(", ");
const thumbnailOf = (row, description) => hasPicture(row)
  ? element("img", { src: sourceOf(row), alt: description, loading: "lazy", decoding: "async" })
  : element("span", { className: "none", role: "img", "aria-label": `${description}, without a thumbnail` }, String(ids[row]));
const cardOf = (row) => {
  const shownFacts = facts(row, shownColumns).slice(0, 5);
  if (colouring.column && !shownColumns.includes(colouring.column.name)) shownFacts.push([titled(colouring.column.name), text(colouring.column, row)]);
  return [thumbnailOf(row, heading(row)), element("b", {}, heading(row)),
    ...shownFacts.map(([name, value]) => element("span", {}, `${name}: ${value}`))];
};

let sorted = [];
let gridLimit = PAGE_PHOTOS;
const sortRows = () => {
  const [place, direction] = one("sort").value.split(" ");
  if (place === "") return selected;
  const values = columns[place].values, sign = direction === "up" ? 1 : -1;
  // What is missing comes last.
  return [...selected].filter((row) => !Number.isNaN(values[row])).sort((a, b) => sign * (values[a] - values[b]) || a - b)
    .concat([...selected].filter((row) => Number.isNaN(values[row])));
};
const photoButton = (row, opened) => {
  const button = element("button", { type: "button", className: "photo" }, thumbnailOf(row, heading(row)));
  button.title = spoken(row);
  button.onclick = () => opened(row);
  button.onfocus = button.onmouseenter = () => focusOn(row);
  return element("li", {}, button);
};
const fillGrid = (opened) => {
  grid.replaceChildren(...[...sorted.slice(0, gridLimit)].map((row) => photoButton(row, opened)));
  one("more").hidden = sorted.length <= gridLimit;
};

const openPhoto = (row, opened) => {
  const card = one("photo");
  const close = element("button", { type: "button", className: "close", "aria-label": "Close the photo" }, "×");
  close.onclick = () => {
    card.hidden = true;
    over.focus();
  };
  const list = element("dl", {}, ...columns.flatMap((column) => [element("dt", {}, titled(column.name)), element("dd", {}, text(column, row))]));
  const parts = [element("div", { className: "bar" }, element("h2", {}, heading(row)), close), thumbnailOf(row, heading(row)), list];
  const variants = variantsOf.get(row);
  if (variants) {
    parts.push(element("h3", {}, "Variants"), element("ul", { className: "row" }, ...variants.map(({ recipe, number: place }) =>
      element("li", {}, element("img", { src: picture(place), alt: `Variant: ${shown(recipe)}` }), element("small", {}, shown(recipe))))));
  }
  const others = neighboursOf(row);
  if (others.length) {
    parts.push(element("h3", {}, "Nearest photos"), element("ul", { className: "row" }, ...others.map((other) => photoButton(other, opened))));
  }
  card.replaceChildren(...parts);
  card.hidden = false;
  card.scrollIntoView({ block: "nearest" });
  focusOn(row, true);
};

const conditionBox = one("condition");
let whereText = "";
const updateCondition = () => {
  if (!one("take").open) return;
  const { where, why } = selection(one("as-ids").checked);
  whereText = where;
  conditionBox.value = where;
  const note = [why];
  if (!selected.length) note.push("Nothing is selected.");
  else if (!where) note.push("Nothing is filtered: the whole data set.");
  if (where.length > LONGEST) note.push(`${number(where.length)} characters are too many for a command line: select less, or download the ids.`);
  one("condition-note").textContent = note.filter(Boolean).join(" ");
  for (const button of document.querySelectorAll("[data-copy]")) button.disabled = !selected.length;
};
const idsText = () => [...selectedIds()].join("\n") + "\n";
const copied = async (value) => {
  const said = one("copied");
  try {
    await navigator.clipboard.writeText(value);
    said.textContent = `Copied: ${number(value.length)} characters.`;
  } catch {
    // From a file, some browsers copy only what is marked.
    const area = element("textarea", { value, readOnly: true, className: "unseen" });
    document.body.append(area);
    area.select();
    said.textContent = document.execCommand("copy") ? `Copied: ${number(value.length)} characters.` : "The browser does not copy: mark the text.";
    area.remove();
  }
};
const wirePanels = () => {
  one("take").addEventListener("toggle", updateCondition);
  one("as-ids").onchange = updateCondition;
  for (const button of document.querySelectorAll("[data-copy]")) {
    const kind = button.dataset.copy;
    button.onclick = () => copied(kind === "ids" ? idsText() : kind === "condition" ? whereText : commandOf(kind, whereText));
  }
  one("download").onclick = () => {
    const link = element("a", { href: URL.createObjectURL(new Blob([idsText()], { type: "text/plain" })), download: "photo_ids.txt" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };
};

const drawLegend = (chose) => {
  const legend = one("legend");
  const { column, entries, scale, colours } = colouring;
  legend.replaceChildren();
  if (scale) {
    const strip = element("canvas", { width: 160, height: 10, className: "strip" });
    const context = strip.getContext("2d");
    for (let x = 0; x < 160; x++) {
      context.fillStyle = css(colours[1 + Math.floor(x / 160 * SHADES)]);
      context.fillRect(x, 0, 1, 10);
    }
    legend.append(element("span", {}, `≤ ${scale[0]}`), strip, element("span", {}, `${scale[1]} ≤`));
  }
  for (const [name, colour, code] of entries) {
    const dot = element("span", { className: "dot" });
    dot.style.background = css(colour);
    if (code === null) legend.append(element("span", { className: "entry" }, dot, name));
    else {
      const button = element("button", { type: "button", className: "entry", title: `Only ${name}` }, dot, name);
      button.onclick = () => chose(column, code);
      legend.append(button);
    }
  }
};
