// Joins the connection, the requests and the watch for sleep. The page calls it once.

import { Asking } from "./asking.ts"
import { Link } from "./link.ts"
import type { Live } from "./live.svelte.ts"
import { SleepWatch } from "./sleep.ts"

/** Let the store live. Returns what ends it. */
export function startLive(live: Live): () => void {
  const link = new Link(live, () => {
    sleep.look()
  })
  const asking = new Asking(live)
  const again = (): void => {
    link.restart()
    asking.askNow()
  }
  const sleep = new SleepWatch({
    woke: () => {
      link.wake()
      asking.askNow()
    },
    offline: link.cut,
    online: again,
  })
  live.retry = again
  const ends = [live.tick(), link.start(), asking.start(), sleep.start()]
  return () => {
    for (const end of ends) end()
  }
}
