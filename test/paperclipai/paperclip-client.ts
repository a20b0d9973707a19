import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

export const CLIENT = path.join(import.meta.dirname, 'node_modules/paperclipai/dist/index.js');
const COMMAND_MS = 50_000;

/** What a command of the client said. */
export interface Said {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Everything that the client would read of the machine or tell others, pointed into one directory or switched off; what
 * else it would take from the environment of the caller is not there at all.
 */
export const hermetic = (home: string): Record<string, string> => ({
  PATH: '/usr/bin:/bin',
  HOME: home,
  PAPERCLIP_HOME: home,
  PAPERCLIP_CONTEXT: path.join(home, 'context.json'),
  PAPERCLIP_AUTH_STORE: path.join(home, 'auth.json'),
  PAPERCLIP_CONFIG: path.join(home, 'config.json'),
  PAPERCLIP_TELEMETRY_DISABLED: '1',
  DO_NOT_TRACK: '1',
  PAPERCLIP_UPDATE_CHECK: '0',
  PAPERCLIP_NO_BROWSER: '1',
  NO_COLOR: '1',
});

/** The published command line client, as one caller of one server. */
export class PaperclipClient {
  private constructor(
    private readonly url: string,
    readonly home: string,
    private readonly apiKey?: string,
  ) {}

  /** @param url of the server, without `/api` */
  static async of(url: string): Promise<PaperclipClient> {
    return new PaperclipClient(url, await mkdtemp(path.join(tmpdir(), 'berth-paperclipai-')));
  }

  /** The same, showing this key or run token. */
  as(apiKey: string): PaperclipClient {
    return new PaperclipClient(this.url, this.home, apiKey);
  }

  /** Runs a command line; quotes keep words together. */
  run(command: string): Promise<Said> {
    const words = (command.match(/'[^']*'|\S+/g) ?? []).map((word) => word.replace(/^'(.*)'$/s, '$1'));
    const args = [CLIENT, ...words, '--api-base', this.url, ...(this.apiKey ? ['--api-key', this.apiKey] : [])];
    return new Promise((resolve, reject) => {
      const options = { cwd: this.home, env: hermetic(this.home), timeout: COMMAND_MS, maxBuffer: 64 * 1024 * 1024 };
      const child = execFile(process.execPath, args, options, (error, stdout, stderr) => {
        if (error && typeof error.code !== 'number') reject(new Error(`\`${command}\` did not end`, { cause: error }));
        else resolve({ exitCode: Number(error?.code ?? 0), stdout, stderr });
      });
      // An open standard input would make it ask for a login.
      child.stdin?.end();
    });
  }

  /** What a command answers, as data; it has to end well. */
  async json<Answer>(command: string): Promise<Answer> {
    const { exitCode, stdout, stderr } = await this.run(`${command} --json`);
    if (exitCode !== 0) throw new Error(`\`${command}\` ended with ${exitCode}: ${stderr}${stdout}`);
    return JSON.parse(stdout) as Answer;
  }

  close(): Promise<void> {
    return rm(this.home, { recursive: true, force: true });
  }
}
