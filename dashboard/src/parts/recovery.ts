// When a part of the page that failed is tried again: with something new, after pauses that grow. Pure.

const SHORTEST_MS = 1_000
const LONGEST_MS = 60_000
/** A part that stood well for so long begins with the shortest pause again. */
const WELL_MS = 2 * LONGEST_MS

export class Recovery {
  #failures = 0
  #failedMs = -Infinity
  #heard = 0

  /** It failed at `nowMs`. heard: how much the page had heard of the server by then. */
  failed(nowMs: number, heard: number): void {
    this.#failures = nowMs - this.#failedMs > WELL_MS ? 1 : this.#failures + 1
    this.#failedMs = nowMs
    this.#heard = heard
  }

  /** Whether it may be tried: the page has heard something since, and the pause is over. */
  isDue(nowMs: number, heard: number): boolean {
    const pauseMs = Math.min(LONGEST_MS, SHORTEST_MS * 2 ** Math.min(this.#failures - 1, 10))
    return heard !== this.#heard && nowMs - this.#failedMs >= pauseMs
  }
}
