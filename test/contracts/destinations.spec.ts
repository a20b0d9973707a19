import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { DestinationRefusedError, Destinations } from '../../src/heartbeat/adapters/destinations.js';
import { exchange } from '../../src/heartbeat/adapters/http-exchange.js';

describe(Destinations.name, () => {
  const reached: string[] = [];
  const servers = ['127.0.0.1', '127.0.0.2'].map((address) => ({
    address,
    server: createServer((_request, response) => {
      reached.push(address);
      response.end();
    }),
  }));
  let port = 0;

  beforeAll(async () => {
    for (const { address, server } of servers) {
      server.listen(port, address);
      await once(server, 'listening');
      port = (server.address() as AddressInfo).port;
    }
  });
  beforeEach(() => void reached.splice(0));
  afterAll(() => servers.forEach(({ server }) => server.close()));

  /** Calls a host that means these addresses, another list each time that somebody asks. */
  const call = (allow: string[], ...meanings: string[][]) => {
    const asked: string[] = [];
    const { lookup } = new Destinations(allow, (host, _options, done) => {
      asked.push(host);
      const addresses = meanings[asked.length - 1] ?? [];
      done(
        null,
        addresses.map((address) => ({ address, family: 4 })),
      );
    });
    const url = new URL(`http://agent.example:${port}/`);
    const signal = AbortSignal.timeout(5_000);
    return { asked, answer: exchange({ url, method: 'GET', headers: {}, body: null, lookup, signal }) };
  };

  it('connects to the address that was looked at, whatever the name means a moment later', async () => {
    const { asked, answer } = call(['127.0.0.2'], ['127.0.0.2'], ['127.0.0.1']);
    await answer;
    expect(asked).toEqual(['agent.example']);
    expect(reached).toEqual(['127.0.0.2']);
  });

  it('leaves out the addresses that are refused', async () => {
    await call(['127.0.0.2'], ['127.0.0.1', '127.0.0.2']).answer;
    expect(reached).toEqual(['127.0.0.2']);
  });

  it('connects to nothing where all of them are', async () => {
    await expect(call(['127.0.0.2'], ['127.0.0.1', '169.254.169.254']).answer).rejects.toThrow(DestinationRefusedError);
    expect(reached).toEqual([]);
  });

  it.each(['10.1.2.3', '172.16.0.1', '192.168.1.5', '93.184.216.34', '[2606:4700::1]', '[fd12::1]'])(
    'is free to call %s',
    (host) => {
      expect(() => new Destinations([]).assertFree(new URL(`http://${host}/`))).not.toThrow();
    },
  );
});
