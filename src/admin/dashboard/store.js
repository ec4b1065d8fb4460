// The numbers over time that the page draws: two rings, as /api/history gives them.

const FINE = 600;

class Store {
  constructor() {
    this.fine = { step: 1000, at: [], series: {} };
    this.coarse = { step: 10000, at: [], series: {} };
  }

  /** Takes over the server's past. */
  load(history) {
    for (const ring of ['fine', 'coarse']) {
      const { step_ms: step, at, series } = history[ring];
      this[ring] = { step, at, series };
    }
  }

  /** Adds a second. */
  push(at, sample) {
    const ring = this.fine;
    if (ring.at.length && at <= ring.at[ring.at.length - 1]) return;
    ring.at.push(at);
    for (const name of Object.keys(sample)) {
      const column = (ring.series[name] ??= new Array(ring.at.length - 1).fill(null));
      column.push(sample[name]);
    }
    if (ring.at.length > FINE) {
      ring.at.shift();
      for (const column of Object.values(ring.series)) column.shift();
    }
  }

  get last() { return this.fine.at[this.fine.at.length - 1] ?? null; }

  /** Times and columns from `from` on; long spans from the coarse ring, and its newest part from the fine one. */
  span(from, long) {
    if (!long) return this.cut(this.fine, from);
    const old = this.cut(this.coarse, from);
    const end = old.at[old.at.length - 1] ?? from;
    const recent = this.cut(this.fine, end + 1);
    const pick = recent.at.map((_, i) => i).filter((i) => i % 10 === 9);
    const series = {};
    for (const name of new Set([...Object.keys(old.series), ...Object.keys(recent.series)])) {
      const then = old.series[name] ?? new Array(old.at.length).fill(null);
      series[name] = then.concat(pick.map((i) => recent.series[name]?.[i] ?? null));
    }
    return { step: this.coarse.step, at: old.at.concat(pick.map((i) => recent.at[i])), series };
  }

  cut(ring, from) {
    let i = 0;
    while (i < ring.at.length && ring.at[i] < from) i += 1;
    const series = {};
    for (const [name, column] of Object.entries(ring.series)) series[name] = column.slice(i);
    return { step: ring.step, at: ring.at.slice(i), series };
  }

  /** The mean of the last few seconds: calmer to read than the last second. */
  recent(name, seconds = 5) {
    const values = (this.fine.series[name] ?? []).slice(-seconds).filter(known);
    return values.length ? values.reduce((a, b) => a + b, 0) / values.length : null;
  }
}
