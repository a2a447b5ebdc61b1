// Something that a panel asks the server for again and again, at a bounded pace, and what came of it.

import type { Answer } from "./client.ts"
import { Paced, type Refused } from "./paced.ts"
import type { Failure } from "./problem.ts"
import { pauseOf } from "./resource.svelte.ts"

/** The newest answer about a target. While another target is asked for, there are no data; while the same one is asked for again,
 * the data stay, also if that fails. */
export class Renewed<T> {
  data: T | null = $state.raw(null)
  failure: Failure | null = $state.raw(null)
  private target = ""
  private readonly fetch: (target: string, signal: AbortSignal) => Promise<Answer<T>>
  private readonly paced: Paced

  /** fetch: asks for a target; pauseMs: between two requests at least. */
  constructor(fetch: (target: string, signal: AbortSignal) => Promise<Answer<T>>, pauseMs: number) {
    this.fetch = fetch
    this.paced = new Paced((target, signal) => this.load(target, signal), pauseMs)
  }

  ask(target: string): void {
    this.aim(target)
    this.paced.ask(target)
  }

  /** Show nothing of another target. This one is asked for later. */
  aim(target: string): void {
    if (target === this.target) return
    this.paced.stop()
    this.data = null
    this.failure = null
    this.target = target
  }

  stop(): void {
    this.paced.stop()
  }

  private async load(target: string, signal: AbortSignal): Promise<Refused> {
    const { data, failure } = await this.fetch(target, signal)
    if (target === this.target && !signal.aborted) {
      this.data = data ?? this.data
      this.failure = failure
    }
    return failure === null ? null : pauseOf(failure)
  }
}
