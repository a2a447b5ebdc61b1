// The decisions of a ticker that the strip has, with the day that they are of, so that they never stand under another one.

import { untrack } from "svelte"
import { Resource, type Ask } from "../../api/resource.svelte.ts"
import type { Decision } from "./day.ts"

/** What decisions are of: a day (YYYY-MM-DD), as the record has it now, or as a replay shows it. */
export interface DayShown {
  readonly day: string
  readonly isReplay: boolean
}

interface Kept extends DayShown {
  readonly decisions: readonly Decision[]
}

export class Decided {
  readonly #kept = new Resource<Kept>()

  /** Ask for the decisions of a day. Those that are known stay until then if they are of the same day and mode. */
  load(shown: DayShown, ask: Ask<readonly Decision[]>): () => void {
    const keep = untrack(() => this.of(shown)) !== null
    return this.#kept.load(
      async (signal) => {
        const found = await ask(signal)
        return found.failure === null ? { data: { ...shown, decisions: found.data }, failure: null } : found
      },
      { keep },
    )
  }

  /** The decisions of a day and mode; null where they are not known. */
  of({ day, isReplay }: DayShown): readonly Decision[] | null {
    const kept = this.#kept.data
    return kept?.day === day && kept.isReplay === isReplay ? kept.decisions : null
  }

  /** Why the newest request failed; what is known is then from before. */
  get failure(): Resource<Kept>["failure"] {
    return this.#kept.failure
  }

  get retryAtMs(): number | null {
    return this.#kept.retryAtMs
  }
}
