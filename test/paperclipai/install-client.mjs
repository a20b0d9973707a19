import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';

const read = (file) => JSON.parse(readFileSync(path.join(import.meta.dirname, file), 'utf8'));

function isInstalled() {
  try {
    const { version } = read('node_modules/paperclipai/package.json');
    return version === read('package.json').dependencies.paperclipai;
  } catch {
    return false;
  }
}

/** Installs the pinned client beside this file, unless it is there already. None of its install scripts is needed. */
export default () => {
  if (isInstalled()) return;
  const args = ['ci', '--ignore-scripts', '--omit=optional', '--no-audit', '--no-fund'];
  execFileSync('npm', args, { cwd: import.meta.dirname, stdio: ['ignore', 'ignore', 'inherit'] });
};
