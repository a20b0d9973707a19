import { createTestDatabase } from '../support/test-database.js';

describe('test database', () => {
  it('is migrated', async () => {
    const database = await createTestDatabase();
    expect(await database.query('select count(*)::int as n from instance')).toEqual([{ n: 1 }]);
    await database.close();
  });
});
