// Requests whose target changes faster than they may be made, as while a slider moves: the newest one wins. Pure but for timers.

/** How a request ended: null, or after how many seconds the server takes another one. */
export type Refused = number | null

/** Runs the newest of the targets that it is asked for: not before `quietMs` have passed since the last change, not within `pauseMs`
 * of the one before, and never while the server refuses. A running request for another target is aborted; one for the same
 * target is left to end, and then made anew. */
export class Paced {
  private wanted: string | null = null
  private running: { readonly target: string; readonly abort: AbortController } | null = null
  /** `performance.now()`, since the viewer's clock may be set back. */
  private earliestMs = 0
  private timer: ReturnType<typeof setTimeout> | undefined

  private readonly run: (target: string, signal: AbortSignal) => Promise<Refused>
  private readonly pauseMs: () => number
  private readonly quietMs: number

  constructor(
    run: (target: string, signal: AbortSignal) => Promise<Refused>,
    pauseMs: number | (() => number),
    quietMs = 0,
  ) {
    this.run = run
    this.pauseMs = typeof pauseMs === "number" ? () => pauseMs : pauseMs
    this.quietMs = quietMs
  }

  /** Ask for a target. The ones that were asked for before and have not been answered are dropped. */
  ask(target: string): void {
    if (this.running !== null && this.running.target !== target) this.drop()
    this.wanted = target
    this.schedule(this.quietMs)
  }

  /** Drop what is asked for and abort what is running. */
  stop(): void {
    clearTimeout(this.timer)
    this.wanted = null
    this.drop()
  }

  private drop(): void {
    this.running?.abort.abort()
    this.running = null
  }

  private schedule(quietMs: number): void {
    clearTimeout(this.timer)
    if (this.wanted === null || this.running !== null) return
    const dueMs = Math.max(this.earliestMs, performance.now() + quietMs)
    this.timer = setTimeout(() => void this.start(), dueMs - performance.now())
  }

  private async start(): Promise<void> {
    const target = this.wanted
    if (target === null) return
    const own = { target, abort: new AbortController() }
    this.wanted = null
    this.running = own
    this.earliestMs = performance.now() + this.pauseMs()
    const refusedS = await this.run(target, own.abort.signal).catch(() => null)
    if (refusedS !== null) this.earliestMs = Math.max(this.earliestMs, performance.now() + refusedS * 1000)
    if (this.running !== own) return
    this.running = null
    if (refusedS !== null) this.wanted ??= target
    this.schedule(0)
  }
}
