// The selection as a condition of SQL over the columns of the table, or as ids where no condition on columns is exact.
const LONGEST = 100000; // characters of one argument; Linux takes 131,072 bytes
const quoted = (value) => `'${value.replaceAll("'", "''")}'`;
const named = (name) => /^[a-z_][a-z0-9_]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`;
// The shortest decimal that is this number again, in the column's precision.
const literal = (column, value) => {
  if (column.type !== "f4") return String(value);
  for (let digits = 1; digits < 10; digits++) {
    const candidate = Number(value.toPrecision(digits));
    if (Math.fround(candidate) === value) return String(candidate);
  }
  return String(value);
};
const dated = (days) => `date('${isoDay(days)}')`;

// Text of one filter; null if none says the same of the table.
const conditionOf = (filter) => {
  const { column } = filter;
  if (filter === lasso || !column.sql) return null;
  const name = named(column.name);
  if (column.kind === "category") {
    const codes = [...filter.chosen].sort((a, b) => a - b);
    const values = codes.filter((code) => code > 0);
    if (values.some((code) => code > column.categories.length || column.cut.includes(code) || !isPlain(column.categories[code - 1]))) return null;
    const texts = values.map((code) => column.is_truth || column.is_whole ? column.categories[code - 1] : quoted(column.categories[code - 1]));
    const parts = texts.length ? [`${name} in (${texts.join(", ")})`] : [];
    if (codes[0] === 0) parts.push(`${name} is null`);
    return parts.length > 1 ? `(${parts.join(" or ")})` : parts[0];
  }
  const { low, high, missing } = filter.range;
  // Missing is null here, and NaN or infinite in the table, where one condition does not say both.
  const isOpenRange = low === 0 && high >= filter.edges.length - 1;
  if (column.is_odd && (missing !== "without" || isOpenRange)) return null;
  if (missing === "only") return `${name} is null`;
  if (isOpenRange) return `${name} is not null`;
  const write = column.kind === "day" ? dated : (value) => literal(column, value);
  const last = Math.min(high, filter.edges.length - 1);
  if (column.kind === "day" && [filter.edges[low], filter.edges[last]].some((day) => Math.abs(day) > 2e6)) return null;
  const bounds = [];
  if (low > 0 || column.is_odd) bounds.push(`${name} >= ${write(filter.edges[low])}`);
  if (last < filter.edges.length - 1 || column.is_odd) bounds.push(`${name} < ${write(filter.edges[last])}`);
  const range = bounds.join(" and ");
  return missing === "with" && filter.total[filter.size - 1] ? `(${range} or ${name} is null)` : range;
};

// Runs of ids are ranges: no id lies between them that is not selected.
const idCondition = () => {
  const sorted = selectedIds().sort();
  const single = [], ranges = [];
  const next = typeof sorted[0] === "bigint" ? 1n : 1;
  for (let from = 0, to = 0; from < sorted.length; from = ++to) {
    while (to + 1 < sorted.length && sorted[to + 1] === sorted[to] + next) to++;
    if (to - from >= 2) ranges.push(`photo_id between ${sorted[from]} and ${sorted[to]}`);
    else for (let at = from; at <= to; at++) single.push(sorted[at]);
  }
  if (single.length || !ranges.length) ranges.push(single.length ? `photo_id in (${single.join(", ")})` : "photo_id is null");
  return ranges.length > 1 ? `(${ranges.join(" or ")})` : ranges[0];
};
const selectedIds = () => {
  const found = new TYPES[header.id_type](selected.length);
  selected.forEach((row, at) => (found[at] = ids[row]));
  return found;
};

const selection = (asIds) => {
  const active = allFilters.filter((filter) => filter.isActive);
  const parts = active.map((filter) => conditionOf(filter));
  const inexact = active.filter((_, at) => parts[at] === null).map((filter) => filter === lasso ? "the lasso" : titled(filter.column.name));
  const byIds = asIds || inexact.length > 0 || header.condition === null;
  const base = header.condition ? [`(${header.condition})`] : [];
  const where = byIds ? idCondition() : [...base, ...parts].join(" and ");
  const why = inexact.length ? `By ids: no column of ${header.table} says ${inexact.join(", ")}.` : byIds ? "By ids." : "";
  return { where, why };
};
const inShell = (value) => `'${value.replaceAll("'", "'\\''")}'`;
const COMMANDS = {
  checkout: "darkroom checkout NAME ./selection",
  export: "darkroom export NAME ./selection --format parquet",
  pin: "darkroom pin NAME",
  push: "darkroom label push CAMPAIGN",
};
const commandOf = (verb, where) => COMMANDS[verb] + (where ? ` --where ${inShell(where)}` : "");
