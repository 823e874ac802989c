// The data of the page: columns as typed arrays, decoded when they are first needed, and pictures.
const one = (id) => document.getElementById(id);
const header = JSON.parse(one("header").textContent);
const COUNT = header.rows;
const columns = header.columns;
const TYPES = { u1: Uint8Array, u2: Uint16Array, i4: Int32Array, f4: Float32Array, f8: Float64Array, i8: BigInt64Array };
const arrayText = one("arrays").textContent;
const pictureText = one("pictures").textContent;
const startsOf = (lengths) => {
  let at = 0;
  return lengths.map((length) => (at += length) - length);
};
const blockStarts = startsOf(header.lengths);
const pictureStarts = startsOf(header.pictures);

const decoded = (block, Type) => {
  const text = atob(arrayText.substr(blockStarts[block], header.lengths[block]));
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at);
  return new Type(bytes.buffer);
};
columns.forEach((column, place) => {
  column.place = place;
  let values = null;
  Object.defineProperty(column, "values", { get: () => (values ??= decoded(place, TYPES[column.type])) });
});
const [idBlock, xBlock, yBlock, neighbourBlock] = [0, 1, 2, 3].map((number) => columns.length + number);
const ids = decoded(idBlock, TYPES[header.id_type]);
const xs = decoded(xBlock, Float32Array);
const ys = decoded(yBlock, Float32Array);
let neighbourRows = null;
const neighboursOf = (row) => {
  if (!header.neighbours) return [];
  neighbourRows ??= decoded(neighbourBlock, Int32Array);
  return [...neighbourRows.subarray(row * header.neighbours, (row + 1) * header.neighbours)].filter((other) => other >= 0);
};

const pictureOfRow = new Int32Array(COUNT).fill(-1);
for (const [row, picture] of header.thumbnails) pictureOfRow[row] = picture;
const picture = (number) => "data:image/jpeg;base64," + pictureText.substr(pictureStarts[number], header.pictures[number]);
const hasPicture = (row) => pictureOfRow[row] >= 0 || header.served !== null;
const sourceOf = (row) => {
  if (pictureOfRow[row] >= 0) return picture(pictureOfRow[row]);
  return header.served ? `thumbnails/${header.served[row]}.jpg` : "";
};
const variantsOf = new Map();
for (const [row, recipe, number] of header.variants) {
  if (!variantsOf.has(row)) variantsOf.set(row, []);
  variantsOf.get(row).push({ recipe, number });
}

// Foreign text with its invisible characters visible: some turn a line around.
const UNSEEN = /[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]|\udb40[\udc00-\udc7f]/g;
const shown = (text) => text.replace(UNSEEN, (part) => [...Array(part.length).keys()]
  .map((at) => "\\u" + part.charCodeAt(at).toString(16).padStart(4, "0")).join(""));
const isPlain = (text) => text.search(UNSEEN) < 0;

const OTHERS = "(others)";
const MISSING = "(missing)";
const EMPTY = "(empty text)";
const isoDay = (days) => new Date(days * 86400000).toISOString().slice(0, 10);
const safeDay = (days) => Math.abs(days) < 2e6 ? isoDay(days) : `day ${days}`;
const number = (value) => {
  if (Number.isInteger(value)) return value.toLocaleString("en");
  const size = Math.abs(value);
  return size >= 1e6 || size < 1e-3 ? value.toPrecision(3) : String(Number(value.toPrecision(4)));
};
const category = (column, code) => {
  if (code === 0) return MISSING;
  return code <= column.categories.length ? shown(column.categories[code - 1]) || EMPTY : `${OTHERS}: ${number(column.others)}`;
};
const text = (column, row) => {
  const value = column.values[row];
  if (column.kind === "category") return value === 0 ? "–" : category(column, value);
  if (Number.isNaN(value)) return "–";
  return column.kind === "day" ? safeDay(value) : number(value);
};
const titled = (name) => {
  const words = shown(name).replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
};

// An element with properties and children; texts are texts.
const element = (name, properties = {}, ...children) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
};
const SVG = "http://www.w3.org/2000/svg";
const drawn = (name, attributes) => {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
};
