/** What `/metrics` said: the value of each series, by its name with its labels as they were written. */
export type Scraped = ReadonlyMap<string, number>;

/** Reads what a process measures, as Prometheus does. */
export async function scrape(url: string): Promise<Scraped> {
  const answer = await fetch(`${url}/metrics`);
  const text = await answer.text();
  if (answer.status !== 200) throw new Error(`/metrics was answered ${answer.status}: ${text}`);
  const series = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    series.map((line) => {
      const gap = line.lastIndexOf(' ');
      return [line.slice(0, gap), Number(line.slice(gap + 1))];
    }),
  );
}
