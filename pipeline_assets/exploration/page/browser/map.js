// The map: its size, moving, zooming, the lasso, the photo under the pointer, photos over the points.
const pointsCanvas = one("points"), over = one("over"), stage = one("stage"), hover = one("hover");
const PHOTO_PX = 46;
const paperColour = () => matchMedia("(prefers-color-scheme: dark)").matches ? "#171513" : "#fbfaf8";
const inkColour = () => matchMedia("(prefers-color-scheme: dark)").matches ? "#f3efe9" : "#26221d";
const map = { focus: -1, under: -1, path: null, pointers: new Map(), moved: false };
const tool = () => document.querySelector("input[name=tool]:checked").value;

let drawing = 0;
const redraw = () => {
  drawing ||= requestAnimationFrame(() => {
    drawing = 0;
    drawPoints(pointsCanvas);
    drawOver();
  });
};
let drawingOver = 0;
const redrawOver = () => {
  drawingOver ||= requestAnimationFrame(() => {
    drawingOver = 0;
    drawOver();
  });
};

const pictures = new Map(); // loaded images by source, the oldest forgotten
const image = (source) => {
  if (pictures.has(source)) return pictures.get(source);
  const made = new Image();
  made.onload = redrawOver;
  made.src = source;
  pictures.set(source, made);
  if (pictures.size > 1500) pictures.delete(pictures.keys().next().value);
  return made;
};

// Photos at their points, none over another.
const apart = (rows) => {
  const size = PHOTO_PX + 4, cells = new Map(), found = [];
  for (const row of rows) {
    if (!hasPicture(row)) continue;
    const [x, y] = onScreen(row);
    if (!(x > size / 2 && y > size / 2 && x < view.width - size / 2 && y < view.height - size / 2)) continue;
    const column = Math.floor(x / size), line = Math.floor(y / size);
    let isFree = true;
    for (let near = 0; near < 9 && isFree; near++) {
      const other = cells.get((column - 1 + near % 3) * 4096 + line - 1 + Math.floor(near / 3));
      isFree = !other || Math.abs(other[0] - x) >= size || Math.abs(other[1] - y) >= size;
    }
    if (!isFree) continue;
    cells.set(column * 4096 + line, [x, y]);
    found.push([row, x, y]);
  }
  return found;
};

const drawOver = () => {
  const context = over.getContext("2d");
  context.setTransform(view.ratio, 0, 0, view.ratio, 0, 0);
  context.clearRect(0, 0, view.width, view.height);
  if (one("with-photos").checked) {
    const found = apart(selected);
    // The photo in focus lies over the others.
    for (const row of [map.under, map.focus]) if (row >= 0 && hasPicture(row)) found.push([row, ...onScreen(row)]);
    for (const [row, x, y] of found) {
      const shownImage = image(sourceOf(row));
      if (!shownImage.complete || !shownImage.naturalWidth) continue;
      const { naturalWidth: width, naturalHeight: height } = shownImage;
      const side = Math.min(width, height), half = PHOTO_PX / 2;
      context.fillStyle = css(colouring.colours[colouring.tints[row]]);
      context.fillRect(x - half - 2, y - half - 2, PHOTO_PX + 4, PHOTO_PX + 4);
      context.drawImage(shownImage, (width - side) / 2, (height - side) / 2, side, side, x - half, y - half, PHOTO_PX, PHOTO_PX);
    }
  }
  context.strokeStyle = inkColour();
  for (const row of [map.under, map.focus]) {
    if (row < 0) continue;
    const [x, y] = onScreen(row);
    context.lineWidth = row === map.focus ? 2.5 : 1.5;
    context.beginPath();
    context.arc(x, y, 9, 0, 2 * Math.PI);
    context.stroke();
  }
  const path = map.path ?? lasso.polygon?.map(([x, y]) => toScreen(x, y));
  if (path?.length > 1) {
    context.lineWidth = 1.5;
    context.setLineDash([5, 4]);
    context.beginPath();
    path.forEach(([x, y], at) => (at ? context.lineTo(x, y) : context.moveTo(x, y)));
    context.closePath();
    context.stroke();
    context.setLineDash([]);
  }
};
const toScreen = (x, y) => {
  const [across, down] = scales();
  return [(x - view.x) * across + view.width / 2, (y - view.y) * down + view.height / 2];
};

const resized = () => {
  view.width = stage.clientWidth;
  view.height = stage.clientHeight;
  view.ratio = Math.min(devicePixelRatio || 1, 2);
  for (const canvas of [pointsCanvas, over]) {
    canvas.width = Math.round(view.width * view.ratio);
    canvas.height = Math.round(view.height * view.ratio);
  }
  redraw();
};
const zoomed = (factor, x = view.width / 2, y = view.height / 2) => {
  const [fromX, fromY] = inData(x, y);
  view.zoom = Math.min(Math.max(view.zoom * factor, 0.5), 2000);
  const [toX, toY] = inData(x, y);
  view.x += fromX - toX;
  view.y += fromY - toY;
  redraw();
};
const fitted = () => {
  Object.assign(view, { x: 0, y: 0, zoom: 1 });
  redraw();
};
const moved = (x, y) => {
  const [across, down] = scales();
  view.x -= x / across;
  view.y -= y / down;
  redraw();
};

const nearest = (x, y, reach) => {
  let best = -1, least = reach * reach;
  const [across, down] = scales();
  for (const row of selected) {
    const dx = (atX[row] - view.x) * across + view.width / 2 - x, dy = (atY[row] - view.y) * down + view.height / 2 - y;
    const distance = dx * dx + dy * dy;
    if (distance < least) [best, least] = [row, distance];
  }
  return best;
};
// The nearest selected photo in a direction: what lies aside counts double.
const neighbourTowards = (dx, dy) => {
  if (map.focus < 0 || fails[map.focus]) return nearest(view.width / 2, view.height / 2, Infinity);
  const [x, y] = onScreen(map.focus);
  let best = -1, least = Infinity;
  for (const row of selected) {
    const [otherX, otherY] = onScreen(row);
    const ahead = (otherX - x) * dx + (otherY - y) * dy;
    const aside = Math.abs((otherX - x) * dy) + Math.abs((otherY - y) * dx);
    const cost = ahead + 2 * aside;
    if (ahead > 0.01 && aside <= 2 * ahead && cost < least) [best, least] = [row, cost];
  }
  return best;
};

const isInside = (polygon, x, y) => {
  let inside = false;
  for (let at = 0, before = polygon.length - 1; at < polygon.length; before = at++) {
    const [x1, y1] = polygon[at], [x2, y2] = polygon[before];
    if (y1 > y !== y2 > y && x < (x2 - x1) * (y - y1) / (y2 - y1) + x1) inside = !inside;
  }
  return inside;
};
const lassoed = (polygon) => {
  const [left, right] = extent(polygon.map(([x]) => x)), [low, high] = extent(polygon.map(([, y]) => y));
  lasso.polygon = polygon;
  lasso.isActive = true;
  reject(lasso, (row) => {
    const x = atX[row], y = atY[row];
    return !(x >= left && x <= right && y >= low && y <= high && isInside(polygon, x, y));
  });
};
const viewCorners = () => [[0, 0], [view.width, 0], [view.width, view.height], [0, view.height]].map(([x, y]) => inData(x, y));

const focusOn = (row, isCentred) => {
  map.focus = row;
  if (row >= 0 && isCentred) {
    const [x, y] = onScreen(row);
    if (x < 20 || y < 20 || x > view.width - 20 || y > view.height - 20) {
      [view.x, view.y] = [atX[row], atY[row]];
      redraw();
    }
  }
  redrawOver();
};
const hovered = (row) => {
  if (row === map.under) return;
  map.under = row;
  hover.hidden = row < 0;
  if (row >= 0) {
    hover.replaceChildren(...cardOf(row));
    const [x, y] = onScreen(row);
    hover.style.left = `${Math.min(Math.max(x + 14, 4), view.width - 190)}px`;
    hover.style.top = `${Math.min(Math.max(y + 14, 4), view.height - 170)}px`;
  }
  redrawOver();
};

const wireMap = (changed, opened) => {
  const placeOf = (event) => {
    const box = over.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  over.addEventListener("pointerdown", (event) => {
    over.setPointerCapture(event.pointerId);
    map.pointers.set(event.pointerId, placeOf(event));
    map.moved = false;
    map.path = tool() === "lasso" && map.pointers.size === 1 ? [placeOf(event)] : null;
  });
  over.addEventListener("pointermove", (event) => {
    const [x, y] = placeOf(event);
    const before = map.pointers.get(event.pointerId);
    if (!before) return hovered(nearest(x, y, 14));
    const [dx, dy] = [x - before[0], y - before[1]];
    if (Math.hypot(dx, dy) < (map.moved ? 1 : 4)) return;
    map.moved = true;
    hovered(-1);
    if (map.path) {
      map.path.push([x, y]);
      map.pointers.set(event.pointerId, [x, y]);
      return redrawOver();
    }
    if (map.pointers.size === 2) {
      const [other] = [...map.pointers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
      const factor = Math.hypot(x - other[0], y - other[1]) / Math.max(Math.hypot(before[0] - other[0], before[1] - other[1]), 1);
      zoomed(factor, other[0], other[1]);
    } else moved(dx, dy);
    map.pointers.set(event.pointerId, [x, y]);
  });
  const ended = (event) => {
    if (!map.pointers.delete(event.pointerId)) return;
    const path = map.path;
    map.path = null;
    if (path && map.moved && event.type === "pointerup") {
      lassoed(path.map(([x, y]) => inData(x, y)));
      changed();
    } else if (!map.moved && event.type === "pointerup") {
      const row = nearest(...placeOf(event), 16);
      if (row >= 0) opened(row);
      focusOn(row);
    }
    redrawOver();
  };
  over.addEventListener("pointerup", ended);
  over.addEventListener("pointercancel", ended);
  over.addEventListener("pointerleave", () => hovered(-1));
  over.addEventListener("wheel", (event) => {
    event.preventDefault();
    hovered(-1);
    zoomed(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)), ...placeOf(event));
  }, { passive: false });
  over.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const direction = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (direction && event.shiftKey) moved(-60 * direction[0], -60 * direction[1]);
    else if (direction) {
      const row = neighbourTowards(...direction);
      if (row >= 0) focusOn(row, true);
      one("said").textContent = row >= 0 ? spoken(row) : "No selected photo there.";
    } else if (event.key === "Enter" && map.focus >= 0) opened(map.focus);
    else if (event.key === "+" || event.key === "=") zoomed(1.4);
    else if (event.key === "-") zoomed(1 / 1.4);
    else if (event.key === "0") fitted();
    else if (event.key === "Escape") {
      cleared(lasso);
      changed();
    } else return;
    event.preventDefault();
  });
  one("in").onclick = () => zoomed(1.6);
  one("out").onclick = () => zoomed(1 / 1.6);
  one("fit").onclick = fitted;
  one("in-view").onclick = () => {
    lassoed(viewCorners());
    changed();
  };
  one("with-photos").onchange = redrawOver;
  new ResizeObserver(resized).observe(stage);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
};
