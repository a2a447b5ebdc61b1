// One answer that a panel shows: it is asked for, and asked for again when the server says so.

import { untrack } from "svelte"
import type { Answer } from "./client.ts"
import type { Failure } from "./problem.ts"

const PAUSE_S = 10
const MOST_S = 300
const SECOND_MS = 1000

export type Ask<T> = (signal: AbortSignal) => Promise<Answer<T>>

/** Seconds until a request that failed is made again; null where asking again cannot help (the request is refused). */
export function pauseOf(failure: Failure): number | null {
  if (failure.retryAfterS !== null) return Math.min(Math.max(1, failure.retryAfterS), MOST_S)
  return failure.status === 0 || failure.status === 429 || failure.status >= 500 ? PAUSE_S : null
}

/** An answer and its failure. `data` stays while it is asked for anew, so that nothing flickers. */
export class Resource<T> {
  data: T | null = $state.raw(null)
  failure: Failure | null = $state.raw(null)
  isLoading = $state(false)
  /** When it is asked for again after a failure, milliseconds since the epoch by the viewer's clock; null without a failure. */
  retryAtMs: number | null = $state(null)
  #ends: AbortController | null = null

  /** Ask, and go on asking while that fails. keep: what is known, and that it could not be had anew, stay until the answer. Returns what
   * ends it; `$effect` takes that. */
  load(ask: Ask<T>, { keep = false } = {}): () => void {
    this.stop()
    if (!keep) this.data = null
    if (untrack(() => this.data) === null) this.failure = null
    const ends = new AbortController()
    this.#ends = ends
    void this.#ask(ask, ends.signal)
    return () => {
      ends.abort()
    }
  }

  stop(): void {
    this.#ends?.abort()
    this.isLoading = false
    this.retryAtMs = null
  }

  async #ask(ask: Ask<T>, signal: AbortSignal): Promise<void> {
    this.isLoading = true
    this.retryAtMs = null
    const answer = await ask(signal).catch(() => null)
    if (signal.aborted || answer === null) return
    this.isLoading = false
    this.failure = answer.failure
    if (answer.failure === null) this.data = answer.data
    else this.#later(answer.failure, ask, signal)
  }

  #later(failure: Failure, ask: Ask<T>, signal: AbortSignal): void {
    const pauseS = pauseOf(failure)
    if (pauseS === null) return
    this.retryAtMs = Date.now() + pauseS * SECOND_MS
    const timer = setTimeout(() => void this.#ask(ask, signal), pauseS * SECOND_MS)
    signal.addEventListener("abort", () => {
      clearTimeout(timer)
    })
  }
}
