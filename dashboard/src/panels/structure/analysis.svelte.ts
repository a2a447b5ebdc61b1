// An analysis of now that a panel shows: it is asked for again as bars come, and judged whether it may be taken for now.

import { untrack } from "svelte"
import type { Answer } from "../../api/client.ts"
import type { Failure } from "../../api/problem.ts"
import { Resource } from "../../api/resource.svelte.ts"
import type { Schemas } from "../../api/types.ts"
import { age, newYorkTime } from "../../format/times.ts"
import type { Live, Shown } from "../../live/live.svelte.ts"
import type { Route } from "../../router.ts"
import type { Ticker } from "../../tickers.ts"
import { ageOf } from "../card/ages.ts"
import { EVERY_MS, isTooOld, whenChanged } from "./refresh.ts"

type Dated = Pick<Schemas["Structure"], "as_of" | "freshness">
/** A market that runs so much faster than time is renewed less often than its bars come. */
const FAST = 5

/** What a panel needs to know of its analysis. In a replay there is none: `shown` has a summary. */
export interface Analysis<T> {
  readonly isReplay: boolean
  readonly shown: Shown
  /** Null while it is asked for, or failed. */
  readonly data: T | null
  readonly failure: Failure | null
  readonly retryAtMs: number | null
  /** Whether it may not be taken for now. */
  readonly isOld: boolean
  /** Of which moment it is, and how old. */
  readonly moment: string
}

/** The analysis of the route's ticker, for as long as the component lives that calls this while it is set up. */
export function analysisOf<T extends Dated>(
  live: Live,
  route: () => Route,
  ask: (ticker: Ticker, signal: AbortSignal) => Promise<Answer<T>>,
): Analysis<T> {
  const loaded = new Resource<T>()
  const ticker = $derived(route().ticker)
  const isReplay = $derived(route().at !== null)
  const shown = $derived(live.shown(ticker, route()))
  const ageS = $derived(loaded.data === null ? null : ageOf(loaded.data, live.marketNow))
  const isOpen = $derived(loaded.data !== null && loaded.data.freshness !== "closed")
  const isOld = $derived(!shown.truth.isTrusted || (!isReplay && isTooOld(ageS, isOpen, live.clock.speed)))

  $effect(() => {
    if (isReplay) return
    const asked = ticker
    untrack(() => (loaded.data = null))
    return whenChanged(
      () => untrack(() => live.of(asked).asOf),
      () => loaded.load((signal) => ask(asked, signal), { keep: true }),
    )
  })

  return {
    get isReplay() {
      return isReplay
    },
    get shown() {
      return shown
    },
    get data() {
      return loaded.data
    },
    get failure() {
      return loaded.failure
    },
    get retryAtMs() {
      return loaded.retryAtMs
    },
    get isOld() {
      return isOld
    },
    get moment() {
      const pace = isOld || live.clock.speed < FAST ? "" : `, renewed every ${EVERY_MS / 1000} s`
      return `${newYorkTime(loaded.data?.as_of ?? null)}, ${age(ageS)}${pace}`
    },
  }
}
