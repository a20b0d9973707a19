import { Harbour } from './harbour.js';
import { furnish, withNames, type Names } from './names.js';

/** Lists as they are printed for people: the client writes a line of each row of a bare array. */
const PRINTS: [command: string, expected: RegExp][] = [
  ['company list', /^id=\S+ name=Harbour status=active /m],
  ['agent list -C {company}', /^id={agent} name=deckhand status=\w+ role=general /m],
  ['environment list -C {company}', /^id={environment} name=Local status=active /m],
  ['token agent list -C {company} --agent {agent}', /^id={key} name=kept /m],
  ['token board list', /^(\(empty\)|\[\]|id=.*)$/m],
  ['run list -C {company}', /^id={run} status=succeeded agentId={agent} invocationSource=on_demand .*logBytes=5/m],
  ['run live -C {company}', /^(\(empty\)|id=.*)$/m],
  ['run events {run}', /^seq=\d+ eventType=heartbeat\.run\.status level=info message=succeeded$/m],
  ['run issues {run}', /^identifier=HAR-1 id={issue} status=\w+ /m],
  ['run log {run} --text', /ahoy/],
  ['issue list -C {company}', /^identifier=HAR-1 id={issue} /m],
  ['issue active-run {issue}', /^\(null\)$/m],
  ['activity list -C {company}', /^id=\S+ action=\S+ actorType=\S+ actorId=\S+ /m],
  ['workspace list -C {company}', /^id={workspace} name=slip /m],
];

/** Commands that the server refuses: the client ends with 1 and shows the sentence. */
const REFUSALS: [command: string, expected: RegExp][] = [
  ['company get {nobody}', /API error 404: Company not found/],
  [`company create --payload-json '{"nmae":"Typo"}'`, /API error 400: .*nmae.* details=\[\{"field":"nmae"/],
  ['agent get {nobody}', /API error 404: Agent not found/],
  [
    `agent create -C {company} --payload-json '{"name":"x","adapterType":"nope"}'`,
    /API error 400: There is no adapter "nope"; choose one of: .* details=\[\{"field":"adapterType"/,
  ],
  [`agent create -C {company} --payload-json '{"name":"x","defaultEnvironmentId":"{nobody}"}'`, /API error 4(04|22): /],
  [`agent wake {agent} --payload '{"issueId":"{nobody}"}'`, /API error 4(04|22): /],
  ['token agent revoke {nobody} -C {company} --agent {agent}', /API error 404: /],
  [
    `environment create -C {company} --payload-json '{"name":"e","driver":"local"}'`,
    /API error 409: .*local environment/,
  ],
  [
    `environment create -C {company} --payload-json '{"name":"e","driver":"nope"}'`,
    /API error 400: There is no driver "nope"/,
  ],
  ['environment get {nobody}', /API error 404: Environment not found/],
  ['environment lease {nobody}', /API error 404: /],
  ['environment delete {environment}', /API error 409: .* details=/],
  ['run get {nobody}', /API error 404: /],
  ['run get nonsense', /API error 40[04]: /],
  ['run cancel {nobody}', /API error 404: /],
  ['issue get HAR-999', /API error 404: Issue not found/],
  ['issue checkout {issue} --agent-id {nobody}', /API error 4(04|22): /],
  ['issue create -C {company} --title x --assignee-agent-id {nobody}', /API error 4(04|22): /],
  [
    `activity create -C {company} --payload-json '{"action":"issue.created","entityType":"issue","entityId":"{issue}"}'`,
    /API error 400: .*custom\./,
  ],
  ['workspace get {nobody}', /API error 404: Execution workspace not found/],
  ['health --api-key nonsense', /API error 401: /],
];

let harbour: Harbour;
let names: Names;

beforeAll(async () => {
  harbour = await Harbour.open();
  names = await furnish(harbour);
});
afterAll(() => harbour.close());

describe('the client prints a line of each row', () => {
  it.each(PRINTS)('%s', async (command, expected) => {
    const { exitCode, stdout, stderr } = await harbour.client.run(withNames(command, names));
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    expect(stdout).toMatch(new RegExp(withNames(expected.source, names), expected.flags));
  });
});

describe('the client ends with 1 and says why', () => {
  it.each(REFUSALS)('%s', async (command, expected) => {
    const { exitCode, stderr } = await harbour.client.run(withNames(command, names));
    expect(stderr).toMatch(expected);
    expect(exitCode).toBe(1);
  });
});
