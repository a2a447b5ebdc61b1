// One request for all who ask for the same while it runs, and its answer, for a while, for those who ask later.

import type { Answer } from "./client.ts"

export type Request<T> = (signal: AbortSignal) => Promise<Answer<T>>

interface Running<T> {
  readonly answer: Promise<Answer<T>>
  readonly abort: AbortController
  askers: number
}

export class Shared<T> {
  readonly #keepMs: number
  readonly #most: number
  readonly #running = new Map<string, Running<T>>()
  readonly #kept = new Map<string, { readonly answer: Answer<T>; readonly endMs: number }>()

  /** keepMs: for how long good answers are kept; most: how many of them. */
  constructor(keepMs = 0, most = 0) {
    this.#keepMs = keepMs
    this.#most = most
  }

  /** The answer to the request that `key` names. The request is aborted when nobody waits for it any more. Raises AbortError where
   * `signal` is aborted. */
  async ask(key: string, request: Request<T>, signal: AbortSignal): Promise<Answer<T>> {
    signal.throwIfAborted()
    const kept = this.#kept.get(key)
    if (kept !== undefined && performance.now() < kept.endMs) return kept.answer
    const running = this.#running.get(key) ?? this.#start(key, request)
    running.askers += 1
    return await unlessAborted(running.answer, signal, () => {
      this.#leave(key, running)
    })
  }

  #start(key: string, request: Request<T>): Running<T> {
    const abort = new AbortController()
    const answer = request(abort.signal)
      .then((found) => this.#keep(key, found))
      .finally(() => {
        this.#end(key, running)
      })
    const running = { answer, abort, askers: 0 }
    this.#running.set(key, running)
    return running
  }

  #leave(key: string, running: Running<T>): void {
    running.askers -= 1
    if (running.askers > 0) return
    running.abort.abort()
    this.#end(key, running)
  }

  #end(key: string, running: Running<T>): void {
    if (this.#running.get(key) === running) this.#running.delete(key)
  }

  #keep(key: string, answer: Answer<T>): Answer<T> {
    if (answer.failure !== null) return answer
    this.#kept.delete(key)
    this.#kept.set(key, { answer, endMs: performance.now() + this.#keepMs })
    for (const oldest of [...this.#kept.keys()].slice(0, Math.max(0, this.#kept.size - this.#most)))
      this.#kept.delete(oldest)
    return answer
  }
}

function unlessAborted<T>(answer: Promise<T>, signal: AbortSignal, leave: () => void): Promise<T> {
  return new Promise((resolve, reject) => {
    const turn = (): void => {
      leave()
      reject(new DOMException("The answer is not needed any more.", "AbortError"))
    }
    signal.addEventListener("abort", turn, { once: true })
    answer.then(resolve, reject).finally(() => {
      signal.removeEventListener("abort", turn)
    })
  })
}
