// Draws what the page has in its blocks of JSON, with uPlot. Names of points and buckets
// come from the server, which knows the time zone; here is only how they are drawn.
'use strict';
(() => {
  const drawn = new Set();
  const narrow = '\u202f';

  // Colours come from the style sheet, as the theme has them.
  const probe = document.createElement('i');
  function colour(name) {
    probe.className = 'unseen';
    probe.style.color = `var(--${name})`;
    document.body.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  }
  function palette() {
    const names = ['text', 'muted', 'line', 'panel', 'accent', 'success', 'failed', 'timedout', 'canceled', 'skipped', 'unknown'];
    return Object.fromEntries(names.map((name) => [name, colour(name)]));
  }

  // Numbers as the server writes them.
  const count = (n) => String(Math.round(n)).replace(/\B(?=(\d{3})+$)/g, narrow);
  function duration(s) {
    if (s <= 0) return `0${narrow}s`;
    if (s < 0.9995) return `${count(Math.max(1, s * 1000))}${narrow}ms`;
    if (s < 9.95) return `${s.toFixed(1).replace(/\.0$/, '')}${narrow}s`;
    if (s < 59.5) return `${Math.round(s)}${narrow}s`;
    s = Math.round(s);
    const [h, m, rest] = [Math.floor(s / 3600), Math.floor(s / 60) % 60, s % 60];
    const two = (a, unit, b, small) => `${a}${narrow}${unit}${b ? ` ${b}${narrow}${small}` : ''}`;
    return h ? two(h, 'h', m, 'min') : two(m, 'min', rest, 's');
  }
  const share = (n, all) => (all ? `${(n / all * 100).toFixed(1)}${narrow}%` : '–');

  // What tells statuses apart without their colours: patterns, as the legend has them.
  const hatched = {
    timedout: (c) => { c.moveTo(-2, 10); c.lineTo(10, -2); c.moveTo(3, 13); c.lineTo(13, 3); },
    canceled: (c) => { c.moveTo(-2, -2); c.lineTo(10, 10); c.moveTo(3, -3); c.lineTo(13, 7); },
  };
  function pattern(key, colours) {
    if (!['timedout', 'canceled', 'skipped', 'unknown'].includes(key)) return colours[key];
    const tile = document.createElement('canvas');
    tile.width = tile.height = 8;
    const c = tile.getContext('2d');
    c.fillStyle = colours.panel;
    c.fillRect(0, 0, 8, 8);
    c.strokeStyle = c.fillStyle = colours[key];
    if (key === 'unknown') for (const [x, y] of [[2, 2], [6, 6]]) { c.beginPath(); c.arc(x, y, 1.7, 0, 7); c.fill(); }
    if (key === 'skipped') c.fillRect(0, 0, 8, 2);
    if (hatched[key]) { c.lineWidth = key === 'timedout' ? 3 : 2; c.beginPath(); hatched[key](c); c.stroke(); }
    return c.createPattern(tile, 'repeat');
  }

  // Axes. Their labels are measured, so that none is cut off.
  function font(pixels = 1) {
    const size = 0.75 * parseFloat(getComputedStyle(document.documentElement).fontSize);
    return `${Math.round(size * pixels)}px ${getComputedStyle(document.body).fontFamily}`;
  }
  const line = () => Math.round(1.25 * parseFloat(font()));
  const ruler = document.createElement('canvas').getContext('2d');
  function widest(labels) {
    ruler.font = font();
    return Math.ceil(Math.max(0, ...labels.map((l) => ruler.measureText(l).width)));
  }
  const nice = [1, 2, 5];
  function countStep(most, ticks) {
    for (let power = 1; ; power *= 10) {
      for (const n of nice) if (most / (n * power) <= ticks) return n * power;
    }
  }
  const durationSteps = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400, 172800, 604800];
  function durationStep(most, ticks) {
    return durationSteps.find((s) => most / s <= ticks) || durationSteps.at(-1);
  }
  // upTo is where an axis ends that has room for a value, and where it has lines.
  function upTo(highest, stepOf) {
    const step = stepOf(highest, 4);
    const n = Math.ceil(highest / step);
    return [n * step, () => Array.from({ length: n + 1 }, (_, i) => i * step)];
  }
  // byHand are the series of a chart that draws them itself.
  const byHand = () => [{}, { show: true, paths: () => null, points: { show: false } }];

  // every is which points get a label: every nth, with room for the widest.
  function every(u, labels) {
    const room = u.bbox.width / devicePixelRatio / Math.max(1, labels.length);
    const least = Math.max(1, Math.ceil((widest(labels) + 14) / room));
    return [1, 2, 3, 4, 6, 7, 12, 14, 24, 28, 48, 91].find((n) => n >= least) || least;
  }
  function pointAxis(labels, colours) {
    return {
      stroke: colours.muted, font: font(), size: line() + 12, gap: 4,
      grid: { show: false }, ticks: { stroke: colours.line, width: 1, size: 4 },
      splits: (u) => {
        const n = every(u, labels);
        return labels.map((_, i) => i).filter((i) => i % n === 0);
      },
      values: (_, splits) => splits.map((i) => labels[i]),
    };
  }
  function valueAxis(colours, splits, text) {
    return {
      stroke: colours.muted, font: font(), gap: 6,
      size: (_, values) => (values ? widest(values) : 0) + 14,
      grid: { stroke: colours.line, width: 1 }, ticks: { show: false },
      splits, values: (_, all) => all.map(text),
    };
  }

  // unit is what a value axis counts, written above it.
  function unit(text, colours) {
    return (u) => {
      const c = u.ctx;
      c.save();
      c.font = font(devicePixelRatio);
      c.fillStyle = colours.muted;
      c.textAlign = 'left';
      c.textBaseline = 'top';
      c.fillText(text, 2 * devicePixelRatio, 2 * devicePixelRatio);
      c.restore();
    };
  }

  // empty says that there is nothing to draw.
  function empty(colours) {
    return (u) => {
      const c = u.ctx;
      c.save();
      c.font = font(devicePixelRatio);
      c.fillStyle = colours.muted;
      c.textAlign = 'center';
      c.fillText('no duration is known', u.bbox.left + u.bbox.width / 2, u.bbox.top + u.bbox.height / 2);
      c.restore();
    };
  }

  // column is where point i is drawn, in pixels of the canvas.
  function column(u, i, part = 0.8) {
    const [a, b] = [u.valToPos(i - part / 2, 'x', true), u.valToPos(i + part / 2, 'x', true)];
    const width = Math.max(1, Math.min(Math.round(b - a), 64 * devicePixelRatio));
    return [Math.round((a + b) / 2 - width / 2), width];
  }

  function common(chart, colours, splits, text, most) {
    const { data } = chart;
    return {
      legend: { show: false },
      padding: [line() + 9, () => Math.max(8, widest(data.labels) / 2 - chart.box.clientWidth / Math.max(1, data.labels.length) / 2), 0, 0],
      scales: {
        x: { time: false, range: () => [-0.5, data.labels.length - 0.5] },
        y: { range: () => [0, most || 1] },
      },
      cursor: {
        y: false, points: { show: false },
        drag: { x: Boolean(data.starts), y: false, setScale: false },
      },
      axes: [pointAxis(data.labels, colours), valueAxis(colours, splits, text)],
      hooks: { draw: [unit(data.unit, colours)] },
    };
  }

  // Jobs by status, stacked.
  function stack(chart, colours) {
    const { data } = chart;
    const sums = data.labels.map((_, i) => data.series.reduce((sum, s) => sum + s.values[i], 0));
    const highest = Math.max(1, ...sums);
    const [most, splits] = upTo(highest, countStep);
    const options = common(chart, colours, splits, count, most);
    const parts = new Set(data.parts || []);
    options.series = byHand();
    options.hooks.draw.push((u) => {
      const c = u.ctx;
      c.save();
      for (let i = 0; i < data.labels.length; i++) {
        const [x, width] = column(u, i);
        let below = 0;
        c.globalAlpha = parts.has(i) ? 0.5 : 1;
        for (const s of data.series) {
          const n = s.values[i];
          if (!n) continue;
          const [top, bottom] = [u.valToPos(below + n, 'y', true), u.valToPos(below, 'y', true)];
          below += n;
          c.fillStyle = chart.fills[s.key];
          c.fillRect(x, Math.round(top), width, Math.max(1, Math.round(bottom) - Math.round(top)));
        }
      }
      c.restore();
    });
    return {
      options, values: [data.labels.map((_, i) => i), sums],
      told: (i) => Object.fromEntries(data.series.map((s) => [s.key, count(s.values[i])])),
      point: (i) => `${data.long[i]}: ${count(sums[i])} jobs`,
    };
  }

  // Durations over time: a line each for median and 95th percentile, and what is between.
  function band(chart, colours) {
    const { data } = chart;
    const [p50, p95] = data.series.map((s) => s.values);
    const highest = Math.max(0.01, ...p95.filter((v) => v !== null));
    const [most, splits] = upTo(highest, durationStep);
    const options = common(chart, colours, splits, duration, most);
    const dots = { show: (u, s, from, to) => to - from < 45, size: 5, fill: colours.accent, stroke: colours.accent };
    options.series = [{},
      { stroke: colours.accent, width: 2, points: dots },
      { stroke: colours.accent, width: 2, dash: [6, 4], points: dots }];
    const soft = document.createElement('canvas').getContext('2d');
    soft.fillStyle = colours.accent;
    if (p95.every((v) => v === null)) options.hooks.draw.push(empty(colours));
    options.bands = [{ series: [2, 1], fill: soft.fillStyle + '26' }];
    return {
      options, values: [data.labels.map((_, i) => i), p50, p95],
      told: (i) => ({ p50: p50[i] === null ? '–' : duration(p50[i]), p95: p95[i] === null ? '–' : duration(p95[i]) }),
      point: (i) => data.long[i],
    };
  }

  // Heat: how many jobs took how long, by point of time. Darker, or in the dark theme
  // lighter, is more; the scale is of square roots, or few would never be seen beside many.
  function heat(chart, colours) {
    const { data } = chart;
    const rows = data.bounds.length;
    const most = Math.max(1, ...data.cells.flat());
    const strength = (n) => 0.15 + 0.85 * Math.sqrt(n / most);
    const used = data.bounds.map((_, j) => j).filter((j) => data.cells.some((point) => point[j]));
    const [low, high] = [used[0] ?? 0, (used.at(-1) ?? rows - 1) + 1];
    const marks = round(data.bounds, low, high, 6).map(([at, d]) => [at + 1, d]);
    const options = common(chart, colours, () => marks.map(([at]) => at), (at) => duration(marks.find((m) => m[0] === at)[1]), rows);
    options.scales.y.range = () => [low, high];
    options.axes[1].grid = { show: false };
    options.axes[1].ticks = { stroke: colours.line, width: 1, size: 4 };
    options.axes[1].gap = 2;
    options.cursor.y = true;
    options.series = byHand();
    options.hooks.draw.push((u) => {
      const c = u.ctx;
      c.save();
      c.fillStyle = colours.accent;
      for (let i = 0; i < data.cells.length; i++) {
        const [x, width] = column(u, i, 1);
        for (let j = 0; j < rows; j++) {
          const n = data.cells[i][j];
          if (!n) continue;
          const [top, bottom] = [Math.round(u.valToPos(j + 1, 'y', true)), Math.round(u.valToPos(j, 'y', true))];
          c.globalAlpha = strength(n);
          c.fillRect(x, top, Math.max(1, width - 1), Math.max(1, bottom - top - 1));
        }
      }
      c.restore();
    });
    if (!used.length) options.hooks.draw.push(empty(colours));
    scale(chart, used.length ? most : 0, strength);
    return {
      options, values: [data.labels.map((_, i) => i), data.labels.map(() => rows)],
      told: () => ({}),
      point: (i, j) => j >= 0 && j < rows ? `${data.long[i]}, ${data.buckets[j]}: ${count(data.cells[i][j])} jobs` : data.long[i],
    };
  }
  // round are durations that people know, and where they are among buckets: at i is the
  // upper bound of bucket i. There are at most so many, between two buckets.
  const known = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800, 86400, 172800, 604800];
  function round(bounds, low, high, most) {
    const all = known.map((d) => [Math.log2(d / bounds[0]) * 2, d]).filter(([at]) => at + 1 >= low && at + 1 <= high);
    const n = Math.ceil(all.length / most);
    return all.filter((_, i) => (all.length - 1 - i) % n === 0);
  }

  function scale(chart, most, strength) {
    const box = chart.figure.querySelector('[data-scale]');
    const shown = most === 0 ? [] : [...new Set([1, most / 16, most / 4, most].map((n) => Math.max(1, Math.round(n))))];
    box.replaceChildren(most ? 'jobs:' : '', ...shown.flatMap((n) => {
      const swatch = document.createElement('i');
      swatch.className = 'swatch';
      swatch.style.background = 'var(--accent)';
      swatch.style.opacity = strength(n);
      return [swatch, count(n)];
    }));
  }

  // How long jobs that passed took, and those that did not: as shares, for there are far
  // more of the former.
  function distribution(chart, colours) {
    const { data } = chart;
    const sums = data.series.map((s) => s.values.reduce((a, b) => a + b, 0));
    const shares = data.series.map((s, k) => s.values.map((n) => sums[k] ? n / sums[k] : 0));
    const highest = Math.max(0.01, ...shares.flat()) * 100;
    const [most, splits] = upTo(highest, countStep);
    const options = common(chart, colours, splits, (v) => `${v}${narrow}%`, most);
    options.axes[0].splits = (u) => {
      const room = u.bbox.width / devicePixelRatio / (widest(known.map(duration)) + 10);
      chart.marks = round(data.bounds, 0, data.bounds.length, Math.max(2, Math.floor(room))).map(([at, d]) => [at + 0.5, d]);
      return chart.marks.map(([at]) => at);
    };
    options.axes[0].values = (_, splits) => splits.map((at) => duration(chart.marks.find((m) => m[0] === at)[1]));
    options.series = byHand();
    options.hooks.draw.push((u) => {
      const c = u.ctx;
      const floor = Math.round(u.valToPos(0, 'y', true));
      for (let i = 0; i < data.labels.length; i++) {
        const [x, width] = column(u, i);
        shares.forEach((s, k) => {
          const top = Math.round(u.valToPos(s[i] * 100, 'y', true));
          c.fillStyle = chart.fills[data.series[k].key];
          c.fillRect(x + Math.round(k * width / 2), top, Math.max(1, Math.floor(width / 2) - 1), floor - top);
        });
      }
    });
    return {
      options, values: [data.labels.map((_, i) => i), shares[0].map((v) => v * 100)],
      told: (i) => Object.fromEntries(data.series.map((s, k) => [s.key, `${share(s.values[i], sums[k])} (${count(s.values[i])})`])),
      point: (i) => data.long[i],
    };
  }

  const kinds = { stack, band, heat, distribution };

  function tell(chart, i, j) {
    for (const box of chart.figure.querySelectorAll('[data-key]')) {
      box.textContent = i === null ? '' : chart.kind.told(i)[box.dataset.key] ?? '';
    }
    chart.figure.querySelector('[data-point]').textContent = i === null ? '' : chart.kind.point(i, j);
  }

  // choose leads to the part of the period that was drawn over with the pointer.
  function choose(chart, u) {
    if (u.select.width < 8 || !chart.data.starts) return;
    const last = chart.data.labels.length - 1;
    const at = (px) => Math.min(last, Math.max(0, Math.round(u.posToVal(px, 'x'))));
    const to = new URL(location.href);
    for (const name of [...to.searchParams.keys()]) {
      if (/^(last|interval|(\w+\.)?offset)$/.test(name)) to.searchParams.delete(name);
    }
    to.searchParams.set('from', chart.data.starts[at(u.select.left)]);
    to.searchParams.set('to', chart.data.starts[at(u.select.left + u.select.width) + 1]);
    location.assign(to);
  }

  function draw(box, colours) {
    const figure = box.closest('figure');
    const chart = { box, figure, data: JSON.parse(figure.querySelector('script').textContent), at: null };
    chart.fills = Object.fromEntries(Object.keys(colours).map((key) => [key, pattern(key, colours)]));
    chart.kind = kinds[chart.data.kind](chart, colours);
    const { options, values } = chart.kind;
    options.width = box.clientWidth;
    options.height = box.clientHeight || 240;
    options.hooks.setCursor = [(u) => {
      const { left, top } = u.cursor;
      if (left === undefined || left < 0) { chart.at = null; tell(chart, null); return; }
      const i = Math.min(chart.data.labels.length - 1, Math.max(0, Math.round(u.posToVal(left, 'x'))));
      chart.at = i;
      tell(chart, i, top >= 0 ? Math.floor(u.posToVal(top, 'y')) : -1);
    }];
    options.hooks.setSelect = [(u) => choose(chart, u)];
    chart.plot = new uPlot(options, values, box);
    chart.resized = new ResizeObserver(() => {
      if (box.clientWidth && box.clientWidth !== chart.plot.width) chart.plot.setSize({ width: box.clientWidth, height: options.height });
    });
    chart.resized.observe(box);
    chart.keys = (event) => step(chart, event);
    box.addEventListener('keydown', chart.keys);
    drawn.add(chart);
  }

  // step reads a chart with the keyboard, point by point.
  function step(chart, event) {
    const last = chart.data.labels.length - 1;
    const from = chart.at ?? (event.key === 'ArrowLeft' ? last + 1 : -1);
    const to = { ArrowLeft: from - 1, ArrowRight: from + 1, Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const i = Math.min(last, Math.max(0, to));
    chart.plot.setCursor({ left: chart.plot.valToPos(i, 'x'), top: chart.plot.over.clientHeight / 2 });
    const said = [...chart.figure.querySelectorAll('.key')].map((k) => k.textContent.trim()).filter((t) => /\d/.test(t));
    document.querySelector('[data-status]').textContent = [chart.kind.point(i, -1), ...said].join(', ');
  }

  function clear() {
    for (const chart of drawn) {
      chart.resized.disconnect();
      chart.box.removeEventListener('keydown', chart.keys);
      chart.plot.destroy();
    }
    drawn.clear();
  }

  // drawCharts draws all charts of the page anew, in the colours of the theme.
  window.drawCharts = () => {
    clear();
    const boxes = document.querySelectorAll('[data-chart]');
    if (boxes.length) {
      const colours = palette();
      for (const box of boxes) draw(box, colours);
    }
    document.documentElement.dataset.ready = '';
  };
})();
