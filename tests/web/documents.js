// Documents of the exporter as tests need them: one healthy fleet, one healthy agent.

/** @typedef {import("../../exporter/web/static/view.js").Fleet} Fleet */
/** @typedef {import("../../exporter/web/static/view.js").Agent} Agent */
/** @typedef {import("../../exporter/web/static/view.js").Pod} Pod */

export const NOW = 1_767_234_600;

/** @param {Partial<Fleet>} given @param {Partial<Fleet["agents"]>} agents @returns {Fleet} one agent with 12 tasks */
export const makeFleet = (given = {}, agents = {}) => ({
  namespace: "matillion", fleet: "etl", trusted: true, untrusted_reason: null, health: "ok", attention: 0, problems: [], remarks: [], runbook: null,
  agents: {total: 1, serving: 1, unreachable: 0, disconnected: 0, stopped: 0, starting: 0, draining: 0, ...agents}, scalers: null,
  tasks_per_agent: 20, target_tasks_per_agent: 16, desired_agents: 1, hpa_agents: 1, capacity_tasks: 20, tasks_active: 12, tasks_serving: 12,
  tasks_queued: 0, tasks_draining: 0, held_tasks: 0, replacement_tasks: 0, unseen_queue_tasks: 0, scale_in_held_tasks: 0,
  demand_tasks: 12, demand_ahead_tasks: 12, free_slots: 8, free_slots_certain: true, reading_age_seconds: 1, restarts: null,
  usual_start_seconds: null, forecast: null, ...given,
});

/** @param {Partial<Agent>} given @returns {Agent} */
export const makeAgent = (given = {}) => ({
  namespace: "matillion", fleet: "etl", pod: "agent-1", uid: `uid-${given.pod ?? "agent-1"}`, state: "serving", reason: "serving 12 tasks",
  needs_attention: false, looked_at: true, runbook: null, drain_cut_short: false, refusing: null, fresh: true, version: "11.50.0",
  tasks_active: 12, tasks_queued: 0, heap_used_bytes: 1, heap_limit_bytes: 3, memory_working_set_bytes: null, kubernetes: null, ...given,
});

/** @param {Partial<Pod>} given @returns {Pod} one that runs */
export const makePod = (given = {}) => ({
  memory_limit_bytes: null, restarts: 0, protected: null, node: "node-1", created_time_seconds: NOW - 3600, started_time_seconds: NOW - 3500,
  waiting_reason: null, ...given,
});
