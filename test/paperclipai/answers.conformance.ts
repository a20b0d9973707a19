import { ANSWERS } from './answers.js';
import { Harbour } from './harbour.js';
import { furnish, withNames, type Names } from './names.js';

let harbour: Harbour;
let names: Names;

beforeAll(async () => {
  harbour = await Harbour.open();
  names = await furnish(harbour);
});
afterAll(() => harbour.close());

describe('the client shows what the server answers', () => {
  it.each(ANSWERS)('%s', async (command, expected) => {
    const answer = await harbour.client.json(withNames(command, names));
    expect({ answer }).toMatchObject({ answer: expected(names) });
  });
});
