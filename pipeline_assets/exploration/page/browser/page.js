// Starts the page: first the points, then the filters and the grid.
const count = one("count");
let telling = 0;
const changed = () => {
  const started = performance.now();
  recount();
  updateCharts();
  one("clear").disabled = !allFilters.some((filter) => filter.isActive);
  drawPoints(pointsCanvas);
  drawOver();
  performance.measure("filter", { start: started });
  clearTimeout(telling);
  // The grid, the text and what is read aloud follow when the hand rests.
  telling = setTimeout(settled, 60);
};
const settled = () => {
  count.textContent = selected.length === COUNT ? `${number(COUNT)} photos` : `${number(selected.length)} of ${number(COUNT)} photos`;
  sorted = sortRows();
  gridLimit = PAGE_PHOTOS;
  fillGrid(opened);
  updateCondition();
};
const opened = (row) => openPhoto(row, opened);
const chose = (column, code) => {
  const filter = binned(filters[column.place]);
  const isOnly = filter.chosen.size === 1 && filter.chosen.has(code);
  filter.chosen.clear();
  if (!isOnly) filter.chosen.add(code);
  applied(filter);
  changed();
};

const OPEN_FIRST = ["top_class", "look", "owner", "popularity", "model_error"];
const COLOURS_FIRST = ["cluster", "look", "top_class", "split"];
const byName = new Map(columns.map((column) => [column.name, column]));
const hasMany = (column) => column.kind !== "category" || column.categories.length > 0;
const colourSelect = one("colour"), sortSelect = one("sort");
colourSelect.append(element("option", { value: "" }, "nothing"));
sortSelect.append(element("option", { value: "" }, "by day"));
for (const column of columns.filter(hasMany)) {
  colourSelect.append(element("option", { value: String(column.place) }, titled(column.name)));
  if (column.kind === "number") {
    sortSelect.append(element("option", { value: `${column.place} down` }, `${titled(column.name)}, highest first`),
      element("option", { value: `${column.place} up` }, `${titled(column.name)}, lowest first`));
  }
}
const firstColour = COLOURS_FIRST.map((name) => byName.get(name)).find((column) => column && column.categories.length > 1);
colourSelect.value = firstColour ? String(firstColour.place) : "";
const recolour = () => {
  colourBy(colourSelect.value === "" ? null : columns[colourSelect.value]);
  drawLegend(chose);
  redraw();
};
colourSelect.onchange = recolour;
sortSelect.onchange = () => {
  sorted = sortRows();
  fillGrid(opened);
};
one("more").onclick = () => {
  const first = gridLimit;
  gridLimit += PAGE_PHOTOS;
  fillGrid(opened);
  grid.children[first]?.querySelector("button").focus();
};
one("clear").onclick = () => {
  allFilters.forEach(cleared);
  changed();
};

for (const note of header.notes) one("notes").append(element("li", {}, note));
if (header.axes) one("axes").append(element("span", {}, `${titled(header.axes[0])} →`), element("span", {}, `${titled(header.axes[1])} ↑`));
const unplaced = COUNT - placed.length;
if (unplaced) one("notes").append(element("li", {}, `${number(unplaced)} photos have no place on the map; the filters and the list have them.`));
one("empty").hidden = COUNT > 0;
one("with-photos").checked = header.thumbnails.length > 0;
one("with-photos").disabled = !header.thumbnails.length && !header.served;
colourBy(firstColour ?? null);
wireMap(changed, opened);
wirePanels();
resized();
drawPoints(pointsCanvas);
performance.mark("first-draw");
drawLegend(chose);
requestAnimationFrame(() => {
  const day = byName.get("day");
  for (const column of columns.filter(hasMany)) {
    const details = panel(filters[column.place], column === day || OPEN_FIRST.includes(column.name), changed);
    (column === day ? one("time") : one("filters")).append(details);
  }
  settled();
  // What is asked of the page when it has all its parts.
  setTimeout(() => performance.mark("ready"));
});
