// Writes src/metadata.ts: what the Swagger plugin reads from the DTOs' types and comments. The program imports that
// file, so a stub has to exist before the program can be analysed.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { PluginMetadataGenerator } from '@nestjs/cli/lib/compiler/plugins/plugin-metadata-generator.js';
import { ReadonlyVisitor } from '@nestjs/swagger/plugin';

const { plugins } = JSON.parse(readFileSync('nest-cli.json', 'utf8')).compilerOptions;
const { options } = plugins.find(({ name }) => name === '@nestjs/swagger');
if (!existsSync('src/metadata.ts')) writeFileSync('src/metadata.ts', 'export default async () => ({});\n');
new PluginMetadataGenerator().generate({
  visitors: [new ReadonlyVisitor({ ...options, pathToSource: 'src' })],
  outputDir: 'src',
  tsconfigPath: 'tsconfig.build.json',
});
