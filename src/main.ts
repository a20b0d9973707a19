import { setSourceMapsSupport } from 'node:module';

// Traces of errors name lines of the sources. Only for what is loaded after this, so everything else is; and not for
// packages, as `--enable-source-maps` does: their maps take 15 MB, and are looked at by nobody.
setSourceMapsSupport(true);
await import('./server.js');
