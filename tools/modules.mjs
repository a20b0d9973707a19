// Who may know whom. A module may import from itself, from the modules named here, and from whatever those may import.
// Speech in the other direction is by domain event.
export const modules = {
  redaction: [],
  config: ['redaction'],
  errors: [],
  events: ['redaction'],
  metrics: [],
  database: ['config', 'errors'],
  http: ['config', 'database', 'errors', 'events', 'metrics'],
  auth: ['http'],
  companies: ['auth'],
  secrets: ['companies'],
  agents: ['secrets'],
  issues: ['agents'],
  environments: ['secrets'],
  leases: ['environments'],
  heartbeat: ['leases', 'issues'],
  activity: ['heartbeat'],
  retention: ['activity'],
  health: ['heartbeat'],
};

/** Everything that a module may import from, itself included. */
export function reachable(name) {
  return [...new Set([name, ...modules[name].flatMap(reachable)])];
}
