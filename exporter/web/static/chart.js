// A fleet's chart: its last hours, and what is expected of the next ones. Pure: no DOM, no network, no clock.
import {clock, fleetName, lasting, number} from "./view.js";

/** @typedef {import("./view.js").Ahead} Ahead */
/** @typedef {import("./view.js").Charted} Charted */
/** @typedef {import("./view.js").Points} Points */
/** @typedef {import("./view.js").Stored} Stored */
/** @typedef {import("./view.js").Track} Track */
/** @typedef {[number, number, number | null]} Slot from, to, tasks */

export const HISTORY_SECONDS = 15; // the exporter takes a point that often
/** @type {[string, number][]} */
export const RANGES = [["15 min", 900], ["1 h", 3600], ["6 h", 21600]];
/** @type {[string, Charted][]} */
const LINES = [["capacity", "capacity_tasks"], ["running", "tasks_active"], ["queued", "tasks_queued"], ["demand", "demand_tasks"]];

// -- points -------------------------------------------------------------------------------------------------------------

/**
 * Every fleet's points once an answer that has only the later ones has come, without those no chart reaches back to. Those of a
 * fleet that the answer does not name are kept as long: after a restart the exporter has none to begin with.
 *
 * @param {Map<string, Points>} known by the fleet's name
 * @param {Track[]} later
 * @param {number} now Unix time
 * @returns {Map<string, Points>}
 */
export function joined(known, later, now) {
  const oldest = now - Math.max(...RANGES.map(([, seconds]) => seconds));
  const kept = [...known].filter(([, {time_seconds: times}]) => times[times.length - 1] >= oldest);
  return new Map([...kept, ...later.map((track) => continued(known.get(fleetName(track)), track, oldest))]);
}

/** @param {Points | undefined} before @param {Track} track @param {number} oldest Unix time @returns {[string, Points]} */
function continued(before, track, oldest) {
  const times = [...(before?.time_seconds ?? []), ...track.time_seconds];
  const skipped = Math.max(0, times.findIndex((time) => time >= oldest));
  /** @param {Charted} name */
  const column = (name) => [...(before?.[name] ?? []), ...(track[name] ?? track.time_seconds.map(() => null))].slice(skipped);
  return [fleetName(track), {
    time_seconds: times.slice(skipped), capacity_tasks: column("capacity_tasks"), tasks_active: column("tasks_active"),
    tasks_queued: column("tasks_queued"), demand_tasks: column("demand_tasks"), forecast_tasks: column("forecast_tasks"),
    tasks_lost: column("tasks_lost"), ahead: track.ahead ?? null, stored: track.stored ?? before?.stored ?? null,
  }];
}

/**
 * The time of the last point of all; 0 where that is in the future, since the exporter's clock was set back and dates its points anew.
 *
 * @param {Track[]} history
 * @param {number} before
 * @param {number} now Unix time
 */
export function lastTime(history, before, now) {
  const latest = history.reduce((last, track) => Math.max(last, ...track.time_seconds), before);
  return latest > now + HISTORY_SECONDS ? 0 : latest;
}

/**
 * The tasks lost within the last `range` seconds, each with its time: by how much the exporter's count grew from one point to
 * the next. A lower count is that of an exporter that was restarted, and began at 0.
 *
 * @param {Points | undefined} points
 * @param {number} now Unix time
 * @param {number} range seconds
 * @returns {[number, number][]}
 */
export function losses(points, now, range) {
  /** @type {[number, number][]} */
  const found = [];
  /** @type {number | null} */
  let before = null;
  points?.time_seconds.forEach((time, at) => {
    const count = points.tasks_lost[at];
    if (count === null) return;
    const grown = before === null ? 0 : count - (count < before ? 0 : before);
    if (grown > 0 && time >= now - range) found.push([time, grown]);
    before = count;
  });
  return found;
}

/** @param {number} range seconds */
const rangeName = (range) => RANGES.find(([, seconds]) => seconds === range)?.[0];

/**
 * At each time, the value that was given `lead` seconds before; null where there was none then.
 *
 * A forecast is about the lead time after it: an agent that starts on it is ready at its end. So it is compared with what
 * came then.
 *
 * @param {number[]} times
 * @param {(number | null)[]} values
 * @param {number} lead seconds
 * @returns {(number | null)[]}
 */
export function delayed(times, values, lead) {
  let last = -1;
  return times.map((time) => {
    while (times[last + 1] <= time - lead) last++;
    return last >= 0 && !hole(times[last], time - lead) ? values[last] : null;
  });
}

/** @param {number} one @param {number} other @returns {boolean} whether points are missing between two times */
const hole = (one, other) => other - one > 4 * HISTORY_SECONDS;

/**
 * Stretches without a hole: unknown or missing points are not drawn over.
 *
 * @param {number[]} times
 * @param {(number | null)[]} values
 */
export function unbroken(times, values) {
  /** @type {[number, number][][]} */
  const runs = [];
  /** @type {[number, number][]} */
  let run = [];
  times.forEach((time, at) => {
    const value = values[at];
    if (value === null || (at > 0 && hole(times[at - 1], time))) run = [];
    if (value === null) return;
    if (!run.length) runs.push(run);
    run.push([time, value]);
  });
  return runs;
}

// -- the time to come ---------------------------------------------------------------------------------------------------

const AHEAD_SHARE = 1 / 3; // of the range: it is the past that is compared
const SHORTEST_AHEAD = 900; // seconds; a history of minutes does not shrink what is expected to nothing

/**
 * A demand by time, as far as it is within two times; null where it is unknown.
 *
 * @param {Ahead | Stored | null} demand
 * @param {number} from Unix time
 * @param {number} until Unix time
 * @returns {Slot[]}
 */
export function slotsWithin(demand, from, until) {
  if (demand === null) return [];
  const {start_time_seconds: start, interval_seconds: step, demand_tasks: tasks} = demand;
  return tasks
    .map((value, at) => /** @type {Slot} */ ([Math.max(from, start + at * step), Math.min(until, start + (at + 1) * step), value]))
    .filter(([begin, end]) => begin < end);
}

/** @param {Slot[]} slots @returns {[number, number][][]} the steps of each stretch without a slot that is unknown */
export function steps(slots) {
  /** @type {[number, number][][]} */
  const found = [];
  slots.forEach(([start, end, tasks], at) => {
    if (tasks === null) return;
    if (at === 0 || slots[at - 1][2] === null) found.push([]);
    found[found.length - 1].push([start, tasks], [end, tasks]);
  });
  return found;
}

// -- axes ---------------------------------------------------------------------------------------------------------------

/** @type {number[]} seconds between two marks of time */
const TIME_STEPS = [60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800];
const MOST_MARKS = 6; // of an axis: as many times as a narrow window has room for

/** @param {number} highest @returns {number[]} round numbers from 0 up to one that is not below it */
export function taskMarks(highest) {
  const rough = Math.max(highest, 1) / 3, power = 10 ** Math.floor(Math.log10(rough));
  const step = Math.max(1, (/** @type {number} */ ([1, 2, 5, 10].find((factor) => factor * power >= rough))) * power);
  return Array.from({length: Math.max(1, Math.ceil(highest / step)) + 1}, (_, at) => at * step);
}

/**
 * Round times of the reader's clock.
 *
 * @param {number} from Unix time
 * @param {number} until Unix time
 * @param {number} offset seconds by which the reader's clock is ahead of UTC
 * @returns {number[]}
 */
export function timeMarks(from, until, offset) {
  const step = TIME_STEPS.find((seconds) => (until - from) / seconds < MOST_MARKS) ?? TIME_STEPS[TIME_STEPS.length - 1];
  const first = Math.ceil((from + offset) / step) * step - offset;
  return Array.from({length: Math.max(0, Math.floor((until - first) / step) + 1)}, (_, at) => first + at * step);
}

// -- drawing ------------------------------------------------------------------------------------------------------------

const WIDTH = 600, HEIGHT = 140, HEAD = 6, FOOT = 18;
const STEPS = 60; // of the keyboard, from one end to the other
const LABEL_ROOM = 0.03; // of the width, that a time at an end would need beyond it

/**
 * A fleet's chart over the last `range` seconds, as SVG paths; null while there are less than two points. With a forecast,
 * also over the time to come; the forecast of the past is drawn at the time that it was made for. Before the first point, the
 * demand that was stored is drawn.
 *
 * @param {Points | undefined} points
 * @param {number} now Unix time
 * @param {number} range seconds
 * @param {number | null} lead seconds that the forecast looks ahead; null where none is configured
 * @param {number} offset seconds by which the reader's clock is ahead of UTC
 */
export function chart(points, now, range, lead = null, offset = 0) {
  if (!points) return null;
  const found = points.time_seconds.findIndex((time) => time >= now - range);
  const first = found < 0 ? points.time_seconds.length : found;
  const times = points.time_seconds.slice(first);
  const stored = slotsWithin(points.stored, now - range, times.length ? times[0] : now);
  const known = stored.findIndex(([, , tasks]) => tasks !== null), earlier = known < 0 ? [] : stored.slice(known);
  if (times.length + earlier.length < 2) return null;
  const columns = LINES.map(([kind, name]) => ({kind, values: points[name].slice(first), note: ""}));
  if (lead !== null && (points.ahead !== null || points.forecast_tasks.some((value) => value !== null))) {
    const values = delayed(points.time_seconds, points.forecast_tasks, lead).slice(first);
    columns.push({kind: "forecast", values, note: ` (made ${lasting(lead)} before)`});
  }
  const from = earlier.length ? earlier[0][0] : times[0], past = Math.max(now - from, 1), bottom = HEIGHT - FOOT;
  const slots = slotsWithin(points.ahead, now, now + Math.min(range * AHEAD_SHARE, Math.max(past, SHORTEST_AHEAD)));
  const until = slots.length ? slots[slots.length - 1][1] : now, width = Math.max(until - from, 1);
  const highest = Math.max(...columns.flatMap(({values}) => values.map((value) => value ?? 0)), ...[...earlier, ...slots].map(([, , tasks]) => tasks ?? 0));
  const marks = taskMarks(highest), top = marks[marks.length - 1];
  const x = (/** @type {number} */ time) => (WIDTH * (time - from)) / width;
  const y = (/** @type {number} */ value) => HEAD + (bottom - HEAD) * (1 - value / top);
  const line = (/** @type {[number, number][]} */ run) =>
    run.map(([time, value], at) => `${at ? "L" : "M"}${x(time).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  const expected = steps(slots);
  // What can be selected: what was stored, the points, then what is expected, each stretch at its middle.
  const middle = (/** @type {Slot} */ [start, end]) => (start + end) / 2;
  const places = [...earlier.map(middle), ...times, ...slots.map(middle)];
  /** @param {number} time @returns {number} the index of the place that is nearest */
  const at = (time) =>
    places.reduce((best, place, index) => (Math.abs(place - time) < Math.abs(places[best] - time) ? index : best), 0);
  return {
    label: `tasks over the last ${rangeName(range)}${slots.length ? `, and expected in the next ${lasting(until - now)}` : ""}`,
    box: `0 0 ${WIDTH} ${HEIGHT}`,
    axis: marks.map((mark) => `M0 ${y(mark).toFixed(1)}H${WIDTH}`).join(""),
    tasks: marks.map((mark) => ({text: number(mark), share: y(mark) / HEIGHT})),
    times: timeMarks(from, until, offset).map((time) => ({text: clock(time), share: (time - from) / width}))
      .filter(({share}) => share > LABEL_ROOM && share < 1 - LABEL_ROOM),
    lost: losses(points, now, now - from).map(([time]) => `M${x(time).toFixed(1)} ${HEAD}V${bottom}`).join(""),
    stored: steps(earlier).map(line).join(""),
    lines: columns.map(({kind, values}) => {
      const runs = unbroken(times, values);
      const area = runs.map((run) => `${line(run)}L${x(run[run.length - 1][0]).toFixed(1)} ${bottom}L${x(run[0][0]).toFixed(1)} ${bottom}Z`);
      return {kind, path: runs.map(line).join(""), area: kind === "running" ? area.join("") : null};
    }),
    ahead: slots.length ? {
      share: (now - from) / width,
      now: `M${x(now).toFixed(1)} ${HEAD}V${bottom}`,
      ground: `M${x(now).toFixed(1)} ${HEAD}H${WIDTH}V${bottom}H${x(now).toFixed(1)}Z`,
      edge: expected.map(line).join(""),
      band: expected.map((stretch) => `${line(stretch)}V${bottom}H${x(stretch[0][0]).toFixed(1)}Z`).join(""),
    } : null,
    at,
    last: places.length - 1,
    /** @param {number} share of the width, from the left @returns the index of the place that is nearest */
    nearest: (share) => at(from + width * share),
    /** @param {number} index @returns {number} Unix time */
    time: (index) => places[index],
    /** @param {number | null} index from which the keyboard goes @param {number} steps to the right @returns {number} */
    moved(index, steps) {
      if (index === null) return earlier.length + times.length - 1;
      const next = at(places[index] + (width * steps) / STEPS);
      return Math.min(Math.max(next === index ? index + Math.sign(steps) : next, 0), places.length - 1);
    },
    /** @param {number} index */
    cursor: (index) => `M${x(places[index]).toFixed(1)} ${HEAD}V${bottom}`,
    /**
     * Every kind is in it, whatever is selected, so that nothing around it moves.
     *
     * @param {number | null} index of the selected place
     * @returns {{head: string, entries: [string, string][]}}
     */
    legend(index) {
      const point = index !== null && index >= earlier.length && index < earlier.length + times.length ? index - earlier.length : null;
      const slot = index === null || point !== null ? undefined : [...earlier, ...slots][index < earlier.length ? index : index - times.length];
      const before = index !== null && index < earlier.length;
      /** @type {[string, string][]} */
      const entries = columns.map(({kind, values, note}) => [kind, `${kind}${point === null ? "" : ` ${number(values[point])}`}${note}`]);
      if (earlier.length) entries.push(["stored", `demand, stored${slot && before ? ` ${number(slot[2])}` : ""}`]);
      if (slots.length) entries.push(["expected", slot && !before ? `expected ${number(slot[2])}` : "expected"]);
      return {head: slot ? `${clock(slot[0])} – ${clock(slot[1])}` : point === null ? `${clock(from)} – ${clock(until)}` : clock(times[point], true), entries};
    },
  };
}
