// Draws the points: discs blended into the pixels of a canvas, the selected ones over the others.
const NAMED_COLOURS = ["#3b82c4", "#e07b39", "#3f9d63", "#c44e6c", "#8463b8", "#c9a227", "#4aa8a8", "#9a6a4f", "#d27fb8", "#7a8f3a"];
const SEQUENCE = ["#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725"];
const GREY = "#9a948c";
const SHADES = 64;
const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
const css = ([red, green, blue]) => `rgb(${red} ${green} ${blue})`;
const mixed = (from, to, part) => from.map((value, at) => Math.round(value + (to[at] - value) * part));
const shade = (part) => {
  const at = Math.min(Math.max(part, 0), 1) * (SEQUENCE.length - 1);
  const low = Math.min(Math.floor(at), SEQUENCE.length - 2);
  return mixed(rgb(SEQUENCE[low]), rgb(SEQUENCE[low + 1]), at - low);
};

// The colours of points by a column. tints: number of each row's colour; entries: the legend.
const colouring = { column: null, tints: new Uint8Array(COUNT), colours: [rgb(NAMED_COLOURS[0])], entries: [] };
const colourBy = (column) => {
  Object.assign(colouring, { column, tints: new Uint8Array(COUNT), colours: [rgb(NAMED_COLOURS[0])], entries: [], scale: null });
  if (!column) return;
  const values = column.values;
  if (column.kind === "category") {
    const size = Math.min(NAMED_COLOURS.length, column.categories.length);
    colouring.colours = [rgb(GREY), ...NAMED_COLOURS.slice(0, size).map(rgb)];
    for (let row = 0; row < COUNT; row++) colouring.tints[row] = values[row] <= size ? values[row] : 0;
    colouring.entries = column.categories.slice(0, size).map((_, at) => [category(column, at + 1), colouring.colours[at + 1], at + 1]);
    const rest = column.categories.length + column.others - size;
    if (rest > 0) colouring.entries.push([`${number(rest)} more`, rgb(GREY), null]);
    return;
  }
  // From the 2nd to the 98th of a hundred: one odd value takes the colours of no others.
  const finite = Float64Array.from(values).filter((value) => !Number.isNaN(value)).sort();
  if (!finite.length) return;
  const [low, high] = [0.02, 0.98].map((part) => finite[Math.floor(part * (finite.length - 1))]);
  colouring.colours = [rgb(GREY), ...[...Array(SHADES).keys()].map((at) => shade(at / (SHADES - 1)))];
  const scale = (SHADES - 1) / (high - low || 1);
  for (let row = 0; row < COUNT; row++) {
    const value = values[row];
    colouring.tints[row] = Number.isNaN(value) ? 0 : 1 + Math.round(Math.min(Math.max((value - low) * scale, 0), SHADES - 1));
  }
  const write = column.kind === "day" ? safeDay : number;
  colouring.scale = [write(low), write(high)];
};

// Where points are: their coordinates, and the view of them. scale: pixels of the screen for one unit.
const extent = (values) => {
  let low = Infinity, high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low <= high ? [low, high] : [0, 0];
};
const [[left, right], [bottom, top]] = [extent(xs), extent(ys)];
const spans = [right - left, top - bottom];
// Axes that are columns have each their own unit; a map has one.
const units = header.axes ? spans.map((span) => span || 1) : Array(2).fill(Math.max(...spans) || 1);
const atX = new Float32Array(COUNT).map((_, row) => (xs[row] - (left + right) / 2) / units[0]);
const atY = new Float32Array(COUNT).map((_, row) => ((bottom + top) / 2 - ys[row]) / units[1]);
const placed = [];
for (let row = 0; row < COUNT; row++) if (!Number.isNaN(atX[row]) && !Number.isNaN(atY[row])) placed.push(row);
const view = { x: 0, y: 0, zoom: 1, width: 1, height: 1, ratio: 1 };
const scales = () => {
  const whole = 0.92 * view.zoom;
  const square = Math.min(view.width, view.height) * whole;
  return header.axes ? [view.width * whole, view.height * whole] : [square, square];
};
const onScreen = (row) => {
  const [across, down] = scales();
  return [(atX[row] - view.x) * across + view.width / 2, (atY[row] - view.y) * down + view.height / 2];
};
const inData = (x, y) => {
  const [across, down] = scales();
  return [(x - view.width / 2) / across + view.x, (y - view.height / 2) / down + view.y];
};

// How much of each pixel a disc covers.
const stamp = (radius) => {
  const reach = Math.ceil(radius);
  const cells = [];
  for (let y = -reach; y <= reach; y++) {
    for (let x = -reach; x <= reach; x++) {
      const cover = Math.min(Math.max(radius + 0.5 - Math.hypot(x, y), 0), 1);
      if (cover > 0) cells.push([x, y, cover]);
    }
  }
  return cells;
};
const radius = () => {
  const base = COUNT > 200000 ? 1 : COUNT > 20000 ? 1.7 : COUNT > 3000 ? 2.6 : 4;
  return base * Math.min(2.5, view.zoom ** 0.35) * view.ratio;
};

let pixels = null;
const drawPoints = (canvas) => {
  const context = canvas.getContext("2d", { alpha: false });
  const { width, height } = canvas;
  if (!width || !height) return;
  if (pixels?.width !== width || pixels?.height !== height) pixels = context.createImageData(width, height);
  const data = pixels.data;
  const paper = rgb(paperColour());
  const word = new Uint32Array(data.buffer);
  word.fill(255 << 24 | paper[2] << 16 | paper[1] << 8 | paper[0]);
  const [across, down] = scales().map((scale) => scale * view.ratio);
  const middleX = width / 2 - view.x * across, middleY = height / 2 - view.y * down;
  const paint = (rows, isWanted, cells, strength, colourOf) => {
    const reach = cells.length ? -cells[0][1] : 0;
    const offsets = cells.map(([x, y]) => 4 * (y * width + x));
    const covers = cells.map(([, , cover]) => cover * strength);
    for (const row of rows) {
      if (!isWanted(row)) continue;
      const x = Math.round(atX[row] * across + middleX), y = Math.round(atY[row] * down + middleY);
      if (!(x >= reach && y >= reach && x < width - reach && y < height - reach)) continue;
      const [red, green, blue] = colourOf(row);
      const centre = 4 * (y * width + x);
      for (let cell = 0; cell < offsets.length; cell++) {
        const at = centre + offsets[cell], cover = covers[cell];
        data[at] += (red - data[at]) * cover;
        data[at + 1] += (green - data[at + 1]) * cover;
        data[at + 2] += (blue - data[at + 2]) * cover;
      }
    }
  };
  const faint = mixed(paper, rgb(GREY), 0.45);
  if (selected.length < COUNT) paint(placed, (row) => fails[row] > 0, stamp(radius() * 0.7), 0.7, () => faint);
  const { tints, colours } = colouring;
  paint(placed, (row) => fails[row] === 0, stamp(radius()), 0.85, (row) => colours[tints[row]]);
  context.putImageData(pixels, 0, 0);
};
