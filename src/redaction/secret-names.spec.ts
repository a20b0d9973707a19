import { REDACTED, textsNamedSecret, withoutSecrets } from './secret-names.js';

const SECRET_NAMES = [
  ...['secret', 'secrets', 'secretKey', 'SECRET_KEY_BASE', 'client_secret', 'client_secret_2', 'clientSecretValue'],
  ...['password', 'passwords', 'dbPassword', 'PGPASSWORD', 'PASSWORD_2', 'new-password', 'passwd', 'passphrase'],
  ...['pass', 'DB_PASS', 'smtpPass', 'MYSQL_PWD', 'dbPwd', 'passcode'],
  ...['token', 'tokens', 'NPM_TOKEN', 'TOKEN_1', 'apiToken', 'accesstoken', 'OAuth2Token', 'tokenHash', 'X-Auth-Token'],
  ...['apikey', 'apiKey', 'API_KEY', 'x-api-key', 'HTTPApiKey2', 'APIKey', 'OPENAI_API_KEY', 'apiKeys', 'API_KEY_PROD'],
  ...['accessKey', 'AWS_SECRET_ACCESS_KEY', 'privateKey', 'private_key_pem', 'signing_key', 'signingKeys'],
  ...['encryption_key', 'ENCRYPTION_KEY_OLD', 'RAILS_MASTER_KEY', 'sshKey', 'BERTH_BOOTSTRAP_KEY', 'BERTH_SECRETS_KEY'],
  ...['authorization', 'Proxy-Authorization', 'cookie', 'Set-Cookie', 'sessionCookies', 'REDISCLI_AUTH'],
  ...['credential', 'credentials', 'GOOGLE_APPLICATION_CREDENTIALS', 'dbCreds'],
  ...['dsn', 'SENTRY_DSN', 'connectionString', 'CONNECTION_STRING', 'ConnectionStrings__Main', 'connStr'],
  ...['GITHUB_PAT', 'idToken', 'session_jwt', 'otp'],
];

const OTHER_NAMES = [
  // What Berth says itself.
  ...['fencingToken', 'fencing_token', 'secretId', 'secretRef', 'keyId', 'keys', 'key', 'idempotencyKey', 'agentKey'],
  ...['taskKey', 'tokenLastUsedAt', 'lastPass', 'host', 'holder', 'reason', 'environmentId', 'leasePolicy', 'provider'],
  ...['authorAgentId', 'authorType', 'companyIds', 'readOnly', 'state', 'status', 'fields', 'identifier', 'driver'],
  // What is only about a secret.
  ...['AWS_ACCESS_KEY_ID', 'secretName', 'tokenType', 'PASSWORD_FILE', 'SSH_KEY_PATH', 'TOKEN_URL', 'tokenCount'],
  ...['token_limit', 'passwordPolicy', 'COOKIE_DOMAIN', 'SSH_AUTH_SOCK'],
  // What only sounds like one.
  ...['publicKey', 'primaryKey', 'cacheKey', 'monkey', 'keyboard', 'tokenizer', 'TOKENIZERS_PARALLELISM', 'secretary'],
  ...['PWD', 'OLDPWD', 'auth', 'author', 'bypass', 'passed', 'passCount', 'compass', 'path', 'pattern', 'connection'],
];

const COUNTS = [
  ...['tokens', 'inputTokens', 'outputTokens', 'maxTokens', 'cached_input_tokens', 'total_tokens', 'MAX_NEW_TOKENS'],
  ...['tokensUsed', 'tokenCount'],
];

const DEEP = { list: [{ apiToken: 't0ken-t0ken', note: 'n' }], credentials: { user: 'u5er-u5er', pin: 482_913 } };

describe(withoutSecrets.name, () => {
  it.each(SECRET_NAMES)('hides a text, a number and an object under %s', (name) => {
    for (const value of ['correct horse', { a: 'correct horse' }, ['correct horse']]) {
      expect(withoutSecrets({ [name]: value })).toEqual({ [name]: REDACTED });
    }
    if (!/tokens/i.test(name)) expect(withoutSecrets({ [name]: 482_913 })).toEqual({ [name]: REDACTED });
  });

  it.each(OTHER_NAMES)('shows what stands under %s', (name) => {
    for (const value of ['correct horse', 482_913, { a: 'b' }, ['a']]) {
      expect(withoutSecrets({ [name]: value })).toEqual({ [name]: value });
    }
  });

  it.each(COUNTS)('shows a count under %s', (name) => {
    for (const value of [482_913, '128000', { input: 5, output: 7 }, { cached: [0, null] }]) {
      expect(withoutSecrets({ [name]: value })).toEqual({ [name]: value });
    }
  });

  it('shows whether there is a secret', () => {
    const said = { password: null, apiKey: true, token: false };
    expect(withoutSecrets(said)).toEqual(said);
  });

  it('hides an address with a password in it under any name', () => {
    const url = 'postgres://berth:correct-horse@db.example/berth';
    const shown = ['postgres://berth@db.example/berth', 'https://berth.example:8443/@scope/a', 'a redis://:x@h'];
    expect(withoutSecrets({ DATABASE_URL: url, TOKEN_URL: url, args: [url, 'redis://:pw@h', ...shown] })).toEqual({
      DATABASE_URL: REDACTED,
      TOKEN_URL: REDACTED,
      args: [REDACTED, REDACTED, ...shown],
    });
  });

  it('looks into what is not secret as a whole', () => {
    const at = new Date();
    expect(withoutSecrets({ ...DEEP, at })).toEqual({
      list: [{ apiToken: REDACTED, note: 'n' }],
      credentials: REDACTED,
      at,
    });
  });
});

describe(textsNamedSecret.name, () => {
  it('finds texts and numbers, however deep', () => {
    expect(textsNamedSecret(DEEP)).toEqual(['t0ken-t0ken', 'u5er-u5er', '482913']);
  });

  it('takes neither counts nor what refers to a secret', () => {
    expect(textsNamedSecret({ MAX_TOKENS: '128000', env: { FILE: { secretRef: 'registry' } }, n: 5 })).toEqual([]);
  });

  it('finds addresses with a password in them', () => {
    expect(textsNamedSecret({ args: ['--db', 'mysql://a:b@c/d'] })).toEqual(['mysql://a:b@c/d']);
  });
});
