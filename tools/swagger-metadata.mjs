// Writes src/metadata.ts: what the Swagger plugin reads from the DTOs' types and comments. The program imports that
// file, so a stub stands in for it meanwhile: the one of last time may name what is no longer there.
import { readFileSync, writeFileSync } from 'node:fs';
import { PluginMetadataGenerator } from '@nestjs/cli/lib/compiler/plugins/plugin-metadata-generator.js';
import { ReadonlyVisitor } from '@nestjs/swagger/plugin';

const { plugins } = JSON.parse(readFileSync('nest-cli.json', 'utf8')).compilerOptions;
const { options } = plugins.find(({ name }) => name === '@nestjs/swagger');
writeFileSync('src/metadata.ts', 'export default async () => ({});\n');
new PluginMetadataGenerator().generate({
  visitors: [new ReadonlyVisitor({ ...options, pathToSource: 'src' })],
  outputDir: 'src',
  tsconfigPath: 'tsconfig.build.json',
});
