import { randomBytes } from 'node:crypto';

const unique = (what: string) => `${what}/${randomBytes(12).toString('base64url')}+"quoted"`;

/** What is planted. Those that are plain stand in configs as their owner wrote them, and nowhere else. */
export const KEPT = {
  agent: unique('agent'),
  environment: unique('environment'),
  rotated: unique('rotated'),
  /** Of a version that was the latest once; fits into the header of a request as it is. */
  pinned: randomBytes(18).toString('hex'),
  header: `Bearer ${randomBytes(18).toString('hex')}`,
  brokenHeader: `${unique('broken')}\nheader`,
  pem: `-----BEGIN PRIVATE KEY-----\n${randomBytes(48).toString('base64')}\n${randomBytes(48).toString('base64')}\n-----END PRIVATE KEY-----\n`,
};
export const PLAIN = {
  agent: unique('plain-agent'),
  environment: unique('plain-environment'),
  header: randomBytes(18).toString('hex'),
};
/** Said beside every secret: where it is not found, nothing was looked at. */
export const CONTROL = 'this-may-be-seen';
/** Of runs, and of agents. */
const ANY_TOKEN = /berth_(run_eyJ[\w.-]{100,}|agent_[0-9a-f-]{36}_[\w-]{43})/;

/** Says everything that it was given, in every way in which it can, to its streams and to both servers. */
export const BLABBER = `
  const { env } = process;
  const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const values = ['TOKEN', 'SHARED', 'PEM', 'PINNED', 'API_PASSWORD', 'SHARED_SECRET', 'PAPERCLIP_API_KEY'].map((name) => env[name]);
  for (const value of values) {
    for (const stream of [process.stdout, process.stderr]) {
      const half = Math.floor(value.length / 2);
      stream.write('${CONTROL} ' + value.slice(0, half));
      await wait(20);
      stream.write(value.slice(half) + '\\n');
      for (const line of value.split('\\n')) stream.write('  > ' + line + '\\n');
      stream.write(Buffer.from('x' + value).toString('base64') + ' ' + encodeURIComponent(value) + '\\n');
    }
  }
  console.log(JSON.stringify(env));
  const said = values.join(' and ') + ' ${CONTROL}';
  const { PAPERCLIP_COMPANY_ID: company, PAPERCLIP_TASK_ID: issue, PAPERCLIP_LEASE_ID: lease } = env;
  for (const api of [env.PAPERCLIP_API_URL, env.OTHER_API]) {
    const send = async (method, path, body) => {
      const headers = {
        'content-type': 'application/json',
        authorization: 'Bearer ' + env.PAPERCLIP_API_KEY,
        'idempotency-key': env.PINNED + api,
        'x-request-id': env.PINNED,
      };
      const answer = await fetch(api + '/api' + path, { method, headers, body: JSON.stringify(body) });
      console.log(method, path, answer.status, await answer.text());
    };
    await send('POST', '/issues/' + issue + '/comments', { body: said });
    await send('PATCH', '/issues/' + issue, { description: said });
    await send('POST', '/companies/' + company + '/issues', { title: 'An issue', description: said });
    await send('POST', '/companies/' + company + '/activity', { action: 'custom.said', details: { said, [values[0]]: 1 } });
    const authorization = 'Bearer ' + env.PAPERCLIP_API_KEY;
    const held = await fetch(api + '/api/environment-leases/' + lease, { headers: { authorization } });
    const { fencingToken } = await held.json();
    await send('PATCH', '/environment-leases/' + lease, { metadata: { said }, fencingToken });
    await send('POST', '/companies/' + company + '/secrets', { name: said, value: said });
    await send('POST', '/agents/' + env.PAPERCLIP_AGENT_ID + '/wakeup', { reason: said, payload: { said } });
    await send('GET', '/agents/' + env.PAPERCLIP_AGENT_ID + '?companyId=' + encodeURIComponent(values[0]));
  }
  console.log(JSON.stringify({ type: 'result', result: said, nested: [{ [said]: values }] }));
  process.exitCode = 1;`;

/** Writes its token into a file, and waits until it may end. */
export const PARROT = 'printf %s "$PAPERCLIP_API_KEY" > "$FILE"; until [ -e "$FILE.end" ]; do sleep 0.1; done';

/** Every form in which a value is recognised. */
const formsOf = (value: string) => {
  const lines = value.split('\n').filter((line) => line.length > 20 && !line.startsWith('---'));
  const token = value.replace(/^Bearer /, '');
  return [...lines, token].flatMap((text) => [
    text,
    JSON.stringify(text).slice(1, -1),
    encodeURIComponent(text),
    Buffer.from(text).toString('base64').replace(/.?=*$/, ''),
  ]);
};
/** What nobody may see, and what operators see in the configs that they wrote it in. */
export const kept = Object.values(KEPT).flatMap(formsOf);
export const plain = Object.values(PLAIN).flatMap(formsOf);
/** What of all that was planted stands in a text, and the first token. */
export const foundIn = (text: string, forms = [...kept, ...plain]) => [
  ...forms.filter((form) => text.includes(form)),
  ...(ANY_TOKEN.exec(text) ?? []).slice(0, 1),
];

/** The texts in a JSON value as they are, one below the other. */
export const unescaped = (json: unknown): string => {
  const texts: string[] = [];
  JSON.stringify(json, (name, value: unknown) => {
    texts.push(name, typeof value === 'string' ? value : '');
    return value;
  });
  return texts.join('\n');
};
