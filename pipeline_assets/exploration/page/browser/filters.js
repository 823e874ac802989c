// Which photos are selected: each filter rejects some, and counts of one column show what all other filters leave.
const BINS = 24;
const fails = new Uint8Array(COUNT); // by how many filters a row is rejected
let selected = new Int32Array(COUNT).map((_, row) => row);
const lasso = { column: null, failed: new Uint8Array(COUNT), isActive: false };
const filters = columns.map((column) => ({ column, isActive: false, isOpen: false, bins: null }));
const allFilters = [lasso, ...filters];
const NO_RANGE = { low: 0, high: Infinity, missing: "with" };

// Steps of 1, 2 or 5 times a power of ten, whole ones for whole numbers.
const niceEdges = (low, high, isWhole) => {
  const rough = (high - low) / BINS || Math.abs(low) / 10 || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  let step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough * 0.999);
  if (isWhole) step = Math.max(1, Math.round(step));
  const first = Math.floor(low / step);
  const edges = [];
  for (let at = first; edges.length < 2 * BINS + 2; at++) {
    // A product of an inverse has fewer digits than one of the step.
    edges.push(step < 1 ? at / Math.round(1 / step) : at * step);
    if (edges.at(-1) > high) break;
  }
  return edges;
};

const binned = (filter) => {
  if (filter.bins) return filter;
  const { column } = filter;
  const values = column.values;
  if (column.kind === "category") {
    filter.bins = values;
    filter.size = column.categories.length + 2;
    filter.chosen = new Set();
  } else {
    let low = Infinity, high = -Infinity;
    for (let row = 0; row < COUNT; row++) {
      if (values[row] < low) low = values[row];
      if (values[row] > high) high = values[row];
    }
    if (low > high) low = high = 0;
    const single = column.type === "f4" && column.kind === "number";
    filter.edges = niceEdges(low, high, column.kind === "day" || column.is_whole).map((edge) => single ? Math.fround(edge) : edge);
    const last = filter.edges.length - 1;
    filter.size = last + 1; // the last one counts what is missing
    filter.bins = new Uint8Array(COUNT);
    const scale = last / (filter.edges[last] - filter.edges[0]);
    for (let row = 0; row < COUNT; row++) {
      const value = values[row];
      if (Number.isNaN(value)) {
        filter.bins[row] = last;
        continue;
      }
      let bin = Math.min(last - 1, Math.max(0, Math.floor((value - filter.edges[0]) * scale)));
      while (bin > 0 && value < filter.edges[bin]) bin--;
      while (bin < last - 1 && value >= filter.edges[bin + 1]) bin++;
      filter.bins[row] = bin;
    }
    filter.range = { ...NO_RANGE };
  }
  filter.failed = new Uint8Array(COUNT);
  filter.total = new Uint32Array(filter.size);
  filter.counts = new Uint32Array(filter.size);
  for (let row = 0; row < COUNT; row++) filter.total[filter.bins[row]]++;
  filter.counts.set(filter.total);
  return filter;
};

// Which bins a filter lets through.
const passing = (filter) => {
  const passes = new Uint8Array(filter.size).fill(1);
  if (filter.column.kind === "category") {
    if (filter.chosen.size) passes.forEach((_, bin) => (passes[bin] = filter.chosen.has(bin)));
  } else {
    const last = filter.size - 1;
    const { low, high, missing } = filter.range;
    for (let bin = 0; bin < last; bin++) passes[bin] = missing !== "only" && bin >= low && bin < high;
    passes[last] = missing !== "without";
  }
  return passes;
};

const reject = (filter, isRejected) => {
  const { failed } = filter;
  for (let row = 0; row < COUNT; row++) {
    const now = isRejected(row) ? 1 : 0;
    fails[row] += now - failed[row];
    failed[row] = now;
  }
};

const recount = () => {
  let size = 0;
  const rows = new Int32Array(COUNT);
  for (let row = 0; row < COUNT; row++) if (fails[row] === 0) rows[size++] = row;
  selected = rows.subarray(0, size);
  for (const filter of filters) if (filter.isOpen) recountOne(filter);
};
const recountOne = (filter) => {
  const { counts, bins, failed } = filter;
  counts.fill(0);
  for (let row = 0; row < COUNT; row++) if (fails[row] === failed[row]) counts[bins[row]]++;
};

const applied = (filter) => {
  const passes = passing(filter);
  // Also one that rejects none of these photos: the table may have others.
  const isWhole = ({ low, high, missing }) => low === 0 && high === Infinity && missing === "with";
  filter.isActive = filter.chosen ? filter.chosen.size > 0 : !isWhole(filter.range);
  reject(filter, (row) => !passes[filter.bins[row]]);
};
const cleared = (filter) => {
  if (filter === lasso) lasso.polygon = null;
  else if (!filter.bins) return;
  else if (filter.column.kind === "category") filter.chosen.clear();
  else filter.range = { ...NO_RANGE };
  filter.isActive = false;
  reject(filter, () => false);
};
