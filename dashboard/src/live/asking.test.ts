// @vitest-environment happy-dom
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { Asking, pauseAfter } from "./asking.ts"
import { at, signalOf, stateOf } from "./fixtures.ts"
import { Live } from "./live.svelte.ts"
import { doubted } from "./state.ts"
import type { TickerState, TradingSignal } from "./types.ts"

const BOARD = { generated_at: at("12:03:00"), market_open: true, next_open: null, best: null }
const SIGNAL = signalOf({ generated_at: at("12:03:00"), as_of: at("12:03:00") })

function json(status: number, body: unknown, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify(body), { status, headers: { "Content-Type": "application/json", ...headers } })
}

let live: Live
let asked: string[]
let board: () => Response | Promise<Response>
let end: () => void
let asking: Asking

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "Date", "performance"] })
  asked = []
  board = () => json(200, { ...BOARD, signals: [SIGNAL] })
  vi.stubGlobal("fetch", (request: Request) => {
    const path = new URL(request.url).pathname
    asked.push(path)
    return path === "/v2/status" ? Promise.resolve(json(200, { generated_at: at("12:00:00") })) : board()
  })
  live = new Live()
  live.connection = { ...live.connection, state: "open" }
  asking = new Asking(live)
  end = asking.start()
})

afterEach(() => {
  end()
  vi.unstubAllGlobals()
  vi.useRealTimers()
})

function boards(): number {
  return asked.filter((path) => path === "/v2/trading-directions").length
}

function lose(state: "lost" | "refused"): void {
  live.connection = { state, sinceMs: performance.now(), retryAtMs: null, refusal: null }
}

describe("requests about now", () => {
  it("are not made while there are events", async () => {
    await vi.advanceTimersByTimeAsync(120_000)
    expect(boards()).toBe(0)
  })

  it("are made every 15 s while the server refuses the connection, and what they say is current", async () => {
    lose("refused")
    await vi.advanceTimersByTimeAsync(1_000)
    expect(boards()).toBe(1)
    expect(live.of("SPY")).toMatchObject({ isCurrent: true, generatedAt: at("12:03:00") })
    expect(live.polledMs).not.toBeNull()
    await vi.advanceTimersByTimeAsync(60_000)
    expect(boards()).toBe(5)
  })

  it("say at once when there is no answer any more", async () => {
    lose("refused")
    await vi.advanceTimersByTimeAsync(1_000)
    expect(live.polledMs).not.toBeNull()
    board = () => {
      throw new TypeError("network")
    }
    await vi.advanceTimersByTimeAsync(15_000)
    expect(live.polledMs).toBeNull()
    expect(live.failure).toMatchObject({ status: 0 })
  })

  it("do not put an answer over what events have said since it was asked for", async () => {
    const newer = signalOf({ generated_at: at("12:04:00"), as_of: at("12:04:00") })
    board = () => {
      live.put("SPY", stateOf({ signal: newer, generatedAt: at("12:04:00"), isCurrent: true, receivedMs: Infinity }))
      return json(200, { ...BOARD, signals: [SIGNAL] })
    }
    asking.askNow()
    await vi.advanceTimersByTimeAsync(1_000)
    expect(boards()).toBe(1)
    expect(live.of("SPY")).toMatchObject({ signal: newer, generatedAt: at("12:04:00") })
  })

  it("begin a while after the connection was lost, since it mostly comes back", async () => {
    lose("lost")
    await vi.advanceTimersByTimeAsync(4_000)
    expect(boards()).toBe(0)
    await vi.advanceTimersByTimeAsync(1_000)
    expect(boards()).toBe(1)
  })

  it("are made anew at once where the connection is found to be lost after an answer", async () => {
    live.connection = { ...live.connection, state: "connecting", sinceMs: performance.now() }
    await vi.advanceTimersByTimeAsync(5_000)
    expect(boards()).toBe(1)
    lose("lost")
    await vi.advanceTimersByTimeAsync(1_000)
    expect(boards()).toBe(2)
    expect(live.polledMs).toBeGreaterThan(live.connection.sinceMs)
    await vi.advanceTimersByTimeAsync(10_000)
    expect(boards()).toBe(2)
  })

  it("wait as long as the server says after a 429", async () => {
    board = () => json(429, { error_code: "TOO_MANY_REQUESTS", detail: "Too many." }, { "Retry-After": "50" })
    lose("refused")
    await vi.advanceTimersByTimeAsync(49_000)
    asking.askNow()
    expect(boards()).toBe(1)
    expect(live.failure).toMatchObject({ status: 429, retryAfterS: 50 })
    board = () => json(200, { ...BOARD, signals: [SIGNAL] })
    await vi.advanceTimersByTimeAsync(3_000)
    expect(boards()).toBe(2)
    expect(live.failure).toBeNull()
  })

  it("are made where events were found afterwards, as after a restart of the server", async () => {
    live.put("SPY", stateOf({ freshness: "historical" }))
    await vi.advanceTimersByTimeAsync(1_000)
    expect(boards()).toBe(1)
    expect(live.of("SPY")).toMatchObject({ freshness: "live", isCurrent: true })
    await vi.advanceTimersByTimeAsync(60_000)
    expect(boards()).toBe(1)
  })

  it("are made at once after the tab slept", async () => {
    asking.askNow()
    await vi.advanceTimersByTimeAsync(0)
    expect(boards()).toBe(1)
    expect(live.of("SPY").isCurrent).toBe(true)
  })
})

/** From now on answers about all signals wait until the test gives them, in the order of their requests. */
function holdAnswers(): ((signal: TradingSignal) => Promise<void>)[] {
  const held: ((signal: TradingSignal) => Promise<void>)[] = []
  board = () =>
    new Promise((resolve) => {
      held.push(async (signal) => {
        resolve(json(200, { ...BOARD, signals: [signal] }))
        await vi.advanceTimersByTimeAsync(0)
      })
    })
  return held
}

function know(changes: Partial<TickerState>): void {
  live.put("SPY", { ...live.of("SPY"), ...stateOf({ receivedMs: performance.now() }), ...changes })
}

describe("an answer that comes late", () => {
  it("holds from when it was asked for, not from when it came", async () => {
    const held = holdAnswers()
    lose("refused")
    await vi.advanceTimersByTimeAsync(1_000)
    const sentMs = performance.now()
    await vi.advanceTimersByTimeAsync(12_000)
    await held[0]?.(SIGNAL)
    expect(live.polledMs).toBe(sentMs)
  })

  it.each([
    ["a loss", "lost"],
    ["a gap in the events", "open"],
  ] as const)("does not count behind %s that came after it was asked for", async (_, state) => {
    know({})
    const held = holdAnswers()
    asking.askNow()
    await vi.advanceTimersByTimeAsync(100)
    know({ generatedAt: at("12:02:00"), asOf: at("12:02:00") })
    live.put("SPY", doubted(live.of("SPY")))
    live.connection = { ...live.connection, state, sinceMs: performance.now() }
    await held[0]?.(SIGNAL)
    expect(live.of("SPY")).toMatchObject({ isCurrent: false, generatedAt: at("12:02:00") })
    expect(live.polledMs).toBeNull()
  })

  it("does not count, and another one is asked for, where the tab woke while it was on its way", async () => {
    const held = holdAnswers()
    asking.askNow()
    await vi.advanceTimersByTimeAsync(100)
    asking.askNow()
    await vi.advanceTimersByTimeAsync(100)
    expect(boards()).toBe(2)
    await held[0]?.(SIGNAL)
    expect(live.of("SPY").signal).toBeNull()
    await held[1]?.(SIGNAL)
    expect(live.of("SPY")).toMatchObject({ isCurrent: true, generatedAt: at("12:03:00") })
  })

  it("keeps no request waiting that is due after a loss", async () => {
    holdAnswers()
    asking.askNow()
    await vi.advanceTimersByTimeAsync(100)
    live.put("SPY", doubted(live.of("SPY")))
    lose("lost")
    await vi.advanceTimersByTimeAsync(5_000)
    expect(boards()).toBe(2)
  })

  it.each([
    ["made before what is known", SIGNAL, { generatedAt: at("12:04:00"), asOf: at("12:03:00") }],
    ["of an older bar", { ...SIGNAL, as_of: at("12:02:00") }, { generatedAt: at("12:03:00"), asOf: at("12:03:00") }],
  ])("does not count where it was %s, although nothing current is known", async (_, late, known) => {
    know({ ...known, isCurrent: false })
    board = () => json(200, { ...BOARD, signals: [late] })
    await vi.advanceTimersByTimeAsync(1_000)
    asking.askNow()
    await vi.advanceTimersByTimeAsync(0)
    expect(boards()).toBe(1)
    expect(live.of("SPY")).toMatchObject({ ...known, isCurrent: false })
  })

  it.each([
    ["is another one", "polygon"],
    ["is a demo, whose year begins anew", "demo"],
  ] as const)("counts, however old its moment, where the market %s", async (_, source) => {
    know({ source, generatedAt: at("15:00:00"), asOf: at("15:00:00") })
    board = () => json(200, { ...BOARD, signals: [{ ...SIGNAL, source: "demo" }] })
    lose("refused")
    await vi.advanceTimersByTimeAsync(1_000)
    expect(live.of("SPY")).toMatchObject({ source: "demo", generatedAt: at("12:03:00"), isCurrent: true })
  })
})

it.each([{}, { signals: null }, { signals: [null] }, { signals: [{ ticker: "SPY" }] }])(
  "an answer that cannot be read, such as %j, is said and does not end the requests",
  async (unreadable) => {
    board = () => json(200, unreadable)
    lose("refused")
    await vi.advanceTimersByTimeAsync(1_000)
    expect(live.failure).toMatchObject({ code: "UNREADABLE" })
    expect(live.polledMs).toBeNull()
    board = () => json(200, { ...BOARD, signals: [SIGNAL] })
    await vi.advanceTimersByTimeAsync(31_000)
    expect(live.failure).toBeNull()
    expect(live.of("SPY").isCurrent).toBe(true)
  },
)

it.each([
  [null, 0, 15_000],
  [{ status: 503, code: "", detail: "", retryAfterS: null, requestId: null }, 1, 30_000],
  [{ status: 503, code: "", detail: "", retryAfterS: 40, requestId: null }, 1, 40_000],
  [{ status: 0, code: "", detail: "", retryAfterS: null, requestId: null }, 9, 120_000],
] as const)("after %o, the pause of failure %s is %s ms", (failure, failures, pauseMs) => {
  expect(pauseAfter(failure, failures, 15_000)).toBe(pauseMs)
})
