import { constants, monitorEventLoopDelay, PerformanceObserver, type PerformanceEntry } from 'node:perf_hooks';
import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { Counter, Gauge, Histogram } from 'prom-client';
import { Metrics } from './metrics.js';

/** How often the event loop is asked to be on time, in milliseconds. */
const RESOLUTION_MS = 20;
const NS_PER_SEC = 1e9;

const GC_KINDS: Record<number, string> = {
  [constants.NODE_PERFORMANCE_GC_MAJOR]: 'major',
  [constants.NODE_PERFORMANCE_GC_MINOR]: 'minor',
  [constants.NODE_PERFORMANCE_GC_INCREMENTAL]: 'incremental',
  [constants.NODE_PERFORMANCE_GC_WEAKCB]: 'weakcb',
};

/**
 * How the process is, under the names that prom-client's own default metrics have. Those leave a timer and an observer
 * behind for each registry for as long as the process lives; these stop with the application.
 */
@Injectable()
export class ProcessMetrics implements OnApplicationShutdown {
  private readonly delays = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  private readonly collections: PerformanceObserver;

  constructor({ registry }: Metrics) {
    const registers = [registry];
    this.reportEventLoop(registers);
    this.reportResources(registers);
    const gc = new Histogram({
      name: 'nodejs_gc_duration_seconds',
      help: 'How long garbage collections took, by kind',
      labelNames: ['kind'],
      buckets: [0.001, 0.01, 0.1, 1, 2, 5],
      registers,
    });
    this.collections = new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) gc.observe({ kind: kindOf(entry) }, entry.duration / 1000);
    });
    this.delays.enable();
    this.collections.observe({ entryTypes: ['gc'] });
  }

  onApplicationShutdown(): void {
    this.delays.disable();
    this.collections.disconnect();
  }

  /** How late the event loop was since the last time that somebody asked. */
  private reportEventLoop(registers: Metrics['registry'][]): void {
    const { delays } = this;
    const gauge = (name: string) =>
      new Gauge({
        name: `nodejs_eventloop_lag_${name}_seconds`,
        help: `How late the event loop was since the last scrape: ${name}`,
        registers,
      });
    const p50 = gauge('p50');
    const p99 = gauge('p99');
    new Gauge({
      name: 'nodejs_eventloop_lag_max_seconds',
      help: 'How late the event loop was since the last scrape: max',
      registers,
      collect() {
        p50.set(lateness(delays.percentile(50)));
        p99.set(lateness(delays.percentile(99)));
        this.set(lateness(delays.max));
        delays.reset();
      },
    });
  }

  private reportResources(registers: Metrics['registry'][]): void {
    new Counter({
      name: 'process_cpu_seconds_total',
      help: 'Processor time that the process has used, in its own code and in the kernel',
      registers,
      collect() {
        const { user, system } = process.cpuUsage();
        this.reset();
        this.inc((user + system) / 1e6);
      },
    });
    const heap = new Gauge({ name: 'nodejs_heap_size_used_bytes', help: 'Heap in use', registers });
    new Gauge({
      name: 'process_resident_memory_bytes',
      help: 'Memory that the process occupies',
      registers,
      collect() {
        const { rss, heapUsed } = process.memoryUsage();
        this.set(rss);
        heap.set(heapUsed);
      },
    });
    new Gauge({
      name: 'process_start_time_seconds',
      help: 'When the process started, in seconds since 1970',
      registers,
    }).set(performance.timeOrigin / 1000);
  }
}

/** The monitor measures from one call to the next, in nanoseconds: what is above its resolution was late. */
const lateness = (ns: number) => Math.max(0, ns / NS_PER_SEC - RESOLUTION_MS / 1000);

const kindOf = (entry: PerformanceEntry) =>
  GC_KINDS[(entry as PerformanceEntry & { detail: { kind: number } }).detail.kind] ?? 'other';
