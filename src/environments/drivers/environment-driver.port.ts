/** What a driver finds when it looks at a place without using it. */
export interface ProbeResult {
  ok: boolean;
  /** One sentence for a person. */
  summary: string;
  details: Record<string, unknown>;
}

/** For whom a place is planned. */
export interface PlaceRequest {
  /** The place's id: what is made is named after it. */
  readonly placeId: string;
  readonly companyId: string;
  /** The environment's config as it is now. */
  readonly config: Record<string, unknown>;
}

/**
 * What is known of a place before it is made: enough to make it and to take it down, whatever happens to the
 * environment's config meanwhile. Kept with the place's row, so JSON, and no secrets.
 */
export interface PlacePlan {
  readonly facts: Record<string, unknown>;
  /** The only host that can reach it; null for any. */
  readonly host: string | null;
}

/** What a driver is asked to make ready, for one lease. */
export interface RealiseRequest {
  readonly leaseId: string;
  readonly companyId: string;
  /** The environment's config as it was when the lease was acquired. */
  readonly config: Record<string, unknown>;
  /** Working directory of the lease's execution workspace, if it has one. */
  readonly workspaceCwd: string | null;
  /** The facts of the planned place; null where the driver planned none. */
  readonly facts: Record<string, unknown> | null;
}

/** A place that is ready to execute in. */
export interface RealisedPlace {
  /** The driver's own name for it, or null where it leaves nothing behind. */
  readonly providerLeaseId: string | null;
  /** Directory in which commands start unless they say otherwise. */
  readonly cwd: string;
}

/** A program to run in a place. No shell reads it. */
export interface Command {
  /** What it runs under, and when that runs out unless it is renewed, in milliseconds of the boot clock. */
  readonly lease: { readonly id: string; readonly deadline: number };
  readonly program: string;
  readonly args: readonly string[];
  /** The whole environment of the child: nothing else is inherited. */
  readonly env: Readonly<Record<string, string>>;
  /** Overrides the place's directory; a relative one is taken from there. */
  readonly cwd: string | null;
  /** Between SIGTERM and SIGKILL to the whole process group, in milliseconds; read when the command is to be ended. */
  readonly graceMs: number;
  /** Ends the command: SIGTERM to its process group, SIGKILL after the grace. */
  readonly signal: AbortSignal;
  /** Called for each piece of output in order; the pipe is read on only when it returns or resolves. */
  readonly onOutput: (stream: 'stdout' | 'stderr', chunk: Buffer) => void | Promise<void>;
  readonly onSpawn?: (child: SpawnedProcess) => void;
}

/** Who a command became. */
export interface SpawnedProcess {
  readonly pid: number;
  readonly processGroupId: number;
  readonly startedAt: Date;
}

/** How a command ended; exactly one of the two is set. */
export interface CommandResult {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** What a driver can do, for clients that choose one. */
export interface DriverCapabilities {
  readonly driver: string;
  readonly description: string;
  /** Can make places that have to be taken down, so that lease policies have a meaning. */
  readonly hasPlaces: boolean;
  /** JSON schema of `config`. */
  readonly configSchema: Record<string, unknown>;
}

/** Knows *where*: makes a place ready, runs commands in it and takes it down. No call happens inside a transaction. */
export interface EnvironmentDriver {
  readonly capabilities: DriverCapabilities;

  /**
   * @returns the config with defaults filled in.
   * @throws InvalidInputError naming each field that is wrong.
   */
  validateConfig(config: unknown): Record<string, unknown>;

  /**
   * Plans what a lease needs to have made, and taken down again. Called inside a transaction: it only computes.
   * @returns null where nothing will be left behind.
   */
  planPlace(request: PlaceRequest): PlacePlan | null;

  /** Looks whether the place could be used; a problem is a result, not an exception. */
  probe(config: Record<string, unknown>): Promise<ProbeResult>;

  /**
   * Makes the place ready. Repeating it with the same facts gives the same place, as its next holder finds it.
   * @throws PlaceUnavailableError when it cannot.
   */
  realise(request: RealiseRequest, signal: AbortSignal): Promise<RealisedPlace>;

  /**
   * Runs a command to its end. Ends the whole process group before it returns, whatever the command left behind.
   * @throws CommandNotStartedError when the program cannot be started; ProcessLostError when it was ended because what
   * had started it was lost, so that nobody knows how it went.
   */
  execute(place: RealisedPlace, command: Command): Promise<CommandResult>;

  /**
   * Takes a planned place down, from nothing but its facts; it may be made or half made, and this may be repeated.
   * @returns `absent` where there was nothing to take down.
   * @throws whatever kept it from it: it is tried again later.
   */
  teardown(facts: Record<string, unknown>, signal: AbortSignal): Promise<'removed' | 'absent'>;
}
