"use strict";
// The viewer: shows a run iteration by iteration. Its content is the JSON beside it, as page/viewer.py makes it.
(() => {
  const COLOURS = {
    grey: [[0, 0, 0], [255, 255, 255]],
    viridis: [[68, 1, 84], [72, 40, 120], [62, 74, 137], [49, 104, 142], [38, 130, 142], [31, 158, 137],
      [53, 183, 121], [109, 205, 89], [180, 222, 44], [253, 231, 37]],
    inferno: [[0, 0, 4], [31, 12, 72], [85, 15, 109], [136, 34, 106], [186, 54, 85], [227, 89, 51],
      [249, 140, 10], [249, 201, 50], [252, 255, 164]],
  };
  const LIGHT = [[5, 48, 97], [33, 102, 172], [146, 197, 222], [247, 247, 247],
    [244, 165, 130], [178, 24, 43], [103, 0, 31]];
  const DARK = [[178, 222, 255], [84, 170, 245], [38, 84, 130], [24, 27, 33],
    [140, 56, 44], [245, 112, 86], [255, 206, 190]];
  const PACE = 450, KEPT = 48, NARROW = 8;
  const isDark = matchMedia("(prefers-color-scheme: dark)");

  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  function number(value) {
    if (value === 0) return "0";
    const size = Math.abs(value);
    const text = size >= 999_999.5 ? value.toExponential(2).replace("+", "")
      : size >= 999.5 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(3)));
    return text.replaceAll("-", "−");
  }

  // A limit of a window, with so many decimals that the window's width has three digits.
  function limit(value, { low, high }) {
    if (!(high > low) || high - low < 1e-6 || Math.max(-low, high) >= 999_999.5) return number(value);
    return value.toFixed(clamp(2 - Math.floor(Math.log10(high - low)), 0, 9)).replace("-", "−");
  }

  function percent(share) {
    return `${Number((100 * share).toPrecision(2))} %`;
  }

  // A length, given in Å, in the unit in which what is shown is at most four digits wide: see results/text.py.
  function lengthOf(length, width) {
    const units = [[1, "Å"], [10, "nm"], [1e4, "µm"], [1e7, "mm"]];
    const [size, name] = units.find(([size]) => width < 9999.5 * size) ?? units.at(-1);
    return `${number(length / size)} ${name}`;
  }

  // The same of what is small within that width, such as a displacement: in Å or nm.
  function detailOf(length, width) {
    return width < 9999.5 ? `${number(length)} Å` : `${number(length / 10)} nm`;
  }

  function roundLength(length) {
    const power = 10 ** Math.floor(Math.log10(length));
    return [5, 2, 1].find((factor) => factor * power <= length * (1 + 1e-9)) * power;
  }

  function colourAt(points, share) {
    const place = clamp(share, 0, 1) * (points.length - 1);
    const before = Math.min(Math.floor(place), points.length - 2);
    return points[before].map((value, k) => Math.round(value + (points[before + 1][k] - value) * (place - before)));
  }

  function ofImages(name) {
    return Array.from({ length: 256 }, (_, level) => colourAt(COLOURS[name], level / 255));
  }

  // Levels of differences are roots of them: see page/images.py.
  function ofDifferences(scale, { middle, reach }) {
    const points = isDark.matches ? DARK : LIGHT;
    return Array.from({ length: 256 }, (_, level) => {
      const root = (level - middle) / reach;
      return colourAt(points, 0.5 + 0.5 * clamp(Math.sign(root) * root * root / scale, -1, 1));
    });
  }

  const kept = new Map();

  // The levels of a picture, which is given as a data: address; the latest ones are kept.
  async function levelsOf(address) {
    const found = kept.get(address);
    if (found) return found;
    const image = new Image();
    image.src = address;
    await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = image.naturalWidth;
    canvas.height = image.naturalHeight;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    const levels = { width: canvas.width, height: canvas.height, of: new Uint8Array(data.length / 4) };
    for (let k = 0; k < levels.of.length; k += 1) levels.of[k] = data[4 * k];
    kept.set(address, levels);
    if (kept.size > KEPT) kept.delete(kept.keys().next().value);
    return levels;
  }

  function paint(canvas, levels, colours) {
    canvas.width = levels.width;
    canvas.height = levels.height;
    const context = canvas.getContext("2d");
    const image = context.createImageData(levels.width, levels.height);
    levels.of.forEach((level, k) => {
      const [red, green, blue] = colours[level];
      image.data[4 * k] = red;
      image.data[4 * k + 1] = green;
      image.data[4 * k + 2] = blue;
      image.data[4 * k + 3] = 255;
    });
    context.putImageData(image, 0, 0);
    sharpen(canvas);
  }

  // Pixels that are shown large stay pixels, unless they are averages.
  function sharpen(canvas) {
    canvas.classList.toggle("pixels", canvas.classList.contains("whole") && canvas.clientWidth > 1.5 * canvas.width);
  }

  function option(value, text) {
    const made = document.createElement("option");
    made.value = value;
    made.textContent = text;
    return made;
  }

  class Viewer {
    constructor(section) {
      this.section = section;
      this.data = JSON.parse(document.getElementById(section.dataset.content).textContent);
      this.control = Object.fromEntries(
        [...section.querySelectorAll("select, input, button, output")].map((one) => [one.name, one]));
      this.pane = Object.fromEntries(
        [...section.querySelectorAll(".pane")].map((one) => [one.dataset.pane, one]));
      this.colours = { objp: "grey", obja: "grey", probe: "inferno" };
      this.scale = {};
      this.at = this.data.niters.length - 1;
      this.flickers = false;
      this.turn = 0;
      this.fill();
      this.listen();
      section.classList.add("live");
      this.chosen();
    }

    fill() {
      const { control, data } = this;
      const tensors = [...new Set(data.views.map((view) => view.tensor))];
      for (const tensor of tensors) {
        control.what.append(option(tensor, data.views.find((view) => view.tensor === tensor).name));
      }
      if (data.positions) control.what.append(option("positions", "Scan positions"));
      data.niters.forEach((niter, k) => control.other.append(option(k, `iteration ${niter}`)));
      control.other.value = 0;
      this.wished = data.halves[this.at] ? "half" : "other";
      control.slider.max = this.at;
      control.slider.value = this.at;
      const [first, last] = this.section.querySelectorAll(".ends span");
      first.textContent = data.niters[0];
      last.textContent = data.niters[this.at];
      const kept = data.niters.indexOf(data.keep);
      control.kept.textContent = `Show ${data.keep}, to keep`;
      control.kept.hidden = kept < 0 || kept === this.at;
    }

    listen() {
      const { control } = this;
      for (const name of ["what", "part", "beside", "other", "colours", "scale"]) {
        control[name].addEventListener("change", () => this.chosen(name));
      }
      control.slider.addEventListener("input", () => this.go(Number(control.slider.value)));
      control.play.addEventListener("click", () => this.play());
      control.flicker.addEventListener("click", () => this.flick());
      control.kept.addEventListener("click", () => this.go(this.data.niters.indexOf(this.data.keep)));
      this.section.addEventListener("pointerdown", () => { Viewer.latest = this; });
      this.section.addEventListener("focusin", () => { Viewer.latest = this; });
      let began = null;
      this.section.querySelector(".panes").addEventListener("touchstart", (event) => {
        began = event.touches.length === 1 ? event.touches[0].clientX : null;
      }, { passive: true });
      this.section.querySelector(".panes").addEventListener("touchend", (event) => {
        const far = began === null || visualViewport.scale > 1 ? 0 : event.changedTouches[0].clientX - began;
        if (Math.abs(far) > 40) this.go(this.at + (far < 0 ? 1 : -1));
      }, { passive: true });
      isDark.addEventListener("change", () => this.show());
      addEventListener("resize", () => this.resized());
    }

    get what() {
      return this.control.what.value;
    }

    get views() {
      return this.data.views.filter((view) => view.tensor === this.what);
    }

    get view() {
      return this.views[Number(this.control.part.value)] || this.views[0];
    }

    // Say whether a view can be compared in a way: not all have differences, and positions have nothing else.
    has(way) {
      return this.what === "positions" ? way !== "other" : way === "other" || Boolean(this.view[way]);
    }

    // What is beside the image, as was wished where there is that: its difference from the last or from half, or
    // another iteration.
    get beside() {
      return this.has(this.wished) ? this.wished : this.what === "positions" ? "last" : "other";
    }

    // The place of the iteration that is compared, -1 where there is none.
    get compared() {
      if (this.beside === "last") return this.data.niters.length - 1;
      if (this.beside === "half") return this.data.niters.indexOf(this.data.halves[this.at]);
      return Number(this.control.other.value);
    }

    chosen(name) {
      const { control } = this;
      const isPositions = this.what === "positions";
      if (name === undefined || name === "what") {
        const parts = this.views.map(({ number: one, of }) => of.split(one ? " of " : ", ")[0] || "whole");
        control.part.replaceChildren(...parts.map((part, k) => option(k, part)));
        this.shown("part", parts.length > 1);
        control.part.closest("label").querySelector("span").textContent = this.views[0]?.intensity ? "Mode" : "Slice";
        if (!isPositions) control.colours.value = this.colours[this.what];
      }
      if (name === "beside") this.wished = control.beside.value;
      for (const one of control.beside.options) one.disabled = !this.has(one.value);
      control.beside.value = this.beside;
      if (name === "colours") this.colours[this.what] = control.colours.value;
      if (name === "scale") this.scale[this.what] = Number(control.scale.value);
      if (!isPositions && name !== "scale") this.fillScales();
      const differs = !isPositions && this.beside !== "other";
      this.shown("other", !isPositions && this.beside === "other");
      this.shown("colours", !isPositions);
      this.shown("scale", differs && this.view.top > 0);
      control.flicker.hidden = isPositions;
      this.section.querySelector(".flickering").hidden = isPositions;
      this.show();
    }

    fillScales() {
      const { view } = this;
      const chosen = this.scale[this.what] || view.scale;
      const scales = this.data.scales.map((share) => option(share, `± ${this.reach(share, view)}`));
      this.control.scale.replaceChildren(...scales);
      this.control.scale.value = chosen;
    }

    // What a share of the range of an image's colours, or of the probe's peak, is.
    reach(share, view) {
      if (view.intensity) return `${percent(share)} of the peak`;
      return `${number(share * view.top)}${view.unit && ` ${view.unit}`} (${percent(share)})`;
    }

    shown(name, is) {
      this.control[name].closest("label").hidden = !is;
    }

    go(place) {
      this.at = clamp(place, 0, this.data.niters.length - 1);
      this.control.slider.value = this.at;
      this.show();
    }

    play(on = !this.timer) {
      clearInterval(this.timer);
      this.timer = on ? setInterval(() => this.go((this.at + 1) % this.data.niters.length), PACE) : 0;
      this.control.play.textContent = on ? "Pause" : "Play";
    }

    flick() {
      if (this.what === "positions" || this.compared < 0) return;
      this.flickers = !this.flickers;
      this.show();
    }

    get isLookedAt() {
      const { top, bottom } = this.section.getBoundingClientRect();
      return this.section.contains(document.activeElement) || (top < innerHeight / 2 && bottom > innerHeight / 2);
    }

    key(event) {
      const steps = { ArrowLeft: this.at - 1, ArrowRight: this.at + 1, Home: 0, End: this.data.niters.length - 1 };
      const own = event.target instanceof Element && event.target.closest("input, select, button, summary, a, .wide");
      const does = {
        ...Object.fromEntries(Object.entries(steps).map(([key, place]) => [key, () => this.go(place)])),
        " ": () => this.play(),
        f: () => this.flick(),
      }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
      const isScrolled = own && (own.type === "range" || own.classList.contains("wide"));
      const itself = own && (own.tagName === "SELECT" || (isScrolled && event.key in steps)
        || (own.type !== "range" && event.key === " "));
      const scrolls = [" ", "Home", "End"].includes(event.key);  // the page, unless the viewer is what is looked at
      if (!does || itself || (scrolls && !this.isLookedAt)) return;
      event.preventDefault();
      does();
    }

    async show() {
      const turn = this.turn += 1;
      delete this.section.dataset.shown;
      const { data, at, control } = this;
      const niter = data.niters[at];
      control.now.textContent = `iteration ${niter}${niter === data.keep ? ", to keep" : ""}`;
      control.slider.setAttribute("aria-valuetext", `iteration ${niter}`);
      control.flicker.setAttribute("aria-pressed", String(this.flickers));
      this.pane.left.classList.toggle("flickers", this.flickers && this.what !== "positions");
      if (this.what === "positions") {
        this.showPositions("left", "moved");
        this.showPositions("right", this.beside);
        return;
      }
      const { view, compared } = this;
      const place = this.flickers && compared >= 0 ? compared : at;
      await Promise.all([
        this.showImage("left", view, place, turn),
        this.beside === "other" ? this.showImage("right", view, compared, turn) : this.showDifference(view, turn),
      ]);
      if (turn === this.turn) this.section.dataset.shown = `${this.what} ${niter}`;
    }

    async showImage(side, view, place, turn) {
      const niter = this.data.niters[place];
      const { pictures, unknown } = view.image;
      const share = view.shares && view.shares[place] !== null ? `${percent(view.shares[place])} of the intensity` : "";
      await this.put(side, view, place, pictures[place], ofImages(this.colours[view.tensor]), turn, {
        title: `${view.name}, iteration ${niter}`,
        notes: [view.of, share, this.missing(unknown[place])],
        low: view.intensity ? "0" : limit(view.low, view),
        high: view.intensity ? "peak" : `${limit(view.high, view)}${view.unit && ` ${view.unit}`}`,
        none: `no value is finite at iteration ${niter}`,
      });
    }

    async showDifference(view, turn) {
      const { at, beside, compared, data } = this;
      const niter = data.niters[at];
      const { pictures, unknown } = view[beside];
      const scale = Number(this.control.scale.value);
      const reach = this.reach(scale, view).split(" (")[0];
      const isSame = compared === at;
      const missing = unknown[at] || view.image.unknown[at] || (compared >= 0 && view.image.unknown[compared]);
      await this.put("right", view, at, pictures[at], ofDifferences(scale, data), turn, {
        title: `${view.name}: ${compared < 0 ? "difference" : `iteration ${niter} − iteration ${data.niters[compared]}`}`,
        notes: [view.of, isSame ? "this is the last checkpoint itself" : "aligned difference", this.missing(unknown[at])],
        low: `−${reach.replace(" of the peak", "")}`,
        high: view.top > 0 ? reach : "",
        none: compared < 0 ? `no checkpoint near half of iteration ${niter}`
          : missing ? "no difference is finite" : "across a run boundary nothing can be compared",
      });
    }

    missing(count) {
      return count ? `${count} px are NaN or infinite` : "";
    }

    async put(side, view, place, address, colours, turn, words) {
      const pane = this.pane[side];
      const levels = address ? await levelsOf(address) : null;
      if (turn !== this.turn) return;
      const canvas = pane.querySelector("canvas.image");
      const [width, height] = view.sizes[place] || view.sizes[view.sizes.length - 1];
      this.frame(pane, width, height);
      const scaled = levels && levels.width < width ? `shown at ${levels.height} × ${levels.width} px` : "";
      canvas.classList.toggle("whole", Boolean(levels) && levels.width >= width);
      if (levels) paint(canvas, levels, colours);
      pane.classList.remove("plain");
      this.caption(pane, words.title, levels ? [...words.notes, scaled] : [], levels ? "" : words.none);
      const colouring = words.high && `colours from ${words.low} to ${words.high}`;
      const said = levels ? [...words.notes, colouring].filter(Boolean).join(", ") : words.none;
      canvas.setAttribute("aria-label", `${words.title}. ${said}`);
      this.legend(pane, colours, levels ? words.low : "", levels ? words.high : "");
      this.bar(pane, width * this.data.dx[place]);
    }

    frame(pane, width, height) {
      const stage = pane.querySelector(".stage");
      const aspect = clamp(width / height, 1 / NARROW, NARROW);
      stage.style.aspectRatio = String(aspect);
      stage.style.maxWidth = `${68 * aspect}vh`;
    }

    caption(pane, title, notes, none) {
      pane.querySelector(".title").textContent = title;
      pane.querySelector(".notes").textContent = notes.filter(Boolean).join(" · ");
      pane.querySelector(".none").textContent = none;
      pane.classList.toggle("empty", Boolean(none));
    }

    legend(pane, colours, low, high) {
      const strip = pane.querySelector("canvas.strip");
      pane.querySelector(".legend").hidden = !high;
      if (!high) return;
      const isDifference = pane.dataset.pane === "right" && this.beside !== "other";
      strip.width = 256;
      strip.height = 1;
      const context = strip.getContext("2d");
      const { middle, reach } = this.data;
      for (let x = 0; x < 256; x += 1) {
        const share = Number(this.control.scale.value) * (x / 127.5 - 1);
        const level = isDifference ? middle + reach * Math.sign(share) * Math.sqrt(Math.abs(share)) : x;
        context.fillStyle = `rgb(${colours[clamp(Math.round(level), 0, 255)].join(" ")})`;
        context.fillRect(x, 0, 1, 1);
      }
      pane.querySelector(".low").textContent = low;
      pane.querySelector(".high").textContent = high;
    }

    // A bar of a round length, about a quarter of the width, which is given in Å.
    bar(pane, width) {
      const length = roundLength(0.3 * width);
      pane.querySelector(".bar").style.width = `${100 * length / width}%`;
      pane.querySelector(".length").textContent = lengthOf(length, width);
    }

    showPositions(side, kind) {
      const { data, at } = this;
      const found = data.positions;
      const pane = this.pane[side];
      const part = found.part[at];
      const places = found.places[part];
      const moves = found[kind][at];
      const niter = data.niters[at];
      const from = kind === "moved" ? data.niters[found.part.indexOf(part)]
        : data.niters[kind === "last" ? data.niters.length - 1 : data.niters.indexOf(data.halves[at])];
      const rms = found.rms[kind][at];
      const some = found.shown < found.all ? `${found.shown} of ${found.all} positions` : `${found.all} positions`;
      const none = moves ? "" : kind === "half" ? `no checkpoint near half of iteration ${niter}`
        : "across a run boundary nothing can be compared";
      const title = !moves ? "Scan positions" : from === niter ? `Scan positions, iteration ${niter}`
        : `Scan positions, iteration ${from} to ${niter}`;
      const [x, y] = [0, 1].map((axis) => places.filter(Boolean).map((place) => place[axis]));
      const beside = 0.06 * Math.max(Math.max(...x) - Math.min(...x), Math.max(...y) - Math.min(...y), 1);
      const [left, top] = [Math.min(...x) - beside, Math.min(...y) - beside];
      const [width, height] = [Math.max(...x) + beside - left, Math.max(...y) + 2.5 * beside - top];
      this.frame(pane, width, height);
      const canvas = pane.querySelector("canvas.image");
      const scale = Math.min(devicePixelRatio || 1, 2) * Math.max(pane.querySelector(".stage").clientWidth, 50) / width;
      canvas.width = Math.round(scale * width);
      canvas.height = Math.round(scale * height);
      canvas.classList.remove("pixels");
      pane.classList.add("plain");
      const style = getComputedStyle(pane);
      const context = canvas.getContext("2d");
      context.fillStyle = style.getPropertyValue("--well");
      context.fillRect(0, 0, canvas.width, canvas.height);
      context.fillStyle = style.getPropertyValue("--soft");
      context.strokeStyle = style.getPropertyValue("--ink");
      context.lineWidth = Math.max(scale * width / 300, 1.25);
      places.forEach((place, k) => {
        if (!place) return;
        const [px, py] = [scale * (place[0] - left), scale * (place[1] - top)];
        context.beginPath();
        context.arc(px, py, 1.3 * context.lineWidth, 0, 7);
        context.fill();
        const move = moves && moves[k];
        if (move) this.arrow(context, px, py, ...move.map((length) => scale * found.stretch[kind] * length));
      });
      const itself = kind === "last" ? "this is the last checkpoint itself"
        : `this is the first checkpoint itself${part ? ", after a run boundary" : ""}`;
      const notes = !moves ? [some] : from === niter ? [some, itself]
        : rms === null ? [some, "a position is NaN or infinite: nothing can be aligned"]
          : [some, `RMS ${detailOf(rms, width)}`, `arrows ${number(found.stretch[kind])} × as long as the displacement`];
      this.caption(pane, title, notes, none);
      canvas.setAttribute("aria-label", `${title}. ${[...notes, none].filter(Boolean).join(", ")}`);
      this.legend(pane, [], "", "");
      this.bar(pane, width);
      this.section.dataset.shown = `positions ${niter}`;
    }

    arrow(context, x, y, right, down) {
      const far = Math.hypot(right, down);
      if (far < context.lineWidth) return;
      const head = Math.min(5 * context.lineWidth, 0.6 * far), turned = Math.atan2(down, right);
      context.beginPath();
      context.moveTo(x, y);
      context.lineTo(x + right, y + down);
      for (const side of [-0.5, 0.5]) {
        context.moveTo(x + right, y + down);
        context.lineTo(x + right - head * Math.cos(turned + side), y + down - head * Math.sin(turned + side));
      }
      context.stroke();
    }

    resized() {
      if (this.what === "positions") this.show();
      else this.section.querySelectorAll("canvas.image").forEach(sharpen);
    }
  }

  function start(section) {
    if (!section.viewer) section.viewer = new Viewer(section);
  }

  function isInSight(viewer) {
    const { top, bottom, height } = viewer.section.getBoundingClientRect();
    return height > 0 && top < innerHeight && bottom > 0;
  }

  // Unfolds the run that is asked for.
  function unfold(address) {
    const target = document.getElementById(address.slice(1));
    if (target && target.tagName === "DETAILS") target.open = true;
  }

  // Says by a class that what scrolls sideways does not fit.
  const fits = new ResizeObserver((entries) => entries.forEach(({ target }) => {
    target.classList.toggle("cut", target.scrollWidth > target.clientWidth);
  }));

  const sections = [...document.querySelectorAll(".viewer")];
  document.addEventListener("toggle", ({ target }) => {
    const within = [...target.querySelectorAll(".viewer")];
    if (target.open) within.forEach(start);
    else within.forEach((section) => section.viewer && section.viewer.play(false));
  }, true);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
    const viewers = sections.map((section) => section.viewer).filter((viewer) => viewer && isInSight(viewer));
    const viewer = viewers.includes(Viewer.latest) ? Viewer.latest : viewers[0];
    if (viewer) viewer.key(event);
  });
  document.addEventListener("click", (event) => {
    const link = event.target.closest("table.runs a");
    if (link) unfold(link.hash);  // a second time, too, when the page's address stays as it is
  });
  addEventListener("hashchange", () => unfold(location.hash));
  visualViewport.addEventListener("resize", () => {
    document.documentElement.classList.toggle("zoomed", visualViewport.scale > 1);
  });
  document.querySelectorAll(".wide").forEach((one) => fits.observe(one));
  sections.filter((section) => !section.closest("details:not([open])")).forEach(start);
  unfold(location.hash);
})();
